package channel

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter bounds what a vendor can ask for, so that a header with a mistake in it does not silence a channel for years.
const maxRetryAfter = 24 * time.Hour

// RetryAfter is how long an HTTP answer asks to be left alone: seconds, or a date, in Retry-After. It is zero when there is
// no such header, or none that can be read.
func RetryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(date), 0), maxRetryAfter)
	}
	return 0
}

// maxAnswer is how much of a vendor's answer is read; all that are documented are far shorter.
const maxAnswer = 1 << 20

// Answer reads the JSON of an answer's body into v, a megabyte of it at most. What follows the value is read too, so that the
// connection can be used again.
func Answer(body io.Reader, v any) error {
	body = io.LimitReader(body, maxAnswer)
	err := json.NewDecoder(body).Decode(v)
	_, _ = io.Copy(io.Discard, body)
	return err
}
