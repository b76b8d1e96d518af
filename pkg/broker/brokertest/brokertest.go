// Package brokertest starts a real broker in the test's process.
package brokertest

import (
	"log/slog"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
)

// Start opens an embedded broker on a directory of the test, and closes it when the test ends.
func Start(t testing.TB, change ...func(*broker.Config)) *broker.Broker {
	t.Helper()
	cfg := broker.Default()
	cfg.Dir = t.TempDir()
	for _, c := range change {
		c(&cfg)
	}
	b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open the broker: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}
