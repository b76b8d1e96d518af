package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// clientOptions are what a connection to the servers of URL shows, and what it asks of them. Files are read again at each
// reconnect, but for the authority.
func (c Config) clientOptions() (opts []nats.Option) {
	opts = c.Auth.options()
	if c.Auth.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Auth.Credentials))
	}
	if c.TLS.CA != "" {
		opts = append(opts, nats.RootCAs(c.TLS.CA))
	}
	if c.TLS.Cert != "" {
		opts = append(opts, nats.ClientCert(c.TLS.Cert, c.TLS.Key))
	}
	if c.TLS.Set() {
		opts = append(opts, nats.Secure())
	}
	return opts
}

// options show a user or a token.
func (a Auth) options() []nats.Option {
	switch {
	case a.User != "":
		return []nats.Option{nats.UserInfo(a.User, a.Password)}
	case a.Token != "":
		return []nats.Option{nats.Token(a.Token)}
	}
	return nil
}

// ask makes the server ask for it of everybody, this process among them.
func (a Auth) ask(opts *server.Options) {
	opts.Username, opts.Password, opts.Authorization = a.User, a.Password, a.Token
}

// tlsTimeout bounds a TLS handshake with the embedded server, in seconds.
const tlsTimeout = 5

// server is the TLS of the embedded server's listeners, nil for none. With an authority the other side must have a
// certificate of it.
func (t TLS) server() (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("read the broker's certificate: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read the authority of the broker's certificates: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read the authority of the broker's certificates: %w", errors.New(t.CA+" holds none"))
		}
		cfg.RootCAs, cfg.ClientAuth = cfg.ClientCAs, tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}
