package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/carillon-push/carillon/pkg/push"
)

const (
	recordVersion = 2
	recordAlone   = 1 // the version without a past
	recordDeleted = 1 // flag bit
)

// AppendRecord appends a user record that nothing was before: with a past that is empty.
func AppendRecord(b []byte, r *push.Record) []byte { return AppendRecordAfter(b, r, &Past{}) }

// AppendRecordAfter appends a user record and its past:
//
//	version 2 | flags (1: deleted) | account (length, bytes) | number of tags | each tag (length, bytes), ascending
//	| bit mask of slots with a value (2 bytes, little endian) | each value (length, bytes) | past (length, bytes)
//
// Version 1, which is read still, is the same without the past.
func AppendRecordAfter(b []byte, r *push.Record, past *Past) []byte {
	var flags byte
	if r.Deleted {
		flags |= recordDeleted
	}
	b = append(b, recordVersion, flags)
	b = appendBytes(b, r.Account)
	b = binary.AppendUvarint(b, uint64(len(r.Tags)))
	for _, t := range r.Tags {
		b = appendBytes(b, t)
	}
	var mask uint16
	for i, v := range r.Attrs {
		if v != "" {
			mask |= 1 << i
		}
	}
	b = binary.LittleEndian.AppendUint16(b, mask)
	for _, v := range r.Attrs {
		if v != "" {
			b = appendBytes(b, v)
		}
	}
	return appendBytes(b, appendPast(nil, past))
}

// DecodeRecord reads a record without its past, over which it steps: whoever folds a log pays nothing for it.
func DecodeRecord(b []byte) (push.Record, error) {
	r := newTextReader(b)
	rec, _, _ := r.record()
	if err := r.end(); err != nil {
		return push.Record{}, fmt.Errorf("user record: %w", err)
	}
	return rec, nil
}

// record takes a record. Its past is not looked into; alone says that it is of a version that has none.
func (r *textReader) record() (rec push.Record, past []byte, alone bool) {
	if alone = len(r.b) > 0 && r.b[0] == recordAlone; alone {
		r.b = r.b[1:]
	} else {
		r.version(recordVersion)
	}
	flags := r.byte("flags")
	rec.Deleted = flags&recordDeleted != 0
	if flags&^recordDeleted != 0 {
		r.fail("flags")
	}
	rec.Account = r.text("account", push.MaxAccountLen)
	n := r.uvarint("tags")
	if n > push.MaxTags {
		r.fail("tags")
		n = 0
	}
	if n > 0 {
		rec.Tags = make([]string, 0, n)
	}
	for range n {
		t := r.text("tag", push.MaxTagLen)
		if t == "" || len(rec.Tags) > 0 && rec.Tags[len(rec.Tags)-1] >= t {
			r.fail("tags are not ascending")
		}
		rec.Tags = append(rec.Tags, t)
	}
	mask := uint16(r.byte("slots")) | uint16(r.byte("slots"))<<8
	if bits.Len16(mask) > push.AttrSlots {
		r.fail("slots")
	}
	for i := range rec.Attrs {
		if mask&(1<<i) != 0 {
			if rec.Attrs[i] = r.text("value", push.MaxAttrLen); rec.Attrs[i] == "" {
				r.fail("an empty value")
			}
		}
	}
	if !alone {
		past = r.bytes("past", maxPast)
	}
	return rec, past, alone
}
