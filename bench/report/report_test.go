package report

import (
	"strings"
	"testing"
)

func TestFigure(t *testing.T) {
	t.Parallel()
	f := New("rate", "k/s", 30, 10, 20).Over(10, 40).Times(0.8)
	if f.Value != 20 || *f.Peer != 25 || *f.Ratio != 0.8 || !f.Met || f.Goal != ">= 0.8" {
		t.Errorf("more is better: %v", f)
	}
	if got, want := f.String(), "rate: 20 (10 to 30) k/s, peer 25, ratio 0.8, goal >= 0.8 met"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	f = New("state", "bytes", 1000).Under(50_000).Times(100).Noting("of %d", 3)
	if *f.Ratio != 50 || f.Met || !strings.HasSuffix(f.String(), "goal >= 100 MISSED (of 3)") {
		t.Errorf("less is better: %v", f)
	}
	if f = New("p99", "ms", 5.1).AtMost(5); f.Met || f.Goal != "<= 5 ms" {
		t.Errorf("at most: %v", f)
	}
	if f = New("x", "1/s", 7).AtLeast(7); !f.Met || f.Goal != ">= 7 1/s" {
		t.Errorf("at least: %v", f)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var values []float64
	for i := range 200 {
		values = append(values, float64(200-i))
	}
	for p, want := range map[float64]float64{0: 1, 50: 100, 99: 198, 100: 200} {
		if got := Percentile(values, p); got != want {
			t.Errorf("p%v is %v, want %v", p, got, want)
		}
	}
	if got := Median(4, 1, 2, 3); got != 2.5 {
		t.Errorf("median %v", got)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 0.00012345: "0.0001235", 1.25: "1.25", 999: "999", 1234567: "1,235,000", 1e8: "100,000,000", 99_996_000: "100,000,000", -12345: "-12,350", -999: "-999", 100: "100",
	} {
		if got := Text(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestBeside(t *testing.T) {
	t.Parallel()
	f := New("x", "ms", 1)
	g := f.Beside("Redis", "8.0").Beside("PostgreSQL", "17.5")
	if len(f.Versions) != 0 || len(g.Versions) != 2 || g.Versions["Redis"] != "8.0" {
		t.Errorf("versions %v and %v", f.Versions, g.Versions)
	}
}
