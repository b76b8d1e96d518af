package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A disk keeps what is written, has no room when it is full, and takes its time when it is slow.
func TestDisk(t *testing.T) {
	t.Parallel()
	within(t, "disk", "mount a disk")
}

func tryDisk() (err error) {
	dir, err := os.MkdirTemp("", "carillon-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	d, err := MountDisk(from, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	f, err := os.Create(filepath.Join(to, "file"))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString("before"); err != nil {
		return err
	}
	sub := filepath.Join(to, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(sub, "file"), []byte("there"), 0o600); err != nil {
		return err
	}
	d.Full(true)
	if err := os.Rename(filepath.Join(sub, "file"), filepath.Join(sub, "moved")); err != nil {
		return fmt.Errorf("a file cannot be moved on a full disk: %w", err)
	}
	if err := os.WriteFile(filepath.Join(sub, "moved"), []byte("longer than it was"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a file in a directory could grow on a full disk: %w", err)
	}
	if _, err := f.WriteAt([]byte("BEFORE it was full"), 0); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a file could grow on a full disk: %w", err)
	}
	if _, err := os.Create(filepath.Join(to, "another")); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a file could be made on a full disk: %w", err)
	}
	if err := os.Mkdir(filepath.Join(to, "dir"), 0o700); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a directory could be made on a full disk: %w", err)
	}
	d.Full(false)
	if _, err := f.WriteAt([]byte(" and after"), 6); err != nil {
		return err
	}
	d.Slow(50 * time.Millisecond)
	begun := time.Now()
	if err := f.Sync(); err != nil || time.Since(begun) < 50*time.Millisecond {
		return fmt.Errorf("a sync took %v: %w", time.Since(begun), err)
	}
	d.Slow(0)
	if b, err := os.ReadFile(filepath.Join(from, "file")); err != nil || string(b) != "BEFORE and after" {
		return fmt.Errorf("beneath is %q: %w", b, err)
	}
	return nil
}
