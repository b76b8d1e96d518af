package soak

import (
	"slices"
	"sort"
	"time"
)

// Moment is a time since the start of the run.
type Moment = time.Duration

// never is later than every moment.
const never Moment = 1<<63 - 1

// Change is a new value of one fact of one or more users. It was made at some moment between its beginning and its end;
// calls that failed before it was answered are within that.
type Change struct {
	value       string
	begun, done Moment // never: not yet
}

// user is one account with everything that happened to it. One that was deleted and registered again is another user.
type user struct {
	account, life int    // life counts from 0
	gone          Moment // since when it is being deleted; never: it is not
	// facts are the changes of each, in their order. Two changes of one fact never overlap: the operator waits.
	facts    map[Fact][]*Change
	sessions []*Session
	acks     []ack // the first of each copy, from whichever session
}

// holds says whether a fact's value passes a test for whoever looked at the user at some moment of an interval.
func (u *user) holds(f Fact, from, to Moment, test func(value string) bool) Truth {
	changes := u.facts[f]
	i := sort.Search(len(changes), func(i int) bool { return changes[i].done > from })
	value := ""
	if i > 0 {
		value = changes[i-1].value
	}
	first := test(value)
	for ; i < len(changes) && changes[i].begun < to; i++ {
		if test(changes[i].value) != first {
			return Maybe
		}
	}
	if first {
		return Yes
	}
	return No
}

// matches says whether the user, looked at in the interval, exists and the condition holds.
func (u *user) matches(c Condition, from, to Moment) Truth {
	exists := u.holds(Exists, from, to, isSet)
	if exists == No {
		return No
	}
	return min(exists, c.truth(func(f Fact, test func(string) bool) Truth { return u.holds(f, from, to, test) }))
}

// ack is the first acknowledgement of a copy; nil when there is none.
func (u *user) ack(c uint32) *ack {
	i := slices.IndexFunc(u.acks, func(a ack) bool { return a.copy == c })
	if i < 0 {
		return nil
	}
	return &u.acks[i]
}
