// Command report reads `go test -json` from its standard input and prints what a person wants of it: the output of what
// failed, and each package's closing line. Lines that are not JSON are passed on. It fails if a test or a build
// failed, or if a test was skipped that gives no reason or is not in the list of the file named by its argument.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string // empty for the package itself
	Output  string
}

const module = "github.com/carillon-push/carillon"

// place is a package and a test of it, as in the list of skips.
type place struct{ pkg, test string }

// framing is what the testing package prints itself.
var framing = regexp.MustCompile(`^\s*(=== |--- )`)

// where is the file and line before what a test logs.
var where = regexp.MustCompile(`^\s*\S+\.go:\d+:`)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "report: give it the file of the skips that are allowed")
		os.Exit(2)
	}
	allowed, err := readSkips(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "report: read the skips that are allowed:", err)
		os.Exit(2)
	}
	if !report(allowed) {
		os.Exit(1)
	}
}

func readSkips(name string) (map[place]bool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	allowed := make(map[place]bool)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] != "#" {
			allowed[place{f[0], f[1]}] = true
		}
	}
	return allowed, nil
}

// report says whether all is well.
func report(allowed map[place]bool) bool {
	good, passed, failed, skipped := true, 0, 0, 0
	said := make(map[place][]string) // what each test, and each package beside its tests, printed and has not ended
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Println(lines.Text())
			continue
		}
		at := place{strings.TrimPrefix(strings.TrimPrefix(e.Package, module), "/"), e.Test}
		switch e.Action {
		case "build-output":
			fmt.Print(e.Output)
		case "output":
			said[at] = append(said[at], e.Output)
		case "build-fail":
			good = false
		case "fail":
			good = false
			if e.Test != "" {
				failed++
			}
			fmt.Print(strings.Join(said[at], ""))
			delete(said, at)
		case "pass", "skip":
			switch {
			case e.Test == "": // a package, which counts as skipped when it has no tests
				if n := len(said[at]); n > 0 {
					fmt.Print(said[at][n-1])
				}
			case e.Action == "pass":
				passed++
			default:
				skipped++
				if fault := skipFault(said[at], allowed[at]); fault != "" {
					good = false
					fmt.Printf("SKIPPED %s %s: %s\n", at.pkg, at.test, fault)
				}
			}
			delete(said, at)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Println("report: read the output of go test:", err)
		return false
	}
	for at, output := range said { // a panic or a timeout ends a package before its tests
		fmt.Printf("NOT ENDED %s %s\n%s", at.pkg, at.test, strings.Join(output, ""))
		good = false
	}
	if passed == 0 {
		fmt.Println("report: no test passed")
		return false
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return good
}

// skipFault is what is wrong with a skip, or empty.
func skipFault(output []string, listed bool) string {
	reason := ""
	for _, line := range output {
		if !framing.MatchString(line) {
			reason += strings.TrimSpace(where.ReplaceAllString(line, ""))
		}
	}
	switch {
	case reason == "":
		return "it does not say why"
	case !listed:
		return "not among the skips that are allowed: " + reason
	}
	return ""
}
