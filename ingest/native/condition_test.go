package native

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/predicate"
)

var someNames = directory.AttrNames{0: "city", 3: "sex"}

func TestConditions(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"tag":"a"}`:                                               `(tag "a")`,
		`{"tag":{"in":["b","a","b"]}}`:                              `(or (tag "a") (tag "b"))`,
		`{"attribute":"city","is":"x"}`:                             `(attr 0 "x")`,
		`{"is":"x","attribute":"sex"}`:                              `(attr 3 "x")`,
		`{"attribute":"sex","in":["x"]}`:                            `(attr 3 "x")`,
		`{"attribute":"city","exists":true}`:                        `(has 0)`,
		`{"attribute":"city","exists":false}`:                       `(not (has 0))`,
		`{"and":[{"tag":"b"},{"attribute":"city","in":["x","y"]}]}`: `(and (tag "b") (or (attr 0 "x") (attr 0 "y")))`,
		`{"or":[{"tag":"a"},{"not":{"tag":"a"}}]}`:                  `all`,
		`{"not":{"not":{"tag":"\u6df1"}}}`:                          `(tag "\u6df1")`,
		`{"and":[{"tag":"a"},{"not":{"tag":"a"}}]}`:                 `none`,
	} {
		clauses, err := parseCondition(field{"/condition", []byte(in)}, someNames)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := predicate.String(predicate.Simplify(clauses[0].node)); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

// nested is a condition so many deep.
func nested(n int) string {
	return strings.Repeat(`{"not":`, n-1) + `{"tag":"a"}` + strings.Repeat("}", n-1)
}

func TestConditionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for in, at := range map[string]string{
		`[]`: "", `"a"`: "", `{}`: "", `{"is":"x"}`: "", `{"tag":"a","not":{"tag":"a"}}`: "", `{"tag":"a","is":"x"}`: "",
		`{"Tag":"a"}`:                                   "/Tag",
		`{"tag":"a","tag":"b"}`:                         "/tag",
		`{"tag":""}`:                                    "/tag",
		`{"tag":null}`:                                  "/tag",
		`{"tag":["a"]}`:                                 "/tag",
		`{"tag":{"in":[]}}`:                             "/tag/in",
		`{"tag":{"is":"a"}}`:                            "/tag/is",
		`{"tag":{}}`:                                    "/tag/in",
		`{"tag":"` + long51 + `"}`:                      "/tag",
		`{"and":{"tag":"a"}}`:                           "/and",
		`{"and":[]}`:                                    "/and",
		`{"or":[{"tag":"a"},{"or":[]}]}`:                "/or/1/or",
		`{"not":[{"tag":"a"}]}`:                         "/not",
		`{"attribute":"city"}`:                          "",
		`{"attribute":"town","is":"x"}`:                 "/attribute",
		`{"attribute":"city","is":"x","in":["x"]}`:      "",
		`{"attribute":"city","is":3}`:                   "/is",
		`{"attribute":"city","in":["x",""]}`:            "/in/1",
		`{"attribute":"city","exists":"true"}`:          "/exists",
		`{"and":[{"tag":"a"},{"not":{"tag":true}}]}`:    "/and/1/not/tag",
		nested(maxDepth + 1):                            strings.Repeat("/not", maxDepth),
		`{"tag":{"in":` + list(maxNodes, `"%d"`) + `}}`: "/tag/in",
		`{"or":` + list(maxNodes, `{"tag":"%d"}`) + `}`: "/or/499",
		`{"tag":{"in":` + list(300, `"`+strings.Repeat(`\u0001`, 40)+`%d"`) + `}}`: "",
	} {
		_, err := parseCondition(field{"/c", []byte(in)}, someNames)
		var p *problem
		if !errors.As(err, &p) || p.Pointer == nil || *p.Pointer != "/c"+at {
			t.Errorf("%.200s: %v, want one at %q", in, err, at)
			continue
		}
		if p.Detail == "" {
			t.Errorf("%.200s: no detail", in)
		}
	}
	if _, err := parseCondition(field{"", []byte(nested(maxDepth))}, someNames); err != nil {
		t.Errorf("the deepest: %v", err)
	}
	if _, err := parseCondition(field{"", []byte(`{"tag":{"in":` + list(maxNodes-1, `"%d"`) + `}}`)}, someNames); err != nil {
		t.Errorf("the widest: %v", err)
	}
}

// What is taken is within the bounds of a predicate, in all its parts and in its simplest form, and what an answer shows
// of it is taken again and means the same.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		`{"and":[{"tag":"a"},{"or":[{"attribute":"city","in":["x","y"]},{"not":{"attribute":"sex","exists":true}}]}]}`,
		`{"tag":{"in":["a","b"]}}`, `{"attribute":"sex","is":"f"}`, nested(maxDepth), `{"and":[{"tag":"a"},{"not":{"tag":"a"}}]}`, `{"tag":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := parseBody(raw)
		if err != nil {
			return
		}
		clauses, err := parseCondition(body, someNames)
		if err != nil {
			if p := problemOf(err); p.Status >= 500 || p.Pointer == nil {
				t.Fatalf("%s: %v", raw, err)
			}
			return
		}
		for _, c := range clauses {
			text := predicate.String(predicate.Simplify(c.node))
			if _, err := predicate.Parse(text); err != nil {
				t.Fatalf("%s at %s is %s: %v", raw, c.pointer, text, err)
			}
		}
		whole := predicate.Simplify(clauses[0].node)
		shown := render(whole, &someNames)
		if shown == nil {
			return // everybody
		}
		again, err := parseCondition(field{"", []byte(js(shown))}, someNames)
		if _, nobody := whole.(predicate.None); nobody {
			return
		}
		if err != nil || predicate.Compare(predicate.Simplify(again[0].node), whole) != 0 {
			t.Fatalf("%s is shown as %s: %v", raw, js(shown), err)
		}
	})
}

// No request is answered with an internal error, or otherwise than the description says.
func FuzzRequests(f *testing.F) {
	f.Add(uint8(0), "u", []byte(`{"tags":["a"],"attributes":{"city":"x"}}`))
	f.Add(uint8(1), "u", []byte(`{"tags":{"add":["a"],"remove":["b"]},"attributes":{"set":{"city":"x"},"remove":["city"]}}`))
	f.Add(uint8(2), "", []byte(`{"attributes":{"0":"city"}}`))
	f.Add(uint8(3), "", []byte(`{"body":`+hello+`,"lifetime":9,"condition":{"tag":"a"},"offline":{"Title":"x"}}`))
	f.Add(uint8(4), "?limit=3&after=9", []byte(nil))
	f.Add(uint8(5), "?limit=3&before=9", []byte(nil))
	f.Add(uint8(6), "1-1", []byte(nil))
	b := brokertest.Start(f)
	a := serve(f, b)
	a.attributes("city")
	f.Fuzz(func(t *testing.T, which uint8, text string, body []byte) {
		if text == "" {
			text = "u" // a path without it is another's
		}
		by := *a
		by.TB = t
		method, path := "PUT", "/v1/accounts/"+strings.ReplaceAll(url.PathEscape(text), ".", "%2E")
		switch which % 7 {
		case 1:
			method = "PATCH"
		case 2:
			path = "/v1/attributes"
		case 3:
			method, path = "POST", "/v1/pushes"
		case 4:
			method, path = "GET", "/v1/accounts?after="+url.QueryEscape(text)
		case 5:
			method, path = "GET", "/v1/pushes?before="+url.QueryEscape(text)
		case 6:
			method, path = "GET", "/v1/pushes/"+strings.ReplaceAll(url.PathEscape(text), ".", "%2E")
		}
		if res := by.do(method, path, string(body)); res.StatusCode >= 500 {
			t.Fatalf("%s %s %q: %d %s", method, path, body, res.StatusCode, res.raw)
		}
	})
}
