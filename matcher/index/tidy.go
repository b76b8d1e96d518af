package index

// Chunks of the arenas that hold little are vacated by pieces, so that no update waits for more than the moving of a few
// runs, and nothing is copied that need not be. Whoever changes an arena does a piece of it each time.

// tidied is how many owners of runs are gone through for each change: so that it is done long before as much is wasted
// again.
const tidied = 8

// round is a going through all owners of the runs of an arena.
type round struct {
	on   bool
	next int
}

// piece gives the owners from first to end that are next, of n in all, and whether they are the last.
func (r *round) piece(changes, n int) (first, end int, last bool) {
	first = r.next
	r.next = min(r.next+64+tidied*changes, n)
	return first, r.next, r.next == n
}

// tidy goes on with vacating chunks of tables and arrays.
func (p *postings) tidy(pages []*[termPage]term, changes int, sets []*term) {
	if !p.round.on {
		tables, arrays := p.tables.wasteful(), p.arrays.wasteful()
		if !tables && !arrays {
			return
		}
		p.round = round{on: true}
		if tables {
			p.tables.vacate()
		}
		if arrays {
			p.arrays.vacate()
		}
	}
	first, end, last := p.round.piece(changes, len(pages)*termPage)
	for id := first; id < end; id++ {
		p.move(&pages[id>>termBits][id&(termPage-1)])
	}
	if !last {
		return
	}
	for _, t := range sets {
		p.move(t)
	}
	p.tables.vacated()
	p.arrays.vacated()
	p.round = round{}
}

// move moves what a term has in chunks that are being vacated.
func (p *postings) move(t *term) {
	switch {
	case t.n == isTable:
		tab := p.table(t.at)
		for span := range tab.spans() {
			if c := tab.at(span); c.n != 0 && c.n&isWords == 0 {
				c.at = p.arrays.moved(c.at, c.len())
				tab.set(span, c)
			}
		}
		t.at = p.tables.moved(t.at, len(tab))
	case t.n > 1:
		t.at = p.arrays.moved(t.at, listLen(int(t.n)))
	}
}

// sets are the postings that belong to no term.
func (x *Index) sets() []*term {
	sets := x.ofAll[:0]
	for i := range x.has {
		sets = append(sets, &x.has[i])
	}
	return append(sets, &x.users)
}

// tidy goes on with vacating chunks of names and of users' own terms. It needs writer held.
func (x *Index) tidy(changes int) {
	x.terms.tidy(changes, &x.names)
	x.forward.tidy(changes)
}

func (d *terms) tidy(changes int, mu interface {
	Lock()
	Unlock()
}) {
	if !d.round.on && !d.names.wasteful() {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if !d.round.on {
		d.round = round{on: true}
		d.names.vacate()
	}
	first, end, last := d.round.piece(changes, d.n)
	for id := uint32(first); id < uint32(end); id++ {
		if t := d.at(id); t.kind != noTerm {
			t.name = d.names.moved(t.name, len(d.stored(id)))
		}
	}
	if last {
		d.names.vacated()
		d.round = round{}
	}
}

func (f *forward) tidy(changes int) {
	if !f.round.on {
		if !f.runs.wasteful() {
			return
		}
		f.round = round{on: true}
		f.runs.vacate()
	}
	first, end, last := f.round.piece(changes, len(f.pages)*pageLen)
	for u := uint32(first); u < uint32(end); u++ {
		if at := f.at(u); at != 0 {
			run, _ := f.whole(at - 1)
			f.set(u, f.runs.moved(at-1, len(run))+1)
		}
	}
	if last {
		f.runs.vacated()
		f.round = round{}
	}
}
