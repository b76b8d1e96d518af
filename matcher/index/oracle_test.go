package index

import (
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// oracle is the naive index: the records, and predicate.Match for each.
type oracle map[uint32]*push.Record

func (o oracle) apply(u uint32, rec *push.Record) {
	if rec.Deleted {
		delete(o, u)
	} else {
		o[u] = rec
	}
}

func (o oracle) eval(n predicate.Node) *roaring.Bitmap {
	b := roaring.New()
	for u, rec := range o {
		if predicate.Match(n, subject{rec}) {
			b.Add(u)
		}
	}
	return b
}

type subject struct{ *push.Record }

func (s subject) Attr(slot uint8) string {
	if int(slot) >= len(s.Attrs) {
		return ""
	}
	return s.Attrs[slot]
}

func checkAgainst(t interface{ Fatalf(string, ...any) }, x *Index, o oracle, n predicate.Node) {
	want, got := o.eval(n), x.Eval(n)
	if !want.Equals(got) {
		t.Fatalf("%s: %d users, the oracle says %d; differing: %v", predicate.String(n),
			got.GetCardinality(), want.GetCardinality(), roaring.Xor(want, got))
	}
	if c := x.Count(n); c != want.GetCardinality() {
		t.Fatalf("%s: Count %d, the oracle says %d", predicate.String(n), c, want.GetCardinality())
	}
}

// checkInvariants recounts what the index keeps beside the postings.
func checkInvariants(t interface{ Fatalf(string, ...any) }, x *Index, o oracle) {
	terms := make(map[string]bool)
	for _, rec := range o {
		for _, tag := range rec.Tags {
			terms["t"+tag] = true
		}
		for s, v := range rec.Attrs {
			if v != "" {
				terms[fmt.Sprint(s, v)] = true
			}
		}
	}
	if x.Terms() != len(terms) {
		t.Fatalf("%d terms in the dictionary, the users have %d", x.Terms(), len(terms))
	}
	if x.Users() != uint64(len(o)) {
		t.Fatalf("%d users, want %d", x.Users(), len(o))
	}
	entries := 0
	for _, e := range x.terms.table {
		if e.id != 0 {
			entries++
		}
	}
	if entries != len(terms) {
		t.Fatalf("%d entries in the table for %d terms", entries, len(terms))
	}
	live := 0
	for i := range x.terms.all {
		if tm := &x.terms.all[i]; tm.n > 1 && tm.n != isBig {
			_, size := sizeClass(int(tm.n))
			live += size
		}
	}
	if x.postings.lists.live != live {
		t.Fatalf("the arena of lists says %d elements are in use, the terms use %d", x.postings.lists.live, live)
	}
}
