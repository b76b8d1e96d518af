package channel

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"": 0, "7": 7 * time.Second, "0": 0, "-1": 0, "1.5": 0, "soon": 0, "99999999999": 0, "4000000000": 24 * time.Hour,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute,
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):  0,
			time.Now().AddDate(9, 0, 0).UTC().Format(http.TimeFormat): 24 * time.Hour,
		} {
			if got := RetryAfter(http.Header{"Retry-After": {value}}); got != want {
				t.Errorf("%q is %s, want %s", value, got, want)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7")
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT")
	f.Fuzz(func(t *testing.T, value string) {
		if d := RetryAfter(http.Header{"Retry-After": {value}}); d < 0 || d > maxRetryAfter {
			t.Errorf("%q is %s", value, d)
		}
	})
}

func TestAnswerIsBounded(t *testing.T) {
	t.Parallel()
	var v struct{ A string }
	body := strings.NewReader(`{"A":"x"} and more`)
	if err := Answer(body, &v); err != nil || v.A != "x" || body.Len() != 0 {
		t.Errorf("%v, %+v, %d bytes left", err, v, body.Len())
	}
	if err := Answer(strings.NewReader(`{"A":"`+strings.Repeat("x", maxAnswer)+`"}`), new(json.RawMessage)); err == nil {
		t.Error("more than a megabyte was read")
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"https://push.example.org": true, "https://10.0.0.1:8443/base/": true, "http://127.0.0.1:80": true, "http://localhost:80": true, "http://[::1]": true,
		"": false, "http://example.org": false, "http://10.0.0.1": false, "example.org": false, "https://": false, "https://u:secret@h": false, "https://u:secret@h%": false,
		"https://h?x": false, "https://h#x": false, "://": false, "ftp://localhost": false,
	} {
		if err := BaseURL(s); (err == nil) != want || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", s, err)
		}
	}
}
