package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/bench/crowd"
	"github.com/carillon-push/carillon/bench/notify"
	"github.com/carillon-push/carillon/bench/page"
)

var update = flag.Bool("update", false, "make the page anew of its sections")

func TestMain(m *testing.M) {
	crowd.Child()
	notify.Child()
	// Children of a test under the race detector would each wait a second at their end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func bench(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, &out)
	return out.String(), err
}

// TestRun: two measurements, one after the other, and the files; each of the others has a test of its own.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if said, err := bench(t, "-short", "-only", "match", "-out", dir); err != nil || !strings.Contains(said, "p99") {
		t.Fatalf("%v: it said:\n%s", err, said)
	}
	if _, err := bench(t, "-short", "-only", "pending", "-out", dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, page.MarkdownFile))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := bytes.Index(text, []byte("## Matching")), bytes.Index(text, []byte("## Pending")); a < 0 || b < a {
		t.Errorf("the sections are not all there in their order:\n%s", text)
	}
	for _, want := range []string{"![Whom of 1,000,000 users a condition holds for, p99](match.svg)", "`go run ./bench -only match -short`", "at sizes that say nothing"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("sections %q, %v", files, err)
	}
	for _, file := range append(files, filepath.Join(dir, page.MarkdownFile), filepath.Join(dir, page.JSONFile)) {
		if b, err := os.ReadFile(file); err != nil || bytes.Contains(b, []byte(dir)) {
			t.Errorf("%s tells of this machine: %v\n%s", file, err, b)
		}
	}
	said, err := bench(t, "-check", "-out", dir)
	if err == nil || !strings.Contains(said, "match: it was measured at sizes that say nothing") || !strings.Contains(said, "rest: it was never measured") {
		t.Errorf("%v: it said:\n%s", err, said)
	}
}

// TestStale goes through the states of a section.
func TestStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now, err := digests(t.Context(), measurements)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range measurements {
		if err := page.Store(dir, page.Section{Name: m.name, Title: m.title, Code: now[m.name]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := render(dir); err != nil {
		t.Fatal(err)
	}
	if said, err := bench(t, "-check", "-out", dir); err != nil {
		t.Errorf("%v: it said:\n%s", err, said)
	}
	if said, err := bench(t, "-stale", "-out", dir); err != nil || strings.Contains(said, "took") {
		t.Errorf("nothing is stale: %v: it said:\n%s", err, said)
	}
	if err := os.WriteFile(filepath.Join(dir, page.MarkdownFile), []byte("by hand"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bench(t, "-check", "-out", dir); err == nil || !strings.Contains(err.Error(), page.MarkdownFile) {
		t.Errorf("a page by hand: %v", err)
	}
	if err := page.Store(dir, page.Section{Name: "match", Code: "another", Commit: "0123"}); err != nil {
		t.Fatal(err)
	}
	if err := page.Store(dir, page.Section{Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	said, err := bench(t, "-check", "-out", dir)
	if err == nil || !strings.Contains(err.Error(), "-stale") || !strings.Contains(said, "gone.json: it belongs to no measurement") ||
		!strings.Contains(said, "match: its code has changed") || strings.Contains(said, "rest") {
		t.Errorf("%v: it said:\n%s", err, said)
	}
	if chosen, _, err := (request{stale: true, dir: dir}).choose(t.Context()); err != nil || len(chosen) != 1 || chosen[0].name != "match" {
		t.Errorf("to be measured are %q, %v", names(chosen), err)
	}
}

// TestWritesNothing: what says nothing leaves the published figures alone.
func TestWritesNothing(t *testing.T) {
	t.Parallel()
	if said, err := bench(t, "-short", "-only", "match"); err != nil || strings.Contains(said, "written") {
		t.Errorf("%v: it said:\n%s", err, said)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-only", "match,nothing"}, {"match"}, {"-what"}, {"-short", "-long"}, {"-check", "-short"}, {"-check", "-only", "match"}, {"-stale", "-only", "match"},
		{"-stale", "-short"}, {"-rows"}, {"-short", "-only", "tests"}, {"-short", "-out", "./" + latest + "/"},
	} {
		if _, err := bench(t, args...); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	r, err := parse([]string{"-long", "-only", "match,rest", "-out", "/x"}, new(bytes.Buffer))
	if err != nil || r.command != "go run ./bench -long -only match,rest" || r.size() != long {
		t.Errorf("%+v, %v", r, err)
	}
	chosen, leftOut, err := request{}.choose(t.Context())
	if err != nil || !slices.Equal(leftOut, []string{"tests", "chaos"}) || len(chosen)+2 != len(measurements) {
		t.Errorf("of all, %q are left out, %v", leftOut, err)
	}
	if chosen, leftOut, err = (request{isLong: true}).choose(t.Context()); err != nil || len(leftOut) > 0 || len(chosen) != len(measurements) {
		t.Errorf("at length, %q are left out, %v", leftOut, err)
	}
}

// TestCode: the digests are of what is measured.
func TestCode(t *testing.T) {
	t.Parallel()
	now, err := digests(t.Context(), measurements)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	for name, d := range now {
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same code", name, other)
		}
		seen[d] = name
	}
}

// TestTables: what is said of measurements is of some that there are.
func TestTables(t *testing.T) {
	t.Parallel()
	known := names(measurements)
	files := make(map[string]bool)
	for name, list := range plots {
		if !slices.Contains(known, name) {
			t.Errorf("there are plots of %q, which is no measurement", name)
		}
		for _, p := range list {
			if files[p.Name] {
				t.Errorf("two plots are called %s", p.Name)
			}
			files[p.Name] = true
		}
	}
	for name := range fewer {
		if !slices.Contains(known, name) {
			t.Errorf("%q makes fewer rows, and is no measurement", name)
		}
	}
	for _, g := range page.Goals {
		for _, a := range g.Answers {
			if !slices.Contains(known, a.Section) {
				t.Errorf("goal %s is answered by %q, which is no measurement", g.ID, a.Section)
			}
		}
	}
}

// TestPage: what is published is what the sections give, byte for byte, and answers all goals. Before there are sections, the page
// is that of a run without them.
func TestPage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", latest)
	list, _, err := page.Load(dir, names(measurements))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		return
	}
	files, err := page.Render(list, plots)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := page.Write(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	differing, err := page.Differing(dir, files)
	if err != nil || len(differing) > 0 {
		t.Errorf("%q are not what the sections give, %v; -update makes them anew", differing, err)
	}
	for _, fault := range page.Unanswered(list, missing(list)) {
		t.Error(fault)
	}
	for _, s := range list {
		for _, p := range plots[s.Name] {
			for _, series := range p.Empty(s.Figures) {
				t.Errorf("no figure of %s is in the plot's series %s", s.Name, series)
			}
		}
	}
}

// missing are the measurements without a section.
func missing(list []page.Section) []string {
	return slices.DeleteFunc(names(measurements), func(name string) bool {
		return slices.ContainsFunc(list, func(s page.Section) bool { return s.Name == name })
	})
}
