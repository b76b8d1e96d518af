package native

import (
	"context"
	"net/http"
	"strconv"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

// slotOf finds the slot of an attribute's name.
func slotOf(names *directory.AttrNames, at, name string) (uint8, error) {
	slot, ok := names.Slot(name)
	if !ok {
		return 0, refuse(http.StatusUnprocessableEntity, codeAttribute, "the app has no attribute named %q", name).at(at)
	}
	return slot, nil
}

// readAttributes reads values by attribute name into slots; an empty string is a slot that is not given.
func (n *Native) readAttributes(ctx context.Context, app push.AppID, f field) (values [push.AttrSlots]string, err error) {
	order, m, err := f.members()
	if err != nil || len(order) == 0 {
		return values, err
	}
	names, err := n.dir.AttrNames(ctx, app)
	if err != nil {
		return values, err
	}
	return attributeValues(&names, order, m)
}

func attributeValues(names *directory.AttrNames, order []string, m map[string]field) (values [push.AttrSlots]string, err error) {
	for _, name := range order {
		slot, err := slotOf(names, m[name].pointer, name)
		if err != nil {
			return values, err
		}
		if values[slot], err = m[name].text(push.MaxAttrLen); err != nil {
			return values, err
		}
	}
	return values, nil
}

type attributeNames struct {
	Attributes map[string]string `json:"attributes"` // names by slot
}

func (n *Native) getAttributes(ctx context.Context, c *call) (*reply, error) {
	names, err := n.dir.AttrNames(ctx, c.app.ID)
	if err != nil {
		return nil, err
	}
	out := attributeNames{map[string]string{}}
	for slot, name := range names {
		if name != "" {
			out.Attributes[strconv.Itoa(slot)] = name
		}
	}
	return &reply{status: http.StatusOK, body: out}, nil
}

// putAttributes names all slots; one that is not given has no name any more, and its values wait for the next.
func (n *Native) putAttributes(ctx context.Context, c *call) (*reply, error) {
	m, err := c.body.object("attributes")
	if err != nil {
		return nil, err
	}
	f, err := c.body.need(m, "attributes")
	if err != nil {
		return nil, err
	}
	order, slots, err := f.members()
	if err != nil {
		return nil, err
	}
	set, seen := map[uint8]string{}, map[string]bool{}
	for slot := range uint8(push.AttrSlots) {
		set[slot] = ""
	}
	for _, key := range order {
		v := slots[key]
		slot, err := strconv.ParseUint(key, 10, 8)
		if err != nil || slot >= push.AttrSlots || strconv.FormatUint(slot, 10) != key {
			return nil, invalid(v.pointer, "not a slot from 0 to %d", push.AttrSlots-1)
		}
		name, err := v.text(push.MaxAttrLen)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, invalid(v.pointer, "two slots would have the same name")
		}
		seen[name] = true
		set[uint8(slot)] = name
	}
	if err := n.dir.SetAttrNames(ctx, c.app.ID, set); err != nil {
		return nil, err
	}
	return n.getAttributes(ctx, c)
}
