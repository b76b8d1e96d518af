package bulk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-push/carillon/pkg/push"
)

// slots are the app's attribute names. Not safe for concurrent use.
type slots struct {
	calls *caller
	names [push.AttrSlots]string
}

// loadSlots asks for the names with the first call that is made, so that a service that is not there is noticed soon.
func loadSlots(ctx context.Context, calls *caller) (*slots, error) {
	var answer struct{ AttrNames map[string]string }
	if err := calls.impatient().call(ctx, "all_member_push/im_get_attr_name", struct{}{}, &answer); err != nil {
		return nil, err
	}
	s := &slots{calls: calls}
	for slot, name := range answer.AttrNames {
		n, err := strconv.ParseUint(slot, 10, 8)
		if err != nil || n >= push.AttrSlots {
			return nil, fmt.Errorf("the service answers with an attribute in slot %q", slot)
		}
		s.names[n] = name
	}
	return s, nil
}

func (s *slots) has(name string) bool { return slices.Contains(s.names[:], name) }

// used are the names that are set, in the order of their slots.
func (s *slots) used() []string {
	return slices.DeleteFunc(slices.Clone(s.names[:]), func(n string) bool { return n == "" })
}

// room says why the new ones among the names cannot all be given a slot.
func (s *slots) room(names []string) error {
	fresh := s.fresh(names)
	if len(s.used())+len(fresh) <= push.AttrSlots {
		return nil
	}
	return fmt.Errorf("an app has at most %d attributes: beside %s there is no slot for %s", push.AttrSlots, list(s.used()), list(fresh))
}

// list shows some names.
func list(names []string) string {
	const some = 2 * push.AttrSlots
	quoted := make([]string, 0, some)
	for _, n := range names[:min(len(names), some)] {
		quoted = append(quoted, quote(n))
	}
	if more := len(names) - some; more > 0 {
		quoted = append(quoted, fmt.Sprintf("%d more", more))
	}
	if len(quoted) == 0 {
		return "none"
	}
	return strings.Join(quoted, ", ")
}

// fresh are the names that have no slot yet, without repeats.
func (s *slots) fresh(names []string) []string {
	var fresh []string
	for _, n := range names {
		if !s.has(n) && !slices.Contains(fresh, n) {
			fresh = append(fresh, n)
		}
	}
	return fresh
}

// ensure gives the new ones among the names, for which there is room, the free slots in their order.
func (s *slots) ensure(ctx context.Context, names []string) error {
	set, after := map[string]string{}, s.names
	for _, name := range s.fresh(names) {
		slot := slices.Index(after[:], "")
		after[slot], set[strconv.Itoa(slot)] = name, name
	}
	if len(set) == 0 {
		return nil
	}
	if err := s.calls.call(ctx, "all_member_push/im_set_attr_name", map[string]any{"AttrNames": set}, nil); err != nil {
		return err
	}
	s.names = after
	return nil
}
