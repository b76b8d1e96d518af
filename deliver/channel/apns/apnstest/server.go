// Package apnstest is a server that speaks Apple's protocol as Apple publishes it, for tests.
package apnstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/deliver/channel/channeltest"
)

// What the server expects.
const (
	Topic  = "org.example.app"
	KeyID  = "ABCDE12345"
	TeamID = "TEAM123456"
)

// Notification is what the server has taken.
type Notification struct {
	Token      string
	Header     http.Header
	Payload    []byte
	ID, Bearer string
}

// Server takes notifications for Topic, from a provider that signs with Key. Faults go by the device's token.
type Server struct {
	*channeltest.Server
	// KeyFile is the provider's .p8 file.
	KeyFile string
	Key     *ecdsa.PrivateKey
	// Anonymous servers take no provider token: they want a certificate of their clients.
	Anonymous bool

	mu    sync.Mutex
	taken []Notification
	seen  map[string]bool // provider tokens
	stale map[string]bool
}

// Start serves until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Key: key, KeyFile: channeltest.File(t, "AuthKey.p8", P8(t, key)), seen: make(map[string]bool), stale: make(map[string]bool)}
	s.Server = channeltest.Start(t, s)
	return s
}

// P8 is a key as Apple's site gives it.
func P8(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Taken are the notifications so far.
func (s *Server) Taken() []Notification {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Notification(nil), s.taken...)
}

// Expire makes all provider tokens that were used so far expired ones.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for bearer := range s.seen {
		s.stale[bearer] = true
	}
}

// Bearers is how many provider tokens were used.
func (s *Server) Bearers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// Reason is a fault in Apple's form.
func Reason(status int, reason string) channeltest.Fault {
	body := fmt.Sprintf(`{"reason":%q}`, reason)
	if status == http.StatusGone {
		body = fmt.Sprintf(`{"reason":%q,"timestamp":1700000000000}`, reason)
	}
	return channeltest.Fault{Status: status, Body: body}
}

// ServeHTTP is Apple's side.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, reason string) {
		f := Reason(status, reason)
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
	}
	body, _ := io.ReadAll(r.Body)
	device, ok := strings.CutPrefix(r.URL.Path, "/3/device/")
	if s.Meets(device, w, r) {
		return
	}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "bearer ")
	if !s.Anonymous {
		if reason := s.judge(bearer); reason != "" {
			refuse(http.StatusForbidden, reason)
			return
		}
	}
	h := r.Header
	expiration, err := strconv.ParseInt(h.Get("apns-expiration"), 10, 64)
	_, hexErr := hex.DecodeString(device)
	priority, pushType := h.Get("apns-priority"), h.Get("apns-push-type")
	switch {
	case r.ProtoMajor != 2:
		http.Error(w, "not HTTP/2", http.StatusHTTPVersionNotSupported)
	case r.Method != http.MethodPost:
		refuse(http.StatusMethodNotAllowed, "MethodNotAllowed")
	case !ok || strings.Contains(device, "/"):
		refuse(http.StatusNotFound, "BadPath")
	case hexErr != nil || len(device) != 64:
		refuse(http.StatusBadRequest, "BadDeviceToken")
	case h.Get("apns-topic") == "":
		refuse(http.StatusBadRequest, "MissingTopic")
	case h.Get("apns-topic") != Topic:
		refuse(http.StatusBadRequest, "TopicDisallowed")
	case len(h.Get("apns-collapse-id")) > 64:
		refuse(http.StatusBadRequest, "BadCollapseId")
	case h.Get("apns-expiration") != "" && (err != nil || expiration < 0):
		refuse(http.StatusBadRequest, "BadExpirationDate")
	case priority != "" && priority != "10" && priority != "5" && priority != "1":
		refuse(http.StatusBadRequest, "BadPriority")
	case pushType != "alert":
		refuse(http.StatusBadRequest, "InvalidPushType")
	case len(body) == 0:
		refuse(http.StatusBadRequest, "PayloadEmpty")
	case len(body) > 4096:
		refuse(http.StatusRequestEntityTooLarge, "PayloadTooLarge")
	case !json.Valid(body):
		refuse(http.StatusBadRequest, "BadMessageId")
	default:
		id := rand.Text()
		s.mu.Lock()
		s.taken = append(s.taken, Notification{Token: device, Header: h.Clone(), Payload: body, ID: id, Bearer: bearer})
		s.mu.Unlock()
		w.Header().Set("apns-id", id)
	}
}

// judge says what is wrong with a provider token; empty for nothing.
func (s *Server) judge(bearer string) string {
	if bearer == "" {
		return "MissingProviderToken"
	}
	parts := strings.Split(bearer, ".")
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss string
		Iat int64
	}
	if len(parts) != 3 || !read(parts[0], &header) || !read(parts[1], &claims) {
		return "InvalidProviderToken"
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || len(sig) != 64 || header.Alg != "ES256" || header.Kid != KeyID || claims.Iss != TeamID ||
		!ecdsa.Verify(&s.Key.PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return "InvalidProviderToken"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[bearer] = true
	if age := time.Since(time.Unix(claims.Iat, 0)); s.stale[bearer] || age > time.Hour || age < -time.Minute {
		return "ExpiredProviderToken"
	}
	return ""
}

func read(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}
