package bulk

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/carillon-push/carillon/pkg/client"
)

// ExportConfig is where to export to, and how.
type ExportConfig struct {
	// File to write; "-" is standard output. Compressed by gzip when its name ends so.
	File string
	// Format of the file; empty: that of its extension.
	Format Format
	// Separator of the tags in a field of CSV, one ASCII character.
	Separator string
}

// DefaultExport writes to standard output.
func DefaultExport() ExportConfig { return ExportConfig{File: Standard, Separator: DefaultSeparator} }

// Validate says what is wrong, in sentences.
func (c ExportConfig) Validate() error {
	_, err := formatOf(c.Format, c.File)
	return errors.Join(checkSeparator(c.Separator), err)
}

// Export writes all users of the app, in the order in which they were registered, so that Import makes the same users of
// it. A file appears when it is whole. Users that change meanwhile are written as they were before or after.
func Export(ctx context.Context, cfg ExportConfig, rest *client.REST, s Streams) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	format, err := formatOf(cfg.Format, cfg.File)
	if err != nil {
		return err
	}
	progressTo := s.Err
	if f, ok := s.Out.(*os.File); ok && cfg.File == Standard && term.IsTerminal(int(f.Fd())) {
		progressTo = io.Discard // the lines themselves show how far it is
	}
	return newExporter(cfg, format, rest, progressTo).run(ctx, s)
}

type exporter struct {
	cfg    ExportConfig
	format Format
	bar    *progress
	calls  *caller
	n      int // users written
}

func newExporter(cfg ExportConfig, f Format, rest *client.REST, progressTo io.Writer) *exporter {
	e := &exporter{cfg: cfg, format: f, bar: newProgress(progressTo)}
	e.calls = newCaller(rest, e.bar.again)
	return e
}

func (e *exporter) run(ctx context.Context, s Streams) error {
	begin := time.Now()
	// It is asked for every format, so that a service that is not there is noticed soon.
	slots, err := loadSlots(ctx, e.calls)
	if err != nil {
		return err
	}
	if e.cfg.File == Standard {
		err = e.write(ctx, s.Out, slots)
	} else {
		err = replace(e.cfg.File, func(f *os.File) error {
			if err := e.write(ctx, f, slots); err != nil {
				return err
			}
			return f.Sync()
		})
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		return fmt.Errorf("export to %s: %w", e.cfg.File, err)
	}
	took := time.Since(begin)
	e.bar.line("exported %d accounts in %.1f s, %.0f a second", e.n, took.Seconds(), float64(e.n)/max(took.Seconds(), 1e-9))
	return nil
}

// write writes everything to a stream.
func (e *exporter) write(ctx context.Context, out io.Writer, slots *slots) (err error) {
	e.bar.start("export", 0, 0)
	defer e.bar.stop()
	counted := &written{Writer: out}
	b := bufio.NewWriterSize(counted, 64<<10)
	var to io.Writer = b
	if strings.HasSuffix(strings.ToLower(e.cfg.File), compressed) {
		z := gzip.NewWriter(b)
		to = z
		defer func() {
			if err == nil {
				err = errors.Join(z.Close(), b.Flush())
			}
		}()
	} else {
		defer func() {
			if err == nil {
				err = b.Flush()
			}
		}()
	}
	var w userWriter = &ndjsonWriter{out: to}
	if e.format == CSV {
		if w, err = newCSVWriter(to, slots.used(), e.cfg.Separator[0]); err != nil {
			return err
		}
	}
	l := &listing{calls: e.calls}
	for !l.ended {
		users, err := l.next(ctx)
		if err != nil {
			return err
		}
		for i := range users {
			if err := w.write(&users[i]); err != nil {
				return fmt.Errorf("account %q: %w", users[i].Account, err)
			}
		}
		e.n += len(users)
		e.bar.at(counted.n, e.n)
	}
	return w.flush()
}

// written counts what is written through it, in bytes.
type written struct {
	io.Writer
	n int64
}

func (w *written) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	return n, err
}

// userWriter writes users in one of the formats.
type userWriter interface {
	write(*User) error
	flush() error
}

type ndjsonWriter struct {
	out io.Writer
	buf []byte
}

func (w *ndjsonWriter) write(u *User) (err error) {
	if w.buf, err = appendNDJSON(w.buf[:0], u); err != nil {
		return err
	}
	_, err = w.out.Write(w.buf)
	return err
}

func (w *ndjsonWriter) flush() error { return nil }

// csvWriter writes a header with the attributes that the app had named at the beginning, and then a record for each user.
type csvWriter struct {
	*csvForm
	out *csv.Writer
	row []string
}

func newCSVWriter(out io.Writer, attributes []string, separator byte) (*csvWriter, error) {
	w := &csvWriter{csvForm: &csvForm{columns: []string{accountMember, base64Member, tagsMember}, separator: separator}, out: csv.NewWriter(out)}
	for _, name := range attributes {
		w.columns = append(w.columns, columnOf(name))
	}
	w.row = make([]string, len(w.columns))
	return w, w.out.Write(w.columns)
}

func (w *csvWriter) write(u *User) error {
	left := len(u.Attributes)
	for i, column := range w.columns {
		value := ""
		switch column {
		case accountMember:
			if utf8.ValidString(u.Account) {
				value = u.Account
			}
		case base64Member:
			if !utf8.ValidString(u.Account) {
				value = base64.StdEncoding.EncodeToString([]byte(u.Account))
			}
		case tagsMember:
			value = joinTags(u.Tags, w.separator)
		default:
			name, _ := w.attribute(column)
			if v, ok := u.Attributes[name]; ok {
				value = v
				left--
			}
		}
		w.row[i] = value
	}
	if left > 0 {
		return errors.New("it has an attribute that was named after the export began: export again")
	}
	return w.out.Write(w.row)
}

func (w *csvWriter) flush() error {
	w.out.Flush()
	return w.out.Error()
}
