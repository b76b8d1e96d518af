package page

import (
	"bytes"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/carillon-push/carillon/bench/report"
)

// colours that also the colour-blind tell apart (Okabe and Ito's), on a white card, which is read on dark pages, too. The first
// is ours.
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x55, 0x55, 0x55, 0xff},
}

var (
	card = color.RGBA{0xff, 0xff, 0xff, 0xff}
	ink  = color.RGBA{0x33, 0x33, 0x33, 0xff}
	grid = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
)

const (
	width      = 8 * vg.Inch
	lineHeight = 3.6 * vg.Inch
	barWidth   = 10 * vg.Inch / 72
	slot       = 1.1 * barWidth // what a bar takes
	margin     = 10 * vg.Inch / 72
	textSize   = 10
)

// The font that sizes are reckoned with is in the module, and not in the file; these have the same widths.
const (
	typeface = "font-family:Liberation Sans;"
	fonts    = "font-family:Liberation Sans,Arial,Helvetica,sans-serif;"
)

func sans(size font.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// draw gives an SVG, always the same for the same figures.
func (p Plot) draw(figures []report.Figure) ([]byte, error) {
	drawing, legend := plot.New(), plot.NewLegend()
	style(drawing, &legend)
	drawing.Title.Text = p.Title
	height := lineHeight
	if p.Over != "" {
		if err := p.lines(drawing, &legend, figures); err != nil {
			return nil, err
		}
	} else {
		height = p.bars(drawing, &legend, figures)
	}
	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	whole.FillPolygon(card, []vg.Point{whole.Min, {X: whole.Max.X, Y: whole.Min.Y}, whole.Max, {X: whole.Min.X, Y: whole.Max.Y}})
	inner := draw.Crop(whole, margin, -margin, margin, -margin)
	size := legend.Rectangle(inner).Size()
	strip := 1.2 * size.X // where the reader has none of the fonts, letters may be wider
	drawing.Draw(draw.Crop(inner, 0, -strip-margin, 0, 0))
	legend.Draw(draw.Crop(inner, inner.Max.X-inner.Min.X-strip, 0, 0, -3*margin))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(out.Bytes(), []byte(typeface), []byte(fonts)), nil
}

func style(p *plot.Plot, legend *plot.Legend) {
	p.BackgroundColor = nil // the card is behind all of it
	p.Title.TextStyle.Font, p.Title.TextStyle.Color = sans(textSize+2), ink
	p.Title.Padding = margin
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color = ink, ink
		axis.Label.TextStyle.Font, axis.Label.TextStyle.Color = sans(textSize), ink
		axis.Tick.Label.Font, axis.Tick.Label.Color = sans(textSize-1), ink
	}
	legend.Top, legend.Left = true, true
	legend.TextStyle.Font, legend.TextStyle.Color = sans(textSize), ink
	legend.Padding = margin / 3
	legend.ThumbnailWidth = 2 * margin
}

// lines draws a line with points for each series.
func (p Plot) lines(drawing *plot.Plot, legend *plot.Legend, figures []report.Figure) error {
	drawing.X.Label.Text, drawing.Y.Label.Text = p.Over, p.Value
	drawing.Add(raster{horizontal: true}) // below the lines
	var places []float64
	lowest, highest := math.Inf(1), math.Inf(-1)
	for i, s := range p.Series {
		var line plotter.XYs
		for _, at := range s.points(figures) {
			if p.Log && at.value <= 0 || p.LogOver && at.over <= 0 {
				continue
			}
			line = append(line, plotter.XY{X: at.over, Y: at.value})
			places, lowest, highest = append(places, at.over), min(lowest, at.value), max(highest, at.value)
		}
		if len(line) == 0 {
			continue
		}
		slices.SortFunc(line, func(a, b plotter.XY) int { return int(math.Copysign(1, a.X-b.X)) })
		l, dots, err := plotter.NewLinePoints(line)
		if err != nil {
			return err
		}
		l.Color, l.Width = colours[i%len(colours)], 2
		dots.Shape, dots.Color, dots.Radius = draw.CircleGlyph{}, l.Color, 3
		drawing.Add(l, dots)
		legend.Add(s.Name, l, dots)
	}
	slices.Sort(places)
	places = slices.Compact(places)
	drawing.X.Tick.Marker = at(places)
	drawing.Y.Tick.Marker = ticks{p.Log}
	drawing.X.Min, drawing.X.Max = 0, 1
	if len(places) > 0 {
		drawing.X.Min, drawing.X.Max = places[0], places[len(places)-1]
	}
	switch {
	case p.LogOver:
		drawing.X.Scale = plot.LogScale{}
		if drawing.X.Min == drawing.X.Max || drawing.X.Min <= 0 {
			drawing.X.Min, drawing.X.Max = decades(drawing.X.Min, drawing.X.Max)
		}
	case drawing.X.Min == drawing.X.Max:
		drawing.X.Max++
	}
	switch {
	case p.Log:
		drawing.Y.Scale = plot.LogScale{}
		drawing.Y.Min, drawing.Y.Max = decades(lowest, highest)
	case len(places) == 0 || lowest == highest && lowest <= 0:
		drawing.Y.Min, drawing.Y.Max = min(0, lowest), 1
	default:
		drawing.Y.Min, drawing.Y.Max = min(0, lowest), highest*1.02
	}
	return nil
}

// bars draws groups of horizontal ones, one for each label, from above, and gives the height that this takes.
func (p Plot) bars(drawing *plot.Plot, legend *plot.Legend, figures []report.Figure) vg.Length {
	type bar struct {
		series int
		value  float64
	}
	var labels []string
	groups := make(map[string][]bar)
	low, high := math.Inf(1), 0.0
	for i, s := range p.Series {
		for _, at := range s.points(figures) {
			if !slices.Contains(labels, at.label) {
				labels = append(labels, at.label)
			}
			if at.value > 0 {
				groups[at.label] = append(groups[at.label], bar{i, at.value})
				low, high = min(low, at.value), max(high, at.value)
			}
		}
	}
	const gap = 0.8 // between groups, in bars
	list := make([]bars, len(p.Series))
	var marks plot.ConstantTicks
	y := 0.0 // of the next bar; places grow upwards
	for _, label := range labels {
		group := groups[label]
		marks = append(marks, plot.Tick{Value: y - max(0, float64(len(group)-1)/2), Label: label})
		for _, b := range group {
			list[b.series].at, list[b.series].values = append(list[b.series].at, y), append(list[b.series].values, b.value)
			y--
		}
		y -= gap
	}
	drawing.Add(raster{})
	for i, b := range list {
		if len(b.at) > 0 {
			b.colour, b.text = colours[i%len(colours)], drawing.X.Tick.Label
			drawing.Add(b)
			legend.Add(p.Series[i].Name, b)
		}
	}
	drawing.Y.Min, drawing.Y.Max = y+gap, 1
	drawing.Y.Tick.Marker, drawing.Y.Tick.Length, drawing.Y.Width, drawing.Y.Padding = marks, 0, 0, margin
	drawing.X.Label.Text = p.Value
	drawing.X.Tick.Marker = ticks{p.Log}
	if p.Log {
		drawing.X.Scale = plot.LogScale{}
		drawing.X.Min, drawing.X.Max = decades(low, high)
	} else {
		drawing.X.Min, drawing.X.Max = 0, max(high*1.02, math.SmallestNonzeroFloat32)
	}
	return vg.Length(1-y)*slot + 7*margin
}
