package match

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/matcher/index"
)

// churnSlot is the attribute that changes, of a thousand values.
const churnSlot = 6

// churn applies updates, each of a random user with another value of an attribute, while one reader asks all forms in
// turn. It gives the updates a second and the reader's 99th percentile in milliseconds, of each repeat.
func churn(ctx context.Context, p population, o Options, x *index.Index) (rates, beside []float64, err error) {
	r := rand.New(rand.NewPCG(3, 0))
	change := make([]index.Update, min(o.Updates, 1<<15))
	for i := range change {
		u := r.Uint32N(uint32(p.users))
		rec := Record(u)
		rec.Attrs[churnSlot] = p.value(r, churnSlot)
		change[i] = index.Update{Local: u, Record: rec}
	}
	back := make([]index.Update, len(change))
	for i, c := range change {
		back[i] = index.Update{Local: c.Local, Record: Record(c.Local)}
	}
	for range o.Repeats {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		stop := make(chan struct{})
		var took []float64
		var reader sync.WaitGroup
		reader.Go(func() { took = ask(p, x, stop) })
		start := time.Now()
		done := 0
		for done < o.Updates {
			for _, updates := range [][]index.Update{change, back} {
				for at := 0; at < len(updates); at += batch {
					x.ApplyBatch(updates[at:min(at+batch, len(updates))])
				}
				done += len(updates)
			}
		}
		spent := time.Since(start)
		close(stop)
		reader.Wait()
		rates = append(rates, float64(done)/spent.Seconds())
		beside = append(beside, report.Percentile(took, 99))
	}
	return rates, beside, nil
}

// ask asks until it is told to stop, at least once, and gives what each answer took in milliseconds.
func ask(p population, x *index.Index, stop <-chan struct{}) (took []float64) {
	rounds := draw(p, 64, 1<<32)
	var room []byte
	for i := 0; ; i++ {
		for _, n := range rounds[i%len(rounds)] {
			start := time.Now()
			room, _ = x.Append(room[:0], n)
			took = append(took, milliseconds(time.Since(start)))
		}
		select { // never waits
		case <-stop:
			return took
		default:
		}
	}
}
