package index

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

const (
	// maxList is the longest list; one posting more makes a table. Up to here the containers of a table would take more
	// than the list does.
	maxList = 64
	// minTable is the fewest postings that a table keeps before it becomes a list again. It is far below maxList so that
	// a term which wavers does not change form each time.
	minTable = maxList / 2
	isTable  = 0xffff
	// maxArray is the longest array of a span; one more makes bits, which are then the shorter form.
	maxArray = 4096
	// minWords is the fewest that bits keep before they become an array again.
	minWords = maxArray / 2
	// isWords marks the number in a container whose content is bits.
	isWords = 1 << 31
)

// postings are the ordinals of each term, in the form that suits their number. term.at is the one ordinal itself, or the
// offset of a sorted list in the arena of lists, or of a table there: how many ordinals it has, of how many spans, and
// for each span a container.
type postings struct {
	lists  arena[uint32]
	arrays arena[uint16]
	blocks []*words // the bits of containers; nil where none is
	freed  []uint32 // numbers of blocks to use again
	round  round
}

// list is the ordinals of a term that has no table. The arena's memory or not, it is only to be read.
func (p *postings) list(t *term, one *[1]uint32) []uint32 {
	switch t.n {
	case 0:
		return nil
	case 1:
		one[0] = t.at
		return one[:]
	}
	return p.lists.run(t.at, int(t.n))
}

// len is how many ordinals a term has.
func (p *postings) len(t *term) int {
	if t.n == isTable {
		return p.table(t.at).len()
	}
	return int(t.n)
}

// add puts an ordinal among a term's.
func (p *postings) add(t *term, u uint32) {
	if t.n == isTable {
		p.addToTable(t, u)
		return
	}
	if t.n == 0 {
		t.at, t.n = u, 1
		return
	}
	var one [1]uint32
	list := p.list(t, &one)
	i, found := len(list), false
	if list[i-1] >= u { // most often ordinals come in their order
		i, found = slices.BinarySearch(list, u)
	}
	if found {
		return
	}
	if len(list) == maxList {
		p.promote(t, list, u)
		return
	}
	p.resize(t, list, len(list)+1, i, i)
	p.lists.run(t.at, int(t.n))[i] = u
}

// remove takes an ordinal away from a term's, and says whether the term has any left.
func (p *postings) remove(t *term, u uint32) bool {
	switch t.n {
	case 0:
		return false
	case 1:
		if t.at == u {
			t.n = 0
		}
		return t.n > 0
	case isTable:
		p.removeFromTable(t, u)
		return true
	}
	list := p.lists.run(t.at, int(t.n))
	if i, found := slices.BinarySearch(list, u); found {
		p.resize(t, list, len(list)-1, i, i+1)
	}
	return true
}

// resize gives the term's list the length n, keeping list[:keep] in front and list[rest:] at the end; what is between
// is left for the caller to write.
func (p *postings) resize(t *term, list []uint32, n, keep, rest int) {
	old, was := t.at, len(list)
	if n == 1 {
		if keep == 0 {
			t.at = list[rest]
		} else {
			t.at = list[0]
		}
		p.lists.release(old, was)
		t.n = 1
		return
	}
	_, from := sizeClass(was)
	_, to := sizeClass(n)
	if was > 1 && from == to {
		whole := p.lists.run(old, max(was, n))
		copy(whole[n-(was-rest):n], whole[rest:was])
		t.n = uint16(n)
		return
	}
	t.at = p.lists.alloc(n)
	// The first chunk may have moved, but list still holds what it held.
	fresh := p.lists.run(t.at, n)
	copy(fresh, list[:keep])
	copy(fresh[n-(was-rest):], list[rest:])
	t.n = uint16(n)
	if was > 1 {
		p.lists.release(old, was)
	}
}

// promote turns a full list into a table, with one ordinal more.
func (p *postings) promote(t *term, list []uint32, u uint32) {
	old := t.at
	at := p.reserve(list)
	p.fill(p.table(at), list)
	p.lists.release(old, len(list))
	t.at, t.n = at, isTable
	p.addToTable(t, u)
}

// reserve makes a table with room for ascending ordinals, which fill writes to it.
func (p *postings) reserve(list []uint32) uint32 {
	at := p.newTable(int(list[len(list)-1]>>spanBits) + 1)
	tab := p.table(at)
	tab[0] = uint32(len(list))
	for len(list) > 0 {
		n := ofSpan(list)
		c := container{n: uint32(n)}
		if n > maxArray {
			c.at, c.n = p.newBlock(), c.n|isWords
		} else {
			c.at = p.arrays.alloc(n)
		}
		tab.set(int(list[0]>>spanBits), c)
		list = list[n:]
	}
	return at
}

// fill writes ordinals to a table that was made for them.
func (p *postings) fill(tab table, list []uint32) {
	for len(list) > 0 {
		c := tab.at(int(list[0] >> spanBits))
		some := list[:c.len()]
		list = list[c.len():]
		if c.n&isWords != 0 {
			w := p.blocks[c.at]
			for _, u := range some {
				w[u>>6&(spanWords-1)] |= 1 << (u & 63)
			}
			continue
		}
		for i, array := 0, p.arrays.run(c.at, len(some)); i < len(array); i++ {
			array[i] = uint16(some[i])
		}
	}
}

// ofSpan is how many of ascending ordinals are of the first one's span.
func ofSpan(list []uint32) int {
	span := list[0] >> spanBits
	if list[len(list)-1]>>spanBits == span {
		return len(list)
	}
	n, _ := slices.BinarySearch(list, (span+1)<<spanBits)
	return n
}

// setWords gives a term without ordinals those that are set in the words, by span.
func (p *postings) setWords(t *term, spans []words) {
	n, last := 0, -1
	for i := range spans {
		if some := spans[i].count(); some > 0 {
			n, last = n+some, i
		}
	}
	if n > maxList {
		t.at, t.n = p.newTable(last+1), isTable
		p.table(t.at)[0] = uint32(n)
	}
	for i := range last + 1 {
		w := &spans[i]
		some := w.count()
		var low [maxArray]uint16
		switch {
		case some == 0:
		case n <= maxList:
			w.array(low[:some])
			for _, u := range low[:some] {
				p.add(t, uint32(i)<<spanBits|uint32(u))
			}
		case some > maxArray:
			c := container{p.newBlock(), uint32(some) | isWords}
			*p.blocks[c.at] = *w
			p.table(t.at).set(i, c)
		default:
			c := container{p.arrays.alloc(some), uint32(some)}
			w.array(p.arrays.run(c.at, some))
			p.table(t.at).set(i, c)
		}
	}
}

// newBlock gives the number of a block without bits.
func (p *postings) newBlock() uint32 {
	if n := len(p.freed); n > 0 {
		at := p.freed[n-1]
		p.freed, p.blocks[at] = p.freed[:n-1], new(words)
		return at
	}
	p.blocks = append(p.blocks, new(words))
	return uint32(len(p.blocks) - 1)
}

func (p *postings) freeBlock(at uint32) {
	p.blocks[at] = nil
	p.freed = append(p.freed, at)
}

// demote turns a table that has shrunk into a list.
func (p *postings) demote(t *term) {
	old := t.at
	n := p.table(old).len()
	at := p.lists.alloc(n)
	into, tab := p.lists.run(at, n), p.table(old)
	n = 0
	for span := range tab.spans() {
		c := tab.at(span)
		if c.n == 0 {
			continue
		}
		for _, low := range p.arrays.run(c.at, c.len()) {
			into[n] = uint32(span)<<spanBits | uint32(low)
			n++
		}
		p.arrays.release(c.at, c.len())
	}
	p.lists.release(old, len(tab))
	t.at, t.n = at, uint16(n)
}

func (p *postings) bytes() int {
	n := p.lists.bytes() + p.arrays.bytes() + cap(p.blocks)*8 + cap(p.freed)*4
	for _, b := range p.blocks {
		if b != nil {
			n += spanLen / 8
		}
	}
	return n
}

// bitmap is a term's ordinals.
func (p *postings) bitmap(t *term) *roaring.Bitmap {
	b := roaring.New()
	if t.n != isTable {
		var one [1]uint32
		b.AddMany(p.list(t, &one))
		return b
	}
	tab := p.table(t.at)
	var low [spanLen]uint16
	for span := range tab.spans() {
		c := tab.at(span)
		if c.n == 0 {
			continue
		}
		array := low[:c.len()]
		if c.n&isWords != 0 {
			p.blocks[c.at].array(array)
		} else {
			array = p.arrays.run(c.at, c.len())
		}
		for _, u := range array {
			b.Add(uint32(span)<<spanBits | uint32(u))
		}
	}
	b.RunOptimize()
	return b
}
