package demo

import (
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/demo/cities"
	"github.com/carillon-push/carillon/pkg/push"
)

func crowdOf(t *testing.T, cfg Config) *crowd {
	t.Helper()
	places, err := cities.Load()
	if err != nil {
		t.Fatal(err)
	}
	return draw(rand.New(rand.NewPCG(cfg.Seed, 1)), cfg, places)
}

// The same seed draws the same people, another one draws others.
func TestDrawIsDeterministic(t *testing.T) {
	t.Parallel()
	cfg := small()
	a, b := crowdOf(t, cfg), crowdOf(t, cfg)
	if !reflect.DeepEqual(a.people, b.people) || !slices.Equal(a.order, b.order) {
		t.Error("one seed draws two crowds")
	}
	cfg.Seed++
	if c := crowdOf(t, cfg); reflect.DeepEqual(a.people, c.people) {
		t.Error("two seeds draw one crowd")
	}
}

// People are as the description of the crowd says. The bounds are six standard deviations and more.
func TestDraw(t *testing.T) {
	t.Parallel()
	cfg := small()
	cfg.Accounts, cfg.Online = 50_000, 700
	c := crowdOf(t, cfg)
	online, byLevel, byCity, byRank := 0, make([]int, len(levels)), map[uint32]int{}, make([]int, stocks)
	for i := range c.people {
		p := &c.people[i]
		if p.online {
			online++
		}
		byLevel[p.level]++
		byCity[p.city]++
		tags := p.tags()
		for n, tag := range tags {
			if slices.Contains(tags[:n], tag) || len(tag) > push.MaxTagLen {
				t.Fatalf("person %d follows %q", i, tags)
			}
			byRank[p.follows[n]]++
		}
	}
	if online != cfg.Online {
		t.Errorf("%d are online", online)
	}
	for i, l := range levels {
		if share := float64(byLevel[i]) / float64(cfg.Accounts); math.Abs(share-l.share) > 0.015 {
			t.Errorf("%s: %.3f of all, want %.3f", l.name, share, l.share)
		}
	}
	people := 0.0
	for _, city := range c.cities {
		people += float64(city.Population)
	}
	for i, city := range c.cities[:20] {
		want := float64(cfg.Accounts) * float64(city.Population) / people
		if got := float64(byCity[uint32(i)]); math.Abs(got-want) > 6*math.Sqrt(want) {
			t.Errorf("%s: %.0f people, want %.0f", city.Label(), got, want)
		}
	}
	if !(byRank[0] > byRank[9] && byRank[9] > byRank[99] && byRank[99] > byRank[4999]) {
		t.Errorf("followers of ranks 0, 9, 99, 4999: %d, %d, %d, %d", byRank[0], byRank[9], byRank[99], byRank[4999])
	}
	// Far down, where hardly anybody draws one twice, it is the law itself: ten draws each, weight 1/n over their sum.
	sum := 0.0
	for n := range stocks {
		sum += zipf(n)
	}
	got, want := 0.0, 0.0
	for n := 1000; n < 2000; n++ {
		got += float64(byRank[n])
		want += float64(cfg.Accounts) * follows * zipf(n) / sum
	}
	if got < want || got > 1.3*want { // repeats of popular ones are drawn anew, and so a few more fall here
		t.Errorf("followers of ranks 1000 to 2000: %.0f, the law says %.0f", got, want)
	}
}

func TestWeightedDrawsWhatHasWeight(t *testing.T) {
	t.Parallel()
	w := newWeighted(4, func(i int) float64 { return []float64{0, 1, 0, 3}[i] })
	r := rand.New(rand.NewPCG(1, 2))
	var counts [4]int
	for range 4000 {
		counts[w.draw(r)]++
	}
	if counts[0] != 0 || counts[2] != 0 || counts[1] < 800 || counts[1] > 1200 {
		t.Errorf("got %v", counts)
	}
}

func TestStocksAreDifferent(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for rank := range stocks {
		seen[stock(rank)] = true
	}
	if len(seen) != stocks {
		t.Errorf("%d names for %d stocks", len(seen), stocks)
	}
}

func TestPlatinumCity(t *testing.T) {
	t.Parallel()
	c := &crowd{people: []person{{city: 5}, {city: 5}, {city: 7}, {city: 9, level: 1, online: true}}}
	if got := platinumCity(c); got != 5 {
		t.Errorf("with nobody online got city %d, want that with the most", got)
	}
	c.people[2].online = true
	if got := platinumCity(c); got != 7 {
		t.Errorf("got city %d, want that where one is online", got)
	}
}

func TestBarsMoveOnATerminal(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := newPrinter(&out)
	if p.terminal {
		t.Error("a buffer is taken for a terminal")
	}
	p.terminal = true
	bar := p.progress("work", 2000)
	bar.add(1000)
	bar.add(1000)
	bar.end()
	if s := out.String(); !strings.Contains(s, "2000/2000") || !strings.Contains(s, "work: 2,000 in ") {
		t.Errorf("got %q", s)
	}
	newPrinter(io.Discard).progress("nothing", 0).end()
}
