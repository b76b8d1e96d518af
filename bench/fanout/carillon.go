package fanout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/bench/service"
)

// Carillon is the whole service as an operator runs it: the real binary, every role and the broker in one process. The
// sessions, at most so many, are of as many accounts and log in with UserSigs; a round is one im_push over REST, which is
// made durable, matched and dispatched. Its CPU time is that of all this.
func Carillon(sessions int) Candidate { return carillon{sessions} }

type carillon struct{ sessions int }

func (carillon) Name() string { return "carillon serve" }

// together is how many accounts one call imports.
const together = 100

func (c carillon) Start(ctx context.Context, message []byte) (Server, error) {
	p, err := service.Start(ctx)
	if err != nil {
		return nil, err
	}
	s := &served{Process: p, message: message}
	if err := s.prepare(ctx, c.sessions); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return s, nil
}

// served is a service that runs.
type served struct {
	*service.Process
	message []byte
	paths   []string
	rounds  uint32
}

// prepare makes the accounts, so that what they take is there before the first session.
func (s *served) prepare(ctx context.Context, sessions int) error {
	var accounts []string
	for i := range sessions {
		account := "u" + strconv.Itoa(i)
		sig, err := service.Sig(account)
		if err != nil {
			return fmt.Errorf("signing for %s: %w", account, err)
		}
		q := url.Values{"sdkappid": {service.App.String()}, "identifier": {account}, "usersig": {sig}}
		s.paths = append(s.paths, "/v1/session?"+q.Encode())
		if accounts = append(accounts, account); len(accounts) < together && i < sessions-1 {
			continue
		}
		err = s.REST.Call(ctx, "im_open_login_svc/multiaccount_import", map[string]any{"Accounts": accounts}, nil)
		if err != nil {
			return fmt.Errorf("importing accounts: %w", err)
		}
		accounts = accounts[:0]
	}
	return nil
}

func (s *served) Addr() string { return s.Sessions }

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

// Round pushes the message to everybody online: a member of an element that the service does not know, which it carries
// as it is.
func (s *served) Round(ctx context.Context) error {
	s.rounds++
	_, err := s.REST.Push(ctx, map[string]any{"MsgRandom": s.rounds, "MsgBody": []any{map[string]any{
		"MsgType": "TIMCustomElem", "MsgContent": map[string]any{"Data": ""},
		"message": json.RawMessage(s.message),
	}}})
	return err
}

func (s *served) CPU(context.Context) (time.Duration, error) { return s.Process.CPU() }

// Settle makes the collector run twice, by asking for metrics, and waits until the process gives nothing more back. What
// the collector keeps free for what is to come is in the result, as it is in production.
func (s *served) Settle(ctx context.Context) (int64, error) {
	const cycles = "go_gc_duration_seconds_count"
	before, err := s.Metric(ctx, cycles)
	if err != nil {
		return 0, err
	}
	if err := s.until(ctx, cycles, func(v float64) bool { return v >= before+2 }); err != nil {
		return 0, err
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
