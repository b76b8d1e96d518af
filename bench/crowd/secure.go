package crowd

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// certificate writes one for the loopback, and its key, as PEM.
func certificate(dir string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return cert, key, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
	)
}

// confidential is a connection of receiveSecure, with what was read ahead of it.
type confidential struct {
	*tls.Conn
	ahead *bufio.Reader
	spare int // marks that have come and are not counted yet
}

// readers are how many connections receiveSecure opens, or reads from, at once.
const readers = 16

// receiveSecure is the process of clients that speak TLS. It reads one connection after the other: when it looks says
// nothing of when a message has come.
func receiveSecure() error {
	p, err := readPlan()
	if err != nil {
		return err
	}
	conns := make([]*confidential, len(p.Paths))
	// all does something with every connection.
	all := func(do func(i int) error) error {
		var g errgroup.Group
		g.SetLimit(readers)
		for i := range conns {
			g.Go(func() error { return do(i) })
		}
		return g.Wait()
	}
	err = all(func(i int) error {
		c, err := openSecure(p.Addrs[i%len(p.Addrs)], p.Paths[i])
		conns[i] = c
		return err
	})
	if err != nil {
		return err
	}
	if err := put(uint64(len(conns)), nil); err != nil {
		return err
	}
	for {
		op, n, _, err := readOrder()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		if op != orderRound || n%len(conns) != 0 {
			return fmt.Errorf("clients that speak TLS do not know the order %q of %d", op, n)
		}
		if err := put(uint64(n), nil); err != nil {
			return err
		}
		if err := all(func(i int) error { return conns[i].take(n / len(conns)) }); err != nil {
			return err
		}
		if err := put(uint64(n), nil); err != nil {
			return err
		}
	}
}

func openSecure(addr, path string) (*confidential, error) {
	// The certificate was made for this run, and there is nobody between.
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	if _, err := conn.Write(upgrade(addr, path)); err != nil {
		return nil, fmt.Errorf("sending a handshake: %w", err)
	}
	c := &confidential{Conn: conn, ahead: bufio.NewReaderSize(conn, 1<<10)}
	answer, err := http.ReadResponse(c.ahead, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to a handshake: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("the server answered %s", answer.Status)
	}
	return c, nil
}

// take reads until so many marks have come.
func (c *confidential) take(marks int) error {
	b := make([]byte, 4<<10)
	for c.spare < marks {
		n, err := c.ahead.Read(b)
		if err != nil {
			return fmt.Errorf("a connection was lost: %w", err)
		}
		c.spare += bytes.Count(b[:n], []byte{Mark})
	}
	c.spare -= marks
	return nil
}
