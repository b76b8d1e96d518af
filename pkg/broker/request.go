package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Request asks whoever serves a subject. The error is ErrUnavailable when nobody does.
func (b *Broker) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	var m *nats.Msg
	err := b.conns.answered(ctx, func(ctx context.Context) (err error) {
		m, err = b.nc.RequestWithContext(ctx, subject, data)
		return err
	})
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("request %s: %w", subject, ErrUnavailable)
	}
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", subject, err)
	}
	if e := m.Header.Get(micro.ErrorHeader); e != "" {
		return nil, fmt.Errorf("request %s: refused: %s", subject, e)
	}
	return m.Data, nil
}

// Request to a server of a subject.
type Request struct {
	Subject string
	Data    []byte
	msg     *nats.Msg
}

// Respond answers; it is called once at most.
func (r *Request) Respond(data []byte) error {
	if err := r.msg.Respond(data); err != nil {
		return fmt.Errorf("answer %s: %w", r.Subject, err)
	}
	return nil
}

// Refuse answers with what was wrong with the request.
func (r *Request) Refuse(why string) error {
	m := nats.NewMsg(r.msg.Reply)
	m.Header.Set(micro.ErrorHeader, why)
	if err := r.msg.RespondMsg(m); err != nil {
		return fmt.Errorf("answer %s: %w", r.Subject, err)
	}
	return nil
}

// Serve hands requests of a subject to handle, one at a time, until ctx ends. With a queue name each request goes to one
// of those that serve under the name, without to all. Requests that wait are bounded by the connection's buffers; what is
// beyond is dropped there, and the asker's time runs out. serving, unless nil, is called when the broker knows of it.
func (b *Broker) Serve(ctx context.Context, subject, queue string, serving func(), handle func(*Request)) error {
	sub, err := b.nc.QueueSubscribe(subject, queue, func(m *nats.Msg) {
		handle(&Request{Subject: m.Subject, Data: m.Data, msg: m})
	})
	if err != nil {
		return fmt.Errorf("serve %s: %w", subject, err)
	}
	if serving != nil {
		if err := b.nc.FlushTimeout(10 * time.Second); err != nil {
			b.log.Warn("the broker may not know yet what is served here", "subject", subject, "err", err)
		}
		serving()
	}
	<-ctx.Done()
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	if err := sub.Drain(); err != nil { // the connection is gone, and the handler with it
		return ctx.Err()
	}
	select { // the last handler has returned, or hangs
	case <-ended:
	case <-time.After(5 * time.Second):
	}
	return ctx.Err()
}

// Join makes this process known as a member of a role, so that Gather knows how many answers there are to wait for; leave
// ends that.
func (b *Broker) Join(role string) (leave func(), err error) {
	svc, err := micro.AddService(b.nc, micro.Config{Name: role, Version: "1.0.0", QueueGroupDisabled: true})
	if err != nil {
		return nil, fmt.Errorf("join role %s: %w", role, err)
	}
	return sync.OnceFunc(func() { svc.Stop() }), nil //nolint:errcheck // the connection may be gone already
}

// Times of Gather: how long it listens for members, how long it goes by what it heard, and how long it waits for them.
const (
	discoverWait = 50 * time.Millisecond
	discoverKeep = 2 * time.Second
	gatherWait   = time.Second
)

// membership is how many members a role had when they were last counted.
type membership struct {
	n  int
	at time.Time
}

// Gather asks every member of a role and gives what they answer. A member that joined in the last two seconds hears the
// request but may not be waited for; one that does not answer within a second is left out.
func (b *Broker) Gather(ctx context.Context, role, subject string, data []byte) ([][]byte, error) {
	members, err := b.members(ctx, role)
	if err != nil {
		return nil, err
	}
	return b.ask(ctx, subject, data, gatherWait, members)
}

// GatherAll is Gather for when every member must have answered, within the time given: the error is ErrUnavailable when one
// has not, or has refused. Members are counted anew each time, so that one that has gone is not waited for the next time.
func (b *Broker) GatherAll(ctx context.Context, role, subject string, data []byte, wait time.Duration) ([][]byte, error) {
	b.mu.Lock()
	delete(b.roles, role)
	b.mu.Unlock()
	members, err := b.members(ctx, role)
	if err != nil {
		return nil, err
	}
	got, err := b.ask(ctx, subject, data, wait, members)
	if err == nil && len(got) < members {
		err = fmt.Errorf("ask %s: %w: %d of %d have answered", subject, ErrUnavailable, len(got), members)
	}
	return got, err
}

// members counts a role's members.
func (b *Broker) members(ctx context.Context, role string) (int, error) {
	b.mu.Lock()
	m := b.roles[role]
	b.mu.Unlock()
	if m.n > 0 && time.Since(m.at) < discoverKeep {
		return m.n, nil
	}
	subject, err := micro.ControlSubject(micro.PingVerb, role, "")
	if err != nil {
		return 0, fmt.Errorf("count the members of %s: %w", role, err)
	}
	pongs, err := b.ask(ctx, subject, nil, discoverWait, maxMembers)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	b.roles[role] = membership{len(pongs), time.Now()}
	b.mu.Unlock()
	return len(pongs), nil
}

// maxMembers bounds the answers to one request.
const maxMembers = 1024

// ask gathers up to n answers to a request for as long as wait. A refusal is no answer.
func (b *Broker) ask(ctx context.Context, subject string, data []byte, wait time.Duration, n int) ([][]byte, error) {
	inbox, answers := nats.NewInbox(), make(chan *nats.Msg, maxMembers)
	sub, err := b.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone already
	if err := b.nc.PublishRequest(subject, inbox, data); err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var got [][]byte
	for len(got) < n {
		select { // an answer wakes it; the number of answers, or the time, ends it
		case m := <-answers:
			if m.Header.Get("Status") == "503" { // nobody is there
				return nil, nil
			}
			if m.Header.Get(micro.ErrorHeader) == "" {
				got = append(got, m.Data)
			}
		case <-ctx.Done():
			return got, nil
		}
	}
	return got, nil
}
