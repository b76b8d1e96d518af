package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// PastBytes bounds what a record carries of its past. The newest earlier version is there whatever it takes, which is no
// more than a record does; those before it as long as all of them are within the bound.
const PastBytes = 1 << 10

// maxPast is more than the newest version and PastBytes may take.
const maxPast = 16 << 10

// BeforeUnknown is the Past.Before of a record of which nothing tells what was before it.
const BeforeUnknown = math.MaxUint64

// Past is what a record carries of the versions before it, without a gap.
type Past struct {
	// Steps give the earlier versions, newest first: each from the one behind it, the first from the record itself.
	Steps []Step
	// Before is the sequence of the version before the oldest of these, or without any before the record itself: 0 when
	// there was none, so that this one was the account's first, and BeforeUnknown when nothing tells.
	Before uint64
}

// Step is how to get an earlier version of a record from the one that took its place. The account is the same in both.
type Step struct {
	// Seq is the earlier version's sequence in the shard's log, and At the broker's time of it, in whole milliseconds.
	Seq uint64
	At  time.Time
	// Deleted says that one of the two is deleted and the other is not.
	Deleted bool
	// Remove are the places, ascending, among the later version's tags of those that the earlier one has not.
	Remove []int
	// Add are the tags, ascending, that the earlier version has and the later one has not.
	Add []string
	// Slots is a bit mask of the slots that differ, and Values what the earlier version has in each; empty for nothing.
	Slots  uint16
	Values []string
}

// Version is a user's record as it stood from one sequence of its shard's log until the next version's.
type Version struct {
	Seq    uint64
	At     time.Time
	Record push.Record
	Past   Past
}

// DecodeVersion reads a record with its past. Seq, at and before are its message's sequence, time and HeaderBefore, of
// which the last tells what the layout of earlier builds does not.
func DecodeVersion(b []byte, seq uint64, at time.Time, before string) (Version, error) {
	r := newTextReader(b)
	v := Version{Seq: seq, At: time.UnixMilli(at.UnixMilli()).UTC()}
	var past []byte
	var alone bool
	v.Record, past, alone = r.record()
	err := r.end()
	if err == nil {
		v.Past, err = decodePast(past)
	}
	if err != nil {
		return Version{}, fmt.Errorf("user record: %w", err)
	}
	if alone {
		if v.Past.Before, err = strconv.ParseUint(before, 10, 64); err != nil {
			v.Past.Before = BeforeUnknown
		}
	}
	return v, nil
}

// Next is the past of a record that takes v's place. What was replaced longer than keep before v was written is left out,
// and so is what does not fit into PastBytes.
func (v *Version) Next(r *push.Record, keep time.Duration) *Past {
	p := &Past{Steps: make([]Step, 1, 1+len(v.Past.Steps)), Before: v.Past.Before}
	p.Steps[0] = step(r, v)
	b := appendStep(nil, nil, &p.Steps[0])
	replaced, oldest := v.At, v.At.Add(-keep)
	for i := range v.Past.Steps {
		s := &v.Past.Steps[i]
		b = appendStep(b, &p.Steps[i], s)
		if len(b) > PastBytes || replaced.Before(oldest) {
			p.Before = s.Seq
			break
		}
		p.Steps = append(p.Steps, *s)
		replaced = s.At
	}
	return p
}

// Versions are v and those of its past, oldest first. Before is the sequence of the one before the first of them, 0 when
// there was none, or BeforeUnknown. The error is ErrCorrupt when a step does not fit the version behind it.
func (v *Version) Versions() (all []Version, before uint64, err error) {
	all = []Version{{Seq: v.Seq, At: v.At, Record: v.Record}}
	for i := range v.Past.Steps {
		s := &v.Past.Steps[i]
		r, err := s.undo(&all[i].Record)
		if err != nil {
			return nil, 0, fmt.Errorf("the version at %d of a user record: %w", s.Seq, err)
		}
		all = append(all, Version{Seq: s.Seq, At: s.At, Record: r})
	}
	slices.Reverse(all)
	return all, v.Past.Before, nil
}

// step is how to get v from a record that takes its place.
func step(later *push.Record, v *Version) Step {
	s := Step{Seq: v.Seq, At: v.At, Deleted: later.Deleted != v.Record.Deleted}
	for i, t := range later.Tags {
		if !v.Record.HasTag(t) {
			s.Remove = append(s.Remove, i)
		}
	}
	for _, t := range v.Record.Tags {
		if !later.HasTag(t) {
			s.Add = append(s.Add, t)
		}
	}
	for i, value := range v.Record.Attrs {
		if value != later.Attrs[i] {
			s.Slots |= 1 << i
			s.Values = append(s.Values, value)
		}
	}
	return s
}

// undo gives the earlier version from the later one.
func (s *Step) undo(later *push.Record) (push.Record, error) {
	r := later.Clone()
	r.Deleted = later.Deleted != s.Deleted
	for _, i := range slices.Backward(s.Remove) {
		if i >= len(r.Tags) {
			return r, fmt.Errorf("%w: tag %d of %d is removed", ErrCorrupt, i, len(later.Tags))
		}
		r.Tags = slices.Delete(r.Tags, i, i+1)
	}
	for _, t := range s.Add {
		if !r.AddTag(t) {
			return r, fmt.Errorf("%w: tag %q is added twice", ErrCorrupt, t)
		}
	}
	if len(r.Tags) > push.MaxTags {
		return r, fmt.Errorf("%w: %d tags", ErrCorrupt, len(r.Tags))
	}
	values := s.Values
	for i := range r.Attrs {
		if s.Slots&(1<<i) != 0 {
			r.Attrs[i], values = values[0], values[1:]
		}
	}
	return r, nil
}

// Flag bits of a step, for the parts that it has.
const (
	stepDeleted = 1 << iota
	stepRemoves
	stepAdds
	stepSlots
	stepFlags = 1<<iota - 1
)

// stepBytes is what a step takes that removes or adds one tag, or changes one slot.
const stepBytes = 10

// appendPast appends nothing for the past of an account's first record, and else:
//
//	Before | each step, newest first: sequence | milliseconds since 1970 (zigzag) | flags (1 deleted, 2 removes, 4 adds,
//	8 slots), and for the last three:
//	| number of tags to remove | the place of each, less that of the one before it
//	| number of tags to add | each (length, bytes)
//	| bit mask of slots (2 bytes, little endian) | each value (length, bytes)
//
// Of all steps but the first, the sequence is how far it is below the one behind it, and the time how much it is above.
func appendPast(b []byte, p *Past) []byte {
	if p.Before == 0 && len(p.Steps) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, p.Before)
	var behind *Step
	for i := range p.Steps {
		b = appendStep(b, behind, &p.Steps[i])
		behind = &p.Steps[i]
	}
	return b
}

func appendStep(b []byte, behind, s *Step) []byte {
	if behind == nil {
		b = binary.AppendVarint(binary.AppendUvarint(b, s.Seq), s.At.UnixMilli())
	} else {
		b = binary.AppendVarint(binary.AppendUvarint(b, behind.Seq-s.Seq), s.At.UnixMilli()-behind.At.UnixMilli())
	}
	at := len(b)
	b = append(b, 0)
	if s.Deleted {
		b[at] |= stepDeleted
	}
	if len(s.Remove) > 0 {
		b[at] |= stepRemoves
		b = binary.AppendUvarint(b, uint64(len(s.Remove)))
		last := 0
		for _, i := range s.Remove {
			b = binary.AppendUvarint(b, uint64(i-last))
			last = i
		}
	}
	if len(s.Add) > 0 {
		b[at] |= stepAdds
		b = binary.AppendUvarint(b, uint64(len(s.Add)))
		for _, t := range s.Add {
			b = appendBytes(b, t)
		}
	}
	if s.Slots != 0 {
		b[at] |= stepSlots
		b = binary.LittleEndian.AppendUint16(b, s.Slots)
		for _, v := range s.Values {
			b = appendBytes(b, v)
		}
	}
	return b
}

func decodePast(b []byte) (p Past, err error) {
	if len(b) == 0 {
		return p, nil
	}
	r := reader{b: b}
	p.Before = r.uvarint("before")
	p.Steps = make([]Step, 0, len(b)/stepBytes+1)
	var behind *Step
	for len(r.b) > 0 {
		p.Steps = append(p.Steps, r.step(behind))
		behind = &p.Steps[len(p.Steps)-1]
	}
	switch {
	case r.err != nil:
	case behind == nil && p.Before == 0:
		r.fail("an empty past")
	case behind != nil && p.Before >= behind.Seq && p.Before != BeforeUnknown:
		r.fail("what was before comes later")
	}
	return p, r.err
}

// step takes one step.
func (r *reader) step(behind *Step) (s Step) {
	seq, ms := r.uvarint("sequence"), r.varint("time")
	if behind != nil {
		if seq == 0 || seq >= behind.Seq {
			r.fail("sequences do not fall")
		}
		seq, ms = behind.Seq-seq, behind.At.UnixMilli()+ms
	} else if seq == 0 {
		r.fail("sequence")
	}
	s.Seq, s.At = seq, time.UnixMilli(ms).UTC()
	flags := r.byte("flags")
	if flags&^stepFlags != 0 {
		r.fail("flags")
	}
	s.Deleted = flags&stepDeleted != 0
	if flags&stepRemoves != 0 {
		last := uint64(0)
		for i := range r.count("tags to remove", push.MaxTags) {
			n := r.uvarint("place of a tag")
			if i > 0 && n == 0 || n >= push.MaxTags || last+n >= push.MaxTags {
				r.fail("place of a tag")
				break
			}
			last += n
			s.Remove = append(s.Remove, int(last))
		}
	}
	if flags&stepAdds != 0 {
		for range r.count("tags to add", push.MaxTags) {
			t := string(r.bytes("tag", push.MaxTagLen))
			if t == "" || len(s.Add) > 0 && s.Add[len(s.Add)-1] >= t {
				r.fail("tags are not ascending")
				break
			}
			s.Add = append(s.Add, t)
		}
	}
	if flags&stepSlots != 0 {
		s.Slots = uint16(r.byte("slots")) | uint16(r.byte("slots"))<<8
		if s.Slots == 0 || bits.Len16(s.Slots) > push.AttrSlots {
			r.fail("slots")
		}
		for range bits.OnesCount16(s.Slots) {
			s.Values = append(s.Values, string(r.bytes("value", push.MaxAttrLen)))
		}
	}
	return s
}
