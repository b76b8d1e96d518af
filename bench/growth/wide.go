package growth

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-push/carillon/bench/fleet"
	"github.com/carillon-push/carillon/bench/report"
)

// wide measures what users, bytes of bitmaps and sessions cost, which narrow shards do not show: one shard as wide as those
// of the largest run, one process of each role.
func wide(ctx context.Context, o Options) (figures []report.Figure, err error) {
	s, err := build(ctx, 1, o.Check.Bits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	users := 1<<o.Check.Bits - 1
	if figures, err = s.widen(ctx, users); err != nil {
		return nil, fmt.Errorf("a wide shard: %w", err)
	}
	sessions := max(o.Check.Sessions/3, 1)
	before, err := s.resident()
	if err != nil {
		return nil, err
	}
	some, all, login, err := s.phases(ctx, o, sessions, users, 1)
	if err != nil {
		return nil, fmt.Errorf("a wide shard: %w", err)
	}
	add := func(what, unit string, value float64) report.Figure {
		figures = append(figures, report.New("growth: a wide shard, "+what, unit, value))
		return figures[len(figures)-1]
	}
	audience := Fleet{Users: float64(users), Width: float64(users)}.Audience(0.1)
	for _, role := range roles {
		add("a push to one in ten: CPU of the "+called[role], "ms", some.push.of(s.Of(role)...))
	}
	for _, role := range roles {
		add("a push to all: CPU of the "+called[role], "ms", all.push.of(s.Of(role)...))
	}
	add("a push to one in ten: bytes through the broker", "KB", some.push.bytes/1000)
	add("a push to one in ten: bytes of the streams", "KB", some.stored/1000)
	add("a push to one in ten: bytes of the audience", "KB", audience/1000)
	add("a push to all: from acceptance to the last audience", "ms", all.audience)
	add("a push to all: from acceptance to the last session", "ms", all.last)
	add("CPU of all processes a login", "ms", login)
	n := float64(sessions)
	add("resident memory of the gateways, a session", "bytes", (all.resident[fleet.Deliver]-before[fleet.Deliver])*mebi/n)
	for i := range figures {
		figures[i] = figures[i].Noting("%d users, of whom %d are online", users, sessions)
	}
	return figures, nil
}

// widen writes users while nobody but the broker is there, and says what they take of its memory and of a matcher's.
func (s *site) widen(ctx context.Context, users int) (figures []report.Figure, err error) {
	idle, err := s.resident()
	if err != nil {
		return nil, err
	}
	others := s.others()
	for _, p := range others {
		p.Kill()
	}
	server, n := s.Of(fleet.Broker)[0], float64(users)
	before, err := mebibytes(server)
	if err != nil {
		return nil, err
	}
	ordinals, err := s.names(ctx, 0, users)
	if err != nil {
		return nil, err
	}
	named, err := mebibytes(server)
	if err != nil {
		return nil, err
	}
	if err := s.records(ctx, 0, ordinals); err != nil {
		return nil, err
	}
	filled, err := mebibytes(server)
	if err != nil {
		return nil, err
	}
	bytes, err := s.bytes(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Up(ctx, others...); err != nil {
		return nil, err
	}
	loaded, err := s.resident()
	return []report.Figure{
		report.New("growth: a wide shard: memory of the broker, an account's name", "bytes", (named-before)*mebi/n),
		report.New("growth: a wide shard: memory of the broker, an account's record", "bytes", (filled-named)*mebi/n),
		report.New("growth: a wide shard: bytes of the streams, an account", "bytes", bytes/n),
		report.New("growth: a wide shard: resident memory of the matcher, a user", "bytes", (loaded[fleet.Matcher]-idle[fleet.Matcher])*mebi/n),
	}, err
}
