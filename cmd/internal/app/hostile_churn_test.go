package app_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// Who comes and goes all the time leaves nothing behind, however he goes: no session, descriptor or goroutine, and no
// place taken. It is not parallel: those are counted over the process.
func TestComingAndGoingLeavesNothing(t *testing.T) {
	// The broker's own goroutines and files come and go by a few.
	const logins, at, few = 2000, 16, 20
	s := apptest.Start(t, func(c *config.Config) { c.Sessions.Max = logins / 10 })
	var queries []string // an account each, as too many sessions of one would end the oldest
	for i := range at {
		queries = append(queries, credentials(t, fmt.Sprint("u", i)).Encode())
	}
	leave := []func(c *rawClient) error{
		func(c *rawClient) error { return c.Close() },
		func(c *rawClient) error { // in order
			_, err := io.WriteString(c, whole(opClose, "\x03\xe8"))
			op, _, rerr := c.tryFrame()
			if op != opClose {
				err = errors.Join(err, fmt.Errorf("a close frame is answered with a frame %d", op))
			}
			return errors.Join(err, rerr, c.Close())
		},
		func(c *rawClient) error { // with a reset
			return errors.Join(c.Conn.(*net.TCPConn).SetLinger(0), c.Close())
		},
		func(c *rawClient) error { // within a frame
			_, err := io.WriteString(c, head(opText, 100)+"never more")
			return errors.Join(err, c.Close())
		},
	}
	round := func(n int) {
		var wg sync.WaitGroup
		for _, query := range queries {
			wg.Go(func() {
				for i := range n / at {
					c, err := tryConnect(t, sessionsAddress(s), 0)
					if err == nil {
						err = c.tryLogIn(query)
					}
					if err == nil {
						err = leave[i%len(leave)](c)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		awaitMeasured(t, s, openSessions, 0)
		awaitMeasured(t, s, openHandshakes, 0)
	}
	round(2 * at * len(leave)) // what is made once
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	round(logins)
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+few && descriptors(t) <= files+few }, func() string {
		return fmt.Sprintf("%d goroutines and %d descriptors, before there were %d and %d", runtime.NumGoroutine(), descriptors(t), goroutines, files)
	})
	if online(t, s, "u0") {
		t.Error("the account is online")
	}
	if n := measured(t, s, `carillon_deliver_logins_total{result="ok"}`); n != logins+2*at*float64(len(leave)) {
		t.Errorf("%v logins were counted", n)
	}
}

// descriptors that the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
