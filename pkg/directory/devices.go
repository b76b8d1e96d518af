package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The devices of an app are two maps in one stream: who has which devices, and who has which token. One rule holds between
// them at every moment, also for whoever dies between any two lines here:
//
//	a token that a user's list has is that user's in its own record, so that no token is listed with two users.
//
// Every change is one atomic batch, which is in the stream whole or not at all. Adding a token to a list is compare-and-set
// on the list, on the token's record and on the list of the one who had it; so of two that add one token at a time, be it
// to different lists, one sees what the other did and begins again. A token leaves a list with the list's compare-and-set
// alone, since its record cannot change without that list. Two writes, one after the other, would not do: between them
// somebody else may take the token, and the second would list it again. A process that dies has changed nothing or all of
// it; clients register at every login, which repeats what nobody heard of.

// refreshAfter is how old, in seconds, the written Seen of a device gets before a login that brings nothing else is written
// too: a write a day of a device, and not one of each login.
const refreshAfter = 24 * 60 * 60

// emptyTTL is how long the messages stand that say that a user has no device, or nobody a token. Any time will do, as no
// message says the same.
const emptyTTL = time.Minute

// deviceList is a user's devices as they were read, ascending by ID.
type deviceList struct {
	owner   push.Ordinal
	devices []wire.Device
	seq     uint64 // of the message, 0 when there is none
}

// Devices gives users' devices, by ordinal and ascending by ID; a user who has none is absent. It costs one round trip for
// 1,024 users. No token is in it twice, also while tokens move, if the users are 1,024 at most.
func (d *Directory) Devices(ctx context.Context, app push.AppID, ordinals ...push.Ordinal) (map[push.Ordinal][]wire.Device, error) {
	subjects := make([]string, len(ordinals))
	for i, o := range ordinals {
		subjects[i] = wire.DeviceSubject(app, d.b.Sharding().Shard(o), o)
	}
	msgs, err := d.b.LastOf(ctx, wire.DevicesStream(app), subjects)
	if err != nil {
		return nil, err
	}
	lists := make(map[push.Ordinal][]wire.Device, len(msgs))
	for i, o := range ordinals {
		m := msgs[subjects[i]]
		if m == nil {
			continue
		}
		devices, err := wire.DecodeDevices(m.Data)
		if err != nil {
			return nil, fmt.Errorf("read the devices of user %d: %w", o, err)
		}
		if len(devices) > 0 {
			lists[o] = devices
		}
	}
	return lists, nil
}

// RegisterDevice lists a device with a user, and takes its token from whoever had it: a token moves with its account. The
// user's device of the same ID or token becomes this one, and keeps its At. Of more than wire.MaxDevices the one that was
// seen longest ago goes. A device without an ID has its token's hash for one; one without Seen was seen now; At is not the
// caller's. What is wrong with a device is wire.ErrDevice.
//
// Registering again writes nothing unless something is new; of a Seen alone, that it is a day later than the written one.
// The ordinal is not looked up: a list that a deleted account gets by a race stands at an ordinal that no audience has, and
// loses its token to whoever registers it next.
func (d *Directory) RegisterDevice(ctx context.Context, app push.AppID, ordinal push.Ordinal, dev wire.Device) error {
	if ordinal == 0 {
		return fmt.Errorf("%w: it is nobody's", wire.ErrDevice)
	}
	if dev.ID == "" {
		dev.ID = wire.TokenHash(dev.Channel, dev.Token)
	}
	if dev.Seen == 0 {
		dev.Seen = time.Now().Unix()
	}
	dev.At = 0
	if err := dev.Validate(); err != nil {
		return err
	}
	for range attempts {
		list, err := d.deviceList(ctx, app, ordinal)
		if err != nil {
			return err
		}
		if list.knows(&dev) {
			return nil
		}
		msgs := d.relist(app, list, with(list.devices, dev))
		if list.find(dev.Channel, dev.Token) < 0 {
			claim, err := d.claim(ctx, app, ordinal, &dev)
			if err != nil {
				return err
			}
			msgs = append(msgs, claim...)
		}
		if _, err = d.b.Write(wire.DevicesStream(app), msgs...); !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("register a device of user %d: %w", ordinal, errBusy)
}

// RemoveDevice forgets a user's device by its token. A token that is not, or no longer, this user's is no error and stays
// whose it is.
func (d *Directory) RemoveDevice(ctx context.Context, app push.AppID, ordinal push.Ordinal, channel, token string) error {
	return d.forget(ctx, app, ordinal, func(dev wire.Device) bool { return dev.HasToken(channel, token) })
}

// ForgetDevice forgets a user's device by its ID; one that the user has not is no error.
func (d *Directory) ForgetDevice(ctx context.Context, app push.AppID, ordinal push.Ordinal, id string) error {
	return d.forget(ctx, app, ordinal, func(dev wire.Device) bool { return dev.ID == id })
}

// DeleteDevices forgets all of a user's devices.
func (d *Directory) DeleteDevices(ctx context.Context, app push.AppID, ordinal push.Ordinal) error {
	return d.forget(ctx, app, ordinal, func(wire.Device) bool { return true })
}

// forget takes devices off a user's list.
func (d *Directory) forget(ctx context.Context, app push.AppID, ordinal push.Ordinal, which func(wire.Device) bool) error {
	for range attempts {
		list, err := d.deviceList(ctx, app, ordinal)
		if err != nil {
			return err
		}
		rest := slices.DeleteFunc(slices.Clone(list.devices), which)
		if len(rest) == len(list.devices) {
			return nil
		}
		_, err = d.b.Write(wire.DevicesStream(app), d.relist(app, list, rest)...)
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("forget a device of user %d: %w", ordinal, errBusy)
}

func (d *Directory) deviceList(ctx context.Context, app push.AppID, owner push.Ordinal) (deviceList, error) {
	m, err := d.b.Last(ctx, wire.DevicesStream(app), wire.DeviceSubject(app, d.b.Sharding().Shard(owner), owner))
	if errors.Is(err, broker.ErrNotFound) {
		return deviceList{owner: owner}, nil
	}
	if err != nil {
		return deviceList{}, err
	}
	devices, err := wire.DecodeDevices(m.Data)
	if err != nil {
		return deviceList{}, fmt.Errorf("read the devices of user %d: %w", owner, err)
	}
	return deviceList{owner, devices, m.Seq}, nil
}

// find is the place of a token in the list, or -1.
func (l *deviceList) find(channel, token string) int {
	return slices.IndexFunc(l.devices, func(dev wire.Device) bool { return dev.HasToken(channel, token) })
}

// knows says whether registering the device would write nothing.
func (l *deviceList) knows(dev *wire.Device) bool {
	i := l.find(dev.Channel, dev.Token)
	return i >= 0 && l.devices[i].ID == dev.ID && l.devices[i].Platform == dev.Platform && dev.Seen < l.devices[i].Seen+refreshAfter
}

// with is a list with a device that is new or replaces those of its ID and its token.
func with(devices []wire.Device, dev wire.Device) []wire.Device {
	dev.At = dev.Seen
	next := make([]wire.Device, 0, len(devices)+1)
	for _, o := range devices {
		if o.ID == dev.ID || o.HasToken(dev.Channel, dev.Token) {
			dev.At, dev.Seen = min(dev.At, o.At), max(dev.Seen, o.Seen) // clocks of processes differ
		} else {
			next = append(next, o)
		}
	}
	if len(next) == wire.MaxDevices {
		oldest := 0
		for i := range next {
			if next[i].Seen < next[oldest].Seen {
				oldest = i
			}
		}
		next = slices.Delete(next, oldest, oldest+1)
	}
	at, _ := slices.BinarySearchFunc(next, dev.ID, func(o wire.Device, id string) int { return strings.Compare(o.ID, id) })
	return slices.Insert(next, at, dev)
}

// relist makes the messages by which a list becomes next, if it is still as it was read, and by which the tokens that leave
// it are nobody's.
func (d *Directory) relist(app push.AppID, list deviceList, next []wire.Device) []broker.Message {
	msgs := []broker.Message{d.listed(app, list, next)}
	for _, o := range list.devices {
		if !slices.ContainsFunc(next, func(n wire.Device) bool { return n.HasToken(o.Channel, o.Token) }) {
			msgs = append(msgs, broker.Message{
				Subject: wire.TokenSubject(app, wire.TokenHash(o.Channel, o.Token)), Data: wire.EncodeTokenOwner(0), TTL: emptyTTL,
			})
		}
	}
	return msgs
}

// listed is the message by which a list becomes next, if it is still as it was read.
func (d *Directory) listed(app push.AppID, list deviceList, next []wire.Device) broker.Message {
	m := broker.Message{
		Subject: wire.DeviceSubject(app, d.b.Sharding().Shard(list.owner), list.owner),
		Data:    wire.AppendDevices(nil, next),
	}
	if len(next) == 0 {
		m.TTL = emptyTTL
	}
	return m.After(list.seq)
}

// claim makes the messages by which a device's token becomes the user's, and leaves the list of whoever has it.
func (d *Directory) claim(ctx context.Context, app push.AppID, ordinal push.Ordinal, dev *wire.Device) ([]broker.Message, error) {
	hash := wire.TokenHash(dev.Channel, dev.Token)
	record := broker.Message{Subject: wire.TokenSubject(app, hash), Data: wire.EncodeTokenOwner(ordinal)}
	m, err := d.b.Last(ctx, wire.DevicesStream(app), record.Subject)
	if errors.Is(err, broker.ErrNotFound) {
		return []broker.Message{record.Once()}, nil
	}
	if err != nil {
		return nil, err
	}
	owner, err := wire.DecodeTokenOwner(m.Data)
	if err != nil {
		return nil, fmt.Errorf("read who has token %s: %w", hash, err)
	}
	msgs := []broker.Message{record.After(m.Seq)}
	if owner == 0 || owner == ordinal {
		return msgs, nil
	}
	former, err := d.deviceList(ctx, app, owner)
	if err != nil {
		return nil, err
	}
	if i := former.find(dev.Channel, dev.Token); i >= 0 {
		msgs = append(msgs, d.listed(app, former, slices.Delete(slices.Clone(former.devices), i, i+1)))
	}
	return msgs, nil
}
