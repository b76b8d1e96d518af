package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/carillon-push/carillon/pkg/push"
)

// journalVersion grows when older journals cannot be gone on from.
const journalVersion = 1

// journal is how far an import has come: all that another one needs to go on from there. It stands beside the file.
type journal struct {
	Version int `json:"version"`
	task
	place
	// Counts are of everything before the place.
	Counts counts `json:"counts"`
	// Rejects is the file of refused lines, and RejectsSize how many bytes of it are about lines before the place.
	Rejects     string `json:"rejects,omitempty"`
	RejectsSize int64  `json:"rejectsSize,omitempty"`
}

// task is what an import is to do: one may go on only with its own.
type task struct {
	Input     identity   `json:"input"`
	Format    Format     `json:"format"`
	Separator string     `json:"separator"`
	URL       string     `json:"url"`
	App       push.AppID `json:"app"`
}

// counts of what was done.
type counts struct {
	Accounts   int `json:"accounts"`
	Attributes int `json:"attributes"`
	Tags       int `json:"tags"`
	Devices    int `json:"devices"`
	Rejected   int `json:"rejected"`
}

func (c *counts) add(o counts) {
	c.Accounts += o.Accounts
	c.Attributes += o.Attributes
	c.Tags += o.Tags
	c.Devices += o.Devices
	c.Rejected += o.Rejected
}

func journalName(file string) string { return file + ".carillon-progress" }

// readJournal gives the journal of the file, fresh where there is none. One of another task is an error: to begin anew is
// for the operator to say.
func readJournal(file string, t task) (*journal, error) {
	name := journalName(file)
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &journal{Version: journalVersion, task: t}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read how far the import has come: %w", err)
	}
	var j journal
	if err := json.Unmarshal(raw, &j); err != nil || j.Version != journalVersion {
		return nil, fmt.Errorf("%s does not say how far an import has come: begin anew with --restart", name)
	}
	var changed string
	switch {
	case j.Input != t.Input:
		changed = "the file has changed since"
	case j.URL != t.URL:
		changed = "that was into " + j.URL
	case j.App != t.App:
		changed = fmt.Sprintf("that was into app %d", j.App)
	case j.task != t:
		changed = "that was with another format or separator"
	default:
		return &j, nil
	}
	return nil, fmt.Errorf("an import of %s was stopped after line %d, and %s: begin anew with --restart", file, j.Lines, changed)
}

// write replaces the file's journal as a whole: whoever reads it finds the last one or this one.
func (j *journal) write(file string) error {
	raw, err := json.Marshal(j)
	if err == nil {
		err = replace(journalName(file), func(f *os.File) error {
			if _, err := f.Write(raw); err != nil {
				return err
			}
			return f.Sync()
		})
	}
	if err != nil {
		return fmt.Errorf("note how far the import has come: %w", err)
	}
	return nil
}

func removeJournal(file string) error {
	if err := os.Remove(journalName(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the note of how far the import has come: %w", err)
	}
	return nil
}

// replace writes a file beside its place and moves it there when it is whole. A file that could not be written is removed.
func replace(name string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
