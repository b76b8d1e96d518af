package app

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// recheck is how often the files of a certificate are looked at, at most: by the first handshake after it.
const recheck = time.Second

// certificate is what a listener's TLS is served with: two files, read again when their content changes. Contents are compared, not
// times, which neither a link that is turned nor a copy that keeps its times would change. While the new content is no
// certificate with its key, such as between the writing of the two files, the last good one stays.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu        sync.Mutex
	checked   time.Time
	cert, key []byte // as they were read last, good or bad
	current   *tls.Certificate
}

// loadCertificate reads the files that the keys tls_cert and tls_key of a part of the configuration name. They must be good
// at the start.
func loadCertificate(part, certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log.With("file", certFile), now: time.Now}
	c.checked = c.now()
	if _, err := c.read(); err != nil {
		return nil, fmt.Errorf("TLS with %[1]s.tls_cert and %[1]s.tls_key: %[2]w", part, err)
	}
	return c, nil
}

// read makes the files' content current, and says whether that is new. The same bad content is an error once.
func (c *certificate) read() (bool, error) {
	cert, err := os.ReadFile(c.certFile)
	key, kerr := os.ReadFile(c.keyFile)
	if err = errors.Join(err, kerr); err != nil {
		cert, key = nil, nil
	}
	if c.current != nil && bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return false, nil
	}
	c.cert, c.key = cert, key
	if err != nil {
		return false, fmt.Errorf("read the certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("read %s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.current = &pair
	return true, nil
}

// get is the current certificate, for the handshake of any client.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= recheck {
		c.checked = now
		changed, err := c.read()
		switch {
		case err != nil:
			c.log.Warn("the certificate has changed to one that cannot be used; the last one stays", "err", err)
		case changed:
			c.log.Info("serving a new certificate", "subject", c.current.Leaf.Subject.String(), "until", c.current.Leaf.NotAfter)
		}
	}
	return c.current, nil
}

// tls serves the certificate to clients of the versions that are still sound.
func (c *certificate) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// trust is a client of these very certificates, whatever names they are for: the process reaches itself by an address. Of
// those that are nil it knows nothing.
func trust(certs ...*certificate) *http.Client {
	verify := func(s tls.ConnectionState) error {
		for _, c := range certs {
			if c == nil {
				continue
			}
			current, err := c.get(nil)
			if err != nil {
				return err
			}
			if len(s.PeerCertificates) > 0 && s.PeerCertificates[0].Equal(current.Leaf) {
				return nil
			}
		}
		return errors.New("the service shows another certificate than its own")
	}
	return &http.Client{Transport: &http.Transport{
		// The usual verification asks for a name; VerifyConnection is called all the same.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: verify},
	}}
}
