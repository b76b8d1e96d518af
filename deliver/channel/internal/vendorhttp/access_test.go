package vendorhttp

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-push/carillon/deliver/channel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	sent   = channel.Result{Outcome: channel.Sent}
	denied = channel.Result{Outcome: channel.Denied, Reason: ReasonCredentials}
)

// issuer grants token-1, token-2 and so on, after a second each, unless it is to say something else.
type issuer struct {
	mu    sync.Mutex
	calls int
	says  channel.Result
	life  time.Duration
}

func (i *issuer) fetch(ctx context.Context) (Grant, channel.Result) {
	i.mu.Lock()
	i.calls++
	n, says, life := i.calls, i.says, i.life
	i.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return Grant{}, Unreachable()
	}
	if says.Outcome != channel.Sent {
		return Grant{}, says
	}
	return Grant{Token: fmt.Sprint("token-", n), Life: life}, says
}

func (i *issuer) set(says channel.Result) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.says = says
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

// ask asks n times at once, and gives the answers with how often each came.
func ask(a *Access, n int) map[string]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := make(map[string]int)
	for range n {
		wg.Go(func() {
			token, r := a.Token(context.Background())
			mu.Lock()
			defer mu.Unlock()
			got[token+r.Reason]++
		})
	}
	wg.Wait()
	return got
}

func TestManyCallersFetchOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{says: sent, life: time.Hour}
		a := NewAccess(i.fetch)
		if got := ask(a, 100); got["token-1"] != 100 || i.count() != 1 {
			t.Errorf("%v after %d fetches", got, i.count())
		}
	})
}

func TestAFailureIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{says: denied, life: time.Hour}
		a := NewAccess(i.fetch)
		if got := ask(a, 100); got[ReasonCredentials] != 100 || i.count() != 1 {
			t.Errorf("%v after %d fetches", got, i.count())
		}
		// It is not remembered beyond those who waited for it.
		i.set(sent)
		if token, r := a.Token(t.Context()); token != "token-2" || r != sent {
			t.Errorf("%q, %+v", token, r)
		}
	})
}

func TestRenewalIsEarlyAndNobodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{says: sent, life: time.Hour}
		a := NewAccess(i.fetch)
		ask(a, 1)
		<-time.After(50 * time.Minute)
		if ask(a, 10); i.count() != 1 {
			t.Errorf("it is renewed ten minutes before its end")
		}
		<-time.After(6 * time.Minute)
		started := time.Now()
		got := ask(a, 10)
		if got["token-1"] != 9 || got["token-2"] != 1 || time.Since(started) > time.Second {
			t.Errorf("%v after %s", got, time.Since(started))
		}
		if got := ask(a, 10); got["token-2"] != 10 || i.count() != 2 {
			t.Errorf("%v after %d fetches", got, i.count())
		}
	})
}

func TestTheOldTokenServesWhileItHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{says: sent, life: time.Hour}
		a := NewAccess(i.fetch)
		ask(a, 1)
		i.set(Unreachable())
		<-time.After(57 * time.Minute)
		for range 5 {
			if got := ask(a, 1); got["token-1"] != 1 {
				t.Errorf("%v", got)
			}
		}
		if i.count() != 2 {
			t.Errorf("a renewal that failed was tried again at once: %d fetches", i.count())
		}
		<-time.After(4 * time.Minute)
		if got := ask(a, 1); got[channel.ReasonUnreachable] != 1 {
			t.Errorf("a token that has ended is used: %v", got)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{says: sent, life: time.Hour}
		a := NewAccess(i.fetch)
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if token, r := a.Token(short); token != "" || r != Unreachable() {
				t.Errorf("%q, %+v", token, r)
			}
		})
		synctest.Wait()
		// One who waits for a caller that gives up fetches for itself.
		if token, r := a.Token(t.Context()); token != "token-2" || r != sent {
			t.Errorf("%q, %+v", token, r)
		}
		wg.Wait()
		if token, r := a.Token(short); token != "token-2" || r != sent {
			t.Errorf("with the token at hand: %q, %+v", token, r)
		}
	})
}

func TestDoRenewsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{says: sent, life: time.Hour}
		a, b := NewAccess(i.fetch), NewBatch([]string{"a"})
		var tried []string
		results := a.Do(t.Context(), b, func(token string) ([]channel.Result, bool) {
			tried = append(tried, token)
			return b.All(denied), true
		})
		if fmt.Sprint(tried) != "[token-1 token-2]" || results[0] != denied {
			t.Errorf("%v: %+v", tried, results)
		}
		// Callers with the same stale token renew it once together.
		first := ask(a, 1)
		i.set(sent)
		calls := i.count()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				b := NewBatch([]string{"a"})
				results := a.Do(t.Context(), b, func(token string) ([]channel.Result, bool) {
					return b.All(sent), first[token] > 0
				})
				if results[0] != sent {
					t.Errorf("%+v", results)
				}
			})
		}
		wg.Wait()
		if n := i.count() - calls; n != 1 {
			t.Errorf("ten callers renewed one stale token %d times", n)
		}
	})
}
