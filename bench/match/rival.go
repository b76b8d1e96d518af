package match

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/predicate"
)

// rival is a database in a process of its own, which is given a population and asked the same conditions.
type rival interface {
	asked
	// version is as it gives it.
	version(ctx context.Context) (string, error)
	// load gives it the first users of the population, or as much of them as it needs to answer the conditions.
	load(ctx context.Context, users int, conditions []predicate.Node) error
	// close ends its process and removes what it stored.
	close()
}

// rivals in the order in which they are asked.
var rivals = []struct {
	name string
	// how it is asked.
	how   string
	share func(Options) Share
	start func(ctx context.Context, install bool) (rival, error)
	// times is how much faster we want to be, and most says that this is wanted of most forms and not of each; 0 is nothing.
	times float64
	most  bool
	// what its two times are of.
	found, whole string
}{
	{"PostgreSQL", "PostgreSQL (GIN on tags, btree on attributes)", func(o Options) Share { return o.PostgreSQL }, startPostgreSQL, 50, true, "count(*)", "all ids fetched"},
	{"Redis", "Redis (BITOP on dense bitmaps)", func(o Options) Share { return o.Redis }, startRedis, 1, false, "BITOP", "the bitmap fetched"},
	{"DuckDB", "DuckDB (columns, one thread)", func(o Options) Share { return o.DuckDB }, startDuckDB, 0, false, "count(*)", "all ids fetched"},
}

// rivalry with one of them.
type rivalry struct {
	comparison
	absent  error // why there is none
	version string
	users   int
	loading time.Duration
}

// againstRivals compares with one after the other. One that cannot be had, or does not take the users, is left out; one that
// then fails to answer, or finds others, fails the run.
func againstRivals(ctx context.Context, o Options, x shards) ([]rivalry, error) {
	all := make([]rivalry, len(rivals))
	for i, r := range rivals {
		share := r.share(o)
		if share.Shards == 0 {
			all[i].absent = errors.New("it was not asked for")
			continue
		}
		m := &all[i]
		m.users = share.Shards * o.Users
		first := uint64(1<<24) << i
		peer, err := r.start(ctx, o.Install)
		if err == nil {
			err = m.against(ctx, o, share, first, peer, x[:share.Shards])
			peer.close()
		} else {
			m.absent, err = err, nil
		}
		if err = errors.Join(ctx.Err(), err); err != nil {
			return nil, fmt.Errorf("against %s: %w", r.name, err)
		}
	}
	return all, nil
}

func (m *rivalry) against(ctx context.Context, o Options, share Share, first uint64, peer rival, x shards) (err error) {
	if m.version, m.absent = peer.version(ctx); m.absent != nil {
		return nil
	}
	p := population{users: m.users}
	var conditions []predicate.Node
	for i := range o.Repeats {
		for _, round := range draw(p, share.Samples, first+uint64(i)) {
			conditions = append(conditions, round...)
		}
	}
	start := time.Now()
	if m.absent = peer.load(ctx, m.users, conditions); m.absent != nil {
		return nil
	}
	m.loading = time.Since(start)
	m.comparison, err = compare(ctx, p, share.Samples, o.Repeats, first, x, peer)
	return err
}

// rivalFigures are one for each form and rival, with the time of a condition on average, and first how many forms meet
// what is wanted.
func rivalFigures(o Options, m outcome) (list []report.Figure) {
	for i, r := range rivals {
		against := m.rivals[i]
		if against.absent != nil {
			continue // it is told of where all forms are
		}
		of := title(against.users, r.share(o).Shards)
		if r.most {
			won := 0.0
			for j := range forms {
				if report.Median(mean(against.theirs, j, found)...) >= r.times*report.Median(mean(against.ours, j, found)...) {
					won++
				}
			}
			list = append(list, report.New(fmt.Sprintf("%s: forms found at least %s times as fast as by %s", of, report.Text(r.times), r.name), fmt.Sprintf("of %d forms", len(forms)), won).
				AtLeast(float64(len(forms)/2+1)).Noting("%s", against.loaded()).Beside(r.name, against.version))
		}
		for j, f := range forms {
			at := func(by [][]samples, p float64, pick func(samples) []float64) string { return median(by, j, p, pick) }
			fig := report.New(fmt.Sprintf("%s: %s, the bitmaps laid out, mean, against %s", of, f.name, r.how), "ms", mean(against.ours, j, found)...).Under(mean(against.theirs, j, found)...)
			if r.times > 0 && !r.most {
				fig = fig.Times(r.times)
			}
			list = append(list, fig.Noting("p50 %s against %s, p99 %s against %s ms (%s); against %s, p50 %s ms; %s",
				at(against.ours, 50, whole), at(against.theirs, 50, found), at(against.ours, 99, whole), at(against.theirs, 99, found), r.found,
				r.whole, at(against.theirs, 50, whole), against.loaded()).Beside(r.name, against.version))
		}
	}
	return list
}

// loaded says how long it took the users.
func (m rivalry) loaded() string {
	return fmt.Sprintf("loaded in %s s", report.Text(m.loading.Round(100*time.Millisecond).Seconds()))
}

// left tells of the rivals that were left out, and why.
func (m outcome) left() (text string) {
	for i, r := range rivals {
		if err := m.rivals[i].absent; err != nil {
			text += fmt.Sprintf("; without %s: %s", r.name, err)
		}
	}
	return text
}
