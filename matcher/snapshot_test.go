package matcher

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// often makes a snapshot due after one change, at the end alone.
func often(c *Config) { c.Snapshot, c.SnapshotChanges = time.Hour, 1 }

func results(t *testing.T, m *Matcher) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for _, r := range []string{resultLoaded, resultAbsent, resultStale, resultVersion, resultCorrupt, resultWritten, resultFailed} {
		var c dto.Metric
		if err := m.metrics.snapshots.WithLabelValues(r).Write(&c); err != nil {
			t.Fatal(err)
		}
		if n := c.Counter.GetValue(); n > 0 {
			got[r] = n
		}
	}
	return got
}

func updates(t *testing.T, m *Matcher) int {
	t.Helper()
	var c dto.Metric
	if err := m.metrics.updates.Write(&c); err != nil {
		t.Fatal(err)
	}
	return int(c.Counter.GetValue())
}

// records is how many have been written.
func (h *bench) records() (n int) {
	for _, v := range h.versions {
		n += len(v)
	}
	return n
}

// A matcher that ends leaves a snapshot; the next begins with it, reads the rest of the log alone, and its audiences are
// right.
func TestRestartFromSnapshots(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0, 3)
	for round := range 4 {
		before := h.records()
		for _, s := range h.shards {
			h.change(s, 100)
		}
		changed := h.records() - before
		h.push(h.node(3))
		m, stop := h.run(h.b, often)
		h.push(h.node(3))
		h.audiences()
		for _, s := range h.shards { // the index as a whole
			n := h.node(3)
			got, err := h.count(s, wire.MatchRequest{Folded: h.folded(s), Predicates: []string{predicate.String(n)}})
			if err != nil || !got.Users.Equals(h.expected(s, n)) {
				t.Errorf("round %d: %v, %v", round, got, err)
			}
		}
		if got := updates(t, m); round > 0 && got != changed {
			t.Errorf("round %d: %d records were read, %d had changed since the snapshots", round, got, changed)
		}
		stop()
		want := map[string]float64{resultWritten: 2, resultLoaded: 2}
		if round == 0 {
			want = map[string]float64{resultWritten: 2, resultAbsent: 2}
		}
		if got := results(t, m); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("round %d: snapshots %v, want %v", round, got, want)
		}
	}
}

// store puts bytes in the place of a shard's snapshot.
func (h *bench) store(s push.Shard, place wire.IndexPlace, data []byte) {
	h.Helper()
	if _, err := h.b.PutObject(h.Context(), wire.Indexes(), wire.IndexObject(app, s), wire.EncodeIndexPlace(place), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}); err != nil {
		h.Fatal(err)
	}
}

func (h *bench) stored(s push.Shard) (wire.IndexPlace, []byte) {
	h.Helper()
	o, err := h.b.GetObject(h.Context(), wire.Indexes(), wire.IndexObject(app, s))
	if err != nil {
		h.Fatal(err)
	}
	defer o.Close()
	data, err := io.ReadAll(o)
	if err != nil {
		h.Fatal(err)
	}
	place, err := wire.DecodeIndexPlace(o.Meta)
	if err != nil {
		h.Fatal(err)
	}
	return place, data
}

// A snapshot that is not of this log, goes further than it, or cannot be read is not used: the log is read instead.
func TestSnapshotsThatAreNotUsed(t *testing.T) {
	t.Parallel()
	for result, spoil := range map[string]func(*wire.IndexPlace, []byte) []byte{
		resultLoaded: func(_ *wire.IndexPlace, b []byte) []byte { return b },
		resultStale: func(p *wire.IndexPlace, b []byte) []byte {
			p.Created = p.Created.Add(-time.Nanosecond)
			return b
		},
		resultStale + " and ahead": func(p *wire.IndexPlace, b []byte) []byte {
			p.Folded = 1 << 40
			return b
		},
		resultCorrupt: func(_ *wire.IndexPlace, b []byte) []byte {
			b[len(b)/2] ^= 1
			return b
		},
		resultCorrupt + " and short": func(_ *wire.IndexPlace, b []byte) []byte { return b[:len(b)-1] },
		resultVersion: func(_ *wire.IndexPlace, b []byte) []byte {
			b[len("carillon-index")]++
			return b
		},
	} {
		t.Run(result, func(t *testing.T) {
			t.Parallel()
			h := newBench(t, 0)
			h.change(0, 100)
			_, stop := h.run(h.b, often)
			h.push(predicate.All{})
			h.audiences()
			stop()
			place, data := h.stored(0)
			data = spoil(&place, data)
			h.store(0, place, data)
			h.change(0, 30)
			m, _ := h.run(h.b, often)
			h.push(h.node(3))
			h.audiences()
			want := result
			for _, r := range []string{resultStale, resultCorrupt} {
				if len(result) > len(r) && result[:len(r)] == r {
					want = r
				}
			}
			if got := results(t, m); fmt.Sprint(got) != fmt.Sprint(map[string]float64{want: 1}) {
				t.Errorf("snapshots %v, want one %s", got, want)
			}
		})
	}
}

// A matcher that dies at any step of writing a snapshot leaves the one before, or the new one.
func TestCrashWhileWritingASnapshot(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	for n := range 3 {
		h.change(0, 60)
		h.push(predicate.All{})
		step := 0
		_, stop := h.run(h.b.Faulty(func(operation string) error {
			if operation != "before put object 7.0" && operation != "after put object 7.0" {
				return nil
			}
			if step++; step > n {
				return context.Canceled
			}
			return nil
		}), often)
		h.push(predicate.All{})
		h.audiences()
		stop()
		if n > 0 {
			if place, data := h.stored(0); place.Folded == 0 || len(data) == 0 {
				t.Errorf("step %d: %+v, %d bytes", n, place, len(data))
			}
		}
	}
}

// Snapshots are written while the index changes, and whoever begins with one of them comes to the same index.
func TestSnapshotsWhileRecordsChange(t *testing.T) {
	t.Parallel()
	h := newBench(t, 0)
	m, stop := h.run(h.b, func(c *Config) { c.Snapshot, c.SnapshotChanges = time.Millisecond, 1 })
	for results(t, m)[resultWritten] < 5 {
		h.change(0, 20)
	}
	stop() // who reads one that is being replaced may be told to try again
	place, data := h.stored(0)
	x, err := index.Read(bytes.NewReader(data), h.b.Sharding().Width())
	if err != nil {
		t.Fatal(err)
	}
	last := h.folded(0)
	s := &shard{m: m, app: app, index: x, batch: newBatch(maxBatch)}
	if err := h.b.Fold(t.Context(), broker.FoldConfig{
		Stream: wire.UsersStream(app, 0), Start: place.Folded + 1, StopWhenRead: true, Handle: s.fold,
	}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		n := h.node(3)
		if got, want := x.Eval(n), h.expected(0, n); !got.Equals(want) {
			t.Fatalf("%s from a snapshot at %d of %d: %v, want %v", predicate.String(n), place.Folded, last, got, want)
		}
	}
}
