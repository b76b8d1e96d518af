// Package fanout measures what it costs to send messages to many sessions: messages a server CPU-second, against a bare
// loop of sendto(2) over as many plain sockets and against the library centrifuge, and resident memory an idle session.
//
// The servers and their clients are package crowd's, so that main and TestMain must call crowd.Child first. All candidates
// are up at the same time and take turns every few rounds, so that whatever else the machine does hits all alike. A round
// is one message to every session, or a burst of several that wait together; the next begins when the last client has it.
package fanout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/bench/crowd"
)

const (
	warmRounds  = 5   // of one push each, before the first turn; not counted, and neither is one round of each burst
	turn        = 10  // messages a session that a candidate has before it is the next one's turn
	spareFiles  = 100 // descriptors that a process needs beside its sessions
	messageSize = 300 // bytes of a message, without the frame's header
)

// Contest is what candidates are compared by.
type Contest struct {
	// Sessions connected to each server.
	Sessions int
	// Bursts are measured one after the other.
	Bursts []Burst
	// Repeats with fresh processes; the figures are medians over them.
	Repeats int
	// Candidates are measured against the bare loop, which is none of them.
	Candidates []crowd.Candidate
}

// Burst is rounds of so many pushes that wait together.
type Burst struct {
	Pushes int
	// Rounds counted for each candidate in each repeat.
	Rounds int
}

// Validate reports everything that cannot work, in full sentences.
func (c Contest) Validate() error {
	var errs []error
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		errs = append(errs, fmt.Errorf("reading the limit of open files: %w", err))
	} else if c.Sessions < 1 || uint64(c.Sessions)+spareFiles > files.Max {
		errs = append(errs, fmt.Errorf("%d sessions cannot be opened: there must be at least one, and with %d spare descriptors no more than the limit of open files, which is %d", c.Sessions, spareFiles, files.Max))
	}
	if c.Repeats < 1 {
		errs = append(errs, fmt.Errorf("there are %d repeats; there must be at least 1", c.Repeats))
	}
	if len(c.Bursts) == 0 {
		errs = append(errs, errors.New("there are no bursts"))
	}
	for _, b := range c.Bursts {
		if b.Pushes < 1 || b.Rounds < 1 {
			errs = append(errs, fmt.Errorf("there are %d rounds of %d pushes; both must be at least 1", b.Rounds, b.Pushes))
		}
	}
	if len(c.Candidates) == 0 {
		errs = append(errs, errors.New("there is no candidate"))
	}
	return errors.Join(errs...)
}

// Result of a contest. The bare loop is candidate 0 of every list, and the contest's follow in their order.
type Result struct {
	Bursts []Rates
	// RSSPerSession is resident memory in bytes, by candidate and repeat: with all sessions idle, less that with none, over
	// their number. Both are read after a forced collection that returned free memory to the system. The kernel's own socket
	// memory is not in it.
	RSSPerSession [][]float64
}

// Rates of one burst, by candidate and repeat.
type Rates struct {
	Burst
	// PerCPUSecond is messages sent a CPU-second, user and system, of the server's process.
	PerCPUSecond [][]float64
	// RoundMillis is the wall time of a round until the last client has its messages, the median within each repeat. The
	// clients look every 0.3 ms.
	RoundMillis [][]float64
}

// Ratios of one candidate's messages a CPU-second to another's of the same repeat, ascending: the machine's speed changes
// between repeats, and hits both alike.
func (r Rates) Ratios(of, to int) []float64 {
	var all []float64
	for i, rate := range r.PerCPUSecond[of] {
		all = append(all, rate/r.PerCPUSecond[to][i])
	}
	return slices.Sorted(slices.Values(all))
}

// Measure holds the contest. It ends every process that it started, also when the context ends.
func Measure(ctx context.Context, c Contest) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, fmt.Errorf("measuring fan-out: %w", err)
	}
	candidates := append([]crowd.Candidate{crowd.Bare()}, c.Candidates...)
	r := Result{RSSPerSession: make([][]float64, len(candidates))}
	for _, b := range c.Bursts {
		r.Bursts = append(r.Bursts, Rates{b, make([][]float64, len(candidates)), make([][]float64, len(candidates))})
	}
	for i := range c.Repeats {
		if err := repeat(ctx, c.Sessions, candidates, &r); err != nil {
			return Result{}, fmt.Errorf("measuring fan-out to %d sessions, repeat %d of %d: %w", c.Sessions, i+1, c.Repeats, err)
		}
	}
	return r, nil
}

// repeat brings all candidates up in fresh processes and lets them take turns.
func repeat(ctx context.Context, sessions int, candidates []crowd.Candidate, r *Result) (err error) {
	var stages []*crowd.Stage
	defer func() {
		for _, s := range stages {
			err = errors.Join(err, s.Stop())
		}
	}()
	for i, c := range candidates {
		s, err := crowd.NewStage(ctx, c, crowd.Message(messageSize))
		if err != nil {
			return err
		}
		stages = append(stages, s)
		rss, err := s.Fill(ctx, sessions)
		if err != nil {
			return fmt.Errorf("connecting to %s: %w", c.Name(), err)
		}
		r.RSSPerSession[i] = append(r.RSSPerSession[i], rss)
	}
	for i, s := range stages {
		if _, _, err := s.Rounds(ctx, warmRounds, 1); err != nil {
			return fmt.Errorf("warming %s up: %w", candidates[i].Name(), err)
		}
	}
	for b := range r.Bursts {
		if err := turns(ctx, sessions, stages, candidates, &r.Bursts[b]); err != nil {
			return err
		}
	}
	return nil
}

// turns measures one burst.
func turns(ctx context.Context, sessions int, stages []*crowd.Stage, candidates []crowd.Candidate, r *Rates) error {
	cpu, took := make([]time.Duration, len(stages)), make([][]time.Duration, len(stages))
	for round := -1; round < r.Rounds; { // the first is not counted
		n := min(max(1, turn/r.Pushes), r.Rounds-round)
		if round < 0 {
			n = 1
		}
		for i, s := range stages {
			used, each, err := s.Rounds(ctx, n, r.Pushes)
			if err != nil {
				return fmt.Errorf("sending %d pushes by %s: %w", r.Pushes, candidates[i].Name(), err)
			}
			if round >= 0 {
				cpu[i] += used
				took[i] = append(took[i], each...)
			}
		}
		round += n
	}
	for i := range stages {
		r.PerCPUSecond[i] = append(r.PerCPUSecond[i], float64(sessions*r.Rounds*r.Pushes)/cpu[i].Seconds())
		r.RoundMillis[i] = append(r.RoundMillis[i], median(took[i]).Seconds()*1000)
	}
	return nil
}

// median of at least one value; they are sorted in place.
func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}
