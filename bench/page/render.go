package page

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carillon-push/carillon/bench/report"
)

// Files that are made of the sections, beside the plots.
const (
	JSONFile     = "latest.json"
	MarkdownFile = "latest.md"
)

// plotExt ends the names of the plots.
const plotExt = ".svg"

// Render makes the files of some sections, by their names: the list of all figures, the page, and its plots.
func Render(list []Section, plots map[string][]Plot) (map[string][]byte, error) {
	all := []report.Figure{} // none is an empty list, not null
	for _, s := range list {
		all = append(all, s.Figures...)
	}
	data, err := encode(all)
	if err != nil {
		return nil, fmt.Errorf("lay out the figures: %w", err)
	}
	files := map[string][]byte{JSONFile: data, MarkdownFile: []byte(Markdown(list, plots))}
	for _, s := range list {
		for _, p := range plots[s.Name] {
			if !p.drawn(s.Figures) {
				continue
			}
			if files[p.file()], err = p.draw(s.Figures); err != nil {
				return nil, fmt.Errorf("draw the plot %s: %w", p.Name, err)
			}
		}
	}
	return files, nil
}

// Write puts rendered files into a directory, and takes plots away that are not among them.
func Write(dir string, files map[string][]byte) error {
	for name, data := range files {
		if err := replace(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	old, err := plotsIn(dir)
	if err != nil {
		return err
	}
	for _, name := range old {
		if _, ok := files[name]; !ok {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("take an old plot away: %w", err)
			}
		}
	}
	return nil
}

// Differing are the names of the files of a directory that are not what was rendered, or not there, or plots too many.
func Differing(dir string, files map[string][]byte) ([]string, error) {
	names, err := plotsIn(dir)
	if err != nil {
		return nil, err
	}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var differing []string
	for _, name := range slices.Compact(names) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("read the page: %w", err)
		}
		if want, ok := files[name]; !ok || err != nil || string(want) != string(data) {
			differing = append(differing, name)
		}
	}
	return differing, nil
}

func plotsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for plots: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), plotExt) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
