package report

import (
	"encoding/json"
	"os"
	"path/filepath"
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

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "docs")
	r := Run{Command: "bench", Machine: ThisMachine(), Sections: []Section{
		{"One", []Figure{New("a|b", "ms", 1, 2, 3).Under(4).Times(1).Noting("so")}},
		{"Two", []Figure{New("c", "s", 9).AtMost(1), New("d", "1", 2)}},
	}}
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	var list []Figure
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 3 || *list[0].Ratio != 2 || list[1].Ratio != nil {
		t.Errorf("%s, %v", raw, err)
	}
	if !strings.Contains(string(raw), `"ratio": null`) {
		t.Errorf("no null where there is no peer: %s", raw)
	}
	text, err := os.ReadFile(filepath.Join(dir, MarkdownFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| a\\|b<br>so | 2 (1 to 3) | ms | 4 | 2 | >= 1 | yes |", "| c | 9 | s |  |  | <= 1 s | **no** |", "| d | 2 | 1 |  |  |  |  |", "`bench`", "cores",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

// TestLatest holds the file of the last full run, when there is one, to the form that its readers rely on.
func TestLatest(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "benchmarks", JSONFile))
	if os.IsNotExist(err) {
		return // nothing was measured yet, and nothing is claimed
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Error("there are no figures")
	}
	for _, f := range list {
		name, _ := f["name"].(string)
		_, unit := f["unit"].(string)
		_, value := f["value"].(float64)
		_, goal := f["goal"].(string)
		_, met := f["met"].(bool)
		if name == "" || !unit || !value || !goal || !met || len(f) != 7 {
			t.Errorf("figure %v", f)
		}
		peer, hasPeer := f["peer"]
		ratio, hasRatio := f["ratio"]
		if !hasPeer || !hasRatio || (peer == nil) != (ratio == nil) {
			t.Errorf("%s: peer %v, ratio %v", name, peer, ratio)
		}
	}
}
