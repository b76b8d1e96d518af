package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// What a cluster cannot do for now is told from what it never will.
func TestUnsettled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want bool
	}{
		{&jetstream.APIError{Code: 503, ErrorCode: 10008}, true},
		{&jetstream.APIError{Code: 400, ErrorCode: codeNoPeers}, true},
		{jetstream.ErrStreamNotFound, true}, // another process has just made it
		{ErrNotFound, true},
		{context.DeadlineExceeded, true},
		{&jetstream.APIError{Code: 400, ErrorCode: 10052}, false},
		{errors.New("no"), false},
	} {
		if got := unsettled(fmt.Errorf("look up a stream: %w", test.err)); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}
