package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// reject is a line that was refused, as it stands in the file of rejects. Bytes of the text that are not UTF-8 are replaced.
type reject struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

// rejects reports refused lines, in their order: to a file as NDJSON, or for people to read.
type rejects struct {
	file  *os.File // nil when there is none
	keep  bool     // the file is a regular one, which can be cut and synced
	print func(format string, args ...any)
	size  int64 // of the file
}

// openRejects opens the file named, which keeps size bytes; an empty name is none, and then lines are printed.
func openRejects(name string, size int64, input string, print func(string, ...any)) (*rejects, error) {
	r := &rejects{print: print}
	if name == "" {
		return r, nil
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the file of rejects: %w", err)
	}
	info, err := file.Stat()
	if err == nil {
		if in, inErr := os.Stat(input); inErr == nil && os.SameFile(in, info) {
			err = errors.New("it is the file to import")
		}
	}
	if r.keep = err == nil && info.Mode().IsRegular(); r.keep {
		r.size = min(size, info.Size())
		err = file.Truncate(r.size)
		if err == nil {
			_, err = file.Seek(0, io.SeekEnd)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the file of rejects %s: %w", name, err), file.Close())
	}
	r.file = file
	return r, nil
}

// report writes one refused line.
func (r *rejects) report(line int, reason error, text string) error {
	if r.file == nil {
		r.print("line %d refused: %v", line, reason)
		return nil
	}
	raw, err := json.Marshal(reject{line, reason.Error(), text})
	if err == nil {
		var n int
		n, err = r.file.Write(append(raw, '\n'))
		r.size += int64(n)
	}
	if err != nil {
		return fmt.Errorf("write the file of rejects: %w", err)
	}
	return nil
}

// sync makes sure that what was reported is there before a journal says so.
func (r *rejects) sync() error {
	if !r.keep {
		return nil
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("write the file of rejects: %w", err)
	}
	return nil
}

func (r *rejects) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
