package soak

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// wait is how long a push took: from the first attempt to its acceptance, and from there to the last session that had been
// open and well since before the first attempt.
type wait struct {
	accepted time.Duration
	arrived  time.Duration // of a push that came to such a session
	came     bool
}

// label is what was done, for the report.
func (t Trouble) label() string {
	role, _, _ := strings.Cut(t.Slot, "-")
	if strings.Contains(t.Slot, both) {
		role = "two of " + role
	}
	return role + " " + t.What
}

// Rows of the report that are no trouble.
const (
	always  = "all"
	nothing = "nothing"
)

// waiting gives the waits of all accepted pushes, by what was going on at some time from the first attempt to the last arrival:
// a push may be in several rows.
func (l *Ledger) waiting() map[string][]wait {
	rows := map[string][]wait{}
	for _, c := range l.copies {
		p := c.push
		if !c.certain() {
			continue
		}
		w := wait{accepted: p.answered - p.begun, arrived: max(0, c.last-p.answered), came: c.last != 0}
		during := map[string]bool{}
		for _, t := range l.troubles {
			if t.From <= max(p.answered, c.last) && t.To >= p.begun {
				during[t.label()] = true
			}
		}
		if len(during) == 0 {
			during[nothing] = true
		}
		during[always] = true
		for row := range during {
			rows[row] = append(rows[row], w)
		}
	}
	return rows
}

// reportWaits writes a row for each trouble.
func (l *Ledger) reportWaits(w io.Writer) {
	rows := l.waiting()
	if len(rows) == 0 {
		return
	}
	const form = "%-28s %6v %7v %7v %7v   %6v %7v %7v %7v\n"
	fmt.Fprintln(w, "how long pushes waited, in seconds, and what was going on meanwhile:")
	fmt.Fprintf(w, form, "", "pushes", "to acc.", "p99", "max", "came", "to last", "p99", "max")
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(rows)), func(n string) bool { return n == always || n == nothing })
	for _, name := range append([]string{always, nothing}, names...) {
		var accepted, arrived []time.Duration
		for _, one := range rows[name] {
			accepted = append(accepted, one.accepted)
			if one.came {
				arrived = append(arrived, one.arrived)
			}
		}
		slices.Sort(accepted)
		slices.Sort(arrived)
		cell := func(of []time.Duration, q float64) string { return fmt.Sprintf("%.3f", quantile(of, q).Seconds()) }
		fmt.Fprintf(w, form, name, len(accepted), cell(accepted, 0.5), cell(accepted, 0.99), cell(accepted, 1),
			len(arrived), cell(arrived, 0.5), cell(arrived, 0.99), cell(arrived, 1))
	}
}

// quantile of times that are sorted.
func quantile(of []time.Duration, q float64) time.Duration {
	if len(of) == 0 {
		return 0
	}
	return of[int(q*float64(len(of)-1))].Round(100 * time.Microsecond)
}
