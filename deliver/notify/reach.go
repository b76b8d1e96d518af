package notify

import (
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/wire"
)

// reach says which of a shard's users have a device on which channel.
type reach struct {
	mu       sync.RWMutex
	channels map[string]*roaring.Bitmap
}

// set takes what a user's devices are now.
func (r *reach) set(local uint32, devices []wire.Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, users := range r.channels {
		if !slices.ContainsFunc(devices, func(d wire.Device) bool { return d.Channel == name }) {
			users.Remove(local)
		}
	}
	for i := range devices {
		users := r.channels[devices[i].Channel]
		if users == nil {
			users = roaring.New()
			if r.channels == nil {
				r.channels = map[string]*roaring.Bitmap{}
			}
			r.channels[devices[i].Channel] = users
		}
		users.Add(local)
	}
}

// of gives those of some users whom a channel reaches.
func (r *reach) of(channel string, users *roaring.Bitmap) *roaring.Bitmap {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if have := r.channels[channel]; have != nil {
		return roaring.And(have, users)
	}
	return roaring.New()
}
