package client

import (
	"fmt"
	"slices"
	"time"

	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// maxDevice bounds a device frame in bytes: gateways refuse frames over a limit of their own, of 8 KiB unless configured
	// otherwise, and JSON makes some tokens longer than they are.
	maxDevice = 8000
	// maxRemovals bounds the tokens to be forgotten.
	maxRemovals = 8
)

// deviceFrame makes what registers a device, or has it forgotten.
func deviceFrame(channel, token string, remove bool) (wire.ClientFrame, error) {
	d := wire.Device{ID: "any", Channel: channel, Token: token}
	if err := d.Validate(); err != nil {
		return wire.ClientFrame{}, err
	}
	f := wire.ClientFrame{Type: wire.FrameDevice, Channel: channel, Token: token, Remove: remove}
	if n := len(wire.EncodeJSON(f)); n > maxDevice {
		return f, fmt.Errorf("%w: its token takes %d bytes as JSON, at most %d", wire.ErrDevice, n, maxDevice)
	}
	return f, nil
}

// devices are what the service is to know about this device: told at the begin of each session.
type devices struct {
	removals []deviceWish // told until they have surely arrived; oldest first
	here     deviceWish   // the registration, told for ever
}

// deviceWish is a frame that the service is to get. Without a type it is none.
type deviceWish struct {
	frame wire.ClientFrame
	at    time.Time // written on this connection; zero when it was not
}

func (w *deviceWish) due() bool { return w.frame.Type != "" && w.at.IsZero() }

func (w *deviceWish) of(f wire.ClientFrame) bool {
	return w.frame.Channel == f.Channel && w.frame.Token == f.Token
}

// add takes a frame. It replaces what was wished for the same token, and a registration any other one.
func (d *devices) add(f wire.ClientFrame) {
	d.removals = slices.DeleteFunc(d.removals, func(w deviceWish) bool { return w.of(f) })
	switch {
	case !f.Remove:
		d.here = deviceWish{frame: f}
		return
	case d.here.of(f):
		d.here = deviceWish{}
	}
	d.removals = append(d.removals, deviceWish{frame: f})
	d.removals = d.removals[max(0, len(d.removals)-maxRemovals):]
}

func (d *devices) due() bool {
	return d.here.due() || slices.ContainsFunc(d.removals, func(w deviceWish) bool { return w.due() })
}

// take appends what is due, removals first: a registration of a device's new token replaces its old one.
func (d *devices) take(frames []wire.ClientFrame, at time.Time) []wire.ClientFrame {
	for i := range d.removals {
		frames = d.removals[i].take(frames, at)
	}
	return d.here.take(frames, at)
}

func (w *deviceWish) take(frames []wire.ClientFrame, at time.Time) []wire.ClientFrame {
	if !w.due() {
		return frames
	}
	w.at = at
	return append(frames, w.frame)
}

// again makes everything due but the removals that were written before a time, and so have arrived.
func (d *devices) again(arrived time.Time) {
	d.removals = slices.DeleteFunc(d.removals, func(w deviceWish) bool { return !w.at.IsZero() && w.at.Before(arrived) })
	for i := range d.removals {
		d.removals[i].at = time.Time{}
	}
	d.here.at = time.Time{}
}
