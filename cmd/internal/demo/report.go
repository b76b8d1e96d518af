package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"
)

// report prints the summary.
func (d *demo) report(ctx context.Context, v *verdict) error {
	bytes, err := d.service.Broker().Bytes(ctx)
	if err != nil {
		return err
	}
	d.out.line("")
	d.table([]string{"push to", "task", "accepted", "matched", "online", "last online", "later", "pending"}, func(row func(...any)) {
		for n, u := range d.uses {
			r := v.uses[n]
			row(u.name, string(u.task), brief(u.accepted), u.matched, r.online, u.toLast, r.later, d.out.format("%d B", u.pending))
		}
	})
	d.table([]string{"step", "time"}, func(row func(...any)) {
		for _, s := range d.steps {
			row(s.name, brief(s.took))
		}
	})
	d.table([]string{"broker's stream", "bytes"}, func(row func(...any)) {
		for _, name := range slices.Sorted(maps.Keys(bytes)) {
			row(name, bytes[name])
		}
	})
	for _, f := range v.first {
		d.out.line("DIFFERENCE: %s", f)
	}
	if v.other > 0 {
		d.out.line("%d other differences", v.other)
	}
	d.out.line("checked %d accounts: %d deliveries expected, %d arrived, %d missing, %d to strangers, %d twice",
		v.accounts, v.expected, v.arrived, v.missing, v.strangers, v.twice)
	return nil
}

// table prints rows in columns, the first to the left and the others to the right.
func (d *demo) table(head []string, fill func(row func(...any))) {
	rows := [][]string{head}
	fill(func(cells ...any) {
		row := make([]string, len(cells))
		for i, c := range cells {
			row[i] = d.out.format("%v", c)
		}
		rows = append(rows, row)
	})
	widths := make([]int, len(head))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := fmt.Sprintf("%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %*s", widths[i+1], cell)
		}
		d.out.line("%s", line)
	}
	d.out.line("")
}

// brief is a duration with three digits or so.
func brief(t time.Duration) string {
	switch {
	case t >= 10*time.Second:
		return t.Round(100 * time.Millisecond).String()
	case t >= time.Second:
		return t.Round(10 * time.Millisecond).String()
	case t >= 10*time.Millisecond:
		return t.Round(100 * time.Microsecond).String()
	}
	return t.Round(10 * time.Microsecond).String()
}
