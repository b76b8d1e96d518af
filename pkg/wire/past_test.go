package wire

import (
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

// decodeVersion decodes a record at a place of no matter.
func decodeVersion(b []byte) (Version, error) { return DecodeVersion(b, 1<<40, time.UnixMilli(0), "") }

// sampleChanges is a record with a version of each kind in its past, of which the oldest is not the account's first.
func sampleChanges() []byte {
	full := sampleRecord()
	v := Version{Seq: 300, At: time.UnixMilli(1700000000123), Record: full, Past: Past{Before: 7}}
	for i, change := range []func(*push.Record){
		func(r *push.Record) { r.AddTag("new") },
		func(r *push.Record) { r.RemoveTag("vip"); r.Attrs[0] = "" },
		func(r *push.Record) { r.Attrs[1], r.Attrs[3] = "x", "" },
		func(r *push.Record) {},
	} {
		r := v.Record.Clone()
		change(&r)
		past := v.Next(&r, time.Hour)
		v = Version{Seq: v.Seq + 300<<i, At: v.At.Add(time.Duration(i-1) * time.Second), Record: r, Past: *past}
	}
	return AppendRecordAfter(nil, &v.Record, &v.Past)
}

// The layout of earlier builds is read: what was before such a record its message tells.
func TestRecordsOfEarlierBuilds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/record-alone.hex")
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	want := sampleRecord()
	if got, err := DecodeRecord(b); err != nil || !got.Equal(&want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for header, before := range map[string]uint64{"0": 0, "42": 42, "": BeforeUnknown, "x": BeforeUnknown} {
		v, err := DecodeVersion(b, 50, time.UnixMilli(7), header)
		if err != nil || !v.Record.Equal(&want) || v.Past.Before != before || len(v.Past.Steps) != 0 || v.Seq != 50 {
			t.Errorf("with header %q: %+v, %v", header, v, err)
		}
	}
}

// anyChange draws a change of a record: small, large, or of everything.
func anyChange() *rapid.Generator[func(*push.Record)] {
	return rapid.Custom(func(t *rapid.T) func(*push.Record) {
		tag := rapid.SampledFrom([]string{"a", "b", "c", strings.Repeat("d", push.MaxTagLen)}).Draw(t, "tag")
		slot := rapid.IntRange(0, push.AttrSlots-1).Draw(t, "slot")
		value := rapid.SampledFrom([]string{"", "x", strings.Repeat("y", push.MaxAttrLen)}).Draw(t, "value")
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return func(r *push.Record) { r.Deleted = !r.Deleted }
		case 1:
			other := anyRecord().Draw(t, "other")
			return func(r *push.Record) { r.Tags, r.Attrs = other.Tags, other.Attrs }
		case 2, 3:
			return func(r *push.Record) { r.AddTag(tag) }
		case 4:
			return func(r *push.Record) { r.RemoveTag(tag) }
		}
		return func(r *push.Record) { r.Attrs[slot] = value }
	})
}

// Whatever becomes of a record, its past is what a naive list of all its versions says; and it goes back as far as there
// is need and room.
func TestThePastIsWhatWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const keep = time.Hour
		last := Version{Seq: rapid.Uint64Range(1, 1<<20).Draw(t, "first"), At: sampleTime(0), Record: push.Record{Account: "u"}}
		data, all, before := AppendRecord(nil, &last.Record), []Version{last}, uint64(0)
		for range rapid.IntRange(0, 60).Draw(t, "changes") {
			v, err := DecodeVersion(data, last.Seq, last.At, "")
			if err != nil {
				t.Fatal(err)
			}
			r := v.Record.Clone()
			if anyChange().Draw(t, "change")(&r); len(r.Tags) > push.MaxTags {
				continue
			}
			data = AppendRecordAfter(nil, &r, v.Next(&r, keep))
			// What was replaced too long ago goes, and what is before it.
			for i := len(all) - 2; i >= 0; i-- {
				if all[i+1].At.Before(last.At.Add(-keep)) {
					before, all = all[i].Seq, all[i+1:]
					break
				}
			}
			last = Version{
				Seq:    last.Seq + rapid.Uint64Range(1, 1000).Draw(t, "others"),
				At:     last.At.Add(time.Duration(rapid.IntRange(-5, 600_000).Draw(t, "later")) * time.Millisecond),
				Record: r,
			}
			all = append(all, last)

			if v, err = DecodeVersion(data, last.Seq, last.At, ""); err != nil {
				t.Fatal(err)
			}
			got, was, err := v.Versions()
			if err != nil || len(got) < 2 || len(got) > len(all) {
				t.Fatalf("%d versions of %d, %v", len(got), len(all), err)
			}
			if dropped := all[:len(all)-len(got)]; len(dropped) > 0 {
				d := dropped[len(dropped)-1]
				all, before = all[len(dropped):], d.Seq
				more := Past{Steps: append(v.Past.Steps, step(&all[0].Record, &d))}
				if n := len(appendPast(nil, &more)); n <= PastBytes {
					t.Fatalf("the version at %d is not there, and would need no more than %d bytes", d.Seq, n)
				}
			}
			if was != before {
				t.Fatalf("what was before is at %d, want %d", was, before)
			}
			for i := range got {
				if got[i].Seq != all[i].Seq || !got[i].At.Equal(all[i].At) || !got[i].Record.Equal(&all[i].Record) {
					t.Fatalf("version %d is %+v, want %+v", i, got[i], all[i])
				}
			}
		}
	})
}

// What was replaced longer ago than anybody can ask for goes with the next change, whatever there is room for.
func TestThePastEnds(t *testing.T) {
	t.Parallel()
	v := Version{Seq: 1, At: sampleTime(0), Record: push.Record{Account: "u"}}
	for i := range 4 { // at 0, 1, 2, 3 and 4 hours
		r := v.Record.Clone()
		r.AddTag(string(rune('a' + i)))
		past := v.Next(&r, 2*time.Hour)
		v = Version{Seq: v.Seq + 1, At: v.At.Add(time.Hour), Record: r, Past: *past}
	}
	// The one of 0 hours was replaced at 1, which is 2 hours before that of 3 hours was.
	if all, before, err := v.Versions(); err != nil || len(all) != 5 || before != 0 {
		t.Errorf("%d versions, before them %d, %v", len(all), before, err)
	}
	past := v.Next(&push.Record{Account: "u"}, 2*time.Hour)
	if len(past.Steps) != 4 || past.Before != 1 {
		t.Errorf("%d versions, before them %d", len(past.Steps), past.Before)
	}
}

// The newest earlier version is there whatever it takes.
func TestALargeRecordIsRemembered(t *testing.T) {
	t.Parallel()
	full := push.Record{Account: strings.Repeat("u", push.MaxAccountLen)}
	for i := range push.MaxTags {
		full.AddTag(strings.Repeat("t", push.MaxTagLen-1) + string(byte(i)))
	}
	for i := range full.Attrs {
		full.Attrs[i] = strings.Repeat("v", push.MaxAttrLen)
	}
	v := Version{Seq: 2, At: sampleTime(1), Record: full, Past: Past{Steps: []Step{{Seq: 1, At: sampleTime(0)}}}}
	gone := push.Record{Account: full.Account, Deleted: true}
	b := AppendRecordAfter(nil, &gone, v.Next(&gone, time.Hour))
	got, err := DecodeVersion(b, 3, sampleTime(2), "")
	if err != nil {
		t.Fatal(err)
	}
	all, before, err := got.Versions()
	if err != nil || len(all) != 2 || !all[0].Record.Equal(&full) || before != 1 {
		t.Errorf("%d versions, before them %d, %v", len(all), before, err)
	}
}

func TestDecodeVersionRefuses(t *testing.T) {
	t.Parallel()
	for name, past := range map[string][]byte{
		"an empty past":            {0},
		"a sequence of zero":       {0, 0, 0, 0},
		"a repeated sequence":      {0, 9, 0, 0, 0, 0, 0},
		"a sequence below zero":    {0, 9, 0, 0, 9, 0, 0},
		"before that comes later":  {9, 9, 0, 0},
		"an unknown flag":          {0, 9, 0, 16},
		"nothing to remove":        {0, 9, 0, stepRemoves, 0},
		"a tag removed twice":      {0, 9, 0, stepRemoves, 2, 1, 0},
		"a tag beyond the last":    {0, 9, 0, stepRemoves, 1, push.MaxTags},
		"nothing to add":           {0, 9, 0, stepAdds, 0},
		"an empty tag":             {0, 9, 0, stepAdds, 1, 0},
		"a tag added twice":        {0, 9, 0, stepAdds, 2, 1, 'x', 1, 'x'},
		"no slots":                 {0, 9, 0, stepSlots, 0, 0},
		"an unknown slot":          {0, 9, 0, stepSlots, 0, 1 << (push.AttrSlots - 8), 1, 'v'},
		"a value cut off":          {0, 9, 0, stepSlots, 1, 0, 2, 'v'},
		"more to add than bytes":   {0, 9, 0, stepAdds, 9, 1, 'x'},
		"a time without its flags": {0, 9, 0},
	} {
		b := appendBytes([]byte{2, 0, 1, 'a', 0, 0, 0}, past)
		if got, err := decodeVersion(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, got, err)
		}
		if _, err := DecodeRecord(b); err != nil {
			t.Errorf("%s: the record alone: %v", name, err)
		}
	}
	r := push.Record{Account: "a", Tags: []string{"x"}}
	for name, s := range map[string]Step{
		"removes what is not there": {Seq: 1, Remove: []int{1}},
		"adds what is there":        {Seq: 1, Add: []string{"x"}},
	} {
		v := Version{Seq: 2, Record: r, Past: Past{Steps: []Step{s}}}
		if all, _, err := v.Versions(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v, want ErrCorrupt", name, all, err)
		}
	}
}

// No bytes make reading all versions of a record panic, and a version is the same when it is written and read again.
func FuzzDecodeVersion(f *testing.F) {
	for _, l := range layouts() {
		if strings.HasPrefix(l.name, "record") {
			f.Add(l.sample)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeVersion(b)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		all, before, err := v.Versions()
		if err != nil {
			checkRefusal(t, err)
			return
		}
		again, err := decodeVersion(AppendRecordAfter(nil, &v.Record, &v.Past))
		if err != nil {
			t.Fatal(err)
		}
		same, was, err := again.Versions()
		if err != nil || was != before || !reflect.DeepEqual(same, all) {
			t.Fatalf("%+v after a round, want %+v; %v", same, all, err)
		}
	})
}
