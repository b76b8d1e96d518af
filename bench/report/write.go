package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files that Write makes.
const (
	JSONFile     = "latest.json"
	MarkdownFile = "latest.md"
)

// Section is the figures of one measurement.
type Section struct {
	Title   string
	Figures []Figure
}

// Run is everything that one command measured.
type Run struct {
	Command  string
	Machine  Machine
	Sections []Section
}

// Figures of all sections.
func (r Run) Figures() []Figure {
	all := []Figure{} // none is an empty list, not null
	for _, s := range r.Sections {
		all = append(all, s.Figures...)
	}
	return all
}

// Write puts the run into a directory, made if it is not there: the list of figures as JSON, and a table for people.
func (r Run) Write(dir string) error {
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false) // goals have angle brackets
	e.SetIndent("", "  ")
	if err := e.Encode(r.Figures()); err != nil {
		return fmt.Errorf("lay out the figures: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory for the figures: %w", err)
	}
	return errors.Join(
		replace(filepath.Join(dir, JSONFile), data.Bytes()),
		replace(filepath.Join(dir, MarkdownFile), []byte(r.Markdown())),
	)
}

// replace writes a file whole or not at all.
func replace(path string, data []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}

// Markdown is the table for people.
func (r Run) Markdown() string {
	var b strings.Builder
	b.WriteString("# Figures of the last run\n\n")
	b.WriteString("Each is measured side by side with its peer in one run on one machine. A ratio counts, an absolute figure only shows the order. ")
	b.WriteString("A value is the median of the repeats, with the lowest and the highest; the ratio says how many times better than the peer it is.\n\n")
	fmt.Fprintf(&b, "- command: `%s`\n", r.Command)
	for _, line := range r.Machine.lines() {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n| | value | unit | peer | ratio | goal | met |\n|---|---|---|---|---|---|---|\n", s.Title)
		for _, f := range s.Figures {
			name := f.Name
			if f.Note != "" {
				name += "<br>" + f.Note
			}
			met := "yes"
			switch {
			case f.Goal == "":
				met = ""
			case !f.Met:
				met = "**no**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", cell(name), f.spread(), cell(f.Unit), number(f.Peer), number(f.Ratio), f.Goal, met)
		}
	}
	return b.String()
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return Text(*v)
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
