package offline

import (
	"math/bits"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
)

const (
	sheetRows    = 64   // pushes of a sheet: the bits of a word
	tileUsers    = 1024 // users whose pairs stand together; with the row they are 16 bits
	denseInverse = 16   // a row is dense when more than one user in so many waits for its push
)

// sheet is some pushes the other way round: what a login asks is not who waits for a push, but what waits for a user. As
// bitmaps of their own, 700 pushes are 700 places in memory that a login has to look at; as a sheet, 64 of them are two.
//
// A row is a push. Rows for which many wait are dense: of each 64 users there is a word a row, and these words stand side
// by side. The users of all other rows are pairs of user and row, 2 bytes each, ascending. So a sheet takes no more than
// roaring bitmaps with the same users at random do. Users only ever leave it.
type sheet struct {
	entries []*entry            // by row, ascending by seq
	there   uint64              // the rows whose entries have not left the sheet
	seqs    [sheetRows]push.Seq // by row, beside each other for those who look for many
	expires [sheetRows]int64
	left    [sheetRows]int // users of each row

	dense  []uint8          // the rows that are in words
	column [sheetRows]uint8 // of a dense row: its place in dense, plus 1
	words  []uint64         // len(dense) for each 64 users
	pairs  []uint16         // user%tileUsers<<6 | row
	tiles  []tile           // of pairs
}

// tile is where in pairs those of tileUsers users begin and end; what is behind the end is free.
type tile struct{ begin, end uint32 }

// newSheet takes entries in, at most sheetRows of them and ascending by seq: from then on it holds their users.
func newSheet(entries []*entry) *sheet {
	s := &sheet{entries: slices.Clone(entries), there: ^uint64(0) >> (sheetRows - len(entries))}
	var users uint32 // one more than the last that any row has
	for r, e := range entries {
		s.seqs[r], s.expires[r], s.left[r] = e.seq, e.expire, int(e.users.GetCardinality())
		if s.left[r] > 0 {
			users = max(users, e.users.Maximum()+1)
		}
	}
	blocks := int(users+63) / 64
	s.tiles = make([]tile, (users+tileUsers-1)/tileUsers)
	var sparse []int
	for r, n := range s.left[:len(entries)] {
		if n > blocks*64/denseInverse {
			s.dense = append(s.dense, uint8(r))
			s.column[r] = uint8(len(s.dense))
		} else {
			sparse = append(sparse, r)
		}
	}
	s.lay(blocks)
	s.pair(sparse)
	for r, e := range entries {
		e.sheet, e.row, e.users = s, uint8(r), nil
	}
	return s
}

// lay fills words. Eight rows at a time are as many as a cache line holds.
func (s *sheet) lay(blocks int) {
	width := len(s.dense)
	s.words = make([]uint64, blocks*width)
	const together = 8
	buf := make([]uint64, blocks*min(together, width))
	for first := 0; first < width; first += together {
		some := s.dense[first:min(first+together, width)]
		clear(buf)
		for i, r := range some {
			s.entries[r].users.WriteDenseTo(buf[i*blocks : (i+1)*blocks])
		}
		for b := range blocks {
			line := s.words[b*width+first:][:len(some)]
			for i := range line {
				line[i] = buf[i*blocks+b]
			}
		}
	}
}

// pair fills pairs: it counts each tile's, puts them there row by row, and then sorts each tile with a bit for each pair.
func (s *sheet) pair(rows []int) {
	var buf [512]uint32
	each := func(do func(r int, users []uint32)) {
		for _, r := range rows {
			it := s.entries[r].users.ManyIterator()
			for n := it.NextMany(buf[:]); n > 0; n = it.NextMany(buf[:]) {
				do(r, buf[:n])
			}
		}
	}
	each(func(_ int, users []uint32) {
		for _, u := range users {
			s.tiles[u/tileUsers].end++
		}
	})
	all := uint32(0)
	for i := range s.tiles {
		n := s.tiles[i].end
		s.tiles[i] = tile{all, all}
		all += n
	}
	s.pairs = make([]uint16, all)
	each(func(r int, users []uint32) {
		for _, u := range users {
			t := &s.tiles[u/tileUsers]
			s.pairs[t.end] = pairOf(u, uint8(r))
			t.end++
		}
	})
	var has [tileUsers]uint64
	for _, t := range s.tiles {
		pairs := s.pairs[t.begin:t.end]
		if len(pairs) < tileUsers/8 { // fewer than it pays for
			slices.Sort(pairs)
			continue
		}
		for _, p := range pairs {
			has[p/sheetRows] |= 1 << (p % sheetRows)
		}
		n := 0
		for u, rows := range has {
			for ; rows != 0; rows &= rows - 1 {
				pairs[n] = uint16(u*sheetRows + bits.TrailingZeros64(rows))
				n++
			}
		}
		clear(has[:])
	}
}

func pairOf(user uint32, row uint8) uint16 {
	return uint16(user%tileUsers*sheetRows) | uint16(row)
}

// waiting is which rows wait for a user, a bit each.
func (s *sheet) waiting(user uint32) uint64 {
	i := int(user / tileUsers)
	if i >= len(s.tiles) {
		return 0
	}
	var rows uint64
	if at := int(user/64) * len(s.dense); at < len(s.words) {
		for i, w := range s.words[at:][:len(s.dense)] {
			rows |= w >> (user % 64) & 1 << s.dense[i]
		}
	}
	t := s.tiles[i]
	pairs := s.pairs[t.begin:t.end]
	first := pairOf(user, 0)
	n, _ := slices.BinarySearch(pairs, first)
	for ; n < len(pairs) && pairs[n]/sheetRows == first/sheetRows; n++ {
		rows |= 1 << (pairs[n] % sheetRows)
	}
	return rows & s.there
}

// remove takes users from a row, and says whether one of them was in it.
func (s *sheet) remove(row uint8, users *roaring.Bitmap) bool {
	before := s.left[row]
	width, column := len(s.dense), int(s.column[row])-1
	it := users.Iterator()
	for it.HasNext() {
		u := it.Next()
		i := int(u / tileUsers)
		if i >= len(s.tiles) {
			break // they ascend
		}
		if column >= 0 {
			if at := int(u/64)*width + column; at < len(s.words) && s.words[at]>>(u%64)&1 != 0 {
				s.words[at] &^= 1 << (u % 64)
				s.left[row]--
			}
			continue
		}
		t := &s.tiles[i]
		pairs := s.pairs[t.begin:t.end]
		if n, ok := slices.BinarySearch(pairs, pairOf(u, row)); ok {
			copy(pairs[n:], pairs[n+1:])
			t.end--
			s.left[row]--
		}
	}
	return s.left[row] < before
}

// users of a row, as a bitmap of its own.
func (s *sheet) users(row uint8) *roaring.Bitmap {
	if column := int(s.column[row]) - 1; column >= 0 {
		width := len(s.dense)
		words := make([]uint64, len(s.words)/width)
		for b := range words {
			words[b] = s.words[b*width+column]
		}
		b := roaring.FromDense(words, false)
		b.RunOptimize()
		return b
	}
	users := make([]uint32, 0, s.left[row])
	for i, t := range s.tiles {
		if len(users) == cap(users) {
			break
		}
		for _, p := range s.pairs[t.begin:t.end] {
			if uint8(p%sheetRows) == row {
				users = append(users, uint32(i*tileUsers)+uint32(p/sheetRows))
			}
		}
	}
	b := roaring.BitmapOf(users...)
	b.RunOptimize()
	return b
}

// leave takes a row from the sheet.
func (s *sheet) leave(row uint8) {
	s.there &^= 1 << row
	s.entries[row] = nil
}

// wasteful says whether a sheet of those who are left, and some spare bytes, would take less than half as much.
func (s *sheet) wasteful(spare int) bool {
	blocks, need := 0, 0
	if len(s.dense) > 0 {
		blocks = len(s.words) / len(s.dense)
	}
	for rows := s.there; rows != 0; rows &= rows - 1 {
		r := bits.TrailingZeros64(rows)
		if need += 2 * s.left[r]; s.column[r] > 0 {
			need += min(0, 8*blocks-2*s.left[r])
		}
	}
	return 2*need+spare < s.bytes()
}

// bytes that the users take.
func (s *sheet) bytes() int { return 8*len(s.words) + 2*len(s.pairs) + 8*len(s.tiles) }
