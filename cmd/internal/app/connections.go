package app

import (
	"net"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// connections bounds those of one listener that net/http holds; a session is its own from the handshake on and no longer
// counted here. One more than the limit is closed before anything is read from it: to wait in the kernel's queue would
// look to the caller like a service that hangs, and nobody could count it. Connections are watched, not wrapped: the
// gateway takes over bare TCP connections, and those of its own TLS.
type connections struct {
	max     int64
	held    atomic.Int64
	open    prometheus.Gauge
	refused prometheus.Counter
}

// watch is the ConnState of a server. After the first state comes exactly one of the last two, for a refused connection
// too: its reader finds it closed.
func (c *connections) watch(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.open.Inc()
		if c.held.Add(1) > c.max {
			c.refused.Inc()
			_ = conn.Close() // there is nobody to tell
		}
	case http.StateHijacked, http.StateClosed:
		c.held.Add(-1)
		c.open.Dec()
	}
}
