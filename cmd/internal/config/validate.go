package config

import (
	"net"

	"github.com/carillon-push/carillon/pkg/broker"
)

// Validate says what is wrong with the configuration: each key by itself, then what does not go together. The error is
// Faults.
func (c *Config) Validate() error {
	var faults Faults
	faults.check(keys, *c, "")
	if len(faults) == 0 {
		faults = c.contradictions()
	}
	return append(faults, validateApps(c.Apps)...).err()
}

// contradictions are settings of which one makes the other mean nothing, or wrong.
func (c *Config) contradictions() (faults Faults) {
	if int64(c.HTTP.MessageLimit) > c.HTTP.BodyLimit {
		faults.add("http.message_limit", "%d is more than http.body_limit, %d, so that no such message could arrive", c.HTTP.MessageLimit, c.HTTP.BodyLimit)
	}
	if c.HTTP.Listen == c.Sessions.Listen && fixedPort(c.HTTP.Listen) {
		faults.add("sessions.listen", "%q is also http.listen; operators and users need an address each", c.Sessions.Listen)
	}
	if fixedPort(c.Admin.Listen) && (c.Admin.Listen == c.HTTP.Listen || c.Admin.Listen == c.Sessions.Listen) {
		faults.add("admin.listen", "%q is taken by another listener; it needs an address of its own", c.Admin.Listen)
	}
	if c.Retention.Tasks < c.Retention.Pushes {
		faults.add("retention.tasks", "%v is shorter than retention.pushes, %v; a push would be forgotten before its log", c.Retention.Tasks, c.Retention.Pushes)
	}
	faults.half("http", "HTTPS", c.HTTP.TLSCert, c.HTTP.TLSKey)
	faults.half("sessions", "TLS", c.Sessions.TLSCert, c.Sessions.TLSKey)
	faults.half("nats", "TLS", c.NATS.TLSCert, c.NATS.TLSKey)
	return append(faults, c.NATS.contradictions()...)
}

func (n NATS) contradictions() (faults Faults) {
	if n.User != "" && n.Password == "" {
		faults.add("nats.password", "it is empty, and nats.user is not; a user needs one")
	}
	if n.User == "" && n.Password != "" {
		faults.add("nats.user", "it is empty, and nats.password is not; a password is a user's")
	}
	if n.Token != "" && n.User != "" {
		faults.add("nats.token", "there is nats.user too; leave one of them empty")
	}
	if n.Credentials != "" && (n.User != "" || n.Token != "") {
		faults.add("nats.credentials", "there is nats.user or nats.token too; leave one of them empty")
	}
	if n.Embedded() {
		return append(faults, n.embedded()...)
	}
	if n.Listen != "" {
		faults.add("nats.listen", "%q is for the embedded broker, and nats.url names another; leave one of them empty", n.Listen)
	}
	if n.ClusterListen != "" {
		faults.add("nats.cluster_listen", "%q is for the embedded broker, and nats.url names another; leave one of them empty", n.ClusterListen)
	}
	if n.Sync != "always" {
		faults.add("nats.sync", "%q is for the embedded broker, and nats.url names another; set sync_interval there", n.Sync)
	}
	if n.StoreLimit != 0 {
		faults.add("nats.store_limit", "%d is for the embedded broker, and nats.url names another; set the limit there", n.StoreLimit)
	}
	if n.ElectionTimeout != broker.DefaultElectionTimeout {
		faults.add("nats.election_timeout", "%v is for the embedded broker, and nats.url names another, whose own cannot be set", n.ElectionTimeout)
	}
	return faults
}

// embedded are the contradictions of a broker in this process.
func (n NATS) embedded() (faults Faults) {
	exposed := func(address string) bool { return address != "" && !broker.Loopback(address) }
	if n.Credentials != "" {
		faults.add("nats.credentials", "they are for the servers of nats.url, which is empty; the embedded broker has nats.user or nats.token")
	}
	if exposed(n.Listen) && n.User == "" && n.Token == "" {
		faults.add("nats.listen", "%q can be reached from elsewhere, so that the broker must ask who it is: set nats.user and nats.password, or nats.token", n.Listen)
	}
	if n.TLSCA != "" && n.TLSCert == "" {
		faults.add("nats.tls_cert", "it is empty, and nats.tls_ca is not; a broker that asks for certificates needs one of its own")
	}
	if !n.Clustered() {
		if n.Replicas > 1 {
			faults.add("nats.replicas", "%d copies need as many servers; name them in nats.url, or form a cluster with nats.cluster_listen", n.Replicas)
		}
		if n.ClusterRoutes != "" {
			faults.add("nats.cluster_listen", "it is empty, and nats.cluster_routes is not; the others must reach this server, too")
		}
		return faults
	}
	if exposed(n.ClusterListen) && n.User == "" {
		faults.add("nats.cluster_listen", "%q can be reached from elsewhere, so that the servers must ask who it is: set nats.user and nats.password", n.ClusterListen)
	}
	if n.Node == "" {
		faults.add("nats.node", "every server of a cluster needs a name of its own, which stays")
	}
	if servers := len(n.Routes()) + 1; n.Replicas > servers {
		faults.add("nats.replicas", "%d copies need as many servers, and nats.cluster_routes makes %d; name all the others there", n.Replicas, servers)
	}
	return faults
}

// half adds a fault when a section has a certificate without its key, or the other way round.
func (f *Faults) half(section, what, cert, key string) {
	switch {
	case cert != "" && key == "":
		f.add(section+".tls_key", "it is empty, and %s.tls_cert is not; %s needs both", section, what)
	case cert == "" && key != "":
		f.add(section+".tls_cert", "it is empty, and %s.tls_key is not; %s needs both", section, what)
	}
}

// fixedPort says whether two listeners on the address would collide: port 0 is another one each time.
func fixedPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	return err == nil && port != "0"
}
