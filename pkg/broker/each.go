package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/wire"
)

// eachAtOnce is how many messages LastEach has in memory; one is at most a bitmap of 128 KiB.
const eachAtOnce = 64

// LastEach hands on the last messages of all subjects of a filter that have one when it begins, and of the subject with
// beside them, by subject, some at a time. However fast they are written anew, it comes to an end: a subject's message is
// the one that it has when it is read, and a subject that has none by then is absent.
//
// Each answer is what one server held at one moment, so that what with says there is true of all that is in it. An answer
// that breaks off is read again, and a lost broker awaited, until ctx ends or handle fails.
func (b *Broker) LastEach(ctx context.Context, stream, filter, with string, handle func(found map[string]*Message) error) error {
	var subjects []string
	err := b.again(ctx, "list the subjects of "+stream, func() (err error) {
		subjects, err = b.Subjects(ctx, stream, filter)
		return err
	})
	if err != nil {
		return err
	}
	subjects = slices.DeleteFunc(subjects, func(s string) bool { return s == with })
	subjects = append(subjects, with) // it alone, where there is nothing else
	for n := eachAtOnce; len(subjects) > 0; {
		var found map[string]*Message
		err := b.again(ctx, "read the last messages of "+stream, func() (err error) {
			n = min(n, len(subjects))
			some := subjects[:n]
			if some[n-1] != with {
				some = append(some[:n:n], with)
			}
			if found, err = b.lastOf(ctx, stream, some, 1); errors.Is(err, errPartial) {
				n = max(1, n/2) // it may have been more than the broker sends at once
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := handle(found); err != nil {
			return err
		}
		subjects = subjects[n:]
	}
	return nil
}

// AwaitLast is Last that awaits a lost broker; it gives nil for a subject without a message.
func (b *Broker) AwaitLast(ctx context.Context, stream, subject string) (m *Message, err error) {
	err = b.again(ctx, "read "+subject, func() (err error) {
		if m, err = b.Last(ctx, stream, subject); errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	return m, err
}

// again tries an operation until it succeeds or ctx ends.
func (b *Broker) again(ctx context.Context, what string, operation func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, maxBackoff) {
		err := operation()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		b.log.Warn(what+"; will try again", "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Subjects lists, in order, those of a filter that have messages in a stream, as the stream's leader knows them. One that
// has messages all the while is never left out; of one that comes or goes meanwhile either may be said.
func (b *Broker) Subjects(ctx context.Context, stream, filter string) ([]string, error) {
	all, err := joined(func(offset int) (page []string, total int, err error) {
		req, err := json.Marshal(struct {
			Filter string `json:"subjects_filter"`
			Offset int    `json:"offset"`
		}{filter, offset})
		if err != nil {
			return nil, 0, err
		}
		wait, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		var data []byte
		err = b.conns.answered(wait, func(ctx context.Context) error {
			answer, err := b.in.Conn().RequestWithContext(ctx, wire.StreamInfoSubject(stream), req)
			if err == nil {
				data = answer.Data
			}
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		var got struct {
			Error *jetstream.APIError `json:"error"`
			Total int                 `json:"total"`
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		if err := json.Unmarshal(data, &got); err != nil {
			return nil, 0, err
		}
		if got.Error != nil {
			return nil, 0, got.Error
		}
		return slices.Sorted(maps.Keys(got.State.Subjects)), got.Total, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the subjects of %s: %w", filter, err)
	}
	return all, nil
}

// joined makes one list of the pages that ask gives, each in order and from an offset on. The broker counts the offset
// anew for each page, and subjects that have gone meanwhile move others to the page before. Hence a page begins with the
// last subject of the one before, and where it begins with a later one, it is asked for from further ahead.
func joined(ask func(offset int) (page []string, total int, err error)) ([]string, error) {
	var all []string
	for offset := 0; ; {
		page, total, err := ask(offset)
		if err != nil {
			return nil, err
		}
		last := ""
		if len(all) > 0 {
			last = all[len(all)-1]
		}
		if offset > 0 && (len(page) == 0 || page[0] > last) {
			offset /= 2
			continue
		}
		fresh, _ := slices.BinarySearch(page, last+"\x00")
		all = append(all, page[fresh:]...)
		if offset += len(page); offset >= total {
			return all, nil
		}
		if len(page) < 2 {
			return nil, errPartial
		}
		offset--
	}
}
