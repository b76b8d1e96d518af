package push

import (
	"fmt"
	"slices"
)

// Limits of the contract for accounts, tags and attributes. Lengths are in bytes.
const (
	MaxAccountLen = 32
	MaxTagLen     = 50
	MaxTags       = 100 // of one user
	MaxAttrLen    = 50  // of a name, and of a value
	AttrSlots     = 10  // of an app
)

// ValidAccount says what is wrong with an account name; any bytes will do, if they are 1 to 32.
func ValidAccount(a string) error {
	if a == "" {
		return fmt.Errorf("an account must not be empty")
	}
	if len(a) > MaxAccountLen {
		return fmt.Errorf("an account has at most %d bytes, this one has %d", MaxAccountLen, len(a))
	}
	return nil
}

// Ordinal is an account's number within its app: the stream sequence of the message that registered it. Dense, from 1,
// never reused: an account that is deleted and registered again gets a new one.
type Ordinal uint64

// Shard numbers the ranges of consecutive ordinals that are matched, delivered and kept together.
type Shard uint32

// Sharding is the width of a shard, as the number of low bits of an ordinal that are its place within the shard.
type Sharding uint8

// DefaultSharding makes a shard of 2^20 ordinals, so that its bitmap is at most 128 KiB.
const DefaultSharding Sharding = 20

// Shard of an ordinal.
func (s Sharding) Shard(o Ordinal) Shard { return Shard(o >> s) }

// Local is an ordinal's place within its shard: its bit in the shard's bitmaps.
func (s Sharding) Local(o Ordinal) uint32 { return uint32(o & (1<<s - 1)) }

// Ordinal is the inverse of Shard and Local.
func (s Sharding) Ordinal(sh Shard, local uint32) Ordinal { return Ordinal(sh)<<s | Ordinal(local) }

// Width is the number of ordinals in a shard.
func (s Sharding) Width() uint32 { return 1 << s }

// Record is what matching knows of a user: the last message on the user's subject.
type Record struct {
	Account string
	// Tags are sorted and without repeats.
	Tags []string
	// Attrs are values by slot; an empty string is no value (the contract has no empty values).
	Attrs [AttrSlots]string
	// Deleted marks a tombstone: the ordinal is nobody's, and never will be again.
	Deleted bool
}

// Clone is a deep copy.
func (r Record) Clone() Record {
	r.Tags = slices.Clone(r.Tags)
	return r
}

// HasTag says whether the user carries the tag.
func (r *Record) HasTag(tag string) bool {
	_, ok := slices.BinarySearch(r.Tags, tag)
	return ok
}

// AddTag adds one tag and says whether that changed anything.
func (r *Record) AddTag(tag string) bool {
	i, ok := slices.BinarySearch(r.Tags, tag)
	if !ok {
		r.Tags = slices.Insert(r.Tags, i, tag)
	}
	return !ok
}

// RemoveTag removes one tag and says whether that changed anything.
func (r *Record) RemoveTag(tag string) bool {
	i, ok := slices.BinarySearch(r.Tags, tag)
	if ok {
		r.Tags = slices.Delete(r.Tags, i, i+1)
	}
	return ok
}

// Equal says whether two records are the same to matching and to their readers.
func (r *Record) Equal(o *Record) bool {
	return r.Account == o.Account && r.Deleted == o.Deleted && r.Attrs == o.Attrs && slices.Equal(r.Tags, o.Tags)
}
