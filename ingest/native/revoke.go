package native

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A revocation is a message in the log of pushes, under a name of its own, so that a repeat finds the first one. It takes
// the way of a push: every shard's matcher gives it the push's audience, offline workers take the push from everybody, and
// gateways tell whoever has had it. Its call waits until that has happened everywhere, and only then counts.

// gatewayWait is how long one question to the gateways waits for all of them.
const gatewayWait = 2 * time.Second

// revoked is the answer. The counts are of the audience, and exact: everybody in it is one of received, sent and withheld.
type revoked struct {
	ID push.TaskID `json:"id"`
	// State is revoked; or revoking, without counts, when not every process has answered in time.
	State     string `json:"state"`
	RevokedAt string `json:"revokedAt"`
	*tally
}

// tally is what has become of a push.
type tally struct {
	Audience uint64 `json:"audience"`
	// Received acknowledged the push.
	Received uint64 `json:"received"`
	// Opened are those of Received who opened it.
	Opened uint64 `json:"opened"`
	// Sent had it written to their connection, and have not acknowledged it.
	Sent uint64 `json:"sent"`
	// Withheld have not got it, and never will.
	Withheld uint64 `json:"withheld"`
}

// deletePush revokes a push. Repeating the call, also after an answer that it is still under way, does no harm.
func (n *Native) deletePush(ctx context.Context, c *call) (*reply, error) {
	p, err := n.findPush(ctx, c)
	if err != nil {
		return nil, err
	}
	r, err := n.revoke(ctx, c, p)
	if err != nil {
		return nil, err
	}
	answer := revoked{ID: p.TaskID(), State: "revoked", RevokedAt: timestamp(r.At)}
	err = n.awaitRevoked(ctx, r)
	if errors.Is(err, context.DeadlineExceeded) {
		answer.State = "revoking"
		return &reply{status: http.StatusAccepted, body: answer}, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := n.history.Tally(ctx, p)
	if err != nil {
		return nil, err
	}
	answer.tally = &tally{t.Audience, t.Received, t.Opened, t.Sent, t.Withheld}
	return &reply{status: http.StatusOK, body: answer}, nil
}

// revoke puts the push's revocation on the broker, or finds the one that is there.
func (n *Native) revoke(ctx context.Context, c *call, p *push.Push) (*push.Push, error) {
	r := &push.Push{App: p.App, Caller: c.name, At: time.UnixMilli(n.now().UnixMilli()), Revokes: p.Seq}
	if left := p.Expire() - r.At.Unix(); left > 0 {
		r.Lifetime = time.Duration(left) * time.Second // over in the same second as the push
	}
	data, err := wire.EncodePush(r)
	if err != nil {
		return nil, err
	}
	subject := wire.RevocationSubject(p.App, p.Seq)
	seq, err := n.send(ctx, p.App, broker.Message{Subject: subject, Data: data})
	if err == nil {
		r.Seq = push.Seq(seq)
		return r, nil
	}
	if !errors.Is(err, broker.ErrConflict) {
		return nil, err
	}
	m, err := n.b.Last(ctx, wire.PushesStream, subject)
	if err != nil {
		return nil, fmt.Errorf("find the revocation of push %d: %w", p.Seq, err)
	}
	return wire.DecodePush(m.Data, push.Seq(m.Seq))
}

// awaitRevoked waits until every shard has evaluated a revocation and every gateway has dispatched it. The error is context.DeadlineExceeded when that takes too long.
func (n *Native) awaitRevoked(ctx context.Context, r *push.Push) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.RevokeWait)
	defer cancel()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		a, err := n.audience(ctx, r)
		if err == nil && a.Evaluated {
			if err = n.askGateways(ctx, r.App); err == nil {
				return nil
			}
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("a revocation is not everywhere yet", "push", r.Revokes, "err", err)
		}
		select { // the pause wakes it, the time ends it
		case <-time.After(pause):
		case <-ctx.Done():
			return context.DeadlineExceeded
		}
	}
}

// askGateways returns when every gateway has dispatched all audiences that there are, and published its receipts.
func (n *Native) askGateways(ctx context.Context, app push.AppID) error {
	last, err := n.b.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return err
	}
	request := wire.EncodeJSON(wire.RevokedRequest{Audiences: last})
	_, err = n.b.GatherAll(ctx, wire.RoleDeliver, wire.SessionRevokedSubject(app), request, gatewayWait)
	return err
}
