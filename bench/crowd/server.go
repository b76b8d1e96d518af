package crowd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// request to a server's process, as one JSON object; each is answered by a reply. The first names the message.
type request struct {
	Do      string `json:"do"`
	Message []byte `json:"message,omitempty"`
	N       int    `json:"n,omitempty"`
}

type reply struct {
	Error    string        `json:"error,omitempty"`
	Addr     string        `json:"addr,omitempty"`
	Path     string        `json:"path,omitempty"`
	Greeting []byte        `json:"greeting,omitempty"`
	Receipt  []byte        `json:"receipt,omitempty"`
	CPU      time.Duration `json:"cpu,omitempty"`
	RSS      int64         `json:"rss,omitempty"`
	N        int           `json:"n,omitempty"`
}

// child is a candidate of this package, which runs in this binary.
type child struct{ name string }

func (c child) Name() string { return c.name }

func (c child) Start(ctx context.Context, message []byte) (Server, error) {
	p, err := spawn(ctx, c.name)
	if err != nil {
		return nil, err
	}
	s := &remote{process: p, replies: json.NewDecoder(p.out)}
	began, err := s.ask(ctx, request{Do: "start", Message: message})
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	s.began = began
	return s, nil
}

// remote is the near end of a server's process.
type remote struct {
	*process
	replies *json.Decoder
	began   reply
	pushes  int // of the last round
}

func (s *remote) ask(ctx context.Context, q request) (a reply, err error) {
	b, err := json.Marshal(q)
	if err != nil {
		return a, fmt.Errorf("asking the server to %s: %w", q.Do, err)
	}
	if _, err = s.in.Write(append(b, '\n')); err == nil {
		if err = s.until(ctx); err == nil {
			err = s.replies.Decode(&a)
		}
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		return a, fmt.Errorf("asking the server to %s: %w", q.Do, err)
	}
	return a, nil
}

func (s *remote) Addrs() []string  { return []string{s.began.Addr} }
func (*remote) Secure() bool       { return false }
func (s *remote) Path(int) string  { return s.began.Path }
func (s *remote) Greeting() []byte { return s.began.Greeting }
func (s *remote) Stop() error      { return s.stop() }

func (s *remote) Await(ctx context.Context, n int) error {
	_, err := s.ask(ctx, request{Do: "await", N: n})
	return err
}

func (s *remote) Round(ctx context.Context, pushes int) error {
	s.pushes = pushes
	_, err := s.ask(ctx, request{Do: "round", N: pushes})
	return err
}

func (s *remote) Receipts() [][]byte {
	if len(s.began.Receipt) == 0 {
		return nil
	}
	return slices.Repeat([][]byte{s.began.Receipt}, s.pushes)
}

func (s *remote) Taken(ctx context.Context) (int, error) {
	a, err := s.ask(ctx, request{Do: "taken"})
	return a.N, err
}

func (s *remote) CPU(ctx context.Context) (time.Duration, error) {
	a, err := s.ask(ctx, request{Do: "count"})
	return a.CPU, err
}

func (s *remote) Settle(ctx context.Context) (int64, error) {
	a, err := s.ask(ctx, request{Do: "settle"})
	return a.RSS, err
}

// local is a server inside its own process.
type local interface {
	addr() string
	path() string
	greeting() []byte
	receipt() []byte
	sessions() int
	taken() int
	round(pushes int) error
	stop() error
}

// serve is a server's process: it answers requests until its input ends.
func serve(start func(message []byte) (local, error)) (err error) {
	requests := json.NewDecoder(bufio.NewReader(os.Stdin))
	replies := json.NewEncoder(os.Stdout)
	var s local
	defer func() {
		if s != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	for {
		var q request
		if err := requests.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		var a reply
		var failed error
		switch {
		case q.Do == "start" && s == nil:
			if s, failed = start(q.Message); failed == nil {
				a.Addr, a.Path, a.Greeting, a.Receipt = s.addr(), s.path(), s.greeting(), s.receipt()
			}
		case s == nil:
			failed = errors.New("the server was not started")
		case q.Do == "await":
			failed = await(s, q.N)
		case q.Do == "round":
			failed = s.round(q.N)
		case q.Do == "taken":
			a.N = s.taken()
		case q.Do == "count":
			a.CPU, failed = used()
		case q.Do == "settle":
			a.RSS, failed = settle()
		default:
			failed = fmt.Errorf("%s: no such request", q.Do)
		}
		if failed != nil {
			a.Error = failed.Error()
		}
		if err := replies.Encode(a); err != nil {
			return fmt.Errorf("answering a request: %w", err)
		}
	}
}

// await looks every few milliseconds: it is outside of what is measured.
func await(s local, n int) error {
	for deadline := time.Now().Add(stepTimeout); s.sessions() != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("there are %d sessions instead of %d", s.sessions(), n)
		}
	}
	return nil
}

// used is this process's CPU time.
func used() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("reading the CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// settle collects twice, since a finalizer or a pool frees in the second what the first found, gives free memory back,
// and reads what is resident, in bytes. The kernel's cheaper counters are off by some hundred kilobytes; this one walks.
func settle() (int64, error) {
	runtime.GC()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, fmt.Errorf("reading the resident memory: %w", err)
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Rss:" {
			kb, err := strconv.ParseInt(string(f[1]), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("the kernel does not tell the resident memory")
}
