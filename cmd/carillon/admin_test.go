package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
)

// carillon runs a command as main does, and gives what it shows and its exit code.
func carillon(t *testing.T, args ...string) (out, message string, code int) {
	t.Helper()
	var b bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetOut(&b)
	err := c.ExecuteContext(t.Context())
	if e := (exit{}); errors.As(err, &e) {
		return b.String(), err.Error(), e.code
	}
	if err != nil {
		return b.String(), err.Error(), 1
	}
	return b.String(), "", 0
}

func TestAdminTopology(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	for _, step := range []struct {
		args  []string
		code  int
		shows string
	}{
		{nil, exitDiffers, "KV_PENDING"},
		{[]string{"--apply"}, 0, "differences are ended"},
		{nil, 0, "nothing differs"},
		{[]string{"--retention.pushes", "200h"}, exitDiffers, "max age"},
		{[]string{"--retention.pushes", "200h", "--sharding.bits", "9"}, exitRecreate, "sharding.bits"},
		{[]string{"--retention.pushes", "200h", "--sharding.bits", "9", "--apply"}, exitRecreate, "4 of 5 differences are ended"},
		{[]string{"--retention.pushes", "200h"}, 0, "nothing differs"},
		{[]string{"--nats.replicas", "3"}, 1, ""},
	} {
		out, message, code := carillon(t, append([]string{"admin", "topology", "--data", data}, step.args...)...)
		if code != step.code || !strings.Contains(out, step.shows) || (message == "") != (code == 0) {
			t.Errorf("%v: exit code %d, %s\n%s", step.args, code, message, out)
		}
	}
	out, _, code := carillon(t, "admin", "topology", "--data", data, "--sharding.bits", "9", "--json")
	var got struct {
		Differences, Left []broker.Difference
		Applied           bool
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitRecreate || len(got.Differences) != 5 || len(got.Left) != 5 || got.Applied {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
}

// The command reaches a broker whose process runs, where that listens; otherwise it says what is in its way.
func TestAdminTopologyOfARunningProcess(t *testing.T) {
	t.Parallel()
	cfg := broker.Default()
	cfg.Dir, cfg.Listen = t.TempDir(), freePorts(t)[0]
	b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, message, code := carillon(t, "admin", "topology", "--data", cfg.Dir); code != 1 || !strings.Contains(message, "nats.listen") {
		t.Errorf("exit code %d: %s", code, message)
	}
	if out, message, code := carillon(t, "admin", "topology", "--data", cfg.Dir, "--nats.listen", cfg.Listen); code != exitDiffers || !strings.Contains(out, "ACCOUNTS_1400000001") {
		t.Errorf("exit code %d: %s\n%s", code, message, out)
	}
}

// A broker alone is refused what would make it useless, and has no role's keys to miss.
func TestBrokerCommandNeedsAnAddress(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"broker"}, {"broker", "--nats.url", "nats://127.0.0.1:1"}} {
		if _, message, code := carillon(t, args...); code != 1 || !strings.Contains(message, "nats.listen") {
			t.Errorf("%v: exit code %d: %s", args, code, message)
		}
	}
}
