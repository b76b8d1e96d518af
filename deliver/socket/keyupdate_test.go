package socket

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// TestKeyUpdate has a client ask for new keys, as its library would after very many records, while its socket is full: the
// answer waits its turn, and both ways go on under the new keys.
func TestKeyUpdate(t *testing.T) {
	t.Parallel()
	p := still(t, narrow(64<<20))
	var log bytes.Buffer
	cfg := trusting.Clone()
	cfg.KeyLogWriter = &log
	conn, client, tap := unread(t, p, cfg, WebSocket)
	buf := make([]byte, 64<<10)
	keys := newSender(t, client, log.String())

	var want []byte
	for i := 0; conn.out.waiting() == 0 || i%7 != 0; i++ { // until the socket is full, and some more
		f := NewFrame("push", 1, fmt.Appendf(nil, "%06d%01000d", i, 0))
		if err := conn.Send(f); err != nil {
			t.Fatal(err)
		}
		want = append(want, f.ws...)
	}
	heard := func(text string, records ...[]byte) {
		t.Helper()
		write(t, tap.Conn, bytes.Join(records, nil))
		for n, more := 0, false; n == 0; {
			if !more {
				readable(t, conn)
			}
			var err error
			if n, more, err = conn.read(buf); err != nil || n != 0 && string(buf[:n]) != text {
				t.Fatalf("read %q, %v; want %q", buf[:n], err, text)
			}
		}
	}
	heard("old keys", keys.seal(23, []byte("old keys")))
	before := len(conn.out.secure.tail)
	update := keys.seal(22, []byte{24, 0, 0, 1, 1}) // key_update, and one asked for
	keys.next()
	heard("new keys", update, keys.seal(23, []byte("new keys")))
	if len(conn.out.secure.tail) <= before {
		t.Error("the answer does not wait")
	}
	heard("again", keys.seal(23, []byte("again")))
	last := NewFrame("push", 1, []byte("under new keys"))
	if err := conn.Send(last); err != nil {
		t.Fatal(err)
	}
	want = append(want, last.ws...)
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		conn.flush()
		n, err := client.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Error("what came is not what was sent")
	}
	// Who asks for keys without end, and takes no answer, is too slow at last.
	for conn.out.waiting() == 0 {
		if err := conn.Send(last); err != nil {
			t.Fatal(err)
		}
	}
	p.cfg.QueueLimit = 1 << 10
	for range 2 * recordSize / 16 {
		update := keys.seal(22, []byte{24, 0, 0, 1, 1})
		keys.next()
		heard("x", update, keys.seal(23, []byte("x")))
	}
	if conn.hears() || conn.why != Slow {
		t.Errorf("%d bytes of answers wait", len(conn.out.secure.tail))
	}
}

// sender seals a client's records, as crypto/tls would if it asked for new keys: the keys of TLS 1.3 with
// TLS_AES_128_GCM_SHA256, RFC 8446, 5.2 and 7.
type sender struct {
	t      *testing.T
	secret []byte
	seq    uint64
}

func newSender(t *testing.T, c *tls.Conn, log string) *sender {
	t.Helper()
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("the suite is %s", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(log) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return &sender{t: t, secret: secret}
		}
	}
	t.Fatal("the secret was not logged")
	return nil
}

func (s *sender) expand(label string, n int) []byte {
	info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label...)
	key, err := hkdf.Expand(sha256.New, s.secret, string(append(info, 0)), n)
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

func (s *sender) next() { s.secret, s.seq = s.expand("traffic upd", 32), 0 }

func (s *sender) seal(kind byte, b []byte) []byte {
	block, err := aes.NewCipher(s.expand("key", 16))
	if err != nil {
		s.t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		s.t.Fatal(err)
	}
	nonce := s.expand("iv", 12)
	for i, c := range binary.BigEndian.AppendUint64(nil, s.seq) {
		nonce[4+i] ^= c
	}
	s.seq++
	head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(b)+1+aead.Overhead()))
	return aead.Seal(head, nonce, append(b, kind), head)
}
