// Package report is what the measurements come to: figures, with the goals and the peers they are held against.
package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Figure is one number that was measured. Make it with New, and then hold it against a peer and a goal, in this order.
type Figure struct {
	// Name says what was measured, against what, and at what size.
	Name string `json:"name"`
	// Value is the median of the repeats.
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Goal is ">= 0.8" for a ratio, "<= 5 ms", with the unit, for the value, and empty where nothing is asked.
	Goal string `json:"goal"`
	// Met is true where nothing is asked.
	Met bool `json:"met"`
	// Peer is the same of what the figure is held against, measured in the same run; nil where there is none.
	Peer *float64 `json:"peer"`
	// Ratio is how many times better than the peer the figure is: above 1 is better, whether more or less is wanted.
	Ratio *float64 `json:"ratio"`

	// Values are those of the repeats, ascending, Note what else is to be said, and Versions those of programs that were asked
	// for them, by name; they are for people alone.
	Values   []float64         `json:"-"`
	Note     string            `json:"-"`
	Versions map[string]string `json:"-"`
}

// New is the figure of some repeats, of which there is at least one.
func New(name, unit string, values ...float64) Figure {
	values = slices.Sorted(slices.Values(values))
	return Figure{Name: name, Unit: unit, Value: round(middle(values)), Met: true, Values: values}
}

// Over holds a figure of which more is better against a peer's repeats.
func (f Figure) Over(peer ...float64) Figure {
	p := Median(peer...)
	return f.against(p, middle(f.Values)/p)
}

// Under holds a figure of which less is better against a peer's repeats.
func (f Figure) Under(peer ...float64) Figure {
	p := Median(peer...)
	return f.against(p, p/middle(f.Values))
}

// OverBy is Over with a ratio of its own: that of each repeat says more where the machine's speed changes between them.
func (f Figure) OverBy(peer, ratio float64) Figure { return f.against(peer, ratio) }

func (f Figure) against(peer, ratio float64) Figure {
	peer, ratio = round(peer), round(ratio)
	f.Peer, f.Ratio = &peer, &ratio
	return f
}

// AtLeast asks for a value.
func (f Figure) AtLeast(goal float64) Figure {
	f.Goal, f.Met = ">= "+Text(goal)+" "+f.Unit, f.Value >= goal
	return f
}

// AtMost asks for a value.
func (f Figure) AtMost(goal float64) Figure {
	f.Goal, f.Met = "<= "+Text(goal)+" "+f.Unit, f.Value <= goal
	return f
}

// Times asks for a ratio to the peer, which the figure must have.
func (f Figure) Times(goal float64) Figure {
	f.Goal, f.Met = ">= "+Text(goal), *f.Ratio >= goal
	return f
}

// Noting adds to what is said of the figure.
func (f Figure) Noting(format string, args ...any) Figure {
	f.Note = fmt.Sprintf(format, args...)
	return f
}

// Beside says which version of a program the figure was measured with, where it is none of the module's own dependencies.
func (f Figure) Beside(program, version string) Figure {
	f.Versions = maps.Clone(f.Versions)
	if f.Versions == nil {
		f.Versions = make(map[string]string)
	}
	f.Versions[program] = version
	return f
}

// String is a line for people.
func (f Figure) String() string {
	s := fmt.Sprintf("%s: %s %s", f.Name, f.Spread(), f.Unit)
	if f.Peer != nil {
		s += fmt.Sprintf(", peer %s, ratio %s", Text(*f.Peer), Text(*f.Ratio))
	}
	switch {
	case f.Goal == "":
	case f.Met:
		s += ", goal " + f.Goal + " met"
	default:
		s += ", goal " + f.Goal + " MISSED"
	}
	if f.Note != "" {
		s += " (" + f.Note + ")"
	}
	return s
}

// Spread is the median, and the lowest and the highest where there are several.
func (f Figure) Spread() string {
	if len(f.Values) < 2 {
		return Text(f.Value)
	}
	return fmt.Sprintf("%s (%s to %s)", Text(f.Value), Text(f.Values[0]), Text(f.Values[len(f.Values)-1]))
}

// Median of at least one value; they keep their order.
func Median(values ...float64) float64 { return middle(slices.Sorted(slices.Values(values))) }

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Percentile is the smallest of the values, of which there is at least one, that p percent of them do not exceed. They
// are sorted in place.
func Percentile(values []float64, p float64) float64 {
	slices.Sort(values)
	at := int(math.Ceil(p/100*float64(len(values)))) - 1
	return values[min(max(at, 0), len(values)-1)]
}

// round keeps four digits: more would promise what was not measured.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	digits := 3 - math.Floor(math.Log10(math.Abs(v)))
	if unit := math.Pow(10, -digits); digits < 0 { // a fraction's powers of ten are not exact
		return math.Round(v/unit) * unit
	}
	unit := math.Pow(10, digits)
	return math.Round(v*unit) / unit
}

// Text is a number as one reads it, with four digits.
func Text(v float64) string {
	s := strconv.FormatFloat(round(v), 'f', -1, 64)
	end := len(s)
	for i, c := range s {
		if c == '.' {
			end = i
		}
	}
	for i := end - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
