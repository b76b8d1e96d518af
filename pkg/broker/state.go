package broker

import (
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/carillon-push/carillon/pkg/wire"
)

// State of the embedded server, as it is itself, without asking others of its cluster.
type State struct {
	// Store is how many bytes it keeps on disk, Limit how many it may, and Free how many the disk has left.
	Store, Limit, Free uint64
	// Streams by family, with what each takes; those in memory too.
	Streams map[string]uint64
	// Count of streams, those among them that have no leader, and replicas of those that it leads which are behind or gone.
	Count, Leaderless, Lagging int
	// Leader says whether the cluster has a leader; true for a server alone.
	Leader bool
}

// stateKeep is how long a state is good for: a scrape is cheap however often one comes.
const stateKeep = 5 * time.Second

type stateCache struct {
	mu    sync.Mutex
	at    time.Time
	state State
	err   error
}

// State asks the embedded server, at most once in five seconds; ok is false when there is none, or it does not say.
func (b *Broker) State() (s State, ok bool) {
	if b.srv == nil {
		return State{}, false
	}
	c := &b.state
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) > stateKeep {
		c.state, c.err = stateOf(b.srv, b.cfg.Dir)
		c.at = time.Now()
	}
	return c.state, c.err == nil
}

func stateOf(srv *server.Server, dir string) (State, error) {
	info, err := srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return State{}, err
	}
	s := State{Store: info.Store, Limit: uint64(max(info.Config.MaxStore, 0)), Streams: map[string]uint64{}, Leader: true}
	if info.Meta != nil {
		s.Leader = info.Meta.Leader != ""
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err == nil {
		s.Free = disk.Bavail * uint64(disk.Bsize)
	}
	for _, a := range info.AccountDetails {
		for _, st := range a.Streams {
			s.Count++
			s.Streams[wire.Family(st.Name)] += st.State.Bytes
			if st.Cluster == nil {
				continue
			}
			if st.Cluster.Leader == "" {
				s.Leaderless++
			}
			if st.Cluster.Leader != srv.Name() {
				continue // only the leader knows of the others
			}
			for _, r := range st.Cluster.Replicas {
				if !r.Current || r.Offline {
					s.Lagging++
				}
			}
		}
	}
	return s, nil
}

var (
	descStore      = prometheus.NewDesc("carillon_broker_store_bytes", "Bytes that the embedded server keeps on disk.", nil, nil)
	descStoreLimit = prometheus.NewDesc("carillon_broker_store_limit_bytes", "Bytes that it may keep there (nats.store_limit).", nil, nil)
	descStoreFree  = prometheus.NewDesc("carillon_broker_store_free_bytes", "Bytes that the disk under it has left.", nil, nil)
	descStreams    = prometheus.NewDesc("carillon_broker_streams", "Streams that the embedded server holds.", nil, nil)
	descBytes      = prometheus.NewDesc("carillon_broker_stream_bytes", "Bytes of these streams, by family: the stream's name without app and shard.", []string{"family"}, nil)
	descLeaderless = prometheus.NewDesc("carillon_broker_streams_leaderless", "Streams of the embedded server that have no leader.", nil, nil)
	descLagging    = prometheus.NewDesc("carillon_broker_replicas_lagging", "Replicas, of streams that the embedded server leads, that are behind or gone.", nil, nil)
	descMessages   = prometheus.NewDesc("carillon_broker_messages_total", "Messages that have passed the embedded server's connections, by direction: in, out. One that goes to three is three.", []string{"direction"}, nil)
	descPassed     = prometheus.NewDesc("carillon_broker_passed_bytes_total", "Bytes of these messages, by direction.", []string{"direction"}, nil)
	descLeader     = prometheus.NewDesc("carillon_broker_cluster_leader", "1 while the embedded server knows a leader of its cluster, or is alone; else 0.", nil, nil)

	stateDescs = []*prometheus.Desc{descStore, descStoreLimit, descStoreFree, descStreams, descBytes, descLeaderless, descLagging, descLeader, descMessages, descPassed}
)

func (b *Broker) collectState(gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	s, ok := b.State()
	if !ok {
		return
	}
	leader := 0.0
	if s.Leader {
		leader = 1
	}
	gauge(descStore, float64(s.Store))
	gauge(descStoreLimit, float64(s.Limit))
	gauge(descStoreFree, float64(s.Free))
	gauge(descStreams, float64(s.Count))
	gauge(descLeaderless, float64(s.Leaderless))
	gauge(descLagging, float64(s.Lagging))
	gauge(descLeader, leader)
	for family, bytes := range s.Streams {
		gauge(descBytes, float64(bytes), family)
	}
}

// collectPassed asks the embedded server at each scrape: rates are made of these counts.
func (b *Broker) collectPassed(count func(d *prometheus.Desc, v float64, labels ...string)) {
	if b.srv == nil {
		return
	}
	v, err := b.srv.Varz(nil)
	if err != nil {
		return
	}
	count(descMessages, float64(v.InMsgs), "in")
	count(descMessages, float64(v.OutMsgs), "out")
	count(descPassed, float64(v.InBytes), "in")
	count(descPassed, float64(v.OutBytes), "out")
}
