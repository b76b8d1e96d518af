package client

import (
	"slices"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// maxKept bounds the sequences of each kind that wait to be sent, and those that may have to be sent again.
	maxKept = 4096
	// seqsAFrame keeps a frame of the longest sequences within 6 KB: gateways refuse frames over a limit of their own, of
	// 8 KiB unless configured otherwise, and wire.MaxAckSeqs of them may be longer.
	seqsAFrame = wire.MaxAckSeqs / 4
	// doubt is for how long after it was written a receipt may be on its way: when the service is heard of later than that,
	// it has arrived.
	doubt = 10 * time.Second
)

// outbox is what the service is to be told. It outlives connections, and is safe for concurrent use.
type outbox struct {
	mu     sync.Mutex
	wake   chan struct{} // capacity 1: there is something new; nil until the first connection
	acks   receipts
	opened receipts
	device devices
	leave  bool // log out
	left   bool // the service was told so on this connection
}

// receipts are sequences to be told.
type receipts struct {
	due     []push.Seq
	sent    []sentReceipt // in the order of time
	dropped uint64        // not sent, because too many were due
}

// sentReceipt is a sequence that was written, and may have been lost.
type sentReceipt struct {
	seq push.Seq
	at  time.Time
}

func (r *receipts) add(seqs ...push.Seq) {
	r.due = append(r.due, seqs...)
	if over := len(r.due) - maxKept; over > 0 { // the oldest are the likeliest to be settled, or past their lifetime
		r.due = slices.Clone(r.due[over:])
		r.dropped += uint64(over)
	}
}

// take gives what is due, in frames, and notes it as sent.
func (r *receipts) take(frames []wire.ClientFrame, kind string, now, arrived time.Time) []wire.ClientFrame {
	r.settle(arrived)
	for seqs := range slices.Chunk(r.due, seqsAFrame) {
		frames = append(frames, wire.ClientFrame{Type: kind, Seqs: seqs})
	}
	for _, seq := range r.due {
		r.sent = append(r.sent, sentReceipt{seq, now})
	}
	r.sent = r.sent[max(0, len(r.sent)-maxKept):]
	r.due = nil
	return frames
}

// settle forgets what has arrived, which is what was written before a time.
func (r *receipts) settle(arrived time.Time) {
	n, _ := slices.BinarySearchFunc(r.sent, arrived, func(s sentReceipt, t time.Time) int { return s.at.Compare(t) })
	r.sent = slices.Clone(r.sent[n:])
}

// again makes due what may have been lost, before the rest.
func (r *receipts) again(arrived time.Time) {
	r.settle(arrived)
	later := r.due
	r.due = nil
	for _, s := range r.sent {
		r.due = append(r.due, s.seq)
	}
	r.sent = nil
	r.add(later...)
}

// connected begins a connection, and gives what wakes its writer. Everything is to be sent at once.
func (o *outbox) connected() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wake = make(chan struct{}, 1)
	return o.wake
}

// lost ends a connection on which the service was last heard of at a time.
func (o *outbox) lost(heard time.Time) {
	arrived := heard.Add(-doubt)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acks.again(arrived)
	o.opened.again(arrived)
	o.device.again(arrived)
	o.left = false
}

// change makes a change, and tells the writer.
func (o *outbox) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	select { // never waits: a mark that is there already says the same, and without a connection nobody is to be woken
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) ack(seq push.Seq) { o.change(func() { o.acks.add(seq) }) }

func (o *outbox) open(seqs []push.Seq) { o.change(func() { o.opened.add(seqs...) }) }

func (o *outbox) setDevice(f wire.ClientFrame) { o.change(func() { o.device.add(f) }) }

func (o *outbox) logOut() { o.change(func() { o.leave = true }) }

// leaving says that the user has logged out here: nothing more is shown, whether the service knows or not.
func (o *outbox) leaving() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leave
}

// toldLogout says that the service was told of it on this connection.
func (o *outbox) toldLogout() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.left
}

// ended begins anew after Listen: a logout that did not get through is given up. After one that did, the service has
// forgotten the device, and had everything else before.
func (o *outbox) ended(loggedOut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leave = false
	if loggedOut {
		o.acks.due, o.acks.sent, o.opened.due, o.opened.sent, o.device = nil, nil, nil, nil, devices{}
	}
}

// urgency of what is to be sent.
type urgency int

const (
	nothing urgency = iota
	soon            // it may wait for more
	now
)

func (o *outbox) urgency() urgency {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch n := max(len(o.acks.due), len(o.opened.due)); {
	case o.leave && !o.left, o.device.due(), n >= seqsAFrame:
		return now
	case n > 0:
		return soon
	}
	return nothing
}

// take gives everything that is to be sent, in its order, and takes it for sent. What fails to be written is due again once
// the connection is lost, as it must then be. The service was last heard of at a time.
func (o *outbox) take(at, heard time.Time) []wire.ClientFrame {
	arrived := heard.Add(-doubt)
	o.mu.Lock()
	defer o.mu.Unlock()
	frames := o.acks.take(nil, wire.FrameAck, at, arrived)
	frames = o.opened.take(frames, wire.FrameOpened, at, arrived)
	frames = o.device.take(frames, at)
	if o.leave && !o.left {
		o.left = true
		frames = append(frames, wire.ClientFrame{Type: wire.FrameLogout})
	}
	return frames
}

func (o *outbox) droppedCounts() (acks, opened uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acks.dropped, o.opened.dropped
}
