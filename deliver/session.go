package deliver

import (
	"errors"
	"fmt"
	"math/bits"
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
	begun   bool           // it went live, and its login was told; guarded by mu
	closing wire.CloseCode // set when we closed the session; guarded by mu

	mu    sync.Mutex
	conn  *socket.Conn // nil until the handshake is done
	login *login       // nil from then on
}

// login is what a session needs until it is live.
type login struct {
	after push.Seq // newest push that had been dispatched to the shard when the session joined: what is behind it comes live
	held  []*known // pushes that have come live, in their order
}

// maxHeld bounds the live pushes that wait for one login: at the contract's rate that is a quarter of an hour.
const maxHeld = 1024

// errHeld is returned by deliver for pushes that wait until the session is live.
var errHeld = errors.New("the session is logging in")

// deliver has the writer send the pushes of a batch that the mask names, whose frames these are, joined in one write, or holds
// them while the session is logging in. It never waits, and allocates only to hold or to queue. The result is there when the
// writer is flushed.
func (s *session) deliver(w *socket.Writer, batch []live, mask uint64, frames []*socket.Frame, result *error) {
	if !s.mu.TryLock() { // who has it may wait for a connection that the writer has
		w.Flush()
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.login != nil {
		*result = s.hold(batch, mask)
		return
	}
	w.Send(s.conn, frames, result)
}

// hold keeps pushes until the session is live. Called with mu held.
func (s *session) hold(batch []live, mask uint64) error {
	l := s.login
	switch {
	case s.closing != 0:
		return socket.ErrClosed
	case len(l.held)+bits.OnesCount64(mask) > maxHeld:
		s.closing, l.held = wire.CloseTooSlow, nil
		return socket.ErrTooSlow
	}
	for ; mask != 0; mask &= mask - 1 {
		l.held = append(l.held, batch[bits.TrailingZeros64(mask)].push)
	}
	return errHeld
}

// holds gives what has come live until now.
func (s *session) holds() []*known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.login.held)
}

// drop lets go of what has come live and was revoked.
func (s *session) drop(revoked map[push.Seq]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login.held = slices.DeleteFunc(s.login.held, func(p *known) bool { return revoked[p.seq] })
}

// goLive sends hello, then of the inbox (ascending) what does not come live, and then what has come live meanwhile: each
// push once, in the order of their sequences, and none whose revocation is among them. From here on live pushes go
// straight to the socket. It gives the pushes that it sent, the first fromInbox of them from the inbox; the error is
// socket.ErrClosed when the session had been closed before.
func (s *session) goLive(conn *socket.Conn, hello func(pending int) *socket.Frame, inbox []*known) (sent []*known, fromInbox int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.login
	s.conn, s.login = conn, nil
	if s.closing != 0 {
		conn.Close(s.closing, s.closing.Reason())
		return nil, 0, socket.ErrClosed
	}
	revoked := func(p *known) bool {
		return slices.ContainsFunc(l.held, func(r *known) bool { return r.revokes == p.seq })
	}
	for _, p := range inbox { // the offline worker may have been ahead of us
		if p.seq <= l.after && !revoked(p) {
			sent = append(sent, p)
		}
	}
	fromInbox = len(sent)
	for _, p := range l.held {
		if !revoked(p) {
			sent = append(sent, p)
		}
	}
	frames := make([]*socket.Frame, 1, 1+len(sent))
	frames[0] = hello(fromInbox)
	for _, p := range sent {
		frames = append(frames, p.frame)
	}
	if err = conn.SendAll(frames); err == nil {
		s.shard.sentTo(sent, s.local) // before anything else is dispatched here
		s.begun = true
		s.tell(wire.SessionLogin, "")
	}
	return sent, fromInbox, err
}

// close ends the session with the given code. It never waits. From here on the account does not have it.
func (s *session) close(code wire.CloseCode) {
	s.shard.leave(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing == 0 {
		s.closing = code
	}
	if s.conn != nil {
		s.conn.Close(code, code.Reason())
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
	case wire.FrameDevice, wire.FrameLogout:
		switch {
		case !s.shard.has(s): // it has logged out, or is being closed: nothing more is taken from it
		case f.Type == wire.FrameDevice:
			s.device(f)
		default:
			s.logout()
		}
	}
	return nil
}

// OnClose lets go of the session (socket.Owner).
func (s *session) OnClose(why socket.Why) {
	s.shard.leave(s)
	s.mu.Lock()
	s.ended(why)
	s.mu.Unlock()
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
