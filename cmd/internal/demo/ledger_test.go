package demo

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// three people: the first two get the push.
func ledgerOfThree() (*ledger, wire.ServerFrame) {
	c := &crowd{people: []person{{online: true}, {}, {level: 1}}}
	u := &use{name: "platinum", body: []byte(`["x"]`), wants: func(p *person) bool { return p.level == platinum }, task: "1-1", matched: 2}
	return newLedger(c, []*use{u}), wire.ServerFrame{Type: wire.FramePush, ID: "1-1", From: admin, Body: []byte(`["x"]`)}
}

// Each kind of difference is found and named.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		play func(*ledger, wire.ServerFrame)
		want string // in the first difference; empty for none
		is   func(*verdict) bool
	}{
		"as it should be": {func(*ledger, wire.ServerFrame) {}, "",
			func(v *verdict) bool { return v.expected == 2 && v.arrived == 2 && v.uses[0] == result{2, 1, 1} }},
		"missing": {func(l *ledger, _ wire.ServerFrame) { l.counts[1] = 0 }, "user0000001: the push to platinum is missing",
			func(v *verdict) bool { return v.missing == 1 }},
		"stranger": {func(l *ledger, f wire.ServerFrame) { l.arrived(2, f) }, "user0000002: got the push",
			func(v *verdict) bool { return v.strangers == 1 }},
		"twice": {func(l *ledger, f wire.ServerFrame) { l.arrived(0, f) }, "user0000000: the push to platinum came 2 times",
			func(v *verdict) bool { return v.twice == 1 }},
		"body": {func(l *ledger, f wire.ServerFrame) { f.Body = []byte(`["x" ]`); l.arrived(2, f) }, "a body that nobody sent",
			func(v *verdict) bool { return v.other == 1 && v.strangers == 0 }},
		"sender": {func(l *ledger, f wire.ServerFrame) { l.counts[0] = 0; f.From = "somebody"; l.arrived(0, f) }, `came from "somebody"`,
			func(v *verdict) bool { return v.other == 1 }},
		"another id": {func(l *ledger, f wire.ServerFrame) { l.counts[0] = 0; f.ID = "1-2"; l.arrived(0, f) }, "came as 1-2, and as 1-1 to another",
			func(v *verdict) bool { return v.other == 1 }},
		"not the answer's id": {func(l *ledger, _ wire.ServerFrame) { l.uses[0].task = "1-9" }, "accepted as 1-9 and came as 1-1",
			func(v *verdict) bool { return v.other == 1 }},
		"the service's count": {func(l *ledger, _ wire.ServerFrame) { l.uses[0].matched = 3 }, "matched 3 by the service's count, and is for 2",
			func(v *verdict) bool { return v.other == 1 }},
		"session": {func(l *ledger, _ wire.ServerFrame) { l.fault(1, "the session ended") }, "user0000001: the session ended",
			func(v *verdict) bool { return v.other == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, f := ledgerOfThree()
			l.arrived(0, f)
			l.arrived(1, f)
			c.play(l, f)
			v := l.check()
			first := strings.Join(v.first, "\n")
			if !c.is(v) || !strings.Contains(first, c.want) || (v.err() == nil) != (c.want == "") || (first == "") != (c.want == "") {
				t.Errorf("got %+v, %v", v, v.err())
			}
		})
	}
}

// However much differs, few are printed, and all are counted.
func TestCheckPrintsTheFirst(t *testing.T) {
	t.Parallel()
	c := &crowd{people: make([]person, 300)}
	u := &use{wants: func(*person) bool { return true }, matched: 300}
	v := newLedger(c, []*use{u}).check()
	if len(v.first) != maxFaults || v.missing != 300 || v.err() == nil {
		t.Errorf("%d printed, %d missing, %v", len(v.first), v.missing, v.err())
	}
}

// A phone takes pushes in their order only.
func TestPhoneSeesDisorder(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		for _, seq := range []push.Seq{3, 5, 5, 4} {
			if err := conn.Write(r.Context(), websocket.MessageText, wire.EncodeJSON(wire.ServerFrame{Type: wire.FramePush, Seq: seq})); err != nil {
				t.Error(err)
			}
		}
		_, _, _ = conn.Read(r.Context()) // until the phone goes
	}))
	defer s.Close()
	conn, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	p := &phone{conn: conn, ended: make(chan struct{})}
	n := 0
	err = p.read(t.Context(), func(wire.ServerFrame) error { n++; return nil })
	if err == nil || err.Error() != "push 4 came after push 5" || n != 3 {
		t.Errorf("got %v after %d pushes", err, n)
	}
	<-p.ended
}
