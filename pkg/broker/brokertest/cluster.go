package brokertest

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
)

// Servers are brokers in the test's process whose embedded servers are one cluster.
type Servers struct {
	t       testing.TB
	configs []broker.Config
	brokers []*broker.Broker // nil where it is stopped
}

// Cluster starts three, with three replicas of everything, and stops what is left of them when the test ends.
func Cluster(t testing.TB, change ...func(*broker.Config)) *Servers {
	t.Helper()
	s := &Servers{t: t, configs: Configs(t, 3), brokers: make([]*broker.Broker, 3)}
	for i := range s.configs {
		for _, c := range change {
			c(&s.configs[i])
		}
	}
	t.Cleanup(func() {
		for i := range s.brokers {
			s.Stop(i)
		}
	})
	s.Start(0, 1, 2)
	return s
}

// Configs are those of n embedded servers that listen, and of a cluster where they are more than one.
func Configs(t testing.TB, n int) []broker.Config {
	t.Helper()
	configs := make([]broker.Config, n)
	client, route := addresses(t, n), addresses(t, n)
	for i := range configs {
		cfg := broker.Default()
		cfg.Dir, cfg.Replicas, cfg.Listen = t.TempDir(), n, client[i]
		if n > 1 {
			cfg.Cluster = broker.Cluster{Name: "test", Node: fmt.Sprintf("n%d", i), Listen: route[i]}
			for j, r := range route {
				if j != i {
					cfg.Cluster.Routes = append(cfg.Cluster.Routes, r)
				}
			}
		}
		configs[i] = cfg
	}
	return configs
}

// The ports of addresses lie below those that systems give to outgoing connections, which would take one between its being
// found and its being used: servers of a cluster call each other again and again until all are there.
const (
	firstPort = 10_000
	lastPort  = 32_767
)

// addresses are free ones of the loopback interface, drawn so that tests beside each other seldom draw the same.
func addresses(t testing.TB, n int) (found []string) {
	t.Helper()
	for tries := 0; len(found) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", firstPort+rand.IntN(lastPort-firstPort+1)))
		if err == nil {
			defer l.Close()
			found = append(found, l.Addr().String())
		} else if tries > 100*n {
			t.Fatal(err)
		}
	}
	return found
}

// Start opens brokers, all at the same time, since one alone waits for others.
func (s *Servers) Start(which ...int) {
	s.t.Helper()
	var wg sync.WaitGroup
	for _, i := range which {
		wg.Go(func() {
			b, err := broker.Open(s.t.Context(), s.configs[i], slog.New(slog.DiscardHandler))
			if err != nil {
				s.t.Errorf("open broker %d of the cluster: %v", i, err)
				return
			}
			s.brokers[i] = b
		})
	}
	wg.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// Stop closes one, unless it is.
func (s *Servers) Stop(i int) {
	if b := s.brokers[i]; b != nil {
		s.brokers[i] = nil
		b.Close()
	}
}

// Broker is the one that was started last at that place.
func (s *Servers) Broker(i int) *broker.Broker { return s.brokers[i] }

// URL of one server.
func (s *Servers) URL(i int) string { return "nats://" + s.configs[i].Listen }

// Leader is which of them leads a stream.
func (s *Servers) Leader(stream string) int {
	s.t.Helper()
	for _, b := range s.brokers {
		if b == nil {
			continue
		}
		name, err := b.Leader(s.t.Context(), stream)
		if err != nil {
			s.t.Fatal(err)
		}
		for i, c := range s.configs {
			if c.Cluster.Node == name {
				return i
			}
		}
	}
	s.t.Fatalf("nobody leads %s", stream)
	return -1
}
