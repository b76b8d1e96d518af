package app_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// Frames that break the protocol, or that claim or add up to more than the service takes, end their session with 4004 as
// soon as that can be known, and nobody else's.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	const limit = 1 << 10
	s := apptest.Start(t, func(c *config.Config) { c.Sessions.FrameLimit = limit })
	other := s.Dial("other")
	sent := map[string]string{
		"a header that claims 2^62 bytes":          head(0x80|opText, 1<<62),
		"a header that claims 2^63 bytes":          head(0x80|opText, 1<<63),
		"a ping that claims 2^62 bytes":            head(0x80|opPing, 1<<62),
		"a fragment that claims 2^62 bytes":        whole(opText, "x")[:0] + head(opText, 1) + "x" + head(0, 1<<62),
		"fragments without end":                    head(opText, 100) + strings.Repeat("x", 100) + strings.Repeat(head(0, 100)+strings.Repeat("x", 100), 100),
		"fragments of one byte without end":        head(opText, 1) + "x" + strings.Repeat(head(0, 1)+"x", 2*limit),
		"a frame that is not masked":               "\x81\x0e" + `{"t":"logout"}`,
		"a ping that is not masked":                "\x89\x00",
		"a close frame that is not masked":         "\x88\x00",
		"HTTP":                                     upgrade("sdkappid=1"),
		"TLS":                                      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500),
		"zeroes":                                   strings.Repeat("\x00", 10_000),
		"ones":                                     strings.Repeat("\xff", 10_000),
		"a thousand deep JSON":                     whole(opText, strings.Repeat("[", 1000)),
		"JSON that is cut short":                   whole(opText, `{"t":"ack","seq":[1,2`),
		"an ack with a sequence beyond 64 bits":    whole(opText, `{"t":"ack","seq":[18446744073709551616]}`),
		"an ack with a sequence that is no number": whole(opText, `{"t":"ack","seq":[1e400]}`),
	}
	for name, bytes := range sent {
		c := logIn(t, sessionsAddress(s), "hostile", 0)
		c.text(bytes)
		if code := c.closeCode(); code != 4004 {
			t.Errorf("%s: closed with %d", name, code)
		}
		_ = c.Close()
	}
	awaitMeasured(t, s, fmt.Sprintf(closedFor, "bad frame"), float64(len(sent)))
	awaitMeasured(t, s, openSessions, 1)
	s.Push(apptest.Text("still here", 0, nil))
	if text, _ := other.Push(); text != "still here" {
		t.Errorf("got %q", text)
	}
}

// Empty fragments add up to nothing: a client may send them for ever, and its pings are answered between them.
func TestEmptyFragmentsWithoutEnd(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	c := logIn(t, sessionsAddress(s), "u", 0)
	c.text(head(opText, 0))
	for i := range 20 {
		c.text(strings.Repeat(head(0, 0), 1000) + whole(opPing, fmt.Sprint(i)))
		if op, payload := c.frame(); op != opPong || payload != fmt.Sprint(i) {
			t.Fatalf("got a frame %d %q, want the pong to ping %d", op, payload, i)
		}
	}
	logout := `{"t":"logout"}`
	c.text(head(0x80, uint64(len(logout))) + logout)
	if code := c.closeCode(); code != 1000 {
		t.Errorf("closed with %d", code)
	}
}

// What comes behind a close frame is nothing to the service, be it a megabyte of anything.
func TestGarbageBehindTheCloseFrame(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	s.Import("u")
	s.Push(apptest.Text("kept", 3600, nil))
	c := logIn(t, sessionsAddress(s), "u", 0)
	if text := c.push(); text != "kept" {
		t.Errorf("got %q", text)
	}
	garbage := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	ack := whole(opText, `{"t":"ack","seq":[1]}`)
	c.text(whole(opClose, "\x03\xe8") + ack)
	if code := c.closeCode(); code != 1000 {
		t.Errorf("closed with %d", code)
	}
	c.text(ack + string(garbage))
	_ = c.Close()
	awaitMeasured(t, s, openSessions, 0)
	if again := s.Dial("u"); again.Hello.Pending != 1 {
		t.Errorf("%d pending: what came behind the close frame was heard", again.Hello.Pending)
	}
}

// Whoever acknowledges what never was neither keeps the service busy nor takes anybody's room: a real acknowledgement
// counts while it goes on.
func TestAcknowledgementsOfNothing(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	s.Import("honest")
	s.Tag("honest", "pays")
	s.Push(apptest.Text("real", 3600, map[string]any{"TagsOr": []string{"pays"}}))
	honest, liar := s.Dial("honest"), logIn(t, sessionsAddress(s), "liar", 0)
	_, seq := honest.Push()

	const frames, each = 50, 1000
	for i := range frames {
		var list strings.Builder
		for j := range each {
			fmt.Fprintf(&list, ",%d", 100_000+i*each+j)
		}
		liar.text(whole(opText, `{"t":"ack","seq":[`+list.String()[1:]+`]}`))
		if i == frames/2 {
			honest.Ack(seq)
		}
	}
	liar.text(whole(opPing, "done"))
	if op, payload := liar.frame(); op != opPong || payload != "done" {
		t.Errorf("the session ended with a frame %d %q", op, payload)
	}
	honest.Sync()
	honest.Close()
	dropped := func() float64 {
		return measured(t, s, `carillon_deliver_acknowledgements_dropped_total{reason="full"}`) +
			measured(t, s, `carillon_deliver_acknowledgements_dropped_total{reason="unknown"}`)
	}
	eventually(t, func() bool { return dropped() == frames*each }, func() string {
		return fmt.Sprintf("%v acknowledgements of nothing were dropped, want %d", dropped(), frames*each)
	})
	if again := s.Dial("honest"); again.Hello.Pending != 0 {
		t.Errorf("%d pending: a real acknowledgement was lost among the others", again.Hello.Pending)
	}
}
