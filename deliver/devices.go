package deliver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// devices takes registrations of devices for vendor push from sessions to the broker: a poller's loop must not wait for
// that. Clients register at every login, so that one that is dropped, or dies with the process, comes again.
type devices struct {
	d      *Deliver
	queues [registrars]chan registration // by ordinal, so that a user's are written in their order
}

// registration is what a client said of its device.
type registration struct {
	app     push.AppID
	ordinal push.Ordinal
	device  wire.Device
	forget  bool
	logout  *session // that ends once the device is forgotten; nil unless its client asked for that
}

const (
	// registrars write at once, so that they share the broker's batches.
	registrars = 8
	// maxRegistrations wait for each of them; one more is dropped and counted.
	maxRegistrations = 512
	// registerWait bounds one write.
	registerWait = 10 * time.Second
)

func newDevices(d *Deliver) *devices {
	v := &devices{d: d}
	for i := range v.queues {
		v.queues[i] = make(chan registration, maxRegistrations)
	}
	return v
}

// waiting is how many registrations are not written yet.
func (v *devices) waiting() (n int) {
	for _, q := range v.queues {
		n += len(q)
	}
	return n
}

// add takes a registration. It never waits.
func (v *devices) add(r registration) {
	select { // never waits: without room it is dropped
	case v.queues[r.ordinal%registrars] <- r:
	default:
		v.d.metrics.devices.WithLabelValues(deviceDropped).Inc()
		r.ended(false)
	}
}

// run writes registrations until ctx ends, and then those that wait already.
func (v *devices) run(ctx context.Context) error {
	var writing sync.WaitGroup
	for _, queue := range v.queues {
		writing.Go(func() {
			for {
				select { // a registration wakes it, ctx ends it
				case r := <-queue:
					v.write(ctx, r)
				case <-ctx.Done():
					for len(queue) > 0 && v.write(ctx, <-queue) {
						// until the broker takes no more
					}
					return
				}
			}
		})
	}
	writing.Wait()
	return ctx.Err()
}

// write writes one registration, and says whether the broker took it.
func (v *devices) write(ctx context.Context, r registration) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), registerWait)
	defer cancel()
	var err error
	result := deviceRegistered
	if r.forget {
		result = deviceForgotten
		if r.device.Token != "" {
			err = v.d.dir.RemoveDevice(ctx, r.app, r.ordinal, r.device.Channel, r.device.Token)
		} else {
			err = v.d.dir.ForgetDevice(ctx, r.app, r.ordinal, r.device.ID)
		}
	} else {
		err = v.d.dir.RegisterDevice(ctx, r.app, r.ordinal, r.device)
	}
	if errors.Is(err, wire.ErrDevice) {
		result = deviceRefused
	} else if err != nil {
		result = deviceFailed
		v.d.log.Warn("write a device; its client registers again at the next login", "app", r.app, "ordinal", r.ordinal, "err", err)
	}
	v.d.metrics.devices.WithLabelValues(result).Inc()
	r.ended(result != deviceFailed)
	return result != deviceFailed
}

// ended closes the session that waited for this registration. Where the device could not be forgotten the close is no
// confirmation: the client connects again, and logs out again.
func (r registration) ended(written bool) {
	switch {
	case r.logout == nil:
	case written:
		r.logout.close(wire.CloseNormal)
	default:
		r.logout.close(wire.CloseDraining)
	}
}

// device takes a device frame.
func (s *session) device(f wire.ClientFrame) {
	dev := wire.Device{ID: s.shard.nameOf(s), Channel: f.Channel, Token: f.Token, Platform: s.platform.String()}
	if dev.ID == "" {
		dev.ID = wire.TokenHash(f.Channel, f.Token)
		if !f.Remove {
			s.shard.name(s, dev.ID)
		}
	}
	s.shard.d.devices.add(registration{app: s.shard.app, ordinal: s.ordinal(), device: dev, forget: f.Remove})
}

// logout ends the session at its client's wish, and forgets its device. From here on the account does not have the session;
// its close, which confirms the logout, follows once the device is forgotten.
func (s *session) logout() {
	id := s.shard.nameOf(s)
	if id == "" {
		s.close(wire.CloseNormal)
		return
	}
	s.shard.leave(s)
	s.shard.d.devices.add(registration{s.shard.app, s.ordinal(), wire.Device{ID: id}, true, s})
}

func (s *session) ordinal() push.Ordinal {
	return s.shard.d.b.Sharding().Ordinal(s.shard.id, s.local)
}
