package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nuid"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// loginWait bounds a login, and so the wait for the offline worker.
const loginWait = 10 * time.Second

// transport is how a request becomes a connection.
type transport struct {
	protocol socket.Protocol
	check    func(*http.Request) error // whether the request can become one
	take     func(http.ResponseWriter, *http.Request) (net.Conn, []byte, error)
}

var (
	webSocket   = transport{socket.WebSocket, socket.Check, socket.Upgrade}
	eventStream = transport{socket.EventStream, checkStream, socket.Stream}
)

// session logs one client in over WebSocket.
func (d *Deliver) session(w http.ResponseWriter, r *http.Request) { d.login(w, r, webSocket, 0) }

// login logs one client in and hands its connection to the poller; the request's goroutine ends with it. What the client
// has seen already, up to the given push, is acknowledged.
func (d *Deliver) login(w http.ResponseWriter, r *http.Request, t transport, seen push.Seq) {
	ctx, cancel := context.WithTimeout(r.Context(), loginWait)
	defer cancel()
	// Who it is comes first: a page learns why its WebSocket was refused by asking the same without upgrading.
	u, err := d.authenticate(r)
	if err == nil {
		err = t.check(r)
	}
	if err == nil {
		err = d.admit()
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	se, err := d.register(ctx, u)
	if err != nil {
		d.taken.Add(-1)
		d.refuse(w, r, err)
		return
	}
	dispatched, surplus := se.shard.join(se, u.device, d.cfg.PerAccount)
	for _, s := range surplus {
		s.close(wire.CloseTooMany)
	}
	if a, known := (*d.apps.Load())[u.app]; !known || a.Disabled {
		se.close(wire.CloseKicked) // SetApps came between, and may have looked at the sessions before this one was there
	}
	if err := d.begin(ctx, w, r, se, t, dispatched, seen); err != nil { // else OnClose does the same
		se.shard.leave(se)
		d.taken.Add(-1)
		d.refuse(w, r, err)
	}
}

// admit takes one of the places for sessions, which taken counts; there is an error when none is left, or they come too fast.
func (d *Deliver) admit() error {
	if !d.logins.Allow() {
		return &refusal{http.StatusTooManyRequests, 60007, "too many clients connect at once, try again"}
	}
	if d.taken.Add(1) > int64(d.cfg.Max) {
		d.taken.Add(-1)
		return &refusal{http.StatusTooManyRequests, 60007, "this gateway has as many sessions as it takes, try again"}
	}
	return nil
}

// begin fetches the inbox of a session that has joined, and makes the request its connection. After an error the poller
// does not have the session.
func (d *Deliver) begin(ctx context.Context, w http.ResponseWriter, r *http.Request, se *session, t transport, dispatched uint64, seen push.Seq) error {
	joined := time.Now()
	inbox, err := d.inbox(ctx, se, dispatched)
	if err != nil {
		return err
	}
	inbox = d.acknowledgeSeen(se, inbox, seen)
	if inbox, err = d.unrevoked(ctx, se, inbox, joined); err != nil {
		return err
	}
	conn, leftover, err := t.take(w, r)
	if err != nil {
		return errors.Join(errAnswered, err)
	}
	adopted, err := d.poller.Adopt(conn, leftover, t.protocol, se)
	if err != nil {
		return errors.Join(errAnswered, err)
	}
	sent, fromInbox, err := se.goLive(adopted, d.hello, inbox)
	if err == nil {
		d.metrics.logins.WithLabelValues(loginOK).Inc()
		d.trouble.over()
		d.metrics.sent.WithLabelValues(sentInbox).Add(float64(fromInbox))
		d.metrics.sent.WithLabelValues(sentLive).Add(float64(len(sent) - fromInbox))
	}
	// Whatever became of it, the poller must see the connection to let go of it, and tells the session.
	if err := adopted.Start(); err != nil && !errors.Is(err, socket.ErrClosed) {
		d.log.Warn("start a connection", "err", err)
	}
	return nil
}

// unrevoked takes from a login that took long what was revoked meanwhile: a revocation does not wait for a gateway that is
// cut off, and may not have come to it yet when it hears of its inbox again.
func (d *Deliver) unrevoked(ctx context.Context, se *session, inbox []*known, joined time.Time) ([]*known, error) {
	for asked := joined; time.Since(asked) > late; {
		asked = time.Now()
		var subjects []string
		of := map[string]push.Seq{}
		for _, p := range append(se.holds(), inbox...) {
			if subject := wire.RevocationSubject(se.shard.app, p.seq); p.revokes == 0 && of[subject] == 0 {
				subjects, of[subject] = append(subjects, subject), p.seq
			}
		}
		if len(subjects) == 0 {
			return inbox, nil
		}
		found, err := d.b.LastOf(ctx, wire.PushesStream, subjects)
		if err != nil {
			return nil, fmt.Errorf("ask what was revoked during the login: %w", err)
		}
		revoked := map[push.Seq]bool{}
		for subject := range found {
			revoked[of[subject]] = true
		}
		if len(revoked) > 0 {
			se.drop(revoked)
			inbox = slices.DeleteFunc(inbox, func(p *known) bool { return revoked[p.seq] })
		}
	}
	return inbox, nil
}

// hello is the first frame of a session.
func (d *Deliver) hello(pending int) *socket.Frame {
	return socket.NewFrame(wire.FrameHello, 0, wire.AppendHello(nil, wire.Hello{
		Session: nuid.Next(), Heartbeat: int(d.cfg.Socket.Heartbeat / time.Second), Pending: pending,
	}))
}

// acknowledgeSeen acknowledges what of an inbox the client has had on the stream that it had before, and gives the rest. On
// a stream everything comes in the order of sequences, so that a client that has seen one has had what is before it.
func (d *Deliver) acknowledgeSeen(se *session, inbox []*known, seen push.Seq) []*known {
	n := 0
	for n < len(inbox) && inbox[n].seq <= seen {
		n++
	}
	if n > 0 {
		seqs := make([]push.Seq, n)
		for i, p := range inbox[:n] {
			seqs[i] = p.seq
		}
		d.acknowledge(se.shard, se.local, seqs, false)
	}
	return inbox[n:]
}

// errAnswered is for a login that failed when its request had been answered already.
var errAnswered = errors.New("the handshake failed")

// register makes the account at its first login, and gives a session that nobody knows yet.
func (d *Deliver) register(ctx context.Context, u user) (*session, error) {
	if err := d.Ready(); err != nil {
		return nil, err
	}
	ordinals, err := d.dir.Register(ctx, u.app, u.account)
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	o := ordinals[u.account]
	shard, err := d.hub.shard(ctx, u.app, d.b.Sharding().Shard(o))
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	return &session{shard: shard, local: d.b.Sharding().Local(o), platform: u.platform}, nil
}
