package socket

import (
	"sync"
	"sync/atomic"
)

// table finds connections by descriptor. Descriptors are small and dense, so it is an array: 8 bytes a connection, and
// reading takes no lock. It grows by blocks, which never move, so that a reader may hold an old list of them.
type table struct {
	mu     sync.Mutex // held to grow
	blocks atomic.Pointer[[]*block]
}

type block [256]atomic.Pointer[Conn]

// get returns the connection on a descriptor, or nil.
func (t *table) get(fd int) *Conn {
	blocks := t.list()
	if i := fd / len(block{}); i < len(blocks) {
		return blocks[i][fd%len(block{})].Load()
	}
	return nil
}

// put sets the connection on a descriptor; nil removes it.
func (t *table) put(fd int, c *Conn) {
	i := fd / len(block{})
	if i >= len(t.list()) {
		t.grow(i + 1)
	}
	t.list()[i][fd%len(block{})].Store(c)
}

// size is above every descriptor in the table.
func (t *table) size() int { return len(t.list()) * len(block{}) }

func (t *table) list() []*block {
	if p := t.blocks.Load(); p != nil {
		return *p
	}
	return nil
}

func (t *table) grow(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	grown := append([]*block(nil), t.list()...)
	for len(grown) < n {
		grown = append(grown, new(block))
	}
	t.blocks.Store(&grown)
}
