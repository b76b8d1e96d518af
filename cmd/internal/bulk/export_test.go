package bulk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is exported from one service and imported into another makes the same users there, whatever is in their names.
func TestExportAndImportAreIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		from, to := startFake(t), startFake(t)
		from.names = [10]string{"tags", "account", "attributes.tags", "city", `a"b`, "x,y", "l\r\nm"}
		for _, u := range rapid.SliceOfN(rapid.Custom(anyUser), 0, 20).Draw(rt, "users") {
			from.register(u.Account).give(u.Tags, u.Attributes)
		}
		name := rapid.SampledFrom([]string{"a.ndjson", "a.csv", "a.csv.gz", "a.jsonl.gz"}).Draw(rt, "name")
		out := DefaultExport()
		out.File = filepath.Join(dir, name)
		if err := Export(t.Context(), out, from.rest(), Streams{Err: io.Discard}); err != nil {
			rt.Fatal(err)
		}
		in := DefaultImport()
		in.File = out.File
		if err := Import(t.Context(), in, to.rest(), Streams{Out: io.Discard, Err: io.Discard}); err != nil {
			rt.Fatal(err)
		}
		if got, want := to.state(), from.state(); got != want {
			rt.Fatalf("%s: %s\nwant %s", name, got, want)
		}
	})
}

// Pages that fail for a moment are asked for again, and a file that cannot be finished does not appear.
func TestExportRetries(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	s := draw(t, rand.New(rand.NewPCG(5, 5)), 300, "users.ndjson")
	if err := Import(t.Context(), s.config(), f.rest(), Streams{Out: io.Discard, Err: io.Discard}); err != nil {
		t.Fatal(err)
	}
	f.before = func(n int, _ string) fault { return []fault{{}, {cut: true}, {code: 91000}, {cutAfter: true}}[n%4] }
	out := filepath.Join(t.TempDir(), "out.csv")
	cfg := DefaultExport()
	cfg.File = out
	e := newExporter(cfg, CSV, f.rest(), io.Discard)
	e.calls.first, e.calls.longest = 1, 1
	if err := e.run(t.Context(), Streams{}); err != nil {
		t.Fatal(err)
	}
	if e.n != len(f.users) {
		t.Errorf("exported %d of %d", e.n, len(f.users))
	}
	f.before = func(_ int, command string) fault { return fault{cut: strings.HasPrefix(command, accountsPath)} }
	e = newExporter(cfg, CSV, f.rest(), io.Discard)
	e.calls.patience = 0
	before, _ := os.ReadFile(out)
	if err := e.run(t.Context(), Streams{}); err == nil {
		t.Fatal("an export without answers succeeds")
	}
	after, err := os.ReadFile(out)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file became %d bytes, %v", len(after), err)
	}
	if files, err := os.ReadDir(filepath.Dir(out)); err != nil || len(files) != 1 {
		t.Errorf("beside it are %v, %v", files, err)
	}
}
