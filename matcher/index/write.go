package index

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/wire"
)

// An index as a file is its dictionary and its forward store; everything else follows from these, so that no file can
// contradict itself. It is a head, and then blocks, in this order:
//
//	head:   "carillon-index" | version 1
//	block:  what it holds (1 byte) | length (4 bytes) | CRC-32C of the byte, the length and the content (4 bytes) | content
//	'n':    terms by their ids: kind (1 byte) | length of the name (uvarint) | name. A kind of 254 alone is an id without term
//	'a':    the users, as a bitmap
//	'u':    for each of them: length (uvarint) | ids of the user's terms, ascending, as differences (uvarints)
//	'e':    number of terms (uvarint) | number of users (uvarint)
//
// There are as many of 'n' and 'u' as it takes. Numbers of fixed length are little endian.
const (
	fileHead    = "carillon-index\x01"
	blockTerms  = 'n'
	blockAll    = 'a'
	blockUsers  = 'u'
	blockEnd    = 'e'
	blockHeader = 9
	blockLen    = 256 << 10 // content of a block that is followed by another of its kind: about
	maxBlock    = 1 << 20   // of any block
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func blockSum(head, content []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, content)
}

// Write writes the index as it is now, so that Read makes it again. Readers hardly wait, and writers for those who read just
// then and while what will be written is copied in memory: about 70 bytes a user, and as long as that takes.
func (x *Index) Write(w io.Writer) error {
	return x.image().write(w)
}

// image is a copy of what a file holds.
type image struct {
	terms   terms // without its table
	forward forward
	all     *roaring.Bitmap
}

func (x *Index) image() *image {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.settleAll()
	m := &image{all: x.postings.bitmap(&x.users)}
	m.terms.n, m.terms.names, m.terms.pages = x.terms.n, x.terms.names.clone(), slices.Clone(x.terms.pages)
	for i, p := range m.terms.pages {
		page := *p
		m.terms.pages[i] = &page
	}
	m.forward.runs, m.forward.pages = x.forward.runs.clone(), make([][]uint32, len(x.forward.pages))
	for i, p := range x.forward.pages {
		m.forward.pages[i] = slices.Clone(p)
	}
	return m
}

// clone is a copy for reading.
func (a *arena[T]) clone() arena[T] {
	c := arena[T]{chunks: make([][]T, len(a.chunks))}
	for i, chunk := range a.chunks {
		c.chunks[i] = slices.Clone(chunk)
	}
	return c
}

func (m *image) write(w io.Writer) error {
	if _, err := io.WriteString(w, fileHead); err != nil {
		return fmt.Errorf("write an index: %w", err)
	}
	b := blocks{w: w}
	for id := range uint32(m.terms.n) {
		b.begin(blockTerms)
		if t := m.terms.at(id); t.kind == noTerm {
			b.buf = append(b.buf, byte(noTerm))
		} else {
			b.buf = append(append(b.buf, byte(t.kind)), m.terms.stored(id)...)
		}
	}
	users, err := wire.EncodeBitmap(m.all)
	if err != nil {
		return fmt.Errorf("write an index: %w", err)
	}
	b.begin(blockAll)
	b.buf = append(b.buf, users...)
	for it := m.all.Iterator(); it.HasNext(); {
		b.begin(blockUsers)
		if at := m.forward.at(it.Next()); at == 0 {
			b.buf = append(b.buf, 0)
		} else {
			run, _ := m.forward.whole(at - 1)
			b.buf = append(b.buf, run...)
		}
	}
	b.begin(blockEnd)
	b.buf = binary.AppendUvarint(binary.AppendUvarint(b.buf, uint64(m.terms.n)), m.all.GetCardinality())
	if b.flush(); b.err != nil {
		return fmt.Errorf("write an index: %w", b.err)
	}
	return nil
}

// blocks gathers what belongs into one block and writes it. Its first error sticks.
type blocks struct {
	w   io.Writer
	buf []byte // the block's header and what it holds so far
	err error
}

// begin makes room for one more of a kind.
func (b *blocks) begin(of byte) {
	if len(b.buf) > 0 && (b.buf[0] != of || len(b.buf) > blockLen) {
		b.flush()
	}
	if len(b.buf) == 0 {
		b.buf = append(b.buf, of)
		b.buf = append(b.buf, make([]byte, blockHeader-1)...)
	}
}

func (b *blocks) flush() {
	binary.LittleEndian.PutUint32(b.buf[1:], uint32(len(b.buf)-blockHeader))
	binary.LittleEndian.PutUint32(b.buf[5:], blockSum(b.buf[:5], b.buf[blockHeader:]))
	if b.err == nil {
		_, b.err = b.w.Write(b.buf)
	}
	b.buf = b.buf[:0]
}
