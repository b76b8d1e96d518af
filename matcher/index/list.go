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

// ordinals are those of a list, with one more that goes in at i.
func (l *list) ordinals(i int, u uint32) []uint32 {
	ordinals := make([]uint32, 0, maxList+1)
	for j := range l.low {
		ordinals = append(ordinals, l.at(j))
	}
	return slices.Insert(ordinals, i, u)
}

// find gives the place where an ordinal stands, or would.
func (l *list) find(u uint32) (i int, found bool) {
	lo, hi := 0, l.len()
	if hi > 0 && l.at(hi-1) < u { // most often ordinals come in their order
		return hi, false
	}
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); l.at(mid) < u {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < l.len() && l.at(lo) == u
}

// insert makes a list what old is with one ordinal more, at i.
func (l *list) insert(old list, i int, u uint32) {
	copy(l.low, old.low[:i])
	l.low[i] = uint16(u)
	copy(l.low[i+1:], old.low[i:])
	w, shift := i>>2, i&3*4
	copy(l.of, old.of[:w])
	moves := uint16(0)
	for k := w; k < len(l.of); k++ {
		x := uint16(0)
		if k < len(old.of) {
			x = old.of[k]
		}
		if k == w {
			before := x & (1<<shift - 1)
			l.of[k] = before | uint16(u>>spanBits)<<shift | (x^before)<<4
		} else {
			l.of[k] = moves | x<<4
		}
		moves = x >> 12
	}
}

// remove makes a list what old is without the ordinal at i.
func (l *list) remove(old list, i int) {
	copy(l.low, old.low[:i])
	copy(l.low[i:], old.low[i+1:])
	w, shift := i>>2, i&3*4
	copy(l.of, old.of[:w])
	for k := w; k < len(l.of); k++ {
		x := old.of[k] >> 4
		if k+1 < len(old.of) {
			x |= old.of[k+1] << 12
		}
		if k == w {
			before := uint16(1<<shift - 1)
			x = x&^before | old.of[k]&before
		}
		l.of[k] = x
	}
}

// setList gives a term that has no table other ordinals, of which there are from one to maxList, all below
// listWidth unless it is one.
func (p *postings) setList(t *term, ordinals []uint32) {
	if t.n > 1 {
		p.arrays.release(t.at, listLen(int(t.n)))
	}
	n := len(ordinals)
	if t.n = uint16(n); n == 1 {
		t.at = ordinals[0]
		return
	}
	t.at = p.arrays.alloc(listLen(n))
	l := asList(p.arrays.run(t.at, listLen(n)), n)
	l.fill(ordinals)
}

// resized gives a list of several another length above one: what it was, in scratch, and what is to be written.
func (p *postings) resized(t *term, was list, n int) (old, fresh list) {
	size := len(was.low)
	of := copy(p.few[copy(p.few[:], was.low):], was.of)
	old = list{low: p.few[:size], of: p.few[size : size+of]}
	_, from := sizeClass(listLen(size))
	_, to := sizeClass(listLen(n))
	if from != to {
		p.arrays.release(t.at, listLen(size))
		t.at = p.arrays.alloc(listLen(n))
	}
	t.n = uint16(n)
	return old, asList(p.arrays.run(t.at, listLen(n)), n)
}

// addToList puts an ordinal among those of a term that has some and no table.
func (p *postings) addToList(t *term, u uint32) {
	var one [2]uint16
	l := p.list(t, &one)
	n := l.len()
	i, found := l.find(u)
	switch {
	case found:
	case n == maxList || max(u, l.at(n-1)) >= listWidth:
		p.promote(t, l.ordinals(i, u))
	case n == 1:
		pair := [2]uint32{min(u, t.at), max(u, t.at)}
		p.setList(t, pair[:])
	default:
		old, fresh := p.resized(t, l, n+1)
		fresh.insert(old, i, u)
	}
}

// removeFromList takes an ordinal from those of a term that has several and no table.
func (p *postings) removeFromList(t *term, u uint32) {
	l := p.list(t, nil)
	i, found := l.find(u)
	switch n := l.len(); {
	case !found:
	case n == 2:
		left := [1]uint32{l.at(1 - i)}
		p.setList(t, left[:])
	default:
		old, fresh := p.resized(t, l, n-1)
		fresh.remove(old, i)
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
