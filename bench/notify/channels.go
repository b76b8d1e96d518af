package notify

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/bench/report"
	"github.com/carillon-push/carillon/bench/roles"
	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/apns"
	"github.com/carillon-push/carillon/deliver/channel/fcm"
	"github.com/carillon-push/carillon/deliver/channel/honor"
	"github.com/carillon-push/carillon/deliver/channel/huawei"
	"github.com/carillon-push/carillon/deliver/channel/oppo"
	"github.com/carillon-push/carillon/deliver/channel/vivo"
	"github.com/carillon-push/carillon/deliver/channel/webhook"
	"github.com/carillon-push/carillon/deliver/channel/webpush"
	"github.com/carillon-push/carillon/deliver/channel/xiaomi"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// callers send at once, as the tasks of a channel are done (deliver/notify's Concurrency).
	callers = 4
	// secret is what vendors are told that ask for one.
	secret = "a-secret-for-measurements-only"
	number = "100000001"
)

// subject is one vendor's channel.
type subject struct {
	name string
	// sample is where the vendors keep what it sent last.
	sample string
	secure bool
	open   func() (channel.Channel, error)
	tokens []string
}

// subjects are all the channels, told to speak to the vendors of a place. Their files are in dir.
func subjects(at place, dir string) ([]subject, error) {
	s := setting{at: at, dir: dir}
	s.authority = s.file("ca.pem", []byte(at.Authority))
	list := []subject{s.apns(), s.fcm(), s.webpush(), s.webhook()}
	plain := func(name string, open func() (channel.Channel, error)) {
		list = append(list, subject{name: name, sample: "/" + name, open: open, tokens: tokens("token_of_a_phone_%0112d")})
	}
	plain("huawei", func() (channel.Channel, error) {
		c := huawei.Default()
		c.ClientID, c.ClientSecret, c.URL, c.AuthURL = number, secret, at.Plain+"/huawei", at.Plain+"/huawei"
		return huawei.New(c)
	})
	plain("honor", func() (channel.Channel, error) {
		c := honor.Default()
		c.AppID, c.ClientID, c.ClientSecret, c.URL, c.AuthURL = number, number, secret, at.Plain+"/honor", at.Plain+"/honor/token"
		return honor.New(c)
	})
	plain("xiaomi", func() (channel.Channel, error) {
		c := xiaomi.Default()
		c.AppSecret, c.Package, c.URL = secret, "org.example.app", at.Plain+"/xiaomi"
		return xiaomi.New(c)
	})
	plain("oppo", func() (channel.Channel, error) {
		c := oppo.Default()
		c.AppKey, c.MasterSecret, c.URL = secret, secret, at.Plain+"/oppo"
		return oppo.New(c)
	})
	plain("vivo", func() (channel.Channel, error) {
		c := vivo.Default()
		c.AppID, c.AppKey, c.AppSecret, c.URL = number, secret, secret, at.Plain+"/vivo"
		return vivo.New(c)
	})
	return list, s.err
}

// setting makes files of credentials. Its first error stays.
type setting struct {
	at        place
	dir       string
	authority string
	err       error
}

func (s *setting) file(name string, content []byte) string {
	path := filepath.Join(s.dir, name)
	s.keep(os.WriteFile(path, content, 0o600))
	return path
}

func (s *setting) keep(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *setting) private(key any) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	s.keep(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// tokens of a task.
func tokens(format string) []string {
	all := make([]string, wire.NotifySize)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

func (s *setting) apns() subject {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.keep(err)
	c := apns.Default()
	c.Topic, c.KeyID, c.TeamID = "org.example.app", "ABCDE12345", "TEAM123456"
	c.KeyFile, c.URL, c.CAFile = s.file("apns.p8", s.private(key)), s.at.Secure, s.authority
	return subject{name: "apns", sample: "/3", secure: true, tokens: tokens("%064x"), open: func() (channel.Channel, error) { return apns.New(c) }}
}

func (s *setting) fcm() subject {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	s.keep(err)
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "bench", "private_key_id": "1", "client_email": "push@example.org",
		"private_key": string(s.private(key)), "token_uri": s.at.Secure + "/fcm/token",
	})
	s.keep(err)
	c := fcm.Config{CredentialsFile: s.file("google_account", account), URL: s.at.Secure, CAFile: s.authority}
	return subject{name: "fcm", sample: "/v1", secure: true, tokens: tokens("token_of_a_phone:%0144d"), open: func() (channel.Channel, error) { return fcm.New(c) }}
}

func (s *setting) webpush() subject {
	text := base64.RawURLEncoding.EncodeToString
	curve := ecdh.P256()
	vapid, err := curve.GenerateKey(rand.Reader)
	s.keep(err)
	subscriptions := make([]string, wire.NotifySize)
	for i := range subscriptions {
		browser, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			s.keep(err)
			break
		}
		auth := make([]byte, 16)
		_, _ = rand.Read(auth) // never fails
		subscriptions[i] = fmt.Sprintf(`{"endpoint":"%s/push/%s","keys":{"p256dh":"%s","auth":"%s"}}`,
			s.at.Secure, hex.EncodeToString(auth), text(browser.PublicKey().Bytes()), text(auth))
	}
	c := webpush.Config{Subject: "mailto:ops@example.org", Private: true, CAFile: s.authority}
	if err == nil {
		c.KeyFile = s.file("vapid", []byte(text(vapid.Bytes())))
	}
	return subject{name: "webpush", sample: "/push", secure: true, tokens: subscriptions, open: func() (channel.Channel, error) { return webpush.New(c) }}
}

func (s *setting) webhook() subject {
	c := webhook.Default()
	c.URL, c.CAFile = s.at.Secure+"/webhook", s.authority
	c.SecretFile = s.file("webhook", []byte("whsec_"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("secret"), 5))+"\n"))
	return subject{name: "webhook", sample: "/webhook", secure: true, tokens: tokens("token_of_a_phone_%0112d"), open: func() (channel.Channel, error) { return webhook.New(c) }}
}

// notice is a short text, as most are.
func notice() *channel.Notice {
	return &channel.Notice{
		Task: "1400000001-42", Seq: 42, Title: "Your order", Text: "It is on its way and will be there before noon.",
		Ext: `{"page":"order","id":9}`, Expire: time.Now().Add(time.Hour),
	}
}

// channels measures each.
func channels(ctx context.Context, o Options) (list []report.Figure, err error) {
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for credentials: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := spawn(ctx, vendorsPart)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var at place
	if err := p.heard(&at); err != nil {
		return nil, err
	}
	all, err := subjects(at, dir)
	if err != nil {
		return nil, fmt.Errorf("make credentials: %w", err)
	}
	for _, s := range all {
		f, err := s.measure(ctx, o, at, filepath.Join(dir, "ca.pem"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		list = append(list, f)
	}
	return list, nil
}

// measure sends and repeats in turns.
func (s *subject) measure(ctx context.Context, o Options, at place, authority string) (f report.Figure, err error) {
	m, err := channel.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return f, err
	}
	var c channel.Channel
	sender, err := channel.NewSender(channel.SenderConfig{App: service.App, Channel: s.name, Limits: channel.DefaultLimits()},
		func() (_ channel.Channel, err error) { c, err = s.open(); return c, err }, m, slog.New(slog.DiscardHandler))
	if err != nil {
		return f, err
	}
	defer sender.Close()
	send := func(n *channel.Notice) error {
		for _, r := range sender.Send(ctx, n, s.tokens) {
			if r.Outcome != channel.Sent {
				return fmt.Errorf("a notification is %s for %q: %w", r.Outcome, r.Reason, ctx.Err())
			}
		}
		return nil
	}
	if err := send(notice()); err != nil { // warms up, and leaves a sample
		return f, err
	}
	batch := min(c.Batch(), wire.NotifySize)
	b := &bare{batch: batch, url: at.Plain}
	transport, err := channel.NewTransport(authority)
	if err != nil {
		return f, err
	}
	b.client = channel.NewClient(transport)
	defer b.client.CloseIdleConnections()
	if s.secure {
		b.url = at.Secure
	}
	if err := b.learn(ctx, s.sample); err != nil {
		return f, err
	}
	var ours, theirs []float64
	for range o.Repeats {
		n := notice() // each push is encoded anew
		rate, err := perCore(o.Each, callers, len(s.tokens), func() error { return send(n) })
		if err != nil {
			return f, err
		}
		ours = append(ours, rate)
		// As many requests at once as the sender has.
		at := min(channel.DefaultLimits().Concurrency, callers*(len(s.tokens)/batch))
		if rate, err = perCore(o.Each, at, batch, func() error { return b.post(ctx) }); err != nil {
			return f, err
		}
		theirs = append(theirs, rate)
	}
	over := "HTTP/1.1 without TLS"
	if s.secure {
		over = "HTTP/2 over TLS"
	}
	return report.New(s.name+": notifications a second and core, sender and channel, against the same requests by bare net/http", "/s", ours...).
		Over(theirs...).Noting("%d devices a request of %s bytes, %s", batch, report.Text(float64(len(b.body))), over), nil
}

// perCore does something at once and over again for some time, and gives how many notifications that is for each second of
// this process's CPU time.
func perCore(d time.Duration, at, each int, do func() error) (float64, error) {
	runtime.GC()
	var all sync.WaitGroup
	counts, errs := make([]int, at), make([]error, at)
	before, end := roles.CPU(), time.Now().Add(d)
	for i := range at {
		all.Go(func() {
			for errs[i] == nil && (counts[i] == 0 || time.Now().Before(end)) {
				errs[i] = do()
				counts[i] += each
			}
		})
	}
	all.Wait()
	used, sum := roles.CPU()-before, 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / used.Seconds(), errors.Join(errs...)
}

// bare repeats a request.
type bare struct {
	client *http.Client
	url    string
	header http.Header
	body   []byte
	batch  int
}

// learn asks the vendors what they had last.
func (b *bare) learn(ctx context.Context, of string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+of, nil)
	if err != nil {
		return err
	}
	got, err := b.client.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	var s sample
	if err := json.NewDecoder(got.Body).Decode(&s); err != nil || len(s.Body) == 0 {
		return fmt.Errorf("the vendor has no request: %w", err)
	}
	b.url, b.header, b.body = b.url+s.URL, s.Header, s.Body
	b.header.Del("Content-Length")
	b.header.Del("Accept-Encoding") // which is the client's own
	return nil
}

func (b *bare) post(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(b.body))
	if err != nil {
		return err
	}
	r.Header = b.header.Clone()
	got, err := b.client.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	if _, err := io.Copy(io.Discard, got.Body); err != nil {
		return err
	}
	if got.StatusCode >= 300 {
		return fmt.Errorf("the vendor answers a repeat with %s", got.Status)
	}
	return nil
}
