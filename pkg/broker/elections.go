package broker

import (
	"fmt"
	"sync"
	"time"
	_ "unsafe" // for go:linkname
)

// The times by which the servers of this process find out that a leader is gone. NATS has no option for them: they are
// variables of its package that only its own tests set, with the values of natsElections. They are read when a server makes
// a group and whenever a timer is set, without a lock, and so they are set before the first server starts, and never again.

//go:linkname electionLeast github.com/nats-io/nats-server/v2/server.minElectionTimeout
var electionLeast time.Duration

//go:linkname electionMost github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var electionMost time.Duration

//go:linkname leaderPulse github.com/nats-io/nats-server/v2/server.hbInterval
var leaderPulse time.Duration

// elections are those times.
type elections struct {
	// least and most bound the silence of a leader after which a follower stands for election; each draws its own, again
	// and again, so that two seldom stand at once.
	least, most time.Duration
	// pulse is how often a leader that has nothing to say says so. NATS leaves out one pulse after each message, so that
	// silence of twice as long means nothing.
	pulse time.Duration
}

// natsElections are NATS's own.
var natsElections = elections{4 * time.Second, 9 * time.Second, time.Second}

// Config.ElectionTimeout by default, and its bounds. A leader is silent for less than half of it, so that even the least bears a stall of
// 300 ms; more than the most is longer than a leader believes in itself without the others.
const (
	DefaultElectionTimeout = 1500 * time.Millisecond
	MinElectionTimeout     = 500 * time.Millisecond
	MaxElectionTimeout     = 10 * time.Second
)

// pulses is how many pulses an election timeout has: two of them may be silent by rule, the others are for stalls.
const pulses = 5

func electionsOf(timeout time.Duration) elections {
	return elections{least: timeout, most: 2 * timeout, pulse: min(timeout/pulses, natsElections.pulse)}
}

// electing is what this process's servers elect by: zero until the first of them starts.
var electing struct {
	sync.Mutex
	elections
}

// elect sets the times, once in a process. The error says that the NATS server is one whose variables have other names or
// another meaning, or that a server with other times has started before.
func (e elections) elect() error {
	electing.Lock()
	defer electing.Unlock()
	if electing.elections == e {
		return nil
	}
	if electing.elections != (elections{}) {
		return fmt.Errorf("the servers of one process have one election timeout, which is %v already and cannot be %v", electing.least, e.least)
	}
	if found := (elections{electionLeast, electionMost, leaderPulse}); found != natsElections {
		return fmt.Errorf("the NATS server's election times were expected to be %+v and are %+v: this version of it is not known", natsElections, found)
	}
	electionLeast, electionMost, leaderPulse = e.least, e.most, e.pulse
	electing.elections = e
	return nil
}
