package broker

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
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
