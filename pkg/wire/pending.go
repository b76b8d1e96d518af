package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/push"
)

const pendingVersion = 2

// Pending is one entry of the PENDING bucket: who of a shard has yet to get a push.
type Pending struct {
	// Expire is the push's end in unix seconds.
	Expire int64
	// Revokes is the push that this one, a revocation, cancels; 0 for others.
	Revokes push.Seq
	// Users are the places within the shard that have not acknowledged the push.
	Users *roaring.Bitmap
}

// EncodePending lays an entry out: version 2 | expire (8 bytes, little endian) | revokes (uvarint) | bitmap.
func EncodePending(p Pending) ([]byte, error) {
	bm, err := EncodeBitmap(p.Users)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 9+binary.MaxVarintLen64+len(bm))
	b = append(b, pendingVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Expire))
	b = binary.AppendUvarint(b, uint64(p.Revokes))
	return append(b, bm...), nil
}

// DecodePending reads what EncodePending wrote, for a shard of the given width.
func DecodePending(b []byte, width uint32) (Pending, error) {
	r := reader{b: b}
	r.version(pendingVersion)
	if r.err == nil && len(r.b) < 8 {
		r.fail("expire")
	}
	if r.err != nil {
		return Pending{}, fmt.Errorf("pending: %w", r.err)
	}
	expire := int64(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	revokes := push.Seq(r.uvarint("revokes"))
	if r.err != nil {
		return Pending{}, fmt.Errorf("pending: %w", r.err)
	}
	users, err := DecodeBitmap(r.b, width)
	if err != nil {
		return Pending{}, fmt.Errorf("pending: %w", err)
	}
	return Pending{Expire: expire, Revokes: revokes, Users: users}, nil
}

// Position says how far the logs are folded into a shard's entries of the PENDING bucket: every message of the shard up
// to these sequences is in them.
type Position struct {
	Audiences uint64 // sequence in AUDIENCES
	Receipts  uint64 // sequence in RECEIPTS
}

// EncodePosition lays a position out: version 2 | audiences | receipts, as uvarints.
func EncodePosition(p Position) []byte {
	b := binary.AppendUvarint([]byte{pendingVersion}, p.Audiences)
	return binary.AppendUvarint(b, p.Receipts)
}

// DecodePosition reads what EncodePosition wrote.
func DecodePosition(b []byte) (Position, error) {
	r := reader{b: b}
	r.version(pendingVersion)
	p := Position{Audiences: r.uvarint("audiences"), Receipts: r.uvarint("receipts")}
	if err := r.end(); err != nil {
		return Position{}, fmt.Errorf("position: %w", err)
	}
	return p, nil
}
