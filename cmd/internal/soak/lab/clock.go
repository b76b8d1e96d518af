package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clockVar is what a process is told its clock's error by, in seconds.
const clockVar = "LAB_CLOCK"

// nowBody is where time.Now has read the clock, and what it does then.
const nowBody = "sec, nsec, mono := runtimeNow()\n"

// skewSource is added to the package time.
const skewSource = `package time

import "syscall"

// skew is how many seconds the clock is said to be wrong by. Durations are right: the monotonic clock is left alone.
var skew = func() (s int64) {
	v, _ := syscall.Getenv("` + clockVar + `")
	sign := int64(1)
	for i, c := range []byte(v) {
		switch {
		case i == 0 && c == '-':
			sign = -1
		case '0' <= c && c <= '9':
			s = 10*s + int64(c-'0')
		}
	}
	return sign * s
}()
`

// Clock writes into a directory what go build -overlay takes to make a program whose clock can be wrong (ClockEnv), and
// gives the overlay's name.
func Clock(dir string) (overlay string, err error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("ask where Go is: %w", err)
	}
	lib := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	source, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		return "", fmt.Errorf("read how Go tells the time: %w", err)
	}
	before, after, found := strings.Cut(string(source), nowBody)
	if !found || strings.Contains(after, nowBody) {
		return "", errors.New("this Go reads its clock in another way than the lab knows, so that no clock can be wrong")
	}
	files := map[string]string{"time.go": before + nowBody + "\tsec += skew\n" + after, "skew.go": skewSource}
	replace := map[string]string{}
	for name, text := range files {
		replace[filepath.Join(lib, name)] = filepath.Join(dir, "clock-"+name)
		if err := os.WriteFile(filepath.Join(dir, "clock-"+name), []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write a clock: %w", err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "clock.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return "", fmt.Errorf("write a clock: %w", err)
	}
	return overlay, nil
}

// ClockEnv is the variable that makes a clock wrong by so much, in whole seconds.
func ClockEnv(by time.Duration) string { return fmt.Sprintf("%s=%d", clockVar, int64(by/time.Second)) }
