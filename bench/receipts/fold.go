package receipts

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	shard    = 0
	users    = 1 << 20 // of the shard, all of whom wait for each push
	live     = 16      // pushes
	acks     = 1000    // of a receipt, as a gateway gathers in a second
	together = 64      // receipts of one write
	patience = time.Minute
)

// fold has an offline role fold receipts that stand in the log when it starts, and gives how many acknowledgements it
// folds a CPU-second of the process. What it does without any receipts, which is to fold the audiences, is taken off.
func fold(ctx context.Context, n int) (rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = roles.OnBroker(ctx, func(b *broker.Broker) error {
		if err := b.EnsureShard(ctx, service.App, shard); err != nil {
			return err
		}
		expire := map[string]string{wire.HeaderExpire: strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}
		everybody := roaring.New()
		everybody.AddRange(0, users)
		data, err := wire.EncodeBitmap(everybody)
		if err != nil {
			return err
		}
		for seq := range push.Seq(live) {
			m := broker.Message{Subject: wire.AudienceSubject(service.App, shard, seq+1), Data: data, Header: expire}
			if _, _, err := b.Publish(ctx, m.Once()); err != nil {
				return fmt.Errorf("publish an audience: %w", err)
			}
		}
		without, err := until(ctx, b, 0)
		if err != nil {
			return err
		}
		last, err := acknowledge(b, n, expire)
		if err != nil {
			return fmt.Errorf("publish receipts: %w", err)
		}
		with, err := until(ctx, b, last)
		rate = float64(n) * acks / max(with-without, time.Microsecond).Seconds()
		return err
	})
	return rate, err
}

// acknowledge publishes receipts as a gateway does, and gives the last one's sequence.
func acknowledge(b *broker.Broker, n int, header map[string]string) (last uint64, err error) {
	r := rand.New(rand.NewPCG(7, 7))
	var batch []broker.Message
	for i := range n {
		receipt := wire.Receipt{Received: roaring.New()}
		for range acks {
			receipt.Received.Add(r.Uint32N(users))
		}
		data, err := wire.EncodeReceipt(receipt)
		if err != nil {
			return 0, err
		}
		batch = append(batch, broker.Message{Subject: wire.ReceiptSubject(service.App, shard, push.Seq(i%live+1)), Data: data, Header: header})
		if len(batch) < together && i < n-1 {
			continue
		}
		places, err := b.Write(wire.ReceiptsStream, batch...)
		if err != nil {
			return 0, err
		}
		last, batch = places[len(places)-1], batch[:0]
	}
	return last, nil
}

// until starts an offline role, and gives the CPU time of this process until it has folded all audiences, and receipts up
// to the given one.
func until(ctx context.Context, b *broker.Broker, receipts uint64) (used time.Duration, err error) {
	last, err := b.LastSeq(ctx, wire.AudiencesStream)
	if err != nil {
		return 0, err
	}
	request := wire.EncodeInboxRequest(wire.InboxRequest{Locals: []uint32{0}, Audiences: last, Receipts: receipts})
	before := roles.CPU()
	err = roles.Offline(ctx, b, func(*offline.Offline) error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			// It waits for the role to come so far, and fails while there is none.
			_, err := b.Request(ctx, wire.InboxSubject(service.App, shard), request)
			if err == nil {
				used = roles.CPU() - before
				return nil
			}
			select { // the ticker wakes it, ctx ends it
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			case <-tick.C:
			}
		}
	})
	return used, err
}
