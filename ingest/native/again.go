package native

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A push is sent again, to those who missed it, by a message in the log of pushes that names it: a push as any other, of
// which each shard's matcher takes the audience from the first one's audience and receipts (package matcher). It has the
// push's own name, so that a push has one replay at most, and whoever missed that too is reached by the replay's replay:
// nobody can be sent a push twice by two calls. A push that is not over has been missed by nobody yet.

// onlyMissed is whom a push can be sent again to.
const onlyMissed = "missed"

// createReplay sends a push again to those who missed it, or only counts them.
func (n *Native) createReplay(ctx context.Context, c *call) (*reply, error) {
	m, err := c.body.object("only", "lifetime", "dryRun")
	if err != nil {
		return nil, err
	}
	dry := false
	if f, given := m["dryRun"]; given {
		if dry, err = f.boolean(); err != nil {
			return nil, err
		}
	}
	if f, given := m["only"]; given {
		if only, err := f.text(len(onlyMissed)); err != nil || only != onlyMissed {
			return nil, invalid(f.pointer, "it is not %q", onlyMissed)
		}
	}
	var once *request
	if key := c.header.Values("Idempotency-Key"); len(key) > 0 && !dry {
		if once, err = n.request(ctx, c, key, append([]byte("replay "+c.param+"\n"), c.raw...)); err != nil || once.made != nil {
			return once.answer(), err
		}
	}
	if c.app.PushDisabled && !dry {
		return nil, refuse(http.StatusForbidden, codePushDisabled, "the app is not enabled for push")
	}
	p, err := n.findPush(ctx, c)
	if err != nil {
		return nil, err
	}
	again := &push.Push{
		App: p.App, Again: p.Seq, Sender: p.Sender, Caller: c.name, Lifetime: p.Lifetime, Condition: p.Condition,
		Body: p.Body, OfflineInfo: p.OfflineInfo,
	}
	if f, given := m["lifetime"]; given {
		seconds, err := f.integer(push.MaxLifetime)
		if err != nil {
			return nil, err
		}
		again.Lifetime = time.Duration(seconds) * time.Second
	}
	if err := n.over(ctx, p); err != nil {
		return nil, err
	}
	// What gateways have not published yet would be sent twice.
	if err := n.askGateways(ctx, p.App); err != nil {
		n.log.Warn("a push is not sent again, since not every gateway tells who has it", "push", p.Seq, "err", err)
		return nil, errNow
	}
	missed, err := n.history.Missed(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case missed.Unknown > 0:
		return nil, refuse(http.StatusConflict, codeForgotten, "whom the push was for is no longer in the logs")
	case missed.Unevaluated > 0:
		return nil, refuse(http.StatusConflict, codeNotOver, "%d shards have not evaluated the push yet: try again", missed.Unevaluated)
	case dry:
		return &reply{status: http.StatusOK, body: missed}, nil
	case missed.Missed == 0:
		return nil, refuse(http.StatusConflict, codeNobody, "nobody missed the push")
	}
	if once != nil {
		return n.publishOnce(ctx, again, once, wire.ReplayName(p.Seq))
	}
	out, err := n.publish(ctx, again, wire.ReplayName(p.Seq))
	if errors.Is(err, broker.ErrConflict) { // another call has been faster
		if err := n.over(ctx, p); err != nil {
			return nil, err
		}
		return nil, errNow
	}
	return out, err
}

// over refuses a push of which nobody can say yet, or any more, who missed it, or that has been sent again.
func (n *Native) over(ctx context.Context, p *push.Push) error {
	revoked, err := n.history.Revocation(ctx, p)
	if err != nil {
		return err
	}
	if revoked != nil {
		return refuse(http.StatusConflict, codeRevoked, "the push was revoked at %s", timestamp(revoked.At))
	}
	if p.Expire() > 0 && p.Expire() >= n.now().Unix() {
		return refuse(http.StatusConflict, codeNotOver, "the push is kept until %s for those who have not got it: they have not missed it yet",
			timestamp(time.Unix(p.Expire(), 0)))
	}
	replay, err := n.history.Replay(ctx, p)
	if err != nil {
		return err
	}
	if replay != nil {
		return refuse(http.StatusConflict, codeReplayed, "the push was sent again as %s: those who missed that are reached by its replay", replay.TaskID())
	}
	return nil
}
