package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Message is one message to or from a stream.
type Message struct {
	Subject string
	Data    []byte
	// Header values by name; nil for none.
	Header map[string]string

	// Seq and Time are the broker's, on messages from a stream.
	Seq  uint64
	Time time.Time
	// More is how many messages the broker had waiting behind this one when it sent it (Fold).
	More uint64

	// Expect, on messages to a stream, is the last sequence that the subject must have; nil: any. Once is zero: the
	// subject must be new.
	Expect *uint64
	// ID, on messages to a stream, makes a repeat within the stream's duplicate window the same message.
	ID string
	// RepeatOnly, on messages with an ID, is ErrConflict unless the broker knows the ID: it never becomes a new message.
	RepeatOnly bool
	// TTL, on messages to a stream and from one (Fold), is the message's own lifetime; zero for the stream's.
	TTL time.Duration
}

// once is what Message.Expect points to for a message that is to be the first of its subject.
var once uint64

// Once makes a message create-once: a second one of its subject is ErrConflict.
func (m Message) Once() Message {
	m.Expect = &once
	return m
}

// After makes a message compare-and-set: it is ErrConflict unless seq is the subject's last sequence.
func (m Message) After(seq uint64) Message {
	m.Expect = &seq
	return m
}

func (m *Message) nats() *nats.Msg {
	out := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
	m.setHeaders(out.Header)
	return out
}

// zero is what the header of a message that is to be the first of its subject says. Nobody changes it.
var zero = []string{"0"}

func (m *Message) setHeaders(h nats.Header) {
	for k, v := range m.Header {
		h[k] = []string{v}
	}
	switch {
	case m.Expect == nil:
	case *m.Expect == 0:
		h[jetstream.ExpectedLastSubjSeqHeader] = zero
	default:
		h[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(*m.Expect, 10)}
	}
	if m.ID != "" {
		h[jetstream.MsgIDHeader] = []string{m.ID}
	}
	if m.RepeatOnly {
		// The broker looks for the ID before it compares the last message's, which is never this.
		h[jetstream.ExpectedLastMsgIDHeader] = []string{"a repeat only"}
	}
	if m.TTL > 0 {
		h[jetstream.MsgTTLHeader] = []string{max(m.TTL, time.Second).Truncate(time.Second).String()}
	}
}

func header(h nats.Header) map[string]string {
	if len(h) == 0 {
		return nil
	}
	m := make(map[string]string, len(h))
	for k, v := range h {
		if len(v) > 0 {
			m[k] = v[0]
		}
	}
	return m
}

// Publish puts one message into its stream and gives its sequence. For a repeat of an ID that is the first one's, and
// repeated is true. The error is ErrConflict when Expect or RepeatOnly does not hold, ErrRefused when the broker refuses
// the message for another reason.
func (b *Broker) Publish(ctx context.Context, m Message) (seq uint64, repeated bool, err error) {
	err = b.guarded("publish "+m.Subject, func() error {
		var ack *jetstream.PubAck
		err := b.conns.answered(ctx, func(ctx context.Context) (err error) {
			ack, err = b.js.PublishMsg(ctx, m.nats())
			return err
		})
		if err != nil {
			err = asConflict(err)
			b.wrote(err, nil, m)
			b.outcome(err, 1)
			return fmt.Errorf("publish to %s: %w", m.Subject, asRefused(err))
		}
		seq, repeated = ack.Sequence, ack.Duplicate
		b.wrote(nil, []uint64{seq}, m)
		if repeated {
			b.metrics.writes.WithLabelValues(wroteRepeated).Inc()
			return nil
		}
		b.outcome(nil, 1)
		return nil
	})
	return seq, repeated, err
}

// Codes of the broker that its client has no names for.
const (
	codeWrongLastID jetstream.ErrorCode = 10070 // the last message has not the expected id
	codeIDInProcess jetstream.ErrorCode = 10158 // the first message of this id is not in the stream yet
)

// asConflict makes the broker's refusal of what a message expects ErrConflict, and leaves any other error.
func asConflict(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, codeWrongLastID, codeIDInProcess:
		return ErrConflict
	}
	if isWrongLastSequence(api) {
		return ErrConflict
	}
	return err
}

// asRefused marks any other answer of the broker's, as against none.
func asRefused(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// isWrongLastSequence knows the same refusal where a batch reports it under another code.
func isWrongLastSequence(e *jetstream.APIError) bool {
	return strings.Contains(e.Description, "wrong last sequence")
}

// Last reads the last message of a subject, ErrNotFound when there is none.
func (b *Broker) Last(ctx context.Context, stream, subject string) (*Message, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	var raw *jetstream.RawStreamMsg
	err = b.conns.answered(ctx, func(ctx context.Context) (err error) {
		raw, err = s.GetLastMsgForSubject(ctx, subject)
		return err
	})
	m, err := fromRaw(raw, err, subject)
	if !b.replicated(s) || err != nil && !errors.Is(err, ErrNotFound) || err == nil && !b.floors.stale(subject, m.Seq) {
		return m, err
	}
	if m, err = b.fromLeader(ctx, stream, msgGet{LastFor: subject}); err == nil && m.Subject == subject {
		b.floors.set(subject, m.Seq)
	}
	return m, err
}

// Get reads the message with the given sequence, ErrNotFound when it is gone.
func (b *Broker) Get(ctx context.Context, stream string, seq uint64) (*Message, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	var raw *jetstream.RawStreamMsg
	err = b.conns.answered(ctx, func(ctx context.Context) (err error) {
		raw, err = s.GetMsg(ctx, seq)
		return err
	})
	m, err := fromRaw(raw, err, fmt.Sprintf("%s at %d", stream, seq))
	if errors.Is(err, ErrNotFound) && b.replicated(s) {
		return b.fromLeader(ctx, stream, msgGet{Seq: seq})
	}
	return m, err
}

func fromRaw(raw *jetstream.RawStreamMsg, err error, what string) (*Message, error) {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return &Message{Subject: raw.Subject, Data: raw.Data, Header: header(raw.Header), Seq: raw.Sequence, Time: raw.Time}, nil
}

// maxLastOf is how many subjects the broker answers in one request.
const maxLastOf = 1024

// headerPending of an answer to LastOf says how many more the broker has for it.
const headerPending = "Nats-Num-Pending"

// errPartial is returned by LastOf when the broker's answer broke off, and again when it was asked for the rest.
var errPartial = errors.New("the broker's answer broke off, try again")

// LastOf reads the last messages of several subjects, by subject; a subject without one is absent. What an answer lacks that
// broke off, as a broker's may that has much to do, is asked for again, a few times.
func (b *Broker) LastOf(ctx context.Context, stream string, subjects []string) (map[string]*Message, error) {
	return b.lastOf(ctx, stream, subjects, partialTries)
}

// lastOf is LastOf with a number of tries. With one, the messages of up to maxLastOf subjects are what one server held at one
// moment, but for those that the stream's leader corrects.
func (b *Broker) lastOf(ctx context.Context, stream string, subjects []string, tries int) (found map[string]*Message, err error) {
	err = b.conns.answered(ctx, func(ctx context.Context) (err error) {
		if len(subjects) == 1 { // a login's case: one request and one answer, without a subscription for many
			found = map[string]*Message{}
			m, err := b.Last(ctx, stream, subjects[0])
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err == nil {
				found[m.Subject] = m
			}
			return err
		}
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		found, err = gathered(subjects, tries, func(some []string, found map[string]*Message) error {
			return b.lastSome(ctx, stream, some, found)
		})
		if err == nil && b.replicated(s) {
			err = b.confirm(ctx, stream, subjects, found)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// partialTries is how often it is asked for the same subjects: a few times, since an answer that broke off may have said of
// some that they have no message without our knowing.
const partialTries = 4

// gathered asks for the last messages of subjects, as many at a time as the broker answers. ask adds those of some to what was
// found; where it ends with errPartial, it is asked again for those that it did not find. It fails when that many tries in a row
// found nothing more, or with any other error.
func gathered(subjects []string, tries int, ask func(some []string, found map[string]*Message) error) (map[string]*Message, error) {
	found := make(map[string]*Message, len(subjects))
	for some := range slices.Chunk(subjects, maxLastOf) {
		for left := tries; ; {
			had := len(found)
			err := ask(some, found)
			if err == nil {
				break
			}
			if left--; len(found) > had && tries > 1 {
				left = tries - 1
			}
			if !errors.Is(err, errPartial) || left <= 0 {
				return nil, err
			}
			some = slices.DeleteFunc(slices.Clone(some), func(subject string) bool { return found[subject] != nil })
			if len(some) == 0 {
				break
			}
		}
	}
	return found, nil
}

// lastSome adds the last messages of up to maxLastOf subjects to what was found. After errPartial it has added some of them.
func (b *Broker) lastSome(ctx context.Context, stream string, subjects []string, found map[string]*Message) error {
	msgs, err := jetstreamext.GetLastMsgsFor(ctx, b.in, stream, subjects)
	if err != nil {
		return fmt.Errorf("read %d subjects of %s: %w", len(subjects), stream, err)
	}
	had, whole := len(found), false // the client ends an answer that is late, or longer than the broker sends, without an error
	for raw, err := range msgs {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			whole = len(found) == had
			break
		}
		if err != nil {
			return fmt.Errorf("read %d subjects of %s: %w", len(subjects), stream, err)
		}
		found[raw.Subject] = &Message{Subject: raw.Subject, Data: raw.Data, Header: header(raw.Header), Seq: raw.Sequence, Time: raw.Time}
		whole = raw.Header.Get(headerPending) == "0"
	}
	if whole {
		return nil
	}
	return fmt.Errorf("read %d subjects of %s: %w", len(subjects), stream, errors.Join(errPartial, ctx.Err()))
}

// Delete removes one message from a stream; one that is gone already is no error.
func (b *Broker) Delete(ctx context.Context, stream string, seq uint64) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	return b.guarded("delete "+stream, func() error {
		var api *jetstream.APIError
		err := s.DeleteMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil
		}
		if err != nil {
			return fmt.Errorf("delete %s at %d: %w", stream, seq, err)
		}
		return nil
	})
}

// LastSeq is the sequence of the newest message of the whole stream.
func (b *Broker) LastSeq(ctx context.Context, stream string) (uint64, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the state of %s: %w", stream, err)
	}
	return info.State.LastSeq, nil
}
