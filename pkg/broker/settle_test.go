package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var noLeader = &jetstream.APIError{Code: 503, ErrorCode: codeNoLeader}

// As long as servers stand, a start waits for their leader, however long that takes, and tells of it; it goes on as soon as
// there is one.
func TestAStartWaitsForALeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, told := time.Now(), 0
		s := settling{patience: answerWait, stands: func(context.Context) bool { return true }, tell: func(error) { told++ }}
		err := s.until(t.Context(), askTime, func(ctx context.Context) error {
			switch since := time.Since(begun); {
			case since > time.Hour:
				return nil
			case since > time.Minute: // it says so; before, it said nothing
				return noLeader
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > time.Hour+time.Second {
			t.Errorf("there was a leader after an hour, and it went on after %v", took)
		}
		if told < 1000 {
			t.Errorf("it told %d times in an hour what it waits for", told)
		}
	})
}

// Servers that are gone, and what a leader would not change, are waited for as long as is documented.
func TestAStartGivesUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		stands time.Duration // how long servers stand
		want   time.Duration
	}{
		"nobody answers":         {context.DeadlineExceeded, 0, answerWait},
		"they answered at first": {noLeader, time.Minute, time.Minute + answerWait},
		"too few servers":        {&jetstream.APIError{Code: 400, ErrorCode: codeNoPeers}, time.Hour, answerWait},
		"they have no JetStream": {jetstream.ErrJetStreamNotEnabled, time.Hour, answerWait},
		"it will never be":       {errors.New("no"), time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				s := settling{patience: answerWait, stands: func(context.Context) bool { return time.Since(begun) < test.stands }, tell: func(error) {}}
				err := s.until(t.Context(), askTime, func(context.Context) error { return test.err })
				if took := time.Since(begun).Round(time.Second); !errors.Is(err, test.err) || took != test.want {
					t.Errorf("%v after %v, want %v after %v", err, took, test.err, test.want)
				}
			})
		})
	}
}

// Whoever is told to end while it waits ends at once, in the middle of a question too.
func TestAWaitingStartEndsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := settling{patience: answerWait, stands: func(context.Context) bool { return true }, tell: func(error) {}}
		for _, try := range []func(context.Context) error{
			func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			func(context.Context) error { return noLeader },
		} {
			time.AfterFunc(time.Minute+time.Millisecond, cancel)
			begun := time.Now()
			err := s.until(ctx, askTime, try)
			if took := time.Since(begun); !errors.Is(err, context.Canceled) || took > time.Minute+time.Millisecond {
				t.Errorf("%v after %v", err, took)
			}
			ctx, cancel = context.WithCancel(t.Context())
		}
		cancel()
	})
}
