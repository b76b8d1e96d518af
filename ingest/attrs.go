package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

// attrText checks the length of an attribute's name or value.
func attrText(path, what, s string) error {
	if s == "" {
		return refuse(codeAttrLength, path+": the "+what+" is empty")
	}
	if len(s) > push.MaxAttrLen {
		return refuse(codeAttrLength, fmt.Sprintf("%s: the %s is longer than %d bytes", path, what, push.MaxAttrLen))
	}
	return nil
}

// setAttrNames is im_set_attr_name.
func (i *Ingest) setAttrNames(ctx context.Context, c *call) (answer, error) {
	o, err := slotNames(c.body.get("AttrNames"))
	if err != nil {
		return nil, err
	}
	if len(o.members) == 0 {
		return nil, &fieldError{o.path, "an empty object"}
	}
	names := map[uint8]string{}
	for _, key := range slices.Sorted(maps.Keys(o.members)) { // so that the same fault is always reported
		slot, err := strconv.ParseUint(key, 10, 8)
		if err != nil || slot >= push.AttrSlots || strconv.FormatUint(slot, 10) != key {
			return nil, &fieldError{o.member(key), fmt.Sprintf("not a slot from 0 to %d", push.AttrSlots-1)}
		}
		v := o.get(key)
		name, err := v.text()
		if err != nil {
			return nil, err
		}
		if err := attrText(v.path, "name", name); err != nil {
			return nil, err
		}
		names[uint8(slot)] = name
	}
	return &outcome{}, i.dir.SetAttrNames(ctx, c.app.ID, names)
}

// slotNames reads AttrNames. Clients whose language makes a list of an object with the keys 0, 1, 2… send that.
func slotNames(v value) (object, error) {
	items, err := v.list()
	if err != nil {
		return v.object()
	}
	o := object{path: v.path, members: make(map[string]json.RawMessage, len(items))}
	for slot, item := range items {
		o.members[strconv.Itoa(slot)] = item.raw
	}
	return o, nil
}

type attrNamesAnswer struct {
	outcome
	AttrNames map[string]string // by slot
}

// getAttrNames is im_get_attr_name.
func (i *Ingest) getAttrNames(ctx context.Context, c *call) (answer, error) {
	names, err := i.dir.AttrNames(ctx, c.app.ID)
	if err != nil {
		return nil, err
	}
	out := &attrNamesAnswer{AttrNames: map[string]string{}}
	for slot, name := range names {
		if name != "" {
			out.AttrNames[strconv.Itoa(slot)] = name
		}
	}
	return out, nil
}

// eachUserAttrs reads UserAttrs; change gives what is to become of a record by the element's Attrs.
func eachUserAttrs(c *call, change func(value) (func(*push.Record), error)) ([]directory.Change, error) {
	list, err := c.body.get("UserAttrs", "Attrs").some(maxAccounts, codeManyUsers)
	if err != nil {
		return nil, err
	}
	changes := make([]directory.Change, len(list))
	for n, item := range list {
		o, err := item.object()
		if err != nil {
			return nil, err
		}
		if changes[n].Account, err = o.get("To_Account").account(); err != nil {
			return nil, err
		}
		attrs := o.get("Attrs")
		if err := attrs.characters(); err != nil {
			return nil, err
		}
		apply, err := change(attrs)
		if err != nil {
			return nil, err
		}
		changes[n].Apply = func(r *push.Record) error { apply(r); return nil }
	}
	return changes, nil
}

// slotOf finds the slot of an attribute's name.
func slotOf(names *directory.AttrNames, path, name string) (uint8, error) {
	if err := attrText(path, "name", name); err != nil {
		return 0, err
	}
	slot, ok := names.Slot(name)
	if !ok {
		return 0, refuse(codeAttrUnknown, fmt.Sprintf("%s: the app has no attribute named %q", path, name))
	}
	return slot, nil
}

// setAttrs is im_set_attr.
func (i *Ingest) setAttrs(ctx context.Context, c *call) (answer, error) {
	names, err := i.dir.AttrNames(ctx, c.app.ID)
	if err != nil {
		return nil, err
	}
	changes, err := eachUserAttrs(c, func(v value) (func(*push.Record), error) {
		o, err := v.object()
		if err != nil {
			return nil, err
		}
		if len(o.members) == 0 {
			return nil, &fieldError{v.path, "an empty object"}
		}
		values := map[uint8]string{}
		for _, name := range slices.Sorted(maps.Keys(o.members)) { // so that the same fault is always reported
			slot, err := slotOf(&names, v.path, name)
			if err != nil {
				return nil, err
			}
			member := o.get(name)
			text, err := member.scalar()
			if err != nil {
				return nil, err
			}
			if err := attrText(member.path, "value", text); err != nil {
				return nil, err
			}
			values[slot] = text
		}
		return func(r *push.Record) {
			for slot, text := range values {
				r.Attrs[slot] = text
			}
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return i.update(ctx, c.app.ID, changes)
}

// removeAttrs is im_remove_attr.
func (i *Ingest) removeAttrs(ctx context.Context, c *call) (answer, error) {
	names, err := i.dir.AttrNames(ctx, c.app.ID)
	if err != nil {
		return nil, err
	}
	changes, err := eachUserAttrs(c, func(v value) (func(*push.Record), error) {
		list, err := v.list()
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, &fieldError{v.path, "an empty array"}
		}
		var slots [push.AttrSlots]bool
		for _, item := range list {
			name, err := item.text()
			if err != nil {
				return nil, err
			}
			slot, err := slotOf(&names, item.path, name)
			if err != nil {
				return nil, err
			}
			slots[slot] = true
		}
		return func(r *push.Record) {
			for slot, remove := range slots {
				if remove {
					r.Attrs[slot] = ""
				}
			}
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return i.update(ctx, c.app.ID, changes)
}

type attrsItem struct {
	Account string `json:"To_Account"`
	Attrs   map[string]string
}

// attrsAnswer has its list under both names that clients look for.
type attrsAnswer struct {
	outcome
	UserAttrs []attrsItem
	Attrs     []attrsItem
}

// getAttrs is im_get_attr: every account that was asked for, in that order.
func (i *Ingest) getAttrs(ctx context.Context, c *call) (answer, error) {
	accounts, err := accounts(c.body.get("To_Account"), maxAccounts, codeManyUsers)
	if err != nil {
		return nil, err
	}
	names, err := i.dir.AttrNames(ctx, c.app.ID)
	if err != nil {
		return nil, err
	}
	users, err := i.users(ctx, c.app.ID, accounts)
	if err != nil {
		return nil, err
	}
	list := make([]attrsItem, len(accounts))
	for n, account := range accounts {
		list[n] = attrsItem{account, map[string]string{}}
		for slot, text := range users[account].Record.Attrs {
			if text != "" && names[slot] != "" {
				list[n].Attrs[names[slot]] = text
			}
		}
	}
	return &attrsAnswer{UserAttrs: list, Attrs: list}, nil
}
