package page

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/carillon-push/carillon/bench/report"
)

// bars of one colour, from the axis to their values, also where the axis is logarithmic, with each value beside its bar.
type bars struct {
	at, values []float64
	colour     color.Color
	text       text.Style
}

// Plot draws the bars.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := b.text
	style.XAlign, style.YAlign = text.XLeft, text.YCenter
	for i, v := range b.values {
		middle := y(b.at[i])
		left, right, low, high := x(p.X.Min), x(v), middle-barWidth/2, middle+barWidth/2
		c.FillPolygon(b.colour, []vg.Point{{X: left, Y: low}, {X: right, Y: low}, {X: right, Y: high}, {X: left, Y: high}})
		c.FillText(style, vg.Point{X: right + 3, Y: middle}, report.Text(v))
	}
}

// GlyphBoxes keep room for the values beside the bars.
func (b bars) GlyphBoxes(p *plot.Plot) []plot.GlyphBox {
	var boxes []plot.GlyphBox
	for i, v := range b.values {
		width := b.text.Width(report.Text(v)) + 6
		boxes = append(boxes, plot.GlyphBox{
			X: p.X.Norm(v), Y: p.Y.Norm(b.at[i]),
			Rectangle: vg.Rectangle{Max: vg.Point{X: width, Y: 1}},
		})
	}
	return boxes
}

// Thumbnail is the colour.
func (b bars) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(b.colour, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
}

// raster is faint lines at the marks of one axis.
type raster struct{ horizontal bool }

// Plot draws the lines.
func (r raster) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	line := draw.LineStyle{Color: grid, Width: 0.5}
	if r.horizontal {
		for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
			if !t.IsMinor() {
				c.StrokeLine2(line, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
			}
		}
		return
	}
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		if !t.IsMinor() {
			c.StrokeLine2(line, x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
		}
	}
}

// ticks are the usual marks, with numbers as one reads them.
type ticks struct{ log bool }

// Ticks of an axis.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	if t.log {
		var list []plot.Tick
		for v := low; v <= high*1.001; v *= 10 {
			list = append(list, plot.Tick{Value: v, Label: report.Text(v)})
		}
		return list
	}
	list := plot.DefaultTicks{}.Ticks(low, high)
	for i := range list {
		if !list[i].IsMinor() {
			list[i].Label = report.Text(list[i].Value)
		}
	}
	return list
}

// at are marks at the sizes that were measured.
type at []float64

// Ticks of an axis.
func (t at) Ticks(_, _ float64) []plot.Tick {
	var list []plot.Tick
	for _, v := range t {
		list = append(list, plot.Tick{Value: v, Label: report.Text(v)})
	}
	return list
}

// decades around a range of values above 0.
func decades(low, high float64) (float64, float64) {
	if low <= 0 || math.IsInf(low, 0) {
		return 1, 10
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	return math.Pow10(int(from)), math.Pow10(int(max(to, from+1)))
}
