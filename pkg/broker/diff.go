package broker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/push"
)

// Difference is one thing in which the broker is not as it is to be.
type Difference struct {
	// Stream or, where it is set, its consumer.
	Stream   string `json:"stream"`
	Consumer string `json:"consumer,omitempty"`
	// Field of its configuration; empty when the whole of it is missing, or is to be deleted.
	Field string `json:"field,omitempty"`
	Have  string `json:"have"`
	Want  string `json:"want"`
	// Remedy is what Migrate does about it.
	Remedy Remedy `json:"remedy"`
	// Harmless differences do not keep a role from starting.
	Harmless bool `json:"harmless"`
}

// Remedy is what ends a difference.
type Remedy string

// Remedies.
const (
	// Create makes what is missing.
	Create Remedy = "create"
	// Update changes it in place; what is stored stays.
	Update Remedy = "update"
	// Recreate is never done by Migrate: it would lose what is stored.
	Recreate Remedy = "recreate"
	// Delete takes away what earlier versions made and nothing uses.
	Delete Remedy = "delete"
)

func (d Difference) String() string {
	what := "stream " + d.Stream
	if d.Consumer != "" {
		what = "consumer " + d.Consumer + " of " + d.Stream
	}
	if d.Remedy == Delete {
		return what + " is not used any more"
	}
	if d.Field == "" {
		return what + " is missing"
	}
	return fmt.Sprintf("%s has %s %s, and needs %s", what, d.Field, d.Have, d.Want)
}

// Misfit is the error of streams that cannot be worked with.
type Misfit struct{ Differences []Difference }

func (m *Misfit) Error() string {
	var b strings.Builder
	b.WriteString("what the broker has does not fit:")
	for _, d := range m.Differences {
		fmt.Fprintf(&b, "\n  %s", d)
	}
	b.WriteString("\n`carillon admin topology` says what can be done about it, and does it with --apply")
	return b.String()
}

// field is one field of a configuration that is compared.
type field[C any] struct {
	name string
	show func(*C) string
	// set takes the field over from another; nil where the broker never lets it change.
	set func(to, from *C)
	// stuck says that this change is one that the broker refuses, of a field that it lets change otherwise.
	stuck func(have, want *C) bool
	// harmless says that one can work with have.
	harmless func(have, want *C) bool
}

// compare gives the differences of two configurations.
func compare[C any](fields []field[C], of Difference, have, want *C) (ds []Difference) {
	for _, f := range fields {
		d := of
		if d.Have, d.Want = f.show(have), f.show(want); d.Have == d.Want {
			continue
		}
		d.Field, d.Remedy = f.name, Update
		if f.set == nil || f.stuck != nil && f.stuck(have, want) {
			d.Remedy = Recreate
		}
		d.Harmless = f.harmless != nil && f.harmless(have, want)
		ds = append(ds, d)
	}
	return ds
}

type streamField = field[jetstream.StreamConfig]

// plain is a field that the broker lets change.
func plain[T any](name string, at func(*jetstream.StreamConfig) *T) streamField {
	return streamField{
		name: name,
		show: func(c *jetstream.StreamConfig) string { return fmt.Sprint(*at(c)) },
		set:  func(to, from *jetstream.StreamConfig) { *at(to) = *at(from) },
	}
}

// fixed is a field that the broker never lets change.
func fixed[T any](name string, at func(*jetstream.StreamConfig) *T) streamField {
	f := plain(name, at)
	f.set = nil
	return f
}

// lasting is a switch that cannot go from true to false, or, the other way round, from false to true.
func lasting(name string, to bool, at func(*jetstream.StreamConfig) *bool) streamField {
	f := plain(name, at)
	f.stuck = func(have, _ *jetstream.StreamConfig) bool { return *at(have) == to }
	return f
}

// streamFields are all that matters of a stream. What is not among them is the operator's: description, placement,
// compression, republishing, metadata.
var streamFields = []streamField{
	{
		name: "subjects",
		show: func(c *jetstream.StreamConfig) string {
			s := slices.Clone(c.Subjects)
			slices.Sort(s)
			return strings.Join(s, " ")
		},
		set: func(to, from *jetstream.StreamConfig) { to.Subjects = from.Subjects },
	},
	fixed("storage", func(c *jetstream.StreamConfig) *jetstream.StorageType { return &c.Storage }),
	{
		name: "retention", show: func(c *jetstream.StreamConfig) string { return c.Retention.String() },
		set: func(to, from *jetstream.StreamConfig) { to.Retention = from.Retention },
		stuck: func(have, want *jetstream.StreamConfig) bool {
			return have.Retention == jetstream.WorkQueuePolicy || want.Retention == jetstream.WorkQueuePolicy
		},
	},
	{
		name: "replicas", show: func(c *jetstream.StreamConfig) string { return fmt.Sprint(c.Replicas) },
		set:      func(to, from *jetstream.StreamConfig) { to.Replicas = from.Replicas },
		harmless: func(_, _ *jetstream.StreamConfig) bool { return true },
	},
	{
		name: "max age", show: func(c *jetstream.StreamConfig) string { return brief(c.MaxAge) },
		set: func(to, from *jetstream.StreamConfig) { to.MaxAge = from.MaxAge },
		// Longer is fine, and shorter as long as no push dies of it.
		harmless: func(have, want *jetstream.StreamConfig) bool {
			return have.MaxAge == 0 || want.MaxAge > 0 && have.MaxAge >= min(want.MaxAge, push.MaxLifetime*time.Second)
		},
	},
	plain("max messages", func(c *jetstream.StreamConfig) *int64 { return &c.MaxMsgs }),
	plain("max bytes", func(c *jetstream.StreamConfig) *int64 { return &c.MaxBytes }),
	plain("max message size", func(c *jetstream.StreamConfig) *int32 { return &c.MaxMsgSize }),
	plain("max messages a subject", func(c *jetstream.StreamConfig) *int64 { return &c.MaxMsgsPerSubject }),
	{
		name: "max consumers", show: func(c *jetstream.StreamConfig) string { return fmt.Sprint(c.MaxConsumers) },
		set: func(to, from *jetstream.StreamConfig) { to.MaxConsumers = from.MaxConsumers },
		// A shard for which there is no room is not made.
		harmless: func(_, _ *jetstream.StreamConfig) bool { return true },
	},
	plain("discard", func(c *jetstream.StreamConfig) *jetstream.DiscardPolicy { return &c.Discard }),
	plain("discard new a subject", func(c *jetstream.StreamConfig) *bool { return &c.DiscardNewPerSubject }),
	{
		name: "duplicates window", show: func(c *jetstream.StreamConfig) string { return brief(c.Duplicates) },
		set: func(to, from *jetstream.StreamConfig) { to.Duplicates = from.Duplicates },
	},
	plain("acknowledged by nobody", func(c *jetstream.StreamConfig) *bool { return &c.NoAck }),
	lasting("sealed", true, func(c *jetstream.StreamConfig) *bool { return &c.Sealed }),
	lasting("deny delete", true, func(c *jetstream.StreamConfig) *bool { return &c.DenyDelete }),
	lasting("deny purge", true, func(c *jetstream.StreamConfig) *bool { return &c.DenyPurge }),
	plain("allow rollup", func(c *jetstream.StreamConfig) *bool { return &c.AllowRollup }),
	plain("allow direct", func(c *jetstream.StreamConfig) *bool { return &c.AllowDirect }),
	lasting("allow message TTL", true, func(c *jetstream.StreamConfig) *bool { return &c.AllowMsgTTL }),
	plain("delete marker TTL", func(c *jetstream.StreamConfig) *time.Duration { return &c.SubjectDeleteMarkerTTL }),
	plain("allow atomic publish", func(c *jetstream.StreamConfig) *bool { return &c.AllowAtomicPublish }),
	fixed("allow counters", func(c *jetstream.StreamConfig) *bool { return &c.AllowMsgCounter }),
	{name: "mirror", show: func(c *jetstream.StreamConfig) string {
		if c.Mirror == nil {
			return "none"
		}
		return "of " + c.Mirror.Name
	}},
	// The broker would change them, but not go on where the old ones had come to.
	{name: "sources", show: func(c *jetstream.StreamConfig) string {
		if len(c.Sources) == 0 {
			return "none"
		}
		var all []string
		for _, s := range c.Sources {
			text := s.Name
			if s.FilterSubject != "" {
				text += " filtered by " + s.FilterSubject
			}
			if s.Consumer != nil {
				text += " by consumer " + s.Consumer.Name + " at " + s.Consumer.DeliverSubject
			}
			all = append(all, text)
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}},
	{name: "sharding.bits", show: func(c *jetstream.StreamConfig) string { return cmp.Or(c.Metadata[metaSharding], "none") }},
}

// brief is a duration as the configuration has it.
func brief(d time.Duration) string {
	if d == 0 {
		return "for ever"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// consumerFields are all that matters of a consumer that feeds a stream. Its start is not compared: it is in the past.
var consumerFields = []field[jetstream.ConsumerConfig]{
	{
		name: "filter", show: func(c *jetstream.ConsumerConfig) string { return c.FilterSubject },
		set: func(to, from *jetstream.ConsumerConfig) { to.FilterSubject = from.FilterSubject },
	},
	{
		name: "max deliver", show: func(c *jetstream.ConsumerConfig) string { return fmt.Sprint(c.MaxDeliver) },
		set: func(to, from *jetstream.ConsumerConfig) { to.MaxDeliver = from.MaxDeliver },
	},
	{name: "deliver subject", show: func(c *jetstream.ConsumerConfig) string { return c.DeliverSubject }},
	{name: "acknowledgements", show: func(c *jetstream.ConsumerConfig) string { return c.AckPolicy.String() }},
	{name: "flow control", show: func(c *jetstream.ConsumerConfig) string { return fmt.Sprint(c.FlowControl) }},
	{name: "idle heartbeat", show: func(c *jetstream.ConsumerConfig) string { return brief(c.IdleHeartbeat) }},
	{
		// Zero is as many as the stream, which changes with it.
		name: "replicas", show: func(c *jetstream.ConsumerConfig) string { return fmt.Sprint(c.Replicas) },
		set:      func(to, from *jetstream.ConsumerConfig) { to.Replicas = from.Replicas },
		harmless: func(_, _ *jetstream.ConsumerConfig) bool { return true },
	},
	{name: "storage in memory", show: func(c *jetstream.ConsumerConfig) string { return fmt.Sprint(c.MemoryStorage) }},
}
