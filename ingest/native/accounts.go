package native

import (
	"context"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// account is a user as the interface shows it. A name that is not UTF-8, which JSON cannot carry, is base64.
type account struct {
	Account       string            `json:"account,omitempty"`
	AccountBase64 []byte            `json:"accountBase64,omitempty"`
	Ordinal       push.Ordinal      `json:"ordinal"`
	Tags          []string          `json:"tags"`
	Attributes    map[string]string `json:"attributes"`
}

func show(o push.Ordinal, r *push.Record, names *directory.AttrNames) account {
	a := account{Ordinal: o, Tags: append([]string{}, r.Tags...), Attributes: map[string]string{}}
	if utf8.ValidString(r.Account) {
		a.Account = r.Account
	} else {
		a.AccountBase64 = []byte(r.Account)
	}
	for slot, value := range r.Attrs {
		if value != "" && names[slot] != "" {
			a.Attributes[names[slot]] = value
		}
	}
	return a
}

// accountName is the one in the path.
func (c *call) accountName() (string, error) {
	if err := push.ValidAccount(c.param); err != nil {
		return "", refuse(http.StatusBadRequest, codeParameter, "the path: %v", err)
	}
	return c.param, nil
}

// load answers with an account as it stands now.
func (n *Native) load(ctx context.Context, app push.AppID, name string, status int) (*reply, error) {
	users, err := n.dir.Users(ctx, app, name)
	if err != nil {
		return nil, err
	}
	u, exists := users[name]
	if !exists {
		return nil, &directory.AccountError{Account: name}
	}
	names, err := n.dir.AttrNames(ctx, app)
	if err != nil {
		return nil, err
	}
	return &reply{status: status, body: show(u.Ordinal, &u.Record, &names)}, nil
}

func (n *Native) getAccount(ctx context.Context, c *call) (*reply, error) {
	name, err := c.accountName()
	if err != nil {
		return nil, err
	}
	return n.load(ctx, c.app.ID, name, http.StatusOK)
}

// putAccount makes an account that is not there. Tags and attributes, where they are given, replace what it has.
func (n *Native) putAccount(ctx context.Context, c *call) (*reply, error) {
	name, err := c.accountName()
	if err != nil {
		return nil, err
	}
	m, err := c.body.object("tags", "attributes")
	if err != nil {
		return nil, err
	}
	var changes []func(*push.Record)
	if f, given := m["tags"]; given {
		tags, err := f.texts(push.MaxTags, push.MaxTagLen)
		if err != nil {
			return nil, err
		}
		slices.Sort(tags)
		tags = slices.Compact(tags)
		changes = append(changes, func(r *push.Record) { r.Tags = slices.Clone(tags) })
	}
	if f, given := m["attributes"]; given {
		values, err := n.readAttributes(ctx, c.app.ID, f)
		if err != nil {
			return nil, err
		}
		changes = append(changes, func(r *push.Record) { r.Attrs = values })
	}
	users, err := n.dir.Users(ctx, c.app.ID, name)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if _, exists := users[name]; !exists {
		status = http.StatusCreated
	}
	if _, err := n.dir.Put(ctx, c.app.ID, []directory.Change{all(name, changes)}); err != nil {
		return nil, err
	}
	return n.load(ctx, c.app.ID, name, status)
}

// all is one change that is made of several.
func all(name string, changes []func(*push.Record)) directory.Change {
	return directory.Change{Account: name, Apply: func(r *push.Record) error {
		for _, apply := range changes {
			apply(r)
		}
		if len(r.Tags) > push.MaxTags {
			return refuse(http.StatusUnprocessableEntity, codeTags, "the account would have over %d tags", push.MaxTags)
		}
		return nil
	}}
}

// change applies changes to an account's record, all or none.
func (n *Native) change(ctx context.Context, app push.AppID, name string, changes []func(*push.Record)) error {
	if len(changes) == 0 {
		return nil
	}
	return n.dir.Update(ctx, app, []directory.Change{all(name, changes)})
}

// patchAccount adds and removes tags, and sets and removes attributes, of an account that is there. Of each, what is
// removed goes before what is added.
func (n *Native) patchAccount(ctx context.Context, c *call) (*reply, error) {
	name, err := c.accountName()
	if err != nil {
		return nil, err
	}
	m, err := c.body.object("tags", "attributes")
	if err != nil {
		return nil, err
	}
	var changes []func(*push.Record)
	if f, given := m["tags"]; given {
		apply, err := readTagChange(f)
		if err != nil {
			return nil, err
		}
		changes = append(changes, apply)
	}
	if f, given := m["attributes"]; given {
		apply, err := n.readAttributeChange(ctx, c.app.ID, f)
		if err != nil {
			return nil, err
		}
		changes = append(changes, apply)
	}
	if err := n.change(ctx, c.app.ID, name, changes); err != nil {
		return nil, err
	}
	return n.load(ctx, c.app.ID, name, http.StatusOK)
}

func readTagChange(f field) (func(*push.Record), error) {
	m, err := f.object("add", "remove")
	if err != nil {
		return nil, err
	}
	var add, remove []string
	if v, given := m["add"]; given {
		if add, err = v.texts(push.MaxTags, push.MaxTagLen); err != nil {
			return nil, err
		}
	}
	if v, given := m["remove"]; given {
		if remove, err = v.texts(push.MaxTags, push.MaxTagLen); err != nil {
			return nil, err
		}
	}
	return func(r *push.Record) {
		for _, t := range remove {
			r.RemoveTag(t)
		}
		for _, t := range add {
			r.AddTag(t)
		}
	}, nil
}

func (n *Native) readAttributeChange(ctx context.Context, app push.AppID, f field) (func(*push.Record), error) {
	m, err := f.object("set", "remove")
	if err != nil {
		return nil, err
	}
	var set [push.AttrSlots]string
	var remove []uint8
	if v, given := m["set"]; given {
		if set, err = n.readAttributes(ctx, app, v); err != nil {
			return nil, err
		}
	}
	if v, given := m["remove"]; given {
		items, err := v.list(push.AttrSlots)
		if err != nil {
			return nil, err
		}
		names, err := n.dir.AttrNames(ctx, app)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			name, err := item.text(push.MaxAttrLen)
			if err != nil {
				return nil, err
			}
			slot, err := slotOf(&names, item.pointer, name)
			if err != nil {
				return nil, err
			}
			remove = append(remove, slot)
		}
	}
	return func(r *push.Record) {
		for _, slot := range remove {
			r.Attrs[slot] = ""
		}
		setAttributes(set)(r)
	}, nil
}

// setAttributes sets those values that are not empty.
func setAttributes(values [push.AttrSlots]string) func(*push.Record) {
	return func(r *push.Record) {
		for slot, value := range values {
			if value != "" {
				r.Attrs[slot] = value
			}
		}
	}
}

// deleteAccount ends an account and then its sessions, in this order, so that no client comes back between. A crash
// between leaves sessions of an ordinal that is in no audience any more: they get nothing.
func (n *Native) deleteAccount(ctx context.Context, c *call) (*reply, error) {
	name, err := c.accountName()
	if err != nil {
		return nil, err
	}
	ordinal, err := n.dir.Delete(ctx, c.app.ID, name)
	if err != nil {
		return nil, err
	}
	request := wire.EncodeJSON(wire.EndRequest{Ordinal: ordinal, Code: wire.CloseDeleted})
	if _, err := n.b.Gather(ctx, wire.RoleDeliver, wire.SessionEndSubject(c.app.ID), request); err != nil {
		n.log.Warn("end the sessions of a deleted account; they get nothing any more", "app", c.app.ID, "err", err)
	}
	return &reply{status: http.StatusNoContent}, nil
}

// Pages of accounts.
const (
	defaultAccounts = 100
	maxAccounts     = 1000
	// maxLooks is how many ranges of ordinals one page looks at: where many accounts in a row were deleted, it has fewer
	// than were asked for, and says where to go on.
	maxLooks = 8
)

type accountList struct {
	Accounts []account `json:"accounts"`
	// Next is what to send as after for the next page; nil when this is the last.
	Next *push.Ordinal `json:"next"`
}

// listAccounts reads records in the order of their ordinals, which are dense: a page is some ranges of them.
func (n *Native) listAccounts(ctx context.Context, c *call) (*reply, error) {
	after, err := c.number("after", 0, 0, 1<<63)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", defaultAccounts, 1, maxAccounts)
	if err != nil {
		return nil, err
	}
	last, err := n.b.LastSeq(ctx, wire.AccountsStream(c.app.ID))
	if err != nil {
		return nil, err
	}
	names, err := n.dir.AttrNames(ctx, c.app.ID)
	if err != nil {
		return nil, err
	}
	page := accountList{Accounts: []account{}}
	for look := 0; look < maxLooks && after < last && len(page.Accounts) < int(limit); look++ {
		// Up to the end of the shard, of the accounts, and of what is still wanted.
		shard := n.b.Sharding().Shard(push.Ordinal(after + 1))
		end := min(last, uint64(n.b.Sharding().Ordinal(shard, n.b.Sharding().Width()-1)), after+limit-uint64(len(page.Accounts)))
		if page.Accounts, err = n.appendAccounts(ctx, page.Accounts, c.app.ID, shard, push.Ordinal(after+1), push.Ordinal(end), &names); err != nil {
			return nil, err
		}
		after = end
	}
	if after < last {
		next := push.Ordinal(after)
		page.Next = &next
	}
	return &reply{status: http.StatusOK, body: page}, nil
}

// appendAccounts reads the ordinals of one shard from first to last, at most 1,000.
func (n *Native) appendAccounts(ctx context.Context, to []account, app push.AppID, shard push.Shard, first, last push.Ordinal, names *directory.AttrNames) ([]account, error) {
	if err := n.b.EnsureShard(ctx, app, shard); err != nil {
		return nil, err
	}
	subjects := make([]string, 0, last-first+1)
	for o := first; o <= last; o++ {
		subjects = append(subjects, wire.UserSubject(app, shard, o))
	}
	records, err := n.b.LastOf(ctx, wire.UsersStream(app, shard), subjects)
	if err != nil {
		return nil, err
	}
	for i, subject := range subjects {
		m := records[subject]
		if m == nil {
			continue
		}
		r, err := wire.DecodeRecord(m.Data)
		if err != nil {
			return nil, err
		}
		if !r.Deleted {
			to = append(to, show(first+push.Ordinal(i), &r, names))
		}
	}
	return to, nil
}
