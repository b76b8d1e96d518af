package client

import (
	"encoding/json"
	"testing"
	"time"
)

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "1e9", "4294967296", "Fri, 31 Dec 1999 23:59:59 GMT", "Sat, 01 Jan 2000 00:00:30 GMT", "soon"} {
		f.Add(s)
	}
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(s, now); d < 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}

// Whatever a body is, its text can be asked for.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "null", "[null]", `[{"MsgType":"TIMTextElem"}]`, `[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a"}}]`, `[{"MsgType":1}]`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if text := (Push{Body: body}).Text(); text != "" && !json.Valid(body) {
			t.Errorf("%q says %q", body, text)
		}
	})
}
