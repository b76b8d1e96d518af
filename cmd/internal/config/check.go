package config

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check says what is wrong with a key's value, as the rest of a sentence that begins with the key's name, or "".
type check func(v any) string

func notEmpty(v any) string {
	if v.(string) == "" {
		return "it must not be empty"
	}
	return ""
}

// address allows host:port, with an empty host for all interfaces and port 0 for a free one.
func address(v any) string {
	_, port, err := net.SplitHostPort(v.(string))
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return describe(v) + " is not an address such as 127.0.0.1:8080 or :8080"
	}
	return ""
}

func timeZone(v any) string {
	if _, err := time.LoadLocation(v.(string)); err != nil {
		return describe(v) + " is not a time zone such as UTC or Asia/Shanghai"
	}
	return ""
}

func optional(c check) check {
	return func(v any) string {
		if v.(string) == "" {
			return ""
		}
		return c(v)
	}
}

func between(lo, hi int64) check {
	return func(v any) string {
		if n := integer(v); n < lo || n > hi {
			return fmt.Sprintf("%d is not from %d to %d", n, lo, hi)
		}
		return ""
	}
}

func atLeast(lo int64) check {
	return func(v any) string {
		if n := integer(v); n < lo {
			return fmt.Sprintf("%d is less than %d", n, lo)
		}
		return ""
	}
}

// integer is the value of any integer type.
func integer(v any) int64 {
	r := reflect.ValueOf(v)
	if r.CanUint() {
		return int64(r.Uint())
	}
	return r.Int()
}

func durations(lo, hi time.Duration) check {
	return func(v any) string {
		if d := v.(time.Duration); d < lo || d > hi {
			return fmt.Sprintf("%s is not from %s to %s", brief(d), brief(lo), brief(hi))
		}
		return ""
	}
}

// brief is a duration as one writes it: 192h, not 192h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func oneOf(allowed ...any) check {
	return func(v any) string {
		if slices.Contains(allowed, v) {
			return ""
		}
		names := make([]string, len(allowed))
		for i, a := range allowed {
			names[i] = fmt.Sprint(a)
		}
		return fmt.Sprintf("%s is not one of %s", describe(v), strings.Join(names, ", "))
	}
}

// servers allows a comma separated list of NATS addresses, as URLs or host:port, or nothing. They may hold a password, so
// that none of them is shown.
func servers(v any) string {
	if v.(string) == "" {
		return ""
	}
	for i, s := range strings.Split(v.(string), ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Sprintf("number %d of the addresses in it is not one such as nats://10.0.0.1:4222", i+1)
		}
	}
	return ""
}

// addresses allows host:port, several of them separated by commas, or nothing.
func addresses(v any) string {
	for _, a := range split(v.(string)) {
		host, port, err := net.SplitHostPort(a)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil || host == "" {
			return describe(a) + " is not an address such as 10.0.0.2:6222"
		}
	}
	return ""
}

func webURL(v any) string {
	u, err := url.Parse(v.(string))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return describe(v) + " is not a URL such as http://collector:4318"
	}
	return ""
}

// pairs allows name=value, several of them separated by commas, or nothing. They are secrets, so that none is shown.
func pairs(v any) string {
	for i, p := range split(reflect.ValueOf(v).String()) {
		if name, _, ok := strings.Cut(p, "="); !ok || strings.TrimSpace(name) == "" {
			return fmt.Sprintf("number %d of the headers in it is not one such as name=value", i+1)
		}
	}
	return ""
}

func share(v any) string {
	if f := v.(float64); !(f >= 0 && f <= 1) {
		return fmt.Sprintf("%v is not from 0 to 1", f)
	}
	return ""
}

// split is the elements of a list separated by commas.
func split(list string) (elements []string) {
	for e := range strings.SplitSeq(list, ",") {
		if e = strings.TrimSpace(e); e != "" {
			elements = append(elements, e)
		}
	}
	return elements
}

// origins allows a list of what a browser sends as Origin, separated by commas, or * for every one.
func origins(v any) string {
	all := split(v.(string))
	for _, o := range all {
		u, err := url.Parse(o)
		if o == "*" && len(all) == 1 {
			continue
		}
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || o != u.Scheme+"://"+u.Host || u.Hostname() == "" || strings.Contains(o, "*") {
			return describe(o) + " is not an origin such as https://console.example or http://localhost:3000, nor * alone"
		}
	}
	return ""
}
