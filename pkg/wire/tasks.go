package wire

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

const taskVersion = 1

// MaxTaskCondition bounds the condition that an entry of TASKS keeps, in bytes; a longer one is left out.
const MaxTaskCondition = 4 << 10

// Task is one entry of the TASKS bucket: what stays of a push for statistics when the logs no longer have it.
type Task struct {
	// At is the moment of acceptance, RevokedAt that of the revocation, zero when there is none. Both are whole milliseconds.
	At, RevokedAt time.Time
	// Lifetime in whole seconds, zero for online users only.
	Lifetime time.Duration
	// Sender is whom recipients see, Caller who called.
	Sender, Caller string
	// Condition in its canonical form, empty when it is longer than MaxTaskCondition.
	Condition string
	// Parts of the shards, ascending; none of a shard that was made after the push.
	Parts []TaskPart
}

// TaskStanding is what is known of a push in a shard.
type TaskStanding byte

// Standings, in the order in which one takes the place of another.
const (
	TaskWaiting TaskStanding = iota // it had not been evaluated
	TaskGone                        // it had, and the log did not hold its audience any more
	TaskCounted                     // its audience is counted
)

// TaskPart is what became of a push in one shard. The counts are of users, and zero unless the shard is TaskCounted. None
// of them ever shrinks: of two versions the greater is the later one.
type TaskPart struct {
	Shard    push.Shard
	Standing TaskStanding
	// Audience are all whom the push was for. Reached are those of them to whom it was sent, Received those of Reached who
	// acknowledged it, and Opened those of Received who opened it.
	Audience, Reached, Received, Opened uint64
	// Receipts is the sequence in RECEIPTS of the last receipt that is counted.
	Receipts uint64
}

// EncodeTask lays an entry out, numbers as uvarints, texts behind their length:
//
//	version 1 | at (unix ms) | revoked at (unix ms, or 0) | lifetime (s) | sender | caller | condition | number of parts |
//	each part: shard, less the one before and 1 | standing (byte) | where counted: audience, reached, received, opened, receipts
func EncodeTask(t *Task) []byte {
	revoked := uint64(0)
	if !t.RevokedAt.IsZero() {
		revoked = uint64(t.RevokedAt.UnixMilli())
	}
	b := binary.AppendUvarint([]byte{taskVersion}, uint64(t.At.UnixMilli()))
	b = binary.AppendUvarint(b, revoked)
	b = binary.AppendUvarint(b, uint64(t.Lifetime/time.Second))
	b = appendBytes(b, t.Sender)
	b = appendBytes(b, t.Caller)
	if len(t.Condition) > MaxTaskCondition {
		b = appendBytes(b, "")
	} else {
		b = appendBytes(b, t.Condition)
	}
	b = binary.AppendUvarint(b, uint64(len(t.Parts)))
	next := push.Shard(0)
	for _, p := range t.Parts {
		b = binary.AppendUvarint(b, uint64(p.Shard-next))
		next = p.Shard + 1
		b = append(b, byte(p.Standing))
		if p.Standing == TaskCounted {
			for _, n := range []uint64{p.Audience, p.Reached, p.Received, p.Opened, p.Receipts} {
				b = binary.AppendUvarint(b, n)
			}
		}
	}
	return b
}

// maxMillis is the end of the year 9999, beyond which JSON has no times.
const maxMillis = 253402300799999

// maxShard is beyond every shard that ordinals have.
const maxShard = 1 << 32

// DecodeTask reads what EncodeTask wrote.
func DecodeTask(b []byte) (*Task, error) {
	r := reader{b: b}
	r.version(taskVersion)
	t := new(Task)
	at, revoked, lifetime := r.uvarint("at"), r.uvarint("revoked at"), r.uvarint("lifetime")
	if at > maxMillis || revoked > maxMillis {
		r.fail("a time")
	}
	if lifetime > push.MaxLifetime {
		r.fail("lifetime")
	}
	t.At, t.Lifetime = time.UnixMilli(int64(at)), time.Duration(lifetime)*time.Second
	if revoked > 0 {
		t.RevokedAt = time.UnixMilli(int64(revoked))
	}
	t.Sender, t.Caller = string(r.bytes("sender", len(b))), string(r.bytes("caller", len(b)))
	t.Condition = string(r.bytes("condition", MaxTaskCondition))
	n := r.uvarint("number")
	if n > uint64(len(r.b))/2 { // a part has two bytes at least
		r.fail("number")
		n = 0
	}
	t.Parts = make([]TaskPart, 0, n)
	next := uint64(0)
	for range n {
		shard := r.uvarint("shard")
		if shard >= maxShard || shard+next >= maxShard {
			r.fail("shard")
		}
		p := TaskPart{Shard: push.Shard(shard + next), Standing: TaskStanding(r.byte("standing"))}
		next = shard + next + 1
		switch {
		case p.Standing > TaskCounted:
			r.fail("standing")
		case p.Standing == TaskCounted:
			for _, n := range []*uint64{&p.Audience, &p.Reached, &p.Received, &p.Opened, &p.Receipts} {
				*n = r.uvarint("count")
			}
			if p.Audience > maxShard || p.Reached > p.Audience || p.Received > p.Reached || p.Opened > p.Received {
				r.fail("counts of more users than there were")
			}
		}
		t.Parts = append(t.Parts, p)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	return t, nil
}
