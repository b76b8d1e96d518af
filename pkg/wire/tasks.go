package wire

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

const (
	taskVersion         = 1
	taskChannelsVersion = 2
)

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
	// Channels are what became of it on vendors' channels, in all shards together, ascending by name.
	Channels []TaskChannel
	// Notices is the sequence in NOTICES of the last message that is counted in Channels; zero when there are none.
	Notices uint64
}

// MaxTaskResults bounds the results of a TaskChannel. No vendor documents so many reasons.
const MaxTaskResults = 512

// TaskChannel is what became of a push on one channel, counted in users.
type TaskChannel struct {
	Channel string
	// Users are all who were to be notified; those of them who are in no result still are.
	Users uint64
	// Results ascend by result and reason. Each user is in one at most.
	Results []TaskResult
}

// TaskResult counts those of whom the same is to be said.
type TaskResult struct {
	// Result and Reason are those of an OutcomePart.
	Result, Reason string
	Users          uint64
}

// Compare orders results.
func (r TaskResult) Compare(o TaskResult) int {
	return cmp.Or(cmp.Compare(r.Result, o.Result), cmp.Compare(r.Reason, o.Reason))
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
//	version 1 (2 with channels) | at (unix ms) | revoked at (unix ms, or 0) | lifetime (s) | sender | caller | condition |
//	number of parts |
//	each part: shard, less the one before and 1 | standing (byte) | where counted: audience, reached, received, opened, receipts
//
// and with channels:
//
//	notices | number of channels | each: name | users | number of results | each: result | reason | users
func EncodeTask(t *Task) []byte {
	revoked := uint64(0)
	if !t.RevokedAt.IsZero() {
		revoked = uint64(t.RevokedAt.UnixMilli())
	}
	version := byte(taskVersion)
	if len(t.Channels) > 0 {
		version = taskChannelsVersion
	}
	b := binary.AppendUvarint([]byte{version}, uint64(t.At.UnixMilli()))
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
	if len(t.Channels) > 0 {
		b = appendTaskChannels(binary.AppendUvarint(b, t.Notices), t.Channels)
	}
	return b
}

func appendTaskChannels(b []byte, channels []TaskChannel) []byte {
	b = binary.AppendUvarint(b, uint64(len(channels)))
	for _, c := range channels {
		b = appendBytes(b, c.Channel)
		b = binary.AppendUvarint(b, c.Users)
		b = binary.AppendUvarint(b, uint64(len(c.Results)))
		for _, r := range c.Results {
			b = appendBytes(b, r.Result)
			b = appendBytes(b, r.Reason)
			b = binary.AppendUvarint(b, r.Users)
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
	channels := len(b) > 0 && b[0] == taskChannelsVersion
	if channels {
		r.b = r.b[1:]
	} else {
		r.version(taskVersion)
	}
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
	if channels {
		t.Notices = r.uvarint("notices")
		t.Channels = r.taskChannels()
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	return t, nil
}

func (r *reader) taskChannels() []TaskChannel {
	n := r.count("number of channels", len(r.b)/4) // a channel has four bytes at least
	all := make([]TaskChannel, 0, n)
	for range n {
		c := TaskChannel{Channel: string(r.bytes("channel", MaxChannelLen)), Users: r.uvarint("users")}
		if ValidChannel(c.Channel) != nil || len(all) > 0 && all[len(all)-1].Channel >= c.Channel {
			r.fail("channel")
		}
		results := r.uvarint("number of results")
		if results > MaxTaskResults || results > uint64(len(r.b)) {
			r.fail("number of results")
			results = 0
		}
		left := c.Users
		for range results {
			one := TaskResult{string(r.bytes("result", maxOutcomeReason)), string(r.bytes("reason", maxOutcomeReason)), r.uvarint("users")}
			if k := len(c.Results); k > 0 && c.Results[k-1].Compare(one) >= 0 {
				r.fail("results are not ascending")
			}
			if one.Users > left {
				r.fail("results of more users than there were")
			}
			left -= min(left, one.Users)
			c.Results = append(c.Results, one)
		}
		all = append(all, c)
	}
	return all
}
