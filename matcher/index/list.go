package index

import "slices"

// A list is the ascending ordinals of a term that has few, in two and a half bytes each: a run in the arena of arrays with
// their low halves, and behind these their spans, four to an element. So it has ordinals of the first listSpans spans only,
// which a shard of the default width does not exceed; and what an evaluation asks for, those of one span, stands there as
// the array of a container does.
type list struct {
	low []uint16
	of  []uint16 // spans, counted from the first
	// first is the span that others are counted from: 0, but for a single ordinal, which may be any.
	first int
}

const (
	listSpans = 16
	listWidth = listSpans * spanLen
)

// listLen is how many elements of the arena a list of n ordinals takes.
func listLen(n int) int { return n + (n+3)/4 }

func asList(run []uint16, n int) list { return list{low: run[:n:n], of: run[n:]} }

func (l *list) len() int { return len(l.low) }

func (l *list) span(i int) int { return l.first + int(l.of[i>>2]>>(i&3*4)&(listSpans-1)) }

func (l *list) at(i int) uint32 { return uint32(l.span(i))<<spanBits | uint32(l.low[i]) }

// fill writes ascending ordinals to a list that was made for them.
func (l *list) fill(ordinals []uint32) {
	clear(l.of)
	for i, u := range ordinals {
		l.low[i] = uint16(u)
		l.of[i>>2] |= uint16(u>>spanBits) << (i & 3 * 4)
	}
}

// list is the ordinals of a term that has no table, where one is room for a single one. It is the arena's memory, only to
// be read.
func (p *postings) list(t *term, one *[2]uint16) list {
	switch n := int(t.n); n {
	case 0:
		return list{}
	case 1:
		one[0], one[1] = uint16(t.at), 0
		return list{low: one[:1], of: one[1:], first: int(t.at >> spanBits)}
	default:
		return asList(p.arrays.run(t.at, listLen(n)), n)
	}
}

// ordinals are those of a term that has no table: scratch, with room for one more.
func (p *postings) ordinals(t *term) []uint32 {
	var one [2]uint16
	l := p.list(t, &one)
	if p.few == nil {
		p.few = make([]uint32, 0, maxList+1)
	}
	few := p.few[:l.len()]
	for i := range few {
		few[i] = l.at(i)
	}
	return few
}

// setList gives a term that has no table other ordinals, of which there are from one to maxList, all below listWidth unless
// it is one.
func (p *postings) setList(t *term, ordinals []uint32) {
	n, was := len(ordinals), int(t.n)
	_, from := sizeClass(listLen(was))
	_, to := sizeClass(listLen(n))
	if was > 1 && (n == 1 || from != to) {
		p.arrays.release(t.at, listLen(was))
	}
	t.n = uint16(n)
	if n == 1 {
		t.at = ordinals[0]
		return
	}
	if was <= 1 || from != to {
		t.at = p.arrays.alloc(listLen(n))
	}
	l := asList(p.arrays.run(t.at, listLen(n)), n)
	l.fill(ordinals)
}

// addToList puts an ordinal among those of a term that has no table.
func (p *postings) addToList(t *term, u uint32) {
	ordinals := p.ordinals(t)
	i, found := len(ordinals), false
	if ordinals[i-1] >= u { // most often ordinals come in their order
		i, found = slices.BinarySearch(ordinals, u)
	}
	if found {
		return
	}
	if ordinals = slices.Insert(ordinals, i, u); len(ordinals) > maxList || ordinals[len(ordinals)-1] >= listWidth {
		p.promote(t, ordinals)
		return
	}
	p.setList(t, ordinals)
}

// removeFromList takes an ordinal from those of a term that has several and no table.
func (p *postings) removeFromList(t *term, u uint32) {
	ordinals := p.ordinals(t)
	if i, found := slices.BinarySearch(ordinals, u); found {
		p.setList(t, slices.Delete(ordinals, i, i+1))
	}
}

// promote turns a list into a table, of other ordinals.
func (p *postings) promote(t *term, ordinals []uint32) {
	if t.n > 1 {
		p.arrays.release(t.at, listLen(int(t.n)))
	}
	t.at, t.n = p.reserve(ordinals), isTable
	p.fill(p.table(t.at), ordinals)
}

// demote turns a table that has shrunk into a list, if that can have its ordinals.
func (p *postings) demote(t *term) {
	tab := p.table(t.at)
	if tab.len() > 1 && tab.spans() > listSpans {
		return
	}
	ordinals := make([]uint32, 0, minTable)
	for span := range tab.spans() {
		c := tab.at(span)
		if c.n == 0 {
			continue
		}
		for _, low := range p.arrays.run(c.at, c.len()) {
			ordinals = append(ordinals, uint32(span)<<spanBits|uint32(low))
		}
		p.arrays.release(c.at, c.len())
	}
	p.tables.release(t.at, len(tab))
	t.n = 0
	p.setList(t, ordinals)
}
