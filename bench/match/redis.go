package match

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// redis is a server of its own, on a unix socket, that stores nothing on disk.
type redis struct {
	dir     string
	process *process
	client  rueidis.Client
}

func startRedis(ctx context.Context, install bool) (_ rival, err error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		if !install {
			return nil, errAbsent
		}
		if err := debian(ctx, "redis-server"); err != nil {
			return nil, err
		}
		if server, err = exec.LookPath("redis-server"); err != nil {
			return nil, fmt.Errorf("find what was installed: %w", err)
		}
	}
	r := &redis{}
	if r.dir, err = os.MkdirTemp("", "carillon-match-"); err != nil {
		return nil, fmt.Errorf("make a directory for Redis: %w", err)
	}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	socket := filepath.Join(r.dir, "socket")
	cmd := exec.Command(server, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", r.dir)
	cmd.Dir = r.dir
	if r.process, err = launch(ctx, cmd, syscall.SIGTERM); err != nil {
		return nil, err
	}
	return r, r.process.ready(ctx, func() (err error) {
		r.client, err = rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{socket}, ForceSingleClient: true, DisableCache: true, ConnWriteTimeout: time.Minute,
			DialCtxFn: func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
				return d.DialContext(ctx, "unix", path)
			},
		})
		return err
	})
}

func (r *redis) version(ctx context.Context) (string, error) {
	info, err := r.client.Do(ctx, r.client.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return "", fmt.Errorf("ask Redis for its version: %w", err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return v, nil
		}
	}
	return "", errors.New("no version is in what Redis says of itself")
}

// wanted are the terms of some conditions, which are all that is loaded: with all terms dense bitmaps would need a hundred
// gigabytes.
type wanted struct {
	keys   []string
	tags   [tags]int32 // places in keys, and 0 for what is not wanted
	values [push.AttrSlots][]int32
}

func newWanted(conditions []predicate.Node) (*wanted, error) {
	w := &wanted{keys: []string{everyoneKey}}
	for slot, n := range cardinalities {
		w.values[slot] = make([]int32, n)
	}
	for _, n := range conditions {
		if err := w.add(n); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *wanted) add(n predicate.Node) error {
	var place *int32
	var kids []predicate.Node
	switch n := n.(type) {
	case predicate.Tag:
		rank, err := rankOf(n.Name, tagPrefix)
		if err != nil {
			return err
		}
		place = &w.tags[rank]
	case predicate.Attr:
		rank, err := rankOf(n.Value, valuePrefix)
		if err != nil {
			return err
		}
		place = &w.values[n.Slot][rank]
	case predicate.Not:
		kids = []predicate.Node{n.Kid}
	case predicate.And:
		kids = n.Kids
	case predicate.Or:
		kids = n.Kids
	}
	if place != nil && *place == 0 {
		*place = int32(len(w.keys))
		w.keys = append(w.keys, keyOf(n))
	}
	for _, k := range kids {
		if err := w.add(k); err != nil {
			return err
		}
	}
	return nil
}

// bitmaps of the users from first to before end, of each key; the first user is the highest bit of the first byte, as Redis
// has it.
func (w *wanted) bitmaps(first, end int) [][]byte {
	all := make([][]byte, len(w.keys))
	for i := range all {
		all[i] = make([]byte, (end-first)/8)
	}
	m := newMaker()
	for u := first; u < end; u++ {
		who := m.make(uint32(u))
		at, bit := (u-first)/8, byte(0x80>>(u%8))
		all[0][at] |= bit
		for _, t := range who.tags {
			if place := w.tags[t]; place > 0 {
				all[place][at] |= bit
			}
		}
		for slot, v := range who.values {
			if place := w.values[slot][v]; place > 0 {
				all[place][at] |= bit
			}
		}
	}
	return all
}

// loadStep is how many users' bits are made and sent together.
const loadStep = 1_000_000

// load sends bitmaps piece by piece.
func (r *redis) load(ctx context.Context, users int, conditions []predicate.Node) error {
	w, err := newWanted(conditions)
	if err != nil {
		return err
	}
	for _, key := range w.keys { // each has its length before several fill it
		if err := r.client.Do(ctx, r.client.B().Setrange().Key(key).Offset(int64(users/8-1)).Value("\x00").Build()).Error(); err != nil {
			return fmt.Errorf("load Redis: %w", err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for first := 0; first < users; first += loadStep {
		g.Go(func() error {
			for i, b := range w.bitmaps(first, min(first+loadStep, users)) {
				if err := r.client.Do(ctx, r.client.B().Setrange().Key(w.keys[i]).Offset(int64(first/8)).Value(rueidis.BinaryString(b)).Build()).Error(); err != nil {
					return fmt.Errorf("load Redis: %w", err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// ask has the operations done in one go, and then fetches what came out.
func (r *redis) ask(ctx context.Context, n predicate.Node) (a answer, err error) {
	list, err := bitops(n)
	if err != nil {
		return a, err
	}
	commands := make([]rueidis.Completed, len(list))
	for i, o := range list {
		commands[i] = r.client.B().Arbitrary("BITOP", o.operation).Keys(o.into).Keys(o.of...).Build()
	}
	start := time.Now()
	for _, result := range r.client.DoMulti(ctx, commands...) {
		err = errors.Join(err, result.Error())
	}
	a.found = time.Since(start)
	if err != nil {
		return a, fmt.Errorf("ask Redis: %w", err)
	}
	if err := r.client.Do(ctx, r.client.B().Get().Key(resultKey).Build()).Error(); err != nil {
		return a, fmt.Errorf("fetch a bitmap from Redis: %w", err)
	}
	a.whole = time.Since(start)
	users, err := r.client.Do(ctx, r.client.B().Bitcount().Key(resultKey).Build()).AsInt64()
	if err != nil {
		return a, fmt.Errorf("count a bitmap of Redis: %w", err)
	}
	a.users = uint64(users)
	return a, nil
}

func (r *redis) close() {
	if r.client != nil {
		r.client.Close()
	}
	if r.process != nil {
		r.process.end()
	}
	_ = os.RemoveAll(r.dir) // what is left is in the directory for temporary files
}
