// Package rest measures what an operator's server can do through the REST interface: import accounts, change tags and
// attributes, and push. The service is the real binary with every role in one process, and answers when its broker has
// synced to disk. What a single writer gets from such a broker, one message after the other, is measured beside it: what
// is above that is owed to writes that share a sync.
package rest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Options of a run. Use Default and change what differs.
type Options struct {
	// Users imported in a repeat; each then gets tags, and a value of an attribute.
	Users int
	// Callers at once, each with one call under way.
	Callers int
	// Pushes of a repeat, one after the other: alone, and again beside an import.
	Pushes int
	// Singles are the messages of the single writer.
	Singles int
	// Repeats, each with a fresh service.
	Repeats int
}

// Default measures for about a minute.
func Default() Options {
	return Options{Users: 100_000, Callers: 16, Pushes: 500, Singles: 2000, Repeats: 3}
}

// Short is a run for tests; what it measures means nothing.
func Short() Options { return Options{Users: 400, Callers: 2, Pushes: 5, Singles: 5, Repeats: 1} }

// Validate says what cannot work.
func (o Options) Validate() error {
	if o.Users < together || o.Users%together != 0 {
		return fmt.Errorf("there are %d users; they go %d a call, and there must be at least that many", o.Users, together)
	}
	if o.Callers < 1 || o.Pushes < 1 || o.Singles < 1 || o.Repeats < 1 {
		return errors.New("callers, pushes, singles and repeats must be at least 1")
	}
	return nil
}

// together is how many users one call may name.
const together = 100

// outcome of all repeats: rates a second, times in milliseconds.
type outcome struct {
	imported, importCPU          []float64 // users; CPU-seconds of the service for a thousand of them
	lines, lineCPU               []float64 // users with attributes and tags
	tagged, tags, tagCPU         []float64 // users, their tags; CPU-seconds for a thousand users
	valued                       []float64 // users
	alone50, alone99             []float64
	beside50, beside99, besideIn []float64 // the last: users imported beside
	single                       []float64 // messages
}

// Run measures.
func Run(ctx context.Context, o Options) ([]report.Figure, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("measure REST: %w", err)
	}
	var m outcome
	for i := range o.Repeats {
		if err := repeat(ctx, o, &m); err != nil {
			return nil, fmt.Errorf("measure REST, repeat %d of %d: %w", i+1, o.Repeats, err)
		}
		rate, err := single(ctx, o.Singles)
		if err != nil {
			return nil, fmt.Errorf("measure a single writer: %w", err)
		}
		m.single = append(m.single, rate)
	}
	return figures(o, m), nil
}

func figures(o Options, m outcome) []report.Figure {
	const against = ", against one durable write after the other"
	cpu := func(v []float64) string { return report.Text(report.Median(v...)) }
	return []report.Figure{
		report.New("accounts imported by multiaccount_import, 100 a call"+against, "users/s", m.imported...).Over(m.single...).AtLeast(50_000).
			Noting("%d callers; %s CPU-seconds of the service for 1,000; an account is two messages on the broker", o.Callers, cpu(m.importCPU)),
		report.New("users imported with 2 attributes and 5 tags each, as carillon import does it"+against, "users/s", m.lines...).Over(m.single...).
			Noting("%d callers of POST /v1/accounts, %d users a call; %s CPU-seconds of the service for 1,000", o.Callers, linesTogether, cpu(m.lineCPU)),
		report.New("users changed by im_add_tag, 100 a call with 1 to 10 tags each"+against, "users/s", m.tagged...).Over(m.single...).
			Noting("%s CPU-seconds of the service for 1,000", cpu(m.tagCPU)),
		report.New("tags added by im_add_tag, 100 users a call with 1 to 10 tags each", "tags/s", m.tags...).AtLeast(10_000),
		report.New("users changed by im_set_attr, 100 a call with one value each"+against, "users/s", m.valued...).Over(m.single...),
		report.New("push acceptance, durable, one at a time, p50", "ms", m.alone50...).AtMost(3),
		report.New("push acceptance, durable, one at a time, p99", "ms", m.alone99...),
		report.New("push acceptance while accounts are imported, p50", "ms", m.beside50...),
		report.New("push acceptance while accounts are imported, p99", "ms", m.beside99...).AtMost(15).
			Noting("%d callers import %s accounts a second beside", besideCallers, report.Text(report.Median(m.besideIn...))),
	}
}

// repeat measures everything once, on a fresh service.
func repeat(ctx context.Context, o Options, m *outcome) (err error) {
	p, err := service.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	c := caller{p, o}
	if err := c.call(ctx, "all_member_push/im_set_attr_name", map[string]any{"AttrNames": map[string]string{"0": "city", "1": "lang"}}); err != nil {
		return err
	}
	if _, err := c.load(ctx, importing, "warm-", together); err != nil { // makes the shard
		return err
	}
	imported, err := c.load(ctx, importing, "u", o.Users)
	if err != nil {
		return err
	}
	m.imported, m.importCPU = append(m.imported, imported.users), append(m.importCPU, imported.cpu)
	tagged, err := c.load(ctx, tagging, "u", o.Users)
	if err != nil {
		return err
	}
	m.tagged, m.tags, m.tagCPU = append(m.tagged, tagged.users), append(m.tags, tagged.users*meanTags), append(m.tagCPU, tagged.cpu)
	valued, err := c.load(ctx, valuing, "u", o.Users)
	if err != nil {
		return err
	}
	m.valued = append(m.valued, valued.users)

	took, err := c.pushes(ctx)
	if err != nil {
		return err
	}
	m.alone50, m.alone99 = append(m.alone50, report.Percentile(took, 50)), append(m.alone99, report.Percentile(took, 99))
	took, rate, err := c.pushesBeside(ctx)
	if err != nil {
		return err
	}
	m.beside50, m.beside99 = append(m.beside50, report.Percentile(took, 50)), append(m.beside99, report.Percentile(took, 99))
	m.besideIn = append(m.besideIn, rate)

	lines, err := c.measure(ctx, o.Users, linesTogether, c.lines)
	if err != nil {
		return err
	}
	m.lines, m.lineCPU = append(m.lines, lines.users), append(m.lineCPU, lines.cpu)
	return nil
}

// single publishes messages one after the other to an embedded broker with the service's settings, and gives how many
// that is a second.
func single(ctx context.Context, n int) (rate float64, err error) {
	err = roles.OnBroker(ctx, func(b *broker.Broker) error {
		start := time.Now()
		for i := range n {
			m := broker.Message{Subject: wire.AccountSubject(service.App, strconv.Itoa(i))}
			if _, _, err := b.Publish(ctx, m.Once()); err != nil {
				return err
			}
		}
		rate = float64(n) / time.Since(start).Seconds()
		return nil
	})
	return rate, err
}
