package wire

import (
	"fmt"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// ObjectBucket is a bucket of large objects, which the broker keeps in pieces.
type ObjectBucket struct {
	Name   string
	MaxAge time.Duration
}

// Indexes is the bucket of the shards' indexes, one object a shard: what a matcher that takes a shard over reads instead
// of the shard's whole log. Whoever holds a shard writes its index again before it is half as old as may be; what is older
// are pieces that a crash left behind.
func Indexes() ObjectBucket { return ObjectBucket{Name: "INDEX", MaxAge: 8 * 24 * time.Hour} }

// IndexObject is the name of a shard's index: `<app>.<shard>`.
func IndexObject(app push.AppID, shard push.Shard) string { return fmt.Sprintf("%d.%d", app, shard) }

// IndexPlace says which log an index was folded from, and how far.
type IndexPlace struct {
	// Created is when the log's stream was made: one that was made anew counts from 1 again and is another log.
	Created time.Time
	// Folded is the sequence up to which everything is in the index.
	Folded uint64
}

const (
	indexCreated = "created" // nanoseconds since 1970, decimal
	indexFolded  = "folded"  // decimal
)

// EncodeIndexPlace is a place as an object's metadata.
func EncodeIndexPlace(p IndexPlace) map[string]string {
	return map[string]string{
		indexCreated: strconv.FormatInt(p.Created.UnixNano(), 10),
		indexFolded:  strconv.FormatUint(p.Folded, 10),
	}
}

// DecodeIndexPlace reads an object's metadata.
func DecodeIndexPlace(meta map[string]string) (IndexPlace, error) {
	created, err := strconv.ParseInt(meta[indexCreated], 10, 64)
	folded, err2 := strconv.ParseUint(meta[indexFolded], 10, 64)
	if err != nil || err2 != nil {
		return IndexPlace{}, fmt.Errorf("%w: an index of the log made at %q, folded up to %q", ErrCorrupt, meta[indexCreated], meta[indexFolded])
	}
	return IndexPlace{Created: time.Unix(0, created).UTC(), Folded: folded}, nil
}
