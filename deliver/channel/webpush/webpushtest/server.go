// Package webpushtest is a push service as the RFCs 8030, 8188, 8291 and 8292 have it, together with its browsers, for tests.
package webpushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/deliver/channel/channeltest"
)

var b64 = base64.RawURLEncoding

// Message is what a browser got.
type Message struct {
	Subscription string // its name
	Header       http.Header
	Text         []byte // decrypted
}

// Server is a push service. Faults go by the names of subscriptions.
type Server struct {
	*channeltest.Server
	// KeyFile has the private VAPID key that subscriptions are made with, in base64.
	KeyFile string

	vapid    *ecdh.PrivateKey
	mu       sync.Mutex
	browsers map[string]browser
	taken    []Message
}

type browser struct {
	key  *ecdh.PrivateKey
	auth []byte
}

// Start serves until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{KeyFile: channeltest.File(t, "vapid", []byte(b64.EncodeToString(key.Bytes())+"\n")), vapid: key, browsers: make(map[string]browser)}
	s.Server = channeltest.Start(t, s)
	return s
}

// Subscribe is a browser's subscription by a name of letters and digits: the token of a device.
func (s *Server) Subscribe(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	auth := make([]byte, 16)
	_, _ = rand.Read(auth)
	s.mu.Lock()
	s.browsers[name] = browser{key, auth}
	s.mu.Unlock()
	return fmt.Sprintf(`{"endpoint":"%s/push/%s","expirationTime":null,"keys":{"p256dh":"%s","auth":"%s"}}`,
		s.URL, name, b64.EncodeToString(key.PublicKey().Bytes()), b64.EncodeToString(auth))
}

// Taken are the messages so far.
func (s *Server) Taken() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.taken...)
}

var topic = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

// ServeHTTP is the push service's side.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/push/")
	if s.Meets(name, w, r) {
		return
	}
	s.mu.Lock()
	b, known := s.browsers[name]
	s.mu.Unlock()
	ttl, err := strconv.Atoi(r.Header.Get("TTL"))
	body, _ := io.ReadAll(io.LimitReader(r.Body, 5000))
	urgency := r.Header.Get("Urgency")
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "POST", http.StatusMethodNotAllowed)
	case !ok || !known:
		http.Error(w, "no such subscription", http.StatusNotFound)
	case err != nil || ttl < 0:
		http.Error(w, "TTL", http.StatusBadRequest)
	case urgency != "very-low" && urgency != "low" && urgency != "normal" && urgency != "high" || !topic.MatchString(r.Header.Get("Topic")):
		http.Error(w, "Urgency or Topic", http.StatusBadRequest)
	case r.Header.Get("Content-Encoding") != "aes128gcm":
		http.Error(w, "Content-Encoding", http.StatusBadRequest)
	case len(body) > 4096:
		http.Error(w, "too long", http.StatusRequestEntityTooLarge)
	default:
		if status := s.judge(r.Header.Get("Authorization")); status != 0 {
			http.Error(w, "VAPID", status)
			return
		}
		text, err := b.decrypt(body)
		if err != nil { // which a push service cannot see, but a test must
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.taken = append(s.taken, Message{name, r.Header.Clone(), text})
		s.mu.Unlock()
		w.Header().Set("Location", s.URL+"/message/"+rand.Text())
		w.WriteHeader(http.StatusCreated)
	}
}

var vapid = regexp.MustCompile(`^vapid t=([\w-]+)\.([\w-]+)\.([\w-]+), ?k=([\w-]+)$`)

// judge checks RFC 8292's header; 0 when it is good.
func (s *Server) judge(header string) int {
	m := vapid.FindStringSubmatch(header)
	if m == nil {
		return http.StatusUnauthorized
	}
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	raw, _ := b64.DecodeString(m[2])
	public, _ := b64.DecodeString(m[4])
	signature, _ := b64.DecodeString(m[3])
	if json.Unmarshal(raw, &claims) != nil || len(public) != 65 || len(signature) != 64 {
		return http.StatusUnauthorized
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
	sum := sha256.Sum256([]byte(m[1] + "." + m[2]))
	left := time.Until(time.Unix(claims.Exp, 0))
	switch {
	case err != nil || !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])):
		return http.StatusUnauthorized
	case claims.Aud != s.URL || left <= 0 || left > 24*time.Hour:
		return http.StatusUnauthorized
	case !strings.HasPrefix(claims.Sub, "https://") && (!strings.HasPrefix(claims.Sub, "mailto:") || strings.Count(claims.Sub, "mailto:") > 1):
		return http.StatusUnauthorized
	case string(public) != string(s.vapid.PublicKey().Bytes()):
		return http.StatusForbidden // not the key that the subscription was made with
	}
	return 0
}

// decrypt is RFC 8291 with a body of one record (RFC 8188).
func (b browser) decrypt(body []byte) ([]byte, error) {
	if len(body) < 21 || len(body) < 21+int(body[20]) {
		return nil, errors.New("no header")
	}
	salt, size, sender, record := body[:16], binary.BigEndian.Uint32(body[16:20]), body[21:21+int(body[20])], body[21+int(body[20]):]
	if int64(len(record)) > int64(size) {
		return nil, errors.New("more than one record")
	}
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := b.key.ECDH(public)
	if err != nil {
		return nil, err
	}
	ikm, err := hkdf.Key(sha256.New, shared, b.auth, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(sender), 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(plain), "\x00")
	if !strings.HasSuffix(text, "\x02") {
		return nil, errors.New("no delimiter of a last record")
	}
	return []byte(strings.TrimSuffix(text, "\x02")), nil
}
