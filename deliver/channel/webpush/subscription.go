package webpush

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/SherClockHolmes/webpush-go"
)

// subscription reads a token: the JSON of a browser's PushSubscription. It is false for what is none: an endpoint that is no
// https URL, or keys with which nothing can be encrypted.
func subscription(token string) (*webpush.Subscription, *url.URL, bool) {
	var s webpush.Subscription
	if json.Unmarshal([]byte(token), &s) != nil {
		return nil, nil, false
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, nil, false
	}
	auth, ok := decode(s.Keys.Auth)
	if !ok || len(auth) != 16 {
		return nil, nil, false
	}
	public, ok := decode(s.Keys.P256dh)
	if !ok {
		return nil, nil, false
	}
	if _, err := ecdh.P256().NewPublicKey(public); err != nil {
		return nil, nil, false
	}
	s.Keys = webpush.Keys{Auth: encode(auth), P256dh: encode(public)}
	return &s, u, true
}

// decode reads base64 of either alphabet, with padding or without.
func decode(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "=")))
	return b, err == nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
