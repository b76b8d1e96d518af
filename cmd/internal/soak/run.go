package soak

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Service is what is tried.
type Service interface {
	Site() Site
	// Troubles are what may be done to its processes; none for a service that is left alone.
	Troubles() []Offer
	// Disturb does something to a process and undoes it; begun and over are called when it has begun and is undone. Where it
	// cannot be done now, neither is.
	Disturb(ctx context.Context, d Disturbance, begun, over func())
	// Watch starts processes again that end by themselves, until ctx ends.
	Watch(ctx context.Context)
	// Restore waits until every process is there and can do its work.
	Restore(ctx context.Context) error
	// Inspect tells the ledger of what the processes' logs say that should not be.
	Inspect()
}

// run is a run of a schedule.
type run struct {
	cfg     Config
	service Service
	l       *Ledger
	c       *caller
	out     io.Writer
	revokes bool
	refused int // logins at the end; guarded by the ledger's lock

	calls     sync.WaitGroup // of operators
	presences sync.WaitGroup
	troubles  sync.WaitGroup
	slots     chan struct{} // one for each call that changes users
}

// maxEdits is how many calls that change users may be under way; while the service does not answer, more are left out.
const maxEdits = 64

// Run carries out a schedule against a service that is ready, brings every user online at the end, judges, and writes
// the report. What happens goes into the ledger. The error is of the run itself, which has then said nothing.
func Run(ctx context.Context, cfg Config, service Service, l *Ledger, out io.Writer) (Verdict, error) {
	if err := cfg.Validate(); err != nil {
		return Verdict{}, err
	}
	start := clock{time.Now()}
	l.settled = cfg.Settled
	r := &run{cfg: cfg, service: service, l: l, out: out, slots: make(chan struct{}, maxEdits), c: newCaller(l, service.Site(), start, cfg.Haunting)}
	defer r.c.http.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		r.calls.Wait()
		r.presences.Wait()
		r.troubles.Wait()
	}()
	beginning, begun := context.WithTimeout(ctx, populateWait)
	defer begun()
	if err := r.c.populate(beginning, cfg); err != nil {
		return Verdict{}, err
	}
	var err error
	if r.revokes, err = r.c.canRevoke(beginning); err != nil {
		return Verdict{}, fmt.Errorf("ask whether pushes can be revoked: %w", err)
	}
	r.say("%d users are there; revocations: %v", cfg.Users, r.revokes)
	var tasks sync.WaitGroup
	watching, stop := context.WithCancel(ctx)
	defer tasks.Wait()
	defer stop()
	tasks.Go(func() { service.Watch(watching) })
	tasks.Go(func() { r.progress(watching) })

	online, offline := context.WithCancel(ctx)
	defer offline()
	r.carryOut(ctx, online)
	if ctx.Err() != nil {
		return Verdict{}, ctx.Err()
	}
	judge, err := r.finish(ctx, offline)
	if err != nil {
		return Verdict{}, err
	}
	stop()
	tasks.Wait()
	service.Inspect()
	v := judge.Verdict(l)
	l.Report(out, v)
	return v, nil
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.out, "%4.0fs  %s\n", r.c.clock.now().Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) progress(ctx context.Context) {
	for {
		pause(ctx, r.cfg.Progress)
		if ctx.Err() != nil {
			return
		}
		r.say("%s", r.l.Progress())
	}
}

// carryOut does each action at its time. It never waits for one: they go on beside each other.
func (r *run) carryOut(ctx, online context.Context) {
	begun := r.c.clock.now()
	for a := range Schedule(r.cfg, r.service.Troubles()) {
		pause(ctx, begun+a.At-r.c.clock.now())
		if ctx.Err() != nil {
			return
		}
		switch {
		case a.Presence != nil:
			a.Presence.Until += begun
			r.presences.Go(func() { r.c.online(online, a.Presence) })
		case a.Edit != nil:
			select { // never waits: one more is left out
			case r.slots <- struct{}{}:
				r.calls.Go(func() {
					defer func() { <-r.slots }()
					r.c.edit(ctx, a.Edit)
				})
			default:
			}
		case a.Push != nil:
			r.calls.Go(func() { r.c.push(ctx, r.cfg, a.Push) })
		case a.Revoke != nil && r.revokes:
			r.calls.Go(func() { r.c.revoke(ctx, *a.Revoke) })
		case a.Remove != nil:
			r.calls.Go(func() { r.c.remove(ctx, a.Remove) })
		case a.Kick != nil:
			r.calls.Go(func() { r.c.kick(ctx, *a.Kick) })
		case a.Trouble != nil:
			r.troubles.Go(func() { r.disturb(ctx, *a.Trouble) })
		}
	}
	pause(ctx, begun+r.cfg.Duration-r.c.clock.now())
}

func (r *run) disturb(ctx context.Context, d Disturbance) {
	t := Trouble{Slot: d.Slot, What: d.What, To: never}
	r.service.Disturb(ctx, d, func() {
		t.From = r.c.clock.now()
		r.l.Disturbed(t)
	}, func() {
		t.To = r.c.clock.now()
		r.l.Disturbed(t)
	})
}

// Times of the beginning and the end of a run.
const (
	populateWait = 10 * time.Minute
	restoreWait  = 90 * time.Second // for every process to be there again, and for every call to have its answer
	collectWait  = 5 * time.Minute
	collectors   = 32 // users who are brought online at once
)

// finish lets everything come to rest, and brings every user online until nothing waits for anybody.
func (r *run) finish(ctx context.Context, offline func()) (Judge, error) {
	r.troubles.Wait()
	wait := restoreWait + r.cfg.Haunting // an unsure deletion waits that long
	rest, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := r.service.Restore(rest); err != nil {
		return Judge{}, err
	}
	r.say("nothing is disturbed any more; %s", r.l.Progress())
	answered := make(chan struct{})
	go func() {
		r.calls.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-rest.Done():
		if ctx.Err() != nil {
			return Judge{}, ctx.Err()
		}
		r.l.Odd("%v after the last disturbance there are calls without an answer, or pushes that are not evaluated", wait)
	}
	// Who is online has everything after this time, or never.
	pause(ctx, r.cfg.Grace+time.Second)
	offline()
	r.presences.Wait()
	r.l.Calm()
	r.say("everybody comes online")
	collecting, cancel2 := context.WithTimeout(ctx, collectWait)
	defer cancel2()
	r.collect(collecting)
	judge := Judge{Start: r.c.clock.start, End: r.c.clock.now(), Grace: r.cfg.Grace, Skew: r.cfg.Skew}
	pause(ctx, min(settled, r.cfg.Grace)) // then nothing may come again
	r.say("and again, when nothing may be left")
	r.collect(collecting)
	r.leftover()
	return judge, ctx.Err()
}

func (r *run) collect(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(collectors)
	for u := range r.cfg.Users {
		g.Go(func() error {
			failed, err := r.c.collect(ctx, u)
			r.l.mu.Lock()
			r.refused += failed
			r.l.mu.Unlock()
			if err != nil {
				r.l.Odd("%s could not be brought online at the end: %v", accountName(u), err)
			}
			return nil
		})
	}
	_ = g.Wait() // none has an error
}

// calmLogin is what a login may take when nothing is disturbed. It asks one offline worker, which has five seconds to come as
// far as it must: more than this, and it stands still.
const calmLogin = 4 * time.Second

// leftover notes pushes that wait for users who have just acknowledged everything, and logins that took long though nothing
// was disturbed.
func (r *run) leftover() {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	slow, example := 0, ""
	for u, who := range r.l.users {
		if len(who.sessions) > 0 {
			if last := who.sessions[len(who.sessions)-1]; last.calm && last.pending > 0 {
				r.l.odd("%s has acknowledged everything, and %d pushes wait again", accountName(u), last.pending)
			}
		}
		for _, s := range who.sessions {
			if s.calm && s.hello-s.dialed > calmLogin {
				slow++
				example = fmt.Sprintf("%s at %s from %v to %v", accountName(u), s.gateway, seconds(s.dialed), seconds(s.hello))
			}
		}
	}
	if slow > 0 {
		r.l.odd("%d logins took longer than %v though nothing was disturbed any more, such as that of %s", slow, calmLogin, example)
	}
	if r.refused > 0 {
		r.l.odd("%d logins were refused or cut though nothing was disturbed any more", r.refused)
	}
}
