package deliver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// storm is a worker that answers as the test says, and the logins that ask it.
type storm struct {
	*asks
	*testing.T
	requests chan asked
	logins   sync.WaitGroup
}

type asked struct {
	wire.InboxRequest
	ctx    context.Context
	answer chan<- error
}

func newStorm(t *testing.T) *storm {
	s := &storm{T: t, requests: make(chan asked, 1000)}
	s.asks = newAsks(func(ctx context.Context, q wire.InboxRequest) ([]byte, error) {
		answer := make(chan error)
		s.requests <- asked{InboxRequest: q, ctx: ctx, answer: answer}
		select {
		case err := <-answer:
			var data []byte
			for _, local := range q.Locals[:min(len(q.Locals), 100)] { // what a worker does with a long answer
				data = wire.AppendInbox(data, inboxOf(local))
			}
			return data, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	return s
}

// inboxOf is what waits for a user.
func inboxOf(local uint32) []push.Seq { return []push.Seq{1, push.Seq(local) + 2} }

// login asks for users, one after the other.
func (s *storm) login(ctx context.Context, want error, locals ...uint32) {
	for _, local := range locals {
		s.logins.Go(func() {
			got, err := s.inbox(ctx, question{local: local, audiences: uint64(local), receipts: 1000 - uint64(local)})
			if !errors.Is(err, want) || err == nil && !slices.Equal(got, inboxOf(local)) {
				s.Errorf("user %d has %v, %v; want %v", local, got, err, want)
			}
		})
		synctest.Wait()
	}
}

func (s *storm) next() asked {
	synctest.Wait()
	select {
	case a := <-s.requests:
		return a
	default:
		s.Fatal("nobody asks")
		panic("unreachable")
	}
}

func (s *storm) expect(a asked, locals ...uint32) {
	s.Helper()
	if !slices.Equal(a.Locals, locals) || a.Audiences != uint64(slices.Max(locals)) || a.Receipts != 1000-uint64(slices.Min(locals)) {
		s.Errorf("asked %+v, want %v", a.InboxRequest, locals)
	}
}

// quiet says that nobody asks.
func (s *storm) quiet() {
	s.Helper()
	synctest.Wait()
	if n := len(s.requests); n > 0 {
		s.Errorf("%d requests too many", n)
	}
}

func storms(t *testing.T, f func(*storm)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStorm(t)
		f(s)
		s.logins.Wait()
		s.quiet()
		if s.under != 0 || s.asks.next != nil {
			t.Errorf("%d requests are left", s.under)
		}
	})
}

// Who comes alone asks alone; who comes while enough ask, with all who do.
func TestLoginsGatherBehindOthers(t *testing.T) {
	storms(t, func(s *storm) {
		s.login(s.Context(), nil, 1, 2, 5, 9, 7)
		var first [asksTogether]asked
		for i := range first {
			first[i] = s.next()
			s.expect(first[i], uint32(i+1))
		}
		s.quiet()
		first[1].answer <- nil
		gathered := s.next()
		s.expect(gathered, 5, 9, 7)
		s.quiet()
		for _, a := range []asked{gathered, first[0]} {
			a.answer <- nil
		}
	})
}

// A group does not wait for a worker that hangs, nor for others when it is full.
func TestGatheringIsBounded(t *testing.T) {
	storms(t, func(s *storm) {
		s.login(s.Context(), nil, 1, 2)
		var all []asked
		for range asksTogether {
			all = append(all, s.next())
		}
		s.login(s.Context(), nil, 5, 6)
		s.quiet()
		<-time.After(asksWait)
		all = append(all, s.next())
		s.expect(all[asksTogether], 5, 6)
		for u := range uint32(wire.MaxInboxUsers) {
			s.login(s.Context(), nil, u)
		}
		full := s.next()
		if n := len(full.Locals); n != wire.MaxInboxUsers {
			s.Errorf("%d ask together, want %d", n, wire.MaxInboxUsers)
		}
		for _, a := range all {
			a.answer <- nil
		}
		full.answer <- nil // of a hundred only: the others ask again
		rest := s.next()
		if n := len(rest.Locals); n != wire.MaxInboxUsers-100 {
			s.Errorf("%d ask again, want %d", n, wire.MaxInboxUsers-100)
		}
		rest.answer <- nil
		s.next().answer <- nil
	})
}

// A login that is given up takes no other with it, and a request that nobody waits for ends.
func TestALoginIsGivenUp(t *testing.T) {
	storms(t, func(s *storm) {
		ctx, giveUp := context.WithCancel(s.Context())
		s.login(ctx, context.Canceled, 1)
		s.login(s.Context(), nil, 2)
		var all []asked
		for range asksTogether {
			all = append(all, s.next())
		}
		s.login(ctx, context.Canceled, 5)
		s.login(s.Context(), nil, 6)
		giveUp()
		gathered := s.next() // in the place of the one that has ended
		s.expect(gathered, 5, 6)
		if all[0].ctx.Err() == nil || gathered.ctx.Err() != nil {
			s.Error("the request of those who gave up goes on, or another has ended")
		}
		again, giveUpAgain := context.WithCancel(s.Context())
		s.login(again, context.Canceled, 7, 8)
		giveUpAgain()
		synctest.Wait()
		s.login(s.Context(), nil, 9) // the group of 7 and 8 is gone
		gathered.answer <- nil
		last := s.next()
		s.expect(last, 9)
		last.answer <- nil
		for _, a := range all[1:] {
			a.answer <- nil
		}
	})
}

// What went wrong is told to everybody who asked, and an answer with more users than were asked for is none.
func TestAnErrorIsEverybodys(t *testing.T) {
	storms(t, func(s *storm) {
		broken := errors.New("broken")
		s.login(s.Context(), broken, 1)
		s.next().answer <- broken
		s.request = func(context.Context, wire.InboxRequest) ([]byte, error) {
			return wire.AppendInbox(wire.AppendInbox(nil, nil), nil), nil
		}
		s.logins.Wait()
		s.login(s.Context(), wire.ErrCorrupt, 1)
	})
}
