package bulk

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sample is a file with accounts that stand several times in it, and bad lines.
type sample struct {
	name  string
	text  []byte
	users []User // of the good lines, in their order
	bad   []int  // lines
}

func draw(t testing.TB, r *rand.Rand, lines int, name string) *sample {
	t.Helper()
	s := &sample{name: filepath.Join(t.TempDir(), name)}
	format, err := formatOf("", name)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	var w userWriter = &ndjsonWriter{out: &b}
	at := 1
	if format == CSV {
		c, err := newCSVWriter(&b, []string{"city", "level"}, '|')
		if err != nil {
			t.Fatal(err)
		}
		w, at = c, 2
	}
	for line := at; line < at+lines; line++ {
		u := User{Account: fmt.Sprintf("u%d", r.IntN(max(lines/2, 1)))}
		if r.IntN(50) == 0 {
			u.Account = "\xff" + u.Account
		}
		if r.IntN(3) > 0 {
			u.Attributes = map[string]string{"city": fmt.Sprint("c", r.IntN(1000)), "level": fmt.Sprint(r.IntN(9))}
		}
		tags := []int{0, 1, 2, 11, 25}[r.IntN(5)]
		for i := range tags {
			u.Tags = append(u.Tags, fmt.Sprint("t", i))
		}
		if r.IntN(20) == 0 {
			u.Tags = []string{strings.Repeat("x", 51)}
			s.bad = append(s.bad, line)
		} else {
			s.users = append(s.users, u)
		}
		if err := w.write(&u); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	s.text = b.Bytes()
	out := s.text
	if strings.HasSuffix(name, compressed) {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(s.text) // to memory
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out = z.Bytes()
	}
	if err := os.WriteFile(s.name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// config of an import of the sample, with a file of rejects beside it.
func (s *sample) config() ImportConfig {
	cfg := DefaultImport()
	cfg.File, cfg.Rejects, cfg.AllowRejects = s.name, s.name+".rejects", true
	return cfg
}

// check compares what the service holds, and the rejects, with what the file says.
func (s *sample) check(t testing.TB, f *fake) {
	t.Helper()
	if got, want := f.state(), state(expect(s.users...)); got != want {
		t.Errorf("the service has %d bytes of users, the file %d", len(got), len(want))
	}
	raw, err := os.ReadFile(s.name + ".rejects")
	if err != nil {
		t.Fatal(err)
	}
	var bad []int
	for line := range bytes.Lines(raw) {
		var r reject
		if err := json.Unmarshal(line, &r); err != nil || !strings.Contains(r.Reason, "51 bytes") || !strings.Contains(r.Text, "xxx") {
			t.Errorf("reject %s: %v", line, err)
		}
		bad = append(bad, r.Line)
	}
	if !slices.Equal(bad, s.bad) {
		t.Errorf("rejected lines %v, want %v", bad, s.bad)
	}
	if _, err := os.Stat(journalName(s.name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal is still there: %v", err)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"users.ndjson", "users.csv", "users.ndjson.gz", "users.csv.gz"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			s := draw(t, rand.New(rand.NewPCG(1, 2)), 3000, name)
			var out, errs bytes.Buffer
			if err := Import(t.Context(), s.config(), f.rest(), Streams{Out: &out, Err: &errs}); err != nil {
				t.Fatalf("%v\n%s", err, errs.String())
			}
			s.check(t, f)
			if want := fmt.Sprintf("rejected %d,", len(s.bad)); !strings.Contains(out.String(), want) || !strings.HasPrefix(out.String(), "imported 2,") {
				t.Errorf("the summary is %s, want %s", out.String(), want)
			}
		})
	}
}

// However often an import is stopped, and wherever, those that follow end with what the file says, and every refused line
// is reported once.
func TestResume(t *testing.T) {
	t.Parallel()
	for seed, name := range []string{"users.ndjson", "users.csv", "users.csv.gz"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			f := startFake(t)
			s := draw(t, r, 12000, name)
			stops, goneOn := 0, 0
			for {
				ctx, cancel := context.WithCancel(t.Context())
				begin := func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.calls }()
				last := begin + 2 + r.IntN(8)
				f.mu.Lock()
				f.before = func(n int, _ string) fault {
					if n >= last {
						cancel()
					}
					return fault{cutAfter: n == last}
				}
				f.mu.Unlock()
				var errs bytes.Buffer
				im := hasty(t, f, s.config(), Streams{Err: &errs})
				im.every = time.Duration(r.IntN(2)) * time.Hour // only at the end, or after each batch
				err := im.run(ctx, io.Discard)
				cancel()
				if strings.Contains(errs.String(), "going on behind line") {
					goneOn++
				}
				if err == nil {
					break
				}
				if stops++; stops > 500 {
					t.Fatal("it never ends")
				}
				if !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "interrupted") {
					t.Fatal(err)
				}
			}
			s.check(t, f)
			if stops < 3 || goneOn < 3 {
				t.Errorf("stopped %d times, gone on %d times", stops, goneOn)
			}
		})
	}
}

// Calls that fail for a moment are made again, whether they were done or not.
func TestRetry(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(3, 3))
	f.before = func(int, string) fault {
		mu.Lock()
		defer mu.Unlock()
		return []fault{{}, {}, {}, {code: 60007}, {code: 91000}, {cut: true}, {cutAfter: true}}[r.IntN(7)]
	}
	s := draw(t, rand.New(rand.NewPCG(1, 3)), 3000, "users.ndjson")
	var errs bytes.Buffer
	if err := hasty(t, f, s.config(), Streams{Err: &errs}).run(t.Context(), io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	s.check(t, f)
}

// A service that stays away ends the import, which says how to go on.
func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	s := draw(t, rand.New(rand.NewPCG(1, 3)), 3000, "users.ndjson")
	var away atomic.Bool
	f.before = func(n int, _ string) fault { return fault{cut: n > 5 || away.Load()} }
	im := hasty(t, f, s.config(), Streams{Err: io.Discard})
	im.calls.patience = time.Millisecond
	if err := im.run(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "gave up") || !strings.Contains(err.Error(), "run the same command again") {
		t.Fatalf("got %v", err)
	}
	f.mu.Lock()
	f.before = func(n int, _ string) fault { return fault{} }
	f.mu.Unlock()
	if err := hasty(t, f, s.config(), Streams{Err: io.Discard}).run(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	s.check(t, f)
}

// An answer that would be given to every call ends the import at once.
func TestRightsEndIt(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.before = func(int, string) fault { return fault{code: 90009} }
	s := draw(t, rand.New(rand.NewPCG(1, 3)), 300, "users.ndjson")
	err := hasty(t, f, s.config(), Streams{Err: io.Discard}).run(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "90009") || f.calls != 1 {
		t.Errorf("after %d calls %v", f.calls, err)
	}
}

// A service that does not answer stops the reading: what is held is bounded.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	s := draw(t, rand.New(rand.NewPCG(1, 3)), 20000, "users.ndjson")
	cfg := s.config()
	cfg.Callers = 4
	im := hasty(t, f, cfg, Streams{Err: io.Discard})
	var held, most, lines, cuts atomic.Int64
	full := make(chan struct{}) // as many batches are cut as can be while nothing is answered
	im.cut = func(b *batch) {
		n := int64(len(b.entries))
		lines.Add(n)
		for now, was := held.Add(n), most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		go func() { <-b.done; held.Add(-n) }()
		if cuts.Add(1) == int64(cfg.Callers+2) {
			close(full)
		}
	}
	f.before = func(_ int, command string) fault {
		if command == accountsPath {
			<-full
		}
		return fault{}
	}
	if err := im.run(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	// Those in order, the one that is committed, and the one that is put in.
	if limit := int64((cfg.Callers + 3) * perBatch); most.Load() > limit || most.Load() == 0 || lines.Load() != 20000 {
		t.Errorf("held %d of %d lines at once, want at most %d", most.Load(), lines.Load(), limit)
	}
	s.check(t, f)
}

func write(t testing.TB, name, text string) ImportConfig {
	t.Helper()
	cfg := DefaultImport()
	cfg.File = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(cfg.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Too many attributes are refused before anything is written.
func TestTooManyAttributes(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.names[0], f.names[7] = "sex", "a1"
	var text strings.Builder
	for i := range 10 {
		fmt.Fprintf(&text, `{"account":"u%d","attributes":{"a%d":"x"}}`+"\n", i, i)
	}
	cfg := write(t, "users.ndjson", text.String())
	err := Import(t.Context(), cfg, f.rest(), Streams{Err: io.Discard})
	if err == nil || !strings.Contains(err.Error(), `beside "sex", "a1" there is no slot for "a0", "a2"`) {
		t.Errorf("got %v", err)
	}
	if f.calls != 1 || len(f.users) != 0 {
		t.Errorf("%d calls, %d users", f.calls, len(f.users))
	}
	// Of standard input, whose end nobody knows, the lines beyond are refused.
	cfg.File = Standard
	cfg.AllowRejects = true
	var out, errs bytes.Buffer
	if err := Import(t.Context(), cfg, f.rest(), Streams{In: strings.NewReader(text.String()), Out: &out, Err: &errs}); err != nil {
		t.Fatal(err)
	}
	if want := "line 10 refused: an app has at most 10 attributes"; !strings.Contains(errs.String(), want) || len(f.users) != 9 {
		t.Errorf("%d users\n%s", len(f.users), errs.String())
	}
	if want := "[sex a0 a2 a3 a4 a5 a6 a1 a7 a8]"; fmt.Sprint(f.names) != want {
		t.Errorf("slots %v, want %v", f.names, want)
	}
}

// What the service alone can know to be wrong with a line is told with its reason, and others of the same call are done.
func TestServiceRefuses(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	for i := range 95 {
		f.register("u42").give([]string{fmt.Sprint("old", i)}, nil)
	}
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, `{"account":"u%d","tags":["a","b","c","d","e","f"]}`+"\n", i)
	}
	cfg := write(t, "users.jsonl", text.String())
	var errs bytes.Buffer
	err := Import(t.Context(), cfg, f.rest(), Streams{Out: io.Discard, Err: &errs})
	if err == nil || !strings.Contains(err.Error(), "1 of 100 lines were refused") {
		t.Errorf("got %v", err)
	}
	if want := "line 43 refused: the service refuses it: POST /v1/accounts: 422"; !strings.Contains(errs.String(), want) {
		t.Errorf("got %s", errs.String())
	}
	for i := range 100 {
		if u := f.users[fmt.Sprint("u", i)]; (len(u.Tags) == 6) == (i == 42) {
			t.Errorf("%s has %d tags", u.Account, len(u.Tags))
		}
	}
}

// A journal is for the same import of the same file only.
func TestJournalOfSomethingElse(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	s := draw(t, rand.New(rand.NewPCG(1, 3)), 3000, "users.ndjson")
	ctx, cancel := context.WithCancel(t.Context())
	f.before = func(n int, _ string) fault {
		if n > 5 {
			cancel()
		}
		return fault{}
	}
	if err := Import(ctx, s.config(), f.rest(), Streams{Err: io.Discard}); err == nil || !strings.Contains(err.Error(), "interrupted; stopped after line") {
		t.Fatalf("got %v", err)
	}
	f.mu.Lock()
	f.before = func(int, string) fault { return fault{} }
	f.mu.Unlock()
	other := f.rest()
	other.App++
	if err := Import(t.Context(), s.config(), other, Streams{Err: io.Discard}); err == nil || !strings.Contains(err.Error(), "into app 1400000001: begin anew with --restart") {
		t.Errorf("got %v", err)
	}
	if err := os.Chtimes(s.name, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := Import(t.Context(), s.config(), f.rest(), Streams{Err: io.Discard}); err == nil || !strings.Contains(err.Error(), "has changed since: begin anew with --restart") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(journalName(s.name), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Import(t.Context(), s.config(), f.rest(), Streams{Err: io.Discard}); err == nil || !strings.Contains(err.Error(), "--restart") {
		t.Errorf("got %v", err)
	}
	cfg := s.config()
	cfg.Restart = true
	if err := Import(t.Context(), cfg, f.rest(), Streams{Out: io.Discard, Err: io.Discard}); err != nil {
		t.Fatal(err)
	}
	s.check(t, f)
}

// An interrupt ends an import that waits for standard input.
func TestInterruptStandardInput(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	in, feed := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := DefaultImport()
	cfg.File = Standard
	go func() {
		_, _ = io.WriteString(feed, `{"account":"u1"}`+"\n") // a test that is over reads no more
		cancel()
	}()
	err := Import(ctx, cfg, f.rest(), Streams{In: in, Out: io.Discard, Err: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v", err)
	}
	_ = in.Close() // what was left behind ends
}

func TestImportConfig(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*ImportConfig){
		"extension":        func(c *ImportConfig) { c.File = "users.xml" },
		"no format":        func(c *ImportConfig) { c.Format = "xml" },
		"separator":        func(c *ImportConfig) { c.Separator = "," },
		"from 1 to 256":    func(c *ImportConfig) { c.Callers = 0 },
		"no such file":     func(c *ImportConfig) { c.File = filepath.Join(t.TempDir(), "users.csv") },
		"not a regular":    func(c *ImportConfig) { c.File, c.Format = t.TempDir(), CSV },
		"the file to impo": func(c *ImportConfig) { c.Rejects = c.File },
	} {
		f := startFake(t)
		cfg := write(t, "users.csv", "account\nu1\n")
		change(&cfg)
		if err := Import(t.Context(), cfg, f.rest(), Streams{Err: io.Discard}); err == nil || !strings.Contains(err.Error(), want) || f.calls > 0 {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
