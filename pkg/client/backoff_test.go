package client

import (
	"errors"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/wire"
)

// bounds draws many pauses after some failures, and gives the least and the longest.
func bounds(failures int, open time.Duration, err error) (least, most time.Duration) {
	least = time.Hour
	for range 2000 {
		b := backoff{attempts: failures}
		p := b.pause(open, err)
		least, most = min(least, p), max(most, p)
	}
	return least, most
}

func TestPauses(t *testing.T) {
	t.Parallel()
	lost, draining := errors.New("lost"), error(&Closed{Code: int(wire.CloseDraining)})
	later := error(&Unavailable{RetryAfter: time.Minute})
	for name, c := range map[string]struct {
		failures  int
		open      time.Duration
		err       error
		low, high time.Duration
	}{
		"first":                    {0, 0, lost, 0, 200 * time.Millisecond},
		"third":                    {2, 0, lost, 0, 800 * time.Millisecond},
		"eighth":                   {7, 0, lost, 0, 25600 * time.Millisecond},
		"ninth":                    {8, 0, lost, 0, 30 * time.Second},
		"after years":              {1 << 40, 0, lost, 0, 30 * time.Second},
		"open for too short":       {8, steady - 1, lost, 0, 30 * time.Second},
		"open for a while":         {8, steady, lost, 0, 200 * time.Millisecond},
		"draining":                 {0, time.Hour, draining, 500 * time.Millisecond, 5 * time.Second},
		"draining again and again": {8, 0, draining, 500 * time.Millisecond, 30 * time.Second},
		"asked to wait":            {0, 0, later, time.Minute, 75*time.Second + 200*time.Millisecond},
	} {
		least, most := bounds(c.failures, c.open, c.err)
		// Of so many draws, some are near each end.
		span := c.high - c.low
		if least < c.low || most >= c.high+1 || least > c.low+span/5 || most < c.high-span/5 {
			t.Errorf("%s: %v to %v, want %v to %v", name, least, most, c.low, c.high)
		}
	}
}

// An attempt counts until a session was steady.
func TestPausesGrow(t *testing.T) {
	t.Parallel()
	var b backoff
	for range 10 {
		b.pause(time.Second, nil)
	}
	if b.attempts != 10 {
		t.Errorf("%d attempts", b.attempts)
	}
	if p := b.pause(steady, nil); p > firstPause || b.attempts != 1 {
		t.Errorf("a pause of %v, %d attempts", p, b.attempts)
	}
}
