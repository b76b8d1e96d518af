package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// Config says where the broker is.
type Config struct {
	// URL of the NATS servers, comma separated; empty for an embedded server.
	URL string
	// Auth is what this process shows to the servers of URL, and what the embedded server asks of others.
	Auth Auth
	// TLS of connections to the servers of URL; of the embedded server's own listeners.
	TLS TLS
	// Dir is the embedded server's data directory.
	Dir string
	// Listen is host:port where the embedded server takes other processes' connections; empty for none.
	Listen string
	// StoreLimit is how many bytes the embedded server may keep on disk; zero for what the disk has.
	StoreLimit int64
	// Sync is when the embedded server makes sure that the disk has what it accepted.
	Sync Sync
	// ElectionTimeout is after how long a silence of a leader an embedded server stands for election at the soonest; at the
	// latest after twice as long. It is the same for all embedded servers of a process.
	ElectionTimeout time.Duration
	// Cluster makes the embedded server one of several.
	Cluster Cluster
	// Replicas of every stream: 1, 3 or 5.
	Replicas int
	// Retention is how long pushes, audiences and receipts are kept: the longest lifetime and a day.
	Retention time.Duration
	// Tasks is how long the counts of a push are kept, from its acceptance.
	Tasks time.Duration
	// Sharding is fixed once an installation has data.
	Sharding push.Sharding
	// Name shows in the server's list of connections.
	Name string
}

// Auth is how processes prove to the broker who they are. At most one of the three kinds is set.
type Auth struct {
	User, Password string
	Token          string
	// Credentials is the path of a NATS credentials file; only for the servers of URL.
	Credentials string
}

// Set says whether there is anything to show.
func (a Auth) Set() bool { return a != Auth{} }

// TLS is paths of files in PEM.
type TLS struct {
	// CA signs the other side's certificates. Empty: the system's authorities for the servers of URL, and no certificate
	// is asked of those who connect to the embedded server.
	CA string
	// Cert and Key are what this side shows: both or neither.
	Cert, Key string
}

// Set says whether there is anything to encrypt with.
func (t TLS) Set() bool { return t != TLS{} }

// Cluster is the embedded server's place among others. Its zero value is a server alone.
type Cluster struct {
	// Name is the same in every server.
	Name string
	// Node is this server's own name, which stays as long as its data.
	Node string
	// Listen is host:port where the other servers reach this one.
	Listen string
	// Routes are the other servers' Listen addresses, as host:port.
	Routes []string
}

// Set says whether the server is one of several.
func (c Cluster) Set() bool { return c.Listen != "" }

// Sync is when a write is on the disk.
type Sync string

// Settings of Sync.
const (
	// SyncAlways: before it is answered.
	SyncAlways Sync = "always"
	// SyncInterval: within a second (syncInterval). Until then only the operating system has it, so that a kill loses
	// nothing, and a power cut that second.
	SyncInterval Sync = "interval"
)

// Default is an embedded broker without data directory, which has still to be set.
func Default() Config {
	return Config{
		Replicas: 1, Sync: SyncAlways, Retention: 8 * 24 * time.Hour, Tasks: 30 * 24 * time.Hour,
		Sharding: push.DefaultSharding, Name: "carillon", ElectionTimeout: DefaultElectionTimeout,
	}
}

// Validate says what is wrong, in a sentence.
func (c Config) Validate() error {
	switch {
	case c.URL == "" && c.Dir == "":
		return errors.New("an embedded broker needs a data directory")
	case !slices.Contains([]int{1, 3, 5}, c.Replicas):
		return fmt.Errorf("a stream has 1, 3 or 5 replicas, not %d", c.Replicas)
	case c.Retention < push.MaxLifetime*time.Second:
		return fmt.Errorf("a retention of %v is shorter than the longest lifetime, %v", c.Retention, push.MaxLifetime*time.Second)
	case c.Tasks < c.Retention:
		return fmt.Errorf("the counts of pushes are kept for %v, which is shorter than the pushes, %v", c.Tasks, c.Retention)
	case c.Sharding < 4 || c.Sharding > push.DefaultSharding:
		return fmt.Errorf("a shard has 4 to %d bits, not %d", push.DefaultSharding, c.Sharding)
	case (c.Auth.User == "") != (c.Auth.Password == ""):
		return errors.New("a user of the broker needs a password, and a password a user")
	case c.TLS.Cert == "" && c.TLS.Key != "" || c.TLS.Cert != "" && c.TLS.Key == "":
		return errors.New("a certificate for the broker needs its key, and a key its certificate")
	case c.URL == "":
		return c.validateEmbedded()
	}
	return nil
}

func (c Config) validateEmbedded() error {
	exposed := c.Listen != "" && !Loopback(c.Listen) || c.Cluster.Set() && !Loopback(c.Cluster.Listen)
	switch {
	case c.Sync != SyncAlways && c.Sync != SyncInterval:
		return fmt.Errorf("the embedded broker syncs %s or at an %s, not %q", SyncAlways, SyncInterval, c.Sync)
	case c.ElectionTimeout < MinElectionTimeout || c.ElectionTimeout > MaxElectionTimeout:
		return fmt.Errorf("an election timeout is %v to %v, not %v", MinElectionTimeout, MaxElectionTimeout, c.ElectionTimeout)
	case c.Auth.Credentials != "":
		return errors.New("a credentials file is for NATS servers; the embedded broker has users, or a token")
	case exposed && c.Auth.User == "" && c.Auth.Token == "":
		return errors.New("whoever reaches the embedded broker from elsewhere must prove who it is: it needs a user and a password, or a token")
	case c.Cluster.Set() && !Loopback(c.Cluster.Listen) && c.Auth.User == "":
		return errors.New("servers of a cluster prove who they are to each other by a user and a password")
	case c.TLS.CA != "" && c.TLS.Cert == "":
		return errors.New("an embedded broker that asks for certificates needs one of its own")
	case c.Cluster.Set() && (c.Cluster.Node == "" || c.Cluster.Name == ""):
		return errors.New("a server of a cluster needs a name of its own, and the cluster's")
	case c.Cluster.Set() && c.Replicas > len(c.Cluster.Routes)+1:
		return fmt.Errorf("%d replicas need as many servers, and the cluster has %d", c.Replicas, len(c.Cluster.Routes)+1)
	case !c.Cluster.Set() && c.Replicas != 1:
		return fmt.Errorf("the embedded broker is one server and cannot hold %d replicas", c.Replicas)
	}
	return nil
}

// Loopback says whether an address, host:port, can be reached from this machine alone.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
