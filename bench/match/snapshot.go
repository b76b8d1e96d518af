package match

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/push"
)

// file is a shard's snapshot, in memory.
type file struct {
	bytes       int
	write, load []float64 // seconds
}

// snapshot writes an index and loads it again, and looks whether that is the same.
func snapshot(ctx context.Context, o Options, x *index.Index) (f file, err error) {
	for range o.Repeats {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		var b bytes.Buffer
		b.Grow(f.bytes) // the first repeat grows it as it goes
		start := time.Now()
		if err := x.Write(&b); err != nil {
			return f, fmt.Errorf("write a snapshot: %w", err)
		}
		f.write = append(f.write, time.Since(start).Seconds())
		f.bytes = b.Len()
		start = time.Now()
		y, err := index.Read(&b, push.DefaultSharding.Width())
		if err != nil {
			return f, fmt.Errorf("load a snapshot: %w", err)
		}
		f.load = append(f.load, time.Since(start).Seconds())
		if y.Users() != x.Users() || y.Terms() != x.Terms() {
			return f, fmt.Errorf("a snapshot of %d users and %d terms came back with %d and %d", x.Users(), x.Terms(), y.Users(), y.Terms())
		}
	}
	return f, nil
}

// uniqueBytes is what a value takes that one user has: an index of such values, less one of as many users who share theirs.
func uniqueBytes(o Options) float64 {
	size := func(value func(int) string) float64 {
		before := allocated()
		x := index.New()
		updates := make([]index.Update, 1)
		for u := range o.Uniques {
			rec := &push.Record{Account: "u" + strconv.Itoa(u)}
			rec.Attrs[0] = value(u)
			updates[0] = index.Update{Local: uint32(u), Record: rec}
			x.ApplyBatch(updates)
		}
		after := allocated()
		_ = x.Users() // it is in use until here
		return float64(after - before)
	}
	each := size(func(u int) string { return uniquePrefix + strconv.Itoa(u) })
	shared := size(func(int) string { return uniquePrefix })
	return (each - shared) / float64(o.Uniques)
}

// uniquePrefix of the values, whose names have about 12 bytes.
const uniquePrefix = "device-"
