// Package usersig signs and verifies UserSigs, the tokens by which the REST contract knows who calls.
//
// A UserSig is base64 in an alphabet that is safe in a URL, of the zlib stream of a JSON object, which carries an
// identifier, an app, a time and an HMAC-SHA256 of these with the app's key. The vendor's generators for other languages
// differ in zlib level and in member order; all that they make is accepted here.
package usersig

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
)

// version is the one value of TLS.ver whose signature is an HMAC. It is not signed itself.
const version = "2.0"

// envelope is the base64 around the zlib stream: the standard alphabet with '+', '/' and '=' replaced.
var envelope = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-").WithPadding('_').Strict()

// inner is the base64 of the members TLS.sig and TLS.userbuf.
var inner = base64.StdEncoding.Strict()

// document is the JSON object. The numbers are json.Number, which a number's text in quotes also decodes to: some
// generators quote TLS.sdkappid.
type document struct {
	Ver        string      `json:"TLS.ver"`
	Identifier string      `json:"TLS.identifier"`
	App        json.Number `json:"TLS.sdkappid"`
	Time       json.Number `json:"TLS.time"`
	Expire     json.Number `json:"TLS.expire"`
	// Userbuf is base64; nil is no userbuf, which is signed otherwise than an empty one.
	Userbuf *string `json:"TLS.userbuf,omitempty"`
	Sig     string  `json:"TLS.sig"`
}

// mac is the document's HMAC with the key. What is signed can be read in one way only, whatever the identifier holds,
// because no line after the identifier's can hold a line break: the numbers are canonical and the userbuf is base64.
func (d *document) mac(key string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	b := make([]byte, 0, 256)
	b = append(append(append(b, "TLS.identifier:"...), d.Identifier...), '\n')
	b = append(append(append(b, "TLS.sdkappid:"...), d.App...), '\n')
	b = append(append(append(b, "TLS.time:"...), d.Time...), '\n')
	b = append(append(append(b, "TLS.expire:"...), d.Expire...), '\n')
	if d.Userbuf != nil {
		b = append(append(append(b, "TLS.userbuf:"...), *d.Userbuf...), '\n')
	}
	h.Write(b)
	return h.Sum(nil)
}

// Sign makes the UserSig of an identifier of the app, which is valid from the moment it is issued until ttl later, in
// whole seconds. A nil userbuf is left out. It fails for what no UserSig can carry or no verifier would accept: an empty
// key, an identifier that is no account or not UTF-8, a ttl below a second, or a result longer than MaxLen.
func Sign(key string, app push.AppID, identifier string, issued time.Time, ttl time.Duration, userbuf []byte) (string, error) {
	if key == "" {
		return "", fmt.Errorf("sign a UserSig for %q: the key of app %s is empty", identifier, app)
	}
	if err := push.ValidAccount(identifier); err != nil {
		return "", fmt.Errorf("sign a UserSig for %q: %w", identifier, err)
	}
	if !utf8.ValidString(identifier) {
		return "", fmt.Errorf("sign a UserSig for %q: the identifier is not UTF-8, and JSON cannot carry it", identifier)
	}
	if ttl < time.Second {
		return "", fmt.Errorf("sign a UserSig for %q: it would be valid for %s, and must be for at least 1s", identifier, ttl)
	}
	d := document{
		Ver:        version,
		Identifier: identifier,
		App:        json.Number(app.String()),
		Time:       decimal(issued.Unix()),
		Expire:     decimal(int64(ttl / time.Second)),
	}
	if userbuf != nil {
		s := inner.EncodeToString(userbuf)
		d.Userbuf = &s
	}
	d.Sig = inner.EncodeToString(d.mac(key))
	text, err := json.Marshal(&d)
	if err != nil {
		return "", fmt.Errorf("sign a UserSig for %q: encode it as JSON: %w", identifier, err)
	}
	sig, err := pack(text)
	if err != nil {
		return "", fmt.Errorf("sign a UserSig for %q: %w", identifier, err)
	}
	return sig, nil
}

// Claims are what a verified UserSig says.
type Claims struct {
	Identifier string
	App        push.AppID
	// Issued and Expires are in whole seconds. Expires is the last second at which the UserSig is valid.
	Issued, Expires time.Time
	// Userbuf is nil where there is none.
	Userbuf []byte
}

// Verify reads a UserSig that a caller presented as the identifier of the app, and checks it against the app's keys, of
// which there are several while one replaces another. The errors are, in the order of the checks, ErrMalformed, ErrApp,
// ErrIdentifier, ErrSignature and ErrExpired.
//
// ErrApp and ErrIdentifier come before the signature, as the contract's codes do: the app must agree before its keys mean
// anything, and both only compare what the caller sent with what the caller sent. Expiry comes after it, so that
// whoever forges a signature learns that it is wrong and nothing else. A UserSig issued in the future is valid, since
// its issuer's clock may be ahead of ours.
func Verify(sig string, keys []string, app push.AppID, identifier string, now time.Time) (Claims, error) {
	text, err := unpack(sig)
	if err != nil {
		return Claims{}, err
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Claims{}, fmt.Errorf("%w: it does not hold a JSON object of its form", ErrMalformed)
	}
	claims, mac, err := d.read()
	if err != nil {
		return Claims{}, err
	}
	if d.App.String() != app.String() {
		return Claims{}, fmt.Errorf("%w: it is for %s, and the call for %s", ErrApp, d.App, app)
	}
	if d.Identifier != identifier {
		return Claims{}, fmt.Errorf("%w: it is for %q, and the call by %q", ErrIdentifier, d.Identifier, identifier)
	}
	if !d.signed(keys, mac) {
		return Claims{}, ErrSignature
	}
	if now.Unix() > claims.Expires.Unix() {
		return Claims{}, fmt.Errorf("%w: it was valid until %s", ErrExpired, claims.Expires.UTC().Format(time.RFC3339))
	}
	claims.App = app
	return claims, nil
}

// read checks the document's form and gives its claims, all but the app, and its HMAC.
func (d *document) read() (c Claims, mac []byte, err error) {
	if d.Ver != version {
		return c, nil, fmt.Errorf("%w: TLS.ver is not %q", ErrMalformed, version)
	}
	if _, ok := integer(d.App); !ok {
		return c, nil, fmt.Errorf("%w: TLS.sdkappid is not an integer", ErrMalformed)
	}
	issued, ok := integer(d.Time)
	if !ok {
		return c, nil, fmt.Errorf("%w: TLS.time is not an integer", ErrMalformed)
	}
	ttl, ok := integer(d.Expire)
	if !ok {
		return c, nil, fmt.Errorf("%w: TLS.expire is not an integer", ErrMalformed)
	}
	if mac, err = inner.DecodeString(d.Sig); err != nil || len(mac) != sha256.Size {
		return c, nil, fmt.Errorf("%w: TLS.sig is not the base64 of %d bytes", ErrMalformed, sha256.Size)
	}
	if d.Userbuf != nil {
		// The decoder skips line breaks, which must not get into what is signed.
		if c.Userbuf, err = inner.DecodeString(*d.Userbuf); err != nil || strings.ContainsAny(*d.Userbuf, "\r\n") {
			return c, nil, fmt.Errorf("%w: TLS.userbuf is not base64", ErrMalformed)
		}
	}
	c.Identifier, c.Issued, c.Expires = d.Identifier, time.Unix(issued, 0), time.Unix(issued+ttl, 0)
	return c, mac, nil
}

// signed says whether mac is the document's HMAC with one of the keys. An empty key signs nothing: anybody has it.
func (d *document) signed(keys []string, mac []byte) bool {
	for _, key := range keys {
		if key != "" && hmac.Equal(d.mac(key), mac) {
			return true
		}
	}
	return false
}

// integer reads a number in its one canonical form: what is signed is its text. It is within ±2^53, so that a sum of
// two does not overflow.
func integer(n json.Number) (int64, bool) {
	i, err := strconv.ParseInt(n.String(), 10, 54)
	return i, err == nil && decimal(i) == n
}

func decimal(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }
