package crowd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Child()
	// Children of a test under the race detector would each wait a second at their end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const few = 40 // sessions

// start brings a candidate up; it ends with the test.
func start(t *testing.T, c Candidate, size int) *Stage {
	s, err := NewStage(context.WithoutCancel(t.Context()), c, Message(size)) // which ends before the cleanup
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestStage: every push comes to each session once, whoever sends it; and its times, and the receipts of those that have
// them.
func TestStage(t *testing.T) {
	t.Parallel()
	for _, c := range []Candidate{Bare(), Sockets(), Carillon(few), Centrifuge(time.Millisecond), Gorilla(), Gws()} {
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			ctx, s := t.Context(), start(t, c, 300)
			if _, err := s.Fill(ctx, few); err != nil {
				t.Fatal(err)
			}
			for _, pushes := range []int{1, 10, 3} {
				if cpu, took, err := s.Rounds(ctx, 4, pushes); err != nil || cpu <= 0 || len(took) != 4 {
					t.Errorf("rounds of %d: %v, %v, %v", pushes, cpu, took, err)
				}
			}
			if took, err := s.Arrivals(ctx); err != nil || len(took) != few {
				t.Errorf("arrivals: %v, %v", took, err)
			}
			if len(s.Server.Receipts()) == 0 {
				return
			}
			for range 3 {
				if _, _, err := s.Rounds(ctx, 1, 3); err != nil {
					t.Error(err)
				}
				if n, cpu, err := s.Receipts(ctx); err != nil || n != 3*few || cpu <= 0 {
					t.Errorf("receipts: %d, %v, %v", n, cpu, err)
				}
			}
		})
	}
}

// TestSecure: every push comes to each session over TLS.
func TestSecure(t *testing.T) {
	t.Parallel()
	s := start(t, CarillonTLS(few), 300)
	if _, err := s.Fill(t.Context(), few); err != nil {
		t.Fatal(err)
	}
	for _, pushes := range []int{1, 10} {
		if cpu, took, err := s.Rounds(t.Context(), 2, pushes); err != nil || cpu <= 0 || len(took) != 2 {
			t.Errorf("rounds of %d: %v, %v, %v", pushes, cpu, took, err)
		}
	}
}

// TestStalled: some of the clients stop reading, and the others get what there is.
func TestStalled(t *testing.T) {
	t.Parallel()
	s := start(t, Sockets(), MaxMessage)
	if err := s.Connect(t.Context(), few, 10); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if took, err := s.Arrivals(t.Context()); err != nil || len(took) != few-few/10 {
			t.Fatalf("arrivals: %v, %v", took, err)
		}
	}
}

// broken is a candidate that fails at a step, and is the sockets otherwise.
type broken struct {
	Candidate
	at string
}

type brokenServer struct {
	Server
	at string
}

var errBroken = errors.New("broken on purpose")

func (b broken) Start(ctx context.Context, message []byte) (Server, error) {
	if b.at == "start" {
		return nil, errBroken
	}
	s, err := b.Candidate.Start(ctx, message)
	return brokenServer{Server: s, at: b.at}, err
}

func (b brokenServer) Path(i int) string {
	if b.at == "path" {
		return "/\r\n\r\n"
	}
	return b.Server.Path(i)
}

func (b brokenServer) Round(ctx context.Context, pushes int) error {
	switch b.at {
	case "round":
		return errBroken
	case "twice":
		return errors.Join(b.Server.Round(ctx, pushes), b.Server.Round(ctx, pushes))
	}
	return b.Server.Round(ctx, pushes)
}

// try brings a candidate up, sends some rounds, and ends it.
func try(ctx context.Context, c Candidate) error {
	s, err := NewStage(ctx, c, Message(300))
	if err != nil {
		return err
	}
	_, err = s.Fill(ctx, few)
	if err == nil {
		_, _, err = s.Rounds(ctx, 5, 1)
	}
	return errors.Join(err, s.Stop())
}

// TestBroken shows that a candidate's failure is the stage's, and leaves nothing behind.
func TestBroken(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"start", "path", "round", "twice"} {
		if err := try(t.Context(), broken{Sockets(), at}); err == nil {
			t.Errorf("broken at %s", at)
		}
	}
	if err := try(t.Context(), child{"no such part"}); err == nil || !strings.Contains(err.Error(), "no such part") {
		t.Errorf("without a server: %v", err)
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	for _, size := range []int{MinMessage, 300, MaxMessage} {
		m := Message(size)
		if len(m) != size || !json.Valid(m) || bytes.Count(m, []byte{Mark}) != 1 {
			t.Errorf("of %d bytes: %s", size, m)
		}
	}
}
