package ingest

import (
	"fmt"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/wire"
)

// quota counts an app's pushes. Only one that the broker takes as new costs anything: what is refused before costs nothing
// since the quota is asked last, and what the broker refuses or knows already is given back.
type quota struct {
	interval time.Duration // zero: none
	perDay   int           // zero: no limit

	mu   sync.Mutex
	last time.Time // of the newest push that was paid for
	day  int64     // since 1970, UTC
	used int       // of the day
	paid []payment // of the last wire.DuplicateWindow, oldest first
}

// payment is what a push cost, for as long as its repeat would be the same push.
type payment struct {
	id     string // its wire.PushID
	at     time.Time
	before time.Time // what quota.last was
}

// admit says whether a push may go to the broker now, and whether that was paid for. A repeat always may, and is free.
// settle must follow.
func (q *quota) admit(id string, now time.Time) (paid bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.advance(now)
	if q.find(id) >= 0 {
		return false, nil
	}
	if q.interval > 0 && now.Sub(q.last) < q.interval {
		return false, refuse(codePushInterval, fmt.Sprintf("the app's last push was less than %v ago", q.interval))
	}
	if q.perDay > 0 && q.used >= q.perDay {
		return false, refuse(codePushPerDay, fmt.Sprintf("the app's %d pushes of the day are used up", q.perDay))
	}
	q.pay(id, now)
	return true, nil
}

// settle takes note of what became of a push that was admitted at the given time: whether it is a new one on the broker.
func (q *quota) settle(id string, at time.Time, paid, isNew bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case paid && !isNew:
		q.refund(id)
	case isNew && !paid:
		q.pay(id, at) // it looked like a repeat, and came to the broker too late for one
	}
}

// advance starts a new day, and forgets payments whose pushes would not be recognised any more.
func (q *quota) advance(now time.Time) {
	if day := now.Unix() / (24 * 60 * 60); day != q.day {
		q.day, q.used = day, 0
	}
	for len(q.paid) > 0 && now.Sub(q.paid[0].at) >= wire.DuplicateWindow {
		q.paid = q.paid[1:]
	}
}

func (q *quota) find(id string) int {
	for i := len(q.paid) - 1; i >= 0; i-- {
		if q.paid[i].id == id {
			return i
		}
	}
	return -1
}

func (q *quota) pay(id string, now time.Time) {
	if q.interval == 0 && q.perDay == 0 {
		return
	}
	q.paid = append(q.paid, payment{id, now, q.last})
	q.last = now
	q.used++
}

func (q *quota) refund(id string) {
	i := q.find(id)
	if i < 0 {
		q.used = max(0, q.used-1) // paid longer ago than is remembered
		return
	}
	if p := q.paid[i]; p.at.Equal(q.last) {
		q.last = p.before
	}
	q.paid = append(q.paid[:i], q.paid[i+1:]...)
	q.used = max(0, q.used-1)
}
