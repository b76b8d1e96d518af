package ingest

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// userID reads the account that a command of this file is about.
func userID(v value) (string, error) {
	name, err := v.account()
	if err != nil {
		return "", err
	}
	if err := push.ValidAccount(name); err != nil {
		return "", refuse(codeParameter, v.path+": "+err.Error())
	}
	return name, nil
}

// importAccount is account_import. What else it carries of a profile is no concern of a push service.
func (i *Ingest) importAccount(ctx context.Context, c *call) (answer, error) {
	name, err := userID(c.body.get("UserID", "Identifier"))
	if err != nil {
		return nil, err
	}
	if _, err := i.dir.Register(ctx, c.app.ID, name); err != nil {
		return nil, err
	}
	return &outcome{}, nil
}

type importAnswer struct {
	outcome
	FailAccounts []string
}

// importAccounts is multiaccount_import: names that cannot be accounts are given back, the rest are in.
func (i *Ingest) importAccounts(ctx context.Context, c *call) (answer, error) {
	names, err := accounts(c.body.get("Accounts"), maxAccounts, codeParameter)
	if err != nil {
		return nil, err
	}
	out := &importAnswer{FailAccounts: []string{}}
	var valid []string
	for _, n := range names {
		if push.ValidAccount(n) == nil {
			valid = append(valid, n)
		} else {
			out.FailAccounts = append(out.FailAccounts, n)
		}
	}
	if len(valid) > 0 {
		if _, err := i.dir.Register(ctx, c.app.ID, valid...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// accounts reads a list of names, whether they can be accounts or not.
func accounts(v value, limit int, over Code) ([]string, error) {
	items, err := v.some(limit, over)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(items))
	for i, item := range items {
		if names[i], err = item.account(); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// items reads a list like [{"UserID":"u1"}].
func items(v value) ([]string, error) {
	list, err := v.some(maxAccounts, codeParameter)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, item := range list {
		o, err := item.object()
		if err != nil {
			return nil, err
		}
		if names[i], err = o.get("UserID").account(); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// users looks accounts up by name; a name that cannot be an account is absent like one that was never imported.
func (i *Ingest) users(ctx context.Context, app push.AppID, names []string) (map[string]directory.User, error) {
	valid := make([]string, 0, len(names))
	for _, n := range names {
		if push.ValidAccount(n) == nil {
			valid = append(valid, n)
		}
	}
	if len(valid) == 0 {
		return nil, nil
	}
	return i.dir.Users(ctx, app, valid...)
}

type deletedItem struct {
	ResultCode Code
	ResultInfo string
	UserID     string
}

type checkedItem struct {
	UserID        string
	ResultCode    Code
	ResultInfo    string
	AccountStatus string
}

type resultAnswer[T any] struct {
	outcome
	ResultItem []T
}

// deletions is how many accounts of one request are deleted at once.
const deletions = 8

// deleteAccounts is account_delete. Each account is deleted by itself and has its own result, so that those that failed
// can be repeated.
func (i *Ingest) deleteAccounts(ctx context.Context, c *call) (answer, error) {
	names, err := items(c.body.get("DeleteItem"))
	if err != nil {
		return nil, err
	}
	out := &resultAnswer[deletedItem]{ResultItem: make([]deletedItem, len(names))}
	var g errgroup.Group // whose functions do not fail: a failure is a result
	g.SetLimit(deletions)
	for n, name := range names {
		g.Go(func() error {
			code, info := codeOK, ""
			if err := i.deleteAccount(ctx, c.app.ID, name); err != nil {
				if code, info = accountsFamily.code(err); code == accountsFamily.internal {
					i.log.Error("delete an account", "app", c.app.ID, "err", err)
				}
			}
			out.ResultItem[n] = deletedItem{ResultCode: code, ResultInfo: info, UserID: name}
			return nil
		})
	}
	return out, g.Wait()
}

// deleteAccount deletes one account and then ends its sessions, in this order, so that no client comes back between. A
// crash between leaves sessions of an ordinal that is in no audience any more: they get nothing.
func (i *Ingest) deleteAccount(ctx context.Context, app push.AppID, name string) error {
	if push.ValidAccount(name) != nil {
		return &directory.AccountError{Account: name}
	}
	ordinal, err := i.dir.Delete(ctx, app, name)
	if err != nil {
		return err
	}
	if err := i.endSessions(ctx, app, ordinal, wire.CloseDeleted); err != nil {
		i.log.Warn("end the sessions of a deleted account; they get nothing any more", "app", app, "err", err)
	}
	return nil
}

// endSessions tells every gateway. None at all is no error: there are no sessions then.
func (i *Ingest) endSessions(ctx context.Context, app push.AppID, ordinal push.Ordinal, code wire.CloseCode) error {
	request := wire.EncodeJSON(wire.EndRequest{Ordinal: ordinal, Code: code})
	_, err := i.b.Gather(ctx, wire.RoleDeliver, wire.SessionEndSubject(app), request)
	return err
}

// checkAccounts is account_check.
func (i *Ingest) checkAccounts(ctx context.Context, c *call) (answer, error) {
	names, err := items(c.body.get("CheckItem"))
	if err != nil {
		return nil, err
	}
	users, err := i.users(ctx, c.app.ID, names)
	if err != nil {
		return nil, err
	}
	out := &resultAnswer[checkedItem]{ResultItem: make([]checkedItem, len(names))}
	for n, name := range names {
		status := "NotImported"
		if _, exists := users[name]; exists {
			status = "Imported"
		}
		out.ResultItem[n] = checkedItem{UserID: name, AccountStatus: status}
	}
	return out, nil
}

// kick ends an account's sessions.
func (i *Ingest) kick(ctx context.Context, c *call) (answer, error) {
	name, err := userID(c.body.get("UserID", "Identifier"))
	if err != nil {
		return nil, err
	}
	users, err := i.users(ctx, c.app.ID, []string{name})
	if err != nil {
		return nil, err
	}
	u, exists := users[name]
	if !exists {
		return nil, &directory.AccountError{Account: name}
	}
	return &outcome{}, i.endSessions(ctx, c.app.ID, u.Ordinal, wire.CloseKicked)
}

// update changes records, all or none.
func (i *Ingest) update(ctx context.Context, app push.AppID, changes []directory.Change) (answer, error) {
	for _, c := range changes {
		if push.ValidAccount(c.Account) != nil {
			return nil, &directory.AccountError{Account: c.Account}
		}
	}
	return &outcome{}, i.dir.Update(ctx, app, changes)
}
