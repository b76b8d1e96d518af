package ingest

import (
	"context"
	"fmt"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

// maxTagsAdded is how many tags one im_add_tag may give to one user.
const maxTagsAdded = 10

// tagList reads a user's tags in a change. A tag that stands twice counts once.
func tagList(v value, limit int) ([]string, error) {
	list, err := v.some(limit, codeManyTags)
	if err != nil {
		return nil, err
	}
	tags := make([]string, len(list))
	for n, item := range list {
		if tags[n], err = item.text(); err != nil {
			return nil, err
		}
		if tags[n] == "" {
			return nil, refuse(codeTagEmpty, item.path+": empty")
		}
		if len(tags[n]) > push.MaxTagLen {
			return nil, refuse(codeTagLong, fmt.Sprintf("%s: longer than %d bytes", item.path, push.MaxTagLen))
		}
	}
	return tags, nil
}

// userTags is one element of UserTags.
type userTags struct {
	account string
	tags    []string
}

func readUserTags(c *call, limit int) ([]userTags, error) {
	list, err := c.body.get("UserTags", "Tags").some(maxAccounts, codeManyUsers)
	if err != nil {
		return nil, err
	}
	users := make([]userTags, len(list))
	for n, item := range list {
		o, err := item.object()
		if err != nil {
			return nil, err
		}
		if users[n].account, err = o.get("To_Account").account(); err != nil {
			return nil, err
		}
		if users[n].tags, err = tagList(o.get("Tags"), limit); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// addTags is im_add_tag.
func (i *Ingest) addTags(ctx context.Context, c *call) (answer, error) {
	users, err := readUserTags(c, maxTagsAdded)
	if err != nil {
		return nil, err
	}
	changes := make([]directory.Change, len(users))
	for n, u := range users {
		changes[n] = directory.Change{Account: u.account, Apply: func(r *push.Record) error {
			for _, t := range u.tags {
				r.AddTag(t)
			}
			if len(r.Tags) > push.MaxTags {
				return refuse(codeManyTags, fmt.Sprintf("account %q would have over %d tags", u.account, push.MaxTags))
			}
			return nil
		}}
	}
	return i.update(ctx, c.app.ID, changes)
}

// removeTags is im_remove_tag.
func (i *Ingest) removeTags(ctx context.Context, c *call) (answer, error) {
	users, err := readUserTags(c, push.MaxTags)
	if err != nil {
		return nil, err
	}
	changes := make([]directory.Change, len(users))
	for n, u := range users {
		changes[n] = directory.Change{Account: u.account, Apply: func(r *push.Record) error {
			for _, t := range u.tags {
				r.RemoveTag(t)
			}
			return nil
		}}
	}
	return i.update(ctx, c.app.ID, changes)
}

// removeAllTags is im_remove_all_tags.
func (i *Ingest) removeAllTags(ctx context.Context, c *call) (answer, error) {
	names, err := accounts(c.body.get("To_Account"), maxAccounts, codeManyUsers)
	if err != nil {
		return nil, err
	}
	changes := make([]directory.Change, len(names))
	for n, name := range names {
		changes[n] = directory.Change{Account: name, Apply: func(r *push.Record) error {
			r.Tags = nil
			return nil
		}}
	}
	return i.update(ctx, c.app.ID, changes)
}

type tagsItem struct {
	Account string `json:"To_Account"`
	Tags    []string
}

// tagsAnswer has its list under both names that clients look for.
type tagsAnswer struct {
	outcome
	UserTags []tagsItem
	Tags     []tagsItem
}

// getTags is im_get_tag: every account that was asked for, in that order.
func (i *Ingest) getTags(ctx context.Context, c *call) (answer, error) {
	names, err := accounts(c.body.get("To_Account"), maxAccounts, codeManyUsers)
	if err != nil {
		return nil, err
	}
	users, err := i.users(ctx, c.app.ID, names)
	if err != nil {
		return nil, err
	}
	list := make([]tagsItem, len(names))
	for n, name := range names {
		list[n] = tagsItem{name, append([]string{}, users[name].Record.Tags...)}
	}
	return &tagsAnswer{UserTags: list, Tags: list}, nil
}
