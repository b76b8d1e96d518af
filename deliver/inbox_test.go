package deliver

import (
	"testing"

	"github.com/carillon-push/carillon/pkg/wire"
)

// A worker that hangs is still given requests. The others are asked beside it, so that no login waits for it.
func TestALoginPassesAWorkerThatHangs(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.register("u")
	hung := g.asks() // takes requests, and answers none
	seq := g.kept()
	g.audience(seq, 99)
	g.worker(wire.InboxOfAllSubject(testApp, 0), "", func(a ask) { a.answer(t, seq) })
	p := g.login("u")
	p.expect(seq)
	if n := len(hung); n != 1 {
		t.Errorf("the worker that hangs was asked %d times", n)
	}
}

// A worker that waits for the logs may take its time: its answer is taken when the others, asked meanwhile, have none, and it
// is not asked again before it has answered.
func TestALoginTakesASlowAnswer(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.register("u")
	slow := g.asks()
	all := make(chan ask, 64)
	g.worker(wire.InboxOfAllSubject(testApp, 0), "", func(a ask) { all <- a })
	seq := g.kept()
	g.audience(seq, 99)
	phone := g.loggingIn("u")
	for range 3 {
		if err := next(t, all).Refuse("the logs are behind"); err != nil {
			t.Fatal(err)
		}
	}
	next(t, slow).answer(t, seq)
	next(t, phone).expect(seq)
	if n := len(slow); n != 0 {
		t.Errorf("it was asked %d times more", n)
	}
}
