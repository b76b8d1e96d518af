package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Session says who listens, and where.
type Session struct {
	// URL is the sessions' base, such as ws://127.0.0.1:8081.
	URL     string
	App     push.AppID
	Account string
	UserSig string
	// Platform is one of the contract's; empty for Web.
	Platform string

	// OnPush is called for each push, in order, one at a time; the push is acknowledged when it returns.
	OnPush func(Push)
	// OnHello, when set, is called when a session has begun, with the number of pushes that were kept.
	OnHello func(pending int)
	// OnDown, when set, is called when a session has ended and another will be tried after the pause.
	OnDown func(err error, pause time.Duration)
	// Gather is how long acknowledgements may wait for others; zero for a second.
	Gather time.Duration
	// HTTP is the client for the handshake; nil for http.DefaultClient.
	HTTP *http.Client
}

// Push is one message for this user.
type Push struct {
	ID   push.TaskID
	Seq  push.Seq
	From string
	At   time.Time
	// Expire is zero for a push to online users only.
	Expire time.Time
	// Body is the array of message elements as it was sent.
	Body json.RawMessage
}

// Refused is returned by Listen when the service will not have this session: its code says why, and trying again is of no
// use.
type Refused struct {
	Status int // of HTTP, 0 when the session was closed after it had begun
	Code   int // the contract's, or a close code
	Info   string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the session was refused: %d: %s", r.Code, r.Info)
}

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 30 * time.Second
	maxMessage = 1 << 20 // bytes of one frame
	remembered = 4096    // sequences, to recognise a push that comes again
	sendWait   = 5 * time.Second
)

// Listen keeps a session up until ctx ends or the service refuses it, reconnecting after a pause that grows and is random.
// A push that comes again is dropped, so that OnPush sees each once. Acknowledgements are gathered.
func (s Session) Listen(ctx context.Context) error {
	if s.Gather <= 0 {
		s.Gather = time.Second
	}
	l := listener{Session: s, seen: map[push.Seq]bool{}}
	pause := firstPause
	for {
		began, err := l.once(ctx)
		var refused *Refused
		if errors.As(err, &refused) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if began {
			pause = firstPause
		}
		wait := pause/2 + rand.N(pause)
		if s.OnDown != nil {
			s.OnDown(err, wait)
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			pause = min(2*pause, maxPause)
		}
	}
}

// listener is what Listen remembers between sessions.
type listener struct {
	Session
	seen  map[push.Seq]bool
	order []push.Seq // of seen, oldest first

	// handling is held while a push is shown and noted for acknowledgement, so that the end of the session falls before
	// or behind that, and never between.
	handling sync.Mutex
	acks     []push.Seq    // to be sent; guarded by handling
	noted    chan struct{} // capacity 1: there are acks
}

// once holds one session; began is true when it got as far as hello.
func (l *listener) once(ctx context.Context) (began bool, err error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return false, err
	}
	defer conn.CloseNow() //nolint:errcheck // it is over in any case
	conn.SetReadLimit(maxMessage)

	l.acks, l.noted = nil, make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() { ended <- l.read(ctx, conn, &began) }()
	err = l.acknowledge(ctx, conn, ended)
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		switch code := wire.CloseCode(closed.Code); code {
		case wire.CloseKicked, wire.CloseDeleted, wire.CloseTooMany:
			return began, &Refused{Code: int(code), Info: code.Reason()}
		}
	}
	return began, err
}

func (l *listener) dial(ctx context.Context) (*websocket.Conn, error) {
	q := url.Values{"sdkappid": {l.App.String()}, "identifier": {l.Account}, "usersig": {l.UserSig}}
	if l.Platform != "" {
		q.Set("platform", l.Platform)
	}
	conn, resp, err := websocket.Dial(ctx, l.URL+"/v1/session?"+q.Encode(), &websocket.DialOptions{HTTPClient: l.HTTP})
	if err == nil {
		return conn, nil
	}
	if resp == nil {
		return nil, fmt.Errorf("connect: %w", withoutURL(err))
	}
	defer resp.Body.Close()
	var body struct {
		ErrorInfo string
		ErrorCode int
	}
	if raw, rerr := io.ReadAll(io.LimitReader(resp.Body, maxMessage)); rerr == nil {
		_ = json.Unmarshal(raw, &body) // an answer that is not the service's says only its status
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return nil, &Refused{resp.StatusCode, body.ErrorCode, body.ErrorInfo}
	}
	return nil, fmt.Errorf("connect: HTTP %d: %s", resp.StatusCode, body.ErrorInfo)
}

// read takes frames until the session ends, which acknowledge sees to when ctx does.
func (l *listener) read(ctx context.Context, conn *websocket.Conn, began *bool) error {
	for {
		_, data, err := conn.Read(context.Background())
		if err != nil {
			return err
		}
		var f wire.ServerFrame
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("read a frame: %w", err)
		}
		switch f.Type {
		case wire.FrameHello:
			*began = true
			if l.OnHello != nil {
				l.OnHello(f.Pending)
			}
		case wire.FramePush:
			if err := l.handle(ctx, f); err != nil {
				return err
			}
		}
	}
}

// handle shows a push, unless it came before, and notes it for acknowledgement: again for one that came again, since its
// first acknowledgement was lost.
func (l *listener) handle(ctx context.Context, f wire.ServerFrame) error {
	l.handling.Lock()
	defer l.handling.Unlock()
	if ctx.Err() != nil {
		return ctx.Err() // nobody is listening any more; it comes again at the next login
	}
	if l.fresh(f.Seq) {
		l.OnPush(toPush(f))
	}
	l.acks = append(l.acks, f.Seq)
	select { // never waits: a mark that is there already says the same
	case l.noted <- struct{}{}:
	default:
	}
	return nil
}

// fresh says whether a push is new, and remembers it.
func (l *listener) fresh(seq push.Seq) bool {
	if l.seen[seq] {
		return false
	}
	l.seen[seq] = true
	if l.order = append(l.order, seq); len(l.order) > remembered {
		delete(l.seen, l.order[0])
		l.order = l.order[1:]
	}
	return true
}

func toPush(f wire.ServerFrame) Push {
	p := Push{ID: f.ID, Seq: f.Seq, From: f.From, At: time.UnixMilli(f.At), Body: f.Body}
	if f.Expire > 0 {
		p.Expire = time.Unix(f.Expire, 0)
	}
	return p
}

// acknowledge sends what is noted, gathered, until the reader ends, and gives the reader's error. When ctx ends it sends
// what there is and closes the session.
func (l *listener) acknowledge(ctx context.Context, conn *websocket.Conn, ended <-chan error) error {
	done := ctx.Done()
	var due <-chan time.Time
	for {
		select { // a push, the gathering's end or ctx's wakes it; the reader's end ends it
		case err := <-ended:
			return err
		case <-l.noted:
			if due == nil {
				due = time.After(l.Gather)
			}
		case <-due:
			due = nil
			l.handling.Lock()
			seqs := l.acks
			l.acks = nil
			l.handling.Unlock()
			l.send(ctx, conn, seqs)
		case <-done:
			done = nil
			l.handling.Lock()
			l.send(ctx, conn, l.acks)
			_ = conn.Close(websocket.StatusNormalClosure, "") // it is over in any case
			l.handling.Unlock()
		}
	}
}

// send acknowledges sequences. When it fails the pushes come again, and are recognised.
func (l *listener) send(ctx context.Context, conn *websocket.Conn, seqs []push.Seq) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendWait)
	defer cancel()
	for chunk := range slices.Chunk(seqs, wire.MaxAckSeqs) {
		if conn.Write(ctx, websocket.MessageText, wire.EncodeJSON(wire.ClientFrame{Type: wire.FrameAck, Seqs: chunk})) != nil {
			return
		}
	}
}
