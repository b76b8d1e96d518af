package brokertest

import (
	"testing"

	"go.uber.org/goleak"
)

// VerifyMain is goleak's TestMain for tests with a broker. It bears one goroutine of the NATS server's: a stream whose
// server is shut down while it connects its source waits out a few seconds before it ends.
func VerifyMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}
