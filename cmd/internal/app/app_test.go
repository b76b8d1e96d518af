package app_test

import (
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

func TestMain(m *testing.M) { brokertest.VerifyMain(m) }

// The whole road: a push by tag reaches the matching user who is online at once, the other who is offline at the next
// login, and nobody else; acknowledged, it never comes again.
func TestOnePushFromPostToPhone(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	s.Import("on", "off", "stranger")
	s.Tag("on", "stockA")
	s.Tag("off", "stockB", "other")
	online, stranger := s.Dial("on"), s.Dial("stranger")

	s.Push(apptest.Text("hello", 3600, map[string]any{"TagsOr": []string{"stockA", "stockB"}}))
	text, seq := online.Push()
	if text != "hello" {
		t.Fatalf("got %q", text)
	}
	online.Ack(seq)

	late := s.Dial("off")
	if late.Hello.Pending != 1 {
		t.Fatalf("hello says %d pending, want 1", late.Hello.Pending)
	}
	if text, _ = late.Push(); text != "hello" {
		t.Fatalf("got %q", text)
	}
	late.Ack(seq)
	late.Sync()
	late.Close()
	if again := s.Dial("off"); again.Hello.Pending != 0 {
		t.Errorf("an acknowledged push waits again")
	}

	s.Push(apptest.Text("for everyone", 0, nil))
	if text, _ := stranger.Push(); text != "for everyone" {
		t.Errorf("a stranger to the tags got %q", text)
	}
}
