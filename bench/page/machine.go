package page

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what figures depend on, beside the code.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     int64  `json:"memory"` // bytes
	Kernel     string `json:"kernel"`
	OpenFiles  uint64 `json:"openFiles"` // ulimit -n
	MaxProcs   int    `json:"gomaxprocs"`
	Go         string `json:"go"`
	NATS       string `json:"natsServer"`
	Centrifuge string `json:"centrifuge"`
}

const unknown = "unknown"

// ThisMachine is as much as can be found out; what cannot is called unknown, since a measurement does not fail for it.
func ThisMachine() Machine {
	m := Machine{
		CPU: unknown, Cores: runtime.NumCPU(), Kernel: unknown, MaxProcs: runtime.GOMAXPROCS(0), Go: strings.TrimPrefix(runtime.Version(), "go"),
		NATS: module("github.com/nats-io/nats-server/v2"), Centrifuge: module("github.com/centrifugal/centrifuge"),
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
				kb, _ := strconv.ParseInt(f[1], 10, 64)
				m.Memory = kb << 10
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		m.OpenFiles = files.Cur
	}
	return m
}

// module is the version of a dependency.
func module(path string) string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, m := range info.Deps {
			if m.Path == path {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return unknown
}

// Dirty ends the name of a commit that files differ from.
const Dirty = "-dirty"

// Commit of the directory, with Dirty when files differ from it other than those of a directory within, which measuring itself
// writes; unknown where git does not tell.
func Commit(dir, but string) string {
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return unknown
	}
	if changed, err := git("status", "--porcelain", "--", ".", ":(exclude)"+but); err != nil || changed != "" {
		return commit + Dirty
	}
	return commit
}

// lines for people.
func (m Machine) lines() []string {
	return []string{
		fmt.Sprintf("CPU: %s, %d cores; GOMAXPROCS %d", m.CPU, m.Cores, m.MaxProcs),
		fmt.Sprintf("memory: %.1f GiB; open files (`ulimit -n`): %d", float64(m.Memory)/(1<<30), m.OpenFiles),
		"kernel: Linux " + m.Kernel,
		fmt.Sprintf("Go %s; nats-server %s; centrifuge %s", m.Go, m.NATS, m.Centrifuge),
	}
}
