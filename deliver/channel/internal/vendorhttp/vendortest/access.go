package vendortest

import (
	"testing"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Renews holds a channel to this: an access token that the vendor has forgotten is renewed once and the batch tried again;
// one that is refused even then is denied for reason. Forget makes the server forget those that it gave out, refuse makes it
// take none.
func (s *Subject) Renews(t *testing.T, forget, refuse func(), reason string) {
	t.Helper()
	tokens := Tokens(2)
	s.send(t, tokens, channel.Sent, "")
	forget()
	auths := s.Server.Auths.Load()
	s.send(t, tokens, channel.Sent, "")
	if n := s.Server.Auths.Load() - auths; n != 1 {
		t.Errorf("one stale access token was renewed %d times", n)
	}
	refuse()
	auths = s.Server.Auths.Load()
	s.send(t, tokens, channel.Denied, reason)
	if n := s.Server.Auths.Load() - auths; n != 1 {
		t.Errorf("an access token that is never taken was renewed %d times", n)
	}
}

// Denies holds a channel with wrong credentials to this: everything is denied for reason, and nothing is sent.
func (s *Subject) Denies(t *testing.T, reason string) {
	t.Helper()
	s.send(t, Tokens(2), channel.Denied, reason)
	if n := s.Server.Messages.Load(); n != 0 {
		t.Errorf("%d messages were sent all the same", n)
	}
}
