package crowd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-push/carillon/bench/service"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Carillon is the whole service as an operator runs it: the real binary, every role and the broker in one process. The
// sessions, at most so many, are of as many accounts and log in with UserSigs; a round is one im_push over REST, which is
// made durable, matched and dispatched. Its CPU time is that of all this.
func Carillon(sessions int) Candidate { return carillon{sessions, false} }

// CarillonTLS is the same with sessions over TLS 1.3, the service's own, with a certificate of an elliptic curve.
func CarillonTLS(sessions int) Candidate { return carillon{sessions, true} }

type carillon struct {
	sessions int
	secure   bool
}

func (c carillon) Name() string {
	if c.secure {
		return "carillon serve with TLS"
	}
	return "carillon serve"
}

func (c carillon) Start(ctx context.Context, message []byte) (server Server, err error) {
	s := &served{message: message}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	var flags []string
	if c.secure {
		if s.certificates, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
			return nil, fmt.Errorf("make a directory for a certificate: %w", err)
		}
		cert, key, err := certificate(s.certificates)
		if err != nil {
			return nil, fmt.Errorf("make a certificate: %w", err)
		}
		flags = []string{"--sessions.tls_cert", cert, "--sessions.tls_key", key}
	}
	p, err := service.Start(ctx, flags...)
	if err != nil {
		return nil, err
	}
	s.running, s.rest, s.gateways = p, p.REST, []string{p.Sessions}
	return s, s.prepare(ctx, c.sessions)
}

// Stop ends the service. Its certificate stands until then, since it is looked at again and again.
func (s *served) Stop() error {
	var err error
	if s.running != nil {
		err = s.running.Stop()
	}
	if s.certificates != "" {
		err = errors.Join(err, os.RemoveAll(s.certificates))
	}
	return err
}

// running is a service, in one process or in several.
type running interface {
	Import(ctx context.Context, accounts []string) error
	Metric(ctx context.Context, name string, labels ...string) (float64, error)
	CPU() (time.Duration, error)
	RSS() (int64, error)
	Stop() error
}

// served is a service that runs.
type served struct {
	running
	rest     *client.REST
	gateways []string
	message  []byte
	saying   map[string]any // of each push, beside its message
	// certificates is the directory of the one that sessions over TLS are served with; empty for plain ones.
	certificates string
	paths        []string
	pushed       uint32
	seqs         []push.Seq // of the last round
}

// prepare makes the accounts, so that what they take is there before the first session.
func (s *served) prepare(ctx context.Context, sessions int) error {
	accounts := make([]string, sessions)
	for i := range accounts {
		accounts[i] = "u" + strconv.Itoa(i)
	}
	if err := s.sign(accounts); err != nil {
		return err
	}
	return s.Import(ctx, accounts)
}

// sign makes the paths by which accounts log in.
func (s *served) sign(accounts []string) error {
	for _, a := range accounts {
		path, err := service.SessionPath(a)
		if err != nil {
			return err
		}
		s.paths = append(s.paths, path)
	}
	return nil
}

func (s *served) Addrs() []string { return s.gateways }

func (s *served) Secure() bool { return s.certificates != "" }

func (s *served) Path(i int) string { return s.paths[i] }

func (s *served) Await(ctx context.Context, n int) error {
	return s.until(ctx, "carillon_deliver_sessions", func(v float64) bool { return int(v) == n })
}

// until looks at a metric every few milliseconds: it is outside of what is measured.
func (s *served) until(ctx context.Context, metric string, enough func(float64) bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := s.Metric(ctx, metric)
		if err != nil || enough(v) {
			return err
		}
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return fmt.Errorf("%s is %v: %w", metric, v, ctx.Err())
		case <-tick.C:
		}
	}
}

func (*served) Greeting() []byte { return nil }

// Round pushes the message to everybody online: a member of an element that the service does not know, which it carries
// as it is. Several pushes are as many calls at once; how many of them a session then gets in one write is the service's
// doing.
func (s *served) Round(ctx context.Context, pushes int) error {
	g, ctx := errgroup.WithContext(ctx)
	s.seqs = make([]push.Seq, pushes)
	for i := range pushes {
		s.pushed++
		random := s.pushed
		g.Go(func() error {
			call := map[string]any{"MsgRandom": random, "MsgBody": []any{map[string]any{
				"MsgType": "TIMCustomElem", "MsgContent": map[string]any{"Data": ""},
				"message": json.RawMessage(s.message),
			}}}
			maps.Copy(call, s.saying)
			id, err := s.rest.Push(ctx, call)
			if err != nil {
				return err
			}
			_, seq, err := id.Parse()
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			s.seqs[i] = seq
			return nil
		})
	}
	return g.Wait()
}

func (s *served) Receipts() [][]byte {
	var texts [][]byte
	for _, seq := range s.seqs {
		texts = append(texts, receipt(seq))
	}
	return texts
}

// receipt is what a client of the service sends for a push that it has received.
func receipt(seq push.Seq) []byte {
	return wire.EncodeJSON(wire.ClientFrame{Type: wire.FrameAck, Seqs: []push.Seq{seq}})
}

func (s *served) Taken(ctx context.Context) (int, error) {
	n, err := s.Metric(ctx, "carillon_deliver_acknowledged_total")
	return int(n), err
}

func (s *served) CPU(context.Context) (time.Duration, error) { return s.running.CPU() }

// Settle makes the collector run twice, by asking for metrics, and waits until the process gives nothing more back. What
// the collector keeps free for what is to come is in the result, as it is in production.
func (s *served) Settle(ctx context.Context) (int64, error) {
	const cycles = "go_gc_duration_seconds_count"
	before, err := s.Metric(ctx, cycles)
	if err != nil {
		return 0, err
	}
	for done := before; done < before+2; {
		if done, err = s.Metric(ctx, cycles); err != nil {
			return 0, err
		}
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	least, err := s.RSS()
	for still := 0; err == nil && still < 4; {
		select { // the ticker wakes it, ctx ends it
		case <-ctx.Done():
			return least, nil
		case <-tick.C:
		}
		var now int64
		if now, err = s.RSS(); now < least-64<<10 {
			least, still = now, 0
		} else {
			still++
		}
	}
	return least, err
}
