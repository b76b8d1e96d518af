package index

import (
	"encoding/binary"
)

// forward keeps each user's own terms: what must be undone when the user's record changes. A user's run in the arena is
// the run's length in bytes without this head, then the term ids, ascending, as differences; all uvarints.
type forward struct {
	runs  arena[uint8]
	pages [][]uint32 // by local ordinal: the run's offset + 1, 0 where there is none
	buf   []byte
	round round
}

const (
	pageBits = 12
	pageLen  = 1 << pageBits
)

func (f *forward) at(u uint32) uint32 {
	if p := u >> pageBits; int(p) < len(f.pages) && f.pages[p] != nil {
		return f.pages[p][u&(pageLen-1)]
	}
	return 0
}

func (f *forward) set(u, at uint32) {
	p := int(u >> pageBits)
	for len(f.pages) <= p {
		f.pages = append(f.pages, nil)
	}
	if f.pages[p] == nil {
		f.pages[p] = make([]uint32, pageLen)
	}
	f.pages[p][u&(pageLen-1)] = at
}

// whole is the run at an offset, its head included, and what stands behind the head.
func (f *forward) whole(off uint32) (run, body []byte) {
	b := f.runs.tail(off)
	n, head := binary.Uvarint(b)
	end := head + int(n)
	return b[:end], b[head:end]
}

// get appends the user's term ids, ascending.
func (f *forward) get(u uint32, ids []uint32) []uint32 {
	if at := f.at(u); at != 0 {
		return f.ids(at-1, ids)
	}
	return ids
}

// ids appends the terms of the run at an offset, ascending.
func (f *forward) ids(off uint32, ids []uint32) []uint32 {
	_, body := f.whole(off)
	id := uint32(0)
	for i := 0; i < len(body); {
		d := uint32(body[i])
		i++
		if d >= 0x80 {
			more := uint32(0)
			if more = uint32(body[i]); more < 0x80 {
				d = d&0x7f | more<<7
				i++
			} else {
				v, n := binary.Uvarint(body[i-1:])
				d, i = uint32(v), i-1+n
			}
		}
		id += d
		ids = append(ids, id)
	}
	return ids
}

// put replaces the user's term ids, which are ascending.
func (f *forward) put(u uint32, ids []uint32) {
	// The head is written once the length is known, right before the body.
	const room = binary.MaxVarintLen32
	f.buf = append(f.buf[:0], make([]byte, room)...)
	last := uint32(0)
	for _, id := range ids {
		f.buf = binary.AppendUvarint(f.buf, uint64(id-last))
		last = id
	}
	var head [room]byte
	n := binary.PutUvarint(head[:], uint64(len(f.buf)-room))
	run := f.buf[room-n:]
	copy(run, head[:n])

	at := f.at(u)
	if at != 0 {
		old, _ := f.whole(at - 1)
		_, had := sizeClass(len(old))
		_, need := sizeClass(len(run))
		if len(ids) > 0 && had == need {
			copy(f.runs.run(at-1, len(run)), run)
			return
		}
		f.runs.release(at-1, len(old))
		f.set(u, 0)
	}
	if len(ids) > 0 {
		off := f.runs.alloc(len(run))
		copy(f.runs.run(off, len(run)), run)
		f.set(u, off+1)
	}
}

func (f *forward) bytes() int {
	n := f.runs.bytes() + cap(f.buf) + cap(f.pages)*24
	for _, p := range f.pages {
		n += cap(p) * 4
	}
	return n
}
