package carillon_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/carillon-push/carillon"

// rooms are the parts of the tree, and for each which others its code may import. A package belongs to the room with the
// longest path that leads to it. What a room imports of itself is its own business.
var rooms = map[string][]string{
	".": {},

	"pkg/predicate": {},
	"pkg/push":      {},
	"pkg/dense":     {},
	"pkg/wire":      {"pkg/push", "pkg/dense"},
	"pkg/usersig":   {"pkg/push"},
	"pkg/client":    {"pkg/push", "pkg/wire", "pkg/usersig"},
	"pkg/tracing":   {"pkg/push", "pkg/wire"},
	"pkg/broker":    {"pkg/push", "pkg/wire"},
	"pkg/directory": {"pkg/push", "pkg/wire", "pkg/broker"},
	"pkg/history":   {"pkg/predicate", "pkg/push", "pkg/wire", "pkg/broker", "pkg/directory"},

	"ingest":  {"pkg/predicate", "pkg/push", "pkg/wire", "pkg/broker", "pkg/directory", "pkg/history", "pkg/usersig", "pkg/tracing"},
	"matcher": {"pkg/predicate", "pkg/push", "pkg/dense", "pkg/wire", "pkg/broker", "pkg/directory", "pkg/tracing"},
	"deliver": {"pkg/push", "pkg/wire", "pkg/broker", "pkg/directory", "pkg/usersig", "pkg/tracing"},
	"offline": {"pkg/push", "pkg/wire", "pkg/broker", "pkg/directory", "pkg/history", "pkg/tracing"},

	"deliver/channel":  {"pkg/push", "pkg/wire"},
	"deliver/callback": {"pkg/push", "pkg/wire", "pkg/broker", "pkg/directory", "deliver/channel"},
	"deliver/notify":   {"pkg/push", "pkg/wire", "pkg/broker", "pkg/directory", "deliver/channel"},

	"cmd":   {"pkg", "ingest", "matcher", "deliver", "offline"},
	"bench": {"pkg", "ingest", "matcher", "deliver", "offline"},
}

// confined are the libraries that may be imported in some rooms only, so that they can be replaced there.
var confined = []struct {
	library string
	rooms   []string
	// tests says that the tests of all rooms may import it too.
	tests bool
}{
	{library: "github.com/labstack/echo", rooms: []string{"ingest", "cmd/internal/app"}},
	{library: "github.com/nats-io/nats.go", rooms: []string{"pkg/broker"}},
	{library: "github.com/synadia-io/orbit.go", rooms: []string{"pkg/broker"}},
	{library: "github.com/nats-io/nats-server", rooms: []string{"pkg/broker", "cmd/internal/app/apptest", "bench"}, tests: true},
	{library: "go.opentelemetry.io", rooms: []string{"pkg/tracing"}, tests: true},
	{library: "github.com/centrifugal/centrifuge", rooms: []string{"bench"}}, // what Carillon is measured against
	{library: "github.com/RoaringBitmap/roaring", rooms: []string{"pkg/wire", "pkg/history", "matcher", "deliver", "offline", "bench"}, tests: true},
}

// nameless are names of packages that say nothing about what is in them.
var nameless = []string{"util", "utils", "common", "helper", "helpers", "types", "models", "misc", "shared"}

// maxLines of a file that is no test.
const maxLines = 500

// source is one Go file of the tree.
type source struct {
	path   string // from the root, with slashes
	lines  int
	syntax *ast.File
}

func (s source) test() bool  { return strings.HasSuffix(s.path, "_test.go") }
func (s source) dir() string { return path.Dir(s.path) }

var fset = token.NewFileSet()

// at is the place of a node, as path:line.
func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, fset.Position(n.Pos()).Line)
}

// imported are the import paths of the file, each with its place.
func (s source) imported() map[string]string {
	places := make(map[string]string)
	for _, i := range s.syntax.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			places[p] = s.at(i)
		}
	}
	return places
}

var parse = sync.OnceValues(func() ([]source, error) {
	var sources []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := name != "." && strings.HasPrefix(d.Name(), ".")
		if d.IsDir() && (hidden || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || hidden || filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		sources = append(sources, source{filepath.ToSlash(name), bytes.Count(text, []byte("\n")), syntax})
		return nil
	})
	return sources, err
})

// tree is every Go file of the module.
func tree(t *testing.T) []source {
	t.Helper()
	sources, err := parse()
	if err != nil {
		t.Fatalf("read the tree: %v", err)
	}
	if len(sources) < 50 {
		t.Fatalf("the tree has %d files: that is not all of it", len(sources))
	}
	return sources
}

// within says whether a path is one of some others, or below one.
func within(p string, parents ...string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") })
}

// room is where a directory belongs; empty when nowhere.
func room(dir string) string {
	for d := dir; d != "."; d = path.Dir(d) {
		if _, ok := rooms[d]; ok {
			return d
		}
	}
	if dir == "." {
		return dir
	}
	return ""
}

// local is the directory of an import path of this module.
func local(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// mayImport says whether a file of one room may import a directory. Tests may have all of pkg, but no service has another
// one even there: they meet in the messages of pkg/wire, and all together only in cmd.
func mayImport(from, dir string, test bool) bool {
	return within(dir, from) || within(dir, rooms[from]...) || test && within(dir, "pkg")
}

func TestEveryPackageHasARoom(t *testing.T) {
	t.Parallel()
	for _, s := range tree(t) {
		if room(s.dir()) == "" {
			t.Errorf("%s: %s is in none of the rooms; say in the table what it may import", s.path, s.dir())
		}
	}
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	for _, s := range tree(t) {
		from := room(s.dir())
		for p, place := range s.imported() {
			if dir, ok := local(p); ok && !mayImport(from, dir, s.test()) {
				t.Errorf("%s: %s must not import %s", place, from, p)
			}
		}
	}
}

func TestTheTableHasNoCycles(t *testing.T) {
	t.Parallel()
	var visit func(room string, way []string)
	visit = func(room string, way []string) {
		if slices.Contains(way, room) {
			t.Fatalf("the table lets imports go in a circle: %s", strings.Join(append(way, room), " → "))
		}
		for to := range rooms {
			if to != room && within(to, rooms[room]...) {
				visit(to, append(slices.Clone(way), room))
			}
		}
	}
	for r := range rooms {
		visit(r, nil)
	}
	if mayImport("ingest", "matcher", true) || mayImport("pkg/push", "pkg/wire", false) || !mayImport("matcher", "matcher/index", false) {
		t.Error("the table does not say what it should")
	}
}

func TestLibrariesAreConfined(t *testing.T) {
	t.Parallel()
	for _, s := range tree(t) {
		for p, place := range s.imported() {
			for _, c := range confined {
				if within(p, c.library) && !within(s.dir(), c.rooms...) && !(c.tests && s.test()) {
					t.Errorf("%s: %s is for %s only", place, p, strings.Join(c.rooms, ", "))
				}
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, s := range tree(t) {
		names := append(strings.Split(s.dir(), "/"), strings.TrimSuffix(s.syntax.Name.Name, "_test"))
		if i := slices.IndexFunc(names, func(n string) bool { return slices.Contains(nameless, n) }); i >= 0 {
			t.Errorf("%s: %q says nothing about what is in it; call it by its noun", s.path, names[i])
		}
	}
}

func TestFilesHaveOneSubject(t *testing.T) {
	t.Parallel()
	for _, s := range tree(t) {
		if !s.test() && s.lines > maxLines {
			t.Errorf("%s has %d lines, over %d: it must have more than one subject", s.path, s.lines, maxLines)
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	for _, s := range tree(t) {
		if !s.test() {
			continue
		}
		name := importName(s.syntax, "time")
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == name {
				t.Errorf("%s: a test must wait for the event, not sleep", s.at(sel))
			}
			return true
		})
	}
}

// importName is what a file calls a package of the standard library; empty when it does not import it.
func importName(f *ast.File, importPath string) string {
	for _, i := range f.Imports {
		if i.Path.Value != strconv.Quote(importPath) {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// onTheBroker is what a subject or the name of a stream looks like, or a format for one.
var onTheBroker = regexp.MustCompile(`^((account|user|push|audience|receipt|inbox|shard|session|source|notify|match|rate|event)\.\S*|` +
	`\$(KV|JS|SYS)\..*|PUSHES|AUDIENCES|RECEIPTS|EVENTS|PENDING|SETTINGS|QUOTAS|RATES|REQUESTS|TASKS|(ACCOUNTS|USERS|HISTORY|KV)_.*)$`)

func TestSubjectsStandInWireOnly(t *testing.T) {
	t.Parallel()
	for _, s := range tree(t) {
		if s.test() || within(s.dir(), "pkg/wire") {
			continue
		}
		imports := make(map[*ast.BasicLit]bool)
		for _, i := range s.syntax.Imports {
			imports[i.Path] = true
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING || imports[lit] {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil && onTheBroker.MatchString(text) {
				t.Errorf("%s: %s names something on the broker; that is for pkg/wire", s.at(lit), lit.Value)
			}
			return true
		})
	}
}

func TestOnTheBroker(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"user.", "user.%d.>", "push.>", "$KV.PENDING.", "source.", "PUSHES", "USERS_%d_%d", "KV_X", "account.1.*"} {
		if !onTheBroker.MatchString(name) {
			t.Errorf("%q is not seen as a name on the broker", name)
		}
	}
	for _, text := range []string{"sessions.listen", "a push. And more", "push", "user. Then", "pushes"} {
		if onTheBroker.MatchString(text) {
			t.Errorf("%q is taken for a name on the broker", text)
		}
	}
}
