package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	app  = service.App
	poll = 5 * time.Millisecond
	// patience bounds a run.
	patience = 2 * time.Minute
	// together is how many users are registered in one batch: of each a list and a token's record.
	together = 500
	// alone is how many users the peer reads, each by itself.
	alone = 10_000
)

// cutting is what was measured of a push.
type cutting struct {
	cut            time.Duration
	tasks, shards  int
	before, memory int64   // bytes
	tokens, single float64 // a second of CPU time, the broker's too
	tokensWall     float64 // a second
	users          float64 // a second
	usersCPU       float64 // a second of the worker's CPU time
}

// cut registers devices, and has a push to everybody cut into tasks and done.
func cut(ctx context.Context, o Options) (c cutting, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = roles.OnBroker(ctx, func(b *broker.Broker) error { return c.measure(ctx, o, b) },
		func(cfg *broker.Config) { cfg.Listen = "127.0.0.1:0" })
	return c, err
}

func (c *cutting) measure(ctx context.Context, o Options, b *broker.Broker) (err error) {
	everybody := map[push.Shard]*roaring.Bitmap{}
	var registered []push.Ordinal
	r := rand.New(rand.NewPCG(9, 1))
	for i := range o.Users {
		ordinal := push.Ordinal(i + 1)
		users := everybody[b.Sharding().Shard(ordinal)]
		if users == nil {
			users = roaring.New()
			everybody[b.Sharding().Shard(ordinal)] = users
		}
		users.Add(b.Sharding().Local(ordinal))
		if r.IntN(o.Users-i) < o.Registered-len(registered) {
			registered = append(registered, ordinal)
		}
	}
	c.shards = len(everybody)
	for shard := range everybody {
		if err := b.EnsureShard(ctx, app, shard); err != nil {
			return err
		}
	}
	if err := register(ctx, b, registered); err != nil {
		return fmt.Errorf("register devices: %w", err)
	}
	p, err := spawn(ctx, workerPart)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var ready bool
	if err := errors.Join(p.say.Encode(errand{b.ListenURL(), o.Grace}), p.heard(&ready)); err != nil {
		return err
	}
	worker := service.Observed{PID: p.cmd.Process.Pid}
	if c.before, err = worker.RSS(); err != nil {
		return err
	}
	seq, err := c.accept(ctx, o, b, everybody)
	if err != nil {
		return fmt.Errorf("wait until a push is cut: %w", err)
	}
	if c.memory, err = worker.RSS(); err != nil {
		return err
	}
	queued, err := b.Subjects(ctx, wire.NotifyStream, wire.NotifyFilter(app, vendor))
	if err != nil {
		return err
	}
	if c.tasks = len(queued); c.tasks < o.Registered/wire.NotifySize {
		return fmt.Errorf("there are %d tasks for %d users", c.tasks, o.Registered)
	}
	if err := c.read(ctx, b, registered); err != nil {
		return fmt.Errorf("read devices: %w", err)
	}
	return c.finish(ctx, b, p, seq, len(registered))
}

// register writes the devices as package directory does, but many at once.
func register(ctx context.Context, b *broker.Broker, users []push.Ordinal) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	now := time.Now().Unix()
	for some := range slices.Chunk(users, together) {
		g.Go(func() error {
			var msgs []broker.Message
			for _, o := range some {
				token := fmt.Sprintf("token_of_a_phone:%0144d", o)
				hash := wire.TokenHash(vendor, token)
				list := wire.AppendDevices(nil, []wire.Device{{ID: hash, Channel: vendor, Token: token, Platform: "android", At: now, Seen: now}})
				msgs = append(msgs,
					broker.Message{Subject: wire.DeviceSubject(app, b.Sharding().Shard(o), o), Data: list},
					broker.Message{Subject: wire.TokenSubject(app, hash), Data: wire.EncodeTokenOwner(o)})
			}
			_, err := b.Write(wire.DevicesStream(app), msgs...)
			return errors.Join(err, ctx.Err())
		})
	}
	return g.Wait()
}

var errDone = errors.New("all have been seen")

// accept publishes a push and its audiences, as ingest and a matcher do, and waits until the last shard is cut.
func (c *cutting) accept(ctx context.Context, o Options, b *broker.Broker, everybody map[push.Shard]*roaring.Bitmap) (push.Seq, error) {
	now := time.Now()
	data, err := wire.EncodePush(&push.Push{
		App: app, Sender: "s", Caller: "c", At: now, Lifetime: time.Hour,
		Body: json.RawMessage(`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"It is on its way."}}]`),
	})
	if err != nil {
		return 0, err
	}
	number, _, err := b.Publish(ctx, broker.Message{Subject: wire.PushSubject(app, "bench"), Data: data})
	if err != nil {
		return 0, err
	}
	seq := push.Seq(number)
	expire := map[string]string{wire.HeaderExpire: strconv.FormatInt(now.Add(time.Hour).Unix(), 10)}
	places, last := map[push.Shard]uint64{}, uint64(0)
	for shard, users := range everybody {
		users.RunOptimize() // as the matcher does
		data, err := wire.EncodeBitmap(users)
		if err != nil {
			return 0, err
		}
		place, _, err := b.Publish(ctx, broker.Message{Subject: wire.AudienceSubject(app, shard, seq), Data: data, Header: expire}.Once())
		if err != nil {
			return 0, err
		}
		places[shard], last = place, max(last, place)
	}
	m, err := b.Get(ctx, wire.AudiencesStream, last)
	if err != nil {
		return 0, err
	}
	for shard, place := range places {
		err := b.Fold(ctx, broker.FoldConfig{
			Stream: wire.NoticesStream, Filter: wire.CutSubject(app, shard),
			Handle: func(m *broker.Message) error {
				at, err := wire.DecodePosition(m.Data)
				if err == nil && at.Audiences >= place {
					return errDone
				}
				return err
			},
		})
		if !errors.Is(err, errDone) {
			return 0, err
		}
	}
	c.cut = time.Since(m.Time.Add(o.Grace))
	return seq, nil
}

// read reads all devices, as tasks do, and some each by itself.
func (c *cutting) read(ctx context.Context, b *broker.Broker, users []push.Ordinal) error {
	dir := directory.New(b)
	rate := func(users []push.Ordinal, size int) (cpu, wall float64, err error) {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(callers)
		begin, before := time.Now(), roles.CPU()
		for some := range slices.Chunk(users, size) {
			g.Go(func() error {
				lists, err := dir.Devices(ctx, app, some...)
				if err == nil && len(lists) != len(some) {
					err = fmt.Errorf("%d of %d users have devices", len(lists), len(some))
				}
				return err
			})
		}
		err = g.Wait()
		n := float64(len(users))
		return n / (roles.CPU() - before).Seconds(), n / time.Since(begin).Seconds(), err
	}
	var err error
	if c.single, _, err = rate(users[:min(alone, len(users))], 1); err != nil {
		return err
	}
	c.tokens, c.tokensWall, err = rate(users, wire.NotifySize)
	return err
}

// finish opens the gate, and waits until it stands of everybody that the vendor has taken the push.
func (c *cutting) finish(ctx context.Context, b *broker.Broker, p *process, seq push.Seq, users int) error {
	worker := service.Observed{PID: p.cmd.Process.Pid}
	cpu, err := worker.CPU()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := p.say.Encode(true); err != nil {
		return fmt.Errorf("open the gate: %w", err)
	}
	left := users
	err = b.Fold(ctx, broker.FoldConfig{
		Stream: wire.NoticesStream, Filter: wire.OutcomeFilter(app, seq),
		Handle: func(m *broker.Message) error {
			o, err := wire.DecodeOutcome(m.Data, b.Sharding().Width())
			if err != nil || !o.Done {
				return err
			}
			for _, part := range o.Parts {
				if part.Result != channel.Sent.String() {
					return fmt.Errorf("users are %s", part.Result)
				}
				left -= int(part.Users.GetCardinality())
			}
			if left > 0 {
				return nil
			}
			return errDone
		},
	})
	if !errors.Is(err, errDone) {
		return fmt.Errorf("wait for what became of the tasks: %w", err)
	}
	took := time.Since(begin)
	after, err := worker.CPU()
	c.users, c.usersCPU = float64(users)/took.Seconds(), float64(users)/(after-cpu).Seconds()
	return err
}
