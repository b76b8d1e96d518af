package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// EntryKind is what an entry of the logs is.
type EntryKind string

// Kinds of entries.
const (
	EntryPush       EntryKind = "push"       // accepted
	EntryReplay     EntryKind = "replay"     // accepted, for those who missed another
	EntryRevocation EntryKind = "revocation" // of another push
	EntryAudience   EntryKind = "audience"   // of a push, in one shard
	EntryReceipt    EntryKind = "receipt"    // what one gateway has to say of a push and a shard
	EntryUser       EntryKind = "user"       // a user's record, as it is from here on
	EntryUnreadable EntryKind = "unreadable" // a message that is none of these
)

// Entry is one message of the logs. Fields that its kind has not are absent.
type Entry struct {
	// At is when the broker took it, into Stream as its Seq-th message.
	At     time.Time `json:"at"`
	Stream string    `json:"stream"`
	Seq    uint64    `json:"seq"`
	Kind   EntryKind `json:"kind"`

	// Push is what the entry is about. Of is the push that a replay or a revocation is about.
	Push push.TaskID `json:"push,omitempty"`
	Of   push.TaskID `json:"of,omitempty"`
	By   string      `json:"by,omitempty"`
	// Lifetime in seconds, Condition in its canonical form with attributes by slot, Bytes of the body.
	Lifetime  *int64 `json:"lifetime,omitempty"`
	Condition string `json:"condition,omitempty"`
	Bytes     int    `json:"bytes,omitempty"`

	Shard *push.Shard `json:"shard,omitempty"`
	// Matched users of an audience, of which the shard's log was folded up to Evaluated.
	Matched   *uint64 `json:"matched,omitempty"`
	Evaluated uint64  `json:"evaluated,omitempty"`
	// Users of a receipt.
	Received *uint64 `json:"received,omitempty"`
	Opened   *uint64 `json:"opened,omitempty"`
	Sent     *uint64 `json:"sent,omitempty"`

	Ordinal       push.Ordinal `json:"ordinal,omitempty"`
	Account       string       `json:"account,omitempty"`
	AccountBase64 []byte       `json:"accountBase64,omitempty"`
	Deleted       bool         `json:"deleted,omitempty"`
	// Tags, and attribute values by name, or by slot where that has no name; those that are no UTF-8 by their bytes.
	Tags             []string          `json:"tags,omitempty"`
	TagsBase64       [][]byte          `json:"tagsBase64,omitempty"`
	Attributes       map[string]string `json:"attributes,omitempty"`
	AttributesBase64 map[string][]byte `json:"attributesBase64,omitempty"`

	// Why it is unreadable.
	Why string `json:"why,omitempty"`
}

// errOther is of a message that was not asked for.
var errOther = errors.New("not asked for")

func (r *reading) push(m *broker.Message, e *Entry) error {
	seq := push.Seq(m.Seq)
	if r.cfg.one() == 0 && !r.cfg.has(seq) {
		return errPast
	}
	p, err := wire.DecodePush(m.Data, seq)
	if err != nil {
		return err
	}
	life := int64(p.Lifetime / time.Second)
	e.Kind, e.Push, e.By, e.Lifetime = EntryPush, p.TaskID(), p.Caller, &life
	switch {
	case p.Revokes != 0:
		e.Kind, e.Of = EntryRevocation, push.NewTaskID(p.App, p.Revokes)
		return nil
	case p.Again != 0:
		e.Kind, e.Of = EntryReplay, push.NewTaskID(p.App, p.Again)
	}
	e.Condition, e.Bytes = p.Condition, len(p.Body)
	return nil
}

// place reads which push and shard an entry is of.
func (r *reading) place(m *broker.Message, e *Entry) error {
	place, err := wire.ParsePushPlace(m.Subject)
	if err != nil {
		return err
	}
	if !r.cfg.has(place.Seq) {
		return errOther
	}
	e.Push, e.Shard = push.NewTaskID(place.App, place.Seq), &place.Shard
	return nil
}

func (r *reading) audience(m *broker.Message, e *Entry) error {
	if err := r.place(m, e); err != nil {
		return err
	}
	users, err := wire.DecodeBitmap(m.Data, r.h.b.Sharding().Width())
	if err != nil {
		return err
	}
	n := users.GetCardinality()
	e.Kind, e.Matched = EntryAudience, &n
	if e.Evaluated, err = strconv.ParseUint(m.Header[wire.HeaderEvaluated], 10, 64); err != nil {
		return fmt.Errorf("read up to where it was evaluated: %w", err)
	}
	return nil
}

func (r *reading) receipt(m *broker.Message, e *Entry) error {
	if err := r.place(m, e); err != nil {
		return err
	}
	rec, err := wire.DecodeReceipt(m.Data, r.h.b.Sharding().Width())
	if err != nil {
		return err
	}
	received, opened, sent := rec.Received.GetCardinality(), rec.Opened.GetCardinality(), rec.Sent.GetCardinality()
	e.Kind, e.Received, e.Opened, e.Sent = EntryReceipt, &received, &opened, &sent
	return nil
}

func (r *reading) user(m *broker.Message, e *Entry) error {
	ordinal, err := wire.ParseUserSubject(m.Subject)
	if err != nil {
		return err
	}
	rec, err := wire.DecodeRecord(m.Data)
	if err != nil {
		return err
	}
	shard := r.h.b.Sharding().Shard(ordinal)
	e.Kind, e.Ordinal, e.Shard, e.Deleted = EntryUser, ordinal, &shard, rec.Deleted
	if utf8.ValidString(rec.Account) {
		e.Account = rec.Account
	} else {
		e.AccountBase64 = []byte(rec.Account)
	}
	for _, tag := range rec.Tags {
		if utf8.ValidString(tag) {
			e.Tags = append(e.Tags, tag)
		} else {
			e.TagsBase64 = append(e.TagsBase64, []byte(tag))
		}
	}
	for slot, value := range rec.Attrs {
		name := cmp.Or(r.names[slot], fmt.Sprint("slot ", slot))
		switch {
		case value == "":
		case utf8.ValidString(value):
			e.Attributes = with(e.Attributes, name, value)
		default:
			e.AttributesBase64 = with(e.AttributesBase64, name, []byte(value))
		}
	}
	return nil
}

// with is the map, made if it was not, with one member more.
func with[V any](m map[string]V, name string, v V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[name] = v
	return m
}

// values lists what a user's record holds, for people.
func (e *Entry) values() string {
	var all []string
	for _, tag := range e.Tags {
		all = append(all, fmt.Sprintf("tag %q", tag))
	}
	for _, tag := range e.TagsBase64 {
		all = append(all, fmt.Sprintf("tag %q", tag))
	}
	tags := len(all)
	for name, value := range e.Attributes {
		all = append(all, fmt.Sprintf("%s %q", name, value))
	}
	for name, value := range e.AttributesBase64 {
		all = append(all, fmt.Sprintf("%s %q", name, value))
	}
	slices.Sort(all[tags:])
	return cmp.Or(strings.Join(all, ", "), "no tags, no attributes")
}

// String is the entry in a line, for people.
func (e *Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-10s ", clock(e.At), e.Kind)
	switch e.Kind {
	case EntryPush, EntryReplay:
		fmt.Fprintf(&b, "%s accepted from %q", e.Push, e.By)
		if e.Of != "" {
			fmt.Fprintf(&b, " for those who missed %s", e.Of)
		} else {
			fmt.Fprintf(&b, " for %s", e.Condition)
		}
		if *e.Lifetime > 0 {
			fmt.Fprintf(&b, ", kept for %v", time.Duration(*e.Lifetime)*time.Second)
		} else {
			b.WriteString(", for online users only")
		}
		fmt.Fprintf(&b, ", %d bytes", e.Bytes)
	case EntryRevocation:
		fmt.Fprintf(&b, "%s: %s was revoked by %q", e.Push, e.Of, e.By)
	case EntryAudience:
		fmt.Fprintf(&b, "%s shard %d: %d users, evaluated at log %d", e.Push, *e.Shard, *e.Matched, e.Evaluated)
	case EntryReceipt:
		fmt.Fprintf(&b, "%s shard %d: received by %d, opened by %d, sent to %d", e.Push, *e.Shard, *e.Received, *e.Opened, *e.Sent)
	case EntryUser:
		account := e.Account
		if account == "" {
			account = string(e.AccountBase64)
		}
		fmt.Fprintf(&b, "%q, ordinal %d, shard %d, log %d: ", account, e.Ordinal, *e.Shard, e.Seq)
		if e.Deleted {
			b.WriteString("deleted")
		} else {
			b.WriteString(e.values())
		}
	default:
		fmt.Fprintf(&b, "%s at %d: %s", e.Stream, e.Seq, e.Why)
	}
	return b.String()
}
