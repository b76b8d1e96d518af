package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// frequency counts the calls of one command of one app in a second of the clock, together with all other processes.
//
// The count is a number on the broker, in memory, to which a process adds before it admits: a lease. The sum that comes
// back says how much of the lease is within the limit. A lease is a tenth of what the last sum left, at least one call, so
// that a busy process asks some thirty times for a hundred calls, and keeps at most a tenth of them from the others when it
// falls idle. A lone process gets them all.
type frequency struct {
	mu     sync.Mutex
	second secondCount
}

// secondCount is what a process knows of one second.
type secondCount struct {
	at     int64 // unix seconds
	limit  int
	sum    int // of all leases, when it was last asked
	leased int // calls that this process may admit
	used   int // calls that it has admitted
	alone  bool
}

// allow admits a call, or says that the second is full. Add adds to the second's count on the broker. When that fails the
// process counts the rest of the second by itself: a broker that does not answer takes no writes either, and reads need
// not stop for a count.
func (f *frequency) allow(now func() time.Time, limit int, add func(second int64, n int) (sum int, err error)) bool {
	f.mu.Lock() // for as long as a lease takes: whoever waits here needs it too
	defer f.mu.Unlock()
	s := &f.second
	if at := now().Unix(); s.at != at {
		*s = secondCount{at: at, limit: limit}
	} else if s.limit != limit { // what was leased under another limit may be beyond this one
		*s = secondCount{at: at, limit: limit, sum: s.sum}
	}
	if s.used == s.leased && !s.alone && s.sum < limit {
		s.lease(add)
	}
	if s.used >= s.leased {
		return false
	}
	s.used++
	return true
}

func (s *secondCount) lease(add func(second int64, n int) (sum int, err error)) {
	n := max(1, (s.limit-s.sum)/10)
	sum, err := add(s.at, n)
	if err != nil {
		s.leased, s.alone = s.limit, true
		return
	}
	s.sum = sum
	s.leased += min(n, max(0, s.limit-(sum-n)))
}

// leaseWait is how long a call may wait for a lease.
const leaseWait = 250 * time.Millisecond

// mayCall counts a call.
func (i *Ingest) mayCall(t *tenant, c *command) bool {
	limit := c.perSecond
	if t.CallsPerSecond > 0 {
		limit = t.CallsPerSecond
	}
	return t.calls[c].allow(i.now, limit, func(second int64, n int) (int, error) {
		return i.addCalls(t.ID, c, second, n)
	})
}

// addCalls adds to the count of a second. Its time is not a caller's, since a lease is for many.
func (i *Ingest) addCalls(app push.AppID, c *command, second int64, n int) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), leaseWait)
	defer cancel()
	sum, err := i.b.Add(ctx, wire.RateSubject(app, c.name, second), n)
	if err != nil {
		i.metrics.alone.Inc()
		i.log.Debug("count calls alone for a second", "app", app, "command", c.name, "err", err)
	}
	return sum, err
}
