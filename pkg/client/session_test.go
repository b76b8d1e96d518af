package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

func TestEveryState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := <-l.peers
		p.hello(30, 2)
		if s := <-l.states; s != (client.Connecting{URL: "ws://gateway"}) || s.String() != "connecting to ws://gateway" {
			t.Errorf("first %v", s)
		}
		if s := <-l.states; s != (client.Open{ID: "s1", Heartbeat: 30 * time.Second, Pending: 2}) || s.String() != "session s1 is open, 2 pending" {
			t.Errorf("then %v", s)
		}
		p.close(wire.CloseTooSlow)
		s := (<-l.states).(client.Waiting)
		var closed *client.Closed
		if !errors.As(s.Err, &closed) || closed.Code != 4003 || closed.Info != "too slow" || !strings.HasPrefix(s.String(), "no session (the service closed") {
			t.Errorf("then %v", s)
		}
		l.open()
		if s := state[client.Open](l); s.Heartbeat != time.Minute {
			t.Errorf("then %v", s)
		}
		err := l.stop()
		if s := <-l.states; err != context.Canceled || s != (client.Ended{Err: err}) || s.String() != "ended: context canceled" {
			t.Errorf("at last %v, returned %v", s, err)
		}
		if c := l.Counts(); c != (client.Counts{Sessions: 2}) {
			t.Errorf("counts: %+v", c)
		}
	})
}

// What was pushed is shown in order and acknowledged together within a second; frames of a later service are passed over.
func TestAcknowledgementsAreGathered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := l.open()
		p.push(1)
		begin := time.Now()
		p.send(`{"t":"from the future","seq":"x"}`)
		synctest.Wait()
		p.push(2, 3)
		p.want(`{"t":"ack","seq":[1,2,3]}`)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("acknowledged after %v", d)
		}
		if got := fmt.Sprint(l.got()); got != "[1 2 3]" {
			t.Errorf("shown %s", got)
		}
	})
}

func TestAPushHasEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		got := make(chan client.Push, 2)
		l := listen(t, func(s *client.Session) { s.OnPush = func(p client.Push) { got <- p } })
		p := l.open()
		p.push(5)
		p.send(`{"t":"push","id":"7-6","seq":6,"from":"","at":1,"expire":0,"body":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a"}},{"MsgType":"TIMFaceElem","MsgContent":{"Index":1}},{"MsgType":"TIMTextElem","MsgContent":{"Text":"b"}}]}`)
		q := <-got
		if q.ID != "7-5" || q.Seq != 5 || q.From != "x" || q.At.UnixMilli() != 1700000000123 || q.Expire.Unix() != 1700000120 || string(q.Body) != "[5]" || q.Text() != "" {
			t.Errorf("got %+v", q)
		}
		if q = <-got; !q.Expire.IsZero() || q.Text() != "a\nb" {
			t.Errorf("got %+v with the text %q", q, q.Text())
		}
	})
}

// A push that comes again is acknowledged again and not shown again, in the same session and in another.
func TestRepeatsAreRecognised(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := l.open()
		p.push(1, 2, 1)
		p.want(`{"t":"ack","seq":[1,2,1]}`)
		p.drop()
		p = l.open()
		p.want(`{"t":"ack","seq":[1,2,1]}`)
		p.push(2, 3)
		p.want(`{"t":"ack","seq":[2,3]}`)
		if got := fmt.Sprint(l.got()); got != "[1 2 3]" {
			t.Errorf("shown %s", got)
		}
		if c := l.Counts(); c != (client.Counts{Sessions: 2, Shown: 3, Repeats: 2}) {
			t.Errorf("counts: %+v", c)
		}
		// So it is after Listen has ended and begun anew.
		_ = l.stop()
		l.start()
		p = l.open()
		p.want(`{"t":"ack","seq":[1,2,1,2,3]}`)
		p.push(3)
		p.want(`{"t":"ack","seq":[3]}`)
		if got := l.got(); len(got) > 0 {
			t.Errorf("shown %v again", got)
		}
	})
}

// What was written shortly before the service was last heard of may have been lost, and is sent first thing on the next
// session; what was written long before has arrived.
func TestAcknowledgementsInDoubtAreSentAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := l.open()
		p.push(1)
		p.want(`{"t":"ack","seq":[1]}`)
		pass(30 * time.Second)
		p.push(2) // and so the service is heard of, long after it got the first
		p.want(`{"t":"ack","seq":[2]}`)
		p.push(3)
		synctest.Wait()
		p.drop() // before the third is acknowledged at all
		p = l.open()
		p.want(`{"t":"ack","seq":[2,3]}`)
		p.silent()
	})
}

// At an orderly end, what was shown is acknowledged, the service is told goodbye, and the callback that runs is waited for.
func TestEndingSendsTheLastAcknowledgements(t *testing.T) {
	bubble(t, func(t *testing.T) {
		running, finish := make(chan struct{}), make(chan struct{})
		l := listen(t, func(s *client.Session) {
			s.OnPush = func(p client.Push) {
				if p.Seq == 6 {
					close(running)
					<-finish
				}
			}
		})
		p := l.open()
		p.push(5, 6, 7)
		<-running
		l.cancel()
		synctest.Wait()
		select {
		case <-l.ended:
			t.Error("Listen did not wait for the callback")
		default:
		}
		close(finish)
		p.want(`{"t":"ack","seq":[5,6]}`)
		<-p.gone
		if websocket.CloseStatus(p.err) != websocket.StatusNormalClosure {
			t.Errorf("the client went with %v", p.err)
		}
		if err := l.end(); err != context.Canceled {
			t.Error(err)
		}
	})
}

// A callback that takes long holds up no acknowledgement but its own.
func TestASlowCallbackHoldsUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		finish := make(chan struct{})
		l := listen(t, func(s *client.Session) {
			s.OnPush = func(p client.Push) {
				if p.Seq == 2 {
					<-finish
				}
			}
		})
		p := l.open()
		p.push(1, 2, 3)
		p.want(`{"t":"ack","seq":[1]}`)
		l.Opened(1)
		p.want(`{"t":"opened","seq":[1]}`)
		if err := p.conn.Ping(t.Context()); err != nil {
			t.Errorf("the client does not answer: %v", err)
		}
		p.silent()
		close(finish)
		p.want(`{"t":"ack","seq":[2,3]}`)
	})
}

// While a callback runs and its backlog is full, nothing is read: that is no silence of the service.
func TestABacklogIsNoSilence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		finish := make(chan struct{})
		l := listen(t, func(s *client.Session) {
			s.OnPush = func(client.Push) { <-finish }
		})
		p := l.open()
		const many = 200
		written := make(chan struct{})
		go func() {
			defer close(written)
			for seq := range push.Seq(many) {
				p.push(seq + 1)
			}
		}()
		pass(time.Hour)
		select {
		case <-written:
			t.Error("the client reads without bound")
		default:
		}
		close(finish)
		<-written
		total := 0
		for total < many {
			f := <-p.frames
			total += len(f.Seqs)
		}
		if c := l.Counts(); c.Sessions != 1 || c.Shown != many {
			t.Errorf("counts: %+v", c)
		}
	})
}

func TestRevocations(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var order []string
		l := listen(t, func(s *client.Session) {
			s.OnPush = func(p client.Push) { order = append(order, fmt.Sprint("push ", p.Seq)) }
			s.OnRevoke = func(r client.Revoke) { order = append(order, fmt.Sprintf("revoke %s %d", r.ID, r.Seq)) }
		})
		p := l.open()
		p.push(42)
		p.send(`{"t":"revoke","id":"7-42","seq":42,"ack":57}`)
		p.push(58)
		p.send(`{"t":"revoke","id":"7-42","seq":42,"ack":57}`) // again
		p.send(`{"t":"revoke","id":"7-41","seq":41}`)          // nothing to acknowledge
		p.want(`{"t":"ack","seq":[42,57,58,57]}`)
		_ = l.stop()
		if want := []string{"push 42", "revoke 7-42 42", "push 58", "revoke 7-41 41"}; !slices.Equal(order, want) {
			t.Errorf("shown %q, want %q", order, want)
		}
	})
}

// Without OnRevoke a revocation is still acknowledged: the app does not want to know.
func TestRevocationsThatNobodyWants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := l.open()
		p.send(`{"t":"revoke","id":"7-42","seq":42,"ack":57}`)
		p.want(`{"t":"ack","seq":[57]}`)
	})
}

// A callback that panics leaves nothing running behind, and its push comes again.
func TestACallbackThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, func(s *client.Session) {
			s.Gather = time.Millisecond
			failed := false
			s.OnPush = func(client.Push) {
				if !failed {
					failed = true
					panic("a fault of the app")
				}
			}
		})
		_ = l.stop()
		caught := make(chan any)
		go func() {
			defer func() { caught <- recover() }()
			_ = l.Listen(t.Context())
		}()
		p := l.open()
		p.push(1)
		if c := <-caught; c != "a fault of the app" {
			t.Errorf("caught %v", c)
		}
		<-p.gone
		l.start()
		p = l.open()
		p.push(1)
		p.want(`{"t":"ack","seq":[1]}`)
	})
}

func TestASessionThatCannotWork(t *testing.T) {
	t.Parallel()
	ignore := func(client.Push) {}
	for want, s := range map[string]*client.Session{
		"URLs is empty":           {App: 7, Account: "u", OnPush: ignore},
		"is no base of sessions":  {URLs: []string{"ftp://x"}, App: 7, Account: "u", OnPush: ignore},
		"\"wss://\" is no base":   {URLs: []string{"wss://x", "wss://"}, App: 7, Account: "u", OnPush: ignore},
		"the Account cannot be":   {URLs: []string{"wss://x"}, App: 7, OnPush: ignore},
		"OnPush is not set":       {URLs: []string{"wss://x"}, App: 7, Account: "u"},
		"the Device cannot be":    {URLs: []string{"wss://x"}, App: 7, Account: "u", OnPush: ignore, Device: "\n"},
		"it must be from 0 to 1s": {URLs: []string{"wss://x"}, App: 7, Account: "u", OnPush: ignore, Gather: time.Minute},
		"a Handshake is 1m0s":     {URLs: []string{"wss://x"}, App: 7, Account: "u", OnPush: ignore, Handshake: time.Minute},
	} {
		if err := s.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestListenOnceAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		l.open()
		synctest.Wait()
		if err := l.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("a second Listen: %v", err)
		}
	})
}
