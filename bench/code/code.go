// Package code tells whether the code that a figure was measured from is the one in the tree, by a digest of it. It holds
// what could change a figure: the tokens of the Go files of this module that are compiled, what they embed, and the versions of
// the other modules. Comments, the layout of files and tests do not count; nor does the machine, since the platform that
// files are chosen for is always the same.
package code

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Tree is the module's code, as it was when it was read.
type Tree struct {
	// Dir is the root of the module.
	Dir      string
	packages map[string]listed
	digests  map[string]string // of packages of this module
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Dir      string
	GoFiles, Deps        []string
	SFiles, HFiles       []string
	EmbedFiles, CgoFiles []string
	Module               *struct {
		Path, Version string
		Main          bool
	}
}

// fields of listed, as the go command wants them.
const fields = "-json=ImportPath,Dir,GoFiles,Deps,SFiles,HFiles,EmbedFiles,CgoFiles,Module"

// Read lists all packages of the module that the directory is in, and what they import.
func Read(ctx context.Context, dir string) (*Tree, error) {
	root, err := list(ctx, dir, "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, fmt.Errorf("find the module's root: %w", err)
	}
	t := &Tree{Dir: strings.TrimSpace(string(root)), packages: make(map[string]listed), digests: make(map[string]string)}
	out, err := list(ctx, t.Dir, "-deps", fields, "./...")
	if err != nil {
		return nil, fmt.Errorf("list the module's packages: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the list of the module's packages: %w", err)
		}
		t.packages[p.ImportPath] = p
	}
}

// list runs go list, for one platform and without the settings of whoever runs it.
func list(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return out, nil
}

// Compiles says whether a package imports another, at whatever distance.
func (t *Tree) Compiles(pkg, other string) bool { return slices.Contains(t.packages[pkg].Deps, other) }

// Packages of this module, by their import paths.
func (t *Tree) Packages() []string {
	var own []string
	for path, p := range t.packages {
		if p.Module != nil && p.Module.Main {
			own = append(own, path)
		}
	}
	slices.Sort(own)
	return own
}

// Beside gives the files of a directory of the module, and of those below, that no Go package tells of: scripts, and lists of
// what a peer is made of. Text for people, test data and what was installed are not among them. A directory that is not
// there has none.
func (t *Tree) Beside(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(t.Dir, dir), func(path string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"node_modules", "testdata"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || slices.Contains([]string{".go", ".md"}, filepath.Ext(path)):
			return nil
		}
		file, err := filepath.Rel(t.Dir, path)
		files = append(files, filepath.ToSlash(file))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for what is beside the packages of %s: %w", dir, err)
	}
	return files, nil
}

// Digest is that of some packages with all that they import, and of some other files, with paths from the module's root.
func (t *Tree) Digest(packages, files []string) (string, error) {
	var compiled []string
	for _, path := range packages {
		p, ok := t.packages[path]
		if !ok {
			return "", fmt.Errorf("there is no package %s", path)
		}
		compiled = append(append(compiled, path), p.Deps...)
	}
	slices.Sort(compiled)
	var lines []string
	for _, path := range slices.Compact(compiled) {
		p, ok := t.packages[path]
		switch {
		case !ok || p.Module == nil: // the standard library: that it is of another version says the machine's description
		case p.Module.Main:
			digest, err := t.own(p)
			if err != nil {
				return "", err
			}
			lines = append(lines, path+" "+digest)
		default:
			lines = append(lines, p.Module.Path+"@"+p.Module.Version)
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(t.Dir, f))
		if err != nil {
			return "", fmt.Errorf("read what was measured: %w", err)
		}
		lines = append(lines, f+" "+sum(b))
	}
	return sum([]byte(strings.Join(slices.Compact(lines), "\n"))), nil
}

// own is the digest of a package of this module. Files have no names in it: what moves from one to another is the same code
// only where they are whole files that were renamed.
func (t *Tree) own(p listed) (string, error) {
	if d, ok := t.digests[p.ImportPath]; ok {
		return d, nil
	}
	var lines []string
	add := func(names []string, normal func([]byte) ([]byte, error), named bool) error {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return fmt.Errorf("read what was measured: %w", err)
			}
			if b, err = normal(b); err != nil {
				return fmt.Errorf("read %s of %s: %w", name, p.ImportPath, err)
			}
			line := sum(b)
			if named { // the program knows it by its name
				line = filepath.ToSlash(name) + " " + line
			}
			lines = append(lines, line)
		}
		return nil
	}
	raw := func(b []byte) ([]byte, error) { return b, nil }
	err := errors.Join(
		add(p.GoFiles, tokens, false), add(p.CgoFiles, tokens, false),
		add(p.SFiles, raw, false), add(p.HFiles, raw, true), add(p.EmbedFiles, raw, true),
	)
	if err != nil {
		return "", err
	}
	slices.Sort(lines)
	t.digests[p.ImportPath] = sum([]byte(strings.Join(lines, "\n")))
	return t.digests[p.ImportPath], nil
}

// directive begins a comment that the compiler obeys.
const directive = "//go:"

// tokens are those of a Go file, one a line, as gofmt could lay them out in any way: without comments, but for those that the
// compiler obeys, and without the commas and semicolons that depend on line breaks.
func tokens(source []byte) ([]byte, error) {
	var (
		s     scanner.Scanner
		out   bytes.Buffer
		fault error
		held  token.Token // a comma or semicolon that means something only if more follows
	)
	file := token.NewFileSet().AddFile("", -1, len(source))
	s.Init(file, source, func(_ token.Position, msg string) {
		if fault == nil {
			fault = errors.New(msg)
		}
	}, scanner.ScanComments)
	for {
		_, tok, literal := s.Scan()
		switch {
		case tok == token.EOF:
			return out.Bytes(), fault
		case tok == token.COMMENT:
			if !strings.HasPrefix(literal, directive) {
				continue
			}
		case tok == token.COMMA || tok == token.SEMICOLON:
			if held != token.ILLEGAL {
				fmt.Fprintln(&out, held)
			}
			held = tok
			continue
		}
		if closes := tok == token.RPAREN || tok == token.RBRACK || tok == token.RBRACE; held != token.ILLEGAL && !closes {
			fmt.Fprintln(&out, held)
		}
		held = token.ILLEGAL
		fmt.Fprintf(&out, "%s %q\n", tok, literal)
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:16])
}
