package cities

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	cities, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(cities) != 117_589 {
		t.Errorf("got %d cities", len(cities))
	}
	if !slices.IsSortedFunc(cities, func(a, b City) int { return int(b.Population) - int(a.Population) }) {
		t.Error("they are not sorted by population")
	}
	var people uint64
	seen := make(map[string]City)
	for _, c := range cities {
		people += uint64(c.Population)
		if c.Name == "" || len(c.Country) != 2 || c.Population == 0 || !utf8.ValidString(c.Label()) {
			t.Errorf("%+v is no city", c)
		}
		if len(c.Label()) > push.MaxAttrLen {
			t.Errorf("the label %q has %d bytes", c.Label(), len(c.Label()))
		}
		if !strings.Contains(c.Label(), " "+c.Country) {
			t.Errorf("the label %q does not tell the country %s", c.Label(), c.Country)
		}
		if o, ok := seen[c.Label()]; ok {
			t.Errorf("%+v and %+v have one label", c, o)
		}
		seen[c.Label()] = c
	}
	if people < 2.5e9 || people > 4e9 {
		t.Errorf("%d people live in cities, about three thousand million do", people)
	}
	for label, population := range map[string]uint32{
		"Shanghai CN": 22_315_474, "Shenzhen CN": 10_358_381, "São Paulo BR": 10_021_295, "Springfield US": 166_810, "Springfield US-IL": 116_565,
	} {
		if seen[label].Population != population {
			t.Errorf("%s has %d people", label, seen[label].Population)
		}
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("长", 20)
	cities, err := parse("A\tCN\t01\t9\nA\tCN\t01\t8\nA\tCN\t01\t7\nA\tCN\t02\t6\nA\tCN\t01\t5\nA\tUS\t\t5\nA\tUS\t\t5\nA\tUS\t\t5\n" +
		long + "1\tCN\t01\t4\n" + long + "2\tCN\t01\t3\n" + long + "3\tCN\t01\t2\n")
	if err != nil {
		t.Fatal(err)
	}
	cut := func(n int) string { return strings.Repeat("长", n) }
	want := []string{"A CN", "A CN-01", "A CN-01 2", "A CN-02", "A CN-01 3", "A US", "A US 2", "A US 3",
		cut(15) + " CN", cut(14) + " CN-01", cut(14) + " CN-01 2"}
	for i, c := range cities {
		if c.Label() != want[i] {
			t.Errorf("number %d: got %q, want %q", i, c.Label(), want[i])
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"A\tCN\t01\n", "A\tCN\t01\tmany\n", "A\tCN\t01\t-1\n", "\n"} {
		if cities, err := parse(text); err == nil {
			t.Errorf("%q: got %+v", text, cities)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(); err != nil {
			b.Fatal(err)
		}
	}
}
