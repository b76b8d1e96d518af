package deliver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Sessions as server-sent events: pushes come down one request, and acknowledgements go up by others.

// checkStream refuses what cannot become an event stream.
func checkStream(r *http.Request) error {
	if r.Method != http.MethodGet {
		return &refusal{http.StatusMethodNotAllowed, 60002, "an event stream is asked for with GET"}
	}
	return nil
}

// events logs one client in over server-sent events. The id of the last event that it has seen acknowledges that, and what
// was sent before it.
func (d *Deliver) events(w http.ResponseWriter, r *http.Request) {
	var seen push.Seq
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			d.refuse(w, r, &refusal{http.StatusBadRequest, 60002, "Last-Event-ID is no id of an event from here"})
			return
		}
		seen = push.Seq(n)
	}
	d.login(w, r, eventStream, seen)
}

// maxAckBody bounds the body of an acknowledgement in bytes: wire.MaxAckSeqs of the longest numbers, and some room.
const maxAckBody = 32 << 10

// ack acknowledges pushes of an account. It answers when that is on the broker.
func (d *Deliver) ack(w http.ResponseWriter, r *http.Request) {
	if err := d.acknowledgeBody(w, r); err != nil {
		d.explain(w, r, err)
		return
	}
	answer(w, http.StatusOK, 0, "")
}

func (d *Deliver) acknowledgeBody(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	u, err := d.authenticate(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAckBody))
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		return &refusal{http.StatusRequestEntityTooLarge, 60002, fmt.Sprintf("the body is longer than %d bytes", maxAckBody)}
	}
	if err != nil {
		return &refusal{http.StatusBadRequest, 60002, "the body broke off before its end"}
	}
	seqs, err := wire.DecodeAck(body)
	if err != nil {
		return &refusal{http.StatusBadRequest, 60003, err.Error()}
	}
	users, err := d.dir.Users(ctx, u.app, u.account)
	if err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	user, exists := users[u.account]
	if !exists {
		return &refusal{http.StatusForbidden, 70107, "identifier is no account of the app"}
	}
	s, err := d.hub.shard(ctx, u.app, d.b.Sharding().Shard(user.Ordinal))
	if err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	d.acknowledge(s, d.b.Sharding().Local(user.Ordinal), seqs, false)
	return d.publishShard(ctx, s)
}

// preflight lets pages of any origin call, as answer lets them read.
func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID, Cache-Control")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
