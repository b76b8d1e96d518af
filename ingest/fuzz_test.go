package ingest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Any body is answered in the contract's form, and never as an internal error; one that is accepted can be read back.
func FuzzPushBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"MsgRandom":7}`, pushBody(""), pushBody(`,"MsgLifeTime":1e3`), pushBody(`,"From_Account":"u\u0000.*>"`),
		pushBody(`,"Condition":{"TagsOr":["\ud800","a"],"TagsAnd":null}`), pushBody(`,"Condition":{"AttrsOr":{"sex":-0.5e-7}}`),
		pushBody(`,"OfflinePushInfo":{"ApnsInfo":{"Sound":"<>&"}}`), `{"MsgRandom":7,"MsgBody":[` + image + "," + video + `]}`,
		strings.Repeat(`{"MsgBody":[`, 100), "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	a := serveAPI(f, brokertest.Start(f))
	a.ok(setNames, `{"AttrNames":{"0":"sex"}}`)
	e := echo.New()
	a.Mount(e)
	query := a.query(nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, command := range []string{imPush, addTag, setAttr, login + "account_import"} {
			w := httptest.NewRecorder()
			e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v4/"+command+"?"+query, strings.NewReader(string(body))))
			raw := w.Body.String()
			if w.Code != http.StatusOK && (w.Code != http.StatusRequestEntityTooLarge || len(body) <= 64<<10) {
				t.Fatalf("%s: status %d for %q", command, w.Code, body)
			}
			for _, internal := range []Code{codeInternal, codeInternal70} {
				if strings.Contains(raw, fmt.Sprintf(`"ErrorCode":%d`, internal)) {
					t.Fatalf("%s: %s for %q", command, raw, body)
				}
			}
			if id, ok := strings.CutPrefix(raw, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"TaskId":"`); ok && command == imPush {
				b := &api{t: t, b: a.b, app: a.app}
				frame := wire.AppendPush(nil, b.stored(strings.TrimSuffix(id, `"}`)))
				if _, err := wire.DecodeClientFrame(frame); err != nil {
					t.Fatalf("the frame of an accepted push is no JSON in UTF-8: %v: %q", err, frame)
				}
			}
		}
	})
}
