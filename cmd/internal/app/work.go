package app

import "sync"

// work counts the requests that a server is about, so that it can end them all and begin no other.
type work struct {
	mu      sync.Mutex
	n       int
	stopped bool
	done    chan struct{} // closed when it has stopped and nothing is left
}

func newWork() *work { return &work{done: make(chan struct{})} }

// begin says whether one more may be begun; then it must be ended.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return false
	}
	w.n++
	return true
}

func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n--
	w.finish()
}

// stop lets nothing begin any more. The channel is closed when all that had begun has ended.
func (w *work) stop() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		w.finish()
	}
	return w.done
}

// finish needs mu. It closes the channel once: after the last end nothing begins.
func (w *work) finish() {
	if w.stopped && w.n == 0 {
		close(w.done)
	}
}
