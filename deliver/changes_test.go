package deliver

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

var errEnough = errors.New("that is enough")

// told waits until so many changes of sessions are on the broker, and gives them, each as "place change platform reason".
// What stands twice under one ID counts once.
func (g *gateway) told(n int) (told []string) {
	g.t.Helper()
	seen := map[string]bool{}
	err := g.b.Fold(g.t.Context(), broker.FoldConfig{
		Stream: wire.EventsStream, Filter: wire.SessionEventSubject(testApp),
		Handle: func(m *broker.Message) error {
			got, err := wire.DecodeSessionEvents(m.Data)
			if err != nil || seen[got.ID] {
				return err
			}
			seen[got.ID] = true
			for _, e := range got.Events {
				told = append(told, strings.TrimSpace(fmt.Sprint(g.b.Sharding().Local(e.Ordinal), " ", e.Change, " ", e.Platform, " ", e.Reason)))
			}
			if len(told) >= n {
				return errEnough
			}
			return nil
		},
	})
	if !errors.Is(err, errEnough) {
		g.t.Fatal(err)
	}
	return told
}

func withEvents(c *Config) { c.Apps[0].Events = true }

func TestChangesOfSessionsAreTold(t *testing.T) {
	t.Parallel()
	var refused atomic.Int32
	g := startOn(t, brokertest.Start(t).Faulty(func(operation string) error {
		if strings.HasSuffix(operation, wire.SessionEventSubject(testApp)) && refused.Add(1) < 4 { // it never happened, nor was heard of
			return brokertest.ErrCrash
		}
		return nil
	}), withEvents)
	at := g.register("leaves", "vanishes", "kicked", "stays")
	g.nothing()
	line := func(who string, rest string) string { return fmt.Sprint(at[who], " ", rest) }
	var want []string
	for _, who := range []string{"leaves", "vanishes", "kicked", "stays"} {
		p := g.login(who)
		want = append(want, line(who, "1 iOS"))
		switch who {
		case "leaves":
			p.text(`{"t":"logout"}`)
			p.code()
			want = append(want, line(who, "2 iOS"))
		case "vanishes":
			_ = p.conn.Close()
			want = append(want, line(who, "3 iOS gone"))
		case "kicked":
			for _, s := range g.sessions(testApp, g.b.Sharding().Ordinal(0, at[who])) {
				s.close(wire.CloseKicked)
			}
			p.code()
			want = append(want, line(who, "3 iOS kicked"))
		}
	}
	g.told(7)
	g.stop() // what the end of the process ends is told too
	want = append(want, line("stays", "3 iOS draining"))
	got := g.told(8)
	for _, who := range []string{"leaves", "vanishes", "kicked", "stays"} {
		mine := func(all []string) []string {
			return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, fmt.Sprint(at[who], " ")) })
		}
		if g, w := mine(got), mine(want); !slices.Equal(g, w) {
			t.Errorf("of who %s was told %q, want %q", who, g, w)
		}
	}
	if n := valueOf(t, g.metrics.changes.WithLabelValues(changePublished)); n != 8 {
		t.Errorf("%v are counted", n)
	}
}

func TestNothingIsToldOfOtherApps(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.nothing()
	p := g.login("u")
	p.text(`{"t":"logout"}`)
	p.code()
	g.stop()
	if n, err := g.b.LastSeq(t.Context(), wire.EventsStream); err != nil || n != 0 {
		t.Errorf("%d messages, %v", n, err)
	}
}

// A gateway whose broker takes nothing drops changes beyond its queue, and counts them; no session waits.
func TestChangesBeyondTheQueueAreCounted(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Apps = []App{{ID: testApp, Keys: []string{testKey}, Events: true}}
	d, err := New(cfg, brokertest.Start(t), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &session{shard: newShard(d, testApp, 0), local: 7}
	for range maxChanges + 5 {
		s.mu.Lock()
		s.tell(wire.SessionLogin, "")
		s.mu.Unlock()
	}
	if n := valueOf(t, d.metrics.changes.WithLabelValues(changeFull)); n != 5 {
		t.Errorf("%v were dropped", n)
	}
	if err := d.changes.flush(ended(t)); err == nil {
		t.Error("nobody can publish any more, and there is no error")
	}
	if n := valueOf(t, d.metrics.changes.WithLabelValues(changeFailed)); n != maxChanges {
		t.Errorf("%v were lost at the end", n)
	}
}

func TestTellingOfASessionAllocatesNothing(t *testing.T) {
	d := &Deliver{}
	d.apps.Store(&map[push.AppID]App{testApp: {Events: true}})
	d.b = brokertest.Start(t)
	d.changes = newChanges(d)
	s := &session{shard: newShard(d, testApp, 0), local: 7}
	if n := testing.AllocsPerRun(1000, func() { s.tell(wire.SessionLogin, "") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
