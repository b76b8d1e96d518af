package match

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// dense is the physical limit: as many bitmaps with a bit for each user as a condition has terms, read by one plain loop that
// writes one result. It finds nobody, as it takes any bitmaps of its own: those of a condition are not in a cache either.
type dense struct {
	bitmaps [][]uint64
	into    []uint64
	r       *rand.Rand
}

// denseBytes are those of all bitmaps together: much more than the caches.
const denseBytes = 256 << 20

func newDense(users int) *dense {
	words := (users + 63) / 64
	d := &dense{into: make([]uint64, words), r: rand.New(rand.NewPCG(5, 0))}
	for range max(denseBytes/(8*words), 16) {
		b := make([]uint64, words)
		for i := range b {
			b[i] = d.r.Uint64()
		}
		d.bitmaps = append(d.bitmaps, b)
		if len(d.bitmaps) == maxDense {
			break
		}
	}
	return d
}

// maxDense is enough for small populations.
const maxDense = 1000

func (d *dense) ask(_ context.Context, n predicate.Node) (answer, error) {
	start := time.Now()
	d.and(leaves(n))
	took := time.Since(start)
	return answer{users: uncounted, found: took, whole: took}, nil
}

// and is the conjunction of some bitmaps, two at a time. Whether it is that or another operation makes no difference.
func (d *dense) and(n int) {
	first := d.some()
	if n == 1 {
		copy(d.into, first)
		return
	}
	for range n - 1 {
		next := d.some()
		first, next = first[:len(d.into)], next[:len(d.into)]
		for i := range d.into {
			d.into[i] = first[i] & next[i]
		}
		first = d.into
	}
}

func (d *dense) some() []uint64 { return d.bitmaps[d.r.IntN(len(d.bitmaps))] }

// bandwidth of one core in GB/s for each repeat: what is read and written while bitmaps that are in no cache are joined.
func (d *dense) bandwidth(repeats int) (rates []float64) {
	const rounds = 64
	for range repeats {
		start := time.Now()
		for range rounds {
			d.and(2)
		}
		rates = append(rates, float64(rounds*3*8*len(d.into))/time.Since(start).Seconds()/1e9)
	}
	return rates
}

// leaves are the terms of a condition; everyone is one.
func leaves(n predicate.Node) (sum int) {
	var kids []predicate.Node
	switch n := n.(type) {
	case predicate.Not:
		return leaves(n.Kid)
	case predicate.And:
		kids = n.Kids
	case predicate.Or:
		kids = n.Kids
	default:
		return 1
	}
	for _, k := range kids {
		sum += leaves(k)
	}
	return sum
}
