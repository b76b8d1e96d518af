package offline

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// world is a history of one shard: its two logs, its bucket, and the workers that hold it. Users are 0…7, sets of them
// bytes. Everything happens in one goroutine, on the bubble's clock; what may happen between two steps of a worker is
// drawn at each step (between).
type world struct {
	t         *rapid.T
	place     uint64 // the last place in either log; other shards' messages leave gaps
	audiences []logged
	receipts  []logged
	bucket    map[string]kept
	rev       uint64
	workers   []*member
	writing   *member // the worker that is checkpointing
	nested    bool
}

type logged struct {
	place   uint64
	seq     push.Seq
	expire  int64
	users   byte
	sent    byte     // of a receipt: who was only sent the push
	revokes push.Seq // of a revocation's audience
}

// had is readHad on the history's log.
func (k *member) had(revoked push.Seq) {
	for _, l := range k.w.receipts {
		if l.seq == revoked {
			k.s.pending.had(revoked, wire.Receipt{Received: set(l.users), Opened: set(0), Sent: set(l.sent)})
		}
	}
}

type kept struct {
	m    broker.Message
	gone time.Time // zero: never
}

// member is a worker, and how far it has folded.
type member struct {
	w    *world
	s    *shard
	a, r uint64
	fail int // the bucket's step that fails, counted down; negative: none
}

const (
	users8            = 8
	app    push.AppID = 7
)

var errLost = errors.New("lost by the test")

// Publish and Last are the bucket as a worker sees it.
func (k *member) Publish(_ context.Context, m broker.Message) (uint64, bool, error) {
	k.w.between()
	if k.step() {
		return 0, false, errLost
	}
	w := k.w
	if old := w.bucket[m.Subject]; m.Expect != nil && *m.Expect != old.m.Seq {
		return 0, false, broker.ErrConflict
	}
	w.rev++
	m.Seq, m.Expect = w.rev, nil
	e := kept{m: m}
	if m.TTL > 0 {
		if m.TTL != m.TTL.Truncate(time.Second) {
			w.t.Fatalf("a TTL of %v is not in whole seconds", m.TTL)
		}
		e.gone = time.Now().Add(m.TTL)
	}
	w.bucket[m.Subject] = e
	w.check()
	if k.step() {
		return 0, false, errLost
	}
	return m.Seq, false, nil
}

func (k *member) Last(_ context.Context, _, subject string) (*broker.Message, error) {
	k.w.between()
	e, ok := k.w.bucket[subject]
	if !ok {
		return nil, broker.ErrNotFound
	}
	return &e.m, nil
}

func (k *member) step() bool {
	k.fail--
	return k.fail == -1
}

// between lets another worker act, or time pass, between two steps of one.
func (w *world) between() {
	if w.nested || rapid.IntRange(0, 3).Draw(w.t, "between") > 0 {
		return
	}
	w.nested = true
	w.act()
	w.nested = false
}

func (w *world) start() *member {
	k := &member{w: w, fail: -1}
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	k.s = &shard{
		o: &Offline{metrics: m}, app: app, log: slog.New(slog.DiscardHandler), width: users8,
		pending: newPending(), fresh: make(chan struct{}, 1),
	}
	k.s.checkpoint = checkpoint{s: k.s, b: k}
	k.s.pending.most, k.s.pending.spare = rapid.IntRange(1, 4).Draw(w.t, "rows of a sheet"), 0
	position := wire.PositionSubject(app, 0)
	last := func(subject string) *broker.Message {
		if e, ok := w.bucket[subject]; ok {
			return &e.m
		}
		return nil
	}
	k.s.restorePosition(last(position))
	k.s.pending.at = k.s.checkpoint.at
	w.between()
	for some := range slices.Chunk(w.subjects(), rapid.IntRange(1, 3).Draw(w.t, "at once")) {
		w.between()
		found := map[string]*broker.Message{}
		for _, subject := range append(some, position) {
			if m := last(subject); m != nil {
				found[subject] = m
			}
		}
		if err := k.s.restoreAnswer(found); err != nil {
			w.t.Fatal(err)
		}
	}
	k.a, k.r = k.s.pending.at.Audiences, k.s.pending.at.Receipts
	for _, revoked := range k.s.pending.revocations() {
		k.had(revoked)
	}
	return k
}

// foldAudience folds one message of the log, if there is one that the worker has not folded.
func (k *member) foldAudience() bool {
	for _, l := range k.w.audiences {
		if l.place > k.a {
			if l.revokes != 0 {
				if k.s.pending.revocation(l.seq, l.revokes, l.expire, time.Now().Unix(), set(l.users), l.place) {
					k.had(l.revokes)
				}
			} else {
				data, _ := wire.EncodeBitmap(set(l.users))
				k.fold(k.s.foldAudience, wire.AudienceSubject(app, 0, l.seq), data, l)
			}
			k.a = l.place
			return true
		}
	}
	return false
}

func (k *member) foldReceipt() bool {
	for _, l := range k.w.receipts {
		if l.place > k.r {
			data, _ := wire.EncodeReceipt(wire.Receipt{Received: set(l.users & 0x55), Opened: set(l.users), Sent: set(l.sent)})
			k.fold(k.s.foldReceipt, wire.ReceiptSubject(app, 0, l.seq), data, l)
			k.r = l.place
			return true
		}
	}
	return false
}

func (k *member) fold(f func(context.Context, *broker.Message, int64) error, subject string, data []byte, l logged) {
	if err := f(context.Background(), &broker.Message{Subject: subject, Data: data, Seq: l.place}, l.expire); err != nil {
		k.w.t.Fatal(err)
	}
}

func (k *member) write() {
	if k.w.writing == k {
		return // it has one checkpoint at a time
	}
	outer := k.w.writing
	k.w.writing = k
	k.s.checkpoint.write(context.Background(), rapid.Bool().Draw(k.w.t, "all"))
	k.w.writing = outer
}

func set(users byte) *roaring.Bitmap {
	b := roaring.New()
	for u := range uint32(users8) {
		if users&(1<<u) != 0 {
			b.Add(u)
		}
	}
	return b
}

func byteOf(b *roaring.Bitmap) (users byte) {
	for _, u := range b.ToArray() {
		users |= 1 << u
	}
	return users
}

// act is one thing that may happen.
func (w *world) act() {
	t := w.t
	k := rapid.SampledFrom(w.workers).Draw(t, "worker")
	switch rapid.IntRange(0, 12).Draw(t, "act") {
	case 0:
		expire := time.Now().Unix() + rapid.Int64Range(-1, 9).Draw(t, "life")
		w.audience(logged{expire: expire, users: rapid.Byte().Draw(t, "users")})
	case 1, 2:
		if len(w.audiences) > 0 {
			a := rapid.SampledFrom(w.audiences).Draw(t, "push")
			w.place += rapid.Uint64Range(1, 3).Draw(t, "gap")
			w.receipts = append(w.receipts, logged{
				place: w.place, seq: a.seq, expire: a.expire, users: rapid.Byte().Draw(t, "users"), sent: rapid.Byte().Draw(t, "sent"),
			})
		}
	case 3, 4:
		k.foldAudience()
	case 5, 6:
		k.foldReceipt()
	case 7, 8:
		k.write()
	case 9: // a failure of the broker, or the loss of its answer, at one of the next steps
		k.fail = rapid.IntRange(0, 4).Draw(t, "fail")
		k.write()
		k.fail = -1
	case 10: // a crash, unless it is in the middle of a checkpoint or of its start
		if !w.nested {
			w.nested = len(w.workers) == 1 // alone, nobody acts while it starts
			*k = *w.start().adopt(k)
			w.nested = false
		}
	case 12:
		if len(w.audiences) > 0 {
			a := rapid.SampledFrom(w.audiences).Draw(t, "revoked")
			again := func(l logged) bool { return l.revokes == a.seq }
			if a.revokes == 0 && !slices.ContainsFunc(w.audiences, again) {
				w.audience(logged{expire: a.expire, users: a.users, revokes: a.seq})
			}
		}
	case 11:
		<-time.After(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond)
		k.s.pending.expired(time.Now().Unix())
		k.s.pending.tidy()
		for _, subject := range w.subjects() {
			e := w.bucket[subject]
			if !e.gone.IsZero() && !e.gone.After(time.Now()) {
				w.rev++
				w.bucket[subject] = kept{m: broker.Message{Subject: subject, Seq: w.rev}}
			}
		}
	}
}

// audience adds one to the log.
func (w *world) audience(l logged) {
	w.place += rapid.Uint64Range(1, 3).Draw(w.t, "gap")
	l.place, l.seq = w.place, push.Seq(50+(len(w.audiences)^1))
	w.audiences = append(w.audiences, l)
}

// adopt makes a started worker take the place of the one that died.
func (k *member) adopt(old *member) *member {
	k.s.checkpoint.b = old
	return k
}

// subjects of the bucket, in an order that a repeated history has too.
func (w *world) subjects() []string { return slices.Sorted(maps.Keys(w.bucket)) }

// corrupt spoils an entry of the bucket. With a second worker, that one may claim more than the entry holds that is made
// anew, until the logs are folded that far again; so histories of two are without.
func (w *world) corrupt() {
	for _, subject := range w.subjects() {
		e := w.bucket[subject]
		if len(e.m.Data) > 0 && !strings.HasSuffix(subject, ".position") {
			e.m.Data = []byte{99}
			w.bucket[subject] = e
			return
		}
	}
}
