package index

import "slices"

// container is a table's ordinals of one span: their number, with isWords or not, and where they are: an ascending array,
// or the number of a block.
type container struct{ at, n uint32 }

func (c container) len() int { return int(c.n &^ isWords) }

const tableHead = 2

// table is the run of a table. Its memory may move whenever one is made.
func (p *postings) table(at uint32) table {
	return p.tables.tail(at)[:tableHead+2*p.tables.tail(at)[1]]
}

type table []uint32

func (t table) len() int   { return int(t[0]) }
func (t table) spans() int { return int(t[1]) }

func (t table) at(span int) container {
	if span >= t.spans() {
		return container{}
	}
	return container{t[tableHead+2*span], t[tableHead+2*span+1]}
}

func (t table) set(span int, c container) {
	t[tableHead+2*span], t[tableHead+2*span+1] = c.at, c.n
}

// newTable makes a table without ordinals.
func (p *postings) newTable(spans int) uint32 {
	at := p.tables.alloc(tableHead + 2*spans)
	tab := p.tables.run(at, tableHead+2*spans)
	clear(tab)
	tab[1] = uint32(spans)
	return at
}

func (p *postings) addToTable(t *term, u uint32) {
	tab, span := p.table(t.at), int(u>>spanBits)
	if span >= tab.spans() {
		at := p.newTable(span + 1)
		grown := p.table(at)
		grown[0] = tab[0]
		copy(grown[tableHead:], tab[tableHead:])
		p.tables.release(t.at, len(tab))
		t.at, tab = at, grown
	}
	if c := tab.at(span); p.insert(&c, uint16(u)) {
		tab.set(span, c)
		tab[0]++
	}
}

func (p *postings) removeFromTable(t *term, u uint32) {
	tab, span := p.table(t.at), int(u>>spanBits)
	if span >= tab.spans() {
		return
	}
	if c := tab.at(span); p.take(&c, uint16(u)) {
		tab.set(span, c)
		if tab[0]--; tab[0] < minTable {
			p.demote(t)
		}
	}
}

// insert puts an ordinal into a container, and says whether it is new there.
func (p *postings) insert(c *container, low uint16) bool {
	if c.n&isWords != 0 {
		w, bit := &p.blocks[c.at][low>>6], uint64(1)<<(low&63)
		if *w&bit != 0 {
			return false
		}
		*w |= bit
		c.n++
		return true
	}
	if c.n == 0 {
		*c = container{p.arrays.alloc(1), 1}
		p.arrays.run(c.at, 1)[0] = low
		return true
	}
	array := p.arrays.run(c.at, c.len())
	i, found := len(array), false
	if array[i-1] >= low {
		i, found = slices.BinarySearch(array, low)
	}
	switch {
	case found:
		return false
	case len(array) == maxArray:
		fresh := container{p.newBlock(), maxArray | isWords}
		p.blocks[fresh.at].add(array)
		p.arrays.release(c.at, len(array))
		*c = fresh
		return p.insert(c, low)
	}
	p.resizeArray(c, array, len(array)+1, i, i)
	p.arrays.run(c.at, c.len())[i] = low
	return true
}

// take takes an ordinal out of a container, and says whether it was there.
func (p *postings) take(c *container, low uint16) bool {
	if c.n&isWords != 0 {
		block := p.blocks[c.at]
		if !block.has(low) {
			return false
		}
		block[low>>6] &^= 1 << (low & 63)
		if c.n--; c.len() < minWords {
			fresh := container{p.arrays.alloc(c.len()), uint32(c.len())}
			block.array(p.arrays.run(fresh.at, fresh.len()))
			p.freeBlock(c.at)
			*c = fresh
		}
		return true
	}
	if c.n == 0 {
		return false
	}
	array := p.arrays.run(c.at, c.len())
	i, found := slices.BinarySearch(array, low)
	if !found {
		return false
	}
	if len(array) == 1 {
		p.arrays.release(c.at, 1)
		*c = container{}
		return true
	}
	p.resizeArray(c, array, len(array)-1, i, i+1)
	return true
}

// resizeArray is resize for the array of a container; n > 0.
func (p *postings) resizeArray(c *container, array []uint16, n, keep, rest int) {
	old, was := c.at, len(array)
	_, from := sizeClass(was)
	_, to := sizeClass(n)
	c.n = uint32(n)
	if from == to {
		whole := p.arrays.run(old, max(was, n))
		copy(whole[n-(was-rest):n], whole[rest:was])
		return
	}
	c.at = p.arrays.alloc(n)
	fresh := p.arrays.run(c.at, n)
	copy(fresh, array[:keep])
	copy(fresh[n-(was-rest):], array[rest:])
	p.arrays.release(old, was)
}
