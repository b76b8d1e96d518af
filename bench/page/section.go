// Package page is what is published of the measurements: their sections, stored one by one with the code, the machine and the
// command that they come from, and the list, the tables and the plots that are made of them.
package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carillon-push/carillon/bench/report"
)

// Section is what one measurement came to.
type Section struct {
	// Name is the measurement's.
	Name  string `json:"name"`
	Title string `json:"title"`
	// Command, Commit, Date and Machine are of the run. Commit ends with Dirty when files differed from it.
	Command string    `json:"command"`
	Commit  string    `json:"commit"`
	Date    time.Time `json:"date"`
	Machine Machine   `json:"machine"`
	// Short is set when the sizes say nothing.
	Short bool `json:"short,omitempty"`
	// Code is the digest of what was measured, of package code.
	Code    string          `json:"code"`
	Figures []report.Figure `json:"-"`
}

// stored is a section's file: the figures with all that is for people.
type stored struct {
	Section
	Figures []storedFigure `json:"figures"`
}

type storedFigure struct {
	report.Figure
	Values   []float64         `json:"values"`
	Note     string            `json:"note,omitempty"`
	Versions map[string]string `json:"versions,omitempty"`
}

// versions that the figures tell of, as one reads them: "PostgreSQL 17.5; Redis 8.0".
func (s Section) versions() string {
	all := make(map[string]string)
	for _, f := range s.Figures {
		maps.Copy(all, f.Versions)
	}
	var list []string
	for _, program := range slices.Sorted(maps.Keys(all)) {
		list = append(list, program+" "+all[program])
	}
	return strings.Join(list, "; ")
}

// sections is the directory of the stored ones, and sectionFile the name of one.
const sections = "sections"

func sectionFile(name string) string { return filepath.Join(sections, name+".json") }

// Store keeps a section in a directory in place of what was there before.
func Store(dir string, s Section) error {
	file := stored{Section: s, Figures: []storedFigure{}}
	for _, f := range s.Figures {
		file.Figures = append(file.Figures, storedFigure{f, f.Values, f.Note, f.Versions})
	}
	data, err := encode(file)
	if err != nil {
		return fmt.Errorf("lay out the figures of %s: %w", s.Name, err)
	}
	return replace(filepath.Join(dir, sectionFile(s.Name)), data)
}

// Load gives the sections that a directory has of the named ones, in the order of the names, and the names of those that it
// has beside them. A directory without any has none.
func Load(dir string, names []string) (list []Section, others []string, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, sections))
	if err != nil && !os.IsNotExist(err) {
		return nil, nil, fmt.Errorf("look for the figures: %w", err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); !ok || !slices.Contains(names, name) {
			others = append(others, e.Name())
		}
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, sectionFile(name)))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the figures of %s: %w", name, err)
		}
		var file stored
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&file); err != nil {
			return nil, nil, fmt.Errorf("read the figures of %s: %w", name, err)
		}
		s := file.Section
		for _, f := range file.Figures {
			f.Figure.Values, f.Figure.Note, f.Figure.Versions = f.Values, f.Note, f.Versions
			if len(f.Values) == 0 {
				return nil, nil, fmt.Errorf("read the figures of %s: %q has no values", name, f.Name)
			}
			s.Figures = append(s.Figures, f.Figure)
		}
		list = append(list, s)
	}
	return list, others, nil
}

// encode lays a value out as JSON for people, too.
func encode(v any) ([]byte, error) {
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false) // goals have angle brackets
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return data.Bytes(), err
}

// replace writes a file whole or not at all, and makes its directory if it is not there.
func replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the directory for the figures: %w", err)
	}
	next := path + ".new"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}
