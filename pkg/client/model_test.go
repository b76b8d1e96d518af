package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// unreliable is a service that keeps every promise of the contract and no other: it refuses logins, ends sessions at any
// time, and forgets acknowledgements that came shortly before it did.
type unreliable struct {
	t *testing.T

	mu       sync.Mutex
	rand     *rand.Rand
	kept     []push.Seq // accepted and not acknowledged, ascending
	revoked  map[push.Seq]push.Seq
	settled  map[push.Seq]bool
	newest   push.Seq
	live     *unreliableSession
	sessions int
	calm     bool // nothing goes wrong any more
	all      chan struct{}
	total    int
}

type unreliableSession struct {
	conn  *websocket.Conn
	queue chan string // frames for the client
	acks  []push.Seq  // that a crash would forget
}

// accept is a push, or now and then the revocation of an earlier one.
func (u *unreliable) accept() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.newest++
	if u.newest > 1 && u.rand.IntN(8) == 0 {
		u.revoked[u.newest] = 1 + push.Seq(u.rand.Uint64N(uint64(u.newest-1)))
	}
	u.kept = append(u.kept, u.newest)
	if u.live != nil {
		u.live.queue <- u.frame(u.newest)
	}
}

func (u *unreliable) frame(seq push.Seq) string {
	if of, ok := u.revoked[seq]; ok {
		return string(wire.AppendRevoke(nil, wire.Revoke{ID: push.NewTaskID(7, of), Seq: of, Ack: seq}))
	}
	return pushFrame(seq)
}

// serve is one login.
func (u *unreliable) serve(w http.ResponseWriter, r *http.Request) bool {
	u.mu.Lock()
	refused := !u.calm && u.rand.IntN(4) == 0
	u.mu.Unlock()
	if refused {
		return refusal(http.StatusServiceUnavailable, 91000, "not now")(w, r)
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		u.t.Error(err)
		return true
	}
	u.mu.Lock()
	s := &unreliableSession{conn: conn, queue: make(chan string, 4096)}
	u.live = s
	u.sessions++
	s.queue <- string(wire.AppendHello(nil, wire.Hello{Session: fmt.Sprint(u.sessions), Heartbeat: 60, Pending: len(u.kept)}))
	for _, seq := range u.kept {
		s.queue <- u.frame(seq)
	}
	life := time.Duration(u.rand.Int64N(int64(10 * time.Second)))
	orderly := u.rand.IntN(3) == 0
	slow := time.Duration(u.rand.Int64N(int64(300 * time.Millisecond)))
	calm := u.calm
	u.mu.Unlock()

	over := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case f := <-s.queue:
				<-time.After(slow)
				if conn.Write(context.Background(), websocket.MessageText, []byte(f)) != nil {
					return
				}
			case <-over:
				return
			}
		}
	})
	if !calm {
		ending := time.AfterFunc(life, func() {
			u.mu.Lock()
			u.live = nil
			if !orderly { // a crash: what was not yet on the broker is forgotten
				s.acks = nil
			}
			u.mu.Unlock()
			if orderly {
				_ = conn.Close(websocket.StatusCode(wire.CloseTooSlow), "")
			} else {
				_ = conn.CloseNow()
			}
		})
		defer ending.Stop()
	}
	u.take(s)
	close(over)
	_ = conn.CloseNow()
	writer.Wait()
	return true
}

// take reads acknowledgements, which reach the broker when the next one comes, or the session ends in an orderly way.
func (u *unreliable) take(s *unreliableSession) {
	for {
		_, data, err := s.conn.Read(context.Background())
		u.mu.Lock()
		u.settle(s)
		if err != nil {
			if u.live == s {
				u.live = nil
			}
			u.mu.Unlock()
			return
		}
		f, err := wire.DecodeClientFrame(data)
		if err != nil || f.Type != wire.FrameAck {
			u.t.Errorf("the client sent %s: %v", data, err)
		}
		s.acks = f.Seqs
		if u.calm {
			u.settle(s)
		}
		u.mu.Unlock()
	}
}

// settle puts a session's acknowledgements on the broker. Called with mu held.
func (u *unreliable) settle(s *unreliableSession) {
	for _, seq := range s.acks {
		u.settled[seq] = true
	}
	s.acks = nil
	u.kept = slices.DeleteFunc(u.kept, func(seq push.Seq) bool { return u.settled[seq] })
	if len(u.settled) == u.total {
		select {
		case <-u.all:
		default:
			close(u.all)
		}
	}
}

// Whatever goes wrong, the app sees each push once, those of a session in order, and the service in the end knows of each
// that it was received.
func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	const seeds = 30
	var sessions, repeats atomic.Uint64
	t.Cleanup(func() {
		if sessions.Load() < 6*seeds || repeats.Load() < 20*seeds {
			t.Errorf("%d sessions and %d repeats: too little went wrong to show anything", sessions.Load(), repeats.Load())
		}
	})
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				const total = 400
				u := &unreliable{
					t: t, rand: random, revoked: map[push.Seq]push.Seq{}, settled: map[push.Seq]bool{}, all: make(chan struct{}), total: total,
				}
				g := newGateway(t)
				g.refuse(u.serve)
				ctx, cancel := context.WithCancel(t.Context())
				shown := map[push.Seq]int{}
				var last push.Seq
				one := func(seq push.Seq) {
					if shown[seq]++; shown[seq] > 1 {
						t.Errorf("%d was shown %d times", seq, shown[seq])
					}
					if seq <= last {
						t.Errorf("%d was shown after %d", seq, last)
					}
					last = seq
				}
				revocations := 0
				s := &client.Session{
					URLs: []string{"ws://a", "ws://b"}, App: 7, Account: "u", HTTP: g.http,
					OnPush:   func(p client.Push) { one(p.Seq) },
					OnRevoke: func(client.Revoke) { revocations++ },
					OnState: func(s client.State) {
						if _, ok := s.(client.Open); ok {
							last = 0
						}
					},
				}
				result := make(chan error, 1)
				go func() { result <- s.Listen(ctx) }()
				for range total {
					pass(time.Duration(seed%3) * 200 * time.Millisecond)
					u.accept()
				}
				u.mu.Lock()
				u.calm = true
				u.mu.Unlock()
				<-u.all
				cancel()
				<-result
				if n := len(shown) + len(u.revoked); n != total || revocations != len(u.revoked) {
					t.Errorf("%d pushes and %d revocations were shown of %d and %d", len(shown), revocations, total-len(u.revoked), len(u.revoked))
				}
				c := s.Counts()
				if c.Shown != total || c.DroppedAcks != 0 || c.Sessions == 0 {
					t.Errorf("counts: %+v", c)
				}
				sessions.Add(c.Sessions)
				repeats.Add(c.Repeats)
			})
		})
	}
}

// A service that takes every session and drops it at once is called ever less often.
func TestAFlappingServiceIsNotHammered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, func(s *client.Session) { s.OnState = nil })
		over := time.After(time.Hour)
		for {
			select {
			case p := <-l.peers:
				p.hello(60, 0)
				p.drop()
				continue
			case <-over:
			}
			break
		}
		// One in 15 seconds is 240, with some at the begin.
		if n := l.attempts(); n < 150 || n > 400 {
			t.Errorf("%d connections in an hour", n)
		}
	})
}

// When a gateway drains, its clients come back one by one, over some seconds; when it vanishes, over as many as it is away.
func TestAStorm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const clients = 100
		g := newGateway(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		for i := range clients {
			s := &client.Session{
				URLs: []string{"ws://gateway"}, App: 7, Account: fmt.Sprint(i), HTTP: g.http, OnPush: func(client.Push) {},
			}
			all.Go(func() { _ = s.Listen(ctx) })
		}
		var peers []*peer
		for range clients {
			p := <-g.peers
			p.hello(60, 0)
			peers = append(peers, p)
		}
		pass(time.Minute)
		for _, p := range peers {
			p.close(wire.CloseDraining)
		}
		perSecond := map[time.Duration]int{}
		begin := time.Now()
		for range clients {
			p := <-g.peers
			p.hello(60, 0)
			perSecond[time.Since(begin)/time.Second]++
		}
		if len(perSecond) != 5 {
			t.Errorf("clients came back at %v", perSecond)
		}
		for second, n := range perSecond {
			if n > clients/2 {
				t.Errorf("%d came back in second %d", n, second)
			}
		}
		cancel()
		all.Wait()
	})
}

// Closing while the service is busy with something else ends in bounded time.
func TestEndingWithoutAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		release := make(chan struct{})
		l.open().drop()
		l.refuse(func(w http.ResponseWriter, r *http.Request) bool {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return true
			}
			p := &peer{t: t, conn: c}
			p.hello(60, 0)
			p.push(1)
			<-release // without reading
			_ = c.CloseNow()
			return true
		})
		<-l.shown
		begin := time.Now()
		if err := l.stop(); err != context.Canceled {
			t.Error(err)
		}
		if d := time.Since(begin); d > 15*time.Second {
			t.Errorf("it took %v", d)
		}
		close(release)
	})
}
