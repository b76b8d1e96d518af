package client_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// What the app says is told to the service from any goroutine, gathered with the acknowledgements, and kept while there is
// no session.
func TestOpened(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		l.Opened(8)
		p := l.open()
		p.want(`{"t":"opened","seq":[8]}`)
		p.push(9)
		synctest.Wait()
		l.Opened(9, 7)
		p.want(`{"t":"ack","seq":[9]}`, `{"t":"opened","seq":[9,7]}`)
		pass(time.Minute)
		if err := p.conn.Ping(t.Context()); err != nil { // so that all that has arrived
			t.Fatal(err)
		}
		p.drop()
		l.Opened(6)
		p = l.open()
		p.want(`{"t":"opened","seq":[6]}`)
		p.silent()
	})
}

// Without a session a bounded number waits, the newest; frames are no longer than a gateway takes.
func TestWhatWaitsIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		l.refuse(refusal(503, 91000, "not now"))
		const most, more = 4096, 100
		base := push.Seq(1) << 63 // the longest there are
		for i := range push.Seq(most + more) {
			l.Opened(base + i)
		}
		if c := l.Counts(); c.DroppedOpened != more || c.DroppedAcks != 0 {
			t.Errorf("counts: %+v", c)
		}
		l.refuse(nil)
		p := l.open()
		next := base + more
		for next < base+most+more {
			f := <-p.frames
			if n := len(frameText(f)); f.Type != wire.FrameOpened || n > 8192 {
				t.Fatalf("a %s frame of %d bytes", f.Type, n)
			}
			for _, seq := range f.Seqs {
				if seq != next {
					t.Fatalf("got %d, want %d", seq, next)
				}
				next++
			}
		}
		p.silent()
	})
}

// Very many acknowledgements at once do not wait for the second to pass.
func TestManyAcknowledgementsGoAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := l.open()
		begin := time.Now()
		for seq := range push.Seq(256) {
			p.push(seq + 1)
		}
		if f := <-p.frames; f.Type != wire.FrameAck || len(f.Seqs) != 256 || time.Since(begin) > 0 {
			t.Errorf("%d after %v", len(f.Seqs), time.Since(begin))
		}
	})
}

// A registration is told at each session, the last one only; a removal until it has surely arrived.
func TestDevices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		if err := l.RegisterDevice("apns", "t0"); err != nil {
			t.Fatal(err)
		}
		if err := l.RegisterDevice("apns", "t1"); err != nil {
			t.Fatal(err)
		}
		const first, second = `{"t":"device","channel":"apns","token":"t1"}`, `{"t":"device","channel":"fcm","token":"t2"}`
		const gone = `{"t":"device","channel":"apns","token":"t1","remove":true}`
		p := l.open()
		p.want(first)
		p.drop()
		p = l.open()
		p.want(first)
		if err := l.RemoveDevice("apns", "t1"); err != nil {
			t.Fatal(err)
		}
		p.want(gone)
		if err := l.RegisterDevice("fcm", "t2"); err != nil {
			t.Fatal(err)
		}
		p.want(second)
		p.drop() // the removal may have been lost
		p = l.open()
		p.want(gone, second)
		pass(30 * time.Second)
		if err := p.conn.Ping(t.Context()); err != nil { // so that it was not
			t.Fatal(err)
		}
		p.drop()
		p = l.open()
		p.want(second)
		p.silent()
		p.drop()
		// Registered anew before it was removed: nothing is to be removed.
		for _, err := range []error{l.RemoveDevice("apns", "t3"), l.RegisterDevice("apns", "t3")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		p = l.open()
		p.want(`{"t":"device","channel":"apns","token":"t3"}`)
		p.silent()
	})
}

func TestRemovalsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		for i := range 20 {
			if err := l.RemoveDevice("fcm", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		p := l.open()
		for i := 12; i < 20; i++ {
			p.want(fmt.Sprintf(`{"t":"device","channel":"fcm","token":"%d","remove":true}`, i))
		}
		p.silent()
	})
}

func TestDevicesThatCannotBe(t *testing.T) {
	t.Parallel()
	var s client.Session
	for _, c := range [][2]string{{"", "x"}, {"apns", ""}, {"APNS", "x"}, {"apns", strings.Repeat("x", 5000)}, {"webpush", strings.Repeat(`"`, 4000) + "end"}} {
		for _, err := range []error{s.RegisterDevice(c[0], c[1]), s.RemoveDevice(c[0], c[1])} {
			if err == nil || len(err.Error()) > 200 {
				t.Errorf("%.10q: %v", c, err)
			}
		}
	}
}

// A logout tells everything else first, shows nothing more, and ends Listen without an error when the service has ended the
// session.
func TestLogout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		p := l.open()
		p.push(1)
		if got := fmt.Sprint(l.got()); got != "[1]" {
			t.Fatalf("shown %s", got)
		}
		l.Opened(1)
		l.Logout()
		p.push(2)
		p.want(`{"t":"ack","seq":[1]}`, `{"t":"opened","seq":[1]}`, `{"t":"logout"}`)
		p.close(wire.CloseNormal)
		if err := l.end(); err != nil {
			t.Errorf("Listen: %v", err)
		}
		if s := state[client.Ended](l); s.Err != nil || s.String() != "logged out" {
			t.Errorf("the last state is %v", s)
		}
		if got := l.got(); len(got) > 0 {
			t.Errorf("%v was shown after the logout", got)
		}
		// The same Session may log in again, and has nothing to tell.
		l.start()
		p = l.open()
		p.silent()
	})
}

// A logout that may not have got through is repeated on the next session, until the service confirms it.
func TestLogoutIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		if err := l.RegisterDevice("apns", "t1"); err != nil {
			t.Fatal(err)
		}
		const device = `{"t":"device","channel":"apns","token":"t1"}`
		l.refuse(refusal(503, 91000, "not now"))
		l.Logout() // without a session
		state[client.Waiting](l)
		l.refuse(nil)
		p := l.open()
		p.push(1)
		p.want(device, `{"t":"logout"}`)
		p.drop()
		p = l.open()
		p.push(1)
		p.want(device, `{"t":"logout"}`)
		begin := time.Now()
		<-p.gone // as the service does not answer
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("gone after %v", d)
		}
		p = l.open()
		p.want(device, `{"t":"logout"}`)
		p.close(wire.CloseNormal)
		if err := l.end(); err != nil {
			t.Errorf("Listen: %v", err)
		}
		if got := l.got(); len(got) > 0 {
			t.Errorf("%v was shown after the logout", got)
		}
	})
}

// A logout that the app gave up is not the next Listen's.
func TestALogoutThatWasGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := listen(t, nil)
		l.refuse(refusal(503, 91000, "not now"))
		l.Logout()
		state[client.Waiting](l)
		if err := l.stop(); err == nil {
			t.Error("the logout did not get through, and is said to have")
		}
		l.refuse(nil)
		l.start()
		p := l.open()
		p.push(1)
		p.want(`{"t":"ack","seq":[1]}`)
	})
}
