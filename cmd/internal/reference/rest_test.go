package reference_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
)

const (
	restPage = root + "docs/rest.md"
	// noCommand is what the page calls to show the answer to a command that does not exist.
	noCommand = "all_member_push/im_pull"
	// anything is what stands for any text in an answer of the page.
	anything = "…"
)

// example is a call that the page shows, with its answer.
type example struct {
	command, url, body, answer string
	line                       int
}

var (
	// shown is a block of a call, and the block of its answer if that follows.
	shown = regexp.MustCompile("(?s)```sh\n(.*?)```\n(?:```json\n(.*?)```\n)?")
	// curl is the one form of a call; what is in single quotes has none inside.
	curl = regexp.MustCompile(`(?s)^curl "(\$BASE/v4/([a-z_]+/[a-z_]+)\?[^"]*)" \\\n  -d '([^']*)'\n$`)
	// headed is the heading of a command's section.
	headed = regexp.MustCompile("(?m)^### `([^`]*)`$")
	// named is a command wherever it is named in full.
	named = regexp.MustCompile(`\b(?:im_open_login_svc|all_member_push|openim|timpush)/[a-z_]+\b`)
)

func readRest(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(restPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func examples(t *testing.T, page string) (list []example) {
	t.Helper()
	for _, at := range shown.FindAllStringSubmatchIndex(page, -1) {
		e := example{line: 1 + strings.Count(page[:at[0]], "\n")}
		if at[4] < 0 {
			t.Fatalf("line %d: a call without an answer", e.line)
		}
		call := curl.FindStringSubmatch(page[at[2]:at[3]])
		if call == nil {
			t.Fatalf("line %d: a call that is not of the page's form:\n%s", e.line, page[at[2]:at[3]])
		}
		e.url, e.command, e.body, e.answer = call[1], call[2], call[3], page[at[4]:at[5]]
		list = append(list, e)
	}
	return list
}

// commandsOf reads the table of commands, in its order.
func commandsOf(t *testing.T) (list []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), root+"ingest/commands.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{} // of the constants
	text := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(e.Value)
			return s
		case *ast.Ident:
			return values[e.Name]
		}
		return ""
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, v := range n.Values {
				values[n.Names[i].Name] = text(v)
			}
		case *ast.CompositeLit:
			if _, row := n.Type.(*ast.ArrayType); row || len(n.Elts) < 2 {
				return true
			}
			list = append(list, text(n.Elts[0])+"/"+text(n.Elts[1]))
		}
		return true
	})
	if len(list) < 16 || !slices.Contains(list, "openim/query_online_status") {
		t.Fatalf("the table of commands cannot be read: %q", list)
	}
	return list
}

// The page has a section and an example for each command, and none for anything else.
func TestRestPageHasEveryCommand(t *testing.T) {
	t.Parallel()
	page, commands := readRest(t), commandsOf(t)
	var sections []string
	for _, m := range headed.FindAllStringSubmatch(page, -1) {
		sections = append(sections, m[1])
	}
	called := map[string]bool{}
	for _, e := range examples(t, page) {
		called[e.command] = true
	}
	for _, c := range commands {
		if !slices.Contains(sections, c) {
			t.Errorf("%s has no section", c)
		}
		if !called[c] {
			t.Errorf("%s has no example", c)
		}
	}
	for _, s := range sections {
		if !slices.Contains(commands, s) {
			t.Errorf("there is a section on %s, which is no command", s)
		}
	}
	for _, n := range named.FindAllString(page, -1) {
		if n != noCommand && !slices.Contains(commands, n) {
			t.Errorf("the page names %s, which is no command", n)
		}
	}
}

// The page mentions each code that the service has, and no other.
func TestRestPageHasEveryCode(t *testing.T) {
	t.Parallel()
	page := readRest(t)
	var b bytes.Buffer
	constants(t, &b, root+"ingest/codes.go", "Code")
	codes := regexp.MustCompile(`(?m)^\| (\d{5}) \|`).FindAllStringSubmatch(b.String(), -1)
	if len(codes) < 40 {
		t.Fatalf("only %d codes were found", len(codes))
	}
	known := map[string]bool{}
	for _, c := range codes {
		known[c[1]] = true
		if !regexp.MustCompile(`\b` + c[1] + `\b`).MatchString(page) {
			t.Errorf("the page does not mention %s", c[1])
		}
	}
	for _, n := range regexp.MustCompile(`\b[679]\d{4}\b`).FindAllString(page, -1) {
		if !known[n] {
			t.Errorf("the page mentions %s, which is no code", n)
		}
	}
}

// Every example of the page, in its order, is answered as the page says, and pushes reach whom the page says.
func TestRestPageExamples(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	alice := s.Dial("alice") // who, the page says, has a session in a browser
	variables := map[string]string{
		"BASE": s.REST.URL, "APP": apptest.AppID.String(), "ADMIN": apptest.Admin, "SIG": apptest.Sig(t, apptest.Admin),
	}
	reached := []string{"hello, everybody", "an order", "to level 3 in Shenzhen"} // the texts that are for her
	for _, e := range examples(t, readRest(t)) {
		url := os.Expand(e.url, func(name string) string {
			if variables[name] == "" {
				t.Fatalf("line %d: the page does not set $%s", e.line, name)
			}
			return variables[name]
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(e.body))
		if err != nil {
			t.Fatalf("line %d: %v", e.line, err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("line %d: %v", e.line, err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatalf("line %d: %v", e.line, err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(e.answer)); err != nil {
			t.Fatalf("line %d: the answer is no JSON: %v", e.line, err)
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want.String()), anything, `[^"]+`)
		if res.StatusCode != http.StatusOK || !regexp.MustCompile("^"+pattern+"$").Match(got) {
			t.Errorf("line %d: %s answers %d\n%s\nthe page says\n%s", e.line, e.command, res.StatusCode, got, want.Bytes())
		}
		// Read before the next example: what changes after a push may be seen by it or not.
		if len(reached) > 0 && strings.Contains(e.body, reached[0]) {
			if f, err := alice.TryRead(); err != nil || !strings.Contains(string(f.Body), reached[0]) {
				t.Errorf("line %d: alice got %s, %v", e.line, f.Body, err)
			}
			reached = reached[1:]
		}
	}
	if len(reached) > 0 {
		t.Errorf("the page does not push %q", reached)
	}
}
