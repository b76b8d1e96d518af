package app_test

import (
	"fmt"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// counts is the answer to a revocation.
type counts struct {
	State                                      string
	Audience, Received, Opened, Sent, Withheld uint64
}

// Nobody who has not got a push gets it once its revocation is answered; whoever had it hears of that, at once or at the
// next login, until it has acknowledged that.
func TestRevocation(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, narrow, withNativeKey)
	call := nativeAPI(t, s)
	var others []string
	for i := range 20 { // some shards full
		others = append(others, fmt.Sprint("other", i))
	}
	s.Import(append([]string{"online", "acked", "opened", "unacked", "never", "stranger"}, others...)...)
	for _, u := range []string{"online", "acked", "opened", "unacked", "never", "other19"} {
		s.Tag(u, "t")
	}
	online, stranger := s.Dial("online"), s.Dial("stranger")
	had := map[string]*apptest.Session{}
	for _, u := range []string{"acked", "opened", "unacked"} {
		had[u] = s.Dial(u)
	}
	id := s.Push(apptest.Text("a mistake", 3600, map[string]any{"TagsOr": []string{"t"}}))
	for _, session := range []*apptest.Session{online, had["acked"], had["opened"], had["unacked"]} {
		session.Push()
	}
	_, seq, err := id.Parse()
	if err != nil {
		t.Fatal(err)
	}
	had["acked"].Ack(seq)
	had["opened"].Send(fmt.Sprintf(`{"t":"opened","seq":[%d]}`, seq))
	for _, session := range had {
		session.Sync()
		session.Close()
	}

	var got counts
	call("DELETE", "/v1/pushes/"+string(id), nil, &got)
	if want := (counts{"revoked", 6, 2, 1, 2, 2}); got != want {
		t.Errorf("revoked: %+v, want %+v", got, want)
	}
	revocation := func(session *apptest.Session) push.Seq {
		t.Helper()
		f, err := session.TryRead()
		if err != nil || f.Type != wire.FrameRevoke || f.ID != id || f.Seq != seq || f.Ack <= seq {
			t.Fatalf("got %+v, %v, want the revocation of %s", f, err, id)
		}
		return f.Ack
	}
	revocation(online)
	s.Push(apptest.Text("right", 3600, nil))
	for _, session := range []*apptest.Session{online, stranger} {
		if text, _ := session.Push(); text != "right" {
			t.Errorf("got %q", text)
		}
	}
	for _, u := range []string{"acked", "opened", "unacked"} {
		again := s.Dial(u)
		ack := revocation(again)
		if text, _ := again.Push(); text != "right" || again.Hello.Pending != 2 {
			t.Errorf("%s got %q, of %d that were pending", u, text, again.Hello.Pending)
		}
		again.Ack(ack)
		again.Sync()
		again.Close()
		last := s.Dial(u)
		if text, _ := last.Push(); text != "right" || last.Hello.Pending != 1 {
			t.Errorf("%s got %q once it had acknowledged the revocation, of %d that were pending", u, text, last.Hello.Pending)
		}
	}
	for _, u := range []string{"never", "other19", "other0"} {
		session := s.Dial(u)
		if text, _ := session.Push(); text != "right" || session.Hello.Pending != 1 {
			t.Errorf("%s got %q, of %d that were pending", u, text, session.Hello.Pending)
		}
	}
	var again counts
	if call("DELETE", "/v1/pushes/"+string(id), nil, &again); again != got {
		t.Errorf("again: %+v, want %+v", again, got)
	}
	// What nobody waits for is revoked too.
	now := s.Push(apptest.Text("now", 0, map[string]any{"TagsOr": []string{"t"}}))
	if text, _ := online.Push(); text != "now" {
		t.Errorf("got %q", text)
	}
	call("DELETE", "/v1/pushes/"+string(now), nil, &got)
	if f, err := online.TryRead(); err != nil || f.Type != wire.FrameRevoke || f.ID != now {
		t.Errorf("got %+v, %v, want the revocation of %s", f, err, now)
	}
}
