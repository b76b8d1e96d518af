package deliver

import (
	"fmt"
	"sync"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// session is one connected client of one account. There are very many: no field that an idle one does not need.
type session struct {
	d     *Deliver
	shard *shard
	next  *session // an older session of the account; guarded by shard.mu
	local uint32
	platform

	mu      sync.Mutex
	conn    *socket.Conn   // nil until the handshake is done
	login   *login         // what waits until the inbox has been sent, then nil
	closing wire.CloseCode // set when the session was closed before its handshake was done
}

// login is what a session needs only until it is live.
type login struct {
	held []held // live pushes that came meanwhile, in their order
}

// held is a live push that waits.
type held struct {
	seq   push.Seq
	frame *socket.Frame
}

// maxHeld bounds the live pushes that wait for one login: at the contract's rate that is a quarter of an hour.
const maxHeld = 1024

// deliver sends a live push, or holds it while the session is logging in. It never waits.
func (s *session) deliver(seq push.Seq, f *socket.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.login == nil {
		return s.conn.Send(f)
	}
	if len(s.login.held) >= maxHeld {
		s.closeLocked(wire.CloseTooSlow)
		return socket.ErrTooSlow
	}
	s.login.held = append(s.login.held, held{seq, f})
	return nil
}

// goLive sends the first frames (hello and the inbox, whose pushes are the ascending seqs) and what came live meanwhile,
// without what was in the inbox. From here on live pushes go straight to the socket.
func (s *session) goLive(conn *socket.Conn, first []*socket.Frame, seqs []push.Seq) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	if s.closing != 0 {
		conn.Close(s.closing, s.closing.Reason())
		s.login = nil
		return nil
	}
	inbox := make(map[push.Seq]bool, len(seqs))
	for _, q := range seqs {
		inbox[q] = true
	}
	for _, h := range s.login.held {
		if !inbox[h.seq] {
			first = append(first, h.frame)
		}
	}
	s.login = nil
	return conn.SendAll(first)
}

// close ends the session with the given code. It never waits.
func (s *session) close(code wire.CloseCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(code)
}

func (s *session) closeLocked(code wire.CloseCode) {
	switch {
	case s.conn != nil:
		s.conn.Close(code, code.Reason())
	case s.closing == 0:
		s.closing = code
	}
}

// OnMessage takes one frame of the client (socket.Owner).
func (s *session) OnMessage(data []byte) error {
	f, err := wire.DecodeClientFrame(data)
	if err != nil {
		return err
	}
	switch f.Type {
	case wire.FrameAck, wire.FrameOpened:
		s.d.acknowledge(s.shard, s.local, f.Seqs, f.Type == wire.FrameOpened)
	case wire.FrameLogout:
		s.close(wire.CloseNormal)
	}
	return nil
}

// OnClose lets go of the session (socket.Owner).
func (s *session) OnClose(socket.Why) { s.shard.leave(s) }

// platform of a client, as an index of platforms.
type platform uint8

// platforms of the contract; a client that names none is the first.
var platforms = [...]string{"Web", "Android", "iOS", "iPad", "Windows", "Mac", "Linux"}

func parsePlatform(s string) (platform, error) {
	if s == "" {
		return 0, nil
	}
	for i, p := range platforms {
		if p == s {
			return platform(i), nil
		}
	}
	return 0, fmt.Errorf("platform %q is none of %q", s, platforms)
}

func (p platform) String() string { return platforms[p] }
