package vendorhttp

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

// ClientCredentials asks an OAuth 2.0 service for an access token (RFC 6749, section 4.4).
func (c *Client) ClientCredentials(ctx context.Context, address, id, secret string) (Grant, channel.Result) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	a, err := c.PostForm(ctx, address, nil, form.Encode())
	if err != nil {
		return Grant{}, Unreachable()
	}
	return grant(a)
}

// grant reads the service's answer.
func grant(a Answer) (Grant, channel.Result) {
	var ans struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       Code    `json:"error"`
	}
	if json.Unmarshal(a.Body, &ans) != nil {
		return Grant{}, a.Verdict()
	}
	switch {
	case a.Status == 200 && ans.AccessToken != "":
		life := min(max(ans.ExpiresIn, 0), 24*60*60)
		return Grant{Token: ans.AccessToken, Life: time.Duration(life) * time.Second}, channel.Result{Outcome: channel.Sent}
	case ans.Error != "" && (a.Status == 200 || a.Status == 400 || a.Status == 401 || a.Status == 403):
		return Grant{}, channel.Result{Outcome: channel.Denied, Reason: ReasonCredentials}
	}
	return Grant{}, a.Verdict()
}
