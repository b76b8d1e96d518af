package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

const fileWidth = 1 << 11 // 1,500 users are in both halves

func written(t interface{ Fatal(...any) }, x *Index) []byte {
	var b bytes.Buffer
	if err := x.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An index that was built or folded, and one read from its file, on which the rest of the log is folded, is the one that the whole log gives, wherever in the
// log the file was written and even when a part of what it holds is folded again.
func TestFileAndTailAgainstTheLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type change struct {
			u   uint32
			rec *push.Record
		}
		// Few users and terms, so that terms come and go; or so many users of one term that it becomes a bitmap.
		users := rapid.SampledFrom([]uint32{5, 60, 1500}).Draw(t, "users")
		record := rapid.Custom(func(t *rapid.T) *push.Record {
			rec := &push.Record{Account: "u", Deleted: rapid.IntRange(0, 5).Draw(t, "deleted") == 0}
			if !rec.Deleted {
				for _, tag := range rapid.SliceOfN(rapid.IntRange(0, 6), 0, 4).Draw(t, "tags") {
					rec.AddTag(fmt.Sprint("t", tag))
				}
				for _, s := range rapid.SliceOfN(rapid.IntRange(0, push.AttrSlots-1), 0, 3).Draw(t, "slots") {
					rec.Attrs[s] = fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "value"))
				}
			}
			return rec
		})
		kinds := rapid.SliceOfN(record, 1, 6).Draw(t, "records")
		var log []change
		for n := rapid.IntRange(0, int(2*users)).Draw(t, "changes"); len(log) < n; {
			i := len(log)
			log = append(log, change{uint32(i*7919) % users, kinds[(i*i+i/3)%len(kinds)]})
		}
		at := rapid.IntRange(0, len(log)).Draw(t, "written at")
		from := rapid.IntRange(0, at).Draw(t, "folded again from")

		x, o := New(), oracle{}
		if rapid.Bool().Draw(t, "built") {
			b, size := NewBuilder(fileWidth), rapid.IntRange(1, 70).Draw(t, "batch")
			for some := range slices.Chunk(log[:at], size) {
				var batch []Update
				for _, c := range some {
					batch = append(batch, Update{c.u, c.rec})
				}
				b.ApplyBatch(batch)
			}
			x = b.Index()
		} else {
			for _, c := range log[:at] {
				x.Apply(c.u, c.rec)
			}
		}
		for _, c := range log[:at] {
			o.apply(c.u, c.rec)
		}
		checkInvariants(t, x, o)
		file := written(t, x)
		y, err := Read(bytes.NewReader(file), fileWidth)
		if err != nil {
			t.Fatal(err)
		}
		checkInvariants(t, y, o)
		if again := written(t, y); !bytes.Equal(again, file) {
			t.Fatal("an index that was read is written as another")
		}
		for i, c := range log[from:] {
			y.Apply(c.u, c.rec)
			if from+i >= at {
				o.apply(c.u, c.rec)
			}
		}
		checkInvariants(t, y, o)
		nodes := []predicate.Node{predicate.All{}}
		for i := range 7 {
			nodes = append(nodes, predicate.Tag{Name: fmt.Sprint("t", i)})
		}
		for s := range uint8(push.AttrSlots) {
			nodes = append(nodes, predicate.HasAttr{Slot: s}, predicate.Attr{Slot: s, Value: "1"}, predicate.Not{Kid: predicate.Attr{Slot: s, Value: "2"}})
		}
		for _, n := range nodes {
			checkAgainst(t, y, o, n)
		}
		// And x, which was not read again.
		for _, c := range log[from:] {
			x.Apply(c.u, c.rec)
		}
		checkInvariants(t, x, o)
		for _, n := range nodes {
			checkAgainst(t, x, o, n)
		}
	})
}

// sampleIndex has terms of every form, an id without term, and users without terms.
func sampleIndex(users uint32) *Index {
	x := New()
	for u := range users {
		rec := &push.Record{Account: "u", Tags: []string{"all"}}
		if u%3 == 0 {
			rec.AddTag("third")
		}
		rec.AddTag(fmt.Sprint("own-", u))
		rec.Attrs[u%push.AttrSlots] = fmt.Sprint(u % 7)
		x.Apply(u, rec)
	}
	x.Apply(3, &push.Record{Account: "bare"})
	x.Apply(5, &push.Record{Account: "gone", Deleted: true})
	return x
}

// A file in which any byte is another, or that ends early or late, is refused.
func TestFilesThatAreSpoilt(t *testing.T) {
	t.Parallel()
	file := written(t, sampleIndex(40))
	if _, err := Read(bytes.NewReader(file), 64); err != nil {
		t.Fatal(err)
	}
	for i := range file {
		b := bytes.Clone(file)
		b[i] ^= 0x41
		_, err := Read(bytes.NewReader(b), 64)
		if want := ErrCorrupt; i == len(fileHead)-1 {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("another version: %v", err)
			}
		} else if !errors.Is(err, want) {
			t.Errorf("byte %d: %v", i, err)
		}
		if _, err := Read(bytes.NewReader(file[:i]), 64); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := Read(bytes.NewReader(append(bytes.Clone(file), 0)), 64); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte behind its end: %v", err)
	}
	if _, err := Read(bytes.NewReader(file), 32); !errors.Is(err, ErrCorrupt) {
		t.Errorf("of a wider shard: %v", err)
	}
	lost := errors.New("the connection is gone")
	if _, err := Read(io.MultiReader(bytes.NewReader(file), iotest{lost}), 64); !errors.Is(err, lost) {
		t.Errorf("a reader that fails at its end: %v", err)
	}
}

type iotest struct{ err error }

func (r iotest) Read([]byte) (int, error) { return 0, r.err }

// seal gives the blocks of a file the checksums that they should have, so that what they hold is read.
func seal(b []byte) []byte {
	b = bytes.Clone(b)
	for at := len(fileHead); at+blockHeader <= len(b); {
		n := int(binary.LittleEndian.Uint32(b[at+1:]))
		end := at + blockHeader + n
		if n > maxBlock || end > len(b) {
			break
		}
		binary.LittleEndian.PutUint32(b[at+5:], blockSum(b[at:at+5], b[at+blockHeader:end]))
		at = end
	}
	return b
}

// No bytes make Read fail otherwise than with its errors, and what it takes is an index that can be worked with.
func FuzzRead(f *testing.F) {
	f.Add(written(f, New()))
	f.Add(written(f, sampleIndex(6)))
	f.Add(written(f, sampleIndex(40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Read(bytes.NewReader(seal(b)), fileWidth)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := Read(bytes.NewReader(written(t, x)), fileWidth)
		if err != nil {
			t.Fatalf("an index that was read cannot be read again: %v", err)
		}
		for u := range uint32(64) {
			x.Apply(u, &push.Record{Account: "u", Tags: []string{"own"}})
			again.Apply(u, &push.Record{Account: "u", Deleted: true})
		}
		if got := x.Count(predicate.Tag{Name: "own"}); got < 64 || x.Users() < again.Users() {
			t.Fatalf("%d users have the tag; %d and %d users", got, x.Users(), again.Users())
		}
	})
}

// Reading and writing a full shard, and how long writers wait meanwhile. Readers never do.
func BenchmarkFile(b *testing.B) {
	s := fullShard()
	file := written(b, s.Index)
	b.Run("Write", func(b *testing.B) {
		var held time.Duration
		for b.Loop() {
			t := time.Now()
			m := s.image()
			held += time.Since(t)
			if err := m.write(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(held.Microseconds())/1000/float64(b.N), "ms-writers-wait")
		b.ReportMetric(float64(len(file))/benchUsers, "B/user")
	})
	b.Run("Read", func(b *testing.B) {
		for b.Loop() {
			x, err := Read(bytes.NewReader(file), push.DefaultSharding.Width())
			if err != nil {
				b.Fatal(err)
			}
			if x.Users() != benchUsers {
				b.Fatal(x.Users())
			}
			b.StopTimer()
			runtime.GC()
			b.StartTimer()
		}
	})
}
