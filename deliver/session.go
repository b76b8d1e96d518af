package deliver

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/carillon-push/carillon/deliver/socket"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// session is one connected client of one account. There are very many: no field that an idle one does not need.
type session struct {
	shard *shard
	next  *session // an older session of the account; guarded by shard.mu
	local uint32
	platform
	closing wire.CloseCode // set when the session was closed before its handshake was done

	mu    sync.Mutex
	conn  *socket.Conn // nil until the handshake is done
	login *login       // nil once no push of the inbox can come live any more
}

// login is what a session needs while a push may come from the inbox and live.
type login struct {
	held  []held     // live pushes that came before the inbox was sent, in their order
	inbox []push.Seq // sent from the inbox and may yet come live, ascending; not empty once the session is live
}

// held is a live push that waits.
type held struct {
	seq   push.Seq
	frame *socket.Frame
}

// maxHeld bounds the live pushes that wait for one login: at the contract's rate that is a quarter of an hour.
const maxHeld = 1024

// errTwice is returned by deliver for a push that the session has from its inbox.
var errTwice = errors.New("the push was in the inbox")

// deliver sends a live push, or holds it while the session is logging in. It never waits.
func (s *session) deliver(seq push.Seq, f *socket.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.login == nil {
		return s.conn.Send(f)
	}
	return s.deliverEarly(seq, f)
}

// deliverEarly is deliver while the session has a login. Called with mu held.
func (s *session) deliverEarly(seq push.Seq, f *socket.Frame) error {
	l := s.login
	switch {
	case s.closing != 0:
		return socket.ErrClosed
	case s.conn == nil && len(l.held) >= maxHeld:
		s.closing, l.held = wire.CloseTooSlow, nil
		return socket.ErrTooSlow
	case s.conn == nil:
		l.held = append(l.held, held{seq, f})
		return nil
	}
	_, twice := slices.BinarySearch(l.inbox, seq)
	if seq >= l.inbox[len(l.inbox)-1] { // pushes come live in their order: none of the inbox will any more
		s.login = nil
	}
	if twice {
		return errTwice
	}
	return s.conn.Send(f)
}

// goLive sends the first frames (hello and the inbox, whose pushes are the ascending seqs) and what came live meanwhile,
// without what was in the inbox. From here on live pushes go straight to the socket. The error is socket.ErrClosed when
// the session had been closed before.
func (s *session) goLive(conn *socket.Conn, first []*socket.Frame, seqs []push.Seq) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	early := s.login.held
	s.conn, s.login = conn, nil
	if s.closing != 0 {
		conn.Close(s.closing, s.closing.Reason())
		return socket.ErrClosed
	}
	past := s.shard.newest()
	for _, h := range early {
		if _, twice := slices.BinarySearch(seqs, h.seq); !twice {
			first = append(first, h.frame)
		}
		past = max(past, h.seq)
	}
	// The offline worker may have been ahead of us: what it had of later audiences will come live too.
	if i, _ := slices.BinarySearch(seqs, past+1); i < len(seqs) {
		s.login = &login{inbox: slices.Clone(seqs[i:])}
	}
	return conn.SendAll(first)
}

// close ends the session with the given code. It never waits. From here on the account does not have it.
func (s *session) close(code wire.CloseCode) {
	s.shard.leave(s)
	s.mu.Lock()
	defer s.mu.Unlock()
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
		s.shard.d.acknowledge(s.shard, s.local, f.Seqs, f.Type == wire.FrameOpened)
	case wire.FrameLogout:
		s.close(wire.CloseNormal)
	}
	return nil
}

// OnClose lets go of the session (socket.Owner).
func (s *session) OnClose(socket.Why) {
	s.shard.leave(s)
	s.shard.d.taken.Add(-1)
}

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
