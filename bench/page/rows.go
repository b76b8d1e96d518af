package page

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/carillon-push/carillon/bench/report"
)

// numbers in the name of a figure are its sizes, which a short run has others of. A word may follow at once, as in 5ms.
var numbers = regexp.MustCompile(`\d[\d,.]*`)

// row is what a figure says whatever the size and the outcome.
func row(f report.Figure) string { return numbers.ReplaceAllString(f.Name, "#") + " (" + f.Unit + ")" }

func rows(s Section) []string {
	var all []string
	for _, f := range s.Figures {
		all = append(all, row(f))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Compare holds the rows that a short run makes against those that are stored, a sentence for each that only one of them has.
// Rows of one kind at several sizes are one. Fewer are, by section, the names of figures that only a run in full makes.
func Compare(short, stored []Section, fewer map[string]*regexp.Regexp) []string {
	var faults []string
	for _, made := range short {
		i := slices.IndexFunc(stored, func(s Section) bool { return s.Name == made.Name })
		if i < 0 {
			faults = append(faults, made.Name+": the page has no such section")
			continue
		}
		ours, theirs := rows(made), rows(stored[i])
		for _, r := range ours {
			if !slices.Contains(theirs, r) {
				faults = append(faults, fmt.Sprintf("%s: the page lacks the row %q, which the code makes", made.Name, r))
			}
		}
		for _, r := range theirs {
			if not := fewer[made.Name]; !slices.Contains(ours, r) && (not == nil || !not.MatchString(r)) {
				faults = append(faults, fmt.Sprintf("%s: the page has the row %q, which the code does not make", made.Name, r))
			}
		}
	}
	return faults
}
