package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
	"golang.org/x/sync/singleflight"

	"github.com/carillon-push/carillon/deliver/channel"
)

// scope is what messages:send asks for.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

// accessTimeout is how long Google may take to give an access token. It is not the caller's context that ends it: others wait
// for the same one.
const accessTimeout = 10 * time.Second

// access holds the access token that a service account is given for its signature, for an hour or so. Those who need a new
// one at a time wait for one request; the token source of package oauth2 would keep them waiting past their contexts' end.
type access struct {
	config *jwt.Config
	client *http.Client
	flight singleflight.Group

	mu      sync.Mutex
	current *oauth2.Token
}

func newAccess(a *account, transport http.RoundTripper) *access {
	client := channel.NewClient(transport)
	client.Timeout = accessTimeout
	return &access{client: client, config: &jwt.Config{
		Email: a.Email, PrivateKey: []byte(a.PrivateKey), PrivateKeyID: a.KeyID, TokenURL: a.TokenURL, Scopes: []string{scope},
	}}
}

// token is a valid access token.
func (a *access) token(ctx context.Context) (string, error) {
	a.mu.Lock()
	current := a.current
	a.mu.Unlock()
	if current.Valid() {
		return current.AccessToken, nil
	}
	fetched := a.flight.DoChan("", func() (any, error) {
		t, err := a.config.TokenSource(context.WithValue(context.Background(), oauth2.HTTPClient, a.client)).Token()
		if err != nil {
			return nil, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.current = t
		return t, nil
	})
	select {
	case r := <-fetched:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(*oauth2.Token).AccessToken, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// drop forgets a token that was not accepted.
func (a *access) drop(used string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.current.AccessToken == used {
		a.current = nil
	}
}

// grantErrors are the error codes of OAuth 2.0 (RFC 6749, 5.2) that say that the account's signature gets no token.
var grantErrors = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true,
}

// noToken is what an error of token means for a device.
func noToken(err error) channel.Result {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable}
	}
	if status := refused.Response.StatusCode; status == http.StatusTooManyRequests || status >= 500 || status < 400 {
		return channel.Result{Outcome: channel.Later, Reason: channel.ReasonUnreachable, After: channel.RetryAfter(refused.Response.Header)}
	}
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(refused.Body, &body) != nil || !grantErrors[body.Error] {
		body.Error = channel.ReasonOther
	}
	return channel.Result{Outcome: channel.Denied, Reason: body.Error}
}
