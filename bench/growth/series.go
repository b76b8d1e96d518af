package growth

import (
	"math"
	"strings"

	"github.com/carillon-push/carillon/bench/report"
)

// series is a cost at each of some points, and what it grows by.
type series struct {
	one       string // what the axis counts, in the singular
	what      string
	unit      string // of a point
	per       string // unit of the slope, and times how many of a point's it is
	times     float64
	at, value []float64
}

func (s *series) add(at int, value float64) {
	s.at, s.value = append(s.at, float64(at)), append(s.value, value)
}

// line is a + b*n, with how much of the values' variance it explains: 1 is all.
type line struct{ a, b, r2 float64 }

// fit is the line with the least squares. A cost that is the same at all points lies on a line.
func fit(x, y []float64) line {
	n, mx, my := float64(len(x)), 0.0, 0.0
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var sxx, sxy, syy float64
	for i := range x {
		sxx, sxy, syy = sxx+(x[i]-mx)*(x[i]-mx), sxy+(x[i]-mx)*(y[i]-my), syy+(y[i]-my)*(y[i]-my)
	}
	if sxx == 0 {
		return line{a: my, r2: 1}
	}
	l := line{b: sxy / sxx, r2: 1}
	l.a = my - l.b*mx
	rest := 0.0
	for i := range x {
		d := y[i] - l.a - l.b*x[i]
		rest += d * d
	}
	if syy > 0 {
		l.r2 = 1 - rest/syy
	}
	return l
}

// steepening is the slope of the last two points by that of the whole line: above 1 the cost grows faster the more there is.
func (s *series) steepening(l line) float64 {
	n := len(s.at)
	return (s.value[n-1] - s.value[n-2]) / (s.at[n-1] - s.at[n-2]) / l.b
}

// figures are the points, each against the first, and the slope.
func (s *series) figures() (all []report.Figure) {
	for i, at := range s.at {
		one := s.one
		if at != 1 {
			one = plural(one)
		}
		f := report.New("growth: "+report.Text(at)+" "+one+": "+s.what, s.unit, s.value[i])
		if i > 0 && s.value[0] > 0 && s.value[i] > 0 {
			f = f.Under(s.value[0])
		}
		all = append(all, f)
	}
	l := fit(s.at, s.value)
	slope := report.New("growth: "+s.what+", for each "+s.one, s.per, l.b*s.times)
	note := "without any %s %s, R² %s"
	args := []any{report.Text(l.a), s.unit, report.Text(l.r2)}
	if more := s.steepening(l); l.b != 0 && len(s.at) > 2 && !math.IsNaN(more) {
		note += "; between the last two points %s times as steep"
		args = append(args, report.Text(more))
	}
	return append(all, slope.Noting(note, args...))
}

func plural(one string) string {
	if before, ok := strings.CutSuffix(one, "push"); ok {
		return before + "pushes"
	}
	return one + "s"
}
