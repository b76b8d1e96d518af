package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

const matchVersion = 1

// MaxPredicates bounds one MatchRequest.
const MaxPredicates = 1024

// maxPredicateLen bounds one predicate in bytes; package predicate takes no longer one.
const maxPredicateLen = 64 << 10

// MatchRequest asks a matcher whom some predicates hold for in one shard, without pushing anything.
type MatchRequest struct {
	// Folded is the sequence in the shard's log up to which the index must be folded, so that what the asking process
	// knows to be written is seen.
	Folded uint64
	// Predicates in their canonical form.
	Predicates []string
}

// EncodeMatchRequest lays a request out: version 1 | folded | number | each predicate (length, bytes).
func EncodeMatchRequest(q MatchRequest) []byte {
	b := binary.AppendUvarint([]byte{matchVersion}, q.Folded)
	b = binary.AppendUvarint(b, uint64(len(q.Predicates)))
	for _, p := range q.Predicates {
		b = appendBytes(b, p)
	}
	return b
}

// DecodeMatchRequest reads what EncodeMatchRequest wrote.
func DecodeMatchRequest(b []byte) (MatchRequest, error) {
	r := reader{b: b}
	r.version(matchVersion)
	q := MatchRequest{Folded: r.uvarint("folded")}
	n := r.uvarint("number")
	if n > MaxPredicates || n > uint64(len(r.b)) {
		r.fail("number")
		n = 0
	}
	for range n {
		q.Predicates = append(q.Predicates, string(r.bytes("predicate", maxPredicateLen)))
	}
	if err := r.end(); err != nil {
		return MatchRequest{}, fmt.Errorf("match request: %w", err)
	}
	return q, nil
}

// MatchReply is the answer of one shard.
type MatchReply struct {
	// Counts are how many users each predicate holds for, in the order of the request.
	Counts []uint64
	// Users are those that the first predicate holds for, by their places within the shard.
	Users *roaring.Bitmap
}

// EncodeMatchReply lays an answer out: version 1 | number | each count | the bitmap (length, bytes).
func EncodeMatchReply(a MatchReply) ([]byte, error) {
	b := binary.AppendUvarint([]byte{matchVersion}, uint64(len(a.Counts)))
	for _, n := range a.Counts {
		b = binary.AppendUvarint(b, n)
	}
	users, err := EncodeBitmap(a.Users)
	if err != nil {
		return nil, err
	}
	return appendBytes(b, users), nil
}

// DecodeMatchReply reads what EncodeMatchReply wrote, of a shard of the given width.
func DecodeMatchReply(b []byte, width uint32) (MatchReply, error) {
	r := reader{b: b}
	r.version(matchVersion)
	n := r.uvarint("number")
	if n > MaxPredicates || n > uint64(len(r.b)) {
		r.fail("number")
		n = 0
	}
	a := MatchReply{Counts: make([]uint64, 0, n)}
	for range n {
		c := r.uvarint("count")
		if c > uint64(width) {
			r.fail("count")
		}
		a.Counts = append(a.Counts, c)
	}
	raw := r.bytes("users", maxBitmap(uint64(width)))
	err := r.end()
	if err == nil {
		a.Users, err = DecodeBitmap(raw, width)
	}
	if err != nil {
		return MatchReply{}, fmt.Errorf("match reply: %w", err)
	}
	return a, nil
}
