package wire_test

import (
	"testing"

	"github.com/carillon-push/carillon/pkg/wire"
)

func TestFamily(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		wire.UsersStream(7, 3): "USERS", wire.AccountsStream(7): "ACCOUNTS", wire.DevicesStream(7): "DEVICES",
		wire.PushesStream: "PUSHES", wire.PendingStream: "KV_PENDING", "": "", "_": "_",
	} {
		if got := wire.Family(name); got != want {
			t.Errorf("%q is of %q, want %q", name, got, want)
		}
	}
}
