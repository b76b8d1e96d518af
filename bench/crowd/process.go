// Package crowd is many sessions on one machine, and the servers that they are of.
//
// Every server runs in a process of its own and so do its clients, one thread under epoll, the same program for all.
// But for the whole service they are this binary again, so that main and TestMain must call Child first. Everything stays
// on the loopback and ends by itself.
package crowd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// subcommand is the first argument of a process that is one of ours; its second says which.
const subcommand = "crowd-child"

// Child must be called first by main, and by TestMain: in a process that this package has started it plays its part and
// exits, in any other it does nothing.
func Child() {
	if len(os.Args) < 3 || os.Args[1] != subcommand {
		return
	}
	if err := play(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(part string) error {
	switch part {
	case clientsPart:
		return receive()
	case securePart:
		return receiveSecure()
	case Bare().Name():
		return serve(startBare)
	case Sockets().Name():
		return serve(startSockets)
	case Gorilla().Name():
		return serve(startGorilla)
	case Gws().Name():
		return serve(startGws)
	}
	if gather, ok := strings.CutPrefix(part, library+" "); ok {
		return serve(func(message []byte) (local, error) { return startCentrifuge(message, gather) })
	}
	return fmt.Errorf("%s: no such part of the measurement", part)
}

// process is this binary again, in one of its parts. It ends when its input does.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File // has deadlines
	errors bytes.Buffer
}

func spawn(ctx context.Context, part string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this binary: %w", err)
	}
	p := &process{cmd: exec.CommandContext(ctx, self, subcommand, part)}
	p.cmd.Stderr = &p.errors
	p.cmd.WaitDelay = 5 * time.Second
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	p.out, p.cmd.Stdout = out, theirs
	if p.in, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, fmt.Errorf("starting a process for %s: %w", part, errors.Join(err, out.Close()))
	}
	return p, nil
}

// until bounds the next reads by the context.
func (p *process) until(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(stepTimeout)
	}
	return errors.Join(ctx.Err(), p.out.SetReadDeadline(deadline))
}

// stop ends the process and waits for it. Its error holds what the process said last.
func (p *process) stop() error {
	err := p.in.Close()
	kill := time.AfterFunc(stepTimeout, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if waited := p.cmd.Wait(); waited != nil {
		err = fmt.Errorf("%s: %w: %s", p.cmd.Args[2], waited, bytes.TrimSpace(p.errors.Bytes()))
	}
	return errors.Join(err, p.out.Close())
}
