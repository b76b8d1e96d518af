package page

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-push/carillon/bench/report"
)

// Plot is a picture of some figures of a section: what is to be seen, not how it is drawn. One without any points is left out.
type Plot struct {
	// Name is that of the file, without its ending.
	Name  string
	Title string
	// Value is what the figures say, with the unit.
	Value string
	// Log is for values of different orders. All of them are above 0.
	Log bool
	// Over is what lines go over, with the unit. Without it the plot has bars.
	Over string
	// LogOver is for sizes of different orders.
	LogOver bool
	Series  []Series
}

// Series is the bars of one colour, or a line.
type Series struct {
	Name string
	// Figures match the names of figures. The first group is the bar's label, or, of a line, how far it is on the other axis.
	Figures *regexp.Regexp
	// Peer takes the peer's value instead of the figure's own.
	Peer bool
}

// Ours is a series of the figures' own values, of which the names match; see Series.
func Ours(name, figures string) Series {
	return Series{Name: name, Figures: regexp.MustCompile(figures)}
}

// Peers is a series of the peers' values.
func Peers(name, figures string) Series {
	return Series{Name: name, Figures: regexp.MustCompile(figures), Peer: true}
}

// point is a value with its label, or its place on the other axis.
type point struct {
	label string
	over  float64
	value float64
}

// points in the order of the figures, the first of each label.
func (s Series) points(figures []report.Figure) []point {
	var list []point
	for _, f := range figures {
		m := s.Figures.FindStringSubmatch(f.Name)
		if len(m) < 2 || s.Peer && f.Peer == nil {
			continue
		}
		p := point{label: m[1], value: f.Value}
		if s.Peer {
			p.value = *f.Peer
		}
		p.over, _ = strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
		if !slices.ContainsFunc(list, func(q point) bool { return q.label == p.label }) {
			list = append(list, p)
		}
	}
	return list
}

func (p Plot) drawn(figures []report.Figure) bool {
	return slices.ContainsFunc(p.Series, func(s Series) bool { return len(s.points(figures)) > 0 })
}

// Empty are the series that no figure is of.
func (p Plot) Empty(figures []report.Figure) []string {
	var names []string
	for _, s := range p.Series {
		if len(s.points(figures)) == 0 {
			names = append(names, p.Name+": "+s.Name)
		}
	}
	return names
}

func (p Plot) file() string { return p.Name + plotExt }
