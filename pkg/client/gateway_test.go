package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network carries connections in memory, so that a test in a bubble of synctest has time to itself.
type network struct {
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.over:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { n.once.Do(func() { close(n.over) }); return nil }
func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case n.conns <- far:
		return near, nil
	case <-n.over:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// gateway plays the service.
type gateway struct {
	t    *testing.T
	http *http.Client
	// peers are the sessions that the client opens, for the test to take.
	peers chan *peer
	// answer, when set, may refuse a login instead: it says whether it has.
	answer func(w http.ResponseWriter, r *http.Request) bool

	over    chan struct{}
	serving sync.WaitGroup

	mu     sync.Mutex
	logins []*http.Request
	closed bool
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{t: t, peers: make(chan *peer), over: make(chan struct{})}
	n := &network{conns: make(chan net.Conn), over: make(chan struct{})}
	transport := &http.Transport{DialContext: n.dial, DisableKeepAlives: true}
	g.http = &http.Client{Transport: transport}
	srv := &http.Server{Handler: g}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(n) // it ends with the test
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		close(g.over)
		_ = srv.Close()
		<-served
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.serving.Wait()
	})
	return g
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.serving.Add(1)
	defer g.serving.Done()
	g.logins = append(g.logins, r)
	answer := g.answer
	g.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		g.t.Errorf("accept a session: %v", err)
		return
	}
	p := &peer{t: g.t, conn: conn, login: r, frames: make(chan wire.ClientFrame, 1024), gone: make(chan struct{})}
	g.serving.Go(p.read)
	select {
	case g.peers <- p:
	case <-g.over:
		p.drop()
	}
}

func (g *gateway) refuse(answer func(http.ResponseWriter, *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = answer
}

func (g *gateway) attempts() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.logins)
}

// peer is the service's end of one session.
type peer struct {
	t      *testing.T
	conn   *websocket.Conn
	login  *http.Request
	frames chan wire.ClientFrame // what the client has sent
	gone   chan struct{}         // closed when the client has
	err    error                 // how it went
}

func (p *peer) read() {
	defer close(p.gone)
	for {
		_, data, err := p.conn.Read(context.Background())
		if err != nil {
			p.err = err
			return
		}
		f, err := wire.DecodeClientFrame(data)
		if err != nil {
			p.t.Errorf("the client sent %s: %v", data, err)
			continue
		}
		p.frames <- f
	}
}

// send gives the client a text, and reports whether it could.
func (p *peer) send(text string) bool {
	return p.conn.Write(context.Background(), websocket.MessageText, []byte(text)) == nil
}

func (p *peer) hello(heartbeat, pending int) {
	p.send(string(wire.AppendHello(nil, wire.Hello{Session: "s1", Heartbeat: heartbeat, Pending: pending})))
}

func (p *peer) push(seqs ...push.Seq) {
	for _, seq := range seqs {
		p.send(pushFrame(seq))
	}
}

func pushFrame(seq push.Seq) string {
	return fmt.Sprintf(`{"t":"push","id":"7-%d","seq":%d,"from":"x","at":1700000000123,"expire":1700000120,"body":[%d]}`, seq, seq, seq)
}

func (p *peer) close(code wire.CloseCode) {
	_ = p.conn.Close(websocket.StatusCode(code), code.Reason())
}

func (p *peer) drop() { _ = p.conn.CloseNow() }

// next is the next frame of the client, as JSON.
func (p *peer) next() string {
	p.t.Helper()
	select {
	case f := <-p.frames:
		return frameText(f)
	case <-p.gone:
		p.t.Fatalf("the client has gone: %v", p.err)
	case <-time.After(time.Minute):
		p.t.Fatal("the client sends nothing")
	}
	return ""
}

func (p *peer) want(frames ...string) {
	p.t.Helper()
	for _, want := range frames {
		if got := p.next(); got != want {
			p.t.Fatalf("the client sent %s, want %s", got, want)
		}
	}
}

// silent checks that the client has sent nothing more by now.
func (p *peer) silent() {
	p.t.Helper()
	synctest.Wait()
	select {
	case f := <-p.frames:
		p.t.Errorf("the client sent %s", frameText(f))
	default:
	}
}

func frameText(f wire.ClientFrame) string {
	text, err := json.Marshal(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// listening is a Session whose Listen runs.
type listening struct {
	*client.Session
	*gateway
	states chan client.State
	shown  chan push.Seq
	cancel context.CancelFunc
	ended  chan struct{} // closed when Listen has returned err
	err    error
}

// listen runs a Session against a gateway, as the test changes it. What it shows and its states wait for the test.
func listen(t *testing.T, change func(*client.Session)) *listening {
	l := newListening(t, change)
	l.start()
	return l
}

// newListening is a Session that a test starts.
func newListening(t *testing.T, change func(*client.Session)) *listening {
	l := &listening{
		gateway: newGateway(t), states: make(chan client.State, 4096), shown: make(chan push.Seq, 4096),
	}
	l.Session = &client.Session{
		URLs: []string{"ws://gateway"}, App: 7, Account: "u", UserSig: "secret", HTTP: l.http,
		OnPush:  func(p client.Push) { l.shown <- p.Seq },
		OnState: func(s client.State) { l.states <- s },
	}
	if change != nil {
		change(l.Session)
	}
	t.Cleanup(func() { _ = l.stop() })
	return l
}

func (l *listening) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	l.cancel, l.ended = cancel, ended
	go func() {
		defer close(ended)
		l.err = l.Listen(ctx)
	}()
}

// stop ends Listen and gives its error.
func (l *listening) stop() error {
	l.cancel()
	return l.end()
}

// end waits for Listen's own end, and gives its error.
func (l *listening) end() error {
	<-l.ended
	return l.err
}

// pass lets time pass, of the bubble's clock.
func pass(d time.Duration) { <-time.After(d) }

// open takes the client's next session and says hello with a heartbeat of a minute.
func (l *listening) open() *peer {
	p := <-l.peers
	p.hello(60, 0)
	return p
}

// state waits for a state of a kind, passing over others.
func state[S client.State](l *listening) S {
	for st := range l.states {
		if s, ok := st.(S); ok {
			return s
		}
	}
	panic("the channel is never closed")
}

// got is what was shown by now.
func (l *listening) got() []push.Seq {
	synctest.Wait()
	var seqs []push.Seq
	for {
		select {
		case seq := <-l.shown:
			seqs = append(seqs, seq)
		default:
			return seqs
		}
	}
}

// refusal answers logins with a status and the contract's three fields.
func refusal(status, code int, info string, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, fmt.Sprintf(`{"ActionStatus":"FAIL","ErrorInfo":%q,"ErrorCode":%d}`, info, code))
		return true
	}
}
