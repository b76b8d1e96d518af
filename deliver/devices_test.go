package deliver

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// devicesOf waits until a user has so many devices, and gives them.
func (g *gateway) devicesOf(local uint32, n int) []wire.Device {
	g.t.Helper()
	dir, ordinal := directory.New(g.b), g.b.Sharding().Ordinal(0, local)
	for {
		all, err := dir.Devices(g.t.Context(), testApp, ordinal)
		if err != nil {
			g.t.Fatal(err)
		}
		if len(all[ordinal]) == n {
			return all[ordinal]
		}
		if err := g.t.Context().Err(); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (p *phone) text(frame string) {
	p.t.Helper()
	p.send(ws.NewTextFrame([]byte(frame)))
}

func TestDevices(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v")
	g.nothing()
	q := query(t, "u")
	q.Set("device", "my phone")
	named, err := g.dial(q)
	if err != nil {
		t.Fatal(err)
	}
	named.text(`{"t":"device","channel":"apns","token":"one"}`)
	if d := g.devicesOf(at["u"], 1)[0]; d.ID != "my phone" || d.Channel != "apns" || d.Token != "one" || d.Platform != "iOS" {
		t.Errorf("registered: %+v", d)
	}
	other := g.login("u")
	other.text(`{"t":"device","channel":"fcm","token":"two"}`)
	g.devicesOf(at["u"], 2)
	// A token goes with whoever has it now.
	v := g.login("v")
	v.text(`{"t":"device","channel":"fcm","token":"two"}`)
	g.devicesOf(at["v"], 1)
	if d := g.devicesOf(at["u"], 1)[0]; d.Token != "one" {
		t.Errorf("kept: %+v", d)
	}
	v.text(`{"t":"device","channel":"fcm","token":"two","remove":true}`)
	g.devicesOf(at["v"], 0)
	v.text(`{"t":"device","channel":"fcm","token":"three"}`)
	g.devicesOf(at["v"], 1)
	v.text(`{"t":"logout"}`)
	g.devicesOf(at["v"], 0)
	if c := v.code(); c != wire.CloseNormal {
		t.Errorf("logout: %d", c)
	}
	named.text(`{"t":"logout"}`)
	g.devicesOf(at["u"], 0)
	if c := named.code(); c != wire.CloseNormal {
		t.Errorf("logout of a named device: %d", c)
	}

	for _, bad := range []string{
		`{"t":"device"}`, `{"t":"device","channel":"apns"}`, `{"t":"device","channel":"APNS","token":"x"}`, `{"t":"device","channel":1,"token":"x"}`,
		`{"t":"device","channel":"apns","token":"` + strings.Repeat("x", wire.MaxTokenLen+1) + `"}`,
	} {
		p := g.login("u")
		p.text(bad)
		if c := p.code(); c != wire.CloseBadFrame {
			t.Errorf("%.60s: %d", bad, c)
		}
	}
	for _, bad := range []string{"\x00", strings.Repeat("x", wire.MaxDeviceIDLen+1), "手机"} {
		q.Set("device", bad)
		if _, err := g.dial(q); err == nil || *err.(*refused) != (refused{403, 70402}) { //nolint:errorlint // dial wraps nothing
			t.Errorf("device %.20q: %v", bad, err)
		}
	}
}

// A user's registrations are written in their order, however fast they come.
func TestRegistrationsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u")
	g.nothing()
	u := g.login("u")
	for range 20 {
		u.text(`{"t":"device","channel":"fcm","token":"x"}`)
		u.text(`{"t":"device","channel":"fcm","token":"x","remove":true}`)
	}
	u.text(`{"t":"device","channel":"fcm","token":"last"}`)
	for {
		if d := g.devicesOf(at["u"], 1)[0]; d.Token == "last" {
			break
		}
	}
	for range 20 {
		u.text(`{"t":"device","channel":"fcm","token":"last"}`)
		u.text(`{"t":"device","channel":"fcm","token":"last","remove":true}`)
	}
	u.sync()
	g.devicesOf(at["u"], 0)
	if n := valueOf(t, g.metrics.devices.WithLabelValues(deviceForgotten)); n < 20 {
		t.Errorf("%v were forgotten", n)
	}
}

// The close of a session confirms its logout: only once the device is forgotten, and not when it could not be.
func TestALogoutIsConfirmedOnceTheDeviceIsForgotten(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	var once sync.Once
	reached, goOn := make(chan struct{}), make(chan struct{})
	g := startOn(t, brokertest.Start(t).Faulty(func(operation string) error {
		if !down.Load() || !strings.HasPrefix(operation, "before ") {
			return nil
		}
		once.Do(func() { // the first one waits, and never happens
			close(reached)
			<-goOn
		})
		return brokertest.ErrCrash
	}))
	at := g.register("u")
	g.nothing()
	u := g.login("u")
	u.text(`{"t":"device","channel":"fcm","token":"x"}`)
	g.devicesOf(at["u"], 1)

	down.Store(true)
	u.text(`{"t":"logout"}`)
	<-reached
	if n := len(g.sessions(testApp, g.b.Sharding().Ordinal(0, at["u"]))); n != 0 {
		t.Errorf("the account has %d sessions after its logout", n)
	}
	u.text(`{"t":"logout"}`)
	u.sync() // what is repeated confirms nothing
	close(goOn)
	if c := u.code(); c != wire.CloseDraining {
		t.Errorf("a logout that failed was closed with %d", c)
	}
	g.devicesOf(at["u"], 1)

	down.Store(false)
	u = g.login("u")
	u.text(`{"t":"device","channel":"fcm","token":"x"}`)
	u.text(`{"t":"logout"}`)
	if c := u.code(); c != wire.CloseNormal {
		t.Errorf("logout: %d", c)
	}
	all, err := directory.New(g.b).Devices(t.Context(), testApp, g.b.Sharding().Ordinal(0, at["u"]))
	if err != nil || len(all[g.b.Sharding().Ordinal(0, at["u"])]) != 0 {
		t.Errorf("after the confirmation: %v, %v", all, err)
	}
}

// What clients register is bounded; one more is dropped and counted.
func TestRegistrationsAreBounded(t *testing.T) {
	t.Parallel()
	x, _, _ := crowd(t, 0)
	d := x.d
	v := newDevices(d)
	for range maxRegistrations + 3 {
		v.add(registration{app: testApp, ordinal: push.Ordinal(1)}) // nobody writes
	}
	if n := valueOf(t, d.metrics.devices.WithLabelValues(deviceDropped)); n != 3 {
		t.Errorf("%v are counted as dropped, want 3", n)
	}
}
