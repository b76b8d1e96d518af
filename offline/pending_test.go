package offline

import (
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Pushes become a sheet when enough have gathered, but for revocations and those that are shorter as a bitmap; what is
// revoked leaves it, and what is left of a wasteful one becomes rows, and a sheet with others again.
func TestPushesGatherInSheets(t *testing.T) {
	t.Parallel()
	p := newPending()
	p.most, p.spare = 4, 0
	shape := func(when string, live, rows, sheets int) {
		t.Helper()
		if len(p.live) != live || len(p.rows) != rows || len(p.sheets) != sheets {
			t.Errorf("%s: %d pushes, %d rows and %d sheets, want %d, %d and %d", when, len(p.live), len(p.rows), len(p.sheets), live, rows, sheets)
		}
	}
	audience := func(seq push.Seq, expire int64) {
		users := roaring.New()
		for u := uint32(0); u < 3000; u += 2 {
			users.Add(u)
		}
		p.audience(seq, expire, 0, users, uint64(seq))
	}
	everybody := roaring.New()
	everybody.AddRange(0, 1<<20)
	p.audience(1, 9, 0, everybody, 1)
	p.revocation(2, 90, 9, 0, roaring.BitmapOf(1, 2, 3), 2)
	for seq := push.Seq(3); seq < 6; seq++ {
		audience(seq, 5)
	}
	shape("three", 5, 5, 0)
	audience(6, 9)
	shape("four", 6, 2, 1)
	audience(7, 9)
	p.revocation(8, 3, 9, 0, roaring.BitmapOf(1), 8)
	shape("one is revoked", 8, 5, 1)
	if live := p.expired(5); live != 5 {
		t.Errorf("%d live, want 5", live)
	}
	shape("three have expired", 5, 4, 1)
	p.tidy()
	shape("what is left of them", 5, 5, 0)
	audience(9, 9)
	audience(10, 9)
	shape("four again", 7, 3, 1)
	if got := p.inbox(nil, 2, 5); len(got) != 5 || got[0] != 1 || got[4] != 10 {
		t.Errorf("user 2 waits for %v", got)
	}
}

func TestAnswersDoNotAllocate(t *testing.T) { // not parallel: others' allocations would count
	p, a := livePushes(t, 130).pending, new(answer)
	users := []uint32{0, 77, 1 << 19, million - 1}
	if len(p.sheets) != 2 || len(p.rows) != 2 {
		t.Fatalf("%d sheets and %d rows", len(p.sheets), len(p.rows))
	}
	if n := testing.AllocsPerRun(100, func() { a.lay(p, users, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	all, err := wire.DecodeInboxes(a.data)
	if err != nil || len(all) != len(users) || len(all[0]) != 0 || len(all[1]) < 30 || len(all[1]) > 100 {
		t.Errorf("%v, %v", all, err)
	}
}

// An answer ends when it is long: the broker would not take it, and nobody would ever have one.
func TestALongAnswerIsOfTheFirst(t *testing.T) {
	t.Parallel()
	p, a := newPending(), new(answer)
	users := make([]uint32, wire.MaxInboxUsers)
	for i := range users {
		users[i] = uint32(i)
	}
	const pushes = 3 * longAnswer / wire.MaxInboxUsers
	for seq := range push.Seq(pushes) {
		p.audience(seq+1, 9, 0, roaring.BitmapOf(users...), uint64(seq+1))
	}
	answered, found := a.lay(p, users, 0)
	all, err := wire.DecodeInboxes(a.data)
	if err != nil || len(all) != answered || answered < len(users)/4 || answered > len(users)/2 || found != answered*pushes {
		t.Errorf("%d of %d have an answer, with %d pushes; %v", answered, len(users), found, err)
	}
	for _, seqs := range all {
		if len(seqs) != pushes {
			t.Fatalf("an inbox has %d pushes", len(seqs))
		}
	}
}
