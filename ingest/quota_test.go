package ingest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/wire"
)

// The quota against an oracle that keeps every push for ever and counts.
func TestQuotaAgainstOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := &quota{
			interval: rapid.SampledFrom([]time.Duration{0, 300 * time.Millisecond, time.Second, 5 * time.Second}).Draw(t, "interval"),
			perDay:   rapid.IntRange(0, 4).Draw(t, "perDay"),
		}
		type accepted struct {
			id string
			at time.Time
		}
		var pushes []accepted // those that are on the broker as new
		now := time.Date(2026, 1, 1, 23, 59, 50, 0, time.UTC)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1200).Draw(t, "ms")) * time.Millisecond)
			id := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "id"))
			fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0

			var want Code
			repeat, today := false, 0
			for _, p := range pushes {
				repeat = repeat || p.id == id && now.Sub(p.at) < wire.DuplicateWindow
				if p.at.YearDay() == now.YearDay() {
					today++
				}
			}
			switch {
			case repeat || len(pushes) == 0 && q.perDay >= 0:
			case q.interval > 0 && now.Sub(pushes[len(pushes)-1].at) < q.interval:
				want = codePushInterval
			case q.perDay > 0 && today >= q.perDay:
				want = codePushPerDay
			}
			paid, err := q.admit(id, now)
			var refused *refusal
			errors.As(err, &refused)
			if (refused == nil) != (want == 0) || refused != nil && refused.code != want {
				t.Fatalf("at %v push %s: %v, want %d", now, id, err, want)
			}
			if err != nil {
				continue
			}
			isNew := !fails && !repeat
			q.settle(id, now, paid, isNew)
			if isNew {
				pushes = append(pushes, accepted{id, now})
			}
		}
	})
}

// A push that looked like a repeat, but came to the broker too late for one, is paid for after all.
func TestQuotaLateRepeat(t *testing.T) {
	t.Parallel()
	q := &quota{perDay: 2}
	now := time.Unix(1e9, 0)
	for n, step := range []struct {
		paid, isNew bool
	}{{true, true}, {false, true}} {
		paid, err := q.admit("id", now)
		if err != nil || paid != step.paid {
			t.Fatalf("step %d: %v, %v", n, paid, err)
		}
		q.settle("id", now, paid, step.isNew)
	}
	if _, err := q.admit("other", now); err == nil {
		t.Error("a third push of two is admitted")
	}
}
