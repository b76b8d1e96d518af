package logins

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	shard      = 0
	users      = 1 << 20 // of the shard
	publishers = 16
)

// requests runs the offline role over as many live pushes as are asked for, for each of which every other user of a shard
// waits, and asks for the inboxes of users at random: alone, with so many requests together as there are logins, and
// gathered, as a gateway does when they come all at once.
func requests(ctx context.Context, o Options, alone, gathered *outcome) error {
	return roles.OnBroker(ctx, func(b *broker.Broker) error {
		if err := b.EnsureShard(ctx, service.App, shard); err != nil {
			return err
		}
		if err := audiences(ctx, b, o.Live); err != nil {
			return fmt.Errorf("publish audiences: %w", err)
		}
		return roles.Offline(ctx, b, func(*offline.Offline) error {
			if err := ask(ctx, b, o, 1, o.Together, alone); err != nil {
				return err
			}
			return ask(ctx, b, o, o.gathered(), gatherers, gathered)
		})
	})
}

// audiences publishes them as a matcher does.
func audiences(ctx context.Context, b *broker.Broker, n int) error {
	expire := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(publishers)
	for i := range n {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			words := make([]uint64, users/64)
			for w := range words {
				words[w] = r.Uint64()
			}
			data, err := wire.EncodeBitmap(roaring.FromDense(words, false))
			if err != nil {
				return err
			}
			_, _, err = b.Publish(ctx, broker.Message{
				Subject: wire.AudienceSubject(service.App, shard, push.Seq(i+1)), Data: data, Header: map[string]string{wire.HeaderExpire: expire},
			}.Once())
			return err
		})
	}
	return g.Wait()
}

// gatherers is how many requests a gateway has under way before logins gather for one.
const gatherers = 2

// gathered is how many logins a request is for, then.
func (o Options) gathered() int { return max(1, o.Together/gatherers) }

// ask waits until the worker has folded all audiences, and then measures requests for so many users each, so many together.
func ask(ctx context.Context, b *broker.Broker, o Options, of, together int, into *outcome) error {
	last, err := b.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return err
	}
	subject := wire.InboxSubject(service.App, shard)
	// request gives the fewest pushes that wait for one of the users.
	request := func(ctx context.Context) (waiting int, err error) {
		locals := make([]uint32, of)
		for i := range locals {
			locals[i] = rand.Uint32N(users)
		}
		data, err := b.Request(ctx, subject, wire.EncodeInboxRequest(wire.InboxRequest{Locals: locals, Audiences: last}))
		if err != nil {
			return 0, err
		}
		all, err := wire.DecodeInboxes(data)
		if err == nil && len(all) != of {
			err = fmt.Errorf("%d of %d users have an answer", len(all), of)
		}
		if err != nil {
			return 0, err
		}
		waiting = len(all[0])
		for _, seqs := range all {
			waiting = min(waiting, len(seqs))
		}
		return waiting, nil
	}
	begin, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		waiting, err := request(begin)
		if err == nil && waiting > 0 {
			break
		}
		if begin.Err() != nil {
			return fmt.Errorf("wait for the worker: %w", errors.Join(begin.Err(), err))
		}
	}
	requests := max(1, o.Inboxes/of)
	_, err = spread(ctx, requests/10, together, func(ctx context.Context, _ int) error {
		_, err := request(ctx)
		return err
	})
	if err != nil {
		return err
	}
	before, began := roles.CPU(), time.Now()
	took, err := spread(ctx, requests, together, func(ctx context.Context, _ int) error {
		waiting, err := request(ctx)
		if err == nil && waiting == 0 && o.Live > 100 {
			err = errors.New("nothing waits for a user")
		}
		return err
	})
	into.add(took, time.Since(began), roles.CPU()-before, of)
	return err
}
