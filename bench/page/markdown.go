package page

import (
	"fmt"
	"strings"

	"github.com/carillon-push/carillon/bench/report"
)

// Markdown is the page for people: the goals, then the sections, each with its plots, which it has those of that have any points.
func Markdown(list []Section, plots map[string][]Plot) string {
	var b strings.Builder
	b.WriteString("# Figures\n\n")
	b.WriteString("Each is measured side by side with its peer in one run on one machine. A ratio counts, an absolute figure only shows the order. ")
	b.WriteString("A value is the median of the repeats, with the lowest and the highest; the ratio says how many times better than the peer it is. ")
	b.WriteString("The page is made of what [the measurements](README.md) stored, and says of each section when and of which code that was.\n\n")
	b.WriteString("## Goals\n\n")
	b.WriteString(goalTable(list))
	machines := distinct(list)
	b.WriteString("\n## Machine\n")
	for i, m := range machines {
		b.WriteByte('\n')
		if len(machines) > 1 {
			fmt.Fprintf(&b, "Machine %d:\n\n", i+1)
		}
		for _, line := range m.lines() {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	for _, s := range list {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.Title, origin(s, machines))
		for _, p := range plots[s.Name] {
			if p.drawn(s.Figures) {
				fmt.Fprintf(&b, "\n![%s](%s)\n", p.Title, p.file())
			}
		}
		b.WriteString("\n| | value | unit | peer | ratio | goal | met |\n|---|---|---|---|---|---|---|\n")
		for _, f := range s.Figures {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", cell(label(f)), f.Spread(), cell(f.Unit), number(f.Peer), number(f.Ratio), f.Goal, verdict(f))
		}
	}
	return b.String()
}

// origin says where a section comes from.
func origin(s Section, machines []Machine) string {
	text := fmt.Sprintf("`%s`, %s, commit %s", s.Command, s.Date.UTC().Format("2006-01-02 15:04 UTC"), s.Commit)
	if strings.HasSuffix(s.Commit, Dirty) {
		text += ", from which files differed"
	}
	if len(machines) > 1 {
		for i, m := range machines {
			if m == s.Machine {
				text += fmt.Sprintf(", machine %d", i+1)
			}
		}
	}
	if v := s.versions(); v != "" {
		text += "; " + v
	}
	if s.Short {
		text += "; **at sizes that say nothing**"
	}
	return text + "."
}

// distinct machines, in the order in which they come.
func distinct(list []Section) []Machine {
	var all []Machine
	seen := make(map[Machine]bool)
	for _, s := range list {
		if !seen[s.Machine] {
			seen[s.Machine] = true
			all = append(all, s.Machine)
		}
	}
	return all
}

func label(f report.Figure) string {
	if f.Note == "" {
		return f.Name
	}
	return f.Name + "<br>" + f.Note
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return report.Text(*v)
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
