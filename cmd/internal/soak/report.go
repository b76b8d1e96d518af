package soak

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Report writes what was found; its last line is `pairs N lost 0 stranger 0 repeated R disorder 0`.
func (l *Ledger) Report(w io.Writer, v Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.violations, func(a, b Violation) int { return cmp.Compare(a.copy.push.begun, b.copy.push.begun) })
	for _, one := range l.violations[:min(len(l.violations), maxStories)] {
		l.story(w, one)
	}
	for _, r := range l.unexplainedRepeats(maxStories) {
		l.story(w, Violation{Fault: "unexplained repeat", User: r.session.user, copy: r.copy,
			What: fmt.Sprintf("it was acknowledged at %v, and came to the login of %v", seconds(r.ack.at()), seconds(r.session.dialed))})
	}
	for _, o := range l.oddities[:min(len(l.oddities), maxStories)] {
		fmt.Fprintln(w, "odd:", o)
	}
	fmt.Fprintf(w, "pushes by kind: %s\n", tally(l.kinds))
	fmt.Fprintf(w, "accepted %d, unsure %d, revoked %d; frames received %d, revocations received %d\n",
		l.accepted, len(l.pushes)-l.accepted, l.revocations, l.received, l.revokesReceived)
	fmt.Fprintf(w, "of the pairs: in the audience %d, of them obliged to have got it %d; outside %d; open %d\n", v.In, v.Obliged, v.Out, v.Open)
	fmt.Fprintf(w, "logins %d, over event streams %d; sessions ended: %s\n", l.logins, l.streams, tally(l.ends))
	done := map[string]int{}
	for _, t := range l.troubles {
		done[t.label()]++
	}
	fmt.Fprintf(w, "accounts deleted and registered again %d, kicked %d\n", l.removals, l.kicked)
	fmt.Fprintf(w, "done to processes: %s\n", tally(done))
	l.reportWaits(w)
	slices.Sort(l.waits)
	fmt.Fprintf(w, "from acceptance to a live session: p50 %v, p99 %v, max %v of %d\n", quantile(l.waits, 0.5), quantile(l.waits, 0.99), quantile(l.waits, 1), len(l.waits))
	fmt.Fprintf(w, "repeated though acknowledged: %d, of them unexplained %d; twice on one session %d; missed at a login %d; odd %d\n",
		v.Repeated, v.Unexplained, v.Counts[Twice], v.Counts[Missed], len(l.oddities))
	fmt.Fprintf(w, "pairs %d lost %d stranger %d repeated %d disorder %d\n", v.Pairs, v.Counts[Lost], v.Counts[Stranger], v.Repeated, v.Counts[Disorder])
}

func tally(counts map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
