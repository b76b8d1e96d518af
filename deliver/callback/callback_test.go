package callback

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

func TestEventsAreTold(t *testing.T) {
	t.Parallel()
	h := newBench(t, 4)
	h.sessions(h.change(wire.SessionLogin, "u0", "")) // before there was a callback
	c, _ := h.run(h.b)
	h.begun()
	h.sessions(h.change(wire.SessionLogin, "u1", ""), h.change(wire.SessionLogout, "u1", ""), h.change(wire.SessionDisconnect, "u2", "gone"))
	first, _ := h.server.await(3)
	h.audience(42, h.places("u0", "u1", "u2"), nil)
	h.receipt(42, wire.Receipt{Sent: h.places("u0", "u1", "u3")}) // u3 is not meant
	h.receipt(42, wire.Receipt{Sent: h.places("u1"), Received: h.places("u0"), Opened: h.places("u2")})
	h.audience(43, h.places("u0"), map[string]string{wire.HeaderRevokes: "42"})
	h.receipt(43, wire.Receipt{Received: h.places("u0")}) // nobody asks who heard of a revocation
	h.receipt(42, wire.Receipt{Opened: h.places("u0", "u2")})
	later, repeats := h.server.await(7)
	want := []string{
		"sent u0 7-42", "sent u1 7-42", "sent u2 7-42", "received u0 7-42", "received u2 7-42", "opened u2 7-42", "opened u0 7-42",
	}
	if got := short(later); !slices.Equal(got, want) || repeats != 0 {
		t.Errorf("told %q, want %q; %d again", got, want, repeats)
	}
	if later[0].ID != fmt.Sprintf("7-42-sent-%d", h.ordinals["u0"]) || time.Since(time.UnixMilli(later[0].At)).Abs() > time.Minute {
		t.Errorf("%+v", later[0])
	}
	got, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(first[0].ID, "-")
	if text := strings.ReplaceAll(string(got), id, "ID"); text != `[`+
		`{"id":"ID-0","event":"login","at":1700000000123,"account":"u1","platform":"Web"},`+
		`{"id":"ID-1","event":"logout","at":1700000000123,"account":"u1","platform":"Web"},`+
		`{"id":"ID-2","event":"disconnect","at":1700000000123,"account":"u2","platform":"Web","reason":"gone"}]` {
		t.Errorf("the events are %s", text)
	}
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
}

// A server that fails, stalls and answers late gets everything, in order.
func TestAServerThatFailsIsToldAgain(t *testing.T) {
	t.Parallel()
	h := newBench(t, 1)
	h.server.answer = func(n int, w http.ResponseWriter, r *http.Request) {
		switch n % 5 {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			<-r.Context().Done() // until the worker hangs up
			w.WriteHeader(http.StatusGatewayTimeout)
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		}
	}
	c, _ := h.run(h.b, func(c *Config) { c.Timeout, c.Batch = 200*time.Millisecond, 2 })
	h.begun()
	const n = 7
	for i := range n {
		h.sessions(h.change(wire.SessionLogin, "u0", fmt.Sprint(i)))
	}
	got, _ := h.server.await(n)
	for i, e := range got {
		if e.Reason != fmt.Sprint(i) {
			t.Errorf("number %d is %s", i, e.Reason)
		}
	}
	if refused, unreachable := c.metrics.requests.WithLabelValues(requestRefused), c.metrics.requests.WithLabelValues(requestUnreachable); valueOf(t, refused) < 9 || valueOf(t, unreachable) < 3 {
		t.Errorf("%v refused, %v unreachable", valueOf(t, refused), valueOf(t, unreachable))
	}
}

// A worker that crashes at any step repeats the events of one request at most, in order, and loses none.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	h := newBench(t, 8)
	_, stop := h.run(h.b)
	h.begun()
	stop()
	const batch = 3
	var order []string // of the events, log by log
	seen, deaths, repeated := map[string]bool{}, 0, 0
	var receipts, logins []string // as they first came
	take := func(events []line) {
		for _, e := range events {
			switch {
			case seen[e.ID]:
				repeated++
			case e.Event == Login:
				logins = append(logins, e.Reason)
			default:
				receipts = append(receipts, e.ID)
			}
			seen[e.ID] = true
		}
	}
	for n, dead := 0, true; dead; n++ {
		if n > 100 {
			t.Fatal("it never comes through")
		}
		died := make(chan struct{})
		steps := 0
		var mu sync.Mutex
		view := h.b.Faulty(func(string) error {
			mu.Lock()
			defer mu.Unlock()
			if steps++; steps <= n {
				return nil
			}
			if steps == n+1 {
				close(died)
			}
			return brokertest.ErrCrash
		})
		seq := push.Seq(n + 1)
		h.audience(seq, h.places("u0", "u1", "u2", "u3", "u4", "u5", "u6"), nil)
		h.receipt(seq, wire.Receipt{Sent: h.places("u0", "u1", "u2", "u3", "u4", "u5", "u6")})
		for u := range 7 {
			order = append(order, fmt.Sprintf("7-%d-sent-%d", seq, h.ordinals[fmt.Sprint("u", u)]))
		}
		h.sessions(h.change(wire.SessionLogin, "u7", fmt.Sprint(n)))
		_, stop := h.run(view, func(c *Config) { c.Batch = batch })
		for dead = false; !dead && len(seen) < 8*(n+1); {
			select {
			case events := <-h.server.news:
				take(events)
			case <-died:
				dead = true
			case <-time.After(wait):
				t.Fatal("nothing comes any more")
			}
		}
		stop()
		for len(h.server.news) > 0 {
			take(<-h.server.news)
		}
		if dead {
			deaths++
		}
	}
	if !slices.Equal(receipts, order) {
		t.Errorf("told %q, want %q", receipts, order)
	}
	for i, l := range logins {
		if l != fmt.Sprint(i) {
			t.Errorf("login %d is %s", i, l)
		}
	}
	if repeated == 0 || repeated > batch*deaths {
		t.Errorf("%d events were told again, after %d deaths in requests of %d", repeated, deaths, batch)
	}
}

// Whatever receipts say, and however often, and wherever the worker begins again: each event is told once, and those of a
// user in the order sent, received, opened.
func TestEveryNewBitIsToldOnce(t *testing.T) {
	t.Parallel()
	h := newBench(t, 12)
	seq := push.Seq(0)
	rapid.Check(t, func(t *rapid.T) {
		seq++
		c := &Callback{b: h.b, log: slog.New(slog.DiscardHandler)}
		teller := newTeller(c, h.app())
		some := func(name string) *roaring.Bitmap {
			return roaring.BitmapOf(rapid.SliceOfN(rapid.Uint32Range(1, 12), 0, 6).Draw(t, name)...)
		}
		users := some("audience")
		h.audience(seq, users, nil)
		want := map[string]bool{}
		var got []string
		for range rapid.IntRange(1, 6).Draw(t, "receipts") {
			r := wire.Receipt{Sent: some("sent"), Received: some("received"), Opened: some("opened")}
			for _, kind := range pushKinds { // naively
				for _, set := range []struct {
					of    *roaring.Bitmap
					means []string
				}{{r.Sent, pushKinds[:1]}, {r.Received, pushKinds[:2]}, {r.Opened, pushKinds}} {
					for it := set.of.Iterator(); it.HasNext(); {
						if u := it.Next(); users.Contains(u) && slices.Contains(set.means, kind) {
							want[fmt.Sprintf("7-%d-%s-%d", seq, kind, u)] = true
						}
					}
				}
			}
			data, err := wire.EncodeReceipt(r)
			if err != nil {
				t.Fatal(err)
			}
			m := broker.Message{Subject: wire.ReceiptSubject(testApp, 0, seq), Data: data}
			m.Seq = h.publish(m)
			if rapid.Bool().Draw(t, "begins anew") {
				teller = newTeller(c, h.app())
			}
			parts, err := teller.ofReceipt(h.Context(), &m)
			if err != nil {
				t.Fatal(err)
			}
			s := &source{parts: parts}
			for more := true; more; {
				var events []event
				if rapid.Bool().Draw(t, "goes on") { // from its number
					s = &source{parts: parts, done: s.done}
				}
				if events, more, err = s.take(nil, h.app(), 4); err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					got = append(got, e.id)
				}
			}
		}
		if len(got) != len(want) {
			t.Fatalf("told %q, want %v", got, want)
		}
		for i, id := range got {
			if !want[id] || slices.Contains(got[:i], id) {
				t.Fatalf("%s is told twice, or never happened", id)
			}
			for _, after := range []struct{ kind, before string }{{Received, Sent}, {Opened, Received}} {
				if before := strings.Replace(id, after.kind, after.before, 1); strings.Contains(id, after.kind) && !slices.Contains(got[:i], before) {
					t.Fatalf("%s is told before %s", id, before)
				}
			}
		}
	})
}

// A push to many is told in requests of 100, and a worker goes on in the middle of a message.
func TestAReceiptOfManyIsDivided(t *testing.T) {
	t.Parallel()
	const n = 251 // of 502 events the last two make a request of their own
	h := newBench(t, n)
	_, stop := h.run(h.b)
	h.begun()
	all := roaring.New()
	all.AddRange(1, n+1)
	h.audience(1, all, nil)
	second := make(chan struct{})
	h.server.answer = func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			close(second)
			<-r.Context().Done()
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	h.receipt(1, wire.Receipt{Received: all})
	<-second // the first is acknowledged, and that is written
	stop()
	h.run(h.b)
	got, repeats := h.server.await(2 * n)
	if repeats != 0 {
		t.Errorf("%d were told again", repeats)
	}
	for i, e := range got {
		if want := []string{Sent, Received}[i/n]; e.Event != want || e.Account != fmt.Sprint("u", i%n) {
			t.Fatalf("number %d is %+v", i, e)
		}
	}
}

// Two workers tell an app's server one at a time, and the other goes on when one is gone.
func TestOneWorkerAtATime(t *testing.T) {
	t.Parallel()
	h := newBench(t, 1)
	_, stop := h.run(h.b)
	h.begun()
	h.run(h.b)
	for i := range 20 {
		h.sessions(h.change(wire.SessionLogin, "u0", fmt.Sprint(i)))
		if i == 10 {
			stop()
		}
	}
	got, repeats := h.server.await(20)
	for i, e := range got {
		if e.Reason != fmt.Sprint(i) {
			t.Errorf("number %d is %s", i, e.Reason)
		}
	}
	if repeats > MaxBatch {
		t.Errorf("%d were told again", repeats)
	}
}

func TestOnlyWhatIsWantedIsTold(t *testing.T) {
	t.Parallel()
	h := newBench(t, 1)
	c, _ := h.run(h.b, func(c *Config) { c.Apps[0].Events = []string{Logout, Opened} })
	h.begun()
	h.audience(1, h.places("u0"), nil)
	h.receipt(1, wire.Receipt{Opened: h.places("u0")})
	got, _ := h.server.await(1)
	h.sessions(h.change(wire.SessionLogin, "u0", ""), h.change(wire.SessionLogout, "u0", ""))
	more, _ := h.server.await(1)
	if all := short(append(got, more...)); !slices.Equal(all, []string{"opened u0 7-1", "logout u0"}) {
		t.Errorf("told %q", all)
	}
	app := h.app()
	app.Events = []string{Login}
	if err := c.SetApps([]App{app}); err != nil {
		t.Fatal(err)
	}
	for got = nil; len(got) == 0; { // until the new list holds
		h.sessions(h.change(wire.SessionLogin, "u0", ""))
		select {
		case got = <-h.server.news:
		case <-time.After(20 * time.Millisecond):
		}
	}
	if got[0].Event != Login {
		t.Errorf("told %+v", got)
	}
	if err := c.SetApps([]App{{ID: testApp}}); err == nil {
		t.Error("a callback without a URL is taken")
	}
}

// What is older than a day, of nobody, or cannot be read is left out and counted; the rest is told.
func TestWhatIsLeftOutIsCounted(t *testing.T) {
	t.Parallel()
	h := newBench(t, 1)
	c, stop := h.run(h.b)
	h.begun()
	h.publish(broker.Message{Subject: wire.SessionEventSubject(testApp), Data: []byte("none")})
	h.publish(broker.Message{Subject: wire.ReceiptSubject(testApp, 0, 1), Data: []byte("none")})
	h.sessions(wire.SessionEvent{Change: wire.SessionLogin, Ordinal: 99, At: time.Now()}, h.change(wire.SessionLogin, "u0", "first"))
	if got, _ := h.server.await(1); got[0].Reason != "first" {
		t.Errorf("told %+v", got)
	}
	if n := valueOf(t, c.metrics.events.WithLabelValues(Login, eventUnknown)); n != 1 {
		t.Errorf("%v were of nobody", n)
	}
	for valueOf(t, c.metrics.corrupt) < 2 { // the other log may be behind
		if t.Context().Err() != nil {
			t.Fatal("what cannot be read is not counted")
		}
	}
	stop()
	if n := valueOf(t, c.metrics.corrupt); n != 2 {
		t.Errorf("%v could not be read", n)
	}
	h.sessions(h.change(wire.SessionLogin, "u0", "old"))
	c, stop = h.run(h.b, func(c *Config) { c.MaxAge = time.Nanosecond })
	expired := c.metrics.events.WithLabelValues(Login, eventExpired)
	for valueOf(t, expired) < 1 {
		if t.Context().Err() != nil {
			t.Fatal("the old event is not counted")
		}
	}
	stop()
	h.run(h.b)
	h.sessions(h.change(wire.SessionLogin, "u0", "last"))
	for events := range h.server.news {
		if events[len(events)-1].Reason == "last" {
			break
		}
	}
}

// Secrets are read for each request: what is in the file when a request is made signs it.
func TestASecretThatCannotBeRead(t *testing.T) {
	t.Parallel()
	h := newBench(t, 1)
	c, _ := h.run(h.b)
	h.begun()
	good, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.sessions(h.change(wire.SessionLogin, "u0", ""))
	for valueOf(t, c.metrics.requests.WithLabelValues(requestUnsigned)) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("it is not counted")
		}
	}
	if err := os.WriteFile(h.file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	h.server.await(1)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := App{ID: 1, URL: "https://operator.example/hook", SecretFile: "secret", Events: Kinds()}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*App){
		"plain HTTP": func(a *App) { a.URL = "http://operator.example/hook" },
		"no secret":  func(a *App) { a.SecretFile = "" },
		"no events":  func(a *App) { a.Events = nil },
		"unknown":    func(a *App) { a.Events = []string{"seen"} },
	} {
		bad := good
		if change(&bad); bad.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	bad := Default()
	bad.Batch, bad.Retry = MaxBatch+1, 0
	if bad.Validate() == nil {
		t.Error("a configuration that cannot work is taken")
	}
	if !reflect.DeepEqual(Kinds(), []string{"sent", "received", "opened", "login", "logout", "disconnect"}) {
		t.Error(Kinds())
	}
}

// A push that 2,000 users have received: 4,000 events, from the receipt on the broker to a server on the same machine.
func BenchmarkTellingOfAPush(b *testing.B) {
	const n = 2000
	h := newBench(b, n)
	h.run(h.b)
	h.begun()
	all := roaring.New()
	all.AddRange(1, n+1)
	seq := push.Seq(0)
	for b.Loop() {
		seq++
		h.audience(seq, all, nil)
		h.receipt(seq, wire.Receipt{Received: all})
		h.server.await(2 * n)
	}
	b.ReportMetric(float64(2*n*b.N)/b.Elapsed().Seconds(), "events/s")
}

// The events of a receipt of a million users are cut off one request after the other, without a list of them all.
func BenchmarkTakeOfAMillion(b *testing.B) {
	users := roaring.New()
	users.AddRange(0, 1<<20)
	app, events := App{Events: Kinds()}, make([]event, 0, MaxBatch)
	s := source{parts: []part{{Sent, 1 << 20, func(i uint64) (event, error) {
		local, err := users.Select(uint32(i))
		return event{ordinal: push.Ordinal(local)}, err
	}}}}
	for b.Loop() {
		if _, more, err := s.take(events[:0], app, MaxBatch); err != nil || !more {
			s.done = 0
		}
	}
}
