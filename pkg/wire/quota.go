package wire

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
)

const quotaVersion = 1

// MaxPayments bounds the payments in an entry of the QUOTAS bucket; the oldest go first.
const MaxPayments = 4096

// Quota is an entry of the QUOTAS bucket: what an app's pushes have used up.
type Quota struct {
	// Day of which Used is, counted from 1970 in the installation's time zone.
	Day int64
	// Used is how many pushes of the day are paid for.
	Used int
	// Last is when the newest push was paid for, in unix nanoseconds; zero for never.
	Last int64
	// Payments of the last DuplicateWindow, oldest first.
	Payments []Payment
}

// Payment is what a push cost, kept for as long as its repeat would be the same push.
type Payment struct {
	Push uint64 // PaymentKey of its PushID
	At   int64  // unix nanoseconds
}

// PaymentKey stands for a PushID in a payment. Two pushes with one key cost nothing but time: the second is taken for a
// repeat, which the broker does not confirm.
func PaymentKey(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id)) //nolint:errcheck // a hash takes everything
	return h.Sum64()
}

// EncodeQuota lays an entry out: version 1 | day | used | last | count | count × (key, 8 bytes little endian | at),
// numbers as uvarints.
func EncodeQuota(q Quota) []byte {
	b := make([]byte, 0, 32+len(q.Payments)*18)
	b = append(b, quotaVersion)
	b = binary.AppendUvarint(b, uint64(q.Day))
	b = binary.AppendUvarint(b, uint64(q.Used))
	b = binary.AppendUvarint(b, uint64(q.Last))
	b = binary.AppendUvarint(b, uint64(len(q.Payments)))
	for _, p := range q.Payments {
		b = binary.LittleEndian.AppendUint64(b, p.Push)
		b = binary.AppendUvarint(b, uint64(p.At))
	}
	return b
}

// DecodeQuota reads what EncodeQuota wrote.
func DecodeQuota(b []byte) (Quota, error) {
	r := reader{b: b}
	r.version(quotaVersion)
	q := Quota{Day: r.natural("day"), Used: int(r.natural("used")), Last: r.natural("last")}
	n := r.uvarint("payments")
	if n > MaxPayments || n*9 > uint64(len(r.b)) {
		r.fail("payments")
	}
	for range n {
		if r.err != nil || len(r.b) < 8 {
			r.fail("payment")
			break
		}
		p := Payment{Push: binary.LittleEndian.Uint64(r.b)}
		r.b = r.b[8:]
		p.At = r.natural("time of a payment")
		q.Payments = append(q.Payments, p)
	}
	if err := r.end(); err != nil {
		return Quota{}, fmt.Errorf("quota: %w", err)
	}
	return q, nil
}

// natural takes a uvarint that is an int64.
func (r *reader) natural(what string) int64 {
	n := r.uvarint(what)
	if n > math.MaxInt64 {
		r.fail(what)
		return 0
	}
	return int64(n)
}
