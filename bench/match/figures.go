package match

import (
	"fmt"
	"slices"
	"time"

	"github.com/carillon-push/carillon/bench/report"
)

// outcome is everything that a run has measured.
type outcome struct {
	ours, theirs     [][]samples // by repeat, then by form
	build, peerBuild time.Duration
	heap, peerHeap   uint64    // bytes
	updates, beside  []float64 // a second; milliseconds
}

func figures(o Options, m outcome) []report.Figure {
	of := fmt.Sprintf("matching over %s users", report.Text(float64(o.Users)))
	total := func(s samples) []float64 {
		sum := slices.Clone(s.evaluate)
		for i := range sum {
			sum[i] += s.encode[i]
		}
		return sum
	}
	const against = ", against a roaring bitmap a term"
	// All forms together, the bitmap laid out: what a push costs the matcher.
	all := func(by [][]samples, p float64) (values []float64) {
		for _, repeat := range by {
			var together []float64
			for _, s := range repeat {
				together = append(together, total(s)...)
			}
			values = append(values, report.Percentile(together, p))
		}
		return values
	}
	list := []report.Figure{
		report.New(of+": all forms, the bitmap laid out, p99"+against, "ms", all(m.ours, 99)...).Under(all(m.theirs, 99)...).AtMost(5).
			Noting("p50 %s ms; %d conditions of each of %d forms a repeat", report.Text(report.Median(all(m.ours, 50)...)), o.Samples, len(forms)),
	}
	for j, f := range forms {
		column := func(by [][]samples, p float64, pick func(samples) []float64) (values []float64) {
			for _, repeat := range by {
				values = append(values, report.Percentile(slices.Clone(pick(repeat[j])), p))
			}
			return values
		}
		evaluate := func(s samples) []float64 { return s.evaluate }
		encode := func(s samples) []float64 { return s.encode }
		median := func(p float64, pick func(samples) []float64) string {
			return report.Text(report.Median(column(m.ours, p, pick)...))
		}
		list = append(list, report.New(of+": "+f.name+", the bitmap laid out, p99"+against, "ms", column(m.ours, 99, total)...).Under(column(m.theirs, 99, total)...).AtMost(5).
			Noting("finding p50 %s, p99 %s ms; laying out p50 %s, p99 %s ms", median(50, evaluate), median(99, evaluate), median(50, encode), median(99, encode)))
	}
	users := float64(o.Users)
	return append(list,
		report.New("index memory a user, with what undoes and finds its terms"+against, "bytes", float64(m.heap)/users).Under(float64(m.peerHeap)/users).
			Noting("the peer keeps no record of a user's own terms, and so cannot change them"),
		report.New("index updates while one reader matches without a pause", "updates/s", m.updates...).AtLeast(500_000).
			Noting("the reader's p99 meanwhile %s ms", report.Text(report.Median(m.beside...))),
		report.New("building the index"+against, "users/s", users/m.build.Seconds()).Over(users/m.peerBuild.Seconds()),
	)
}
