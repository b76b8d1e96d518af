package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nuid"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

// loginWait bounds a login, and so the wait for the offline worker.
const loginWait = 10 * time.Second

// refusal is why a login was refused: the HTTP status, and the contract's code and text.
type refusal struct {
	status int
	code   int
	info   string
}

func (r *refusal) Error() string { return r.info }

// session logs one client in and hands its connection to the poller; the request's goroutine ends with it.
func (d *Deliver) session(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), loginWait)
	defer cancel()
	u, err := d.authenticate(r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if d.taken.Add(1) > int64(d.cfg.Max) {
		d.taken.Add(-1)
		d.refuse(w, r, &refusal{http.StatusTooManyRequests, 60007, "this gateway has as many sessions as it takes, try again"})
		return
	}
	se, err := d.register(ctx, u)
	if err != nil {
		d.taken.Add(-1)
		d.refuse(w, r, err)
		return
	}
	dispatched, surplus := se.shard.join(se, d.cfg.PerAccount)
	for _, s := range surplus {
		s.close(wire.CloseTooMany)
	}
	if a, known := (*d.apps.Load())[u.app]; !known || a.Disabled {
		se.close(wire.CloseKicked) // SetApps came between, and may have looked at the sessions before this one was there
	}
	if err := d.begin(ctx, w, r, se, dispatched); err != nil { // else OnClose does the same
		se.shard.leave(se)
		d.taken.Add(-1)
		d.refuse(w, r, err)
	}
}

// begin fetches the inbox of a session that has joined, and makes the request its connection. After an error the poller
// does not have the session.
func (d *Deliver) begin(ctx context.Context, w http.ResponseWriter, r *http.Request, se *session, dispatched uint64) error {
	seqs, frames, err := d.inbox(ctx, se, dispatched)
	if err != nil {
		return err
	}
	conn, leftover, err := socket.Upgrade(w, r)
	if err != nil {
		return errors.Join(errAnswered, err)
	}
	adopted, err := d.poller.Adopt(conn, leftover, se)
	if err != nil {
		return errors.Join(errAnswered, err)
	}
	hello := socket.NewFrame(wire.AppendHello(nil, wire.Hello{
		Session: nuid.Next(), Heartbeat: int(d.cfg.Socket.Heartbeat / time.Second), Pending: len(seqs),
	}))
	if se.goLive(adopted, append([]*socket.Frame{hello}, frames...), seqs) == nil {
		d.metrics.logins.WithLabelValues(loginOK).Inc()
		d.metrics.sent.WithLabelValues(sentInbox).Add(float64(len(frames)))
	}
	// Whatever became of it, the poller must see the connection to let go of it, and tells the session.
	if err := adopted.Start(); err != nil && !errors.Is(err, socket.ErrClosed) {
		d.log.Warn("start a connection", "err", err)
	}
	return nil
}

// errAnswered is for a login that failed when its request had been answered already.
var errAnswered = errors.New("the handshake failed")

// user is who logs in.
type user struct {
	app     push.AppID
	account string
	platform
}

// authenticate checks everything that the URL says.
func (d *Deliver) authenticate(r *http.Request) (u user, err error) {
	if err := socket.Check(r); err != nil {
		return u, err
	}
	q := r.URL.Query()
	app, err := push.ParseAppID(q.Get("sdkappid"))
	if err != nil {
		return u, &refusal{http.StatusForbidden, 60012, err.Error()}
	}
	a, known := (*d.apps.Load())[app]
	account, sig := q.Get("identifier"), q.Get("usersig")
	switch {
	case !known:
		return u, &refusal{http.StatusForbidden, 60006, "sdkappid is not an app of this service"}
	case account == "":
		return u, &refusal{http.StatusUnauthorized, 60004, "identifier is missing"}
	case sig == "":
		return u, &refusal{http.StatusUnauthorized, 60005, "usersig is missing"}
	}
	if err := push.ValidAccount(account); err != nil {
		return u, &refusal{http.StatusForbidden, 70402, "identifier: " + err.Error()}
	}
	if _, err := usersig.Verify(sig, a.Keys, app, account, time.Now()); err != nil {
		return u, &refusal{http.StatusUnauthorized, sigCode(err), err.Error()}
	}
	if a.Disabled {
		return u, &refusal{http.StatusForbidden, 60016, "the app is disabled"}
	}
	p, err := parsePlatform(q.Get("platform"))
	if err != nil {
		return u, &refusal{http.StatusForbidden, 70402, err.Error()}
	}
	return user{app, account, p}, nil
}

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
	return &session{shard: shard, local: d.b.Sharding().Local(o), platform: u.platform, login: &login{}}, nil
}

// sigCode is the contract's code for a signature that usersig refused.
func sigCode(err error) int {
	switch {
	case errors.Is(err, usersig.ErrExpired):
		return 70001
	case errors.Is(err, usersig.ErrSignature):
		return 70009
	case errors.Is(err, usersig.ErrIdentifier):
		return 70013
	case errors.Is(err, usersig.ErrApp):
		return 70014
	}
	return 70003
}

// inbox asks what waits for a session that has joined, and gives the pushes' sequences and frames, oldest first. It tries
// again while no offline worker answers, since one may be about to take the shard over.
func (d *Deliver) inbox(ctx context.Context, se *session, dispatched uint64) ([]push.Seq, []*socket.Frame, error) {
	receipts, err := d.settle(ctx, se.shard, se.local)
	if err != nil {
		return nil, nil, err
	}
	request := wire.EncodeInboxRequest(wire.InboxRequest{Local: se.local, Audiences: dispatched, Receipts: receipts})
	var answer []byte
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		answer, err = d.b.Request(ctx, wire.InboxSubject(se.shard.app, se.shard.id), request)
		if err == nil {
			break
		}
		select { // the pause wakes it, the login's time ends it
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("ask for the inbox: %w", err)
		case <-time.After(pause):
		}
	}
	waiting, err := wire.DecodeInbox(answer)
	if err != nil {
		return nil, nil, err
	}
	var seqs []push.Seq
	var frames []*socket.Frame
	now := time.Now().Unix()
	for _, seq := range waiting {
		p, err := d.pushes.get(ctx, seq)
		if errors.Is(err, broker.ErrNotFound) || unreadable(err) {
			continue // its time is over, an operator has removed it, or it is none
		}
		if err != nil {
			return nil, nil, fmt.Errorf("fetch push %d: %w", seq, err)
		}
		if p.app == se.shard.app && p.expire > now {
			seqs = append(seqs, seq)
			frames = append(frames, p.frame)
		}
	}
	return seqs, frames, nil
}

// refuse answers a login with plain HTTP. It is the one place where errors become statuses and codes.
func (d *Deliver) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var no *refusal
	var upgrade *socket.Refusal
	result := loginRefused
	switch {
	case errors.Is(r.Context().Err(), context.Canceled), errors.Is(err, errAnswered): // the client has gone, or sees its connection close
		d.metrics.logins.WithLabelValues(loginGone).Inc()
		return
	case errors.As(err, &no):
	case errors.As(err, &upgrade):
		upgrade.SetHeaders(w.Header())
		no = &refusal{upgrade.Status, 60002, upgrade.Reason}
	default:
		d.log.Warn("a login failed", "err", err)
		result = loginFailed
		w.Header().Set("Retry-After", "1")
		no = &refusal{http.StatusServiceUnavailable, 91000, "internal error, try again"}
	}
	d.metrics.logins.WithLabelValues(result).Inc()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(struct { // the client may be gone, and nobody else is to be told
		ActionStatus string
		ErrorInfo    string
		ErrorCode    int
	}{"FAIL", no.info, no.code})
}
