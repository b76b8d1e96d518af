package apptest

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// BenchmarkStart is how long a test waits for the whole system: until every role is ready and a first push is accepted.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s := Start(b)
		s.Push(Text("the first", 0, nil))
		b.StopTimer()
		s.Stop()
		b.StartTimer()
	}
}

// BenchmarkStartNATS is what the server of the broker takes of it.
func BenchmarkStartNATS(b *testing.B) {
	for b.Loop() {
		StartNATS(b)
	}
}
