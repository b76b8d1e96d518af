package channel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// call makes one attempt for some of the devices, by their indexes.
type call func(ctx context.Context, c Channel, batch []int) []Result

// job is one call of Send, as far as one part of the vendor is concerned.
type job struct {
	sender  *Sender
	part    string
	expire  time.Time
	call    call
	results []Result // of all devices; each is written by the one goroutine that has it in its batch
}

// run tries devices until each has a final result. It ends when all have one, or when one of the limits is used up.
func (j *job) run(ctx context.Context, devices []int) {
	limits := j.sender.config.Limits
	patience := time.Now().Add(limits.Patience)
	pause := backoff.ExponentialBackOff{
		InitialInterval: limits.BackoffMin, MaxInterval: limits.BackoffMax,
		RandomizationFactor: backoff.DefaultRandomizationFactor, Multiplier: 2,
	}
	for attempts := 0; ; {
		if j.round(ctx, devices) {
			attempts++
		}
		var again []int
		wait := time.Duration(0)
		for _, i := range devices {
			if j.results[i].Outcome == Later {
				again = append(again, i)
				wait = max(wait, j.results[i].After)
			}
		}
		devices = again
		if len(devices) == 0 || attempts >= limits.Attempts {
			return
		}
		wait = max(wait, pause.NextBackOff())
		resume := time.Now().Add(wait)
		switch {
		case !j.expire.IsZero() && !resume.Before(j.expire):
			j.fill(devices, Result{Outcome: Refused, Reason: ReasonExpired})
			return
		case resume.After(patience):
			for _, i := range devices {
				j.results[i].After = wait
			}
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// round tries each device once, unless the vendor is left alone from some moment on. It says whether it has asked the vendor.
func (j *job) round(ctx context.Context, devices []int) bool {
	v := j.sender.current()
	lane := v.lane(j.part)
	size := max(v.channel.Batch(), 1)
	batches := (len(devices) + size - 1) / size
	var next atomic.Int64
	var asked atomic.Bool
	// Ends when there is no batch left; what is in the way of one is in the way of all that follow, so that they are quick.
	work := func() {
		for {
			k := int(next.Add(1)) - 1
			if k >= batches {
				return
			}
			batch := devices[k*size : min((k+1)*size, len(devices))]
			if j.attempt(ctx, v, lane, batch) {
				asked.Store(true)
			}
		}
	}
	var workers sync.WaitGroup
	for range min(batches, j.sender.config.Limits.Concurrency) - 1 {
		workers.Go(work)
	}
	work()
	workers.Wait()
	return asked.Load()
}

// attempt tries one batch, and says whether the vendor was asked.
func (j *job) attempt(ctx context.Context, v *vendor, l *lane, batch []int) bool {
	s := j.sender
	if r, held := l.held(time.Now()); held {
		j.fill(batch, r)
		return false
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		j.fill(batch, j.ended())
		return false
	}
	if v.rate.WaitN(ctx, len(batch)) != nil { // ctx has ended, or will before it is this batch's turn
		j.fill(batch, j.ended())
		return false
	}
	if r, held := l.held(time.Now()); held {
		j.fill(batch, r)
		return false
	}
	results, asked := l.try(ctx, func() []Result {
		if ctx.Err() != nil {
			return nil
		}
		began := time.Now()
		actx, cancel := context.WithTimeout(ctx, s.config.Limits.Timeout)
		defer cancel()
		results := j.call(actx, v.channel, batch)
		s.metrics.seconds.WithLabelValues(s.config.Channel).Observe(time.Since(began).Seconds())
		return results
	})
	switch {
	case !asked:
		j.fill(batch, Result{Outcome: Later, Reason: ReasonHeld})
		return false
	case results == nil && ctx.Err() != nil:
		j.fill(batch, j.ended())
		return false
	}
	s.judge(v, results)
	for k, i := range batch {
		if k < len(results) && results[k].Outcome != 0 {
			j.results[i] = results[k]
		} else {
			j.results[i] = Result{Outcome: Later, Reason: ReasonOther} // the channel has a fault
		}
	}
	return true
}

// ended is what becomes of devices when there is no time left for them.
func (j *job) ended() Result {
	if !j.expire.IsZero() && !time.Now().Before(j.expire) {
		return Result{Outcome: Refused, Reason: ReasonExpired}
	}
	return Result{Outcome: Later, Reason: ReasonStopped}
}

func (j *job) fill(devices []int, r Result) {
	for _, i := range devices {
		j.results[i] = r
	}
}
