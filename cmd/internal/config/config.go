// Package config is what an operator can set, where it comes from, and what is wrong with it.
//
// A setting is taken from, the later the stronger: its default, the YAML file of the flag --config, the environment
// (CARILLON_HTTP_LISTEN is http.listen), its flag (--http.listen). A variable that is empty counts as not set. The keys
// with their defaults, meanings and bounds stand in one table (Keys), from which the flags are made and by which the file
// configs/carillon.yaml is checked.
//
// Whatever is wrong stops the process before it has done anything, all of it at once, each in a sentence that names
// the key, where its value came from, the value and what would be right. A secret is never in such a sentence.
package config

import (
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// Config is all settings. What they mean is said once, in the table of keys.
type Config struct {
	Data          string        `mapstructure:"data"`
	HTTP          HTTP          `mapstructure:"http"`
	Sessions      Sessions      `mapstructure:"sessions"`
	Admin         Admin         `mapstructure:"admin"`
	Receipts      Receipts      `mapstructure:"receipts"`
	Matcher       Matcher       `mapstructure:"matcher"`
	Offline       Offline       `mapstructure:"offline"`
	Notifications Notifications `mapstructure:"notifications"`
	NATS          NATS          `mapstructure:"nats"`
	Sharding      Sharding      `mapstructure:"sharding"`
	Retention     Retention     `mapstructure:"retention"`
	Quotas        Quotas        `mapstructure:"quotas"`
	Log           Log           `mapstructure:"log"`
	Tracing       Tracing       `mapstructure:"tracing"`
	Health        Health        `mapstructure:"health"`
	Stop          Stop          `mapstructure:"stop"`
	// Apps may be empty: what is to become of that is the caller's choice.
	Apps []App `mapstructure:"apps"`
}

// HTTP is the operators' side. Limits are in bytes.
type HTTP struct {
	Listen         string        `mapstructure:"listen"`
	BodyLimit      int64         `mapstructure:"body_limit"`
	MessageLimit   int           `mapstructure:"message_limit"`
	ReadTimeout    time.Duration `mapstructure:"read_timeout"`
	WriteTimeout   time.Duration `mapstructure:"write_timeout"`
	MaxConnections int           `mapstructure:"max_connections"`
	CORSOrigins    string        `mapstructure:"cors_origins"`
	TLSCert        string        `mapstructure:"tls_cert"`
	TLSKey         string        `mapstructure:"tls_key"`
}

// Origins are those of CORSOrigins.
func (h HTTP) Origins() []string { return split(h.CORSOrigins) }

// TLS says whether REST is served over HTTPS.
func (h HTTP) TLS() bool { return h.TLSCert != "" }

// Sessions is the users' side. Queue and FrameLimit are in bytes.
type Sessions struct {
	Listen           string        `mapstructure:"listen"`
	Heartbeat        time.Duration `mapstructure:"heartbeat"`
	PerAccount       int           `mapstructure:"per_account"`
	Max              int           `mapstructure:"max"`
	Queue            int           `mapstructure:"queue"`
	FrameLimit       int           `mapstructure:"frame_limit"`
	LoginsPerSecond  int           `mapstructure:"logins_per_second"`
	HandshakeTimeout time.Duration `mapstructure:"handshake_timeout"`
	MaxHandshakes    int           `mapstructure:"max_handshakes"`
	Drain            time.Duration `mapstructure:"drain"`
	IOUring          string        `mapstructure:"io_uring"`
	TLSCert          string        `mapstructure:"tls_cert"`
	TLSKey           string        `mapstructure:"tls_key"`
}

// Ring says whether live pushes are sent by io_uring where the kernel allows it.
func (s Sessions) Ring() bool { return s.IOUring == "auto" }

// TLS says whether sessions are served over TLS.
func (s Sessions) TLS() bool { return s.TLSCert != "" }

// Admin is the side of who runs the service.
type Admin struct {
	Listen string `mapstructure:"listen"`
}

// Receipts is how acknowledgements are gathered.
type Receipts struct {
	Interval time.Duration `mapstructure:"interval"`
}

// Matcher is how matchers divide the shards, and keep their indexes.
type Matcher struct {
	Standby          int           `mapstructure:"standby"`
	SnapshotInterval time.Duration `mapstructure:"snapshot_interval"`
}

// Offline is how offline workers divide the shards.
type Offline struct {
	Standby int `mapstructure:"standby"`
}

// NATS is the broker: the embedded one, or that of URL.
type NATS struct {
	URL             string        `mapstructure:"url"`
	User            string        `mapstructure:"user"`
	Password        Secret        `mapstructure:"password"`
	Token           Secret        `mapstructure:"token"`
	Credentials     string        `mapstructure:"credentials"`
	TLSCA           string        `mapstructure:"tls_ca"`
	TLSCert         string        `mapstructure:"tls_cert"`
	TLSKey          string        `mapstructure:"tls_key"`
	Replicas        int           `mapstructure:"replicas"`
	Listen          string        `mapstructure:"listen"`
	Sync            string        `mapstructure:"sync"`
	StoreLimit      int64         `mapstructure:"store_limit"`
	ElectionTimeout time.Duration `mapstructure:"election_timeout"`
	Node            string        `mapstructure:"node"`
	ClusterName     string        `mapstructure:"cluster_name"`
	ClusterListen   string        `mapstructure:"cluster_listen"`
	ClusterRoutes   string        `mapstructure:"cluster_routes"`
}

// Routes are those of ClusterRoutes.
func (n NATS) Routes() []string { return split(n.ClusterRoutes) }

// Clustered says whether the embedded broker is one of several.
func (n NATS) Clustered() bool { return n.ClusterListen != "" }

// Embedded says whether the broker runs in this process.
func (n NATS) Embedded() bool { return n.URL == "" }

// Sharding is how accounts are divided.
type Sharding struct {
	Bits push.Sharding `mapstructure:"bits"`
}

// Retention is how long the broker's logs keep things.
type Retention struct {
	Pushes time.Duration `mapstructure:"pushes"`
	Tasks  time.Duration `mapstructure:"tasks"`
}

// Quotas is how the apps' quotas are counted.
type Quotas struct {
	TimeZone string `mapstructure:"time_zone"`
}

// Location is the time zone, which Validate has checked.
func (q Quotas) Location() *time.Location {
	l, err := time.LoadLocation(q.TimeZone)
	if err != nil {
		return time.UTC
	}
	return l
}

// Log is how the process reports.
type Log struct {
	Level  string `mapstructure:"level"`
	Format string `mapstructure:"format"`
	Access string `mapstructure:"access"`
}

// Tracing is where the process reports the way of pushes.
type Tracing struct {
	Endpoint string  `mapstructure:"endpoint"`
	Headers  Secret  `mapstructure:"headers"`
	Sample   float64 `mapstructure:"sample"`
}

// Pairs are those of Headers, by name.
func (t Tracing) Pairs() map[string]string {
	pairs := map[string]string{}
	for _, p := range split(string(t.Headers)) {
		name, value, _ := strings.Cut(p, "=")
		pairs[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return pairs
}

// Health is when the process calls itself unwell.
type Health struct {
	StuckAfter time.Duration `mapstructure:"stuck_after"`
}

// Stop is how the process ends.
type Stop struct {
	Timeout time.Duration `mapstructure:"timeout"`
}

// Default is the configuration of a process for which nothing was set.
func Default() *Config {
	c, faults := decode(defaults(), func(string) string { return "the defaults" })
	if len(faults) > 0 {
		// The table is a constant of the program, and a test decodes it.
		panic(faults)
	}
	return c
}
