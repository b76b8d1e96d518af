package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// What other processes ask every gateway; the app is in the subject.

// status answers which of some users have sessions here.
func (d *Deliver) status(r *broker.Request) {
	app, err := wire.ParseSessionSubject(r.Subject)
	if err != nil {
		d.answer(r, nil, err)
		return
	}
	q, err := wire.DecodeJSON[wire.StatusRequest](r.Data)
	reply := wire.StatusReply{}
	for _, o := range q.Ordinals {
		for _, s := range d.sessions(app, o) {
			reply.Sessions = append(reply.Sessions, wire.SessionStatus{Ordinal: o, Platform: s.platform.String()})
		}
	}
	d.answer(r, reply, err)
}

// end ends a user's sessions here.
func (d *Deliver) end(r *broker.Request) {
	app, err := wire.ParseSessionSubject(r.Subject)
	if err != nil {
		d.answer(r, nil, err)
		return
	}
	q, err := wire.DecodeJSON[wire.EndRequest](r.Data)
	if err == nil && q.Code.Reason() == "" {
		err = fmt.Errorf("%d is no close code of sessions", q.Code)
	}
	ended := 0
	if err == nil {
		for _, s := range d.sessions(app, q.Ordinal) {
			s.close(q.Code)
			ended++
		}
	}
	d.answer(r, wire.EndReply{Ended: ended}, err)
}

// maxRevoked requests wait at once for the dispatcher; one more is refused, and whoever asks tries again.
const maxRevoked = 64

// revokedWait bounds that.
const revokedWait = 5 * time.Second

// serveRevoked answers, until ctx ends, when a revocation has been dispatched here and everything that is known here of who
// was sent what, and has acknowledged it, is on the broker.
func (d *Deliver) serveRevoked(ctx context.Context) error {
	var answering errgroup.Group
	answering.SetLimit(maxRevoked)
	err := d.b.Serve(ctx, wire.SessionRevokedFilter(), "", nil, func(r *broker.Request) {
		app, err := wire.ParseSessionSubject(r.Subject)
		var q wire.RevokedRequest
		if err == nil {
			q, err = wire.DecodeJSON[wire.RevokedRequest](r.Data)
		}
		if err != nil {
			d.answer(r, nil, err)
			return
		}
		began := answering.TryGo(func() error {
			d.answer(r, struct{}{}, d.publishDispatched(ctx, app, q.Audiences))
			return nil
		})
		if !began {
			d.answer(r, nil, errors.New("too many revocations are under way"))
		}
	})
	return errors.Join(err, answering.Wait())
}

// publishDispatched publishes an app's receipts once AUDIENCES are dispatched up to a place.
func (d *Deliver) publishDispatched(ctx context.Context, app push.AppID, place uint64) error {
	ctx, cancel := context.WithTimeout(ctx, revokedWait)
	defer cancel()
	if err := d.hub.handled.Await(ctx, place); err != nil {
		return fmt.Errorf("wait for audience %d: %w", place, err)
	}
	var errs []error
	for _, s := range d.hub.list() {
		if s.app == app {
			errs = append(errs, d.publishShard(ctx, s))
		}
	}
	return errors.Join(errs...)
}

func (d *Deliver) sessions(app push.AppID, o push.Ordinal) []*session {
	if s := d.hub.find(app, d.b.Sharding().Shard(o)); s != nil {
		return s.of(d.b.Sharding().Local(o))
	}
	return nil
}

func (d *Deliver) answer(r *broker.Request, reply any, err error) {
	if err != nil {
		err = r.Refuse(err.Error())
	} else {
		err = r.Respond(wire.EncodeJSON(reply))
	}
	if err != nil {
		d.log.Warn("answer a request about sessions", "subject", r.Subject, "err", err)
	}
}
