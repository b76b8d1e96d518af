package code

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const source = `// Package a.
package a

import "fmt"

// A is.
func A() { fmt.Println("a", 1) }
`

func TestTokens(t *testing.T) {
	t.Parallel()
	of := func(source string) string {
		b, err := tokens([]byte(source))
		if err != nil {
			t.Fatalf("%v in\n%s", err, source)
		}
		return string(b)
	}
	for name, same := range map[string]string{
		"comments": "package a\n\nimport \"fmt\"\n\nfunc A() { /* b */ fmt.Println(\"a\", 1) } // c\n",
		"layout":   "package a; import \"fmt\"\nfunc A() {\n\tfmt.Println(\n\t\t\"a\",\n\t\t1,\n\t)\n}\n\n",
	} {
		if of(same) != of(source) {
			t.Errorf("%s count:\n%s\n%s", name, of(source), of(same))
		}
	}
	for name, other := range map[string]string{
		"a name":      "package a; import \"fmt\"; func B() { fmt.Println(\"a\", 1) }",
		"a text":      "package a; import \"fmt\"; func A() { fmt.Println(\"b\", 1) }",
		"a number":    "package a; import \"fmt\"; func A() { fmt.Println(\"a\", 2) }",
		"a directive": "package a; import \"fmt\"\n//go:noinline\nfunc A() { fmt.Println(\"a\", 1) }",
	} {
		if of(other) == of(source) {
			t.Errorf("%s does not count", name)
		}
	}
	if _, err := tokens([]byte("package \"")); err == nil {
		t.Error("what is not Go was read")
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte(source))
	f.Add([]byte("//go:embed x\nvar a = [...]int{1,\n2,\n}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := tokens(b)
		again, errAgain := tokens(b)
		if string(first) != string(again) || (err == nil) != (errAgain == nil) {
			t.Error("the same file has two digests")
		}
	})
}

// TestDigest changes a module in all ways, and watches a package and one that imports it.
func TestDigest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digest := func(pkg string) string {
		t.Helper()
		tree, err := Read(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		d, err := tree.Digest([]string{"example.org/m/" + pkg}, []string{"Makefile"})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	write("go.mod", "module example.org/m\n\ngo 1.26\n")
	write("Makefile", "all:\n")
	write("a/a.go", source)
	write("b/b.go", "package b\n\nimport _ \"embed\"\n\nimport _ \"example.org/m/a\"\n\n//go:embed text\nvar Text string\n")
	write("b/text", "one")
	a, b := digest("a"), digest("b")
	for _, change := range []struct {
		name, file, text string
		a, b             bool // differ
	}{
		{"a test", "a/a_test.go", "package a\n", false, false},
		{"a comment", "a/a.go", source + "// more\n", false, false},
		{"another platform's file", "a/a_plan9.go", "package a\n\nvar P int\n", false, false},
		{"another package", "c/c.go", "package c\n", false, false},
		{"what is embedded", "b/text", "two", false, true},
		{"the file beside", "Makefile", "all: x\n", true, true},
		{"code that is imported", "a/a.go", source + "var X int\n", true, true},
	} {
		write(change.file, change.text)
		nextA, nextB := digest("a"), digest("b")
		if (nextA != a) != change.a || (nextB != b) != change.b {
			t.Errorf("%s: a differs %v, b differs %v", change.name, nextA != a, nextB != b)
		}
		a, b = nextA, nextB
	}
	tree, err := Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if !tree.Compiles("example.org/m/b", "example.org/m/a") || tree.Compiles("example.org/m/a", "example.org/m/b") || len(tree.Packages()) != 3 {
		t.Errorf("the packages are %q", tree.Packages())
	}
	write("b/node_modules/x/package.json", "{}")
	write("b/README.md", "for people")
	write("b/peer/package-lock.json", "{}")
	if files, err := tree.Beside("b"); err != nil || !slices.Equal(files, []string{"b/peer/package-lock.json", "b/text"}) {
		t.Errorf("beside b there are %q, %v", files, err)
	}
	if files, err := tree.Beside("none"); err != nil || len(files) > 0 {
		t.Errorf("beside nothing there are %q, %v", files, err)
	}
	if d, err := tree.Digest([]string{"example.org/m/none"}, nil); err == nil {
		t.Errorf("a package that is not there has the digest %s", d)
	}
}
