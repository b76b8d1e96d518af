package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/carillon-push/carillon/pkg/push"
)

const (
	inboxVersion = 2
	// inboxAlone is the version of a request for one user, which gateways of the version before send.
	inboxAlone = 1
)

// MaxInboxUsers is how many users one request may ask for.
const MaxInboxUsers = 256

// InboxRequest asks what waits for some users of a shard. Logins come in storms, and what a request and its answer cost on
// their way is many times what finding out for one more user does.
type InboxRequest struct {
	// Locals are the users' places in the shard, from 1 to MaxInboxUsers of them, in any order; one may come twice.
	Locals []uint32
	// Audiences and Receipts are sequences in those streams up to which the answer must have folded: what the asking
	// process has already dispatched live, and what it has itself published.
	Audiences uint64
	Receipts  uint64
	// Alone is whether the request is of version 1, for one user: its answer is EncodeInboxAlone's.
	Alone bool
}

// EncodeInboxRequest lays a request out: version 2 | audiences | receipts | number of users | their places, as uvarints. One
// that is alone is: version 1 | place | audiences | receipts.
func EncodeInboxRequest(q InboxRequest) []byte {
	if q.Alone {
		b := binary.AppendUvarint([]byte{inboxAlone}, uint64(q.Locals[0]))
		b = binary.AppendUvarint(b, q.Audiences)
		return binary.AppendUvarint(b, q.Receipts)
	}
	b := make([]byte, 0, 1+3*binary.MaxVarintLen64+len(q.Locals)*binary.MaxVarintLen32)
	b = binary.AppendUvarint(append(b, inboxVersion), q.Audiences)
	b = binary.AppendUvarint(b, q.Receipts)
	b = binary.AppendUvarint(b, uint64(len(q.Locals)))
	for _, l := range q.Locals {
		b = binary.AppendUvarint(b, uint64(l))
	}
	return b
}

// DecodeInboxRequest reads what EncodeInboxRequest wrote.
func DecodeInboxRequest(b []byte) (InboxRequest, error) {
	r := reader{b: b}
	var q InboxRequest
	if q.Alone = len(b) > 0 && b[0] == inboxAlone; q.Alone {
		r.b = b[1:]
		q.Locals = []uint32{r.local()}
		q.Audiences, q.Receipts = r.uvarint("audiences"), r.uvarint("receipts")
	} else {
		r.version(inboxVersion)
		q.Audiences, q.Receipts = r.uvarint("audiences"), r.uvarint("receipts")
		q.Locals = make([]uint32, r.count("users", MaxInboxUsers))
		for i := range q.Locals {
			q.Locals[i] = r.local()
		}
	}
	if err := r.end(); err != nil {
		return InboxRequest{}, fmt.Errorf("inbox request: %w", err)
	}
	return q, nil
}

// local takes a user's place.
func (r *reader) local() uint32 {
	local := r.uvarint("local")
	if local > 1<<32-1 {
		r.fail("local")
	}
	return uint32(local)
}

// maxInbox bounds what waits for a user: more pushes than a shard can have live within the longest lifetime.
const maxInbox = 1 << 20

// AppendInbox appends what waits for the next user of a request to its answer, as ascending sequences, beginning the
// answer when b is empty. An answer is: version 2 | number of users (2 bytes, little endian) | for each, as uvarints: number
// | the first, then differences.
//
// An answer may have fewer users than its request, from the first on, but one at least: the others are to be asked for
// again. So it can stay within what the broker takes.
func AppendInbox(b []byte, seqs []push.Seq) []byte {
	if len(b) == 0 {
		b = append(b, inboxVersion, 0, 0)
	}
	binary.LittleEndian.PutUint16(b[1:], binary.LittleEndian.Uint16(b[1:])+1)
	return appendInbox(b, seqs)
}

// EncodeInboxAlone lays out the answer to a request that is alone: version 1 | number | the first, then differences.
func EncodeInboxAlone(seqs []push.Seq) []byte { return appendInbox([]byte{inboxAlone}, seqs) }

func appendInbox(b []byte, seqs []push.Seq) []byte {
	b = binary.AppendUvarint(b, uint64(len(seqs)))
	var last push.Seq
	for _, s := range seqs {
		b = binary.AppendUvarint(b, uint64(s-last))
		last = s
	}
	return b
}

// DecodeInboxes reads what AppendInbox wrote: what waits for each user, in the request's order.
func DecodeInboxes(b []byte) ([][]push.Seq, error) {
	r := reader{b: b}
	r.version(inboxVersion)
	users := int(r.byte("users")) | int(r.byte("users"))<<8
	if users == 0 || users > MaxInboxUsers {
		r.fail("users")
		users = 0
	}
	all := make([][]push.Seq, users)
	for i := range all {
		all[i] = r.inbox()
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	return all, nil
}

// inbox takes what waits for one user.
func (r *reader) inbox() []push.Seq {
	n := r.uvarint("number")
	if n > maxInbox || n > uint64(len(r.b)) {
		r.fail("number")
	}
	if n == 0 || r.err != nil {
		return nil
	}
	seqs := make([]push.Seq, n)
	var last push.Seq
	for i := range seqs {
		var d push.Seq
		if len(r.b) > 0 && r.b[0] < 0x80 { // nearly all are
			d, r.b = push.Seq(r.b[0]), r.b[1:]
		} else {
			d = push.Seq(r.uvarint("sequence"))
		}
		if d == 0 || last+d < last {
			r.fail("sequences are not ascending")
			return nil
		}
		last += d
		seqs[i] = last
	}
	return seqs
}
