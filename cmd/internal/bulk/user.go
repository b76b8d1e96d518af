package bulk

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// User is what a line says: an account with values of attributes, with tags and with devices, any of which may be absent.
type User struct {
	Account    string
	Attributes map[string]string
	Tags       []string
	Devices    []Device
}

// Device is where a vendor takes pushes for a user. Its token is a secret, which no error shows.
type Device struct {
	Channel  string `json:"channel"`
	Token    string `json:"token"`
	Device   string `json:"device,omitempty"`
	Platform string `json:"platform,omitempty"`
}

var errNotUTF8 = errors.New("not UTF-8")

// Check says why the service would refuse the user: the contract's limits, and that tags and attributes are UTF-8.
// An account may be any bytes.
func (u *User) Check() error {
	if err := push.ValidAccount(u.Account); err != nil {
		return err
	}
	if len(u.Attributes) > push.AttrSlots {
		return fmt.Errorf("%d attributes: an app has at most %d", len(u.Attributes), push.AttrSlots)
	}
	for _, name := range slices.Sorted(maps.Keys(u.Attributes)) { // so that the same fault is always reported
		if err := short("attribute name", name, push.MaxAttrLen); err != nil {
			return err
		}
		if err := short("attribute "+quote(name), u.Attributes[name], push.MaxAttrLen); err != nil {
			return err
		}
	}
	for _, tag := range u.Tags {
		if err := short("tag", tag, push.MaxTagLen); err != nil {
			return err
		}
	}
	if n := len(distinct(u.Tags)); n > push.MaxTags {
		return fmt.Errorf("%d tags: a user has at most %d", n, push.MaxTags)
	}
	if len(u.Devices) > wire.MaxDevices {
		return fmt.Errorf("%d devices: a user has at most %d", len(u.Devices), wire.MaxDevices)
	}
	for i, d := range u.Devices {
		w := wire.Device{ID: cmp.Or(d.Device, "-"), Channel: d.Channel, Token: d.Token, Platform: d.Platform}
		if err := w.Validate(); err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
	}
	return nil
}

// short says what is wrong with a text that must be 1 to limit bytes of UTF-8.
func short(what, text string, limit int) error {
	switch {
	case text == "":
		return fmt.Errorf("%s: empty", what)
	case len(text) > limit:
		return fmt.Errorf("%s %s: %d bytes, at most %d are allowed", what, quote(text), len(text), limit)
	case !utf8.ValidString(text):
		return fmt.Errorf("%s %s: %w", what, quote(text), errNotUTF8)
	}
	return nil
}

// quote shows a text, or the beginning of a long one.
func quote(text string) string {
	if len(text) > 2*push.MaxTagLen {
		return fmt.Sprintf("%q...", text[:2*push.MaxTagLen])
	}
	return fmt.Sprintf("%q", text)
}

// distinct is the texts without repeats, in the order of their first appearance.
func distinct(texts []string) []string {
	seen := make(map[string]bool, len(texts))
	out := make([]string, 0, len(texts))
	for _, t := range texts {
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out
}
