package config

import "net"

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
	faults.half("http", "HTTPS", c.HTTP.TLSCert, c.HTTP.TLSKey)
	faults.half("sessions", "TLS", c.Sessions.TLSCert, c.Sessions.TLSKey)
	if c.NATS.Embedded() {
		if c.NATS.Credentials != "" {
			faults.add("nats.credentials", "they are for the servers of nats.url, which is empty; the embedded broker asks for none")
		}
		if c.NATS.Replicas > 1 {
			faults.add("nats.replicas", "%d copies need as many servers; name them in nats.url", c.NATS.Replicas)
		}
		return faults
	}
	if c.NATS.Listen != "" {
		faults.add("nats.listen", "%q is for the embedded broker, and nats.url names another; leave one of them empty", c.NATS.Listen)
	}
	if c.NATS.StoreLimit != 0 {
		faults.add("nats.store_limit", "%d is for the embedded broker, and nats.url names another; set the limit there", c.NATS.StoreLimit)
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
