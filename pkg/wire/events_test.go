package wire

import (
	"errors"
	"testing"
)

func TestSessionEventsThatAreRefused(t *testing.T) {
	t.Parallel()
	good := EncodeSessionEvents(sampleSessionEvents())
	for name, b := range map[string][]byte{
		"no event":        EncodeSessionEvents(SessionEvents{ID: "x"}),
		"too many":        EncodeSessionEvents(SessionEvents{ID: "x", Events: make([]SessionEvent, MaxSessionEvents+1)}),
		"no such change":  EncodeSessionEvents(SessionEvents{ID: "x", Events: make([]SessionEvent, 1)}),
		"cut short":       good[:len(good)-1],
		"bytes left over": append(good[:len(good):len(good)], 0),
	} {
		if m, err := DecodeSessionEvents(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s is %+v, %v", name, m, err)
		}
	}
}
