package failover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/client"
)

const (
	// callWait is how long a caller waits for an answer before it tries the other process.
	callWait = 300 * time.Millisecond
	// retryPause is between two tries of a push.
	retryPause = 20 * time.Millisecond
	// lifetime of a push, in seconds: who was away gets it on coming back.
	lifetime = 60
	// watching is the tag of the watchers, to whom the pushes go.
	watching = "watching"
	// welcome is the push that waits for each visitor.
	welcome = "welcome"
	// maxOpen is how many pushes, and how many logins, may be under way. What is begun beyond is begun later.
	maxOpen = 500
)

// world is the users and the operator.
type world struct {
	f *fleet.Fleet
	o Options

	pushes, visits *waits
	calmed         time.Time // from when to when nothing was disturbed
	ruffled        time.Time

	rest    []*client.REST
	urls    []string
	http    *http.Client
	running context.Context // of all that begin starts; stop ends it
	stop    context.CancelFunc
	ended   sync.WaitGroup

	mu     sync.Mutex
	failed error
	open   int           // sessions of watchers
	opened chan struct{} // capacity 1: open is another
	leave  context.CancelFunc
	round  context.Context // of the watchers' sessions; again ends it
}

func newWorld(f *fleet.Fleet, o Options) *world {
	w := &world{f: f, o: o, pushes: newWaits(), visits: newWaits(), opened: make(chan struct{}, 1)}
	for _, r := range f.REST {
		own := service.Caller(r.URL)
		own.HTTP.Timeout = callWait
		w.rest = append(w.rest, own)
	}
	for _, g := range f.Gateways {
		w.urls = append(w.urls, "ws://"+g)
	}
	w.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return w
}

func watcher(i int) string { return "watcher" + strconv.Itoa(i) }
func visitor(i int) string { return "visitor" + strconv.Itoa(i) }

// begin makes the users, has a push wait for the visitors, and begins pushing and visiting.
func (w *world) begin(ctx context.Context) error {
	var names []string
	for i := range w.o.Watchers {
		names = append(names, watcher(i))
	}
	for i := range w.o.Visitors {
		names = append(names, visitor(i))
	}
	if err := w.f.Import(ctx, names); err != nil {
		return err
	}
	tags := make([]any, w.o.Watchers)
	for i := range tags {
		tags[i] = map[string]any{"To_Account": watcher(i), "Tags": []string{watching}}
	}
	err := fleet.Try(ctx, func(ctx context.Context) error {
		return w.f.REST[0].Call(ctx, "all_member_push/im_add_tag", map[string]any{"UserTags": tags}, nil)
	})
	if err != nil {
		return err
	}
	m := client.NewMessage(client.Text(welcome))
	m.LifeTime = 24 * 3600
	if err := fleet.Try(ctx, func(ctx context.Context) error { _, err := w.f.REST[0].Push(ctx, m); return err }); err != nil {
		return err
	}
	w.running, w.stop = context.WithCancel(ctx)
	w.round, w.leave = context.WithCancel(w.running)
	for i := range w.o.Watchers {
		w.ended.Go(func() { w.watch(w.running, i) })
	}
	if err := w.together(ctx); err != nil {
		return err
	}
	w.ended.Go(func() { w.steady(w.running, w.o.PushEvery, w.push) })
	w.ended.Go(func() { w.steady(w.running, w.o.VisitEvery, w.visit) })
	return nil
}

// end ends everybody. Its error is what went wrong unasked.
func (w *world) end() error {
	if w.stop == nil {
		return nil
	}
	w.stop()
	w.leave()
	w.ended.Wait()
	for _, r := range w.rest {
		r.HTTP.CloseIdleConnections()
	}
	w.http.CloseIdleConnections()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

// steady does something again and again, not waiting for what was begun before, until ctx ends.
func (w *world) steady(ctx context.Context, every time.Duration, do func(context.Context)) {
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, maxOpen)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select { // what was begun before wakes it, ctx ends it
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		under.Go(func() {
			defer func() { <-slots }()
			do(ctx)
		})
	}
}

// push tries a push until one of the two processes accepts it.
func (w *world) push(ctx context.Context) {
	number := w.pushes.begin(1<<w.o.Watchers - 1)
	m := client.NewMessage(client.Text(strconv.Itoa(number)))
	m.LifeTime, m.Random = lifetime, rand.Uint32()
	m.Condition = &client.Condition{TagsOr: []string{watching}}
	for try := number; ; try++ {
		if _, err := w.rest[try%len(w.rest)].Push(ctx, m); err == nil {
			return
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return
		case <-time.After(retryPause):
		}
	}
}

// watch keeps a watcher logged in. Each call of Listen is a user who has just opened the app, without the growing pauses of
// one who was disconnected again and again.
func (w *world) watch(ctx context.Context, i int) {
	var is bool
	s := w.session(watcher(i), func(p client.Push) {
		if number, err := strconv.Atoi(p.Text()); err == nil {
			w.pushes.came(number, i)
		}
	})
	s.OnState = func(state client.State) {
		switch state.(type) {
		case client.Open:
			is = w.opening(is, true)
		case client.Waiting, client.Ended:
			is = w.opening(is, false)
		}
	}
	for ctx.Err() == nil {
		w.mu.Lock()
		round := w.round
		w.mu.Unlock()
		if err := s.Listen(round); round.Err() == nil {
			w.fail(fmt.Errorf("watcher %d: %w", i, err))
			return
		}
	}
}

// opening counts the watchers who are logged in.
func (w *world) opening(was, is bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case is && !was:
		w.open++
	case was && !is:
		w.open--
	}
	select { // never waits: a mark that is there already says the same
	case w.opened <- struct{}{}:
	default:
	}
	return is
}

// together waits until all watchers are logged in.
func (w *world) together(ctx context.Context) error {
	for {
		w.mu.Lock()
		open := w.open
		w.mu.Unlock()
		if open == w.o.Watchers {
			return nil
		}
		select { // a watcher wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("%d of %d watchers are logged in: %w", open, w.o.Watchers, ctx.Err())
		case <-w.opened:
		}
	}
}

// again has all watchers log in anew, on whichever gateway.
func (w *world) again(ctx context.Context) error {
	w.mu.Lock()
	leave := w.leave
	w.round, w.leave = context.WithCancel(w.running)
	w.mu.Unlock()
	leave()
	return w.flows(ctx, time.Now())
}

// visit logs a visitor in and waits for the push that waits.
func (w *world) visit(ctx context.Context) {
	number := w.visits.begin(1)
	if number >= w.o.Visitors {
		w.fail(errors.New("there are no more visitors"))
		return
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	s := w.session(visitor(number), func(p client.Push) {
		if p.Text() == welcome {
			w.visits.came(number, 0)
			leave()
		}
	})
	if err := s.Listen(ctx); ctx.Err() == nil {
		w.fail(fmt.Errorf("visitor %d: %w", number, err))
	}
}

func (w *world) session(account string, show func(client.Push)) *client.Session {
	return &client.Session{
		URLs: w.urls, App: service.App, Account: account, Platform: "Linux", HTTP: w.http, OnPush: show,
		Sig: func(context.Context) (string, error) { return service.Sign(account) },
	}
}

// flows waits until pushes and logins that are begun at or after a time have come through, and all from before.
func (w *world) flows(ctx context.Context, at time.Time) error {
	if err := w.pushes.flow(ctx, at, "pushes"); err != nil {
		return err
	}
	if err := w.visits.flow(ctx, at, "logins"); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// calmTime is how long it is measured what pushes and logins take while nothing is disturbed.
const calmTime = time.Second

func (w *world) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := w.flows(ctx, time.Now()); err != nil {
		return err
	}
	w.calmed = time.Now()
	err := w.flows(ctx, w.calmed.Add(calmTime))
	w.ruffled = time.Now()
	return err
}

// calm is what pushes and logins take without a disturbance.
func (w *world) calm() []report.Figure {
	longest := func(what string, of *waits) report.Figure {
		return report.New("failover: nothing is disturbed: the longest "+what, "s", of.longest(w.calmed, w.ruffled).Seconds())
	}
	return []report.Figure{longest("push", w.pushes), longest("login, with a push that waited", w.visits)}
}
