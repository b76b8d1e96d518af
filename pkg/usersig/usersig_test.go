package usersig_test

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

var sentinels = []error{usersig.ErrMalformed, usersig.ErrApp, usersig.ErrIdentifier, usersig.ErrSignature, usersig.ErrExpired}

// pack is the envelope as the contract describes it, written down a second time.
func pack(text []byte, level int) string {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err != nil {
		panic(err)
	}
	w.Write(text)
	w.Close()
	return strings.NewReplacer("+", "*", "/", "-", "=", "_").Replace(base64.StdEncoding.EncodeToString(b.Bytes()))
}

// sum is the signature of the lines as the contract describes it.
func sum(key, lines string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(lines))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

const lines = "TLS.identifier:admin\nTLS.sdkappid:1400000001\nTLS.time:1700000000\nTLS.expire:86400\n"

func mustSign(t testing.TB, key, identifier string, ttl time.Duration, userbuf []byte) string {
	t.Helper()
	sig, err := usersig.Sign(key, app, identifier, issued, ttl, userbuf)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringN(1, -1, 100).Draw(t, "key")
		app := push.AppID(rapid.Uint32Min(1).Draw(t, "app"))
		identifier := rapid.StringN(1, -1, push.MaxAccountLen).Draw(t, "identifier")
		at := time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "at"), 0)
		ttl := time.Duration(rapid.Int64Range(1, 1<<32).Draw(t, "ttl")) * time.Second
		var userbuf []byte
		if rapid.Bool().Draw(t, "with userbuf") {
			userbuf = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "userbuf")
		}
		sig, err := usersig.Sign(key, app, identifier, at, ttl, userbuf)
		if err != nil {
			t.Fatal(err)
		}
		want := usersig.Claims{Identifier: identifier, App: app, Issued: at, Expires: at.Add(ttl), Userbuf: userbuf}
		got, err := usersig.Verify(sig, []string{"another", key}, app, identifier, at.Add(ttl))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
		if _, err = usersig.Verify(sig, []string{key}, app, identifier, at.Add(ttl+time.Second)); !errors.Is(err, usersig.ErrExpired) {
			t.Fatalf("a second later: %v", err)
		}
	})
}

func TestVerifyErrors(t *testing.T) {
	t.Parallel()
	sig := mustSign(t, key, "admin", time.Hour, nil)
	keys, during, after := []string{key}, issued, issued.Add(2*time.Hour)
	for name, c := range map[string]struct {
		keys       []string
		app        push.AppID
		identifier string
		now        time.Time
		want       error
	}{
		"valid":                            {keys, app, "admin", during, nil},
		"valid in the last second":         {keys, app, "admin", issued.Add(time.Hour), nil},
		"issued in the future":             {keys, app, "admin", issued.Add(-time.Hour), nil},
		"a new key beside":                 {[]string{"new", key}, app, "admin", during, nil},
		"expired":                          {keys, app, "admin", after, usersig.ErrExpired},
		"another identifier":               {keys, app, "Admin", during, usersig.ErrIdentifier},
		"another app":                      {keys, app + 1, "admin", during, usersig.ErrApp},
		"another app and identifier":       {keys, app + 1, "Admin", during, usersig.ErrApp},
		"another key":                      {[]string{"another"}, app, "admin", during, usersig.ErrSignature},
		"no key":                           {nil, app, "admin", during, usersig.ErrSignature},
		"an empty key":                     {[]string{""}, app, "admin", during, usersig.ErrSignature},
		"forged and expired":               {[]string{"another"}, app, "admin", after, usersig.ErrSignature},
		"another identifier, key and time": {[]string{"another"}, app, "Admin", after, usersig.ErrIdentifier},
	} {
		if _, err := usersig.Verify(sig, c.keys, c.app, c.identifier, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// An app whose key is empty by mistake must not accept what anybody can sign.
func TestVerifyEmptyKey(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":%q}`, sum("", lines))
	if _, err := usersig.Verify(pack([]byte(text), 6), []string{""}, app, "admin", issued); !errors.Is(err, usersig.ErrSignature) {
		t.Errorf("got %v", err)
	}
}

func TestVerifyForms(t *testing.T) {
	t.Parallel()
	s := sum(key, lines)
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"as documented":       {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, nil},
		"another order":       {`{"TLS.sig":"` + s + `","TLS.expire":86400,"TLS.time":1700000000,"TLS.sdkappid":1400000001,"TLS.identifier":"admin","TLS.ver":"2.0"}`, nil},
		"more members":        {`{"x":{"y":[1,null]},"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + s + `","TLS.new":1}`, nil},
		"space":               {" {\n\"TLS.ver\" : \"2.0\", \"TLS.identifier\":\"admin\",\"TLS.sdkappid\": 1400000001,\"TLS.time\":1700000000,\"TLS.expire\":86400,\"TLS.sig\":\"" + s + "\"}\n", nil},
		"numbers as text":     {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":"1400000001","TLS.time":"1700000000","TLS.expire":"86400","TLS.sig":"` + s + `"}`, nil},
		"userbuf null":        {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.userbuf":null,"TLS.sig":"` + s + `"}`, nil},
		"a userbuf put in":    {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.userbuf":"","TLS.sig":"` + s + `"}`, usersig.ErrSignature},
		"a longer expire":     {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":864000,"TLS.sig":"` + s + `"}`, usersig.ErrSignature},
		"a later time":        {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000001,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrSignature},
		"another version":     {`{"TLS.ver":"1.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"no version":          {`{"TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"no signature":        {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400}`, usersig.ErrMalformed},
		"a short signature":   {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"AAAA"}`, usersig.ErrMalformed},
		"no time":             {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"no app":              {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"a fraction":          {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000.5,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"an exponent":         {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":17e8,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"a huge expire":       {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":9223372036854775807,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"a numeric name":      {`{"TLS.ver":"2.0","TLS.identifier":7,"TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"userbuf not base64":  {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.userbuf":"*","TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"userbuf with a line": {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.userbuf":"AA\nAA","TLS.sig":"` + s + `"}`, usersig.ErrMalformed},
		"more after it":       {`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + s + `"}{}`, usersig.ErrMalformed},
		"null":                {`null`, usersig.ErrMalformed},
		"a list":              {`[]`, usersig.ErrMalformed},
		"nothing":             {``, usersig.ErrMalformed},
		"deep":                {strings.Repeat("[", 16<<10), usersig.ErrMalformed},
	} {
		for level := zlib.HuffmanOnly; level <= zlib.BestCompression; level++ {
			sig := pack([]byte(c.text), level)
			if len(sig) > usersig.MaxLen {
				continue
			}
			if _, err := usersig.Verify(sig, []string{key}, app, "admin", issued); !errors.Is(err, c.want) {
				t.Errorf("%s, zlib level %d: got %v, want %v", name, level, err, c.want)
			}
		}
	}
}

func TestVerifyEnvelope(t *testing.T) {
	t.Parallel()
	sig := mustSign(t, key, "admin", time.Hour, nil)
	for name, bad := range map[string]string{
		"empty":           "",
		"plain base64":    "eJ+/",
		"no zlib":         "AAAA",
		"half":            sig[:len(sig)/2],
		"all but the end": strings.TrimRight(sig, "_")[:(len(sig)-8)/4*4],
		"too long":        strings.Repeat("A", usersig.MaxLen+1),
		"longest":         strings.Repeat("A", usersig.MaxLen),
		"bomb":            pack(make([]byte, 4<<20), 9),
		"a byte too much": pack(bytes.Repeat([]byte(" "), 16<<10+1), 9),
	} {
		if _, err := usersig.Verify(bad, []string{key}, app, "admin", issued); !errors.Is(err, usersig.ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// What came before has no influence: the readers are used again.
	if _, err := usersig.Verify(sig, []string{key}, app, "admin", issued); err != nil {
		t.Error(err)
	}
}

// A text that inflates to exactly the limit is read, and a bomb costs no more than that.
func TestVerifyLimit(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":%q}`, sum(key, lines))
	text += strings.Repeat(" ", 16<<10-len(text))
	if _, err := usersig.Verify(pack([]byte(text), 9), []string{key}, app, "admin", issued); err != nil {
		t.Error(err)
	}
}

// Whatever is done to the characters of a UserSig, it is refused or says the same: what is not signed (such as the zlib
// level in the stream's header) carries no meaning.
func TestVerifyTampered(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-_\n+/="
	for _, v := range vectors {
		want, err := usersig.Verify(v.sig, []string{key}, app, v.identifier, issued)
		if err != nil {
			t.Fatal(err)
		}
		for i := range v.sig {
			b := []byte(v.sig)
			for b[i] == v.sig[i] {
				b[i] = alphabet[rand.IntN(len(alphabet))]
			}
			if got, err := usersig.Verify(string(b), []string{key}, app, v.identifier, issued); err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s verifies, and says %+v", b, got)
			}
		}
	}
}

// Every change to what a UserSig says is refused.
func TestVerifyTamperedText(t *testing.T) {
	t.Parallel()
	honest := map[string]any{
		"TLS.ver": "2.0", "TLS.identifier": "admin", "TLS.sdkappid": app, "TLS.time": issued.Unix(), "TLS.expire": 86400,
		"TLS.userbuf": "AAAA", "TLS.sig": sum(key, lines+"TLS.userbuf:AAAA\n"),
	}
	text, err := json.Marshal(honest)
	if err != nil {
		t.Fatal(err)
	}
	want, err := usersig.Verify(pack(text, 6), []string{key}, app, "admin", issued)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for _, c := range []byte("0A+\",\n") {
			b := bytes.Clone(text)
			if b[i] == c {
				continue
			}
			b[i] = c
			if got, err := usersig.Verify(pack(b, zlib.NoCompression), []string{key}, app, "admin", issued); err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s verifies, and says %+v", b, got)
			}
		}
	}
}

func TestSignErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key, identifier string
		ttl             time.Duration
		userbuf         []byte
	}{
		"no key":               {"", "admin", time.Hour, nil},
		"no identifier":        {key, "", time.Hour, nil},
		"a long identifier":    {key, strings.Repeat("a", 33), time.Hour, nil},
		"not UTF-8":            {key, "\xff", time.Hour, nil},
		"no time":              {key, "admin", time.Millisecond, nil},
		"a large userbuf":      {key, "admin", time.Hour, make([]byte, 16<<10)},
		"incompressible bytes": {key, "admin", time.Hour, noise(8 << 10)},
	} {
		if sig, err := usersig.Sign(c.key, app, c.identifier, issued, c.ttl, c.userbuf); err == nil {
			t.Errorf("%s: signed %s", name, sig)
		} else if strings.Contains(err.Error(), key) {
			t.Errorf("%s: the error has the key in it: %v", name, err)
		}
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// FuzzVerify gives the same bytes as a UserSig and as the JSON in one.
func FuzzVerify(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.sig)
	}
	f.Add(`{"TLS.ver":"2.0","TLS.identifier":"admin","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"` + sum(key, lines) + `"}`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, sig := range []string{s, pack([]byte(s), zlib.NoCompression)} {
			c, err := usersig.Verify(sig, []string{key}, app, "admin", issued)
			known := false
			for _, e := range sentinels {
				known = known || errors.Is(err, e)
			}
			if err == nil && (c.Identifier != "admin" || c.App != app || issued.Unix() > c.Expires.Unix()) || err != nil && !known {
				t.Errorf("%q: %+v, %v", sig, c, err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	sig := mustSign(b, key, "xiaoming", 24*time.Hour, nil)
	keys := []string{key}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := usersig.Verify(sig, keys, app, "xiaoming", issued); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyBomb(b *testing.B) {
	sig := pack(make([]byte, 4<<20), 9)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := usersig.Verify(sig, nil, app, "xiaoming", issued); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := usersig.Sign(key, app, "xiaoming", issued, 24*time.Hour, nil); err != nil {
			b.Fatal(err)
		}
	}
}
