package broker

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/wire"
)

// join makes the embedded server one of a cluster.
func (c Config) join(opts *server.Options, secure *tls.Config) error {
	host, port, err := hostPort("nats.cluster_listen", c.Cluster.Listen)
	if err != nil {
		return err
	}
	opts.ServerName = c.Cluster.Node
	opts.Cluster = server.ClusterOpts{
		Name: c.Cluster.Name, Host: host, Port: port, Username: c.Auth.User, Password: c.Auth.Password,
		TLSConfig: secure, TLSTimeout: tlsTimeout,
	}
	// A replica that catches up from a snapshot learns from it how far its stream has copied its source: otherwise it
	// would copy old pushes again, once it leads.
	opts.FeatureFlags = map[string]bool{server.FeatureFlagJsSnapshotSources: true}
	for _, r := range c.Cluster.Routes {
		u := &url.URL{Scheme: "nats", Host: r}
		if c.Auth.User != "" {
			u.User = url.UserPassword(c.Auth.User, c.Auth.Password) // the server's log leaves it out
		}
		opts.Routes = append(opts.Routes, u)
	}
	return nil
}

// hostPort reads an address; a port of 0 is any that is free.
func hostPort(key, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q is not host:port: %w", key, address, err)
	}
	if text == "0" {
		return host, -1, nil
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("%s %q has no port number: %w", key, address, err)
	}
	return host, port, nil
}

// How long a start waits for the broker: for servers that are there, and for the others of a cluster that is formed here,
// which may be started by hand.
const (
	answerWait  = 30 * time.Second
	clusterWait = 2 * time.Minute
)

// How long a try may take: a question, and making a stream.
const (
	askTime  = 500 * time.Millisecond
	makeTime = 2 * time.Second
)

func (b *core) patience() time.Duration {
	if b.cfg.URL == "" && b.cfg.Cluster.Set() {
		return clusterWait
	}
	return answerWait
}

// settle tries again what a cluster cannot do yet: one that has just begun has no leaders, or too few servers, and
// containers start in any order. A try has a time, since what has no leader yet is not answered at all. It gives up after
// patience.
func (b *core) settle(ctx context.Context, what string, each time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, b.patience())
	defer cancel()
	told := time.Now()
	for {
		once, stop := context.WithTimeout(ctx, each)
		err := try(once)
		stop()
		if err == nil || !unsettled(err) {
			return err
		}
		if time.Since(told) > 2*time.Second {
			told = time.Now()
			b.log.Info("waiting for the broker", "to", what, "err", err)
		}
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("the broker at %s cannot %s: %w", place(b.cfg.URL), what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Codes of a cluster that cannot do something now and will.
const (
	codeNoPeers       jetstream.ErrorCode = 10005 // fewer servers are there than a stream has replicas
	codeStreamOffline jetstream.ErrorCode = 10118
)

// unsettled says whether an error may go by itself. A stream that another process is making exists for who makes it, and not
// yet for who looks it up.
func unsettled(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 503 || api.ErrorCode == codeNoPeers || api.ErrorCode == codeStreamOffline || api.ErrorCode == jetstream.JSErrCodeStreamNotFound
	}
	return errors.Is(err, ErrNotFound) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// ConsumerLeader is the name of the server that leads a consumer, empty for one without replicas.
func (b *Broker) ConsumerLeader(ctx context.Context, stream, consumer string) (string, error) {
	m, err := b.in.Conn().RequestWithContext(ctx, wire.ConsumerInfoSubject(stream, consumer), nil) // pulled from or not
	if err != nil {
		return "", fmt.Errorf("look up consumer %s of %s: %w", consumer, stream, err)
	}
	var info jetstream.ConsumerInfo
	refused, err := apiRefusal(m)
	if err == nil && refused != nil {
		err = refused
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &info)
	}
	if err != nil {
		return "", fmt.Errorf("look up consumer %s of %s: %w", consumer, stream, err)
	}
	if info.Cluster == nil {
		return "", nil
	}
	return info.Cluster.Leader, nil
}

// Leader is the name of the server that leads a stream, empty for a server alone.
func (b *Broker) Leader(ctx context.Context, stream string) (string, error) {
	s, err := b.in.Stream(ctx, stream)
	if err != nil {
		return "", fmt.Errorf("look up stream %s: %w", stream, err)
	}
	if c := s.CachedInfo().Cluster; c != nil {
		return c.Leader, nil
	}
	return "", nil
}
