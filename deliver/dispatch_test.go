package deliver

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// witness logs in a user with the highest place: audiences are written in the order of places, so that when the witness
// has a push, everybody else has been served.
func (g *gateway) witness(asks <-chan ask) *phone {
	g.t.Helper()
	w := g.loggingIn("witness")
	next(g.t, asks).answer(g.t)
	return next(g.t, w)
}

func TestInboxComesBeforeWhatCameLiveMeanwhile(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "witness")
	asks := g.asks()
	w := g.witness(asks)
	one, two, three := g.kept(), g.kept(), g.kept()
	now := g.accept(testApp, time.Now(), 0)
	place := g.audience(one, at["witness"])
	w.expect(one)

	u := g.loggingIn("u")
	a := next(t, asks)
	if a.Local != at["u"] || a.Audiences != place || a.Receipts != 0 {
		t.Errorf("asked for the inbox with %+v, want audience %d", a.InboxRequest, place)
	}
	for _, seq := range []push.Seq{now, two, three} {
		g.audience(seq, at["u"], at["witness"])
	}
	w.expect(now, two, three)
	a.answer(t, one, two) // the worker has folded the second meanwhile, the third not
	p := next(t, u)
	if p.hello.Pending != 1 {
		t.Errorf("hello says %d pending, want 1: the second comes live", p.hello.Pending)
	}
	p.expect(one, now, two, three)
	p.nothing()
}

// The offline worker hears of an audience before this gateway does: it comes live, in its place.
func TestInboxAheadOfTheLiveStream(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "witness")
	asks := g.asks()
	w := g.witness(asks)
	u := g.loggingIn("u")
	a := next(t, asks)
	one, now, two, three := g.kept(), g.accept(testApp, time.Now(), 0), g.kept(), g.kept()
	a.answer(t, one, two)
	p := next(t, u)
	for _, seq := range []push.Seq{one, now, two, three} {
		g.audience(seq, at["u"], at["witness"])
	}
	w.expect(one, now, two, three)
	p.expect(one, now, two, three)
	p.nothing()
}

// A process that has just started does not know what was dispatched before; the broker tells it.
func TestInboxNamesAudiencesOfBefore(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	first := startOn(t, b)
	at := first.register("u")
	seq := first.kept()
	place := first.audience(seq, at["u"])
	first.stop()

	g := startOn(t, b)
	asks := g.asks()
	u := g.loggingIn("u")
	a := next(t, asks)
	if a.Audiences != place {
		t.Errorf("asked behind audience %d, want %d", a.Audiences, place)
	}
	a.answer(t, seq)
	p := next(t, u)
	p.expect(seq)
}

func TestInboxThatIsRefusedIsAskedAgain(t *testing.T) {
	t.Parallel()
	g := start(t)
	seq, tries := g.kept(), 0
	g.audience(seq, 99)
	g.offline(func(a ask) {
		if tries++; tries < 4 {
			if err := a.Refuse("the logs are behind"); err != nil {
				t.Error(err)
			}
			return
		}
		a.answer(t, seq)
	})
	g.login("u").expect(seq)
	if tries != 4 {
		t.Errorf("asked %d times", tries)
	}
}

// Without an offline worker a login ends with 503, and leaves nothing behind.
func TestLoginWithoutAnOfflineWorker(t *testing.T) {
	t.Parallel()
	g := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/session?"+query(t, "u").Encode(), nil)
	for k, v := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	g.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("HTTP %d, %v", w.Code, w.Header())
	}
	if n := len(g.hub.all()); n != 0 || g.taken.Load() != 0 {
		t.Errorf("%d sessions are left, %d counted", n, g.taken.Load())
	}
}

// What cannot be sent is left out, and what follows it comes.
func TestPushesThatAreNotSent(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u")
	over := g.accept(testApp, time.Now().Add(-time.Hour), time.Minute)
	other := g.accept(foreign, time.Now(), time.Hour)
	corrupt := g.acceptRaw(testApp, []byte{1, 0xff})
	later := g.acceptRaw(testApp, []byte{99})
	gone := g.kept()
	if err := g.b.Delete(t.Context(), wire.PushesStream, uint64(gone)); err != nil {
		t.Fatal(err)
	}
	good := g.kept()
	g.audience(good, 99)
	g.offline(func(a ask) { a.answer(t, over, other, corrupt, later, gone, good) })
	p := g.login("u")
	if p.hello.Pending != 1 {
		t.Errorf("hello says %d pending, want 1", p.hello.Pending)
	}
	p.expect(good)
	for _, seq := range []push.Seq{over, corrupt, later, gone} {
		g.audience(seq, at["u"])
	}
	if _, _, err := g.b.Publish(t.Context(), broker.Message{Subject: wire.AudienceSubject(testApp, 0, 99), Data: []byte("no bitmap")}); err != nil {
		t.Fatal(err)
	}
	last := g.kept()
	g.audience(last, at["u"])
	p.expect(last)
	p.nothing()
	if late := valueOf(t, g.metrics.late); late != 2 {
		t.Errorf("%v audiences count as late, want those of the push that is over and the one that is gone", late)
	}
}

// All sessions of an account get what comes live, and audiences of others do not reach them.
func TestSeveralSessionsOfAnAccount(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v")
	g.nothing()
	phones := []*phone{g.login("u"), g.login("u"), g.login("v")}
	one, two, three := g.kept(), g.kept(), g.kept()
	g.audience(one, at["u"])
	g.audience(two, at["u"], at["v"])
	g.audience(three, at["v"])
	phones[0].expect(one, two)
	phones[1].expect(one, two)
	phones[2].expect(two, three)
	for _, p := range phones {
		p.nothing()
	}
}

// Who does not read is closed with 4003, and holds nobody up.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.Socket.QueueLimit = 1 << 10 })
	at := g.register("slow", "witness")
	g.nothing()
	slow, w := g.login("slow"), g.login("witness")
	body, err := json.Marshal([]string{strings.Repeat("x", 400<<10)})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; valueOf(t, g.metrics.slow) == 0; n++ {
		if n == 100 {
			t.Fatal("a client that does not read is never too slow")
		}
		data, err := wire.EncodePush(&push.Push{App: testApp, At: time.Now(), Body: body})
		if err != nil {
			t.Fatal(err)
		}
		seq := g.acceptRaw(testApp, data)
		g.audience(seq, at["slow"], at["witness"])
		w.expect(seq)
	}
	if c := slow.code(); c != wire.CloseTooSlow {
		t.Errorf("closed with %d", c)
	}
	w.nothing()
}

// audienceOf is an audience that a test hands to a dispatcher itself.
func audienceOf(t *testing.T, place uint64, seq push.Seq, at time.Time, users ...uint32) broker.Message {
	t.Helper()
	data, err := wire.EncodeBitmap(roaring.BitmapOf(users...))
	if err != nil {
		t.Fatal(err)
	}
	return broker.Message{Subject: wire.AudienceSubject(testApp, 0, seq), Data: data, Seq: place, Time: at}
}

// revoke accepts the revocation of a push.
func (g *gateway) revoke(seq push.Seq) push.Seq {
	g.t.Helper()
	data, err := wire.EncodePush(&push.Push{App: testApp, At: time.Now(), Lifetime: time.Hour, Revokes: seq})
	if err != nil {
		g.t.Fatal(err)
	}
	r, _, err := g.b.Publish(g.t.Context(), broker.Message{Subject: wire.RevocationSubject(testApp, seq), Data: data}.Once())
	if err != nil {
		g.t.Fatal(err)
	}
	return push.Seq(r)
}

// dispatcher is one beside the gateway's own.
func (g *gateway) dispatcher() *dispatcher {
	w := g.poller.NewWriter()
	g.t.Cleanup(func() { _ = w.Close() })
	return newDispatcher(g.Deliver, nil, w)
}

// Audiences that come together reach each session in order; a push that is revoked in the same batch, or has been since
// its audience lay waiting, is not sent; and who was sent what is on record.
func TestBatch(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v")
	g.nothing()
	u, v := g.login("u"), g.login("v")
	both, mistake, foru, old, older := g.kept(), g.kept(), g.kept(), g.kept(), g.kept()
	revocation := g.revoke(mistake)
	g.revoke(old)
	now, before := time.Now(), time.Now().Add(-time.Minute)
	x := g.dispatcher()
	for _, m := range []broker.Message{
		audienceOf(t, 101, both, now, at["u"], at["v"]),
		audienceOf(t, 102, mistake, now, at["u"], at["v"]),
		audienceOf(t, 103, foru, now, at["u"], 999),
		audienceOf(t, 104, old, before, at["u"], at["v"]),
		audienceOf(t, 105, older, before, at["v"]),
		audienceOf(t, 106, revocation, now, at["u"]),
		{Subject: "audience.x", Seq: 107},
		{Subject: wire.AudienceSubject(testApp, 7, 7), Seq: 108},
	} {
		x.hear(m)
	}
	if err := x.shard(t.Context(), g.hub.find(testApp, 0)); err != nil || len(x.waiting) > 0 || x.last != 108 {
		t.Fatalf("%v; %d wait at %d", err, len(x.waiting), x.last)
	}
	u.expect(both, foru)
	if f, err := u.read(); err != nil || f.Type != wire.FrameRevoke || f.Seq != mistake || f.Ack != revocation {
		t.Errorf("got %+v, %v, want the revocation", f, err)
	}
	v.expect(both, older)
	u.nothing()
	v.nothing()
	if err := g.publishReceipts(t.Context()); err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[push.Seq][]uint32{both: {at["u"], at["v"]}, foru: {at["u"]}, older: {at["v"]}} {
		if r, _ := g.receipt(seq); !r.Sent.Equals(roaring.BitmapOf(want...)) {
			t.Errorf("push %d was sent to %v, want %v", seq, r.Sent, want)
		}
	}
	if n := g.receipts(t); n != 3 {
		t.Errorf("%d receipts, want one for each push that was sent", n)
	}
}

// A login that took long sends nothing that was revoked meanwhile, of its inbox or of what has come live, even when the
// revocation has not come to the gateway.
func TestLongLoginAsksWhatWasRevoked(t *testing.T) {
	t.Parallel()
	g := start(t)
	kept, mistake, waiting, wrong := g.kept(), g.kept(), g.kept(), g.kept()
	g.revoke(mistake)
	g.revoke(wrong)
	get := func(seq push.Seq) *known {
		p, err := g.pushes.get(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		took        time.Duration
		held, inbox []push.Seq
	}{
		{0, []push.Seq{kept, mistake}, []push.Seq{waiting, wrong}},
		{2 * late, []push.Seq{kept}, []push.Seq{waiting}},
	} {
		se := &session{shard: newShard(g.Deliver, testApp, 0), login: &login{held: []*known{get(kept), get(mistake)}}}
		inbox, err := g.unrevoked(t.Context(), se, []*known{get(waiting), get(wrong)}, time.Now().Add(-c.took))
		if err != nil {
			t.Fatal(err)
		}
		seqs := func(all []*known) (seqs []push.Seq) {
			for _, p := range all {
				seqs = append(seqs, p.seq)
			}
			return seqs
		}
		if !slices.Equal(seqs(se.holds()), c.held) || !slices.Equal(seqs(inbox), c.inbox) {
			t.Errorf("after %v: held %v and inbox %v, want %v and %v", c.took, seqs(se.holds()), seqs(inbox), c.held, c.inbox)
		}
	}
}

// What comes while a push is being written joins it for whoever has not got that yet, and follows it for the others: each
// once, in order.
func TestBatchGrowsWhileItIsWritten(t *testing.T) {
	t.Parallel()
	g, net := start(t), newSockets(t)
	s := newShard(g.Deliver, testApp, 0)
	const sessions = chunk + 40
	all := roaring.New()
	var fars []io.Reader
	for i := range uint32(sessions) {
		se := &session{shard: s, local: 3 * i}
		g.taken.Add(1)
		conn, far, err := net.pair(se)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = far.Close() })
		s.join(se, "", 1)
		if _, _, err := se.goLive(conn, noHello, nil); err != nil {
			t.Fatal(err)
		}
		fars = append(fars, far)
		all.Add(3 * i)
	}
	one, two, three, mistake := g.kept(), g.kept(), g.kept(), g.kept()
	revocation := g.revoke(mistake)
	x := g.dispatcher()
	hear := func(place uint64, seq push.Seq) {
		x.hear(audienceOf(t, place, seq, time.Now(), all.ToArray()...))
		had, at := len(x.batch), 0
		if had > 0 {
			at = x.send(x.list) // a part of what is there before
		}
		x.take(s)
		if x.waiting = x.waiting[:0]; len(x.batch) != had { // the shard of these sessions is not the gateway's
			t.Fatal("an audience of another shard was taken")
		}
		l := live{place: place, at: time.Now(), seq: seq, users: all.Clone()}
		x.batch = append(x.batch, l)
		if err := x.join(t.Context(), s, had, at); err != nil {
			t.Fatal(err)
		}
	}
	for i, seq := range []push.Seq{one, two, mistake, revocation, three} {
		hear(uint64(101+i), seq)
	}
	x.sendAll()
	mistaken := 0
	for i, far := range fars {
		var got []push.Seq
		for len(got) == 0 || got[len(got)-1] != three {
			f, err := readFrame(far)
			if err != nil {
				t.Fatalf("session %d got %v: %v", i, got, err)
			}
			var sf wire.ServerFrame
			if err := json.Unmarshal(f.Payload, &sf); err != nil {
				t.Fatal(err)
			}
			if got = append(got, max(sf.Seq, sf.Ack)); sf.Seq == mistake && sf.Ack == 0 {
				mistaken++
			}
		}
		want := []push.Seq{one, two, revocation, three}
		if slices.Contains(got, mistake) {
			want = []push.Seq{one, two, mistake, revocation, three}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("session %d got %v", i, got)
		}
	}
	if had := x.batch[2].users.GetCardinality(); int(had) != mistaken || mistaken == 0 || mistaken == sessions {
		t.Errorf("the revoked push went to %d of %d, and is recorded for %d", mistaken, sessions, had)
	}
}

// Lists are merged as a table of users by sessions would be.
func TestMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sessions := map[uint32][]*session{}
		for local := range uint32(8) {
			for range rapid.IntRange(1, 3).Draw(t, "sessions") {
				sessions[local] = append(sessions[local], &session{local: local})
			}
		}
		some := func(name string) (list []target) {
			for local := range uint32(8) {
				if rapid.Bool().Draw(t, name) {
					for _, se := range sessions[local][rapid.IntRange(0, len(sessions[local])-1).Draw(t, "joined later"):] {
						list = append(list, target{se, uint64(rapid.IntRange(1, 3).Draw(t, "mask"))})
					}
				}
			}
			return list
		}
		rest, fresh := some("rest"), some("fresh")
		if len(rest) > 0 { // it may go round
			for turn := rapid.IntRange(0, 7).Draw(t, "turn"); turn > 0; turn-- {
				n := ofUser(rest, rest[0].se.local)
				rest = append(rest[n:len(rest):len(rest)], rest[:n]...)
			}
		}
		want := map[*session]uint64{}
		for _, o := range rest {
			want[o.se] |= o.mask
		}
		for _, o := range fresh {
			want[o.se] |= o.mask << 2
		}
		got := merge(nil, rest, fresh, 2)
		if len(got) != len(want) {
			t.Fatalf("%d targets, want %d", len(got), len(want))
		}
		first := uint32(0)
		if len(rest) > 0 {
			first = rest[0].se.local
		}
		for i, o := range got {
			if o.mask != want[o.se] {
				t.Fatalf("mask %b, want %b", o.mask, want[o.se])
			}
			if i > 0 && got[i-1].se.local-first > o.se.local-first {
				t.Fatalf("place %d before %d, from %d on", got[i-1].se.local, o.se.local, first)
			}
		}
	})
}
