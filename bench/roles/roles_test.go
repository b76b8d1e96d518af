package roles

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRoles: what fails within is told, and nothing runs any more.
func TestRoles(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	before := CPU()
	err := OnBroker(t.Context(), func(b *broker.Broker) error {
		if err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		return Offline(t.Context(), b, func(*offline.Offline) error { return wrong })
	})
	if !errors.Is(err, wrong) {
		t.Errorf("it ended with %v", err)
	}
	if CPU() <= before {
		t.Error("no CPU time was used")
	}
}
