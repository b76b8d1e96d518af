package offline

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// waiting is the oracle: who waits for a push when audiences up to place a, receipts up to place r and revocations up to
// place v count.
func (w *world) waiting(a, r, v uint64) map[push.Seq]byte {
	m := map[push.Seq]byte{}
	for _, l := range w.audiences {
		if l.place <= a && l.expire > time.Now().Unix() {
			m[l.seq] = l.users
		}
	}
	for _, l := range w.receipts {
		if users, ok := m[l.seq]; ok && l.place <= r {
			m[l.seq] = users &^ l.users
		}
	}
	for _, l := range w.audiences {
		if _, ok := m[l.revokes]; ok && l.place <= v {
			m[l.revokes] = 0
		}
	}
	return m
}

// hadIt is who has had the push that another one revokes, when receipts up to place r count; everybody for a push that
// revokes none.
func (w *world) hadIt(seq push.Seq, r uint64) byte {
	var users byte
	for _, l := range w.audiences {
		if l.seq == seq && l.revokes == 0 {
			return 0xff
		}
		for _, receipt := range w.receipts {
			if l.seq == seq && receipt.seq == l.revokes && receipt.place <= r {
				users |= receipt.users | receipt.sent
			}
		}
	}
	return users
}

const end = ^uint64(0)

// check holds the bucket to what its position claims: whoever restores from it and folds on is right.
func (w *world) check() {
	var at wire.Position
	if e, ok := w.bucket[wire.PositionSubject(app, 0)]; ok && len(e.m.Data) > 0 {
		var err error
		if at, err = wire.DecodePosition(e.m.Data); err != nil {
			w.t.Fatal(err)
		}
	}
	least, most := w.waiting(at.Audiences, end, end), w.waiting(end, at.Receipts, at.Audiences)
	for seq, users := range least {
		if _, ok := w.bucket[wire.PendingSubject(app, 0, seq)]; !ok {
			w.t.Fatalf("the position %+v claims push %d for %08b, and there is no entry", at, seq, users)
		}
	}
	for seq, users := range most {
		e, ok := w.bucket[wire.PendingSubject(app, 0, seq)]
		if !ok {
			continue
		}
		p, err := wire.DecodePending(e.m.Data, users8)
		if err != nil {
			if len(e.m.Data) == 0 {
				w.t.Fatalf("the entry of push %d has gone before its time", seq)
			}
			continue // spoilt by the test
		}
		if got := byteOf(p.Users); got&^users != 0 || least[seq]&^got != 0 {
			w.t.Fatalf("the position is %+v and the entry of push %d holds %08b: at least %08b and at most %08b", at, seq, got, least[seq], users)
		}
	}
}

// answers compares a worker's inboxes with the oracle.
func (k *member) answers() {
	w, now := k.w, time.Now().Unix()
	least, most := w.waiting(k.a, end, end), w.waiting(end, k.r, k.a)
	for u := range uint32(users8) {
		got := map[push.Seq]bool{}
		last := push.Seq(0)
		for _, seq := range k.s.pending.inbox(nil, u, now) {
			if seq <= last {
				w.t.Fatalf("the inbox of %d is not ascending", u)
			}
			if last = seq; most[seq]&w.hadIt(seq, end)&(1<<u) == 0 {
				w.t.Fatalf("user %d gets push %d again", u, seq)
			}
			got[seq] = true
		}
		for seq, users := range least {
			if users&w.hadIt(seq, k.r)&(1<<u) != 0 && !got[seq] {
				w.t.Fatalf("user %d does not get push %d", u, seq)
			}
		}
	}
}

// Whatever order the logs are folded in, and whenever workers write, fail, die and start again, two of them at once too:
// nobody loses a push, and nobody gets one again whose receipt is folded.
func TestAnyHistoryAgainstTheOracle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // a property as large as this needs more than the usual hundred
			rapid.Check(struct{ rapid.TB }{t}, anyHistory) // hides the deadline, which is not on the bubble's clock
		}
	})
}

func anyHistory(t *rapid.T) {
	<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // every history begins with a second
	w := &world{t: t, bucket: map[string]kept{}}
	for range rapid.IntRange(1, 2).Draw(t, "workers") {
		w.workers = append(w.workers, w.newcomer())
	}
	for range rapid.IntRange(0, 120).Draw(t, "steps") {
		w.act()
		if len(w.workers) == 1 && rapid.IntRange(0, 30).Draw(t, "spoil") == 0 {
			w.corrupt()
		}
		w.check()
		for _, k := range w.workers {
			k.answers()
		}
	}
	for _, k := range w.workers {
		k.settle()
	}
	fresh := w.start()
	fresh.settle()
	if entries := len(w.bucket); entries > len(w.audiences)+1 {
		t.Fatalf("%d entries of %d pushes", entries, len(w.audiences))
	}
}

// newcomer starts a worker while nothing else happens.
func (w *world) newcomer() *member {
	w.nested = true
	defer func() { w.nested = false }()
	return w.start()
}

// settle folds all that there is: then least and most are the same.
func (k *member) settle() {
	for more := true; more; {
		more = k.foldAudience()
		more = k.foldReceipt() || more
	}
	k.a, k.r = end, end
	k.answers()
	k.s.pending.expired(time.Now().Unix())
	if n := len(k.s.pending.early); n > 0 {
		k.w.t.Fatalf("%d early receipts are left, and every audience has come", n)
	}
}
