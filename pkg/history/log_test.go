package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// log reads the logs.
func (w *world) log(cfg LogConfig) (all []Entry) {
	w.Helper()
	cfg.App = app
	w.must(w.h.Log(w.Context(), cfg, func(e *Entry) error {
		all = append(all, *e)
		return nil
	}))
	return all
}

// outline is the kinds of entries, with their pushes' numbers.
func outline(all []Entry) string {
	var out []string
	for _, e := range all {
		s := string(e.Kind)
		if _, seq, err := e.Push.Parse(); err == nil {
			s += " " + push.AppID(seq).String()
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// The logs are one story, as a whole, of a time, and of some pushes.
func TestLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.must(w.dir.SetAttrNames(t.Context(), app, map[uint8]string{0: "city"}))
	o := w.register("u")
	w.change("u", func(r *push.Record) { r.AddTag("A"); r.AddTag("\xff"); r.Attrs[0], r.Attrs[1] = "Shenzhen", "\xfe" })
	w.register("\xff")
	first := w.push(tag("A"), time.Hour)
	w.match(first)
	w.deliver(first, Received, o)
	w.revoke(first)
	second := w.push(predicateAll, 0)
	w.match(second)
	w.delete("\xff")
	again := w.again(second)
	w.deliver(again, Opened, o)

	whole := w.log(LogConfig{})
	const want = "user, push 1, audience 1, receipt 1, revocation 2, push 3, audience 3, user, replay 4, receipt 4"
	if got := outline(whole); got != want {
		t.Fatalf("%s\nwant %s", got, want)
	}
	for _, c := range []struct {
		what string
		cfg  LogConfig
		want string
	}{
		{"from the revocation on", LogConfig{Since: whole[4].At}, strings.Join(strings.Split(want, ", ")[4:], ", ")},
		{"until the first audience", LogConfig{Until: whole[2].At}, strings.Join(strings.Split(want, ", ")[:3], ", ")},
		{"between", LogConfig{Since: whole[1].At, Until: whole[3].At}, "push 1, audience 1, receipt 1"},
		{"in the future", LogConfig{Since: time.Now().Add(time.Hour)}, ""},
		{"of a push that was revoked", LogConfig{First: 1, Last: 1}, "push 1, audience 1, receipt 1, revocation 2"},
		{"of a push that was sent again", LogConfig{First: 3, Last: 3}, "push 3, audience 3, replay 4"},
		{"of a push that never was", LogConfig{First: 9, Last: 9}, ""},
		{"of some pushes", LogConfig{First: 2, Last: 3}, "revocation 2, push 3, audience 3"},
		{"of pushes up to one", LogConfig{Last: 2}, "push 1, audience 1, receipt 1, revocation 2"},
		{"of pushes from one on", LogConfig{First: 3}, "push 3, audience 3, replay 4, receipt 4"},
	} {
		if got := outline(w.log(c.cfg)); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.what, got, c.want)
		}
	}
	if !slices.IsSortedFunc(whole, func(a, b Entry) int { return a.At.Compare(b.At) }) {
		t.Error("it is not in the order of times")
	}
	for i, parts := range map[int][]string{
		0: {`user       "u", ordinal 1, shard 0, log 2: tag "A", tag "\xff", city "Shenzhen", slot 1 "\xfe"`},
		1: {"push       1400000001-1 accepted from \"admin\" for ", "kept for 1h0m0s, 2 bytes"},
		2: {"audience   1400000001-1 shard 0: 1 users, evaluated at log 4"},
		3: {"receipt    1400000001-1 shard 0: received by 1, opened by 0, sent to 0"},
		4: {`revocation 1400000001-2: 1400000001-1 was revoked by "admin"`},
		5: {", for online users only"},
		7: {`user       "\xff", ordinal 2, shard 0, log 7: deleted`},
		8: {`replay     1400000001-4 accepted from "admin" for those who missed 1400000001-3, kept for 1h0m0s`},
	} {
		for _, part := range parts {
			if line := whole[i].String(); !strings.Contains(line, part) {
				t.Errorf("line %d is %s\nwant %s", i, line, part)
			}
		}
	}
	raw, err := json.Marshal(whole[0])
	if err != nil || !strings.Contains(string(raw), `"tags":["A"],"tagsBase64":["/w=="],"attributes":{"city":"Shenzhen"},"attributesBase64":{"slot 1":"/g=="}`) {
		t.Errorf("%s, %v", raw, err)
	}
}

// What cannot be read is told, another app's is not, and whoever reads may stop.
func TestLogOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.register("u")
	for _, subject := range []string{wire.PushSubject(app, "x"), wire.PushSubject(app+1, "x"), wire.AudienceSubject(app, 0, 1), wire.ReceiptSubject(app, 0, 1), wire.AudienceSubject(app+1, 0, 1)} {
		_, _, err := w.b.Publish(t.Context(), broker.Message{Subject: subject, Data: []byte{99}})
		w.must(err)
	}
	if got := outline(w.log(LogConfig{})); got != "user, unreadable, unreadable, unreadable" {
		t.Error(got)
	}
	if got := w.log(LogConfig{First: 1, Last: 1}); outline(got) != "unreadable, unreadable, unreadable" || !strings.Contains(got[0].String(), "PUSHES at 1: ") {
		t.Error(outline(got))
	}
	if got := w.log(LogConfig{First: 2, Last: 2}); len(got) != 0 {
		t.Errorf("another app's push: %s", outline(got))
	}
	enough := errors.New("enough")
	if err := w.h.Log(t.Context(), LogConfig{App: app}, func(*Entry) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := w.h.Log(ctx, LogConfig{App: app}, func(*Entry) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, cfg := range []LogConfig{{}, {App: app, First: 2, Last: 1}, {App: app, Since: time.Now(), Until: time.Now().Add(-time.Hour)}} {
		if err := w.h.Log(t.Context(), cfg, nil); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

// However many entries there are, the merge waits for each feed with no more than some of them at hand, and has them all.
func TestLogOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1) // shards of 16
	for i := range 40 {
		w.register(fmt.Sprint("u", i))
	}
	for range 5 * feedAhead {
		w.deliver(&sent{Push: &push.Push{App: app, Seq: 1}, had: map[push.Ordinal]Outcome{}}, Received, 1)
	}
	for i := range 40 {
		w.change(fmt.Sprint("u", i), add("A"))
	}
	all := w.log(LogConfig{})
	if n := len(all); n != 5*feedAhead+40 {
		t.Errorf("%d entries", n)
	}
	for i, e := range all {
		if want := map[bool]EntryKind{true: EntryReceipt, false: EntryUser}[i < 5*feedAhead]; e.Kind != want {
			t.Fatalf("entry %d is a %s, want %s", i, e.Kind, want)
		}
	}
}
