package demo

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// printer writes the report: lines, and bars that move where out is a terminal. A report that cannot be written stops
// nothing, since the verdict is Run's error. It is safe for concurrent use: the service's warnings come here too.
type printer struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	text     *message.Printer // of numbers as people read them: 100,000
}

func newPrinter(out io.Writer) *printer {
	f, isFile := out.(*os.File)
	return &printer{out: out, terminal: isFile && term.IsTerminal(int(f.Fd())), text: message.NewPrinter(language.English)}
}

// Write is for slog, tables and bars.
func (p *printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *printer) format(format string, args ...any) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Sprintf(format, args...)
}

func (p *printer) line(format string, args ...any) {
	_, _ = p.Write([]byte(p.format(format, args...) + "\n"))
}

// progress is how far a step with many parts has come. It is safe for concurrent use.
type progress struct {
	p     *printer
	what  string
	all   int
	begin time.Time
	bar   *progressbar.ProgressBar // nil when out is no terminal

	mu    sync.Mutex
	done  int
	shown time.Time // when the last line was printed
}

// lines is how often a line says how far a step is where there are no bars.
const lines = 5 * time.Second

func (p *printer) progress(what string, all int) *progress {
	g := &progress{p: p, what: what, all: all, begin: time.Now(), shown: time.Now()}
	if p.terminal && all > 0 {
		g.bar = progressbar.NewOptions(all, progressbar.OptionSetWriter(p), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond))
	}
	return g
}

func (g *progress) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done += n
	if g.bar != nil {
		_ = g.bar.Add(n)
	} else if time.Since(g.shown) >= lines {
		g.shown = time.Now()
		g.p.line("%s: %d of %d", g.what, g.done, g.all)
	}
}

// end leaves a line that says how fast it was.
func (g *progress) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bar != nil {
		_ = g.bar.Clear()
	}
	took := time.Since(g.begin)
	g.p.line("%s: %d in %s, %.0f a second", g.what, g.done, brief(took), float64(g.done)/max(took.Seconds(), 1e-9))
}
