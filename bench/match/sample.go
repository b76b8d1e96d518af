package match

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/pkg/predicate"
)

// answer to one condition.
type answer struct {
	// users for whom it holds; of who does not count it is uncounted.
	users uint64
	// found is how long it took until they were found, and whole until they were handed over, too: as laid out bitmaps, or
	// as rows.
	found, whole time.Duration
}

// uncounted is the number of users of an answer that is only about time.
const uncounted = ^uint64(0)

// asked is what conditions are put to.
type asked interface {
	ask(ctx context.Context, n predicate.Node) (answer, error)
}

// samples of one form in one repeat, in milliseconds, in the order of the conditions.
type samples struct{ found, whole []float64 }

func (s *samples) take(a answer) {
	s.found = append(s.found, milliseconds(a.found))
	s.whole = append(s.whole, milliseconds(a.whole))
}

// comparison is what both sides took, by repeat and then by form.
type comparison struct{ ours, theirs [][]samples }

// What is picked of samples.
func found(s samples) []float64 { return s.found }
func whole(s samples) []float64 { return s.whole }

// percentile of a form's samples, for each repeat.
func percentile(by [][]samples, form int, p float64, pick func(samples) []float64) (values []float64) {
	for _, repeat := range by {
		values = append(values, report.Percentile(pick(repeat[form]), p))
	}
	return values
}

// median is percentile's of all repeats, as text.
func median(by [][]samples, form int, p float64, pick func(samples) []float64) string {
	return report.Text(report.Median(percentile(by, form, p, pick)...))
}

// mean of a form's samples, for each repeat.
func mean(by [][]samples, form int, pick func(samples) []float64) (values []float64) {
	for _, repeat := range by {
		sum := 0.0
		for _, v := range pick(repeat[form]) {
			sum += v
		}
		values = append(values, sum/float64(len(pick(repeat[form]))))
	}
	return values
}

// together is a percentile of all forms' samples, for each repeat.
func together(by [][]samples, p float64, pick func(samples) []float64) (values []float64) {
	for _, repeat := range by {
		var all []float64
		for _, s := range repeat {
			all = append(all, pick(s)...)
		}
		values = append(values, report.Percentile(all, p))
	}
	return values
}

// maxWarmRounds of conditions come before those that count.
const maxWarmRounds = 20

// warmRounds are a tenth of those that count: whoever answers slowly is asked few.
func warmRounds(samples int) int { return min(1+samples/10, maxWarmRounds) }

// draw gives the conditions of one repeat: one of each form, in as many rounds as there are samples after those to warm up.
func draw(p population, samples int, repeat uint64) [][]predicate.Node {
	r := rand.New(rand.NewPCG(2, repeat))
	rounds := make([][]predicate.Node, warmRounds(samples)+samples)
	for i := range rounds {
		for _, f := range forms {
			rounds[i] = append(rounds[i], f.draw(p, r))
		}
	}
	return rounds
}

// compare asks both sides conditions of every form. The repeats are numbered from first, so that each comparison has conditions
// of its own. Theirs may be nil.
func compare(ctx context.Context, p population, samples, repeats int, first uint64, ours, theirs asked) (c comparison, err error) {
	for i := range repeats {
		if err := c.repeat(ctx, draw(p, samples, first+uint64(i)), warmRounds(samples), ours, theirs); err != nil {
			return c, err
		}
	}
	return c, nil
}

// repeat asks both sides, who take turns in being first.
func (c *comparison) repeat(ctx context.Context, rounds [][]predicate.Node, warm int, ours, theirs asked) error {
	sides := []asked{ours}
	if theirs != nil {
		sides = append(sides, theirs)
	}
	by := [2][]samples{make([]samples, len(forms)), make([]samples, len(forms))}
	for i, round := range rounds {
		if i == warm {
			by = [2][]samples{make([]samples, len(forms)), make([]samples, len(forms))}
		}
		for j, n := range round {
			if err := ctx.Err(); err != nil {
				return err
			}
			users := [2]uint64{uncounted, uncounted}
			for k := range sides {
				side := (k + i) % len(sides)
				a, err := sides[side].ask(ctx, n)
				if err != nil {
					return err
				}
				by[side][j].take(a)
				users[side] = a.users
			}
			if users[0] != users[1] && users[1] != uncounted {
				return fmt.Errorf("the index and its peer find %d and %d users for %s", users[0], users[1], predicate.String(n))
			}
		}
	}
	c.ours, c.theirs = append(c.ours, by[0]), append(c.theirs, by[1])
	return nil
}
