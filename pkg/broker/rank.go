package broker

import (
	"hash/fnv"
	"strconv"

	"github.com/carillon-push/carillon/pkg/push"
)

// Rank is a member's place among those who may work on a shard: 0 for the one who should. Places are by rendezvous hashing
// (highest random weight), so that everybody comes to the same without asking, shards are spread evenly, and a member that
// comes or goes moves only the shards in which it has a place before others. Somebody who is no member has the place that
// it would have as one.
func Rank(app push.AppID, shard push.Shard, member string, members []string) int {
	rank, own := 0, weight(app, shard, member)
	for _, m := range members {
		if w := weight(app, shard, m); w > own || w == own && m > member {
			rank++
		}
	}
	return rank
}

// weight is the same in every process and build: a fleet is of one mind only while all compute it alike.
func weight(app push.AppID, shard push.Shard, member string) uint64 {
	h := fnv.New64a()
	var key [64]byte
	b := append(key[:0], member...)
	b = strconv.AppendUint(append(b, '.'), uint64(app), 10)
	b = strconv.AppendUint(append(b, '.'), uint64(shard), 10)
	_, _ = h.Write(b) // never fails
	// FNV leaves the last bytes, which alone differ between shards, in the low bits; this spreads them over all.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
