package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
)

// Key is one thing that can be set.
type Key struct {
	// Name is the path in the file, such as "http.listen"; the flag's name is the same.
	Name string
	// Default is a string, an int, an int64, a float64, a time.Duration or, for lists, a slice.
	Default any
	// Usage is one or more sentences.
	Usage string
	// check says what is wrong with a value of the default's type, or nothing; nil allows every value.
	check check
}

// Env is the environment variable of the key.
func (k Key) Env() string { return envPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_")) }

const envPrefix = "CARILLON_"

var keys = []Key{
	{"data", "data", "The directory of the embedded broker's files and of the development app's key.", notEmpty},

	{"http.listen", "127.0.0.1:8080", "The address of the REST interface and, unless admin.listen is set, of /healthz, /readyz, /health and /metrics.", address},
	{"http.body_limit", int64(64 << 10), "Bytes of a request's body. A larger one is answered with HTTP 413.", between(1<<10, 16<<20)},
	{"http.message_limit", 12 << 10, "Bytes of a push's message. A larger one is answered with code 93000.", between(1<<10, 512<<10)},
	{"http.read_timeout", 10 * time.Second, "The time within which a request must have arrived.", durations(100*time.Millisecond, time.Hour)},
	{"http.write_timeout", 30 * time.Second, "The time within which a client must take each 64 KiB of an answer, and the service must begin one.", durations(100*time.Millisecond, time.Hour)},
	{"http.max_connections", 4096, "Connections at a time. One more is closed at once.", between(1, 1_000_000)},
	{"http.cors_origins", "", "The origins whose web pages may read answers, such as https://console.example, separated by commas; * for all. Empty: none.", origins},
	{"http.tls_cert", "", "The path of the certificate for HTTPS, in PEM, with those between it and the root. It is read again when it changes. Empty: plain HTTP.", nil},
	{"http.tls_key", "", "The path of the certificate's key, in PEM. It is read again when it changes.", nil},

	{"sessions.listen", "127.0.0.1:8081", "The address of the users' sessions (WebSocket).", address},
	{"sessions.heartbeat", time.Minute, "The time between two pings. A session that is silent for two of them is dropped.", durations(time.Second, time.Hour)},
	{"sessions.per_account", 10, "Sessions of one account. One more closes the oldest with code 4005.", between(1, 10_000)},
	{"sessions.max", 1_000_000, "Sessions of this process. One more is refused.", between(1, 100_000_000)},
	{"sessions.queue", 256 << 10, "Bytes that may wait for a session that reads slowly. More closes it with code 4003.", between(4<<10, 64<<20)},
	{"sessions.frame_limit", 32 << 10, "Bytes of one message from a client: an acknowledgement of 1024 pushes fits. A larger one closes the session with code 4004.", between(256, 64<<10)},
	{"sessions.logins_per_second", 10_000, "Logins a second that one process takes. One more is refused with HTTP 429; its client tries again.", between(1, 1_000_000)},
	{"sessions.handshake_timeout", 10 * time.Second, "The time within which a session's HTTP request must have arrived.", durations(100*time.Millisecond, time.Hour)},
	{"sessions.max_handshakes", 16384, "Connections at a time that are not sessions yet. One more is closed at once.", between(1, 1_000_000)},
	{"sessions.drain", 5 * time.Second, "The time over which a process that stops closes its sessions, with code 1001, so that they do not all come back at once.", durations(0, time.Hour)},
	{"sessions.io_uring", "auto", "How live pushes are sent to sessions without TLS: auto, by io_uring where the kernel and the container allow it, with fewer system calls; or off, one by one.", oneOf("auto", "off")},
	{"sessions.tls_cert", "", "The path of the certificate for sessions over TLS, in PEM, with those between it and the root. It is read again when it changes. Empty: no TLS.", nil},
	{"sessions.tls_key", "", "The path of the certificate's key, in PEM. It is read again when it changes.", nil},

	{"admin.listen", "", "The address of /healthz, /readyz, /health, /metrics and /debug/pprof, which others must not reach. Empty: they are at http.listen, without /debug/pprof.", optional(address)},

	{"receipts.interval", time.Second, "The time between two reports of what was acknowledged. A crash forgets that much, and those pushes are sent again at the next login.", durations(10*time.Millisecond, time.Minute)},

	{"matcher.standby", 1, "Matchers that keep a shard's index in memory beside the one that works with it, so that they go on at once when that is gone.", between(0, 8)},
	{"matcher.snapshot_interval", 5 * time.Minute, "The time between two looks at whether a shard's index has changed so much that it is written to the broker anew, for the next matcher to begin with.", durations(time.Second, 24*time.Hour)},

	{"offline.standby", 1, "Offline workers that keep a shard's pending pushes in memory beside the one that works with them.", between(0, 8)},

	{"notifications.grace", 3 * time.Second, "The time for which a push waits for acknowledgements before it goes to the phones of those who have sent none.", durations(0, time.Hour)},
	{"notifications.concurrency", 4, "Tasks of one channel, of up to 1,000 users each, that a process does at once.", between(1, 256)},
	{"notifications.device_idle", 180 * 24 * time.Hour, "The time after which a device that has not been heard of is forgotten. 0s: never.", durations(0, 10*366*24*time.Hour)},
	{"notifications.standby", 1, "Notification workers that know a shard's devices beside the one that works with them.", between(0, 8)},

	{"nats.url", "", "The addresses of the NATS servers, separated by commas. Empty: a broker runs in this process, its files under data.", servers},
	{"nats.user", "", "The user that this process is to the NATS servers; without nats.url, the one that the embedded broker asks of other processes and of the other servers of its cluster.", nil},
	{"nats.password", "", "The password of nats.user. It has no flag: set it here or in its variable.", nil},
	{"nats.token", "", "A token in place of a user and a password. It has no flag: set it here or in its variable.", nil},
	{"nats.credentials", "", "The path of the .creds file for the NATS servers. Empty: none.", nil},
	{"nats.tls_ca", "", "The path of the authority of the NATS servers' certificates, in PEM. Empty: those of the system. The embedded broker asks others for certificates of it. Empty: for none.", nil},
	{"nats.tls_cert", "", "The path of the certificate that this process shows to the NATS servers, or that the embedded broker shows at its addresses, in PEM. Empty: none.", nil},
	{"nats.tls_key", "", "The path of the certificate's key, in PEM.", nil},
	{"nats.replicas", 1, "Copies that the NATS servers keep of everything: 1, or 3 to survive the loss of a server.", oneOf(1, 3)},
	{"nats.listen", "", "The address at which other processes reach the embedded broker. Unless it is one of this machine alone, it needs nats.user or nats.token. Empty: none but this process.", optional(address)},
	{"nats.sync", "always", "When the embedded broker has what it accepted on disk: always, before it answers, or at an interval of a second. A kill loses nothing either way, a power cut that second.", oneOf("always", "interval")},
	{"nats.store_limit", int64(0), "Bytes on disk for the embedded broker. 0: what the disk has.", atLeast(0)},
	{"nats.election_timeout", broker.DefaultElectionTimeout, "The silence of a leader after which the embedded brokers of a cluster choose another, at the soonest; at the latest after twice as long. The same in all. NATS's own is 4s.", durations(broker.MinElectionTimeout, broker.MaxElectionTimeout)},
	{"nats.node", "", "The name of this process's server within its cluster, which stays with its data.", nil},
	{"nats.cluster_name", "carillon", "The name of the cluster of embedded brokers, the same in all.", notEmpty},
	{"nats.cluster_listen", "", "The address at which the other servers of a cluster of embedded brokers reach this one. Empty: it is alone.", optional(address)},
	{"nats.cluster_routes", "", "The nats.cluster_listen of the other servers, as host:port, separated by commas.", addresses},

	{"sharding.bits", int(push.DefaultSharding), "A shard has 2 to the power of this many accounts. It cannot be changed once there is data.", between(4, 20)},

	{"retention.pushes", 192 * time.Hour, "The time for which pushes, audiences and receipts are kept: at least the longest lifetime of a push, 168h.", durations(168*time.Hour, 366*24*time.Hour)},
	{"retention.tasks", 720 * time.Hour, "The time for which the counts of a push are kept, from its acceptance: at least retention.pushes.", durations(168*time.Hour, 366*24*time.Hour)},

	{"quotas.time_zone", "UTC", "The time zone at whose midnight the daily quotas begin anew, such as Asia/Shanghai.", timeZone},

	{"log.level", "info", "The least important level that is logged: debug, info, warn or error.", oneOf("debug", "info", "warn", "error")},
	{"log.format", "text", "The form of a log line: text or json.", oneOf("text", "json")},
	{"log.access", "failures", "The requests to http.listen of which each has a log line: all, failures or off.", oneOf("all", "failures", "off")},

	{"tracing.endpoint", "", "The URL of an OTLP/HTTP receiver of traces, such as http://collector:4318; without a path, /v1/traces. Empty: no traces.", optional(webURL)},
	{"tracing.headers", "", "Headers for it, as name=value, separated by commas. They have no flag: set them here or in their variable.", pairs},
	{"tracing.sample", 0.01, "The share of the pushes, from 0 to 1, whose way is traced. The push of a caller with a traceparent header is traced when the caller's request is.", share},

	{"health.stuck_after", 30 * time.Second, "The time after which something that should move and does not is called stuck: a fold with messages before it, a broker without an answer, a shard that nobody holds.", durations(100*time.Millisecond, time.Hour)},

	{"stop.timeout", 10 * time.Second, "The time that a process that is told to stop takes at most, beyond sessions.drain. What the broker has not taken by then is given up: whoever has no answer repeats, and acknowledgements that are lost make their pushes come again.", durations(time.Second, time.Hour)},

	{"apps", []any{}, "The apps. Empty: a development app with a key made at the first start.", nil},
}

// Keys are all keys, in the order of the file. Those of each element of apps are AppKeys.
func Keys() []Key { return slices.Clone(keys) }

// RegisterFlags adds --config and a flag for each key but secrets and apps, whose elements have no flags.
func RegisterFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "The path of the configuration file.")
	for _, k := range keys {
		if k.Secret() {
			continue
		}
		switch d := k.Default.(type) {
		case string:
			flags.String(k.Name, d, k.Usage)
		case int:
			flags.Int(k.Name, d, k.Usage)
		case int64:
			flags.Int64(k.Name, d, k.Usage)
		case float64:
			flags.Float64(k.Name, d, k.Usage)
		case time.Duration:
			flags.Duration(k.Name, d, k.Usage)
		}
	}
}

// defaults is the table as a tree of maps, as a file would be read.
func defaults() map[string]any {
	tree := make(map[string]any)
	for _, k := range keys {
		section, leaf, nested := strings.Cut(k.Name, ".")
		if !nested {
			tree[section] = k.Default
			continue
		}
		m, ok := tree[section].(map[string]any)
		if !ok {
			m = make(map[string]any)
			tree[section] = m
		}
		m[leaf] = k.Default
	}
	return tree
}

// describe is a value as it would stand in the file.
func describe(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}
