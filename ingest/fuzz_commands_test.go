package ingest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// goodBodies is a body of every command that it answers with OK or, after others, with a refusal of its own. A command
// without one here fails the test, so that a new one comes with its seed.
func goodBodies() map[string]string {
	const users = `{"UserAttrs":[{"To_Account":"u","Attrs":{"sex":"f"}}]}`
	const tags = `{"UserTags":[{"To_Account":"u","Tags":["a","b"]}]}`
	const tasks = `{"StartTime":1700000000,"EndTime":1700086400,"TaskID":["1400000001-1"]}`
	return map[string]string{
		"all_member_push_statistics": tasks, "all_member_push_loss": tasks, "all_member_push_trace": `{"TaskID":"1400000001-1","UserID":"u"}`,
		"account_import": `{"UserID":"u","Nick":"n","FaceUrl":"f"}`, "multiaccount_import": `{"AccountList":[{"UserID":"u"},{"UserID":"v"}]}`,
		"account_delete": `{"DeleteItem":[{"UserID":"w"}]}`, "account_check": `{"CheckItem":[{"UserID":"u"},{"UserID":"x"}]}`,
		"kick": `{"UserID":"u"}`, "im_push": pushBody(`,"Condition":{"TagsOr":["a"]},"OfflinePushInfo":{"Title":"t"}`),
		"im_set_attr_name": `{"AttrNames":{"0":"sex","1":"city"}}`, "im_get_attr_name": `{}`, "im_set_attr": users,
		"im_remove_attr": `{"UserAttrs":[{"To_Account":"u","Attrs":["sex"]}]}`, "im_get_attr": `{"To_Account":["u"]}`,
		"im_add_tag": tags, "im_remove_tag": tags, "im_remove_all_tags": `{"To_Account":["u"]}`, "im_get_tag": `{"To_Account":["u"]}`,
		"query_online_status": `{"To_Account":["u"],"IsNeedDetail":1}`,
	}
}

// Whatever body any command is called with, the answer is the contract's: HTTP 200, or 413 for a body over the limit, with
// the three fields first, and never an internal error.
func FuzzCommands(f *testing.F) {
	a := serveAPI(f, brokertest.Start(f))
	table := a.table()
	good := goodBodies()
	hostile := []string{
		``, `{}`, `null`, `[]`, `"a"`, `-0`, `{"UserID":null}`, `{"UserID":1e999}`, `{"UserID":"` + strings.Repeat("x", 33) + `"}`,
		`{"To_Account":[]}`, `{"To_Account":[1]}`, `{"To_Account":["u","u"]}`, `{"To_Account":` + strs(101, "u%d") + `}`,
		`{"UserTags":[{"To_Account":"u","Tags":null}]}`, `{"UserAttrs":[{"To_Account":"u","Attrs":{"":{}}}]}`, `{"AttrNames":{"-1":"x","10":""}}`,
		strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat(`}`, 200), "{\"UserID\":\"\xff\"}", `{"UserID":"\ud800"}`, `{"UserID":"u"}}`,
		`{"UserID":"u"}` + strings.Repeat(" ", 64<<10),
	}
	for n, c := range table {
		body, ok := good[c.name]
		if !ok {
			f.Fatalf("the command %s has no seed: add a good body", c.name)
		}
		f.Add(byte(n), []byte(body))
		for _, body := range hostile {
			f.Add(byte(n), []byte(body))
		}
	}
	for _, name := range []string{login + "account_import", all + "im_set_attr_name"} {
		a.ok(name, good[name[strings.Index(name, "/")+1:]])
	}
	e := echo.New()
	a.Mount(e)
	query := a.query(nil)
	f.Fuzz(func(t *testing.T, n byte, body []byte) {
		c := table[int(n)%len(table)]
		name := c.service + "/" + c.name
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v4/"+name+"?"+query, bytes.NewReader(body)))
		if w.Code != http.StatusOK && (w.Code != http.StatusRequestEntityTooLarge || int64(len(body)) <= a.cfg.BodyLimit) {
			t.Fatalf("%s: status %d for %q", name, w.Code, body)
		}
		raw := w.Body.Bytes()
		var r reply
		if err := json.Unmarshal(raw, &r); err != nil {
			t.Fatalf("%s answers %q to %q: %v", name, raw, body, err)
		}
		if !bytes.HasPrefix(raw, []byte(`{"ActionStatus":"`+r.ActionStatus+`","ErrorInfo":`)) || !bytes.Contains(raw, []byte(`,"ErrorCode":`)) {
			t.Fatalf("%s answers otherwise: %s to %q", name, raw, body)
		}
		if (r.ActionStatus == "OK") != (r.ErrorCode == codeOK) || (r.ErrorInfo == "") != (r.ErrorCode == codeOK) {
			t.Fatalf("%s: an outcome against itself: %s for %q", name, raw, body)
		}
		if r.ErrorCode == codeInternal || r.ErrorCode == codeInternal70 {
			t.Fatalf("%s: an internal error for %q", name, body)
		}
	})
}
