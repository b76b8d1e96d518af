package match

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// known is a record as a condition's subject.
type known struct{ *push.Record }

func (k known) Attr(slot uint8) string { return k.Attrs[slot] }

// TestBitops runs the operations of each form on bitmaps as Redis gets them; the naive peer looks at every record.
func TestBitops(t *testing.T) {
	t.Parallel()
	p := population{users: 2000}
	var conditions []predicate.Node
	for _, round := range draw(p, 20, 7) {
		conditions = append(conditions, round...)
	}
	conditions = append(conditions, predicate.Not{Kid: predicate.And{Kids: []predicate.Node{predicate.All{}, predicate.Not{Kid: predicate.Tag{Name: "tag-3"}}}}})
	w, err := newWanted(conditions)
	if err != nil {
		t.Fatal(err)
	}
	memory := map[string][]byte{}
	for i, piece := range w.bitmaps(0, 800) { // two pieces, as a load has several
		memory[w.keys[i]] = piece
	}
	for i, piece := range w.bitmaps(800, p.users) {
		memory[w.keys[i]] = append(memory[w.keys[i]], piece...)
	}
	var records []*push.Record
	for u := range p.users {
		records = append(records, Record(uint32(u)))
	}
	for _, n := range conditions {
		list, err := bitops(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			memory[o.into] = perform8(t, o, memory)
		}
		got, want := 0, 0
		for _, b := range memory[resultKey] {
			got += bits.OnesCount8(b)
		}
		for _, rec := range records {
			if predicate.Match(n, known{rec}) {
				want++
			}
		}
		if got != want {
			t.Errorf("%s: %d users, want %d; the operations are %v", predicate.String(n), got, want, list)
		}
	}
	if _, err := bitops(predicate.None{}); err == nil {
		t.Error("a condition of another kind was taken")
	}
}

// perform8 is BITOP, byte by byte.
func perform8(t *testing.T, o bitop, memory map[string][]byte) []byte {
	t.Helper()
	for _, key := range o.of {
		if memory[key] == nil {
			t.Fatalf("%v: nobody has loaded %s", o, key)
		}
	}
	into := append([]byte(nil), memory[o.of[0]]...)
	for i := range into {
		if o.operation == "NOT" {
			into[i] = ^into[i]
		}
		for _, key := range o.of[1:] {
			if o.operation == "AND" {
				into[i] &= memory[key][i]
			} else {
				into[i] |= memory[key][i]
			}
		}
	}
	return into
}

func TestWhere(t *testing.T) {
	t.Parallel()
	tag := func(name string) predicate.Node { return predicate.Tag{Name: name} }
	attr := predicate.Attr{Slot: 3, Value: "value-7"}
	for _, c := range []struct {
		n                predicate.Node
		postgres, duckdb string
	}{
		{predicate.All{}, "true", "true"},
		{tag("tag-5"), "tags @> '{5}'", "list_contains(tags, 5)"},
		{attr, "a3 = 7", "a3 = 7"},
		{predicate.Not{Kid: tag("tag-5")}, "not (tags @> '{5}')", "not (list_contains(tags, 5))"},
		{predicate.And{Kids: []predicate.Node{tag("tag-5"), tag("tag-6")}}, "tags @> '{5,6}'", "(list_contains(tags, 5)) and (list_contains(tags, 6))"},
		{predicate.Or{Kids: []predicate.Node{tag("tag-5"), tag("tag-6")}}, "tags && '{5,6}'", "(list_contains(tags, 5)) or (list_contains(tags, 6))"},
		{predicate.And{Kids: []predicate.Node{tag("tag-1"), predicate.Or{Kids: []predicate.Node{attr, tag("tag-2")}}}},
			"((a3 = 7) or tags && '{2}') and tags @> '{1}'", "(list_contains(tags, 1)) and ((a3 = 7) or (list_contains(tags, 2)))"},
	} {
		for _, d := range []struct {
			dialect
			want string
		}{{postgresDialect, c.postgres}, {duckdbDialect, c.duckdb}} {
			if got, err := d.where(c.n); err != nil || got != d.want {
				t.Errorf("%s: %q, %v; want %q", predicate.String(c.n), got, err, d.want)
			}
		}
	}
	for _, n := range []predicate.Node{predicate.None{}, tag("tag-5'; drop"), predicate.And{Kids: []predicate.Node{tag("five"), attr}}, predicate.Or{Kids: []predicate.Node{predicate.HasAttr{}}}} {
		if got, err := postgresDialect.where(n); err == nil {
			t.Errorf("%s became %q", predicate.String(n), got)
		}
	}
}

// TestRow: what the databases read.
func TestRow(t *testing.T) {
	t.Parallel()
	who := &person{tags: []uint32{7, 2}, values: [push.AttrSlots]uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}
	if got, want := string(row(nil, 3, who, '{', '}', '\t')), "3\t{7,2}\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDense: the limit's loop goes over as many bitmaps as a condition has terms.
func TestDense(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	want := map[string]int{"one tag": 1, "TagsAnd of 2": 2, "TagsOr of 10": 10, "TagsOr of 10 and TagsAnd of 2": 12, "AttrsAnd of 2": 2, "AttrsOr of 10": 10, "nested, with NOT": 8, "NOT of a tag": 1, "everyone": 1}
	for _, f := range forms {
		if got := leaves(f.draw(population{users: 100}, r)); got != want[f.name] {
			t.Errorf("%s has %d terms, want %d", f.name, got, want[f.name])
		}
	}
	d := newDense(64)
	d.bitmaps = [][]uint64{{6}, {3}}
	d.and(40) // both are among so many
	if d.into[0] != 2 {
		t.Errorf("joined %b", d.into[0])
	}
}
