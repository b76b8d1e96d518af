package directory

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// AttrNames are an app's attribute names by slot; an empty string is a slot without a name.
type AttrNames [push.AttrSlots]string

// Slot of a name; ok is false for a name that the app has not given.
func (n *AttrNames) Slot(name string) (slot uint8, ok bool) {
	for i, s := range n {
		if s == name && s != "" {
			return uint8(i), true
		}
	}
	return 0, false
}

// AttrNames reads the app's attribute names.
func (d *Directory) AttrNames(ctx context.Context, app push.AppID) (AttrNames, error) {
	names, _, err := d.attrNames(ctx, app)
	return names, err
}

func (d *Directory) attrNames(ctx context.Context, app push.AppID) (AttrNames, uint64, error) {
	m, err := d.b.Last(ctx, wire.SettingsStream, wire.AttrNamesSubject(app))
	if errors.Is(err, broker.ErrNotFound) {
		return AttrNames{}, 0, nil
	}
	if err != nil {
		return AttrNames{}, 0, err
	}
	names, err := wire.DecodeJSON[AttrNames](m.Data)
	if err != nil {
		return AttrNames{}, 0, fmt.Errorf("read the attribute names of app %d: %w", app, err)
	}
	return names, m.Seq, nil
}

// ErrAttrName is returned by SetAttrNames when two slots would have the same name.
var ErrAttrName = errors.New("two slots would have the same name")

// SetAttrNames names some slots and leaves the others. Values belong to slots: a slot that gets another name keeps them.
func (d *Directory) SetAttrNames(ctx context.Context, app push.AppID, set map[uint8]string) error {
	for range attempts {
		names, seq, err := d.attrNames(ctx, app)
		if err != nil {
			return err
		}
		for slot, name := range set {
			names[slot] = name
		}
		for i, a := range names {
			for _, b := range names[i+1:] {
				if a == b && a != "" {
					return fmt.Errorf("%w: %q", ErrAttrName, a)
				}
			}
		}
		m := broker.Message{Subject: wire.AttrNamesSubject(app), Data: wire.EncodeJSON(names)}
		if _, _, err = d.b.Publish(ctx, m.After(seq)); !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("name attributes: %w", errBusy)
}
