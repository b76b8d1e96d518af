// Package fanout measures what it costs to send one message to many sessions: messages a server CPU-second, against a
// bare loop of sendto(2) over as many plain sockets, and resident memory an idle session.
//
// Every server runs in a process of its own and so does its client, one thread under epoll, the same program for all.
// But for the whole service they are this binary again, so that main and TestMain must call Child first. Both candidates
// are up at the same time and take turns every few rounds, so that whatever else the machine does hits both alike. A
// round is one message to every session; the next begins when the last client has it. Everything stays on the loopback
// and ends by itself.
package fanout

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// warmSessions are opened and closed before memory is first read. Code is then loaded, and what the runtime keeps of a
// burst of handshakes, however many sessions they lead to, is in the base and not in the sessions: stacks of up to 64
// goroutines a processor, which hold on to some megabyte around them.
const warmSessions = 1000

const (
	warmRounds  = 5                // not counted
	turn        = 10               // rounds that a candidate has before it is the other's turn
	stepTimeout = 30 * time.Second // for any single step: connecting all, a round, an answer
	spareFiles  = 100              // descriptors that a process needs beside its sessions
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Sessions connected to each server.
	Sessions int
	// Rounds counted for each candidate in each repeat.
	Rounds int
	// Repeats with fresh processes; the figures are medians over them.
	Repeats int
	// MessageSize in bytes, without the frame's header.
	MessageSize int
	// Candidate is measured against the bare loop.
	Candidate Candidate
}

// Default measures package deliver/socket in about half a minute.
func Default() Options {
	return Options{Sessions: 5000, Rounds: 100, Repeats: 3, MessageSize: 300, Candidate: Sockets()}
}

// Validate reports every option that cannot work, in full sentences.
func (o Options) Validate() error {
	var errs []error
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		errs = append(errs, fmt.Errorf("reading the limit of open files: %w", err))
	} else if o.Sessions < 1 || uint64(o.Sessions)+spareFiles > files.Max {
		errs = append(errs, fmt.Errorf("%d sessions cannot be opened: there must be at least one, and with %d spare descriptors no more than the limit of open files, which is %d", o.Sessions, spareFiles, files.Max))
	}
	if o.Rounds < 1 || o.Repeats < 1 {
		errs = append(errs, fmt.Errorf("there are %d rounds in %d repeats; both must be at least 1", o.Rounds, o.Repeats))
	}
	if o.MessageSize < minMessage || o.MessageSize > 4096 {
		errs = append(errs, fmt.Errorf("the message is %d bytes; it must be from %d to 4096, to fit a client's socket", o.MessageSize, minMessage))
	}
	if o.Candidate == nil {
		errs = append(errs, errors.New("there is no candidate"))
	}
	return errors.Join(errs...)
}

// Result of a run.
type Result struct {
	Sessions     int `json:"sessions"`
	Rounds       int `json:"rounds"`
	Repeats      int `json:"repeats"`
	MessageBytes int `json:"message_bytes"`
	// Bare is the loop of sendto over plain sockets: what the kernel alone costs.
	Bare Figures `json:"bare"`
	// Candidate is what was measured against it.
	Candidate Figures `json:"candidate"`
	// Ratio of the candidate's messages a CPU-second to the bare loop's of the same repeat.
	Ratio Spread `json:"ratio"`
}

// Figures of one candidate.
type Figures struct {
	Name string `json:"name"`
	// PerCPUSecond is messages sent a CPU-second, user and system, of the server's process.
	PerCPUSecond Spread `json:"messages_per_cpu_second"`
	// RSSPerSession is resident memory in bytes: with all sessions idle, less that with none, over their number. Both are
	// read after a forced collection that returned free memory to the system. The kernel's own socket memory is not in it.
	RSSPerSession Spread `json:"rss_bytes_per_session"`
	// RoundMillis is the wall time of a round until the last client has its message, the median within each repeat. The
	// client looks every 0.3 ms.
	RoundMillis Spread `json:"round_ms"`
}

// Spread of a figure over the repeats.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// String is a table for people.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fan-out of %d bytes to %d sessions, %d rounds; median (lowest–highest) of %d repeats\n", r.MessageBytes, r.Sessions, r.Rounds, r.Repeats)
	fmt.Fprintf(&b, "%-16s  %-34s  %-24s  %s\n", "", "messages a server CPU-second", "RSS a session, bytes", "round, ms")
	for _, f := range []Figures{r.Bare, r.Candidate} {
		fmt.Fprintf(&b, "%-16s  %-34s  %-24s  %s\n", f.Name, f.PerCPUSecond.format(0), f.RSSPerSession.format(0), f.RoundMillis.format(1))
	}
	fmt.Fprintf(&b, "%-16s  %s\n", "ratio", r.Ratio.format(3))
	return b.String()
}

func (s Spread) format(digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}

// spreadOf values, of which there is at least one; they are sorted in place.
func spreadOf[T cmp.Ordered](values []T, number func(T) float64) Spread {
	slices.Sort(values)
	return Spread{number(values[len(values)/2]), number(values[0]), number(values[len(values)-1])}
}

// sample is what one repeat says of one candidate.
type sample struct {
	cpu    time.Duration
	rss    float64
	rounds []time.Duration
}

// Run measures the candidate against the bare loop. It ends every process that it started, also when the context ends.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := o.Validate(); err != nil {
		return Result{}, fmt.Errorf("measuring fan-out: %w", err)
	}
	candidates := []Candidate{Bare(), o.Candidate}
	per := make([]struct{ rate, rss, round []float64 }, len(candidates))
	var ratios []float64
	for i := range o.Repeats {
		samples, err := repeat(ctx, o, candidates)
		if err != nil {
			return Result{}, fmt.Errorf("measuring fan-out, repeat %d of %d: %w", i+1, o.Repeats, err)
		}
		for j, s := range samples {
			p := &per[j]
			p.rate = append(p.rate, float64(o.Sessions*o.Rounds)/s.cpu.Seconds())
			p.rss = append(p.rss, s.rss)
			p.round = append(p.round, spreadOf(s.rounds, time.Duration.Seconds).Median*1000)
		}
		ratios = append(ratios, per[1].rate[i]/per[0].rate[i])
	}
	figures := make([]Figures, len(candidates))
	same := func(v float64) float64 { return v }
	for j, p := range per {
		figures[j] = Figures{candidates[j].Name(), spreadOf(p.rate, same), spreadOf(p.rss, same), spreadOf(p.round, same)}
	}
	return Result{
		Sessions: o.Sessions, Rounds: o.Rounds, Repeats: o.Repeats, MessageBytes: o.MessageSize,
		Bare: figures[0], Candidate: figures[1], Ratio: spreadOf(ratios, same),
	}, nil
}

// repeat brings all candidates up in fresh processes and lets them take turns.
func repeat(ctx context.Context, o Options, candidates []Candidate) (samples []sample, err error) {
	samples = make([]sample, len(candidates))
	var stages []*stage
	defer func() {
		for _, s := range stages {
			err = errors.Join(err, s.stop())
		}
	}()
	for i, c := range candidates {
		s, err := newStage(ctx, c, message(o.MessageSize))
		if err != nil {
			return nil, fmt.Errorf("starting %s: %w", c.Name(), err)
		}
		stages = append(stages, s)
		if samples[i].rss, err = s.fill(ctx, o.Sessions); err != nil {
			return nil, fmt.Errorf("connecting to %s: %w", c.Name(), err)
		}
	}
	for round := -warmRounds; round < o.Rounds; {
		n := min(turn, o.Rounds-round)
		if round < 0 {
			n = -round
		}
		for i, s := range stages {
			cpu, took, err := s.rounds(ctx, n)
			if err != nil {
				return nil, fmt.Errorf("sending by %s: %w", candidates[i].Name(), err)
			}
			if round >= 0 {
				samples[i].cpu += cpu
				samples[i].rounds = append(samples[i].rounds, took...)
			}
		}
		round += n
	}
	return samples, nil
}

// mark is a byte that a message holds once, and that neither a frame's header nor other messages of a server hold. The
// client counts marks.
const mark = 0x7f

const minMessage = 100

// message is a JSON object of the given size with one mark in it.
func message(size int) []byte {
	b := []byte(`{"t":"push","id":"1400000000-42","seq":42,"from":"admin","body":[{"mark":"` + string(rune(mark)) + `","text":"`)
	end := `"}]}`
	return append(append(b, bytes.Repeat([]byte("x"), size-len(b)-len(end))...), end...)
}
