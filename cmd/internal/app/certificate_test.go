package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair is a certificate's two files.
type pair struct{ cert, key string }

func newPair(t *testing.T) pair {
	dir := t.TempDir()
	return pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
}

// issue writes a fresh certificate of a name, signed by itself.
func (p pair) issue(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func (p pair) write(t *testing.T, cert, key []byte) {
	t.Helper()
	if err := os.WriteFile(p.cert, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.key, key, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shown is the name on the certificate that a server shows to a client of some versions.
func shown(t *testing.T, address string, newest uint16) (string, error) {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: newest,
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestACertificateIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	files, log := newPair(t), &lines{}
	files.issue(t, "first")
	c, err := loadCertificate("http", files.cert, files.key, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now()
	c.checked, c.now = clock, func() time.Time { return clock }
	s := serveHandler(t, ok, func(l *listen) { l.tls = c.tls() })
	expect := func(name string) {
		t.Helper()
		// The server's goroutines read the clock in the handshakes only, one of which is done when the next begins.
		if got, err := shown(t, s.l.Addr().String(), 0); got != name {
			t.Errorf("the server shows %q, %v; want %q", got, err, name)
		}
	}
	expect("first")
	files.issue(t, "second")
	expect("first") // a handshake within the second looks at no file
	clock = clock.Add(recheck)
	expect("second")

	files.write(t, []byte("half a certif"), nil)
	for range 3 {
		clock = clock.Add(recheck)
		expect("second")
	}
	if err := os.Remove(files.key); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		clock = clock.Add(recheck)
		expect("second")
	}
	if n := strings.Count(log.String(), "the last one stays"); n != 2 {
		t.Errorf("two bad states of the files are logged %d times:\n%s", n, log)
	}
	files.issue(t, "third")
	clock = clock.Add(recheck)
	expect("third")

	if _, err := shown(t, s.l.Addr().String(), tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	res, err := trust(c).Get(s.url("http"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil || res.ProtoMajor != 1 {
		t.Errorf("%q, %v over %s", body, err, res.Proto)
	}
	other := newPair(t)
	other.issue(t, "third")
	stranger, err := loadCertificate("http", other.cert, other.key, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	if res, err := trust(stranger).Get(s.url("http")); err == nil {
		_ = res.Body.Close()
		t.Error("the process takes another for itself")
	}
	if res, err := http.Get("http://" + s.l.Addr().String()); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered: %v", err)
	} else {
		_ = res.Body.Close()
	}
}

func TestABadCertificateStopsTheStart(t *testing.T) {
	t.Parallel()
	files, other := newPair(t), newPair(t)
	files.issue(t, "a")
	other.issue(t, "b")
	garbage := newPair(t)
	garbage.write(t, []byte("x"), []byte("s3cret"))
	for name, p := range map[string]pair{
		"none": {files.cert + ".not", files.key}, "no key": {files.cert, files.key + ".not"}, "of another": {files.cert, other.key}, "garbage": garbage,
	} {
		_, err := loadCertificate("http", p.cert, p.key, (&lines{}).logger())
		if err == nil || !strings.HasPrefix(err.Error(), "TLS with http.tls_cert and http.tls_key: read ") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
