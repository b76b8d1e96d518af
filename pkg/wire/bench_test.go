package wire

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// typicalRecord has the number of tags and attributes that the benchmarks of the index assume.
func typicalRecord() push.Record {
	r := push.Record{Account: "user-1234567"}
	for i := range 10 {
		r.Tags = append(r.Tags, "tag-"+string(rune('a'+i)))
	}
	for i := range r.Attrs {
		r.Attrs[i] = "value"
	}
	return r
}

func BenchmarkAppendRecord(b *testing.B) {
	r, buf := typicalRecord(), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendRecord(buf[:0], &r)
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	r := typicalRecord()
	data := AppendRecord(nil, &r)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRecord(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeRecordWithAPast(b *testing.B) {
	data := changed(typicalRecord(), 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRecord(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNextRecord is what a change costs its writer: reading the past, and writing it with one more version.
func BenchmarkNextRecord(b *testing.B) {
	for _, n := range []int{0, 1, 20, 200} {
		b.Run(fmt.Sprint(n, " changes"), func(b *testing.B) {
			r := typicalRecord()
			data, buf := changed(r, n), []byte(nil)
			b.ReportMetric(float64(len(data)), "bytes")
			b.ReportAllocs()
			for b.Loop() {
				v, err := DecodeVersion(data, 1<<20+uint64(n), sampleTime(n), "")
				if err != nil {
					b.Fatal(err)
				}
				buf = AppendRecordAfter(buf[:0], &r, v.Next(&r, 8*24*time.Hour))
			}
		})
	}
}

// sampleTime is when the n-th change came: one a minute.
func sampleTime(n int) time.Time {
	return time.UnixMilli(1700000000000).Add(time.Duration(n) * time.Minute)
}

// changed is a record to which tags were added and taken from, one a change.
func changed(r push.Record, n int) []byte {
	data := AppendRecord(nil, &r)
	for i := range n {
		v := must(DecodeVersion(data, 1<<20+uint64(i), sampleTime(i), ""))
		next := v.Record.Clone()
		if tag := "tag-" + string(rune('p'+i/2%10)); !next.RemoveTag(tag) {
			next.AddTag(tag)
		}
		data = AppendRecordAfter(nil, &next, v.Next(&next, 8*24*time.Hour))
	}
	return data
}

func BenchmarkAppendPush(b *testing.B) {
	p, buf := samplePush(), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPush(buf[:0], p)
	}
}

func BenchmarkDecodePush(b *testing.B) {
	data := must(EncodePush(samplePush()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodePush(data, 42); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeBitmap(b *testing.B) {
	data := must(EncodeBitmap(sampleBitmap()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeBitmap(data, width); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeClientFrame(b *testing.B) {
	data := []byte(`{"t":"ack","seq":[41,42]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeClientFrame(data); err != nil {
			b.Fatal(err)
		}
	}
}

// Not parallel: they count the process's allocations.
func TestAllocations(t *testing.T) {
	r, p := typicalRecord(), samplePush()
	data, frame, buf := AppendRecord(nil, &r), AppendPush(nil, p), []byte(nil)
	past := changed(r, 20)
	buf = make([]byte, 0, max(len(data), len(frame)))
	for _, c := range []struct {
		name string
		most float64
		f    func()
	}{
		{"AppendRecord into a buffer", 0, func() { buf = AppendRecord(buf[:0], &r) }},
		// The account, the list of tags, each tag and each value.
		{"DecodeRecord", float64(2 + len(r.Tags) + len(r.Attrs)), func() { _, _ = DecodeRecord(data) }},
		{"DecodeRecord with a past", float64(2 + len(r.Tags) + len(r.Attrs)), func() { _, _ = DecodeRecord(past) }},
		// A frame is built once a push, whatever the number of its sessions: the id, a quoted copy of id and sender, and at times
		// what the JSON encoder keeps in a pool.
		{"AppendPush into a buffer", 12, func() { buf = AppendPush(buf[:0], p) }},
	} {
		if n := testing.AllocsPerRun(100, c.f); n > c.most {
			t.Errorf("%s allocates %v times, want at most %v", c.name, n, c.most)
		}
	}
}
