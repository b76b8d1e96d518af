package demo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/carillon-push/carillon/cmd/internal/demo/cities"
)

// level is a value of the attribute level and the share of people who have it.
type level struct {
	name  string
	share float64
}

var levels = []level{{"platinum", 0.02}, {"gold", 0.08}, {"silver", 0.20}, {"basic", 0.70}}

const (
	platinum = 0 // in levels

	// stocks is how many there are, and follows how many of them each person follows, by a Zipf law: the n-th stock is
	// drawn with a weight of 1/n^exponent.
	stocks   = 5000
	follows  = 10
	exponent = 1.0
)

// stock is the tag of those who follow the stock of a rank, from 0: as on the exchanges of Shanghai and Shenzhen.
func stock(rank int) string {
	if rank%2 == 0 {
		return fmt.Sprintf("SH%06d", 600_000+rank/2)
	}
	return fmt.Sprintf("SZ%06d", 1+rank/2)
}

// person is one account. The slices of a crowd hold very many.
type person struct {
	city    uint32 // in crowd.cities
	level   uint8  // in levels
	online  bool
	follows [follows]uint16 // ranks of stocks, each once
}

// crowd is everybody who was drawn. A person's place in it is the number in the account's name.
type crowd struct {
	cities []cities.City
	people []person
	order  []int // of all people: first those who are online, then the others as they log in
}

func accountName(i int) string { return fmt.Sprintf("user%07d", i) }

// tags are the tags of a person.
func (p *person) tags() []string {
	tags := make([]string, len(p.follows))
	for i, rank := range p.follows {
		tags[i] = stock(int(rank))
	}
	return tags
}

// weighted draws numbers from 0 in proportion to their weights.
type weighted struct{ sums []float64 }

func newWeighted(n int, weight func(int) float64) weighted {
	w := weighted{make([]float64, n)}
	sum := 0.0
	for i := range w.sums {
		sum += weight(i)
		w.sums[i] = sum
	}
	return w
}

func (w weighted) draw(r *rand.Rand) int {
	x := r.Float64() * w.sums[len(w.sums)-1]
	return sort.Search(len(w.sums)-1, func(i int) bool { return w.sums[i] > x })
}

// draw makes a crowd; the places' populations are their weights.
func draw(r *rand.Rand, cfg Config, places []cities.City) *crowd {
	c := &crowd{cities: places, people: make([]person, cfg.Accounts), order: r.Perm(cfg.Accounts)}
	city := newWeighted(len(places), func(i int) float64 { return float64(places[i].Population) })
	lvl := newWeighted(len(levels), func(i int) float64 { return levels[i].share })
	followed := newWeighted(stocks, zipf)
	for i := range c.people {
		p := &c.people[i]
		p.city, p.level = uint32(city.draw(r)), uint8(lvl.draw(r))
		for n := 0; n < follows; {
			rank := uint16(followed.draw(r))
			if !slices.Contains(p.follows[:n], rank) {
				p.follows[n] = rank
				n++
			}
		}
	}
	for _, i := range c.order[:cfg.Online] {
		c.people[i].online = true
	}
	return c
}

// describe says what was drawn.
func (c *crowd) describe(out *printer, cfg Config) {
	inCity := map[uint32]int{}
	for i := range c.people {
		inCity[c.people[i].city]++
	}
	most := mostIn(inCity)
	out.line("%d accounts drawn with seed %s: they live in %d of the world's %d cities, by population; most in %s (%d).",
		cfg.Accounts, strconv.FormatUint(cfg.Seed, 10), len(inCity), len(c.cities), c.cities[most].Label(), inCity[most])
	shares := make([]string, len(levels))
	for i, l := range levels {
		shares[i] = fmt.Sprintf("%s %.0f %%", l.name, 100*l.share)
	}
	out.line("Levels: %s. Each follows %d of %d stocks, drawn by a Zipf law (s = %.1f). %d are online.",
		strings.Join(shares, ", "), follows, stocks, exponent, cfg.Online)
}

// mostIn is the key with the largest count; of several the least, which is the larger city.
func mostIn(counts map[uint32]int) uint32 {
	var best uint32
	most := -1
	for k, n := range counts {
		if n > most || n == most && k < best {
			best, most = k, n
		}
	}
	return best
}
