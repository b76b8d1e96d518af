package report

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// Machine is what figures depend on, beside the code.
type Machine struct {
	CPU    string
	Cores  int
	Memory int64 // bytes
	Kernel string
	Go     string
	NATS   string
	Commit string
	Date   time.Time
}

// ThisMachine is as much as can be found out; what cannot is called unknown, since a measurement does not fail for it.
func ThisMachine() Machine {
	m := Machine{
		CPU: "unknown", Cores: runtime.NumCPU(), Kernel: "unknown", Go: runtime.Version(), NATS: server.VERSION,
		Commit: commit(), Date: time.Now().UTC(),
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
	return m
}

// commit that was measured. A binary made by go run does not know it, so git is asked.
func commit() string {
	info, _ := debug.ReadBuildInfo()
	var revision string
	if info != nil {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	if revision == "" {
		out, err := exec.Command("git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*").Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	return revision
}

func (m Machine) lines() []string {
	return []string{
		fmt.Sprintf("CPU: %s, %d cores", m.CPU, m.Cores),
		fmt.Sprintf("memory: %.1f GiB", float64(m.Memory)/(1<<30)),
		"kernel: Linux " + m.Kernel,
		fmt.Sprintf("Go: %s; nats-server: %s", strings.TrimPrefix(m.Go, "go"), m.NATS),
		"commit: " + m.Commit,
		"date: " + m.Date.Format("2006-01-02 15:04 UTC"),
	}
}
