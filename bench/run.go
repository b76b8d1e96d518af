package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carillon-push/carillon/bench/code"
	"github.com/carillon-push/carillon/bench/page"
	"github.com/carillon-push/carillon/bench/report"
)

// measure makes what is asked for. Each section is kept as soon as it is made, and the page made anew, so that a run that is
// interrupted has not been for nothing.
func (r request) measure(ctx context.Context, out io.Writer) error {
	tree, err := code.Read(ctx, ".")
	if err != nil {
		return err
	}
	commit, machine := page.Commit(tree.Dir, latest), page.ThisMachine()
	chosen, leftOut, err := r.choose(ctx)
	if err != nil {
		return err
	}
	for _, name := range leftOut {
		fmt.Fprintf(out, "%s is left out: it takes %s; ask for it by -only %s, or measure with -long\n", name, slow[name], name)
	}
	before, err := digests(ctx, chosen)
	if err != nil {
		return err
	}
	var made []page.Section
	for _, m := range chosen {
		fmt.Fprintf(out, "%s\n", m.title)
		start := time.Now()
		list, err := m.run(ctx, r.size())
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		for _, f := range list {
			fmt.Fprintf(out, "  %v\n", f)
		}
		fmt.Fprintf(out, "  took %v\n\n", time.Since(start).Round(100*time.Millisecond))
		made = append(made, page.Section{
			Name: m.name, Title: m.title, Command: r.command, Commit: commit, Date: start.UTC().Truncate(time.Second), Machine: machine,
			Short: r.isShort, Code: before[m.name], Figures: list,
		})
		if r.dir == "" {
			continue
		}
		if err := keep(ctx, r.dir, m, made[len(made)-1]); err != nil {
			return err
		}
	}
	if r.dir != "" {
		if err := render(r.dir); err != nil {
			return err
		}
		fmt.Fprintf(out, "written to %s\n", r.dir)
	}
	if r.rows {
		return compare(made, leftOut)
	}
	return nil
}

// keep stores a section, unless the code has changed while it was measured: nobody could say of what the figures are.
func keep(ctx context.Context, dir string, m measurement, s page.Section) error {
	now, err := digests(ctx, []measurement{m})
	if err != nil {
		return err
	}
	if now[m.name] != s.Code {
		return fmt.Errorf("the code of %s has changed while it was measured; nothing of it is kept", m.name)
	}
	if err := page.Store(dir, s); err != nil {
		return err
	}
	return render(dir)
}

// rendered are the files of a directory's page.
func rendered(dir string) (map[string][]byte, error) {
	list, _, err := page.Load(dir, names(measurements))
	if err != nil {
		return nil, err
	}
	return page.Render(list, plots)
}

func render(dir string) error {
	files, err := rendered(dir)
	if err != nil {
		return err
	}
	return page.Write(dir, files)
}

// stale says, by the names of the measurements, what is wrong with the sections of a directory; also under the names of files
// that are none.
func stale(ctx context.Context, dir string) (map[string]string, error) {
	list, others, err := page.Load(dir, names(measurements))
	if err != nil {
		return nil, err
	}
	now, err := digests(ctx, measurements)
	if err != nil {
		return nil, err
	}
	faults := make(map[string]string)
	for _, name := range names(measurements) {
		faults[name] = never
	}
	for _, s := range list {
		switch {
		case s.Short:
			faults[s.Name] = "it was measured at sizes that say nothing"
		case s.Code != now[s.Name]:
			faults[s.Name] = fmt.Sprintf("its code has changed since it was measured, on %s from commit %s", s.Date.Format(time.DateOnly), s.Commit)
		default:
			delete(faults, s.Name)
		}
	}
	for _, file := range others {
		faults[file] = "it belongs to no measurement, and is to be removed"
	}
	return faults, nil
}

// never is wrong with a section that is not there.
const never = "it was never measured"

// repair is what makes the page true again.
const repair = "`go run ./bench -stale` measures them"

// check says what of a directory is not of the code in the tree.
func check(ctx context.Context, dir string, out io.Writer) error {
	faults, err := stale(ctx, dir)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(out, "%s: %s\n", name, faults[name])
		if slow[name] != "" && faults[name] == never {
			delete(faults, name) // the page says of its goals that they are not measured
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d sections of %s are not of the code in the tree; %s", len(faults), dir, repair)
	}
	files, err := rendered(dir)
	if err != nil {
		return err
	}
	differing, err := page.Differing(dir, files)
	if err != nil {
		return err
	}
	if len(differing) > 0 {
		return fmt.Errorf("of %s, %s are not what the sections give; `go test ./bench -run TestPage -update` makes them anew", dir, strings.Join(differing, ", "))
	}
	fmt.Fprintf(out, "all of %s is of the code in the tree\n", dir)
	return nil
}

// compare holds the rows of a short run against those of the page, and the goals against the rows.
func compare(made []page.Section, leftOut []string) error {
	stored, _, err := page.Load(latest, names(measurements))
	if err != nil {
		return err
	}
	faults := page.Compare(made, stored, fewer)
	if all := len(made)+len(leftOut) == len(measurements); all {
		answers := slices.Clone(made)
		for _, s := range stored {
			not := fewer[s.Name]
			s.Figures = slices.DeleteFunc(s.Figures, func(f report.Figure) bool { return not == nil || !not.MatchString(f.Name) })
			answers = append(answers, s)
		}
		faults = append(faults, page.Unanswered(answers, leftOut)...)
	}
	if len(faults) == 0 {
		return nil
	}
	var sections []string
	for _, f := range faults {
		name, _, _ := strings.Cut(f, ":")
		if len(named([]string{name})) > 0 && (len(sections) == 0 || sections[len(sections)-1] != name) {
			sections = append(sections, name)
		}
	}
	if len(sections) > 0 {
		faults = append(faults, "`go run ./bench -only "+strings.Join(sections, ",")+"` measures them anew")
	}
	return errors.New("the page in " + latest + " is not what the code makes:\n" + strings.Join(faults, "\n"))
}
