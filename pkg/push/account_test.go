package push

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestValidAccount(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"a", "\x00", "a.*>", "😀", "\xff", strings.Repeat("x", MaxAccountLen)} {
		if err := ValidAccount(a); err != nil {
			t.Errorf("%q: %v", a, err)
		}
	}
	for _, a := range []string{"", strings.Repeat("x", MaxAccountLen+1), strings.Repeat("深", MaxAccountLen/3+1)} {
		if ValidAccount(a) == nil {
			t.Errorf("%q is taken for an account", a)
		}
	}
}

func TestShardingDividesOrdinals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := Sharding(rapid.IntRange(4, 20).Draw(t, "bits"))
		// As many ordinals as 2^32 shards hold.
		o := Ordinal(rapid.Uint64Max(1<<(32+uint(s))-1).Draw(t, "ordinal"))
		shard, local := s.Shard(o), s.Local(o)
		if local >= s.Width() || uint64(shard)*uint64(s.Width())+uint64(local) != uint64(o) {
			t.Fatalf("%d is place %d of shard %d", o, local, shard)
		}
		if got := s.Ordinal(shard, local); got != o {
			t.Fatalf("%d became %d", o, got)
		}
	})
	if w := DefaultSharding.Width(); w != 1<<20 {
		t.Errorf("a shard is %d wide by default, want 2^20", w)
	}
}

// The oracle of a record's tags is a set.
func TestTagsAreASet(t *testing.T) {
	t.Parallel()
	tag := rapid.SampledFrom([]string{"a", "b", "c", "ab", "\x00", "\xff", "团购", "A", "a.b"})
	rapid.Check(t, func(t *rapid.T) {
		var r Record
		set := make(map[string]bool)
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			tag := tag.Draw(t, "tag")
			had := set[tag]
			before := r.Clone()
			if rapid.Bool().Draw(t, "add") {
				if r.AddTag(tag) == had {
					t.Fatalf("adding %q to %q says that it changed: %t", tag, before.Tags, had)
				}
				set[tag] = true
			} else {
				if r.RemoveTag(tag) != had {
					t.Fatalf("removing %q from %q says that it changed: %t", tag, before.Tags, !had)
				}
				delete(set, tag)
			}
			if r.HasTag(tag) != set[tag] {
				t.Fatalf("%q has %q: %t", r.Tags, tag, r.HasTag(tag))
			}
			if want := slices.Sorted(maps.Keys(set)); !slices.Equal(r.Tags, want) {
				t.Fatalf("tags are %q, want %q", r.Tags, want)
			}
			if had != before.HasTag(tag) {
				t.Fatalf("a change of the record changed its clone to %q", before.Tags)
			}
		}
	})
}

func TestRecordEqual(t *testing.T) {
	t.Parallel()
	base := Record{Account: "a", Tags: []string{"x", "y"}}
	base.Attrs[2] = "v"
	clone := base.Clone()
	if !base.Equal(&clone) {
		t.Error("a record is not equal to its clone")
	}
	for name, change := range map[string]func(*Record){
		"account": func(r *Record) { r.Account = "b" },
		"tags":    func(r *Record) { r.RemoveTag("x") },
		"value":   func(r *Record) { r.Attrs[2] = "" },
		"slot":    func(r *Record) { r.Attrs[2], r.Attrs[3] = "", "v" },
		"deleted": func(r *Record) { r.Deleted = true },
	} {
		other := base.Clone()
		change(&other)
		if base.Equal(&other) || other.Equal(&base) {
			t.Errorf("records of another %s are equal", name)
		}
	}
	if none, empty := (Record{}), (Record{Tags: []string{}}); !none.Equal(&empty) {
		t.Error("no tags and an empty list of tags differ")
	}
}
