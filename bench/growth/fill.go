package growth

import (
	"context"
	"fmt"
	"slices"
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
	ordinals, err := s.names(ctx, from, to)
	if err != nil {
		return err
	}
	return s.records(ctx, from, ordinals)
}

// inParts does something with a thousand numbers at a time, some at once.
func inParts(ctx context.Context, n int, do func(from, to int) error) error {
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for from := 0; from < n && within.Err() == nil; from += together {
		g.Go(func() error { return do(from, min(from+together, n)) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	return ctx.Err()
}

// names writes the accounts alone, and gives their ordinals.
func (s *site) names(ctx context.Context, first, to int) ([]push.Ordinal, error) {
	ordinals := make([]push.Ordinal, to-first)
	err := inParts(ctx, len(ordinals), func(from, to int) error {
		var msgs []broker.Message
		for i := from; i < to; i++ {
			msgs = append(msgs, broker.Message{Subject: wire.AccountSubject(service.App, account(first+i))}.Once())
		}
		seqs, err := s.b.Write(wire.AccountsStream(service.App), msgs...)
		for n, seq := range seqs {
			ordinals[from+n] = push.Ordinal(seq)
		}
		return err
	})
	return ordinals, err
}

// records writes those of accounts from one number on.
func (s *site) records(ctx context.Context, first int, ordinals []push.Ordinal) error {
	for shard := range s.bits.Shard(slices.Max(ordinals)) + 1 {
		if err := s.b.EnsureShard(ctx, service.App, shard); err != nil {
			return err
		}
	}
	return inParts(ctx, len(ordinals), func(from, to int) error {
		byShard := map[push.Shard][]broker.Message{}
		for i := from; i < to; i++ {
			rec := match.Record(uint32(first + i))
			if inTenth(first + i) {
				rec.AddTag(tenth)
			}
			shard := s.bits.Shard(ordinals[i])
			byShard[shard] = append(byShard[shard], broker.Message{
				Subject: wire.UserSubject(service.App, shard, ordinals[i]), Data: wire.AppendRecord(nil, rec),
			}.Once())
		}
		for shard, msgs := range byShard {
			if _, err := s.b.Write(wire.UsersStream(service.App, shard), msgs...); err != nil {
				return err
			}
		}
		return nil
	})
}
