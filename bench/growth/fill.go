package growth

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/match"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	together = 1000 // accounts that are written at once
	writers  = 4
	// tenth is a tag that one user in ten has, at random.
	tenth = "tenth"
)

// account is the name of a user by number.
func account(i int) string { return "u" + strconv.Itoa(i) }

// accounts are those from one number to before another, so many, far apart: they are of all shards alike.
func accounts(n, of int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = account(i * (of / n))
	}
	return names
}

// inTenth says whether a user has the tag.
func inTenth(i int) bool {
	x := uint32(i)
	x = (x ^ x>>16) * 0x7feb352d
	x = (x ^ x>>15) * 0x846ca68b
	return (x^x>>16)%10 == 0
}

// fill writes accounts from one number to before another, with twenty tags and values each on average, as the directory
// writes them: the account, whose place is its ordinal, and its record.
func (s *site) fill(ctx context.Context, from, to int) error {
	for shard := range s.bits.Shard(push.Ordinal(to)) + 1 {
		if err := s.b.EnsureShard(ctx, service.App, shard); err != nil {
			return err
		}
	}
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for first := from; first < to && within.Err() == nil; first += together {
		g.Go(func() error { return s.write(first, min(first+together, to)) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	return ctx.Err()
}

func (s *site) write(from, to int) error {
	msgs := make([]broker.Message, 0, to-from)
	for i := from; i < to; i++ {
		msgs = append(msgs, broker.Message{Subject: wire.AccountSubject(service.App, account(i))}.Once())
	}
	seqs, err := s.b.Write(wire.AccountsStream(service.App), msgs...)
	if err != nil {
		return err
	}
	byShard := map[push.Shard][]broker.Message{}
	for n, seq := range seqs {
		i, ordinal := from+n, push.Ordinal(seq)
		rec := match.Record(uint32(i))
		if inTenth(i) {
			rec.AddTag(tenth)
		}
		shard := s.bits.Shard(ordinal)
		byShard[shard] = append(byShard[shard], broker.Message{
			Subject: wire.UserSubject(service.App, shard, ordinal), Data: wire.AppendRecord(nil, rec),
		}.Once())
	}
	for shard, msgs := range byShard {
		if _, err := s.b.Write(wire.UsersStream(service.App, shard), msgs...); err != nil {
			return err
		}
	}
	return nil
}
