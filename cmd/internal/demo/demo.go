// Package demo is `carillon demo`: the main job on real input, checked to the last user.
//
// It starts the whole service in this process and uses it as operators and users do, over the REST contract and WebSocket
// sessions. A population is drawn: people live in the world's cities in proportion to their real populations and follow
// stocks by a Zipf law. They are imported, some come online, and three pushes are made as operators make them: to
// everyone, by tag, by attribute. The rest log in later and fetch what was kept for them. Then every single account is
// compared with what plain loops over the drawn population say it must have: exactly the pushes expected, each once,
// with the body as it was sent. The one thing that is read beside these interfaces is the size of what the broker holds.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/demo/cities"
)

// Config of a demo.
type Config struct {
	// Accounts is how many people are drawn.
	Accounts int
	// Online is how many of them have a session while the pushes are made.
	Online int
	// Seed decides everything that is drawn: the same seed and sizes make the same demo.
	Seed uint64
	// Logins is how many sessions are opened or closed at once.
	Logins int
	// Data is the service's directory, absent or empty before and kept afterwards. Empty: a temporary one, removed at the
	// end.
	Data string
}

// Default is the demo at its full size: some minutes on two cores.
func Default() Config { return Config{Accounts: 100_000, Online: 2000, Seed: 1, Logins: 64} }

const (
	maxAccounts = 10_000_000
	maxLogins   = 4096
)

// Validate says what is wrong, in sentences.
func (c Config) Validate() error {
	var errs []error
	if c.Accounts < 1 || c.Accounts > maxAccounts {
		errs = append(errs, fmt.Errorf("a demo has from 1 to %d accounts, not %d", maxAccounts, c.Accounts))
	}
	if c.Online < 0 || c.Online > c.Accounts {
		errs = append(errs, fmt.Errorf("of %d accounts none or some or all can be online, not %d", c.Accounts, c.Online))
	}
	if c.Logins < 1 || c.Logins > maxLogins {
		errs = append(errs, fmt.Errorf("the number of logins at once is from 1 to %d, not %d", maxLogins, c.Logins))
	}
	return errors.Join(errs...)
}

// ownDescriptors is what the process needs beside sessions: the broker's files, listeners, REST connections.
const ownDescriptors = 500

// enoughDescriptors says whether the process may open what the demo needs: both ends of each session are its own.
func (c Config) enoughDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("ask how many files may be open: %w", err)
	}
	if need := uint64(2*(c.Online+c.Logins) + ownDescriptors); need > limit.Cur {
		return fmt.Errorf("%d sessions and %d logins at once need about %d open files, and the limit is %d: raise it (ulimit -n), or have fewer online",
			c.Online, c.Logins, need, limit.Cur)
	}
	return nil
}

// demo is one run. Its fields are of the goroutine that runs it, but for those that say otherwise.
type demo struct {
	cfg     Config
	out     *printer
	rand    *rand.Rand
	crowd   *crowd
	uses    []*use
	service *service
	ledger  *ledger // locks for itself
	steps   []step
}

// step is one line of the summary.
type step struct {
	name string
	took time.Duration
}

// Run makes the demo and reports to out as it goes. The error says what could not be done, or that the service delivered
// something else than it should have.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	d, err := newDemo(cfg, out)
	if err != nil {
		return err
	}
	return d.run(ctx)
}

// newDemo draws the population and the pushes.
func newDemo(cfg Config, out io.Writer) (*demo, error) {
	if err := errors.Join(cfg.Validate(), cfg.enoughDescriptors()); err != nil {
		return nil, err
	}
	// The second half of the generator's seed is any constant.
	d := &demo{cfg: cfg, out: newPrinter(out), rand: rand.New(rand.NewPCG(cfg.Seed, 0xca1_1110))}
	begin := time.Now()
	places, err := cities.Load()
	if err != nil {
		return nil, err
	}
	d.crowd = draw(d.rand, cfg, places)
	if d.uses, err = newUses(d.crowd); err != nil {
		return nil, err
	}
	d.ledger = newLedger(d.crowd, d.uses)
	d.took("draw the population", begin)
	d.crowd.describe(d.out, cfg)
	return d, nil
}

func (d *demo) took(name string, begin time.Time) {
	d.steps = append(d.steps, step{name, time.Since(begin)})
}

func (d *demo) run(ctx context.Context) (err error) {
	dir, remove, err := directory(d.cfg.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	// The service's warnings go where the report goes: they would explain a difference.
	log := slog.New(slog.NewTextHandler(d.out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	begin := time.Now()
	if d.service, err = start(ctx, dir, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.service.stop()) }()
	ctx, cancel := d.service.bound(ctx)
	defer cancel()
	d.took("start the service", begin)

	if err := d.work(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause // what ended the context says more than what it ended
		}
		return err
	}
	return nil
}

// work is the demo with the service running.
func (d *demo) work(ctx context.Context) error {
	if err := d.fill(ctx); err != nil {
		return err
	}
	on := newOnline(d)
	defer on.drop()
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"bring users online", on.connect},
		{"push, and wait for the last online user", func(ctx context.Context) error { return d.push(ctx, on) }},
		{"log the others in", d.logins},
		{"end the online sessions", on.leave},
		{"log a sample in again", d.again},
	} {
		begin := time.Now()
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		d.took(s.name, begin)
	}
	begin := time.Now()
	v := d.ledger.check()
	d.took("check every account", begin)
	if err := d.report(ctx, v); err != nil {
		return err
	}
	return v.err()
}

// directory gives the service's directory, and what is to be done with it at the end.
func directory(path string) (dir string, remove func() error, err error) {
	if path == "" {
		dir, err := os.MkdirTemp("", "carillon-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("make a directory for the demo: %w", err)
		}
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	switch entries, err := os.ReadDir(path); {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", nil, fmt.Errorf("look into the demo's directory: %w", err)
	case len(entries) > 0:
		return "", nil, fmt.Errorf("%s is not empty: the demo counts every delivery, so that it needs a directory of its own", path)
	}
	return path, func() error { return nil }, nil
}
