// Package cities is the world's cities with their populations, for a demo whose users are spread as people are.
package cities

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
)

// packed has a line each of name, country, admin code and population, separated by tabs, the largest first. The README
// says how it was made.
//
//go:embed cities.tsv.gz
var packed []byte

// City is one city. Names repeat, within a country too; labels do not.
type City struct {
	// Name is the city's own, in Latin letters with their accents.
	Name string
	// Country is an ISO 3166-1 code of two letters.
	Country string
	// Population is at least 1.
	Population uint32
	label      string
}

// Label is the city's value for an attribute, no other city's and at most push.MaxAttrLen bytes long: "Shenzhen CN".
// Smaller cities of the same name and country have their region's code too, "Springfield US-IL", and a number where
// that repeats as well.
func (c City) Label() string { return c.label }

// Load reads all cities, the largest first.
func Load() ([]City, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack the list of cities: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("unpack the list of cities: %w", err)
	}
	return parse(string(text))
}

func parse(text string) ([]City, error) {
	n := strings.Count(text, "\n")
	cities := make([]City, 0, n)
	given := labels{taken: make(map[string]bool, n), next: make(map[string]int)}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("read the list of cities: line %d has %d columns and not 4", len(cities)+1, len(f))
		}
		population, err := strconv.ParseUint(f[3], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read the list of cities: line %d: the population %q is not a number", len(cities)+1, f[3])
		}
		cities = append(cities, City{f[0], f[1], uint32(population), given.add(f[0], f[1], f[2])})
	}
	return cities, nil
}

// labels gives out labels, each once.
type labels struct {
	taken map[string]bool
	// next is the number to try for a label that repeats.
	next map[string]int
}

func (l *labels) add(name, country, region string) string {
	label := fit(name, " "+country)
	if l.taken[label] && region != "" {
		label = fit(name, " "+country+"-"+region)
	}
	for repeated := label; l.taken[label]; {
		n := max(l.next[repeated], 2)
		l.next[repeated] = n + 1
		suffix := " " + country + "-" + region + " " + strconv.Itoa(n)
		if region == "" {
			suffix = " " + country + " " + strconv.Itoa(n)
		}
		label = fit(name, suffix)
	}
	l.taken[label] = true
	return label
}

// fit joins a name and a suffix, and cuts the name, between two characters, where they are too long for a value.
func fit(name, suffix string) string {
	n := min(len(name), max(0, push.MaxAttrLen-len(suffix)))
	for n > 0 && n < len(name) && !utf8.RuneStart(name[n]) {
		n--
	}
	return strings.TrimRight(name[:n], " ") + suffix
}
