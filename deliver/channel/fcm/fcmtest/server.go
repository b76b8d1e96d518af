// Package fcmtest is a server that speaks the protocols of Google's token endpoint and of FCM's HTTP v1 API as Google
// publishes them, for tests.
package fcmtest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-push/carillon/deliver/channel/channeltest"
)

const (
	// Project is the one that the server knows.
	Project = "carillon-test"
	// TokenPath is the token endpoint's, and the key of its faults. Faults of messages:send go by the device's token.
	TokenPath = "/token"

	email = "push@carillon-test.example"
	keyID = "key-1"
)

// Message is what the server takes: the part of projects.messages that tests look at. Other members are refused.
type Message struct {
	Token        string
	Notification struct{ Title, Body string }
	Data         map[string]string
	Android      struct {
		Priority     string
		TTL          string `json:"ttl"`
		Notification struct {
			ChannelID  string `json:"channel_id"`
			Sound, Tag string
		}
	}
}

// Server is Google's side.
type Server struct {
	*channeltest.Server
	// AccountFile is the key of a service account of Project.
	AccountFile string
	// Lifetime is what access tokens are given, an hour unless it is set.
	Lifetime time.Duration

	key    *rsa.PrivateKey
	mu     sync.Mutex
	taken  []Message
	access map[string]bool
	grants int
}

// Key is the service account's: one for all servers, because it takes long to make.
var Key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// Start serves until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	key, err := Key()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Lifetime: time.Hour, key: key, access: make(map[string]bool)}
	s.Server = channeltest.Start(t, s)
	s.AccountFile = channeltest.File(t, "service-account.json", s.Account(t, key))
	return s
}

// Account is the JSON of a service account with some key, which is the server's or another.
func (s *Server) Account(t testing.TB, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": Project, "private_key_id": keyID, "client_email": email, "client_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": s.URL + TokenPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Taken are the messages so far.
func (s *Server) Taken() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.taken...)
}

// Grants is how many access tokens were given.
func (s *Server) Grants() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grants
}

// Expire ends all access tokens that were given.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
}

// Error is a fault in the form of Google's APIs: a status, its name, a message, and details as JSON.
func Error(status int, name, message string, details ...string) channeltest.Fault {
	return channeltest.Fault{Status: status, Body: fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[%s]}}`,
		status, message, name, strings.Join(details, ","))}
}

// Detail is the one that has FCM's error code.
func Detail(code string) string {
	return fmt.Sprintf(`{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":%q}`, code)
}

// Violation is the one that names a field.
func Violation(field string) string {
	return fmt.Sprintf(`{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":%q,"description":"Invalid value"}]}`, field)
}

// ServeHTTP is Google's side.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "{}", http.StatusMethodNotAllowed)
	case r.URL.Path == TokenPath:
		if !s.Meets(TokenPath, w, r) {
			s.grant(w, r)
		}
	case r.URL.Path == "/v1/projects/"+Project+"/messages:send":
		s.send(w, r)
	default:
		answer(w, Error(http.StatusNotFound, "NOT_FOUND", "Requested entity was not found."))
	}
}

func answer(w http.ResponseWriter, f channeltest.Fault) {
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body))
}

// grant is RFC 7523, 2.1, with Google's claims.
func (s *Server) grant(w http.ResponseWriter, r *http.Request) {
	refuse := func(code string) { answer(w, channeltest.Fault{Status: 400, Body: fmt.Sprintf(`{"error":%q}`, code)}) }
	if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse("unsupported_grant_type")
		return
	}
	parts := strings.Split(r.FormValue("assertion"), ".")
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	if len(parts) != 3 || !read(parts[0], &header) || !read(parts[1], &claims) {
		refuse("invalid_grant")
		return
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	now := time.Now().Unix()
	switch {
	case header.Alg != "RS256" || header.Kid != keyID || rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature) != nil,
		claims.Iss != email, claims.Aud != s.URL+TokenPath, claims.Exp < now, claims.Exp > claims.Iat+3600, claims.Iat > now+60:
		refuse("invalid_grant")
	case claims.Scope != "https://www.googleapis.com/auth/firebase.messaging":
		refuse("invalid_scope")
	default:
		token := rand.Text()
		s.mu.Lock()
		s.access[token] = true
		s.grants++
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(s.Lifetime.Seconds())})
	}
}

var ttl = regexp.MustCompile(`^(\d+s)?$`)

func (s *Server) send(w http.ResponseWriter, r *http.Request) {
	var raw struct{ Message json.RawMessage }
	var m Message
	err := json.NewDecoder(r.Body).Decode(&raw)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(raw.Message))
		d.DisallowUnknownFields()
		err = d.Decode(&m)
	}
	if s.Meets(m.Token, w, r) {
		return
	}
	s.mu.Lock()
	known := s.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	s.mu.Unlock()
	size := len(m.Notification.Title) + len(m.Notification.Body)
	for key, value := range m.Data {
		size += len(key) + len(value)
		if key == "from" || strings.HasPrefix(key, "google") || strings.HasPrefix(key, "gcm") {
			err = fmt.Errorf("reserved key %s", key)
		}
	}
	switch {
	case !known:
		answer(w, Error(http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials."))
	case err != nil:
		answer(w, Error(http.StatusBadRequest, "INVALID_ARGUMENT", "Invalid JSON payload", Violation("message")))
	case m.Token == "":
		answer(w, Error(http.StatusBadRequest, "INVALID_ARGUMENT", "Recipient of the message is not set.", Violation("message")))
	case size > 4096 || m.Android.Priority != "HIGH" && m.Android.Priority != "NORMAL" || !ttl.MatchString(m.Android.TTL):
		answer(w, Error(http.StatusBadRequest, "INVALID_ARGUMENT", "Request contains an invalid argument.", Detail("INVALID_ARGUMENT")))
	default:
		s.mu.Lock()
		s.taken = append(s.taken, m)
		n := len(s.taken)
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]string{"name": fmt.Sprintf("projects/%s/messages/%d", Project, n)})
	}
}

func read(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}
