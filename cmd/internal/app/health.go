package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/carillon-push/carillon/deliver"
	"github.com/carillon-push/carillon/pkg/broker"
)

// Names of checks, a closed set.
const (
	checkStart    = "start"    // every role has read what it works with
	checkBroker   = "broker"   // the broker answers, and has leaders
	checkWrites   = "writes"   // it takes writes
	checkDispatch = "dispatch" // the gateway follows the live pushes
	checkLogins   = "logins"   // somebody can log in here
	checkFolds    = "folds"    // what this process holds of the shards moves on
	checkHolders  = "holders"  // somebody does the work of every shard
)

// check is one thing that must be so.
type check struct {
	name string
	// balanced says that this process must get no work while it is not so: elsewhere it may be. What is the same for every
	// process, or concerns one shard of many, is told on the page and by the metrics, and by /readyz only of processes to
	// which nobody is sent.
	balanced bool
	// patience is for how long it may fail before it counts.
	patience time.Duration
	ask      func(context.Context) error
}

// condition is how a check stands.
type condition struct {
	check
	err   error     // nil while it is so
	since time.Time // of this err, or of its being so
}

// fails says whether it has failed for long enough to count.
func (c condition) fails(now time.Time) bool { return c.err != nil && now.Sub(c.since) >= c.patience }

// health looks at the checks of a process now and then, so that it knows since when each is as it is.
type health struct {
	every time.Duration
	m     *Metrics
	b     *broker.Broker

	looking sync.Mutex // held while it looks
	mu      sync.Mutex
	begun   bool // everything was well once
	is      []condition
}

// maxEvery is the longest time between two looks.
const maxEvery = 5 * time.Second

func newHealth(after time.Duration, b *broker.Broker, m *Metrics, checks []check) *health {
	h := &health{every: min(after/4, maxEvery), b: b, m: m}
	for _, c := range checks {
		h.is = append(h.is, condition{check: c, since: time.Now()})
		m.health.WithLabelValues(c.name).Set(1)
	}
	return h
}

// run looks until ctx ends.
func (h *health) run(ctx context.Context) {
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for {
		h.look(ctx)
		select { // the ticker wakes it, ctx ends it
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookWait bounds one look.
const lookWait = 15 * time.Second

func (h *health) look(ctx context.Context) {
	h.looking.Lock()
	defer h.looking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	h.b.Look(ctx)
	for i := range h.is {
		c := &h.is[i]
		err := c.ask(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return // the process ends
		}
		h.note(c, err)
	}
}

func (h *health) note(c *condition, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if (c.err == nil) != (err == nil) {
		c.since = now
	}
	c.err = err
	well := 1.0
	if c.fails(now) {
		well = 0
	}
	h.m.health.WithLabelValues(c.name).Set(well)
}

// conditions are all of them as the last look saw them.
func (h *health) conditions() []condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.is)
}

// ready is an error when the process must get no work: all reasons, in words. Until everything was well once, that is what
// start says.
func (h *health) ready(ctx context.Context, start func(context.Context) error) error {
	h.mu.Lock()
	begun := h.begun
	h.mu.Unlock()
	if !begun {
		if err := start(ctx); err != nil {
			return err
		}
		h.mu.Lock()
		h.begun = true
		h.mu.Unlock()
	}
	var errs []error
	now := time.Now()
	for _, c := range h.conditions() {
		if c.balanced && c.fails(now) {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, c.err))
		}
	}
	return errors.Join(errs...)
}

// report is the page.
type report struct {
	// Status is ok; degraded, when something is wrong that is no reason to send work elsewhere; or failing.
	Status string   `json:"status"`
	Checks []result `json:"checks"`
}

type result struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, suspect (for less than its patience), or failing
	// Since when it is ok, or is not.
	Since time.Time `json:"since"`
	// Ready says whether /readyz fails by it.
	Ready bool   `json:"readyz"`
	Error string `json:"error,omitempty"`
}

func (h *health) report(readiness error) report {
	r, now := report{Status: "ok"}, time.Now()
	for _, c := range h.conditions() {
		of := result{Name: c.name, Status: "ok", Since: c.since.UTC().Truncate(time.Millisecond), Ready: c.balanced}
		if c.err != nil {
			of.Status, of.Error = "suspect", c.err.Error()
		}
		if c.fails(now) {
			of.Status, r.Status = "failing", "degraded"
		}
		r.Checks = append(r.Checks, of)
	}
	if readiness != nil {
		r.Status = "failing"
	}
	return r
}

// page answers with the report: 200 when all is well, else 503.
func (a *App) page(w http.ResponseWriter, r *http.Request) {
	a.health.report(a.unready(r.Context())).answer(w)
}

func (rep report) answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	if rep.Status != "ok" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(rep) // a client that has gone needs no answer
}

// unready is why the process must get no work now, or nil.
func (a *App) unready(ctx context.Context) error {
	if a.stopping.Load() {
		return errors.New("the process is stopping")
	}
	return a.health.ready(ctx, a.Ready)
}

// checks are those of the roles of this process.
func (a *App) checks(roles []Role, d *deliver.Deliver) []check {
	after := a.cfg.Health.StuckAfter
	if a.brokerOnly {
		return []check{{checkBroker, true, after / 3, a.b.Answers}}
	}
	// A third is longer than a cluster takes to choose a leader, with the default.
	cs := []check{
		{checkStart, true, after, func(context.Context) error {
			var errs []error
			for _, r := range a.roles {
				errs = append(errs, r.ready())
			}
			return errors.Join(errs...)
		}},
		{checkBroker, true, after / 3, a.b.Check},
		{checkWrites, slices.Contains(roles, Ingest), 0, a.b.Writable},
	}
	if d != nil {
		cs = append(cs,
			check{checkDispatch, true, 0, func(context.Context) error { return errors.Join(a.b.Stuck(after, deliver.DispatchFold)...) }},
			check{checkLogins, true, 0, func(ctx context.Context) error { return d.CanLogIn(ctx, after/3) }})
	}
	served := slices.Contains(roles, Ingest) || d != nil
	if slices.Contains(roles, Matcher) || slices.Contains(roles, Offline) || slices.Contains(roles, Notify) {
		cs = append(cs, check{checkFolds, !served, 0, func(context.Context) error { return joinSome(a.b.Stuck(after, foldNames...)) }})
	}
	holders := &holders{a: a, after: after, since: map[broker.Place]time.Time{}}
	return append(cs, check{checkHolders, !served, 0, holders.ask})
}

// foldNames are the folds and workers of shards.
var foldNames = []string{"matcher_users", "matcher_pushes", "offline_audiences", "offline_receipts", "notify_devices", "notify_audiences", "notify_receipts"}

// holders remembers since when nobody answers for a place. It is of the goroutine that looks.
type holders struct {
	a     *App
	after time.Duration
	since map[broker.Place]time.Time
}

func (h *holders) ask(ctx context.Context) error {
	var before []broker.Place
	for p := range h.since {
		before = append(before, p)
	}
	unheld, err := h.a.b.Unheld(ctx, *h.a.served.Load(), before)
	if err != nil {
		return nil // that is the broker's check
	}
	now, since := time.Now(), map[broker.Place]time.Time{}
	var errs []error
	for _, p := range unheld {
		at, known := h.since[p]
		if !known {
			at = now
		}
		if since[p] = at; now.Sub(at) >= h.after {
			errs = append(errs, fmt.Errorf("%v since %s", p, at.UTC().Format(time.RFC3339)))
		}
	}
	h.since = since
	h.a.metrics.unheld.Set(float64(len(errs)))
	return joinSome(errs)
}

// joinSome joins errors, but not very many.
func joinSome(errs []error) error {
	const most = 10
	if n := len(errs) - most; n > 0 {
		errs = append(errs[:most:most], fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
}
