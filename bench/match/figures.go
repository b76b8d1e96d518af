package match

import (
	"fmt"

	"github.com/carillon-push/carillon/bench/report"
)

// title of figures over some users.
func title(users, shards int) string {
	of := fmt.Sprintf("matching over %s users", report.Text(float64(users)))
	if shards > 1 {
		of += fmt.Sprintf(" in %d shards", shards)
	}
	return of
}

// figures of ours, but for those against other systems.
func figures(o Options, m outcome) (list []report.Figure) {
	list = append(list, oneFigures(o, m)...)
	list = append(list, manyFigures(o, m)...)
	list = append(list, vastFigures(o, m)...)
	return append(list, indexFigures(o, m)...)
}

const againstRoaring = ", against a roaring bitmap a term"

// oneFigures are those of one shard, the bitmap laid out: what a push costs the matcher.
func oneFigures(o Options, m outcome) []report.Figure {
	of := title(o.Users, 1)
	list := []report.Figure{
		report.New(of+": all forms, the bitmap laid out, p99"+againstRoaring, "ms", together(m.one.ours, 99, whole)...).Under(together(m.one.theirs, 99, whole)...).AtMost(5).
			Noting("p50 %s ms; %d conditions of each of %d forms a repeat", report.Text(report.Median(together(m.one.ours, 50, whole)...)), o.Samples, len(forms)),
	}
	for j, f := range forms {
		at := func(p float64, pick func(samples) []float64) string { return median(m.one.ours, j, p, pick) }
		list = append(list, report.New(of+": "+f.name+", the bitmap laid out, p99"+againstRoaring, "ms", percentile(m.one.ours, j, 99, whole)...).
			Under(percentile(m.one.theirs, j, 99, whole)...).AtMost(5).
			Noting("p50 %s ms", at(50, whole)))
	}
	return list
}

// manyFigures are those of all shards, against the limit.
func manyFigures(o Options, m outcome) []report.Figure {
	of := title(o.Users*o.Shards, o.Shards)
	const against = ", against a plain loop over dense bitmaps"
	list := []report.Figure{
		report.New(of+": all forms, the bitmaps laid out, p99"+against, "ms", together(m.many.ours, 99, whole)...).Under(together(m.many.theirs, 99, found)...).
			Noting("p50 %s ms; %d conditions of each of %d forms a repeat; one goroutine visits shard after shard; garbage is collected beside it%s",
				report.Text(report.Median(together(m.many.ours, 50, whole)...)), o.ManySamples, len(forms), m.left()),
	}
	for j, f := range forms {
		at := func(p float64, pick func(samples) []float64) string { return median(m.many.ours, j, p, pick) }
		fig := report.New(of+": "+f.name+", the bitmaps laid out, p99"+against, "ms", percentile(m.many.ours, j, 99, whole)...).Under(percentile(m.many.theirs, j, 99, found)...)
		if f.goal > 0 {
			fig = fig.AtMost(f.goal)
		}
		list = append(list, fig.Noting("p50 %s ms, of the loop %s ms", at(50, whole), median(m.many.theirs, j, 50, found)))
	}
	return append(list, report.New("one core's memory bandwidth, as a plain loop that joins two bitmaps has it", "GB/s", m.bandwidth...).
		Noting("two bitmaps of %s users are read and one is made, in no cache", report.Text(float64(o.Users*o.Shards))))
}

// vastFigures are those of a population that is not in memory at once.
func vastFigures(o Options, m outcome) (list []report.Figure) {
	of := fmt.Sprintf("%s users as %d visits of each of %d shards", report.Text(float64(o.Users*o.Shards*o.Visits)), o.Visits, o.Shards)
	for j, f := range forms {
		at := func(p float64, pick func(samples) []float64) string { return median(m.vast.ours, j, p, pick) }
		list = append(list, report.New("matching over "+of+": "+f.name+", the bitmaps laid out, p99", "ms", percentile(m.vast.ours, j, 99, whole)...).
			Noting("p50 %s ms; %d conditions a repeat", at(50, whole), o.VastSamples))
	}
	return list
}

// indexFigures are what the index takes to be there.
func indexFigures(o Options, m outcome) []report.Figure {
	users := float64(o.Users)
	of := report.Text(users) + " users"
	return []report.Figure{
		report.New("index memory a user, with what undoes and finds its terms"+againstRoaring, "bytes", float64(m.heap)/users).Under(float64(m.peerHeap) / users).
			Noting("the peer keeps no record of a user's own terms, and so cannot change them"),
		report.New(fmt.Sprintf("index memory a user, of %s users in %d shards", report.Text(users*float64(o.Shards)), o.Shards), "bytes", float64(m.manyHeap)/users/float64(o.Shards)).
			AtMost(100).Noting("the live heap, all in"),
		report.New("index memory of a value that one user has", "bytes", m.unique).
			Noting("%s values of about %d bytes each, less what as many users take who share a value", report.Text(float64(o.Uniques)), len(uniquePrefix)+5),
		report.New("index updates while one reader matches without a pause", "updates/s", m.updates...).AtLeast(500_000).
			Noting("the reader's p99 meanwhile %s ms", report.Text(report.Median(m.beside...))),
		report.New("building the index"+againstRoaring, "users/s", users/m.build.Seconds()).Over(users / m.peerBuild.Seconds()),
		report.New("writing the snapshot of a shard of "+of+", in memory", "s", m.file.write...).
			Noting("%s MB, %s bytes a user", report.Text(float64(m.file.bytes)/1e6), report.Text(float64(m.file.bytes)/users)),
		report.New("loading the snapshot of a shard of "+of+", in memory", "s", m.file.load...).AtMost(0.5),
	}
}
