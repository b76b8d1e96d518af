package deliver

import (
	"fmt"

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
