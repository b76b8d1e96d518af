// Package vendortest is what the tests of the vendors' channels share: a server with faults, and what must hold for every
// channel whatever its vendor.
package vendortest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/pkg/push"
)

// Server is a vendor's server: a handler that follows the vendor's protocol, behind a fault for all but authentication.
type Server struct {
	URL   string
	fault atomic.Pointer[http.HandlerFunc]
	// Messages counts the requests that are not for authentication.
	Messages atomic.Int64
	// Auths counts those that are.
	Auths atomic.Int64
}

// NewServer serves h until the test ends. A request whose path is auth is one for authentication.
func NewServer(t testing.TB, auth string, h http.Handler) *Server {
	s := &Server{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == auth {
			s.Auths.Add(1)
		} else {
			s.Messages.Add(1)
			if f := s.fault.Load(); f != nil {
				(*f)(w, r)
				return
			}
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

// Fault answers in the handler's place; nil ends it.
func (s *Server) Fault(f http.HandlerFunc) {
	if f == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&f)
}

// JSON answers v.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// ReadJSON reads a request's body, and fails the test for one that is no JSON or is not said to be.
func ReadJSON(t testing.TB, r *http.Request) (body map[string]any) {
	t.Helper()
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("%s has the content type %q", r.URL.Path, kind)
	}
	if r.Method != http.MethodPost {
		t.Errorf("%s is a %s", r.URL.Path, r.Method)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	if err := json.Unmarshal(b, &body); err != nil {
		t.Errorf("the body of %s is no JSON object: %v", r.URL.Path, err)
	}
	return body
}

// ReadForm reads a request's form, and fails the test for one that is none.
func ReadForm(t testing.TB, r *http.Request) url.Values {
	t.Helper()
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/x-www-form-urlencoded") {
		t.Errorf("%s has the content type %q", r.URL.Path, kind)
	}
	if r.Method != http.MethodPost {
		t.Errorf("%s is a %s", r.URL.Path, r.Method)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		t.Errorf("the body of %s is no form: %v", r.URL.Path, err)
	}
	return form
}

// At is the value in decoded JSON under a path such as message.android.notification.tag; nil where there is none.
func At(v any, path string) any {
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// Strings is a decoded JSON array of strings.
func Strings(v any) (all []string) {
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// Notice is one with every field set, that ends in three hours.
func Notice() *channel.Notice {
	return &channel.Notice{
		Task: push.NewTaskID(1400000001, 4242), Seq: 4242,
		Title: "今天的“新闻”", Text: "三千公里 & <一> \"夜\"", Ext: `{"page":"news","id":7}`,
		Expire: time.Now().Add(3 * time.Hour),
		Android: channel.Android{
			Sound: "shake.mp3", HuaWeiChannelID: "hw-news", XiaoMiChannelID: "mi-news", OPPOChannelID: "oppo-news",
			GoogleChannelID: "google-news", VIVOClassification: 1, HuaWeiImportance: "NORMAL", HuaWeiCategory: "IM",
			ExtAsHuaweiIntentParam: 1,
		},
		APNs: channel.APNs{Sound: "apple.caf", BadgeMode: 1, Title: "apple", SubTitle: "sub", Image: "https://example.com/a.png",
			MutableContent: 1},
	}
}

// Tokens are n different ones, that look like a vendor's and cannot occur in anything else.
func Tokens(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "devicetoken0123456789ABCDEFGHIJKLMNO-_" + strconv.Itoa(i)
	}
	return all
}
