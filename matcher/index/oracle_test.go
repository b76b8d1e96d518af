package index

import (
	"fmt"
	"slices"

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
	for _, table := range x.terms.tables {
		for _, e := range table.slots {
			if e.id() != 0 {
				entries++
			}
		}
	}
	if entries != len(terms) {
		t.Fatalf("%d entries in the tables for %d terms", entries, len(terms))
	}
	checkPostings(t, x)
}

// checkPostings recounts every term's postings, and what of the arenas and blocks is in use.
func checkPostings(t interface{ Fatalf(string, ...any) }, x *Index) {
	p := &x.postings
	tables, arrays, blocks := 0, 0, 0
	size := func(n int) int {
		_, size := sizeClass(n)
		return size
	}
	for _, tm := range append(x.sets(), allTerms(x)...) {
		switch {
		case tm.n == isTable:
			tab := p.table(tm.at)
			tables += size(len(tab))
			n := 0
			for span := range tab.spans() {
				c := tab.at(span)
				n += c.len()
				switch {
				case c.n&isWords != 0:
					blocks++
					if got := p.blocks[c.at].count(); got != c.len() || got < minWords {
						t.Fatalf("a block of %d says %d", got, c.len())
					}
				case c.n > maxArray:
					t.Fatalf("an array of %d", c.n)
				case c.n > 0:
					arrays += size(c.len())
					if !slices.IsSorted(p.arrays.run(c.at, c.len())) {
						t.Fatalf("an array that is not ascending")
					}
				}
			}
			if n != tab.len() || n < minTable && (n < 2 || tab.spans() <= listSpans) {
				t.Fatalf("a table of %d says %d", n, tab.len())
			}
		case tm.n > maxList:
			t.Fatalf("a list of %d", tm.n)
		case tm.n > 1:
			arrays += size(listLen(int(tm.n)))
			list := p.list(tm, nil)
			for i := 1; i < list.len(); i++ {
				if list.at(i-1) >= list.at(i) {
					t.Fatalf("a list that is not ascending")
				}
			}
		}
	}
	if p.tables.live != tables || p.arrays.live != arrays {
		t.Fatalf("the arenas say %d and %d elements are in use, the terms use %d and %d", p.tables.live, p.arrays.live, tables, arrays)
	}
	for _, b := range p.blocks {
		if b != nil {
			blocks--
		}
	}
	if blocks != 0 {
		t.Fatalf("%d more blocks are used than there are", blocks)
	}
}

func allTerms(x *Index) (all []*term) {
	for id := range uint32(x.terms.n) {
		if t := x.terms.at(id); t.kind != noTerm {
			all = append(all, t)
		}
	}
	return all
}
