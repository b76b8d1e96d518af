package index

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

const (
	// maxList is the longest list; one posting more makes a table. A list is the shorter one up to twice as many, but it is
	// written anew as a whole when it changes.
	maxList = 128
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
// offset of a list in the arena of arrays, or of a table in that of tables: how many ordinals it has, of how many spans, and
// for each span a container.
type postings struct {
	tables arena[uint32]
	arrays arena[uint16]               // lists too
	few    [maxList + maxList/4]uint16 // scratch of who changes a list
	blocks []*words                    // the bits of containers; nil where none is
	freed  []uint32                    // numbers of blocks to use again
	round  round
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
	p.addToList(t, u)
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
	p.removeFromList(t, u)
	return true
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
	few := n <= maxList && last < listSpans
	if !few {
		t.at, t.n = p.newTable(last+1), isTable
		p.table(t.at)[0] = uint32(n)
	}
	for i := range last + 1 {
		w := &spans[i]
		some := w.count()
		var low [maxArray]uint16
		switch {
		case some == 0:
		case few:
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

func (p *postings) bytes() int {
	n := p.tables.bytes() + p.arrays.bytes() + cap(p.blocks)*8 + cap(p.freed)*4
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
		var one [2]uint16
		l := p.list(t, &one)
		for i := range l.len() {
			b.Add(l.at(i))
		}
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
