package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/notify"
	"github.com/carillon-push/carillon/pkg/broker"
)

const (
	workerPart = "worker"
	// vendor is the channel that everybody's device is on.
	vendor = "fcm"
)

// errand is what a worker is told first. Any value after it opens the gate.
type errand struct {
	Broker string // URL
	Grace  time.Duration
}

// gate is a vendor that holds all back until it is opened, and then takes all at once.
type gate chan struct{}

func (g gate) Send(ctx context.Context, _ *channel.Notice, tokens []string) []channel.Result {
	select { // opening it wakes it, ctx ends it
	case <-g:
		return slices.Repeat([]channel.Result{{Outcome: channel.Sent}}, len(tokens))
	case <-ctx.Done():
		return slices.Repeat([]channel.Result{{Outcome: channel.Later, Reason: channel.ReasonStopped}}, len(tokens))
	}
}

func (gate) Revoke(_ context.Context, _ *channel.Notice, tokens, _ []string) []channel.Result {
	return slices.Repeat([]channel.Result{{Outcome: channel.Refused, Reason: channel.ReasonOther}}, len(tokens))
}

func (gate) Revokes() bool { return false }

// work plays a worker until the input ends. It says true when every shard is ready.
func work(in *json.Decoder, out *json.Encoder) error {
	var e errand
	if err := in.Decode(&e); err != nil {
		return fmt.Errorf("read the errand: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cfg := broker.Default()
	cfg.URL = e.Broker
	b, err := broker.Connect(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer b.Close()
	open, conf := make(gate), notify.Default()
	conf.Grace = e.Grace
	conf.Apps = []notify.App{{ID: service.App, Channels: map[string]notify.Sender{vendor: open}}}
	n, err := notify.New(conf, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for n.Ready() != nil {
		select { // the ticker wakes it, the worker's end ends it
		case <-tick.C:
		case err := <-ended:
			return err
		}
	}
	if err := out.Encode(true); err != nil {
		return fmt.Errorf("say that the worker is ready: %w", err)
	}
	var word json.RawMessage
	if in.Decode(&word) == nil {
		close(open)
		untilEnd(in)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
