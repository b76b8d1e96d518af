// Package channeltest is what the tests of channels share: a server that speaks for a vendor, and that a test can have answer
// with any error, stall, or hang up.
package channeltest

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Fault is what a server does with a request in place of the vendor's work.
type Fault struct {
	// Status, Header and Body are the answer.
	Status int
	Header http.Header
	Body   string
	// Stall: no answer comes while the client waits.
	Stall bool
	// HangUp: the connection, or the stream of it, ends without an answer.
	HangUp bool
	// Times is how many requests meet the fault; 0: all.
	Times int
}

// Server is a vendor's server over TLS and HTTP/2.
type Server struct {
	// URL is its address. CAFile is a PEM file with the certificate to trust.
	URL, CAFile string
	// Stalled gets a value for each request that stalls.
	Stalled chan struct{}

	*httptest.Server
	mu       sync.Mutex
	faults   map[string]*Fault
	requests int
}

// Start serves until the test ends. Vendors ask Meets at the moment at which a fault is to show.
func Start(t testing.TB, handler http.Handler) *Server {
	t.Helper()
	s := &Server{Stalled: make(chan struct{}, 1000), faults: make(map[string]*Fault)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		s.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	s.Server.EnableHTTP2 = true
	s.Server.Config.ErrorLog = log.New(io.Discard, "", 0) // which tells of clients that a test has hang up
	s.Server.StartTLS()
	t.Cleanup(s.Server.Close)
	s.URL, s.CAFile = s.Server.URL, File(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return s
}

// Fault makes requests that concern a key, such as a token, meet a fault; the empty key is for all that have none of their own.
func (s *Server) Fault(key string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[key] = &f
}

// Clear ends all faults.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// Requests is how many have come.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Meets shows the fault of a key, if it has one, and says whether that was all that is to be done.
func (s *Server) Meets(key string, w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	f := s.faults[key]
	if f == nil {
		key = ""
		f = s.faults[key]
	}
	if f == nil {
		s.mu.Unlock()
		return false
	}
	fault := *f
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			delete(s.faults, key)
		}
	}
	s.mu.Unlock()
	switch {
	case fault.Stall:
		s.Stalled <- struct{}{}
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case fault.HangUp:
		panic(http.ErrAbortHandler)
	}
	for name, values := range fault.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(fault.Status)
	_, _ = w.Write([]byte(fault.Body))
	return true
}

// File writes a file that is there while the test runs, and gives its path.
func File(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
