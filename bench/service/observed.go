package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Observed is a process that is looked at from outside.
type Observed struct {
	PID int
	// URL is where its metrics are: its REST interface, or its probes.
	URL string
}

// looking asks for metrics, on a connection each: none is left behind.
var looking = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// CPU is what the process has used so far, user and system.
func (o Observed) CPU() (time.Duration, error) {
	// The clock of a process: its number's complement, and 2 for all of its threads' time (clock_getcpuclockid).
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^o.PID)<<3|2, &t); err != nil {
		return 0, fmt.Errorf("read the service's CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// RSS is the process's resident memory in bytes. A collector's slack is in it.
func (o Observed) RSS() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", o.PID))
	if err != nil {
		return 0, fmt.Errorf("read the service's resident memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Rss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("the kernel does not tell the service's resident memory")
}

// ErrNoMetric is returned by Metric for one that the process does not have.
var ErrNoMetric = errors.New("the process has no such metric")

// Metric reads one metric, summed over its labels; of several label="value" only those that have them all.
func (o Observed) Metric(ctx context.Context, name string, labels ...string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read the metric %s: %w", name, err)
	}
	resp, err := looking.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read the metric %s: %w", name, err)
	}
	defer resp.Body.Close()
	sum, found := 0.0, false
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		series, value := line[:at], line[at+1:]
		metric, of, _ := strings.Cut(series, "{")
		if metric != name || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(of, l) }) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read the metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read the metric %s: %w", name, err)
	}
	if !found {
		return 0, fmt.Errorf("read the metric %s: %w", name, ErrNoMetric)
	}
	return sum, nil
}
