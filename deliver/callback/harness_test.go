package callback

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	testApp push.AppID = 7
	secret             = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	wait               = 20 * time.Second // bounds how long a test waits for an event
)

// bench is a broker, the operator's server, and what other roles publish.
type bench struct {
	testing.TB
	b        *broker.Broker
	server   *server
	file     string // with the secret
	ordinals map[string]push.Ordinal
}

func newBench(t testing.TB, accounts int) *bench {
	h := &bench{TB: t, b: brokertest.Start(t, func(c *broker.Config) { c.Sharding = 12 }), server: serve(t)}
	if err := h.b.EnsureApp(t.Context(), testApp); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range accounts {
		names = append(names, fmt.Sprint("u", i))
	}
	h.ordinals = map[string]push.Ordinal{}
	for some := range slices.Chunk(names, 1000) {
		ordinals, err := directory.New(h.b).Register(t.Context(), testApp, some...)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(h.ordinals, ordinals)
	}
	h.file = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(h.file, []byte("whsec_"+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *bench) app() App {
	return App{ID: testApp, URL: h.server.URL + "/hook", SecretFile: h.file, Events: Kinds()}
}

// run starts a worker; stop ends it and returns when it has ended.
func (h *bench) run(b *broker.Broker, change ...func(*Config)) (c *Callback, stop func()) {
	h.Helper()
	cfg := Default()
	cfg.Apps, cfg.Gather, cfg.Retry, cfg.RetryMax = []App{h.app()}, time.Millisecond, time.Millisecond, 4*time.Millisecond
	for _, change := range change {
		change(&cfg)
	}
	c, err := New(cfg, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			h.Errorf("the worker ended with %v", err)
		}
	})
	h.Cleanup(stop)
	return c, stop
}

// begun waits until a worker has noted where the logs are told from.
func (h *bench) begun() {
	h.Helper()
	err := h.b.Fold(h.Context(), broker.FoldConfig{
		Stream: wire.SettingsStream, Filter: wire.ToldSubject(testApp), Handle: func(*broker.Message) error { return errRead },
	})
	if !errors.Is(err, errRead) {
		h.Fatal(err)
	}
}

func (h *bench) publish(m broker.Message) uint64 {
	h.Helper()
	seq, _, err := h.b.Publish(h.Context(), m)
	if err != nil {
		h.Fatal(err)
	}
	return seq
}

// sessions publishes changes as a gateway does.
func (h *bench) sessions(events ...wire.SessionEvent) {
	h.Helper()
	h.publish(broker.Message{Subject: wire.SessionEventSubject(testApp), Data: wire.EncodeSessionEvents(wire.SessionEvents{ID: nuid.Next(), Events: events})})
}

func (h *bench) change(what wire.SessionChange, account, reason string) wire.SessionEvent {
	return wire.SessionEvent{Change: what, Ordinal: h.ordinals[account], At: time.UnixMilli(1700000000123), Platform: "Web", Reason: reason}
}

// places are those of accounts, all of shard 0.
func (h *bench) places(accounts ...string) *roaring.Bitmap {
	all := roaring.New()
	for _, a := range accounts {
		all.Add(h.b.Sharding().Local(h.ordinals[a]))
	}
	return all
}

// audience publishes a push's audience as a matcher does.
func (h *bench) audience(seq push.Seq, users *roaring.Bitmap, header map[string]string) {
	h.Helper()
	data, err := wire.EncodeBitmap(users)
	if err != nil {
		h.Fatal(err)
	}
	h.publish(broker.Message{Subject: wire.AudienceSubject(testApp, 0, seq), Data: data, Header: header})
}

// receipt publishes one as a gateway does.
func (h *bench) receipt(seq push.Seq, r wire.Receipt) {
	h.Helper()
	data, err := wire.EncodeReceipt(r)
	if err != nil {
		h.Fatal(err)
	}
	h.publish(broker.Message{Subject: wire.ReceiptSubject(testApp, 0, seq), Data: data})
}

// server is an operator's, which verifies as the specification says.
type server struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	answer   func(n int, w http.ResponseWriter, r *http.Request) // of the n-th request, from 0
	requests int
	news     chan []line // that were acknowledged, or of which nobody knows that they were
}

func serve(t testing.TB) *server {
	s := &server{t: t, news: make(chan []line, 10_000)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return // the worker was stopped
	}
	id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	key, _ := base64.StdEncoding.DecodeString(secret)
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+at+"."+string(content))
	seconds, err := strconv.ParseInt(at, 10, 64)
	if signed := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil ||
		time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute || !slices.Contains(strings.Fields(r.Header.Get("webhook-signature")), signed) {
		s.t.Errorf("the signature is not of the secret: %q", r.Header)
	}
	var b body
	if err := json.Unmarshal(content, &b); err != nil || r.Method != http.MethodPost || r.URL.Path != "/hook" || r.Header.Get("Content-Type") != "application/json" {
		s.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	if b.App != testApp || len(b.Events) < 1 || len(b.Events) > MaxBatch {
		s.t.Errorf("%d events of app %d", len(b.Events), b.App)
	}
	s.mu.Lock()
	n, answer := s.requests, s.answer
	s.requests++
	s.mu.Unlock()
	if answer != nil {
		recorder := httptest.NewRecorder()
		if answer(n, recorder, r); recorder.Code/100 != 2 {
			for name, values := range recorder.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(recorder.Code)
			return
		}
	}
	s.news <- b.Events
}

// await waits until there are so many different events, and gives them in the order in which they first came, and how many
// came again.
func (s *server) await(n int) (first []line, repeats int) {
	s.t.Helper()
	seen := map[string]line{}
	for len(seen) < n {
		select {
		case events := <-s.news:
			for _, e := range events {
				if was, again := seen[e.ID]; again {
					repeats++
					if was != e {
						s.t.Errorf("told as %+v, and again as %+v", was, e)
					}
					continue
				}
				seen[e.ID] = e
				first = append(first, e)
			}
		case <-time.After(wait):
			s.t.Fatalf("%d events came, want %d", len(seen), n)
		}
	}
	return first, repeats
}

// short is an event in a few words.
func short(events []line) (all []string) {
	for _, e := range events {
		all = append(all, strings.TrimSpace(fmt.Sprint(e.Event, " ", e.Account, " ", e.Task)))
	}
	return all
}

func valueOf(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
