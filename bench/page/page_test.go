package page

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/bench/report"
)

func two() []Section {
	m := ThisMachine()
	at := time.Date(2026, 11, 23, 18, 32, 0, 0, time.UTC)
	return []Section{
		{Name: "one", Title: "One", Command: "bench", Commit: "0123-dirty", Date: at, Machine: m, Code: "ab", Figures: []report.Figure{
			report.New("a|b", "ms", 1, 2, 3).Under(4).Times(1).Noting("so").Beside("Redis", "8.0"),
		}},
		{Name: "two", Title: "Two", Command: "bench -only two", Commit: "0124", Date: at.Add(time.Hour), Machine: m, Code: "cd", Figures: []report.Figure{
			report.New("c", "s", 9).AtMost(1), report.New("d of 1,000 users", "1", 2), report.New("d of 20,000 users", "1", 30).Over(3),
		}},
	}
}

func render(t *testing.T, list []Section, plots map[string][]Plot) map[string][]byte {
	t.Helper()
	files, err := Render(list, plots)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestStored: what comes back from the directory gives the same page, byte for byte.
func TestStored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, s := range two() {
		if err := Store(dir, s); err != nil {
			t.Fatal(err)
		}
	}
	list, others, err := Load(dir, []string{"two", "none", "one"})
	if err != nil || len(others) != 0 || len(list) != 2 || list[0].Name != "two" {
		t.Fatalf("%v, beside them %q, %v", list, others, err)
	}
	slices.Reverse(list)
	want, got := render(t, two(), nil), render(t, list, nil)
	for name := range want {
		if string(want[name]) != string(got[name]) {
			t.Errorf("%s was\n%s\nand comes back as\n%s", name, want[name], got[name])
		}
	}
	if _, others, err = Load(dir, []string{"two"}); err != nil || !slices.Equal(others, []string{"one.json"}) {
		t.Errorf("beside two there are %q, %v", others, err)
	}
	if list, others, err = Load(t.TempDir(), []string{"one"}); err != nil || len(list)+len(others) > 0 {
		t.Errorf("an empty directory gives %v, %q, %v", list, others, err)
	}
	for _, bad := range []string{"{", `{"figures":[{"name":"x"}]}`, `{"what":1}`} {
		if err := os.WriteFile(filepath.Join(dir, sectionFile("one")), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if list, _, err := Load(dir, []string{"one"}); err == nil {
			t.Errorf("%s gives %v", bad, list)
		}
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	files := render(t, two(), nil)
	for _, want := range []string{
		"| a\\|b<br>so | 2 (1 to 3) | ms | 4 | 2 | >= 1 | yes |", "| c | 9 | s |  |  | <= 1 s | **no** |", "| d of 1,000 users | 2 | 1 |  |  |  |  |", "cores; GOMAXPROCS", "ulimit -n",
		"`bench -only two`, 2026-11-23 19:32 UTC, commit 0124.", "commit 0123-dirty, from which files differed; Redis 8.0.", "; nats-server ",
	} {
		if !strings.Contains(string(files[MarkdownFile]), want) {
			t.Errorf("%q is missing in\n%s", want, files[MarkdownFile])
		}
	}
	other := two()
	other[1].Machine.CPU = "another"
	if text := Markdown(other, nil); !strings.Contains(text, "Machine 2:") || !strings.Contains(text, "commit 0124, machine 2.") {
		t.Errorf("two machines are told as\n%s", text)
	}
	var list []map[string]any
	if err := json.Unmarshal(files[JSONFile], &list); err != nil || len(list) != 4 {
		t.Fatalf("%s, %v", files[JSONFile], err)
	}
	for _, f := range list {
		holds(t, f)
	}
}

// holds checks the form that readers of the list rely on.
func holds(t *testing.T, f map[string]any) {
	t.Helper()
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

// TestLatest holds the list that is published.
func TestLatest(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "benchmarks", JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
		t.Fatalf("%d figures, %v", len(list), err)
	}
	for _, f := range list {
		holds(t, f)
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, g := range Goals {
		if g.ID == "" || g.Text == "" || len(g.Answers) == 0 || seen[g.ID] {
			t.Errorf("goal %q", g.ID)
		}
		seen[g.ID] = true
	}
	s := Section{Name: "start", Title: "Start", Figures: []report.Figure{report.New("start of the whole system", "ms", 400).Under(200).AtMost(300)}}
	text := goalTable([]Section{s})
	for _, want := range []string{
		"Of 1 figures that are held against a goal here, 0 meet it.", "| The whole system started in a test: ≤ 300 ms | start of the whole system | 400 ms | 0.5 | <= 300 ms | **no** |",
		"nothing of `chaos` says it", "not measured: against goim",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	faults := strings.Join(Unanswered([]Section{s}, []string{"chaos"}), "\n")
	if strings.Contains(faults, "goal start") || strings.Contains(faults, "chaos") || !strings.Contains(faults, "goal tests: no figure of tests is named ^make test") {
		t.Errorf("unanswered:\n%s", faults)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	section := func(names ...string) []Section {
		s := Section{Name: "s"}
		for _, n := range names {
			s.Figures = append(s.Figures, report.New(n, "ms", 1))
		}
		return []Section{s}
	}
	if faults := Compare(section("a of 10", "b after 5ms"), section("a of 1,000", "a of 20,000", "b after 0.25ms"), nil); len(faults) > 0 {
		t.Errorf("only numbers differ: %q", faults)
	}
	faults := Compare(section("a", "new"), section("a", "gone"), nil)
	if len(faults) != 2 || !strings.Contains(faults[0], `lacks the row "new (ms)"`) || !strings.Contains(faults[1], `has the row "gone (ms)"`) {
		t.Errorf("faults %q", faults)
	}
	fewer := map[string]*regexp.Regexp{"s": regexp.MustCompile("^gone")}
	if faults = Compare(section("a", "new"), section("a", "gone"), fewer); len(faults) != 1 || !strings.Contains(faults[0], "new") {
		t.Errorf("where a short run makes fewer: %q", faults)
	}
	if faults = Compare(section("a"), nil, nil); len(faults) != 1 {
		t.Errorf("without a page: %q", faults)
	}
}

var drawn = map[string][]Plot{"two": {
	{Name: "bars", Title: "Bars", Value: "1", Series: []Series{Ours("ours", `^d of ([\d,]+ users)`), Peers("theirs", `^d of ([\d,]+ users)`), Ours("nobody's", `^(nothing)`)}},
	{Name: "lines", Title: "Lines & more", Value: "1", Log: true, Over: "users", LogOver: true, Series: []Series{Ours("ours", `^d of ([\d,]+) users`)}},
	{Name: "none", Title: "None", Series: []Series{Ours("ours", `^x (.)`)}},
}}

func TestPlots(t *testing.T) {
	t.Parallel()
	first, again := render(t, two(), drawn), render(t, two(), drawn)
	if len(first) != 4 {
		t.Errorf("%d files", len(first))
	}
	for name, data := range first {
		if string(again[name]) != string(data) {
			t.Errorf("%s is drawn in two ways", name)
		}
		if filepath.Ext(name) != plotExt {
			continue
		}
		for d := xml.NewDecoder(strings.NewReader(string(data))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if len(data) > 64<<10 || !strings.Contains(string(data), "sans-serif") {
			t.Errorf("%s has %d bytes:\n%s", name, len(data), data)
		}
	}
	if text := string(first[MarkdownFile]); !strings.Contains(text, "![Bars](bars.svg)") || strings.Contains(text, "none.svg") {
		t.Errorf("the page is\n%s", text)
	}
	if got := drawn["two"][0].Empty(two()[1].Figures); !slices.Equal(got, []string{"bars: nobody's"}) {
		t.Errorf("empty are %q", got)
	}
	bars := string(first["bars.svg"])
	if !regexp.MustCompile(`>ours<`).MatchString(bars) || strings.Contains(bars, "nobody") || !strings.Contains(bars, ">20,000 users<") {
		t.Errorf("the bars are\n%s", bars)
	}
}

// TestOddPlots: figures that a scale cannot show.
func TestOddPlots(t *testing.T) {
	t.Parallel()
	for _, values := range [][]float64{{0}, {1}, {0, 5}, {7, 7}, {1000}, {-3, 4}, {1e-9, 1e12}} {
		var list []report.Figure
		for i, v := range values {
			list = append(list, report.New("at "+report.Text(float64(i)), "1", v))
		}
		for _, over := range []string{"", "x"} {
			for _, log := range []bool{false, true} {
				p := Plot{Title: "Odd", Value: "1", Over: over, Log: log, LogOver: log, Series: []Series{Ours("s", `^at ([\d,]+)`)}}
				if data, err := p.draw(list); err != nil || strings.Contains(string(data), "NaN") || strings.Contains(string(data), "Inf") {
					t.Errorf("%v over %q, logarithmic %v: %v\n%s", values, over, log, err, data)
				}
			}
		}
	}
}

// TestWrite: old plots go, and what differs is told.
func TestWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "docs")
	if err := Write(dir, render(t, two(), drawn)); err != nil {
		t.Fatal(err)
	}
	files := render(t, two(), nil)
	if got, err := Differing(dir, files); err != nil || !slices.Equal(got, []string{"bars.svg", MarkdownFile, "lines.svg"}) {
		t.Errorf("%q differ, %v", got, err)
	}
	if err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	if got, err := Differing(dir, files); err != nil || len(got) > 0 {
		t.Errorf("%q differ, %v", got, err)
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	if got := Commit(t.TempDir(), "docs"); got != unknown {
		t.Errorf("of no repository: %q", got)
	}
	if got := Commit(".", "docs"); got != unknown && !regexp.MustCompile(`^[0-9a-f]{12}(-dirty)?$`).MatchString(got) {
		t.Errorf("of this one: %q", got)
	}
}
