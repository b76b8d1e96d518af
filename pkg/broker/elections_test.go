package broker

import (
	"testing"
	"time"
)

// asLinked is what the linked variables held before any test could set them.
var asLinked = elections{electionLeast, electionMost, leaderPulse}

// The linked variables are the server's: they hold what it gives them. A version that renames them leaves ours, of zero.
func TestTheElectionTimesAreTheServers(t *testing.T) {
	t.Parallel()
	if asLinked != natsElections {
		t.Fatalf("the NATS server has %+v, and %+v is expected: look for its election times anew", asLinked, natsElections)
	}
}

// Whatever is set, a leader's silence by rule is far from one that is taken for its loss, and two followers seldom draw the
// same time.
func TestElectionsOf(t *testing.T) {
	t.Parallel()
	for timeout := MinElectionTimeout; timeout <= MaxElectionTimeout; timeout += 100 * time.Millisecond {
		e := electionsOf(timeout)
		if e.least != timeout || e.most < 2*timeout || 2*e.pulse > timeout/2 || e.pulse > natsElections.pulse || e.pulse <= 0 {
			t.Errorf("%v: %+v", timeout, e)
		}
	}
}

// A process has one set of times, since the servers of it share the variables and read them without a lock.
func TestElectionsAreSetOnce(t *testing.T) {
	t.Parallel()
	ours := electionsOf(DefaultElectionTimeout)
	for range 2 {
		if err := ours.elect(); err != nil {
			t.Fatal(err)
		}
	}
	if err := electionsOf(MaxElectionTimeout).elect(); err == nil {
		t.Error("a second server could change the first one's times")
	}
	if is := (elections{electionLeast, electionMost, leaderPulse}); is != ours {
		t.Errorf("the server has %+v, not %+v", is, ours)
	}
}
