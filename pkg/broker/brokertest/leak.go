package brokertest

import (
	"testing"

	"go.uber.org/goleak"
)

// VerifyMain is goleak's TestMain for tests with a broker. It bears goroutines of the NATS server's: a stream whose server is
// shut down while it connects its source waits out a few seconds before it ends, and the store of a replica that is made while
// its server is shut down is never closed, nor the clock that it reads.
func VerifyMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}
