package native

import (
	"context"
	"net/http"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

// maxMerged is how many accounts one request may be about: as many as the broker takes in one batch.
const maxMerged = 1000

// mergeAccounts makes accounts that are not there, adds tags to all and sets attributes, all or none of it. What a request
// does not mention stays. An account that is new costs two messages on the broker, however much is said of it.
func (n *Native) mergeAccounts(ctx context.Context, c *call) (*reply, error) {
	m, err := c.body.object("accounts")
	if err != nil {
		return nil, err
	}
	f, err := c.body.need(m, "accounts")
	if err != nil {
		return nil, err
	}
	items, err := f.list(maxMerged)
	if err != nil {
		return nil, err
	}
	names, err := n.dir.AttrNames(ctx, c.app.ID)
	if err != nil {
		return nil, err
	}
	changes := make([]directory.Change, len(items))
	for i, item := range items {
		if changes[i], err = readMerge(item, &names); err != nil {
			return nil, err
		}
	}
	if len(changes) > 0 {
		if _, err := n.dir.Put(ctx, c.app.ID, changes); err != nil {
			return nil, err
		}
	}
	return &reply{status: http.StatusNoContent}, nil
}

// readMerge reads what is said of one account.
func readMerge(f field, names *directory.AttrNames) (none directory.Change, err error) {
	m, err := f.object("account", "accountBase64", "tags", "attributes")
	if err != nil {
		return none, err
	}
	name, err := readAccount(f, m)
	if err != nil {
		return none, err
	}
	if err := push.ValidAccount(name); err != nil {
		return none, invalid(f.pointer, "%v", err)
	}
	var changes []func(*push.Record)
	if v, given := m["tags"]; given {
		tags, err := v.texts(push.MaxTags, push.MaxTagLen)
		if err != nil {
			return none, err
		}
		changes = append(changes, func(r *push.Record) {
			for _, t := range tags {
				r.AddTag(t)
			}
		})
	}
	if v, given := m["attributes"]; given {
		order, members, err := v.members()
		if err != nil {
			return none, err
		}
		values, err := attributeValues(names, order, members)
		if err != nil {
			return none, err
		}
		changes = append(changes, setAttributes(values))
	}
	return all(name, changes), nil
}
