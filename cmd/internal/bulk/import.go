package bulk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/client"
)

// ImportConfig is what to import, and how.
type ImportConfig struct {
	// File to read; "-" is standard input, which cannot be resumed.
	File string
	// Format of the file; empty: that of its extension.
	Format Format
	// Separator of the tags in a field of CSV, one ASCII character.
	Separator string
	// Rejects is the file for refused lines; empty: they are printed.
	Rejects string
	// AllowRejects makes refused lines no error.
	AllowRejects bool
	// Restart begins at the beginning, even if an import of the file was stopped.
	Restart bool
	// Callers is how many batches are under way at once.
	Callers int
}

// DefaultImport imports with sixteen callers.
func DefaultImport() ImportConfig { return ImportConfig{Separator: DefaultSeparator, Callers: 16} }

const maxCallers = 256

// Validate says what is wrong, in sentences.
func (c ImportConfig) Validate() error {
	errs := []error{checkSeparator(c.Separator)}
	if c.Callers < 1 || c.Callers > maxCallers {
		errs = append(errs, fmt.Errorf("the number of callers is from 1 to %d, not %d", maxCallers, c.Callers))
	}
	_, err := formatOf(c.Format, c.File)
	return errors.Join(append(errs, err)...)
}

// Streams are where a command reads and writes. Progress and refused lines go to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// importer is one import. Its fields are of the goroutine that runs it, and while batches run, of commit's.
type importer struct {
	cfg    ImportConfig
	format Format
	in     io.Reader // standard input
	bar    *progress
	calls  *caller
	slots  *slots

	journal *journal
	rejects *rejects
	counts  counts // of this run alone
	noted   time.Time
	every   time.Duration // between two notes of how far it has come
	// cut is called with each batch before it is run; tests watch there.
	cut func(*batch)
}

// noteEvery is how often it is noted how far an import has come: what is lost by a crash is done once more.
const noteEvery = time.Second

// Import writes the users of a file to the app, each line as far as the service takes it, and reports what came of it. An
// error says what could not be done, or that lines were refused; unless it is about the configuration, the same import may
// be run again and goes on where this one stopped.
func Import(ctx context.Context, cfg ImportConfig, rest *client.REST, s Streams) error {
	im, err := newImporter(cfg, rest, s)
	if err != nil {
		return err
	}
	return im.run(ctx, s.Out)
}

func newImporter(cfg ImportConfig, rest *client.REST, s Streams) (*importer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	im := &importer{cfg: cfg, in: s.In, bar: newProgress(s.Err), every: noteEvery, cut: func(*batch) {}}
	im.calls = newCaller(rest, im.bar.again)
	var err error
	im.format, err = formatOf(cfg.Format, cfg.File)
	return im, err
}

func (im *importer) standard() bool { return im.cfg.File == Standard }

func (im *importer) run(ctx context.Context, out io.Writer) (err error) {
	begin := time.Now()
	if err := im.resume(); err != nil {
		return err
	}
	size := im.journal.RejectsSize
	if im.journal.Rejects != im.cfg.Rejects {
		size = 0 // what was refused before is in another file
	}
	if im.rejects, err = openRejects(im.cfg.Rejects, size, im.cfg.File, im.bar.line); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.rejects.close()) }()
	im.journal.Rejects = im.cfg.Rejects
	if im.slots, err = loadSlots(ctx, im.calls); err != nil {
		return err
	}
	if !im.standard() {
		if err := im.name(ctx); err != nil {
			return err
		}
	}
	if err := im.write(ctx); err != nil {
		return im.stopped(ctx, err)
	}
	if !im.standard() {
		if err := removeJournal(im.cfg.File); err != nil {
			return err
		}
	}
	return im.summary(out, time.Since(begin))
}

// resume finds out where to begin.
func (im *importer) resume() error {
	t := task{Format: im.format, Separator: im.cfg.Separator, URL: im.calls.rest.URL, App: im.calls.rest.App}
	im.journal = &journal{Version: journalVersion, task: t}
	if im.standard() {
		return nil
	}
	var err error
	if t.Input, err = identify(im.cfg.File); err != nil {
		return err
	}
	im.journal.task = t
	if im.cfg.Restart {
		return removeJournal(im.cfg.File)
	}
	if im.journal, err = readJournal(im.cfg.File, t); err != nil {
		return err
	}
	if im.journal.Offset > 0 {
		im.bar.line("going on behind line %d, where an import of %s was stopped", im.journal.Lines, im.cfg.File)
	}
	return nil
}

func (im *importer) open(ctx context.Context) (*source, error) {
	if im.standard() {
		in := interruptible(ctx, im.in)
		src, err := open(in, im.format, im.cfg.Separator[0], place{}, nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("standard input: %w", err), in.Close())
		}
		src.close = in.Close
		return src, nil
	}
	return openFile(im.cfg.File, im.format, im.cfg.Separator[0], im.journal.place)
}

// name gives slots to all attributes of a file, or says that there are too many: before anything else is written. For
// NDJSON it reads the whole file.
func (im *importer) name(ctx context.Context) (err error) {
	src, err := im.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	var names []string
	if src.header != nil {
		names = src.header.attributes()
	} else if names, err = im.collect(ctx, src); err != nil {
		return err
	}
	if err := im.slots.room(names); err != nil {
		return err
	}
	return im.slots.ensure(ctx, names)
}

// collect gives the attributes that stand in a source, sorted.
func (im *importer) collect(ctx context.Context, src *source) ([]string, error) {
	im.bar.start("looking for attributes", im.journal.Input.Size, 0)
	defer im.bar.stop()
	names := map[string]bool{}
	for n := 0; ctx.Err() == nil; n++ {
		r, err := src.next()
		if errors.Is(err, io.EOF) {
			return slices.Sorted(maps.Keys(names)), nil
		}
		if err != nil {
			return nil, err
		}
		if u, err := src.user(r); err == nil {
			for name := range u.Attributes {
				names[name] = true
			}
		}
		if n%1000 == 0 {
			im.bar.at(src.read.n.Load(), n)
		}
		if len(names) > maxNames {
			return nil, im.slots.room(slices.Sorted(maps.Keys(names)))
		}
	}
	return nil, ctx.Err()
}

// maxNames ends the search for attributes: more of them have no slot at any rate.
const maxNames = 1000

// write does the file from where it is to be gone on.
func (im *importer) write(ctx context.Context) (err error) {
	src, err := im.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	im.bar.start("import", im.journal.Input.Size, src.read.n.Load())
	defer im.bar.stop()

	g, gctx := errgroup.WithContext(ctx)
	// The batches under way, in the order of the file: as many as it holds, the one that is committed next, and the one
	// that is being put in.
	order := make(chan *batch, im.cfg.Callers)
	g.Go(func() error {
		defer close(order)
		return im.read(gctx, src, func(b *batch) error {
			select { // commit makes room, gctx ends it
			case order <- b:
			case <-gctx.Done():
				return gctx.Err()
			}
			g.Go(func() error { return b.run(gctx, im.calls) })
			return nil
		})
	})
	g.Go(func() error { return im.commit(order) })
	return g.Wait()
}

// read cuts the source into batches and gives each to run.
func (im *importer) read(ctx context.Context, src *source, run func(*batch) error) error {
	var earlier []*batch // that may not be done
	b := newBatch()
	cut := func(end place) error {
		b.end, b.read = end, src.read.n.Load()
		earlier = slices.DeleteFunc(earlier, func(e *batch) bool {
			select {
			case <-e.done:
				return true
			default:
				return false
			}
		})
		b.follow(earlier)
		im.cut(b)
		earlier = append(earlier, b)
		err := run(b)
		b = newBatch()
		return err
	}
	for {
		before := src.place()
		r, err := src.next()
		if errors.Is(err, io.EOF) {
			return cut(src.place()) // it may be empty: then its place is the end of the file
		}
		if err != nil {
			return err
		}
		e := &entry{line: r.line, text: string(r.text)}
		if e.user, e.err = src.user(r); e.err == nil {
			e.user.Tags = distinct(e.user.Tags)
			names := slices.Sorted(maps.Keys(e.user.Attributes))
			if e.err = im.slots.room(names); e.err == nil {
				if err := im.slots.ensure(ctx, names); err != nil {
					return err
				}
				if err := e.lay(); err != nil {
					return err
				}
			}
		}
		if !b.takes(e) {
			if err := cut(before); err != nil {
				return err
			}
		}
		b.add(e)
		if b.full() {
			if err := cut(src.place()); err != nil {
				return err
			}
		}
	}
}

// commit takes batches in the order of the file when they are done, and notes how far that is. It ends at the first that
// failed: those behind it will be done again.
func (im *importer) commit(order <-chan *batch) (err error) {
	defer func() { err = errors.Join(err, im.note()) }()
	for b := range order { // read ends it by closing
		<-b.done // every batch in order runs, and ends when the context does
		if b.err != nil {
			return nil // run has given it to the group
		}
		var n counts
		for _, e := range b.entries {
			if e.err != nil {
				n.Rejected++
				if err := im.rejects.report(e.line, e.err, e.text); err != nil {
					return err
				}
				continue
			}
			n.add(counts{Accounts: 1, Attributes: len(e.user.Attributes), Tags: len(e.user.Tags), Devices: len(e.user.Devices)})
		}
		im.counts.add(n)
		im.journal.Counts.add(n)
		im.journal.place, im.journal.RejectsSize = b.end, im.rejects.size
		im.bar.at(b.read, im.counts.Accounts+im.counts.Rejected)
		if time.Since(im.noted) >= im.every {
			if err := im.note(); err != nil {
				return err
			}
		}
	}
	return nil
}

// note writes down how far the import has come.
func (im *importer) note() error {
	if im.standard() || im.journal.Offset == 0 {
		return nil
	}
	im.noted = time.Now()
	if err := im.rejects.sync(); err != nil {
		return err
	}
	return im.journal.write(im.cfg.File)
}

// stopped says how to go on.
func (im *importer) stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	how := "run the same command again to go on from there"
	if im.standard() {
		how = "what is on standard input must be imported again from its beginning, which does no harm"
	} else if im.journal.Offset == 0 {
		how = "run the same command again"
	}
	return fmt.Errorf("%w; stopped after line %d: %s", err, im.journal.Lines, how)
}

// summary reports what was done. Refused lines are an error unless they are allowed.
func (im *importer) summary(out io.Writer, took time.Duration) error {
	n := im.journal.Counts
	rate := float64(im.counts.Accounts+im.counts.Rejected) / max(took.Seconds(), 1e-9)
	if _, err := im.bar.text.Fprintf(out, "imported %d lines with %d attributes, %d tags and %d devices, rejected %d, in %.1f s, %.0f lines a second\n",
		n.Accounts, n.Attributes, n.Tags, n.Devices, n.Rejected, took.Seconds(), rate); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	if n.Rejected > 0 && !im.cfg.AllowRejects {
		where := "see above for why"
		if im.cfg.Rejects != "" {
			where = "see " + im.cfg.Rejects
		}
		return fmt.Errorf("%d of %d lines were refused, all others are in: %s", n.Rejected, n.Accounts+n.Rejected, where)
	}
	return nil
}
