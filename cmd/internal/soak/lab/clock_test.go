package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A program that is built over the lab's clock says another time, when it is told to, and measures durations as ever.
func TestClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	overlay, err := Clock(dir)
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "main.go")
	// Without the library's printing, since all that it imports is compiled anew.
	text := `package main
import "time"
func main() { a := time.Now(); println(a.Unix(), time.Since(a) < time.Minute, time.Unix(a.Unix(), 0).Sub(a) < time.Minute) }`
	if err := os.WriteFile(main, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, main).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, by := range []time.Duration{0, time.Hour, -time.Hour} {
		before := time.Now()
		cmd := exec.Command(program)
		if by != 0 {
			cmd.Env = append(os.Environ(), ClockEnv(by))
		}
		out, err := cmd.CombinedOutput()
		after := time.Now()
		if err != nil {
			t.Fatalf("%v: %v\n%s", by, err, out)
		}
		now, rest, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		at, err := strconv.ParseInt(now, 10, 64)
		if err != nil || at < before.Add(by).Unix() || at > after.Add(by).Unix() || rest != "true true" {
			t.Errorf("a clock that is wrong by %v says %q between %d and %d", by, out, before.Unix(), after.Unix())
		}
	}
}
