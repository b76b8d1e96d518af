package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

func TestMain(m *testing.M) { brokertest.VerifyMain(m) }

// A test asks as an SDK's tests do: for signatures, good and expired, and for a restart on the same ports.
func TestRun(t *testing.T) {
	t.Parallel()
	in, requests := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- errors.Join(run(t.Context(), in, out, slog.New(slog.DiscardHandler)), out.Close())
	}()
	lines := json.NewDecoder(answers)
	var where place
	if err := lines.Decode(&where); err != nil {
		t.Fatal(err)
	}
	ask := func(line string) answer {
		t.Helper()
		if _, err := io.WriteString(requests, line+"\n"); err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := lines.Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	reachable := func() bool {
		resp, err := http.Get(where.REST + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	defer http.DefaultClient.CloseIdleConnections()

	if a := ask(`{"id":1,"do":"usersig","account":"u1","expire":60}`); a.ID != 1 || a.Error != "" || a.UserSig == "" {
		t.Errorf("a signature: got %+v", a)
	}
	if a := ask(`{"id":2,"do":"usersig","account":"u1","expire":-60}`); a.Error != "" || a.UserSig == "" {
		t.Errorf("an expired signature: got %+v", a)
	}
	if !reachable() {
		t.Error("the service is not ready")
	}
	if a := ask(`{"id":3,"do":"stop"}`); a.Error != "" || reachable() {
		t.Errorf("stop: got %+v", a)
	}
	if a := ask(`{"id":4,"do":"start"}`); a.Error != "" || !reachable() {
		t.Errorf("start on the same ports: got %+v", a)
	}
	for _, line := range []string{`{"id":5,"do":"start"}`, `{"id":5,"do":"dance"}`} {
		if a := ask(line); a.ID != 5 || a.Error == "" {
			t.Errorf("%s: got %+v, want an error", line, a)
		}
	}
	if a := ask(`nonsense`); a.Error == "" {
		t.Error("nonsense is taken")
	}
	if err := requests.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
