package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// vendorFunc is a channel of batches of two that a test speaks for.
type vendorFunc func(ctx context.Context, n *Notice, tokens []string) []Result

func (vendorFunc) Batch() int { return 2 }

func (f vendorFunc) Send(ctx context.Context, n *Notice, tokens []string) []Result {
	return f(ctx, n, tokens)
}

// every answers the same for each token.
func every(r Result) func([]string) []Result {
	return func(tokens []string) []Result { return slices.Repeat([]Result{r}, len(tokens)) }
}

var (
	sent  = every(Result{Outcome: Sent})
	later = every(Result{Outcome: Later, Reason: "BUSY"})
)

// bench is a Sender with what it logs and counts.
type bench struct {
	*Sender
	reg *prometheus.Registry
	log *bytes.Buffer
}

func newBench(t *testing.T, change func(*SenderConfig), open func() (Channel, error)) *bench {
	t.Helper()
	b := &bench{reg: prometheus.NewRegistry(), log: new(bytes.Buffer)}
	m, err := NewMetrics(b.reg)
	if err != nil {
		t.Fatal(err)
	}
	config := SenderConfig{App: 7, Channel: "fake", Limits: DefaultLimits()}
	if change != nil {
		change(&config)
	}
	if b.Sender, err = NewSender(config, open, m, slog.New(slog.NewTextHandler(b.log, nil))); err != nil {
		t.Fatal(err)
	}
	return b
}

func speaking(f func(ctx context.Context, n *Notice, tokens []string) []Result) func() (Channel, error) {
	return func() (Channel, error) { return vendorFunc(f), nil }
}

func tokens(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("secret-%d", i)
	}
	return all
}

func outcomes(results []Result) string {
	var s []string
	for _, r := range results {
		s = append(s, strings.TrimSuffix(r.Outcome.String()+":"+r.Reason, ":"))
	}
	return strings.Join(s, " ")
}

// is compares one metric, its labels and value, with what it should be.
func (b *bench) is(t *testing.T, name string, want ...string) {
	t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			got = append(got, fmt.Sprint(strings.Join(labels, " "), " ", m.GetCounter().GetValue()+m.GetGauge().GetValue()))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func TestEachDeviceHasItsResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		under, most := 0, 0
		b := newBench(t, func(c *SenderConfig) { c.Limits.Concurrency = 3 }, speaking(func(_ context.Context, n *Notice, tokens []string) []Result {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			under--
			mu.Unlock()
			var results []Result
			for _, token := range tokens {
				if token == "secret-3" {
					results = append(results, Result{Outcome: Gone, Reason: "UNREGISTERED"})
				} else {
					results = append(results, Result{Outcome: Sent, ID: string(n.Task) + token})
				}
			}
			return results
		}))
		began := time.Now()
		got := b.Send(t.Context(), &Notice{Task: "t"}, tokens(11))
		for i, r := range got {
			want := Result{Outcome: Sent, ID: fmt.Sprintf("tsecret-%d", i)}
			if i == 3 {
				want = Result{Outcome: Gone, Reason: "UNREGISTERED"}
			}
			if r != want {
				t.Errorf("%d: %+v, want %+v", i, r, want)
			}
		}
		if took := time.Since(began); most != 3 || took != 2*time.Second {
			t.Errorf("%d attempts at a time, in %s; want 3, in 2s", most, took)
		}
		b.is(t, "carillon_channel_results_total", "channel=fake outcome=gone reason=UNREGISTERED 1", "channel=fake outcome=sent reason= 10")
		if got := b.Send(t.Context(), &Notice{}, nil); len(got) != 0 {
			t.Errorf("nobody became %+v", got)
		}
	})
}

func TestLaterIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts := map[string]int{}
		b := newBench(t, func(c *SenderConfig) { c.Limits.Concurrency = 1 }, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result {
			var results []Result
			for _, token := range tokens {
				attempts[token]++
				switch {
				case token == "secret-1" && attempts[token] < 3, token == "secret-2":
					results = append(results, later(tokens[:1])...)
				default:
					results = append(results, sent(tokens[:1])...)
				}
			}
			return results
		}))
		if got := outcomes(b.Send(t.Context(), &Notice{}, tokens(4))); got != "sent sent later:BUSY sent" {
			t.Error(got)
		}
		if attempts["secret-0"] != 1 || attempts["secret-1"] != 3 || attempts["secret-2"] != DefaultLimits().Attempts {
			t.Errorf("attempts are %v", attempts)
		}
	})
}

func TestTheVendorIsLeftAloneAsLongAsItAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		b := newBench(t, func(c *SenderConfig) { c.Limits.Concurrency = 1 }, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result {
			at = append(at, time.Since(began))
			if len(at) == 1 {
				return every(Result{Outcome: Later, Reason: "QUOTA_EXCEEDED", After: 40 * time.Second})(tokens)
			}
			return sent(tokens)
		}))
		if got := outcomes(b.Send(t.Context(), &Notice{}, tokens(5))); got != "sent sent sent sent sent" {
			t.Error(got)
		}
		if len(at) != 4 || at[0] != 0 || at[1] < 40*time.Second {
			t.Errorf("the vendor was asked at %v", at)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result {
			return every(Result{Outcome: Later, Reason: "QUOTA_EXCEEDED", After: time.Hour})(tokens)
		}))
		began := time.Now()
		got := b.Send(t.Context(), &Notice{}, tokens(1))
		if got[0].Outcome != Later || got[0].After != time.Hour || time.Since(began) != 0 {
			t.Errorf("%+v after %s", got, time.Since(began))
		}
		// The vendor is not asked, and who asks is told how long it will be.
		<-time.After(time.Minute)
		if got := b.Send(t.Context(), &Notice{}, tokens(1)); got[0] != (Result{Outcome: Later, Reason: ReasonHeld, After: 59 * time.Minute}) {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhatExpiresIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := newBench(t, nil, speaking(func(ctx context.Context, _ *Notice, tokens []string) []Result {
			if asked++; asked == 2 { // it stalls
				<-ctx.Done()
			}
			return later(tokens)
		}))
		n := &Notice{Expire: time.Now().Add(3 * time.Second)}
		if got := outcomes(b.Send(t.Context(), n, tokens(1))); got != "refused:expired" || asked != 2 || time.Now().After(n.Expire) {
			t.Errorf("%s after %d attempts", got, asked)
		}
		<-time.After(time.Second)
		if got := outcomes(b.Send(t.Context(), n, tokens(2))); got != "refused:expired refused:expired" || asked != 2 {
			t.Errorf("%s after %d attempts", got, asked)
		}
	})
}

func TestAStalledAttemptTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stalled := newBench(t, func(c *SenderConfig) { c.Limits.Attempts = 2 }, speaking(func(ctx context.Context, _ *Notice, tokens []string) []Result {
			<-ctx.Done()
			return every(Result{Outcome: Later, Reason: ReasonUnreachable})(tokens)
		}))
		other := newBench(t, nil, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result { return sent(tokens) }))
		began := time.Now()
		var done sync.WaitGroup
		done.Go(func() {
			if got := outcomes(stalled.Send(t.Context(), &Notice{}, tokens(2))); got != "later:unreachable later:unreachable" {
				t.Error(got)
			}
		})
		synctest.Wait()
		if got := outcomes(other.Send(t.Context(), &Notice{}, tokens(3))); got != "sent sent sent" || time.Since(began) != 0 {
			t.Errorf("another vendor waited for it: %s", got)
		}
		done.Wait()
		if took := time.Since(began); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("two attempts took %s", took)
		}
	})
}

func TestDeniedStopsAllAndIsSaidOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, good := 0, false
		b := newBench(t, func(c *SenderConfig) { c.Limits.Concurrency = 1 }, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result {
			if asked++; good {
				return sent(tokens)
			}
			return every(Result{Outcome: Denied, Reason: "InvalidProviderToken"})(tokens)
		}))
		for range 3 {
			if got := outcomes(b.Send(t.Context(), &Notice{}, tokens(5))); strings.Count(got, "denied:InvalidProviderToken") != 5 {
				t.Error(got)
			}
		}
		if asked != 1 {
			t.Errorf("the vendor was asked %d times", asked)
		}
		<-time.After(time.Minute)
		b.Send(t.Context(), &Notice{}, tokens(5))
		if asked != 2 || strings.Count(b.log.String(), "denies the credentials") != 1 {
			t.Errorf("after a minute, %d times; the log is %s", asked, b.log)
		}
		b.is(t, "carillon_channel_credentials_good", "app=7 channel=fake 0")
		b.is(t, "carillon_channel_breakers_open", "app=7 channel=fake 1")
		good = true
		<-time.After(time.Minute)
		if got := outcomes(b.Send(t.Context(), &Notice{}, tokens(3))); got != "sent sent sent" {
			t.Error(got)
		}
		b.is(t, "carillon_channel_credentials_good", "app=7 channel=fake 1")
		b.is(t, "carillon_channel_breakers_open", "app=7 channel=fake 0")
		if strings.Contains(b.log.String(), "secret") {
			t.Errorf("the log has a token: %s", b.log)
		}
	})
}

func TestTheBreakerSparesAVendorThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked, down := 0, true
		b := newBench(t, func(c *SenderConfig) { c.Limits.Failures, c.Limits.Concurrency, c.Limits.Patience = 3, 1, time.Hour }, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result {
			mu.Lock()
			defer mu.Unlock()
			if asked++; down {
				return later(tokens)
			}
			return sent(tokens)
		}))
		results := b.Send(t.Context(), &Notice{}, tokens(200))
		// Three attempts open it, and each later one is a trial.
		if asked != 3+DefaultLimits().Attempts-1 {
			t.Errorf("the vendor was asked %d times while it was down", asked)
		}
		for _, r := range results {
			if r.Outcome != Later {
				t.Fatalf("%+v", r)
			}
		}
		b.is(t, "carillon_channel_breakers_open", "app=7 channel=fake 1")
		b.is(t, "carillon_channel_breaker_opened_total", "app=7 channel=fake 1")
		down = false
		if got := outcomes(b.Send(t.Context(), &Notice{}, tokens(10))); strings.Count(got, "sent") != 10 {
			t.Error(got)
		}
		b.is(t, "carillon_channel_breakers_open", "app=7 channel=fake 0")
	})
}

// parted has a part for each first letter of a token.
type parted struct{ vendorFunc }

func (parted) Part(token string) string { return token[:1] }

func TestAPartThatFailsHoldsBackNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *SenderConfig) { c.Limits.Failures = 1 }, func() (Channel, error) {
			return parted{func(_ context.Context, _ *Notice, tokens []string) []Result {
				if slices.ContainsFunc(tokens, func(token string) bool { return token[0] != tokens[0][0] }) {
					t.Errorf("two parts in one attempt: %q", tokens)
				}
				if tokens[0][0] == 'b' {
					return every(Result{Outcome: Later, Reason: "BUSY", After: time.Hour})(tokens)
				}
				return sent(tokens)
			}}, nil
		})
		for range 2 {
			began := time.Now()
			got := b.Send(t.Context(), &Notice{}, []string{"a1", "b1", "a2", "b2", "a3", "c1"})
			for i, want := range []Outcome{Sent, Later, Sent, Later, Sent, Sent} {
				if got[i].Outcome != want {
					t.Errorf("%d: %+v", i, got[i])
				}
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %s", took)
			}
		}
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *SenderConfig) { c.Limits.Rate = 10 }, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result { return sent(tokens) }))
		began := time.Now()
		b.Send(t.Context(), &Notice{}, tokens(102))
		if took := time.Since(began).Round(time.Millisecond); took != 10*time.Second {
			t.Errorf("102 at 10 a second with 2 at once took %s, want 10s", took)
		}
	})
}

func TestTheEndOfTheContextIsTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := newBench(t, func(c *SenderConfig) { c.Limits.Concurrency, c.Limits.Failures = 1, 1 }, speaking(func(ctx context.Context, _ *Notice, tokens []string) []Result {
			asked++
			<-ctx.Done()
			return every(Result{Outcome: Later, Reason: ReasonUnreachable})(tokens)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if got := outcomes(b.Send(ctx, &Notice{}, tokens(4))); got != "later:unreachable later:unreachable later:stopped later:stopped" {
			t.Error(got)
		}
		if time.Since(began) != time.Second || asked != 1 {
			t.Errorf("%d attempts in %s", asked, time.Since(began))
		}
		// Which is no fault of the vendor's.
		b.is(t, "carillon_channel_breakers_open", "app=7 channel=fake 0")
	})
}

func TestAChannelWithAFaultIsSurvived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *SenderConfig) { c.Limits.Attempts = 1 }, speaking(func(_ context.Context, _ *Notice, tokens []string) []Result {
			return sent(tokens)[:1]
		}))
		if got := outcomes(b.Send(t.Context(), &Notice{}, tokens(2))); got != "sent later:other" {
			t.Error(got)
		}
	})
}

func TestNewCredentialsAreTakenUp(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	write := func(content string) {
		if err := os.WriteFile(key, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write("wrong")
		opened := 0
		b := newBench(t, func(c *SenderConfig) { c.Files = []string{key} }, func() (Channel, error) {
			content, err := os.ReadFile(key)
			if err != nil || string(content) == "bad" {
				return nil, errors.New("the key is no key")
			}
			opened++
			return vendorFunc(func(_ context.Context, _ *Notice, tokens []string) []Result {
				if string(content) == "wrong" {
					return every(Result{Outcome: Denied, Reason: "InvalidProviderToken"})(tokens)
				}
				return every(Result{Outcome: Sent, ID: string(content)})(tokens)
			}), nil
		})
		send := func() Result { return b.Send(t.Context(), &Notice{}, tokens(1))[0] }
		good := func(want string) {
			t.Helper()
			b.is(t, "carillon_channel_credentials_good", "app=7 channel=fake "+want)
		}
		if r := send(); r.Outcome != Denied {
			t.Errorf("%+v", r)
		}
		good("0")
		write("first")
		<-time.After(recheck)
		if r := send(); r.ID != "first" {
			t.Errorf("the breaker stayed open for new credentials: %+v", r)
		}
		good("1")
		for range 3 {
			write("bad")
			<-time.After(recheck)
			if r := send(); r.ID != "first" {
				t.Errorf("the good ones did not stay: %+v", r)
			}
			good("0")
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		<-time.After(recheck)
		send()
		write("second")
		<-time.After(recheck)
		if r := send(); r.ID != "second" || opened != 3 {
			t.Errorf("%+v, opened %d times", r, opened)
		}
		good("1")
		if n := strings.Count(b.log.String(), "such that cannot be used"); n != 2 {
			t.Errorf("%d times in the log, want 2: %s", n, b.log)
		}
	})
}

func TestASenderMustOpen(t *testing.T) {
	t.Parallel()
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	broken := func() (Channel, error) { return nil, errors.New("the key is no key") }
	if _, err := NewSender(SenderConfig{App: 7, Channel: "fake", Limits: DefaultLimits()}, broken, m, slog.New(slog.DiscardHandler)); err == nil ||
		err.Error() != "open channel fake of app 7: the key is no key" {
		t.Errorf("it opened: %v", err)
	}
	if _, err := NewSender(SenderConfig{App: 7, Channel: "fake"}, broken, m, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "the concurrency must be at least 1; it is 0") {
		t.Errorf("limits of nothing are taken: %v", err)
	}
}

// revoking is a vendor that can take back.
type revoking struct{ vendorFunc }

func (revoking) Revoke(_ context.Context, _ *Notice, tokens, ids []string) []Result {
	var results []Result
	for i := range tokens {
		results = append(results, Result{Outcome: Sent, ID: tokens[i] + "/" + ids[i]})
	}
	return results
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	plain := newBench(t, nil, speaking(nil))
	if got := outcomes(plain.Revoke(t.Context(), &Notice{}, tokens(1), tokens(1))); plain.Revokes() || got != "refused:other" {
		t.Errorf("a vendor that cannot take back did: %s", got)
	}
	b := newBench(t, nil, func() (Channel, error) { return revoking{}, nil })
	got := b.Revoke(t.Context(), &Notice{}, []string{"a", "b", "c"}, []string{"1", "", "3"})
	if want := []Result{{Outcome: Sent, ID: "a/1"}, {Outcome: Sent, ID: "b/"}, {Outcome: Sent, ID: "c/3"}}; !b.Revokes() || !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestReasonsAreAClosedSet(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, speaking(nil))
	for i := range maxReasons + 20 {
		b.metrics.count("fake", []Result{{Outcome: Refused, Reason: fmt.Sprint("reason", i)}})
	}
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := len(f.GetMetric()); f.GetName() == "carillon_channel_results_total" && n != maxReasons+1 {
			t.Errorf("%d labels", n)
		}
	}
}
