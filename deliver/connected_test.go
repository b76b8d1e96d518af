package deliver

import (
	"testing"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// places asks all gateways, which is one, who of a shard is connected.
func (g *gateway) connectedPlaces(app push.AppID, shard push.Shard) []uint32 {
	g.t.Helper()
	answers, err := g.b.Gather(g.t.Context(), wire.RoleDeliver, wire.SessionConnectedSubject(app), wire.EncodeJSON(wire.ConnectedRequest{Shard: shard}))
	if err != nil || len(answers) != 1 {
		g.t.Fatalf("%d answers, %v", len(answers), err)
	}
	users, err := wire.DecodeBitmap(answers[0], g.b.Sharding().Width())
	if err != nil {
		g.t.Fatal(err)
	}
	return users.ToArray()
}

func TestConnected(t *testing.T) {
	t.Parallel()
	g := start(t)
	at := g.register("u", "v")
	if got := g.connectedPlaces(testApp, 0); len(got) != 0 {
		t.Errorf("connected before any login: %v", got)
	}
	g.nothing()
	g.login("u")
	g.login("u")
	if got := g.connectedPlaces(testApp, 0); len(got) != 1 || got[0] != at["u"] {
		t.Errorf("connected %v, want u at %d once", got, at["u"])
	}
	for _, other := range [][]uint32{g.connectedPlaces(testApp, 1), g.connectedPlaces(foreign, 0)} {
		if len(other) != 0 {
			t.Errorf("connected elsewhere: %v", other)
		}
	}
	g.end(push.Ordinal(at["u"]), wire.CloseKicked)
	if got := g.connectedPlaces(testApp, 0); len(got) != 0 {
		t.Errorf("connected behind the end: %v", got)
	}
}

func TestConnectedRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	g := start(t)
	if _, err := g.b.Request(t.Context(), wire.SessionConnectedSubject(testApp), []byte("x")); err == nil {
		t.Error("a request without JSON was answered")
	}
}
