package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/broker"
)

// BrokerConfig is what a configuration says of the broker.
func BrokerConfig(c *config.Config) broker.Config {
	n := c.NATS
	b := broker.Config{
		URL: n.URL, Dir: c.Data, Listen: n.Listen, StoreLimit: n.StoreLimit, Sync: broker.Sync(n.Sync), Replicas: n.Replicas,
		ElectionTimeout: n.ElectionTimeout,
		Auth:            broker.Auth{User: n.User, Password: string(n.Password), Token: string(n.Token), Credentials: n.Credentials},
		TLS:             broker.TLS{CA: n.TLSCA, Cert: n.TLSCert, Key: n.TLSKey},
		Retention:       c.Retention.Pushes, Tasks: c.Retention.Tasks, Sharding: c.Sharding.Bits, Name: "carillon",
	}
	if n.Clustered() {
		b.Cluster = broker.Cluster{Name: n.ClusterName, Node: n.Node, Listen: n.ClusterListen, Routes: n.Routes()}
	}
	return b
}

// openBroker opens the broker: with the streams that the roles need, or as it is.
func (a *App) openBroker(ctx context.Context, roles bool, log *slog.Logger) (err error) {
	if !roles {
		a.brokerOnly = true
		a.b, err = broker.Connect(ctx, BrokerConfig(a.cfg), log)
		return err
	}
	if len(a.cfg.Apps) == 0 {
		return errors.New("no apps are configured: set apps")
	}
	if a.b, err = broker.Open(ctx, BrokerConfig(a.cfg), log); err != nil {
		return err
	}
	return a.ensureApps(ctx, a.cfg.Apps)
}
