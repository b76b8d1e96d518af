package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// callers is how many calls of the operator are under way at once.
	callers = 16
	// perCall is how many users one call is about: the contract's limit.
	perCall = 100
)

// fill imports everybody with their attributes and tags.
func (d *demo) fill(ctx context.Context) error {
	names := map[string]any{"AttrNames": map[string]string{"0": cityAttr, "1": levelAttr}}
	if err := d.service.rest.Call(ctx, "all_member_push/im_set_attr_name", names, nil); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		call func(ctx context.Context, from, to int) error
	}{
		{"import accounts", d.importAccounts},
		{"set attributes", d.setAttrs},
		{"add tags", d.addTags},
	} {
		begin := time.Now()
		if err := d.everybody(ctx, step.what, step.call); err != nil {
			return err
		}
		d.took(step.what, begin)
	}
	return nil
}

// everybody makes calls that are each about the people with the numbers from, up to before to.
func (d *demo) everybody(ctx context.Context, what string, call func(ctx context.Context, from, to int) error) error {
	all := len(d.crowd.people)
	bar := d.out.progress(what, all)
	g, failed := errgroup.WithContext(ctx)
	g.SetLimit(callers)
	for from := 0; from < all && failed.Err() == nil; from += perCall {
		to := min(from+perCall, all)
		g.Go(func() error {
			defer bar.add(to - from)
			return call(failed, from, to)
		})
	}
	err := errors.Join(g.Wait(), ctx.Err())
	bar.end()
	return err
}

func (d *demo) importAccounts(ctx context.Context, from, to int) error {
	names := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		names = append(names, accountName(i))
	}
	var answer struct{ FailAccounts []string }
	if err := d.service.rest.Call(ctx, "im_open_login_svc/multiaccount_import", map[string]any{"Accounts": names}, &answer); err != nil {
		return err
	}
	if len(answer.FailAccounts) > 0 {
		return fmt.Errorf("the accounts %s were not imported", strings.Join(answer.FailAccounts, ", "))
	}
	return nil
}

func (d *demo) setAttrs(ctx context.Context, from, to int) error {
	users := make([]any, 0, to-from)
	for i := from; i < to; i++ {
		p := &d.crowd.people[i]
		users = append(users, map[string]any{"To_Account": accountName(i), "Attrs": map[string]string{
			cityAttr: d.crowd.cities[p.city].Label(), levelAttr: levels[p.level].name,
		}})
	}
	return d.service.rest.Call(ctx, "all_member_push/im_set_attr", map[string]any{"UserAttrs": users}, nil)
}

func (d *demo) addTags(ctx context.Context, from, to int) error {
	users := make([]any, 0, to-from)
	for i := from; i < to; i++ {
		users = append(users, map[string]any{"To_Account": accountName(i), "Tags": d.crowd.people[i].tags()})
	}
	return d.service.rest.Call(ctx, "all_member_push/im_add_tag", map[string]any{"UserTags": users}, nil)
}
