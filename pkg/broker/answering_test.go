package broker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A leader that comes late answers the next question, or one from before; that there is none is no answer, and what it refuses is.
func TestSmallQuestionsAreAskedUntilSomebodyAnswers(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Dir = t.TempDir()
	b, err := Connect(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	const nobody, no = `{"error":{"code":503,"err_code":10008}}`, `{"error":{"code":404,"err_code":10014}}`
	for name, test := range map[string]struct {
		answers []string // to the questions, in order; empty for none
		first   bool     // the last of them goes to the first question
		refused bool
		failed  bool
	}{
		"at once":           {answers: []string{`{}`}},
		"after silence":     {answers: []string{"", "", `{}`}},
		"late":              {answers: []string{"", "", `{}`}, first: true},
		"after an election": {answers: []string{"", nobody, `{}`}},
		"refused":           {answers: []string{"", no}, refused: true},
		"not to be read":    {answers: []string{"what"}, failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			subject := nats.NewInbox()
			n := 0
			var first *nats.Msg
			sub, err := b.nc.Subscribe(subject, func(m *nats.Msg) {
				if n++; n == 1 {
					first = m
				}
				if n > len(test.answers) || test.answers[n-1] == "" {
					return
				}
				if test.first {
					m = first
				}
				if err := m.Respond([]byte(test.answers[n-1])); err != nil {
					t.Error(err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Unsubscribe()
			if err := b.nc.Flush(); err != nil {
				t.Fatal(err)
			}
			err = b.answering(t.Context(), subject)
			_, refused := errors.AsType[*jetstream.APIError](err)
			if refused != test.refused || (err != nil) != (test.refused || test.failed) {
				t.Errorf("the answer is %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.answering(ctx, nats.NewInbox()); !errors.Is(err, context.Canceled) { // nobody is there
		t.Errorf("after the end: %v", err)
	}
}

// A task that fails since the broker has no leader comes again soon, however often it has failed; any other is put off.
func TestPauseOfATask(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err       error
		delivered uint64
		soon      bool
	}{
		{jetstream.ErrNoStreamResponse, 9, true},
		{ErrLost, 9, true},
		{errors.New("no"), 9, false},
		{errors.New("no"), 1, true},
	} {
		if pause := taskPause(test.err, test.delivered); (pause <= leaderlessPause) != test.soon || pause <= 0 {
			t.Errorf("%v, for the %dth time: %v", test.err, test.delivered, pause)
		}
	}
}

// A fold's first consumer has all of the time; the next ones have less at first, then as much again.
func TestPatienceOfAFold(t *testing.T) {
	t.Parallel()
	var f fold
	if d := f.patience(); d != consumerTime {
		t.Errorf("at first %v", d)
	}
	f.again = true
	for i, want := range []int{4, 2, 1, 1, 1} {
		if d := f.patience(); d != consumerTime/time.Duration(want) {
			t.Errorf("try %d: %v", i, d)
		}
	}
}
