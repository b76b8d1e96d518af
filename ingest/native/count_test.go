package native

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

type subject struct{ *push.Record }

func (s subject) Attr(slot uint8) string { return s.Attrs[slot] }

// noBits is a bitmap of nothing, as it is laid out.
var noBits = []byte{0x3a, 0x30, 0, 0, 0, 0, 0, 0}

// background runs something that serves until the test ends, and returns when it serves.
func background(t testing.TB, run func(context.Context, func()) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	serving, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx, func() { close(serving) }) //nolint:errcheck // it ends with ctx
	}()
	t.Cleanup(func() { cancel(); <-ended })
	<-serving
}

// matcherOf plays the matchers of the app's first shards: each request is answered from the shard's whole log, user by
// user, by the definition of what a predicate means.
func matcherOf(a *api) {
	for shard := range push.Shard(3) {
		background(a, func(ctx context.Context, ready func()) error {
			return a.b.Serve(ctx, wire.MatchSubject(a.app, shard), "", ready, func(r *broker.Request) {
				reply, err := match(ctx, a, shard, r.Data)
				if err != nil {
					a.Errorf("the matcher: %v", err)
					return
				}
				if err := r.Respond(reply); err != nil {
					a.Error(err)
				}
			})
		})
	}
}

func match(ctx context.Context, a *api, shard push.Shard, request []byte) ([]byte, error) {
	q, err := wire.DecodeMatchRequest(request)
	if err != nil {
		return nil, err
	}
	width := a.b.Sharding().Width()
	users, err := wire.DecodeBitmap(noBits, width)
	if err != nil {
		return nil, err
	}
	nodes := make([]predicate.Node, len(q.Predicates))
	for i, p := range q.Predicates {
		if nodes[i], err = predicate.Parse(p); err != nil {
			return nil, err
		}
	}
	reply := wire.MatchReply{Counts: make([]uint64, len(nodes)), Users: users}
	err = a.b.Fold(ctx, broker.FoldConfig{
		Stream: wire.UsersStream(a.app, shard), StopWhenRead: true,
		Handle: func(m *broker.Message) error {
			if wire.IsPushSubject(m.Subject) {
				return nil
			}
			ordinal, err := wire.ParseUserSubject(m.Subject)
			if err != nil {
				return err
			}
			rec, err := wire.DecodeRecord(m.Data)
			for i, n := range nodes {
				if err == nil && !rec.Deleted && predicate.Match(n, subject{&rec}) {
					reply.Counts[i]++
					if i == 0 {
						users.Add(a.b.Sharding().Local(ordinal))
					}
				}
			}
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return wire.EncodeMatchReply(reply)
}

// gatewayOf plays a gateway where some ordinals of the app are connected. Its role is joined, so that it is waited for.
func gatewayOf(a *api, connected ...push.Ordinal) {
	background(a, func(ctx context.Context, ready func()) error {
		leave, err := a.b.Join(wire.RoleDeliver)
		if err != nil {
			return err
		}
		defer leave()
		return a.b.Serve(ctx, wire.SessionConnectedFilter(), "", ready, func(r *broker.Request) {
			q, err := wire.DecodeJSON[wire.ConnectedRequest](r.Data)
			if err != nil {
				a.Error(err)
				return
			}
			bits, err := wire.DecodeBitmap(noBits, a.b.Sharding().Width())
			if err != nil {
				a.Error(err)
				return
			}
			for _, o := range connected {
				if a.b.Sharding().Shard(o) == q.Shard {
					bits.Add(a.b.Sharding().Local(o))
				}
			}
			data, err := wire.EncodeBitmap(bits)
			if err == nil {
				err = r.Respond(data)
			}
			if err != nil {
				a.Error(err)
			}
		})
	})
}

// A dry run over several shards, with users connected on two gateways, is what going through the accounts gives.
func TestDryRunAgainstTheOracle(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, func(c *broker.Config) { c.Sharding = 4 })
	a := serve(t, b)
	a.attributes("city", "sex")
	random := rand.New(rand.NewPCG(1, 2))
	users := map[string]account{}
	for i := range 40 { // ordinals 1 to 40 are three shards
		body := map[string]any{"tags": []string{}, "attributes": map[string]string{}}
		for tag := range 3 {
			if random.IntN(2) == 0 {
				body["tags"] = append(body["tags"].([]string), fmt.Sprint("t", tag))
			}
		}
		for _, name := range []string{"city", "sex"} {
			if random.IntN(2) == 0 {
				body["attributes"].(map[string]string)[name] = fmt.Sprint(random.IntN(3))
			}
		}
		u := ok[account](a, 201, "PUT", fmt.Sprintf("/v1/accounts/u%d", i), js(body))
		users[u.Account] = u
	}
	for _, name := range []string{"u3", "u20", "u39"} {
		ok[any](a, 204, "DELETE", "/v1/accounts/"+name, "")
		delete(users, name)
	}
	matcherOf(a)
	gatewayOf(a, 1, 2, 3, 4, 5, 17, 18, 40)
	gatewayOf(a, 5, 6, 18, 21) // two of them have sessions on both; 21 is deleted
	online := map[push.Ordinal]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 17: true, 18: true, 40: true, 21: true}

	var generate func(depth int) (string, func(account) bool)
	generate = func(depth int) (string, func(account) bool) {
		kind := random.IntN(9)
		if depth == 0 {
			kind %= 5
		}
		tag, value := fmt.Sprint("t", random.IntN(4)), fmt.Sprint(random.IntN(4))
		has := func(u account, tag string) bool {
			return strings.Contains(" "+strings.Join(u.Tags, " ")+" ", " "+tag+" ")
		}
		switch kind {
		case 0:
			return js(map[string]any{"tag": tag}), func(u account) bool { return has(u, tag) }
		case 1:
			return js(map[string]any{"tag": map[string]any{"in": []string{tag, "t0"}}}), func(u account) bool { return has(u, tag) || has(u, "t0") }
		case 2:
			return js(map[string]any{"attribute": "city", "is": value}), func(u account) bool { return u.Attributes["city"] == value }
		case 3:
			return js(map[string]any{"attribute": "sex", "in": []string{value, "1"}}), func(u account) bool { return u.Attributes["sex"] == value || u.Attributes["sex"] == "1" }
		case 4:
			exists := random.IntN(2) == 0
			return js(map[string]any{"attribute": "city", "exists": exists}), func(u account) bool { return (u.Attributes["city"] != "") == exists }
		case 5:
			kid, f := generate(depth - 1)
			return `{"not":` + kid + `}`, func(u account) bool { return !f(u) }
		}
		x, f := generate(depth - 1)
		y, g := generate(depth - 1)
		if kind == 6 {
			return `{"and":[` + x + `,` + y + `]}`, func(u account) bool { return f(u) && g(u) }
		}
		return `{"or":[` + x + `,` + y + `]}`, func(u account) bool { return f(u) || g(u) }
	}
	expect := func(f func(account) bool) (matched, connected uint64) {
		for _, u := range users {
			if f(u) {
				matched++
				if online[u.Ordinal] {
					connected++
				}
			}
		}
		return matched, connected
	}
	check := func(body string, f func(account) bool) counted {
		t.Helper()
		got := ok[counted](a, 200, "POST", "/v1/pushes", body)
		if m, on := expect(f); got.Matched != m || got.Online != on || got.Offline != m-on {
			t.Errorf("%s: %+v, want %d and %d of them online", body, got, m, on)
		}
		return got
	}
	if got := check(`{"dryRun":true}`, func(account) bool { return true }); len(got.Clauses) != 0 {
		t.Errorf("clauses of no condition: %+v", got.Clauses)
	}
	for range 60 {
		c, f := generate(3)
		check(`{"dryRun":true,"condition":`+c+`}`, f)
	}
	got := check(`{"dryRun":true,"condition":{"and":[{"tag":"t0"},{"not":{"tag":"t1"}}]}}`, func(u account) bool {
		return strings.Contains(strings.Join(u.Tags, " "), "t0") && !strings.Contains(strings.Join(u.Tags, " "), "t1")
	})
	t0, _ := expect(func(u account) bool { return strings.Contains(strings.Join(u.Tags, " "), "t0") })
	t1, _ := expect(func(u account) bool { return strings.Contains(strings.Join(u.Tags, " "), "t1") })
	want := []countedClause{
		{"/condition", []byte(`{"and":[{"tag":"t0"},{"not":{"tag":"t1"}}]}`), got.Matched}, {"/condition/and/0", []byte(`{"tag":"t0"}`), t0},
		{"/condition/and/1", []byte(`{"not":{"tag":"t1"}}`), uint64(len(users)) - t1}, {"/condition/and/1/not", []byte(`{"tag":"t1"}`), t1},
	}
	if js(got.Clauses) != js(want) {
		t.Errorf("clauses %s\n   want %s", js(got.Clauses), js(want))
	}
	if n := a.pushesOf(); n != 0 {
		t.Errorf("dry runs made %d pushes", n)
	}
}

func TestDryRunWithoutMatchers(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	if got := ok[counted](a, 200, "POST", "/v1/pushes", `{"dryRun":true}`); got.Matched != 0 {
		t.Errorf("an app without accounts: %+v", got)
	}
	ok[account](a, 201, "PUT", "/v1/accounts/u", "")
	res := a.do("POST", "/v1/pushes", `{"dryRun":true}`)
	if res.StatusCode != http.StatusServiceUnavailable || res.problem.Code != codeUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s %s", res.StatusCode, res.Header, res.raw)
	}
}

// quota counts, and refuses beyond a limit.
type quota struct{ asked, paid, limit atomic.Int32 }

func (q *quota) admit(context.Context, push.AppID) (func(bool), error) {
	q.asked.Add(1)
	if q.paid.Add(1) > q.limit.Load() {
		q.paid.Add(-1)
		return nil, &ingest.QuotaError{Code: 90047, Detail: "the app's pushes of the day are used up", RetryAfter: 90 * time.Second}
	}
	return func(isNew bool) {
		if !isNew {
			q.paid.Add(-1)
		}
	}, nil
}

// A quota is asked for pushes that are made, and not for counts, refusals or repeats.
func TestQuota(t *testing.T) {
	t.Parallel()
	q := &quota{}
	q.limit.Store(2)
	a := serve(t, brokertest.Start(t), func(c *Config) { c.Quota = q.admit })
	body := `{"body":` + hello + `}`
	a.refused(400, codeMissing, "/body", "POST", "/v1/pushes", `{}`)
	ok[counted](a, 200, "POST", "/v1/pushes", `{"dryRun":true}`)
	ok[accepted](a, 202, "POST", "/v1/pushes", body, "Idempotency-Key", "k")
	ok[accepted](a, 202, "POST", "/v1/pushes", body, "Idempotency-Key", "k")
	ok[accepted](a, 202, "POST", "/v1/pushes", body)
	if q.asked.Load() != 2 || q.paid.Load() != 2 {
		t.Errorf("asked %d times, paid %d", q.asked.Load(), q.paid.Load())
	}
	if res := a.do("POST", "/v1/pushes", body, "Idempotency-Key", "later"); res.StatusCode != 429 || res.problem.Code != codePerDay || res.Header.Get("Retry-After") != "90" {
		t.Errorf("%d %s %v", res.StatusCode, res.raw, res.Header)
	}
	q.limit.Store(3)
	ok[accepted](a, 202, "POST", "/v1/pushes", body, "Idempotency-Key", "later") // what was refused is not remembered
}

// The contract's quota is this interface's too: what one uses up, the other has not.
func TestQuotaIsTheContracts(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	id := serve(t, b).app
	cfg := ingest.Default()
	cfg.Apps = []ingest.App{{ID: id, Keys: []string{sigKey}, Admins: []string{admin}, PushPerDay: 2}}
	contract, err := ingest.New(cfg, b, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a := serveApp(t, b, id, func(c *Config) { c.Quota = contract.AdmitPush })
	body := `{"body":` + hello + `}`
	for range 2 {
		ok[accepted](a, 202, "POST", "/v1/pushes", body, "Idempotency-Key", "k")
	}
	ok[accepted](a, 202, "POST", "/v1/pushes", body)
	a.refused(429, codePerDay, "-", "POST", "/v1/pushes", body)
}

func TestDisabledApps(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	a := serve(t, b, func(c *Config) { c.Apps[0].PushDisabled = true })
	a.refused(403, codePushDisabled, "-", "POST", "/v1/pushes", `{"body":`+hello+`}`)
	ok[counted](a, 200, "POST", "/v1/pushes", `{"dryRun":true}`)
	apps := configOf(a.app).Apps
	apps[0].Disabled = true
	if err := a.SetApps(apps); err != nil {
		t.Fatal(err)
	}
	a.refused(403, codeDisabled, "-", "GET", "/v1/accounts", "")
	if err := a.SetApps(configOf(a.app).Apps); err != nil {
		t.Fatal(err)
	}
	ok[accepted](a, 202, "POST", "/v1/pushes", `{"body":`+hello+`}`)
	if err := a.SetApps(nil); err != nil {
		t.Fatal(err)
	}
	a.refused(401, codeUnauthenticated, "-", "GET", "/v1/accounts", "")
}
