// Command cluster runs the topology of docker-compose.yml as processes of this machine: three servers of the broker, two
// processes of each role, and a crowd of users who are logged in. It pushes to all of them, kills the server that leads the
// pushes, goes on, and says what became of every push that was accepted. It ends by itself and leaves nothing behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings say how much there is to do.
type settings struct {
	// Binary is the carillon to run.
	Binary string
	// Users are logged in, one session each.
	Users int
	// Pushes before the server is killed, and as many after it.
	Pushes int
	// Patience bounds the whole run.
	Patience time.Duration
}

func defaults() settings {
	return settings{Binary: "bin/carillon", Users: 1000, Pushes: 100, Patience: 5 * time.Minute}
}

// short is enough to see that everything works.
func (s settings) short() settings {
	s.Users, s.Pushes, s.Patience = 60, 20, time.Minute
	return s
}

func main() {
	s := defaults()
	flag.StringVar(&s.Binary, "binary", s.Binary, "The carillon to run.")
	short := flag.Bool("short", false, "Run a small crowd.")
	flag.Parse()
	if *short {
		s = s.short()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		stop()
		os.Exit(1)
	}
}

// run tells the story to out. The error says what was promised and not kept, or what kept it from being tried.
func run(ctx context.Context, s settings, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	dir, err := os.MkdirTemp("", "carillon-cluster-")
	if err != nil {
		return fmt.Errorf("make a directory for the processes: %w", err)
	}
	defer os.RemoveAll(dir)
	c, err := newSite(s.Binary, dir)
	if err != nil {
		return err
	}
	defer c.close()
	if err = tell(ctx, s, c, out); err != nil {
		c.logs(out)
	}
	return err
}
