package broker

import (
	"context"
	"sync"
)

// Progress says how far a fold has come, and lets others wait for it. The zero value has folded nothing.
type Progress struct {
	mu      sync.Mutex
	at      uint64
	waiting map[*waiter]struct{}
}

type waiter struct {
	seq  uint64
	done chan struct{}
}

// At is the sequence up to which everything is folded.
func (p *Progress) At() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// Advance notes that everything up to seq is folded; a smaller one than before is ignored.
func (p *Progress) Advance(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq <= p.at {
		return
	}
	p.at = seq
	for w := range p.waiting {
		if w.seq <= seq {
			close(w.done)
			delete(p.waiting, w)
		}
	}
}

// Await returns when everything up to seq is folded, or with ctx's error.
func (p *Progress) Await(ctx context.Context, seq uint64) error {
	p.mu.Lock()
	if seq <= p.at {
		p.mu.Unlock()
		return nil
	}
	w := &waiter{seq, make(chan struct{})}
	if p.waiting == nil {
		p.waiting = map[*waiter]struct{}{}
	}
	p.waiting[w] = struct{}{}
	p.mu.Unlock()
	select { // Advance wakes it, ctx ends it
	case <-w.done:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.waiting, w)
		p.mu.Unlock()
		return ctx.Err()
	}
}
