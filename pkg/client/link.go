package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// backlog bounds the pushes that were read while a callback ran.
	backlog  = 64
	sendWait = 5 * time.Second
	// codeWait is how long the service's reason is waited for once it does not take what is written.
	codeWait = time.Second
	// logoutWait bounds the wait for the service to confirm a logout.
	logoutWait = 5 * time.Second
	// silenceSlack is added to two heartbeats of silence before a connection counts as lost.
	silenceSlack = 5 * time.Second
	// A hello without a heartbeat, or with one that is no use, is taken for the nearest of these.
	minHeartbeat = time.Second
	maxHeartbeat = time.Hour
)

// link is one connection with its session. Its reader fills frames, its writer empties the Session's outbox, and the
// goroutine in Listen shows what was read.
type link struct {
	s        *Session
	conn     *websocket.Conn
	frames   chan wire.ServerFrame // closed by the reader at its end
	over     chan struct{}         // closed when nothing more is to be shown
	wake     <-chan struct{}
	patience time.Duration // silence after which the connection counts as lost

	begin   time.Time
	heard   atomic.Int64 // nanoseconds since begin when the service was last heard of
	blocked atomic.Bool  // the reader waits for a callback, and hears nothing

	ending sync.Once
	cause  error // why it ended: the first reason of all
}

func newLink(s *Session) *link {
	return &link{s: s, frames: make(chan wire.ServerFrame, backlog), over: make(chan struct{}), begin: time.Now()}
}

func (l *link) hear() { l.heard.Store(int64(time.Since(l.begin))) }

func (l *link) lastHeard() time.Time { return l.begin.Add(time.Duration(l.heard.Load())) }

// hold keeps the session until the connection is lost, or to the end of ctx. A callback that panics ends it too.
func (l *link) hold(ctx context.Context, hello wire.ServerFrame) error {
	heartbeat := time.Duration(min(max(int64(hello.Heartbeat), int64(minHeartbeat/time.Second)), int64(maxHeartbeat/time.Second))) * time.Second
	l.patience = 2*heartbeat + silenceSlack
	l.wake = l.s.out.connected()
	l.s.counts.sessions.Add(1)
	var reader, writer sync.WaitGroup
	left := l.due() // by earlier connections
	reader.Go(l.read)
	writer.Go(func() { l.write(left) })
	defer func() {
		_ = l.conn.CloseNow() // it is over in any case
		reader.Wait()
		l.s.out.lost(l.lastHeard())
	}()
	func() {
		defer func() {
			close(l.over)
			if ctx.Err() == nil { // there is nobody to say goodbye to, and a write may be under way
				_ = l.conn.CloseNow()
			}
			writer.Wait()
		}()
		l.s.tell(Open{hello.Session, heartbeat, hello.Pending})
		l.show(ctx)
	}()
	if ctx.Err() != nil {
		l.send(l.due())
		_ = l.conn.Close(websocket.StatusNormalClosure, "") // it is over in any case
	}
	_ = l.conn.CloseNow()
	reader.Wait()
	return l.cause
}

// end sets the reason, unless there is one.
func (l *link) end(cause error) { l.ending.Do(func() { l.cause = cause }) }

// show calls back for what was read, in order, until the reader ends, ctx does or the user logs out: what was not shown
// comes again at the next login.
func (l *link) show(ctx context.Context) {
	for {
		select { // a frame wakes it; the reader's end or ctx's ends it
		case <-ctx.Done():
			return
		case f, more := <-l.frames:
			if !more || ctx.Err() != nil {
				return
			}
			if !l.s.out.leaving() {
				l.s.show(f)
			}
		}
	}
}

// read takes messages until the connection ends, or nothing more is to be shown.
func (l *link) read() {
	defer close(l.frames)
	for {
		f, err := l.next(context.Background()) // the end of ctx is hold's to see to: it says goodbye first
		if err != nil {
			l.end(err)
			return
		}
		if f.Type != wire.FramePush && f.Type != wire.FrameRevoke {
			continue // of a later service: not ours to judge
		}
		if !l.hand(f) {
			return
		}
	}
}

// known are the types of the frames that are read.
var known = map[string]bool{wire.FrameHello: true, wire.FramePush: true, wire.FrameRevoke: true}

// next reads one message.
func (l *link) next(ctx context.Context) (f wire.ServerFrame, err error) {
	_, data, err := l.conn.Read(ctx)
	if err != nil {
		return f, l.s.ending(err)
	}
	l.hear()
	err = json.Unmarshal(data, &f)
	var other *json.UnmarshalTypeError
	if errors.As(err, &other) && !known[f.Type] {
		err = nil // the members of a later service's frames may be anything
	}
	if err != nil {
		return f, fmt.Errorf("read a frame: %w", err)
	}
	return f, nil
}

// hand gives a frame to show, and says whether it is taken.
func (l *link) hand(f wire.ServerFrame) bool {
	select { // never waits
	case l.frames <- f:
		return true
	default:
	}
	l.blocked.Store(true)
	defer func() {
		l.hear() // it was us who did not listen
		l.blocked.Store(false)
	}()
	select { // room wakes it, the end of showing ends it
	case l.frames <- f:
		return true
	case <-l.over:
		return false
	}
}

// write sends what earlier connections have left, and then what there is to tell, receipts gathered. It sees that the service
// is there.
func (l *link) write(left []wire.ClientFrame) {
	gather := l.s.Gather
	if gather == 0 {
		gather = maxGather
	}
	var gathered <-chan time.Time
	silence := time.NewTimer(l.patience)
	defer silence.Stop()
	for ok := l.send(left); ok; {
		if l.s.out.toldLogout() {
			l.awaitLogout()
			return
		}
		select { // news, the end of gathering or of patience wakes it; the end of showing, or of the connection, ends it
		case <-l.over:
			return
		case <-l.wake:
			switch urgency := l.s.out.urgency(); {
			case urgency == now:
				ok, gathered = l.send(l.due()), nil
			case urgency == soon && gathered == nil:
				gathered = time.After(gather)
			}
		case <-gathered:
			ok, gathered = l.send(l.due()), nil
		case <-silence.C:
			rest := l.patience
			if !l.blocked.Load() {
				rest -= time.Since(l.lastHeard())
			}
			if rest <= 0 {
				l.drop(fmt.Errorf("nothing was heard of the service for %v", l.patience))
				return
			}
			silence.Reset(rest)
		}
	}
}

// awaitLogout waits for the service to end the session, which it does when it has forgotten the device.
func (l *link) awaitLogout() {
	timer := time.NewTimer(logoutWait)
	defer timer.Stop()
	select { // the connection's end ends it
	case <-l.over:
	case <-timer.C:
		l.drop(errors.New("the service did not confirm the logout"))
	}
}

// due is everything that is to be sent now.
func (l *link) due() []wire.ClientFrame { return l.s.out.take(time.Now(), l.lastHeard()) }

// send writes frames, and says whether the connection took them.
func (l *link) send(frames []wire.ClientFrame) bool {
	ctx, cancel := context.WithTimeout(context.Background(), sendWait)
	defer cancel()
	for _, f := range frames {
		if err := l.conn.Write(ctx, websocket.MessageText, wire.EncodeJSON(f)); err != nil {
			// The service may have closed the session and said why, which the reader is about to find.
			timer := time.NewTimer(codeWait)
			defer timer.Stop()
			select { // the end of showing ends it: the reader's, as a rule
			case <-l.over:
			case <-timer.C:
				l.drop(fmt.Errorf("the connection was lost: %w", err))
			}
			return false
		}
	}
	return true
}

// drop ends the connection, and with it the reader.
func (l *link) drop(cause error) {
	l.end(cause)
	_ = l.conn.CloseNow() // that is all that is wanted
}
