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
// waits, and asks for the inboxes of users at random.
func requests(ctx context.Context, o Options, into *outcome) error {
	return roles.OnBroker(ctx, func(b *broker.Broker) error {
		if err := b.EnsureShard(ctx, service.App, shard); err != nil {
			return err
		}
		if err := audiences(ctx, b, o.Live); err != nil {
			return fmt.Errorf("publish audiences: %w", err)
		}
		return roles.Offline(ctx, b, func(*offline.Offline) error { return ask(ctx, b, o, into) })
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

// ask waits until the worker has folded all audiences, and then measures.
func ask(ctx context.Context, b *broker.Broker, o Options, into *outcome) error {
	last, err := b.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return err
	}
	subject := wire.InboxSubject(service.App, shard)
	request := func(ctx context.Context, user uint32) (waiting int, err error) {
		data, err := b.Request(ctx, subject, wire.EncodeInboxRequest(wire.InboxRequest{Locals: []uint32{user}, Audiences: last}))
		if err != nil {
			return 0, err
		}
		all, err := wire.DecodeInboxes(data)
		if err != nil {
			return 0, err
		}
		return len(all[0]), nil
	}
	begin, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		waiting, err := request(begin, 1)
		if err == nil && waiting > 0 {
			break
		}
		if begin.Err() != nil {
			return fmt.Errorf("wait for the worker: %w", errors.Join(begin.Err(), err))
		}
	}
	_, err = spread(ctx, o.Inboxes/10, o.Together, func(ctx context.Context, _ int) error {
		_, err := request(ctx, rand.Uint32N(users))
		return err
	})
	if err != nil {
		return err
	}
	before, began := roles.CPU(), time.Now()
	took, err := spread(ctx, o.Inboxes, o.Together, func(ctx context.Context, _ int) error {
		waiting, err := request(ctx, rand.Uint32N(users))
		if err == nil && waiting == 0 && o.Live > 100 {
			err = errors.New("nothing waits for a user")
		}
		return err
	})
	into.add(took, time.Since(began), roles.CPU()-before)
	return err
}
