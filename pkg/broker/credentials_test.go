package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

const password = "a password for this test"

// Whoever reaches the embedded broker from another process must have the user and the password, or the token.
func TestListenerAsksWhoItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		right, wrong broker.Auth
	}{
		"user":  {broker.Auth{User: "carillon", Password: password}, broker.Auth{User: "carillon", Password: "guessed"}},
		"token": {broker.Auth{Token: password}, broker.Auth{Token: "guessed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Start(t, func(cfg *broker.Config) { cfg.Listen, cfg.Auth = "127.0.0.1:0", c.right })
			if _, err := nats.Connect(b.ListenURL()); err == nil {
				t.Error("somebody without a password is let in")
			}
			cfg := broker.Default()
			cfg.URL, cfg.Auth = b.ListenURL(), c.right
			other, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("with the right password: %v", err)
			}
			other.Close()
			if _, err := nats.Connect(b.ListenURL(), nats.UserInfo(c.wrong.User, c.wrong.Password), nats.Token(c.wrong.Token)); err == nil {
				t.Error("somebody with a wrong password is let in")
			}
		})
	}
}

// With certificates the listener speaks TLS alone, and with an authority only to who has one of its.
func TestListenerSpeaksTLS(t *testing.T) {
	t.Parallel()
	secure := certificates(t)
	b := brokertest.Start(t, func(cfg *broker.Config) { cfg.Listen, cfg.TLS = "127.0.0.1:0", secure })
	cfg := broker.Default()
	cfg.URL, cfg.TLS = b.ListenURL(), secure
	other, err := broker.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("with a certificate: %v", err)
	}
	other.Close()
	for name, opts := range map[string][]nats.Option{
		"without a certificate":    {nats.RootCAs(secure.CA)},
		"without the authority":    {nats.ClientCert(secure.Cert, secure.Key), nats.Secure()},
		"with another certificate": {nats.RootCAs(secure.CA), nats.ClientCert(certificates(t).Cert, secure.Key)},
	} {
		if nc, err := nats.Connect(b.ListenURL(), opts...); err == nil {
			nc.Close()
			t.Errorf("somebody %s is let in", name)
		}
	}
}

// Servers of a cluster prove who they are to each other, by password and by certificate.
func TestClusterWithPasswordAndTLS(t *testing.T) {
	t.Parallel()
	secure := certificates(t)
	servers := brokertest.Cluster(t, func(cfg *broker.Config) {
		cfg.Auth, cfg.TLS = broker.Auth{User: "carillon", Password: password}, secure
	})
	if err := servers.Broker(1).EnsureApp(t.Context(), app); err != nil {
		t.Error(err)
	}
}

// What would let anybody in from elsewhere is not a configuration.
func TestExposedWithoutPassword(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*broker.Config)
		want   string
	}{
		{func(c *broker.Config) { c.Listen = ":4222" }, "must prove who it is"},
		{func(c *broker.Config) { c.Listen = "10.0.0.1:4222" }, "must prove who it is"},
		{func(c *broker.Config) {
			c.Auth.Token = password
			c.Cluster = broker.Cluster{Name: "c", Node: "n", Listen: "[::]:6222"}
		}, "by a user and a password"},
		{func(c *broker.Config) { c.Auth.User = "u" }, "needs a password"},
		{func(c *broker.Config) { c.TLS.CA = "ca.pem" }, "one of its own"},
		{func(c *broker.Config) { c.TLS.Cert = "a.pem" }, "needs its key"},
		{func(c *broker.Config) { c.Auth.Credentials = "a.creds" }, "for NATS servers"},
		{func(c *broker.Config) { c.Sync = "never" }, "syncs always or at an interval"},
		{func(c *broker.Config) { c.Replicas = 3 }, "is one server"},
		{func(c *broker.Config) {
			c.Replicas = 3
			c.Cluster = broker.Cluster{Name: "c", Node: "n", Listen: "127.0.0.1:1", Routes: []string{"127.0.0.1:2"}}
		}, "the cluster has 2"},
		{func(c *broker.Config) { c.Cluster = broker.Cluster{Name: "c", Listen: "127.0.0.1:1"} }, "a name of its own"},
	} {
		cfg := broker.Default()
		cfg.Dir = "data"
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), password) {
			t.Errorf("want an error with %q, got %v", c.want, err)
		}
	}
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.0.1:1": true, "[::1]:1": true, "localhost:1": true,
		":1": false, "0.0.0.0:1": false, "10.0.0.1:1": false, "example:1": false, "": false,
	} {
		if broker.Loopback(address) != want {
			t.Errorf("%q: loopback is %t", address, !want)
		}
	}
}

// certificates are an authority, and a certificate of it for this machine that is good for both sides.
func certificates(t *testing.T) broker.TLS {
	t.Helper()
	dir := t.TempDir()
	issue := func(name string, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			parent, by = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	from, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca, key := issue("ca", &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	issue("cert", &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca, key)
	return broker.TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "cert.key")}
}
