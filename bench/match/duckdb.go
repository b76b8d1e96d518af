package match

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// duckdb is a database in memory, in a process of Node's.
type duckdb struct {
	dir     string
	process *process
	in      io.WriteCloser
	out     *bufio.Reader
	pipe    *os.File // that out reads
}

// duckdbPackage is where its script and the list of its packages are, in the module.
const duckdbPackage = "github.com/carillon-push/carillon/bench/match"

// duckdbDialect looks for one tag after the other, as list_has_all and list_has_any take ten times as long.
var duckdbDialect = dialect{one: "list_contains(tags, %s)"}

func startDuckDB(ctx context.Context, install bool) (_ rival, err error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w, as there is no Node", errAbsent)
	}
	here, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", duckdbPackage).Output()
	if err != nil {
		return nil, fmt.Errorf("find the script in the module: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(here)), "duckdb")
	if err := npm(ctx, source, install); err != nil {
		return nil, err
	}
	d := &duckdb{}
	if d.dir, err = os.MkdirTemp("", "carillon-match-"); err != nil {
		return nil, fmt.Errorf("make a directory for DuckDB: %w", err)
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	settings, err := json.Marshal(map[string]string{"memory_limit": "5GB", "temp_directory": d.dir})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(node, filepath.Join(source, "serve.js"), string(settings))
	cmd.Dir = d.dir
	if d.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	// A pipe of our own, which the process's end does not close before all of it was read.
	var w *os.File
	d.pipe, w, err = os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	defer w.Close()
	cmd.Stdout = w
	d.out = bufio.NewReader(d.pipe)
	d.process, err = launch(ctx, cmd, syscall.SIGTERM)
	return d, err
}

// reply to one statement.
type reply struct {
	Rows  uint64
	First string
	Error string
}

// run one statement.
func (d *duckdb) run(sql string) (r reply, err error) {
	line, err := json.Marshal(map[string]string{"sql": sql})
	if err != nil {
		return r, err
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		return r, fmt.Errorf("DuckDB: %w: %s", err, d.process.said())
	}
	if line, err = d.out.ReadBytes('\n'); err != nil {
		return r, fmt.Errorf("DuckDB: %w: %s", err, d.process.said())
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("DuckDB: %w", err)
	}
	if r.Error != "" {
		return r, errors.New("DuckDB: " + r.Error)
	}
	return r, nil
}

func (d *duckdb) version(context.Context) (string, error) {
	r, err := d.run("select version()")
	return strings.TrimPrefix(r.First, "v"), err
}

// load goes by a file. Loading may take all cores, answering has one.
func (d *duckdb) load(ctx context.Context, users int, _ []predicate.Node) error {
	path := filepath.Join(d.dir, "users")
	if err := writeRows(ctx, path, users); err != nil {
		return fmt.Errorf("write users for DuckDB: %w", err)
	}
	defer os.Remove(path)
	var types []string
	for _, c := range columns("INTEGER", "INTEGER[]") {
		name, kind, _ := strings.Cut(c, " ")
		types = append(types, fmt.Sprintf("'%s': '%s'", name, kind))
	}
	for _, sql := range []string{
		fmt.Sprintf("create table users as select * from read_csv('%s', delim='|', header=false, columns={%s})", path, strings.Join(types, ", ")),
		"set threads = 1",
	} {
		if _, err := d.run(sql); err != nil {
			return err
		}
	}
	return nil
}

func writeRows(ctx context.Context, path string, users int) error {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	m := newMaker()
	var b []byte
	for u := range uint32(users) {
		b = row(b[:0], u, m.make(u), '[', ']', '|')
		if _, err = out.Write(b); err != nil {
			break
		}
		if u%(1<<16) == 0 && ctx.Err() != nil {
			err = ctx.Err()
			break
		}
	}
	return errors.Join(err, out.Flush(), f.Close())
}

// ask counts, and then asks again for the numbers of the users.
func (d *duckdb) ask(_ context.Context, n predicate.Node) (a answer, err error) {
	where, err := duckdbDialect.where(n)
	if err != nil {
		return a, err
	}
	start := time.Now()
	r, err := d.run("select count(*) from users where " + where)
	a.found = time.Since(start)
	if err != nil {
		return a, err
	}
	if a.users, err = strconv.ParseUint(r.First, 10, 64); err != nil {
		return a, fmt.Errorf("DuckDB's count: %w", err)
	}
	start = time.Now()
	r, err = d.run("select id from users where " + where)
	a.whole = time.Since(start)
	if err == nil && r.Rows != a.users {
		err = fmt.Errorf("DuckDB counts %d users, and then gives %d", a.users, r.Rows)
	}
	return a, err
}

func (d *duckdb) close() {
	if d.process != nil {
		d.process.end()
	}
	if d.pipe != nil {
		_ = d.pipe.Close() // it was only read
	}
	_ = os.RemoveAll(d.dir) // what is left is in the directory for temporary files
}
