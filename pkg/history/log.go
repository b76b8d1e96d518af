package history

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// LogConfig says which part of the logs is wanted.
type LogConfig struct {
	App push.AppID
	// Since and Until bound the time at which the broker took an entry, both included; zero is unbounded. What comes after
	// the call has begun is left out in any case.
	Since, Until time.Time
	// First and Last bound the pushes that entries are about, both included; users' records are left out then. Zero is
	// unbounded. Where they are the same, the push's revocation and its replay are told of too.
	First, Last push.Seq
}

// Validate says what is wrong, in a sentence.
func (c LogConfig) Validate() error {
	switch {
	case c.App == 0:
		return errors.New("the logs are read for one app: its number is missing")
	case !c.Until.IsZero() && c.Until.Before(c.Since):
		return fmt.Errorf("the time from %s until %s is none", clock(c.Since), clock(c.Until))
	case c.Last != 0 && c.Last < c.First:
		return fmt.Errorf("the pushes from %d to %d are none", c.First, c.Last)
	}
	return nil
}

// chosen says that entries are about some pushes only.
func (c LogConfig) chosen() bool { return c.First != 0 || c.Last != 0 }

// one is the only push that is wanted, zero for several.
func (c LogConfig) one() push.Seq {
	if c.First == c.Last {
		return c.First
	}
	return 0
}

func (c LogConfig) has(seq push.Seq) bool { return seq >= c.First && (c.Last == 0 || seq <= c.Last) }

// feedAhead is how many entries of one stream wait for those of the others.
const feedAhead = 16

// feed is one stream's entries, in its order.
type feed struct {
	entries chan *Entry
	head    *Entry
	rank    int // among feeds, for entries of one moment
}

// Log reads the app's logs as one story, in the order in which the broker took the entries; of one moment, users' records
// come first, and then pushes, audiences and receipts. handle is called with one entry at a time, and its error ends the
// reading. What is held in memory is bounded for each stream, whatever it holds: a shard's log is one.
//
// Of a user's records a shard's log keeps the last.
func (h *History) Log(ctx context.Context, cfg LogConfig, handle func(*Entry) error) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if _, err := h.b.LastSeq(ctx, wire.PushesStream); err != nil { // a fold would wait for the stream
		return err
	}
	names, err := h.dir.AttrNames(ctx, cfg.App)
	if err != nil {
		return err
	}
	feeding, cancel := context.WithCancel(ctx)
	g, gctx := errgroup.WithContext(feeding)
	r := &reading{h: h, cfg: cfg, names: names, ctx: gctx, g: g}
	if err = r.begin(); err == nil {
		err = r.merge(handle)
	}
	cancel()
	if failed := g.Wait(); failed != nil && !errors.Is(failed, context.Canceled) && (err == nil || errors.Is(err, errFeed)) {
		return failed
	}
	return cmp.Or(ctx.Err(), err)
}

// errFeed is the end of a merge of which a feed has failed.
var errFeed = errors.New("a stream could not be read")

// reading is a Log while it is read.
type reading struct {
	h     *History
	cfg   LogConfig
	names directory.AttrNames
	ctx   context.Context // of the feeds
	g     *errgroup.Group
	feeds feeds
}

// begin starts the feeds.
func (r *reading) begin() error {
	c := r.cfg
	if !c.chosen() {
		shards, err := r.h.shards(r.ctx, c.App)
		if err != nil {
			return err
		}
		for _, shard := range shards {
			r.follow(wire.UsersStream(c.App, shard), wire.UserShardFilter(c.App, shard), 0, r.user)
		}
	}
	one := c.one()
	if one != 0 {
		r.feed(func(give func(*broker.Message) error) error { return r.about(one, give) }, wire.PushesStream, r.push)
	} else {
		r.follow(wire.PushesStream, wire.PushFilter(c.App), uint64(c.First), r.push)
	}
	r.follow(wire.AudiencesStream, wire.AudiencesFilter(c.App, one), 0, r.audience)
	r.follow(wire.ReceiptsStream, wire.ReceiptsFilter(c.App, one), 0, r.receipt)
	return nil
}

var errPast = errors.New("past what was asked for")

// follow reads one stream from where it is wanted.
func (r *reading) follow(stream, filter string, start uint64, tell teller) {
	r.feed(func(give func(*broker.Message) error) error {
		cfg := broker.FoldConfig{Stream: stream, Filter: filter, Start: start, StopWhenRead: true, Handle: give}
		if start == 0 {
			cfg.Since = r.cfg.Since
		}
		return r.h.b.Fold(r.ctx, cfg)
	}, stream, tell)
}

// teller makes an entry of a message; nil leaves it out, errPast ends the feed.
type teller func(*broker.Message, *Entry) error

// feed tells of what read gives.
func (r *reading) feed(read func(give func(*broker.Message) error) error, stream string, tell teller) {
	f := &feed{entries: make(chan *Entry, feedAhead), rank: len(r.feeds)}
	r.feeds = append(r.feeds, f)
	r.g.Go(func() error {
		defer close(f.entries)
		err := read(func(m *broker.Message) error {
			if !r.cfg.Until.IsZero() && m.Time.After(r.cfg.Until) {
				return errPast
			}
			if m.Time.Before(r.cfg.Since) {
				return nil
			}
			e := &Entry{At: m.Time.UTC(), Stream: stream, Seq: m.Seq}
			switch err := tell(m, e); {
			case errors.Is(err, errPast):
				return err
			case errors.Is(err, errOther):
				return nil
			case err != nil: // what cannot be read is part of the story
				*e = Entry{At: e.At, Stream: stream, Seq: m.Seq, Kind: EntryUnreadable, Why: err.Error()}
			}
			select { // the merge takes it, the end of the reading ends it
			case f.entries <- e:
				return nil
			case <-r.ctx.Done():
				return r.ctx.Err()
			}
		})
		if errors.Is(err, errPast) {
			return nil
		}
		return err
	})
}

// about gives a push, its revocation and its replay.
func (r *reading) about(seq push.Seq, give func(*broker.Message) error) error {
	m, err := r.h.b.Get(r.ctx, wire.PushesStream, uint64(seq))
	if errors.Is(err, broker.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	app := wire.PushSubject(r.cfg.App, "")
	if !strings.HasPrefix(m.Subject, app) {
		return nil
	}
	others := []string{wire.RevocationSubject(r.cfg.App, seq), wire.PushSubject(r.cfg.App, wire.ReplayName(seq))}
	found, err := r.h.b.LastOf(r.ctx, wire.PushesStream, others)
	if err != nil {
		return err
	}
	a, b := found[others[0]], found[others[1]]
	if a != nil && b != nil && b.Seq < a.Seq {
		a, b = b, a
	}
	for _, m := range []*broker.Message{m, a, b} {
		if m == nil {
			continue
		}
		if err := give(m); err != nil {
			return err
		}
	}
	return nil
}

// merge hands the feeds' entries over in the order of their times.
func (r *reading) merge(handle func(*Entry) error) error {
	open := r.feeds[:0]
	for _, f := range r.feeds {
		if f.next() {
			open = append(open, f)
		}
	}
	heap.Init(&open)
	for len(open) > 0 {
		f := open[0]
		if r.ctx.Err() != nil { // a feed that has failed is not one that has ended
			return errFeed
		}
		if err := handle(f.head); err != nil {
			return err
		}
		if f.next() {
			heap.Fix(&open, 0)
		} else {
			heap.Pop(&open)
		}
	}
	return nil
}

// next waits for the feed's next entry, and says whether there is one.
func (f *feed) next() bool {
	var more bool
	f.head, more = <-f.entries // the feed wakes it, with an entry or its end
	return more
}

// feeds is a heap of those that have an entry, the earliest first.
type feeds []*feed

func (fs feeds) Len() int { return len(fs) }
func (fs feeds) Less(i, j int) bool {
	if a, b := fs[i].head.At, fs[j].head.At; !a.Equal(b) {
		return a.Before(b)
	}
	return fs[i].rank < fs[j].rank
}
func (fs feeds) Swap(i, j int) { fs[i], fs[j] = fs[j], fs[i] }
func (fs *feeds) Push(f any)   { *fs = append(*fs, f.(*feed)) }
func (fs *feeds) Pop() any {
	last := len(*fs) - 1
	f := (*fs)[last]
	*fs = (*fs)[:last]
	return f
}
