package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
)

// A SIGHUP takes over the apps of the file; a file that is wrong changes nothing.
func TestSIGHUPReloadsApps(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "carillon.yaml")
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file+".new", []byte(text), 0o600), os.Rename(file+".new", file)); err != nil {
			t.Fatal(err)
		}
	}
	const app = "- {sdkappid: %d, key: a key of %d, admins: [boss], calls_per_second: 1000000}\n"
	one, two := fmt.Sprintf(app, 1, 1), fmt.Sprintf(app, 2, 2)
	write("apps:\n" + one)
	p := serve(t, buildBinary(t), t.TempDir(), freePorts(t), "--config", file)
	call := func(id push.AppID) error {
		rest := client.REST{URL: p.rest, App: id, Admin: "boss", Key: fmt.Sprintf("a key of %d", id)}
		return rest.Call(t.Context(), "all_member_push/im_get_attr_name", map[string]any{}, nil)
	}
	known := func(id push.AppID) bool {
		err := call(id)
		var refused *client.Error
		if errors.As(err, &refused) && refused.Code == 60006 {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
	hup := func(until func() bool) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); !until(); {
			if time.Now().After(deadline) {
				t.Fatal("the signal changed nothing")
			}
		}
	}
	if !known(1) || known(2) {
		t.Fatal("the file's apps are not those that are served")
	}
	write("apps:\n" + one + two)
	hup(func() bool { return known(2) })
	for _, wrong := range []string{"nonsense: 1\napps:\n" + two, "apps: []\n", ""} {
		write(wrong)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	write("apps:\n" + two)
	hup(func() bool { return !known(1) })
	if !known(2) {
		t.Error("an app was lost")
	}
}
