package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/carillon-push/carillon/pkg/push"
)

const inboxVersion = 1

// InboxRequest asks what waits for one user.
type InboxRequest struct {
	// Local is the user's place in the shard.
	Local uint32
	// Audiences and Receipts are sequences in those streams up to which the answer must have folded: what the asking
	// process has already dispatched live, and what it has itself published.
	Audiences uint64
	Receipts  uint64
}

// EncodeInboxRequest lays a request out: version 1 | local | audiences | receipts, as uvarints.
func EncodeInboxRequest(q InboxRequest) []byte {
	b := binary.AppendUvarint([]byte{inboxVersion}, uint64(q.Local))
	b = binary.AppendUvarint(b, q.Audiences)
	return binary.AppendUvarint(b, q.Receipts)
}

// DecodeInboxRequest reads what EncodeInboxRequest wrote.
func DecodeInboxRequest(b []byte) (InboxRequest, error) {
	r := reader{b: b}
	r.version(inboxVersion)
	local := r.uvarint("local")
	if local > 1<<32-1 {
		r.fail("local")
	}
	q := InboxRequest{Local: uint32(local), Audiences: r.uvarint("audiences"), Receipts: r.uvarint("receipts")}
	if err := r.end(); err != nil {
		return InboxRequest{}, fmt.Errorf("inbox request: %w", err)
	}
	return q, nil
}

// maxInbox bounds an answer: more pushes than a shard can have live within the longest lifetime.
const maxInbox = 1 << 20

// EncodeInbox lays out what waits for a user, as ascending sequences: version 1 | number | the first, then differences.
func EncodeInbox(seqs []push.Seq) []byte {
	b := binary.AppendUvarint([]byte{inboxVersion}, uint64(len(seqs)))
	var last push.Seq
	for _, s := range seqs {
		b = binary.AppendUvarint(b, uint64(s-last))
		last = s
	}
	return b
}

// DecodeInbox reads what EncodeInbox wrote.
func DecodeInbox(b []byte) ([]push.Seq, error) {
	r := reader{b: b}
	r.version(inboxVersion)
	n := r.uvarint("number")
	if n > maxInbox || n > uint64(len(r.b)) {
		r.fail("number")
		n = 0
	}
	var seqs []push.Seq
	if n > 0 {
		seqs = make([]push.Seq, 0, n)
	}
	var last push.Seq
	for range n {
		d := push.Seq(r.uvarint("sequence"))
		if d == 0 || last+d < last {
			r.fail("sequences are not ascending")
		}
		last += d
		seqs = append(seqs, last)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	return seqs, nil
}
