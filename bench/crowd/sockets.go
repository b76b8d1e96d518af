package crowd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/wire"
)

// sockets serves WebSocket sessions as the gateway does, but for accounts and audiences.
type sockets struct {
	poller   *socket.Poller
	writer   *socket.Writer
	listener net.Listener
	http     http.Server
	message  []byte
	end      func() error

	received atomic.Int64 // messages of clients

	mu   sync.Mutex
	open []*session
}

// session is the owner of a connection.
type session struct {
	in    *sockets
	conn  *socket.Conn
	place int // in open
}

func startSockets(message []byte) (local, error) {
	cfg := socket.Default()
	cfg.Heartbeat = time.Hour // the client answers no pings
	poller, err := socket.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &sockets{poller: poller, writer: poller.NewWriter(), message: message}
	if s.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	s.http.Handler = http.HandlerFunc(s.accept)
	s.http.ReadHeaderTimeout = 5 * time.Second

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- poller.Run(ctx) }()
	go func() {
		err := s.http.Serve(s.listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		ended <- err
	}()
	s.end = func() error {
		err := s.http.Close()
		cancel()
		return errors.Join(err, <-ended, <-ended)
	}
	return s, nil
}

func (s *sockets) accept(w http.ResponseWriter, r *http.Request) {
	conn, leftover, err := socket.Upgrade(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	owner := &session{in: s}
	if owner.conn, err = s.poller.Adopt(conn, leftover, socket.WebSocket, owner); err != nil {
		return // the client sees the connection close, and says so
	}
	s.mu.Lock()
	owner.place = len(s.open)
	s.open = append(s.open, owner)
	s.mu.Unlock()
	_ = owner.conn.Start() // after an error OnClose was called
}

func (o *session) OnMessage([]byte) error {
	o.in.received.Add(1)
	return nil
}

func (o *session) OnClose(socket.Why) {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	last := len(o.in.open) - 1
	o.in.open[last].place = o.place
	o.in.open[o.place] = o.in.open[last]
	o.in.open[last] = nil
	o.in.open = o.in.open[:last]
}

func (s *sockets) addr() string { return s.listener.Addr().String() }
func (s *sockets) path() string { return "/v1/session" }

func (*sockets) greeting() []byte { return nil }
func (*sockets) receipt() []byte  { return receipt(1) }
func (s *sockets) taken() int     { return int(s.received.Load()) }

func (s *sockets) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *sockets) round(pushes int) error {
	frames := make([]*socket.Frame, pushes)
	for i := range frames {
		frames[i] = socket.NewFrame(wire.FramePush, uint64(i+1), s.message)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]error, len(s.open))
	for i, o := range s.open {
		s.writer.Send(o.conn, frames, &results[i])
	}
	s.writer.Flush()
	if err := errors.Join(results...); err != nil {
		return fmt.Errorf("sending to sessions: %w", err)
	}
	return nil
}

func (s *sockets) stop() error { return errors.Join(s.end(), s.writer.Close()) }
