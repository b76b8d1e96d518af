package match

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// postgres is a cluster of its own, on a unix socket.
type postgres struct {
	dir     string
	process *process
	conn    *pgconn.PgConn
}

// postgresDialect: GIN indexes answer them.
var postgresDialect = dialect{one: "tags @> '{%s}'", all: "tags @> '{%s}'", any: "tags && '{%s}'"}

// postgresSettings: all in memory and on one core, and nothing spent on surviving a crash, since nothing is written once
// the users are there.
var postgresSettings = []string{
	"listen_addresses=", "max_connections=10", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
	"max_wal_size=16GB", "autovacuum=off",
	"shared_buffers=4GB", "effective_cache_size=6GB", "work_mem=256MB", "maintenance_work_mem=1GB", "random_page_cost=1.1", "default_statistics_target=500",
	"jit=off", "max_parallel_workers_per_gather=0", "max_parallel_maintenance_workers=1",
}

func startPostgreSQL(ctx context.Context, install bool) (_ rival, err error) {
	server, err := findPostgreSQL()
	if errors.Is(err, errAbsent) && install {
		if err := debian(ctx, "postgresql"); err != nil {
			return nil, err
		}
		server, err = findPostgreSQL()
	}
	if err != nil {
		return nil, err
	}
	p := &postgres{}
	if p.dir, err = os.MkdirTemp("", "carillon-match-"); err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	as, err := p.owner()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(p.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(filepath.Dir(server), "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: as}
	if err := perform(ctx, initdb); err != nil {
		return nil, fmt.Errorf("make a cluster of PostgreSQL: %w", err)
	}
	args := []string{"-D", data, "-k", p.dir}
	for _, s := range postgresSettings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(server, args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: as}
	if p.process, err = launch(ctx, cmd, syscall.SIGINT); err != nil {
		return nil, err
	}
	return p, p.process.ready(ctx, func() (err error) {
		p.conn, err = pgconn.Connect(ctx, "host="+p.dir+" user=postgres dbname=postgres sslmode=disable")
		return err
	})
}

// findPostgreSQL gives the path of the newest server.
func findPostgreSQL() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		return path, nil
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is a good one
	if len(all) == 0 {
		return "", errAbsent
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // what is no number is the oldest
		return n
	}
	return slices.MaxFunc(all, func(a, b string) int { return version(a) - version(b) }), nil
}

// owner is whom the server runs as, since it refuses to be root's, and gives them the directory; nil is nobody else.
func (p *postgres) owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("PostgreSQL refuses to be root's: %w", err)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("the number of the user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("the number of the group of %s: %w", u.Username, err)
	}
	if err := os.Chown(p.dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("give PostgreSQL its directory: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (p *postgres) version(ctx context.Context) (string, error) {
	v, err := p.value(ctx, "show server_version")
	number, _, _ := strings.Cut(v, " ") // what follows is the packager's
	return number, err
}

// load makes the table, its indexes and its statistics, and has all of it in memory.
func (p *postgres) load(ctx context.Context, users int, _ []predicate.Node) error {
	if _, err := p.value(ctx, "create unlogged table users ("+strings.Join(columns("int not null", "int[] not null"), ", ")+")"); err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { // the last row, or the end of the reader, ends it
		out := bufio.NewWriterSize(w, 1<<20)
		m := newMaker()
		var b []byte
		for u := range uint32(users) {
			b = row(b[:0], u, m.make(u), '{', '}', '\t')
			if _, err := out.Write(b); err != nil {
				break // the reader's end
			}
		}
		_ = w.CloseWithError(out.Flush()) // never fails
	}()
	_, err := p.conn.CopyFrom(ctx, r, "copy users from stdin")
	_ = r.Close() // never fails
	if err != nil {
		return fmt.Errorf("copy users to PostgreSQL: %w", err)
	}
	steps := []string{"create unique index on users (id)", "create index on users using gin (tags)"}
	for slot := range push.AttrSlots {
		steps = append(steps, fmt.Sprintf("create index on users (a%d)", slot))
	}
	steps = append(steps, "vacuum (analyze, freeze) users", "create extension pg_prewarm",
		"select sum(pg_prewarm(oid)) from pg_class where relkind in ('r', 'i') and relname like 'users%'")
	for _, sql := range steps {
		if _, err := p.value(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// value is the first of the first row.
func (p *postgres) value(ctx context.Context, sql string) (string, error) {
	results, err := p.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", fmt.Errorf("PostgreSQL: %s: %w", sql, err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return "", nil
	}
	return string(results[0].Rows[0][0]), nil
}

// ask counts, and then asks again for the numbers of the users, which is much more for it to do.
func (p *postgres) ask(ctx context.Context, n predicate.Node) (a answer, err error) {
	where, err := postgresDialect.where(n)
	if err != nil {
		return a, err
	}
	start := time.Now()
	count, err := p.value(ctx, "select count(*) from users where "+where)
	a.found = time.Since(start)
	if err != nil {
		return a, err
	}
	if a.users, err = strconv.ParseUint(count, 10, 64); err != nil {
		return a, fmt.Errorf("PostgreSQL's count: %w", err)
	}
	start = time.Now()
	rows := p.conn.ExecParams(ctx, "select id from users where "+where, nil, nil, nil, []int16{1}) // 1 is binary
	var fetched uint64
	for rows.NextRow() {
		fetched++
	}
	_, err = rows.Close()
	a.whole = time.Since(start)
	if err == nil && fetched != a.users {
		err = fmt.Errorf("PostgreSQL counts %d users, and then gives %d", a.users, fetched)
	}
	return a, err
}

func (p *postgres) close() {
	if p.conn != nil {
		_ = p.conn.Close(context.Background()) // it ends anyway
	}
	if p.process != nil {
		p.process.end()
	}
	_ = os.RemoveAll(p.dir) // what is left is in the directory for temporary files
}
