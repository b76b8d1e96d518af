// Package directory maps accounts to ordinals and keeps user records, devices and attribute names, all on the broker. It
// holds no state: any number of processes use it at once.
//
// Why a crash between any two lines is safe. Registering writes the account first, which gives its ordinal, and then the
// empty record; a crash between leaves an account without a record, and the next Register, Update or login completes it.
// Deleting writes the tombstone first, then forgets the devices and last removes the account; a crash between leaves an
// account with a tombstone, which nobody takes for an account, and the next Delete or Register completes it. Records change
// by compare-and-set, and every change here gives the same record when it is applied twice. So whoever writes a record has
// read the one that it replaces, and the record says how to get back to it (wire.Past). Devices change in atomic batches,
// of which devices.go says more.
package directory

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// ErrNoAccount is matched by an AccountError.
var ErrNoAccount = errors.New("no such account")

// AccountError names an account that does not exist.
type AccountError struct{ Account string }

func (e *AccountError) Error() string { return fmt.Sprintf("account %q does not exist", e.Account) }

// Is makes errors.Is(err, ErrNoAccount) hold.
func (e *AccountError) Is(target error) bool { return target == ErrNoAccount }

// errBusy is returned when a record changed under us many times in a row.
var errBusy = errors.New("the record is being changed by others, try again")

// attempts bounds the repeats of a compare-and-set; each means that somebody else's succeeded.
const attempts = 64

// Directory of one installation.
type Directory struct {
	b *broker.Broker
}

// New makes a directory on the broker.
func New(b *broker.Broker) *Directory { return &Directory{b} }

// User is an account that exists.
type User struct {
	Ordinal push.Ordinal
	Record  push.Record
	was     *broker.Message // of the record as it was read, nil when it has still to be written
}

// Users looks accounts up, by name; one that does not exist is absent.
func (d *Directory) Users(ctx context.Context, app push.AppID, names ...string) (map[string]User, error) {
	users, _, err := d.load(ctx, app, names)
	return users, err
}

// load gives the accounts that exist, and beside them the ordinals of those whose deletion was begun.
func (d *Directory) load(ctx context.Context, app push.AppID, names []string) (map[string]User, map[string]push.Ordinal, error) {
	subjects := make([]string, len(names))
	for i, n := range names {
		subjects[i] = wire.AccountSubject(app, n)
	}
	accounts, err := d.b.LastOf(ctx, wire.AccountsStream(app), subjects)
	if err != nil {
		return nil, nil, err
	}
	users := make(map[string]User, len(accounts))
	ordinals := make(map[string]push.Ordinal, len(accounts))
	byShard := map[push.Shard][]string{}
	for i, n := range names {
		if m := accounts[subjects[i]]; m != nil {
			o := push.Ordinal(m.Seq)
			if _, twice := ordinals[n]; !twice {
				ordinals[n] = o
				s := d.b.Sharding().Shard(o)
				byShard[s] = append(byShard[s], n)
			}
		}
	}
	ending := map[string]push.Ordinal{}
	for shard, names := range byShard {
		if err := d.b.EnsureShard(ctx, app, shard); err != nil {
			return nil, nil, err
		}
		subjects := make([]string, len(names))
		for i, n := range names {
			subjects[i] = wire.UserSubject(app, shard, ordinals[n])
		}
		records, err := d.b.LastOf(ctx, wire.UsersStream(app, shard), subjects)
		if err != nil {
			return nil, nil, err
		}
		for i, n := range names {
			u := User{Ordinal: ordinals[n], Record: push.Record{Account: n}}
			if m := records[subjects[i]]; m != nil {
				if u.Record, err = wire.DecodeRecord(m.Data); err != nil {
					return nil, nil, fmt.Errorf("read the record of account %q: %w", n, err)
				}
				u.was = m
			}
			if u.Record.Deleted {
				ending[n] = u.Ordinal
			} else {
				users[n] = u
			}
		}
	}
	return users, ending, nil
}

// Register makes accounts that do not exist yet, completes those that a crash left without a record, and gives everybody's
// ordinal. It fails for none or all of the names; registering again is no error.
func (d *Directory) Register(ctx context.Context, app push.AppID, names ...string) (map[string]push.Ordinal, error) {
	changes := make([]Change, len(names))
	for i, n := range names {
		changes[i].Account = n
	}
	return d.Put(ctx, app, changes)
}

// Put applies changes as Update does, and makes the accounts that do not exist yet: the first record of each is as the
// changes leave it. Where an Apply fails nothing is written. It gives everybody's ordinal.
func (d *Directory) Put(ctx context.Context, app push.AppID, changes []Change) (map[string]push.Ordinal, error) {
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.Account
	}
	for range attempts {
		users, ending, err := d.load(ctx, app, names)
		if err != nil {
			return nil, err
		}
		for _, o := range ending {
			if err := d.end(ctx, app, o); err != nil {
				return nil, err
			}
		}
		var fresh []string
		for _, n := range names {
			if _, exists := users[n]; !exists {
				users[n] = User{Record: push.Record{Account: n}}
				fresh = append(fresh, n)
			}
		}
		changed, err := apply(users, changes)
		if err != nil {
			return nil, err
		}
		err = d.create(app, fresh, users)
		if errors.Is(err, broker.ErrConflict) {
			continue // somebody else registered one of them meanwhile: look again
		}
		if err != nil {
			return nil, err
		}
		err = d.writeRecords(ctx, app, changed, users)
		if errors.Is(err, broker.ErrConflict) {
			continue // somebody else changed or completed one of them meanwhile
		}
		if err != nil {
			return nil, err
		}
		ordinals := make(map[string]push.Ordinal, len(users))
		for n, u := range users {
			ordinals[n] = u.Ordinal
		}
		return ordinals, nil
	}
	return nil, fmt.Errorf("write %d accounts: %w", len(names), errBusy)
}

// apply applies changes to users, in their order, and gives the names of those whose records are to be written: of what has
// none yet, and of what is another than it was.
func apply(users map[string]User, changes []Change) (changed []string, err error) {
	before := map[string]push.Record{}
	for _, c := range changes {
		if c.Apply == nil {
			continue
		}
		u := users[c.Account]
		if _, kept := before[c.Account]; u.was != nil && !kept {
			before[c.Account] = u.Record.Clone()
		}
		if err := c.Apply(&u.Record); err != nil {
			return nil, err
		}
		users[c.Account] = u
	}
	seen := make(map[string]struct{}, len(users))
	for _, c := range changes {
		if _, twice := seen[c.Account]; twice {
			continue
		}
		seen[c.Account] = struct{}{}
		u := users[c.Account]
		if was, kept := before[c.Account]; u.was == nil || kept && !u.Record.Equal(&was) {
			changed = append(changed, c.Account)
		}
	}
	return changed, nil
}

// create registers names that are no accounts, and sets their ordinals.
func (d *Directory) create(app push.AppID, names []string, users map[string]User) error {
	msgs := make([]broker.Message, len(names))
	for i, n := range names {
		msgs[i] = broker.Message{Subject: wire.AccountSubject(app, n)}.Once()
	}
	seqs, err := d.b.Write(wire.AccountsStream(app), msgs...)
	if err != nil {
		return err
	}
	for i, n := range names {
		u := users[n]
		u.Ordinal = push.Ordinal(seqs[i])
		users[n] = u
	}
	return nil
}

// record is the message that makes a user's record what u says, if it is still as u was read. What it was goes into its
// past, for as long as there are pushes that saw it.
func (d *Directory) record(app push.AppID, u User) (broker.Message, error) {
	m := broker.Message{Subject: wire.UserSubject(app, d.b.Sharding().Shard(u.Ordinal), u.Ordinal)}
	if u.was == nil {
		m.Data = wire.AppendRecord(nil, &u.Record)
		return m.Once(), nil
	}
	was, err := wire.DecodeVersion(u.was.Data, u.was.Seq, u.was.Time, u.was.Header[wire.HeaderBefore])
	if err != nil {
		return m, fmt.Errorf("read the past of account %q: %w", u.Record.Account, err)
	}
	m.Data = wire.AppendRecordAfter(nil, &u.Record, was.Next(&u.Record, d.b.Retention()))
	return m.After(was.Seq), nil
}

// writeRecords writes the records of some users, those of a shard together.
func (d *Directory) writeRecords(ctx context.Context, app push.AppID, names []string, users map[string]User) error {
	byShard := map[push.Shard][]broker.Message{}
	for _, n := range names {
		u := users[n]
		m, err := d.record(app, u)
		if err != nil {
			return err
		}
		s := d.b.Sharding().Shard(u.Ordinal)
		byShard[s] = append(byShard[s], m)
	}
	for shard, msgs := range byShard {
		if err := d.b.EnsureShard(ctx, app, shard); err != nil {
			return err
		}
		if _, err := d.b.Write(wire.UsersStream(app, shard), msgs...); err != nil {
			return err
		}
	}
	return nil
}

// Change is what is to become of one account's record.
type Change struct {
	Account string
	// Apply changes the record, or says why it cannot be changed; nil changes nothing. It may be called several times, each
	// time on a fresh copy, and must then do the same.
	Apply func(*push.Record) error
}

// Update applies changes, all or none: when an account does not exist (AccountError) or an Apply fails, nothing is
// written. Changes of one account are applied in their order. Accounts of one shard change in one atomic batch; when they
// are of several and the broker fails between, the caller repeats the call.
func (d *Directory) Update(ctx context.Context, app push.AppID, changes []Change) error {
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.Account
	}
	for range attempts {
		users, _, err := d.load(ctx, app, names)
		if err != nil {
			return err
		}
		for _, n := range names {
			if _, exists := users[n]; !exists {
				return &AccountError{n}
			}
		}
		changed, err := apply(users, changes)
		if err != nil {
			return err
		}
		err = d.writeRecords(ctx, app, changed, users)
		if !errors.Is(err, broker.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("change %d records: %w", len(changes), errBusy)
}

// Delete ends an account and gives the ordinal that it had; AccountError when there is none.
func (d *Directory) Delete(ctx context.Context, app push.AppID, name string) (push.Ordinal, error) {
	for range attempts {
		users, ending, err := d.load(ctx, app, []string{name})
		if err != nil {
			return 0, err
		}
		if o, begun := ending[name]; begun {
			return o, d.end(ctx, app, o)
		}
		u, exists := users[name]
		if !exists {
			return 0, &AccountError{name}
		}
		u.Record = push.Record{Account: name, Deleted: true}
		err = d.writeRecords(ctx, app, []string{name}, map[string]User{name: u})
		if errors.Is(err, broker.ErrConflict) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return u.Ordinal, d.end(ctx, app, u.Ordinal)
	}
	return 0, fmt.Errorf("delete account %q: %w", name, errBusy)
}

// end completes the deletion of an account whose tombstone stands. The account goes last: by it a repeat finds what is left.
func (d *Directory) end(ctx context.Context, app push.AppID, ordinal push.Ordinal) error {
	if err := d.DeleteDevices(ctx, app, ordinal); err != nil {
		return err
	}
	return d.b.Delete(ctx, wire.AccountsStream(app), uint64(ordinal))
}
