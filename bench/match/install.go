package match

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// errAbsent is why a database that is not there is left out where nothing may be installed.
var errAbsent = errors.New("it is not installed")

// policy is what Debian's packages ask whether they may start their services: 101 is no.
const (
	policy      = "/usr/sbin/policy-rc.d"
	mayNotStart = "#!/bin/sh\nexit 101\n"
)

// debian installs a package of Debian's, whose service is not started.
func debian(ctx context.Context, name string) (err error) {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%w, and only root can install it, with apt-get", errAbsent)
	}
	switch f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755); {
	case err == nil:
		_, err = f.WriteString(mayNotStart)
		defer func() { _ = os.Remove(policy) }()
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("keep the service of %s from being started: %w", name, err)
		}
	case errors.Is(err, fs.ErrExist): // the machine has its own
	default:
		return fmt.Errorf("keep the service of %s from being started: %w", name, err)
	}
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", name}} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if err := perform(ctx, cmd); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	return nil
}

// installed is the mark that the Makefile, too, leaves where npm has come to its end.
const installed = "node_modules/.installed"

// npm installs what a directory's package-lock.json names, unless that was done. `npm ci` would refuse a list that leaves out the
// binaries of other systems; the versions and digests of what is in it hold either way.
func npm(ctx context.Context, dir string, allowed bool) error {
	mark := filepath.Join(dir, installed)
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("find the list of packages: %w", err)
	}
	if done, err := os.Stat(mark); err == nil && !done.ModTime().Before(lock.ModTime()) {
		return nil
	}
	if !allowed {
		return errAbsent
	}
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-save")
	cmd.Dir = dir
	if err := perform(ctx, cmd); err != nil {
		return fmt.Errorf("install its packages: %w", err)
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		return fmt.Errorf("mark its packages as installed: %w", err)
	}
	return nil
}
