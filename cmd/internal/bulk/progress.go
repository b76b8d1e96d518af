package bulk

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// progress says how far an import or export has come: a bar where out is a terminal, or else a line every few seconds. What
// cannot be written stops nothing. It is safe for concurrent use.
type progress struct {
	out      io.Writer
	terminal bool
	text     *message.Printer // of numbers as people read them: 100,000

	mu    sync.Mutex
	what  string
	all   int64 // bytes, 0 when unknown
	from  int64 // bytes that were done before
	begin time.Time
	bar   *progressbar.ProgressBar // nil where there is none
	shown time.Time                // when the last line was printed
	noted time.Time                // when it was last said that a call is made again
}

// lines is how often a line says something.
const lines = 5 * time.Second

func newProgress(out io.Writer) *progress {
	f, isFile := out.(*os.File)
	return &progress{out: out, terminal: isFile && term.IsTerminal(int(f.Fd())), text: message.NewPrinter(language.English)}
}

// start begins a step over so many bytes, some of which are done; 0 of all is unknown.
func (p *progress) start(what string, all, from int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.what, p.all, p.from, p.begin, p.shown = what, all, from, now, now
	if p.terminal {
		if all == 0 {
			all = -1 // what the library calls unknown
		}
		p.bar = progressbar.NewOptions64(all, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(what),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionSetWidth(30),
			progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionThrottle(100*time.Millisecond))
	}
}

// at says how many bytes are done, and how many lines since the step began.
func (p *progress) at(bytes int64, done int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil && time.Since(p.shown) < lines {
		return
	}
	took := time.Since(p.begin)
	status := p.text.Sprintf("%d lines, %.0f a second", done, float64(done)/max(took.Seconds(), 1e-9))
	// What was done before the step took none of its time, so that the library would be wrong about what is left.
	if p.all > 0 && bytes > p.from {
		left := time.Duration(float64(took) * float64(p.all-bytes) / float64(bytes-p.from))
		status += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	if p.bar != nil {
		p.bar.Describe(p.what + ": " + status)
		_ = p.bar.Set64(bytes)
		return
	}
	p.shown = time.Now()
	if p.all > 0 {
		status = fmt.Sprintf("%d %%, %s", 100*bytes/p.all, status)
	}
	p.print("%s: %s", p.what, status)
}

// stop ends the step.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}

// line prints a line; a bar comes again below it.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	p.print(format, args...)
}

func (p *progress) print(format string, args ...any) {
	_, _ = p.text.Fprintf(p.out, format+"\n", args...)
}

// again says now and then that a call has to be made again. That the service is called too often is no news: it is how an
// import that goes as fast as it may finds out how fast that is.
func (p *progress) again(err error) {
	if busy(err) {
		return
	}
	p.mu.Lock()
	due := time.Since(p.noted) >= lines
	if due {
		p.noted = time.Now()
	}
	p.mu.Unlock()
	if due {
		p.line("trying again: %v", err)
	}
}
