package native

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nuid"

	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// accepted is the answer to a push that is durably on the broker.
type accepted struct {
	ID         push.TaskID `json:"id"`
	Seq        push.Seq    `json:"seq"`
	AcceptedAt string      `json:"acceptedAt"`
}

// timestamp is RFC 3339 in UTC, with milliseconds.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func acceptance(p *push.Push) *reply {
	return &reply{status: http.StatusAccepted, body: accepted{p.TaskID(), p.Seq, timestamp(p.At)}}
}

// createPush accepts a push, or only counts whom it would reach.
func (n *Native) createPush(ctx context.Context, c *call) (*reply, error) {
	m, err := c.body.object("from", "body", "lifetime", "condition", "offline", "dryRun")
	if err != nil {
		return nil, err
	}
	dry := false
	if f, given := m["dryRun"]; given {
		if dry, err = f.boolean(); err != nil {
			return nil, err
		}
	}
	var once *request
	if key := c.header.Values("Idempotency-Key"); len(key) > 0 && !dry {
		// Before anything that depends on what the app is now: a repeat gets the first one's answer, whatever has changed.
		if once, err = n.request(ctx, c, key, c.raw); err != nil || once.made != nil {
			return once.answer(), err
		}
	}
	if c.app.PushDisabled && !dry {
		return nil, refuse(http.StatusForbidden, codePushDisabled, "the app is not enabled for push")
	}
	p, clauses, err := n.readPush(ctx, c, m, dry)
	if err != nil {
		return nil, err
	}
	if dry {
		return n.count(ctx, c.app.ID, clauses)
	}
	if once != nil {
		return n.publishOnce(ctx, p, once, nuid.Next())
	}
	return n.publish(ctx, p, nuid.Next())
}

// publish puts a push on the broker under a name. The error is broker.ErrConflict when there is one of that name.
func (n *Native) publish(ctx context.Context, p *push.Push, name string) (*reply, error) {
	p.At = time.UnixMilli(n.now().UnixMilli()) // as it is read back
	data, err := wire.EncodePush(p)
	if err != nil {
		return nil, err
	}
	settle := func(bool) {}
	if n.cfg.Quota != nil {
		if settle, err = n.cfg.Quota(ctx, p.App); err != nil {
			return nil, err
		}
	}
	seq, err := n.send(ctx, p.App, broker.Message{Subject: wire.PushSubject(p.App, name), Data: data})
	settle(!errors.Is(err, broker.ErrConflict) && !errors.Is(err, broker.ErrRefused))
	if err != nil {
		return nil, err
	}
	p.Seq = push.Seq(seq)
	return acceptance(p), nil
}

// send puts a push, or the revocation of one, on the broker, once.
func (n *Native) send(ctx context.Context, app push.AppID, m broker.Message) (seq uint64, err error) {
	span := n.cfg.Tracer.Send(ctx, wire.PushesStream)
	m.TTL, m.Header = n.b.Retention(), span.Inject(nil)
	seq, _, err = n.b.Publish(ctx, m.Once())
	span.About(app, push.Seq(seq))
	span.End(err)
	return seq, err
}

// readPush checks the fields. What becomes known only by accepting it, its time and sequence, is not set. A count needs no
// body.
func (n *Native) readPush(ctx context.Context, c *call, m map[string]field, dry bool) (*push.Push, []clause, error) {
	p := &push.Push{App: c.app.ID, Caller: c.name, Sender: c.sender, Condition: predicate.String(predicate.All{})}
	if f, given := m["lifetime"]; given {
		seconds, err := f.integer(push.MaxLifetime)
		if err != nil {
			return nil, nil, err
		}
		p.Lifetime = time.Duration(seconds) * time.Second
	}
	if f, given := m["body"]; given || !dry {
		if !given {
			_, err := c.body.need(m, "body")
			return nil, nil, err
		}
		if len(f.raw) > n.cfg.MessageLimit {
			return nil, nil, refuse(http.StatusRequestEntityTooLarge, codeTooLong, "%d bytes, at most %d are allowed", len(f.raw), n.cfg.MessageLimit).at(f.pointer)
		}
		if err := ingest.CheckElements("body", f.raw); err != nil {
			return nil, nil, err
		}
		p.Body = f.raw
	}
	if f, given := m["offline"]; given {
		if err := ingest.CheckOfflineInfo("offline", f.raw); err != nil {
			return nil, nil, err
		}
		p.OfflineInfo = f.raw
	}
	var clauses []clause
	if f, given := m["condition"]; given {
		var err error
		if clauses, err = n.readCondition(ctx, c.app.ID, f); err != nil {
			return nil, nil, err
		}
		p.Condition = predicate.String(predicate.Simplify(clauses[0].node))
	}
	if f, given := m["from"]; given {
		var err error
		if p.Sender, err = n.readSender(ctx, c, f); err != nil {
			return nil, nil, err
		}
	}
	return p, clauses, nil
}

// readSender checks that from is an account of the app. An admin need not be one.
func (n *Native) readSender(ctx context.Context, c *call, f field) (string, error) {
	name, err := f.text(push.MaxAccountLen)
	if err != nil || slices.Contains(c.app.Admins, name) {
		return name, err
	}
	users, err := n.dir.Users(ctx, c.app.ID, name)
	if err != nil {
		return "", err
	}
	if _, exists := users[name]; !exists {
		return "", refuse(http.StatusUnprocessableEntity, codeSender, "%q is no account of the app", name).at(f.pointer)
	}
	return name, nil
}

// pushView is a push as the interface shows it.
type pushView struct {
	accepted
	From       string          `json:"from,omitempty"`
	FromBase64 []byte          `json:"fromBase64,omitempty"`
	By         string          `json:"by"`
	Lifetime   int             `json:"lifetime"`
	Condition  any             `json:"condition,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"`
	Offline    json.RawMessage `json:"offline,omitempty"`
	RevokedAt  string          `json:"revokedAt,omitempty"`
	// Past pushes are such as the logs no longer hold: they have no body.
	Past bool `json:"past,omitempty"`
	// Again is the push that this one is a replay of, and Replay the one that it was sent again as.
	Again  push.TaskID `json:"again,omitempty"`
	Replay push.TaskID `json:"replay,omitempty"`
}

var errNoPush = refuse(http.StatusNotFound, codePush, "the app has no such push, or it is longer ago than pushes are kept")

// getPush shows a push with what has become of its audience.
func (n *Native) getPush(ctx context.Context, c *call) (*reply, error) {
	k, err := n.knowPush(ctx, c)
	if err != nil {
		return nil, err
	}
	var view *pushView
	var a *audience
	if k.Past != nil {
		view, err = n.pastView(ctx, k)
		a = pastAudience(k.Past)
	} else {
		view, a, err = n.present(ctx, k.Push)
	}
	if err != nil {
		return nil, err
	}
	t, err := n.history.Tally(ctx, k.Push)
	if err != nil {
		return nil, err
	}
	channels, err := n.history.Channels(ctx, k.Push)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: struct {
		*pushView
		*audience
		Outcome  *history.Tally             `json:"outcome"`
		Channels map[string]history.Channel `json:"channels"`
	}{view, a, t, channels}}, nil
}

// present is what the logs have of a push.
func (n *Native) present(ctx context.Context, p *push.Push) (*pushView, *audience, error) {
	views, err := n.views(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	a, err := n.audience(ctx, p)
	return views[0], a, err
}

// knowPush gives the push that the path names, also one that the logs no longer hold.
func (n *Native) knowPush(ctx context.Context, c *call) (history.Known, error) {
	app, seq, err := push.TaskID(c.param).Parse()
	if err != nil || app != c.app.ID || seq == 0 {
		return history.Known{}, errNoPush
	}
	k, err := n.history.Know(ctx, app, seq)
	if errors.Is(err, history.ErrNoPush) {
		return history.Known{}, errNoPush
	}
	return k, err
}

// findPush gives the push that the path names, if the logs hold it.
func (n *Native) findPush(ctx context.Context, c *call) (*push.Push, error) {
	app, seq, err := push.TaskID(c.param).Parse()
	if err != nil || app != c.app.ID || seq == 0 {
		return nil, errNoPush
	}
	p, err := n.history.Push(ctx, app, seq)
	if errors.Is(err, history.ErrNoPush) {
		return nil, errNoPush
	}
	return p, err
}
