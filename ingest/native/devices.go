package native

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// maxDevices of one request. They are not written together: each is by itself in or not.
const maxDevices = 1000

// registering is how many users' devices of a request are written at once, so that they share the broker's commits.
const registering = 64

// device is one as the interface shows it: without its token, which lets whoever has it push to it.
type device struct {
	Device   string    `json:"device"`
	Channel  string    `json:"channel"`
	Platform string    `json:"platform,omitempty"`
	Since    time.Time `json:"since"`
	Seen     time.Time `json:"seen"`
}

// refusedDevice is one of a request that was not registered.
type refusedDevice struct {
	Index  int    `json:"index"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// newDevice is one of a request.
type newDevice struct {
	account string
	dev     wire.Device
	bad     error // what is wrong with the device
}

// createDevices registers devices for any accounts of the app. One that cannot be does not keep the others out.
func (n *Native) createDevices(ctx context.Context, c *call) (*reply, error) {
	m, err := c.body.object("devices")
	if err != nil {
		return nil, err
	}
	f, err := c.body.need(m, "devices")
	if err != nil {
		return nil, err
	}
	items, err := f.list(maxDevices)
	if err != nil {
		return nil, err
	}
	devices := make([]newDevice, len(items))
	names := make([]string, len(items))
	for i, item := range items {
		if devices[i], err = readDevice(item); err != nil {
			return nil, err
		}
		names[i] = devices[i].account
	}
	users, err := n.dir.Users(ctx, c.app.ID, names...)
	if err != nil {
		return nil, err
	}
	out := struct {
		Registered int             `json:"registered"`
		Refused    []refusedDevice `json:"refused"`
	}{Refused: []refusedDevice{}}
	refusals := make([]*refusedDevice, len(devices))
	of := map[push.Ordinal][]int{} // by user, so that a user's are written in their order
	for i, d := range devices {
		u, exists := users[d.account]
		switch {
		case !exists:
			refusals[i] = &refusedDevice{i, codeAccount, "there is no such account"}
		case d.bad != nil:
			refusals[i] = &refusedDevice{i, codeField, d.bad.Error()}
		default:
			of[u.Ordinal] = append(of[u.Ordinal], i)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(registering)
	for owner, indexes := range of {
		g.Go(func() error {
			for _, i := range indexes {
				err := n.dir.RegisterDevice(ctx, c.app.ID, owner, devices[i].dev)
				if errors.Is(err, wire.ErrDevice) {
					refusals[i], err = &refusedDevice{i, codeField, err.Error()}, nil
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, r := range refusals {
		if r != nil {
			out.Refused = append(out.Refused, *r)
		}
	}
	out.Registered = len(devices) - len(out.Refused)
	return &reply{status: http.StatusOK, body: out}, nil
}

// readDevice reads one device of a request. What is wrong with its form refuses the request; with its values, the device.
func readDevice(f field) (d newDevice, err error) {
	m, err := f.object("account", "accountBase64", "device", "channel", "token", "platform")
	if err != nil {
		return d, err
	}
	if d.account, err = readAccount(f, m); err != nil {
		return d, err
	}
	for _, v := range []struct {
		name     string
		to       *string
		limit    int
		required bool
	}{
		{"channel", &d.dev.Channel, wire.MaxChannelLen, true}, {"token", &d.dev.Token, wire.MaxTokenLen, true},
		{"device", &d.dev.ID, wire.MaxDeviceIDLen, false}, {"platform", &d.dev.Platform, wire.MaxPlatformLen, false},
	} {
		if _, given := m[v.name]; !given && !v.required {
			continue
		}
		member, err := f.need(m, v.name)
		if err != nil {
			return d, err
		}
		if *v.to, err = member.text(v.limit); err != nil {
			return d, err
		}
	}
	d.bad = wire.ValidChannel(d.dev.Channel)
	return d, nil
}

// readAccount takes the account from one of the two ways to give it.
func readAccount(f field, m map[string]field) (string, error) {
	encoded, given := m["accountBase64"]
	if !given {
		plain, err := f.need(m, "account")
		if err != nil {
			return "", err
		}
		return plain.text(push.MaxAccountLen)
	}
	if plain, both := m["account"]; both {
		return "", invalid(plain.pointer, "given beside accountBase64")
	}
	text, err := encoded.text(base64.StdEncoding.EncodedLen(push.MaxAccountLen))
	if err != nil {
		return "", err
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", encoded.wrong("base64")
	}
	return string(raw), nil
}

// deviceOwner is the account in the path.
func (n *Native) deviceOwner(ctx context.Context, c *call) (push.Ordinal, error) {
	name, err := c.accountName()
	if err != nil {
		return 0, err
	}
	users, err := n.dir.Users(ctx, c.app.ID, name)
	if err != nil {
		return 0, err
	}
	u, exists := users[name]
	if !exists {
		return 0, &directory.AccountError{Account: name}
	}
	return u.Ordinal, nil
}

// listDevices gives an account's devices.
func (n *Native) listDevices(ctx context.Context, c *call) (*reply, error) {
	owner, err := n.deviceOwner(ctx, c)
	if err != nil {
		return nil, err
	}
	lists, err := n.dir.Devices(ctx, c.app.ID, owner)
	if err != nil {
		return nil, err
	}
	out := struct {
		Devices []device `json:"devices"`
	}{Devices: []device{}}
	for _, d := range lists[owner] {
		out.Devices = append(out.Devices, device{d.ID, d.Channel, d.Platform, time.Unix(d.At, 0).UTC(), time.Unix(d.Seen, 0).UTC()})
	}
	return &reply{status: http.StatusOK, body: out}, nil
}

// deleteDevice forgets one device of an account; one that is not there is no error.
func (n *Native) deleteDevice(ctx context.Context, c *call) (*reply, error) {
	owner, err := n.deviceOwner(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := n.dir.ForgetDevice(ctx, c.app.ID, owner, c.params[1]); err != nil {
		return nil, err
	}
	return &reply{status: http.StatusNoContent}, nil
}
