package deliver

import (
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// connected answers who of a shard has a session here.
func (d *Deliver) connected(r *broker.Request) {
	data, err := d.places(r)
	if err != nil {
		err = r.Refuse(err.Error())
	} else {
		err = r.Respond(data)
	}
	if err != nil {
		d.log.Warn("answer a request about who is connected", "subject", r.Subject, "err", err)
	}
}

func (d *Deliver) places(r *broker.Request) ([]byte, error) {
	app, err := wire.ParseSessionSubject(r.Subject)
	if err != nil {
		return nil, err
	}
	q, err := wire.DecodeJSON[wire.ConnectedRequest](r.Data)
	if err != nil {
		return nil, err
	}
	return wire.EncodeBitmap(d.hub.connected(app, q.Shard))
}

// connected is a copy, so that laying it out keeps no login waiting.
func (h *hub) connected(app push.AppID, id push.Shard) *roaring.Bitmap {
	s := h.find(app, id)
	if s == nil {
		return roaring.New()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected.Clone()
}
