package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nuid"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

type pushAnswer struct {
	outcome
	TaskId push.TaskID
}

// push is im_push. It is accepted when the broker has it; a repeat gets the TaskId of the first.
func (i *Ingest) push(ctx context.Context, c *call) (answer, error) {
	if c.app.PushDisabled {
		return nil, refuse(codePushDisabled, "the app is not enabled for push")
	}
	p, err := i.readPush(ctx, c)
	if err != nil {
		return nil, err
	}
	repeated, err := i.accept(ctx, c.app, p)
	if err != nil {
		return nil, err
	}
	result := pushAccepted
	if repeated {
		result = pushRepeated
	}
	i.metrics.pushes.WithLabelValues(result).Inc()
	return &pushAnswer{TaskId: push.NewTaskID(p.App, p.Seq)}, nil
}

// repeatPause is how long a repeat waits at first for the push that it repeats; then twice as long each time.
const (
	repeatPause    = 5 * time.Millisecond
	maxRepeatPause = 100 * time.Millisecond
)

// accept has the broker take a push that its app's quota admits, and sets its time and sequence; for a repeat those are the
// first one's, but for the time. What looks like a repeat was not paid for, and can therefore not become a new push: if
// the broker does not know the first, that is still on its way, was lost with the process that had it, or has just become
// too old. It is then asked again, until the first is there, or is so old that this one is no repeat, and pays.
func (i *Ingest) accept(ctx context.Context, t *tenant, p *push.Push) (repeated bool, err error) {
	id := wire.PushID(p)
	for pause := repeatPause; ; pause = min(2*pause, maxRepeatPause) {
		p.At = i.now()
		data, err := wire.EncodePush(p)
		if err != nil {
			return false, err
		}
		ticket, err := t.quota.reserve(ctx, i.limits(t), id, p.At)
		if err != nil {
			return false, err
		}
		span := i.cfg.Tracer.Send(ctx, wire.PushesStream)
		seq, repeated, err := i.b.Publish(ctx, broker.Message{
			Subject: wire.PushSubject(p.App, nuid.Next()), Data: data, ID: id, TTL: i.b.Retention(), RepeatOnly: ticket.repeat,
			Header: span.Inject(nil),
		})
		span.About(p.App, push.Seq(seq))
		span.End(err)
		conflict := errors.Is(err, broker.ErrConflict)
		if repeated || conflict || errors.Is(err, broker.ErrRefused) {
			i.giveBack(ctx, t, ticket)
		}
		if !conflict {
			p.Seq = push.Seq(seq)
			return repeated, err
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return false, fmt.Errorf("wait for the push that this one repeats: %w", err)
		case <-time.After(pause):
		}
	}
}

// giveBack gives back what was paid for a push that is no new one on the broker.
func (i *Ingest) giveBack(ctx context.Context, t *tenant, ticket ticket) {
	if !ticket.paid {
		return
	}
	if err := t.quota.giveBack(ctx, ticket); err != nil {
		i.log.Warn("give back the quota of a push that was none; it stays used", "app", t.ID, "err", err)
	}
}

// readPush checks the fields of an im_push. What becomes known only by accepting it, its time and sequence, is not set.
func (i *Ingest) readPush(ctx context.Context, c *call) (*push.Push, error) {
	p := &push.Push{App: c.app.ID, Caller: c.caller, Sender: c.caller}
	var err error
	if p.Random, err = readRandom(c.body.get("MsgRandom")); err != nil {
		return nil, err
	}
	if p.Lifetime, err = readLifetime(c.body.get("MsgLifeTime")); err != nil {
		return nil, err
	}
	if p.Body, err = i.readMsgBody(c.body.get("MsgBody")); err != nil {
		return nil, err
	}
	if p.OfflineInfo, err = readOfflineInfo(c.body.get("OfflinePushInfo")); err != nil {
		return nil, err
	}
	if p.Condition, err = i.readCondition(ctx, c); err != nil {
		return nil, err
	}
	// Clients that always send every member leave it empty.
	if from := c.body.get("From_Account"); !from.absent() && string(from.raw) != `""` {
		if p.Sender, err = i.readSender(ctx, c, from); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func readRandom(v value) (uint32, error) {
	n, err := strconv.ParseUint(string(v.raw), 10, 32)
	if err != nil {
		return 0, refuse(codeRandom, v.wrong("a number from 0 to 4294967295").Error())
	}
	return uint32(n), nil
}

func readLifetime(v value) (time.Duration, error) {
	if v.absent() {
		return 0, nil
	}
	if !v.isInteger() {
		return 0, refuse(codeLifetimeType, v.wrong("an integer").Error())
	}
	n, err := strconv.Atoi(string(v.raw))
	if err != nil || n < 0 || n > push.MaxLifetime {
		return 0, refuse(codeLifetimeRange, v.wrong(fmt.Sprintf("from 0 to %d", push.MaxLifetime)).Error())
	}
	return time.Duration(n) * time.Second, nil
}

// readMsgBody gives the elements byte for byte as they were sent.
func (i *Ingest) readMsgBody(v value) (json.RawMessage, error) {
	if v.absent() {
		return nil, refuse(codeNoMsgBody, v.path+": missing")
	}
	if len(v.raw) > i.cfg.MessageLimit {
		return nil, refuse(codeTooLong, fmt.Sprintf("%s: %d bytes, at most %d are allowed", v.path, len(v.raw), i.cfg.MessageLimit))
	}
	items, err := v.list()
	if err != nil {
		return nil, refuse(codeMsgBodyType, err.Error())
	}
	if len(items) == 0 {
		return nil, refuse(codeNoMsgBody, v.path+": it has no element")
	}
	if err := checkElements(items); err != nil {
		return nil, refuse(codeElement, err.Error())
	}
	return v.raw, nil
}

// readCondition gives the canonical form of the audience's predicate, its attributes resolved to slots by the names that
// the app has now: a push keeps its meaning when a slot is renamed later.
func (i *Ingest) readCondition(ctx context.Context, c *call) (string, error) {
	var condition predicate.Condition // the zero value, where it is absent, is every account
	if v := c.body.get("Condition"); !v.absent() {
		if items, err := v.list(); err == nil && len(items) == 1 {
			v = items[0] // generated clients send the one condition in a list
		}
		err := v.characters()
		if err != nil {
			return "", err
		}
		if condition, err = predicate.ParseCondition(v.raw); err != nil {
			return "", err
		}
	}
	slot := func(string) (uint8, bool) { return 0, false }
	if condition.AttrsOr != nil || condition.AttrsAnd != nil {
		names, err := i.dir.AttrNames(ctx, c.app.ID)
		if err != nil {
			return "", err
		}
		slot = names.Slot
	}
	tree, err := predicate.FromCondition(condition, slot)
	if err != nil {
		return "", err
	}
	return predicate.String(tree), nil
}

// readSender checks that From_Account is an account of the app. An admin need not have been imported.
func (i *Ingest) readSender(ctx context.Context, c *call, v value) (string, error) {
	name, err := v.account()
	if err != nil || c.app.admins[name] {
		return name, err
	}
	users, err := i.users(ctx, c.app.ID, []string{name})
	if err != nil {
		return "", err
	}
	if _, exists := users[name]; !exists {
		return "", refuse(codeSender, fmt.Sprintf("%s: %q is no account of the app", v.path, name))
	}
	return name, nil
}
