package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// reachable starts a broker with an app and a shard, and another connection to it.
func reachable(t *testing.T) (*broker.Broker, jetstream.JetStream) {
	t.Helper()
	b := brokertest.Start(t, func(c *broker.Config) { c.Listen = "127.0.0.1:0" })
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureShard(t.Context(), app, 0); err != nil {
		t.Fatal(err)
	}
	_, js := client(t, b.ListenURL())
	return b, js
}

func topology(t *testing.T, b *broker.Broker) []broker.Difference {
	t.Helper()
	ds, err := b.Topology(t.Context(), []push.AppID{app})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// What Topology says of each field is what the broker does: it takes an update, or refuses it. Migrate does the first and
// leaves alone what is the second.
func TestTopologyKnowsEveryField(t *testing.T) {
	t.Parallel()
	b, js := reachable(t)
	if ds := topology(t, b); len(ds) != 0 {
		t.Fatalf("what was just made differs: %v", ds)
	}
	for _, c := range []struct {
		stream, field string
		remedy        broker.Remedy
		harmless      bool
		change        func(*jetstream.StreamConfig)
	}{
		{"PUSHES", "subjects", broker.Update, false, func(c *jetstream.StreamConfig) { c.Subjects = []string{"push.7.>"} }},
		{"PUSHES", "storage", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		{"AUDIENCES", "retention", broker.Update, false, func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		{"AUDIENCES", "retention", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }},
		{"AUDIENCES", "max age", broker.Update, true, func(c *jetstream.StreamConfig) { c.MaxAge = 9 * 24 * time.Hour }},
		{"AUDIENCES", "max age", broker.Update, true, func(c *jetstream.StreamConfig) { c.MaxAge = 0 }},
		{"AUDIENCES", "max age", broker.Update, false, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"ACCOUNTS_7", "max age", broker.Update, false, func(c *jetstream.StreamConfig) { c.MaxAge = 9 * 24 * time.Hour }},
		{"ACCOUNTS_7", "max messages", broker.Update, false, func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }},
		{"AUDIENCES", "max consumers", broker.Update, true, func(c *jetstream.StreamConfig) { c.MaxConsumers = -1 }},
		{"OBJ_INDEX", "max age", broker.Update, false, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"OBJ_INDEX", "subjects", broker.Update, false, func(c *jetstream.StreamConfig) { c.Subjects = []string{"$O.INDEX.C.>"} }},
		{"ACCOUNTS_7", "max bytes", broker.Update, false, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }},
		{"ACCOUNTS_7", "max message size", broker.Update, false, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 }},
		{"DEVICES_7", "max messages a subject", broker.Update, false, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }},
		{"KV_QUOTAS", "discard", broker.Update, false, func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }},
		{"KV_QUOTAS", "discard new a subject", broker.Update, false, func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true }},
		{"PUSHES", "duplicates window", broker.Update, false, func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }},
		{"RECEIPTS", "acknowledged by nobody", broker.Update, false, func(c *jetstream.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false }},
		{"RECEIPTS", "deny delete", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.DenyDelete = true }},
		{"RECEIPTS", "deny purge", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.DenyPurge = true }},
		{"KV_QUOTAS", "deny delete", broker.Update, false, func(c *jetstream.StreamConfig) { c.DenyDelete = false }},
		{"KV_QUOTAS", "allow rollup", broker.Update, false, func(c *jetstream.StreamConfig) { c.AllowRollup = false }},
		{"ACCOUNTS_7", "allow direct", broker.Update, false, func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		{"PUSHES", "allow message TTL", broker.Update, false, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false }},
		{"AUDIENCES", "allow message TTL", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }},
		{"KV_PENDING", "delete marker TTL", broker.Update, false, func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = time.Minute }},
		{"ACCOUNTS_7", "allow atomic publish", broker.Update, false, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }},
		{"RATES", "allow counters", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.AllowMsgCounter = false }},
		{"KV_QUOTAS", "sources", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "RECEIPTS"}} }},
		{"ACCOUNTS_7", "sharding.bits", broker.Recreate, false, func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"carillon-sharding": "9"} }},
	} {
		name := c.stream + " " + c.field
		is := func(ctx context.Context) jetstream.StreamConfig {
			st, err := js.Stream(ctx, c.stream)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return st.CachedInfo().Config
		}
		right := is(t.Context())
		changed := right
		c.change(&changed)
		changed.Description = "an operator's"
		remake(t, js, name, changed)

		ds := topology(t, b)
		var d broker.Difference
		for _, of := range ds {
			if of.Field == c.field {
				d = of
			}
		}
		if d.Stream != c.stream || d.Remedy != c.remedy || d.Harmless != c.harmless || d.Have == d.Want {
			t.Errorf("%s: got %+v", name, ds)
		}
		before := is(t.Context())
		if err := b.Migrate(t.Context(), []push.AppID{app}); err != nil {
			t.Errorf("%s: migrate: %v", name, err)
		}
		after := is(t.Context())
		if after.Description != "an operator's" {
			t.Errorf("%s: what is the operator's has changed", name)
		}
		if ds := topology(t, b); (c.remedy == broker.Update) != (len(ds) == 0) {
			t.Errorf("%s: migrated, and still %v", name, ds)
		}
		// Sources and metadata are the exceptions: the broker would take them, and it would be wrong.
		if c.remedy == broker.Recreate && c.field != "sources" && c.field != "sharding.bits" {
			if _, err := js.UpdateStream(t.Context(), right); err == nil {
				t.Errorf("%s: the broker takes an update from %v", name, before)
			}
		}
		remake(t, js, name, right)
	}
}

// remake makes a stream anew with another configuration.
func remake(t *testing.T, js jetstream.JetStream, name string, cfg jetstream.StreamConfig) {
	t.Helper()
	if err := js.DeleteStream(t.Context(), cfg.Name); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	// The consumers of PUSHES went with it.
	if cfg.Name == wire.PushesStream {
		users := wire.UsersStream(app, 0)
		_, err := js.CreatePushConsumer(t.Context(), cfg.Name, jetstream.ConsumerConfig{
			Durable: users, DeliverSubject: wire.SourceSubject(users), FilterSubject: wire.PushFilter(app),
			DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckFlowControlPolicy,
			FlowControl: true, IdleHeartbeat: time.Second, MaxDeliver: -1,
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// A stream that is not there is made, and a consumer that feeds a shard goes on where the one before it had come to: no push
// is missing and none is there twice.
func TestMigrateMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b, js := reachable(t)
	users := wire.UsersStream(app, 0)
	pushed := func(name string) {
		if _, _, err := b.Publish(t.Context(), broker.Message{Subject: wire.PushSubject(app, name)}.Once()); err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(want ...string) {
		t.Helper()
		var got []string
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := b.Fold(ctx, broker.FoldConfig{Stream: users, Filter: wire.PushFilter(app), Handle: func(m *broker.Message) error {
			if got = append(got, m.Subject); len(got) == len(want) {
				cancel()
			}
			return nil
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("the shard has %v: %v", got, err)
		}
		for i, w := range want {
			if got[i] != wire.PushSubject(app, w) {
				t.Errorf("push %d of the shard is %s, not %s", i, got[i], w)
			}
		}
	}
	migrated := func(next string) {
		t.Helper()
		if err := js.DeleteConsumer(t.Context(), wire.PushesStream, users); err != nil {
			t.Fatal(err)
		}
		pushed(next)
		ds := topology(t, b)
		if len(ds) != 1 || ds[0].Consumer != users || ds[0].Remedy != broker.Create || ds[0].Harmless {
			t.Fatalf("got %v", ds)
		}
		if err := b.EnsureApp(t.Context(), app); !errors.As(err, new(*broker.Misfit)) {
			t.Errorf("a role starts without the shard's pushes: %v", err)
		}
		if err := b.Migrate(t.Context(), []push.AppID{app}); err != nil {
			t.Fatal(err)
		}
		if ds := topology(t, b); len(ds) != 0 {
			t.Errorf("migrated, and still %v", ds)
		}
	}
	migrated("first")
	pushed("a")
	pushed("b")
	arrived("first", "a", "b")
	migrated("c")
	arrived("first", "a", "b", "c")

	if err := js.DeleteStream(t.Context(), wire.ReceiptsStream); err != nil {
		t.Fatal(err)
	}
	if ds := topology(t, b); len(ds) != 1 || ds[0].Stream != wire.ReceiptsStream || ds[0].Remedy != broker.Create {
		t.Errorf("got %v", ds)
	}
	if err := b.Migrate(t.Context(), []push.AppID{app}); err != nil {
		t.Fatal(err)
	}
	if ds := topology(t, b); len(ds) != 0 {
		t.Errorf("migrated, and still %v", ds)
	}
}

// What earlier versions made and nothing uses is shown, keeps no role from starting, and goes.
func TestMigrateDeletesWhatIsNotUsed(t *testing.T) {
	t.Parallel()
	b, js := reachable(t)
	users, unused := wire.UsersStream(app, 0), wire.UnusedStream(app)
	_, err := js.CreatePushConsumer(t.Context(), users, jetstream.ConsumerConfig{
		Durable: wire.UnusedConsumer, DeliverSubject: "source.unused", AckPolicy: jetstream.AckFlowControlPolicy,
		FlowControl: true, IdleHeartbeat: time.Second, MaxDeliver: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: unused, Sources: []*jetstream.StreamSource{
		{Name: users, Consumer: &jetstream.StreamConsumerSource{Name: wire.UnusedConsumer, DeliverSubject: "source.unused"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []broker.Difference{
		{Stream: unused, Remedy: broker.Delete, Harmless: true},
		{Stream: users, Consumer: wire.UnusedConsumer, Remedy: broker.Delete, Harmless: true},
	}
	ds := topology(t, b)
	if !slices.Equal(ds, want) || !strings.HasSuffix(ds[1].String(), "is not used any more") {
		t.Errorf("got %v", ds)
	}
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Error(err)
	}
	if err := b.Migrate(t.Context(), []push.AppID{app}); err != nil {
		t.Fatal(err)
	}
	if ds := topology(t, b); len(ds) != 0 {
		t.Errorf("migrated, and still %v", ds)
	}
	if _, err := js.Stream(t.Context(), unused); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream: %v", err)
	}
}

// A stream of which each shard has consumers takes more than the broker's default of 1,000.
func TestMoreConsumersThanTheDefault(t *testing.T) {
	t.Parallel()
	b, js := reachable(t)
	consumers := func(stream string) (made int) {
		t.Helper()
		var g errgroup.Group
		g.SetLimit(32)
		var ok atomic.Int64
		for range 1100 {
			g.Go(func() error {
				_, err := js.CreateConsumer(t.Context(), stream, jetstream.ConsumerConfig{
					AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: time.Hour,
				})
				if err == nil {
					ok.Add(1)
				}
				var api *jetstream.APIError
				if errors.As(err, &api) && api.ErrorCode == maximumConsumers {
					return nil
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		return int(ok.Load())
	}
	if n := consumers(wire.AudiencesStream); n != 1100 {
		t.Errorf("%s took %d consumers", wire.AudiencesStream, n)
	}
	if n := consumers(wire.AccountsStream(app)); n != 1000 {
		t.Errorf("%s, which says nothing, took %d consumers: then no stream needs to say more", wire.AccountsStream(app), n)
	}
	// A stream of an earlier version takes more once it is migrated.
	st, err := js.Stream(t.Context(), wire.ReceiptsStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxConsumers = -1
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := b.Migrate(t.Context(), []push.AppID{app}); err != nil {
		t.Fatal(err)
	}
	if n := consumers(wire.ReceiptsStream); n != 1100 {
		t.Errorf("%s took %d consumers", wire.ReceiptsStream, n)
	}
}

// maximumConsumers is the broker's code for a stream that has as many as it may have.
const maximumConsumers jetstream.ErrorCode = 10026

// A stream that does not fit stops a start, which says what is wrong; one that differs harmlessly does not.
func TestMisfitStopsTheStart(t *testing.T) {
	t.Parallel()
	cfg := broker.Default()
	cfg.Dir = t.TempDir()
	open := func() error {
		b, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			err = b.EnsureApp(t.Context(), app)
			b.Close()
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	cfg.Retention += time.Hour
	if err := open(); err != nil {
		t.Errorf("another retention: %v", err)
	}
	cfg.Sharding = 10
	err := open()
	var misfit *broker.Misfit
	if !errors.As(err, &misfit) || len(misfit.Differences) != 1 {
		t.Fatalf("another sharding: %v", err)
	}
	for _, part := range []string{"stream ACCOUNTS_7 has sharding.bits 20, and needs 10", "carillon admin topology"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// One server becomes three: the same streams, and what is in them, get replicas.
func TestMigrateAddsReplicas(t *testing.T) {
	t.Parallel()
	servers := brokertest.Cluster(t, func(c *broker.Config) { c.Replicas = 1 })
	b := servers.Broker(0)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureShard(t.Context(), app, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(wire.AccountsStream(app), account("u").Once()); err != nil {
		t.Fatal(err)
	}
	cfg := broker.Default()
	cfg.URL, cfg.Replicas = servers.URL(0)+","+servers.URL(1), 3
	to, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for _, d := range topology(t, to) {
		if d.Field != "replicas" || !d.Harmless || d.Remedy != broker.Update {
			t.Errorf("got %+v", d)
		}
	}
	if err := to.Migrate(t.Context(), []push.AppID{app}); err != nil {
		t.Fatal(err)
	}
	if ds := topology(t, to); len(ds) != 0 {
		t.Errorf("migrated, and still %v", ds)
	}
	if m, err := to.Last(t.Context(), wire.AccountsStream(app), account("u").Subject); err != nil || m.Seq != 1 {
		t.Errorf("after it: %+v, %v", m, err)
	}
}
