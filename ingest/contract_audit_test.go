package ingest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

// These tests go through the contract row by row, over HTTP, at the edges of what each row allows. The other tests of this
// package are about how the code is made; these are about what the contract says, whatever the code is.

// fifty is 50 bytes of 17 characters, and fiftyOne one byte more.
var (
	fifty    = strings.Repeat("深", 16) + "ab"
	fiftyOne = strings.Repeat("深", 17)
)

// coded posts a body and compares the code alone.
func (a *api) coded(want Code, command, body string) {
	a.t.Helper()
	if r := a.call(command, body); r.ErrorCode != want {
		a.t.Errorf("%s %.300s:\n got %s\nwant %d", command, body, r.Raw, want)
	}
}

// Contract §1, calling: of two faults the earlier one is answered, in the order URL, command, app, signature, rights,
// frequency, body, fields.
func TestAuditSection1OrderOfChecks(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t), func(c *Config, _ *App) { c.BodyLimit, c.MessageLimit = 1000, 100 })
	type set = map[string]string
	// Each row mends the first fault of the one before it.
	over := strings.Repeat(" ", 1001)
	for _, c := range []struct {
		want Code
		path string
		q    set
		body string
	}{
		{codeURL, "no_such", set{"random": "x", "sdkappid": "", "identifier": "", "usersig": ""}, over},
		{codeURL, all + "no_such", set{"random": "x", "sdkappid": "", "identifier": "", "usersig": ""}, over},
		{codeCommand, all + "no_such", set{"sdkappid": "", "identifier": "", "usersig": ""}, over},
		{codeNoApp, imPush, set{"sdkappid": "", "identifier": "", "usersig": ""}, over},
		{codeNoIdentifier, imPush, set{"sdkappid": "7", "identifier": "", "usersig": ""}, over},
		{codeNoUserSig, imPush, set{"sdkappid": "7", "identifier": "joe", "usersig": ""}, over},
		{codeApp, imPush, set{"sdkappid": "7", "identifier": "joe", "usersig": "x"}, over},
		{codeMalformedSig, imPush, set{"identifier": "joe", "usersig": "x"}, over},
		{codeSigIdentifier, imPush, set{"identifier": "joe"}, over},
		{codeRightsPush, imPush, set{"identifier": "joe", "usersig": a.sign("joe")}, over},
		{codeTooLong, imPush, nil, over},
		{codeBodyPush, imPush, nil, `{"MsgRandom":-1`},
		{codeRandom, imPush, nil, `{"MsgRandom":-1,"MsgLifeTime":-1,"MsgBody":{}}`},
		{codeLifetimeRange, imPush, nil, `{"MsgRandom":1,"MsgLifeTime":-1,"MsgBody":{}}`},
		{codeMsgBodyType, imPush, nil, `{"MsgRandom":1,"MsgBody":{},"OfflinePushInfo":1}`},
		{codeElement, imPush, nil, `{"MsgRandom":1,"MsgBody":[1],"OfflinePushInfo":1}`},
		{codeOfflineInfo, imPush, nil, pushBody(`,"OfflinePushInfo":1,"Condition":1`)},
		{codeMixed, imPush, nil, pushBody(`,"Condition":{"TagsOr":[""],"AttrsOr":{"":""}},"From_Account":"nobody"`)},
		{codeSender, imPush, nil, pushBody(`,"From_Account":"nobody"`)},
		{codeOK, imPush, nil, pushBody(``)},
	} {
		if r := a.do(http.MethodPost, "/v4/"+c.path+"?"+a.query(c.q), c.body); r.ErrorCode != c.want {
			t.Errorf("%s %v %.100s: %s, want %d", c.path, c.q, c.body, r.Raw, c.want)
		}
	}
}

// Contract §1: the signature's faults. One that is of another app, of another identifier and expired is first of another app.
func TestAuditSection1Signatures(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	sig := func(key string, app push.AppID, identifier string, from time.Duration) string {
		s, err := usersig.Sign(key, app, identifier, time.Now().Add(from), time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for want, s := range map[Code]string{
		codeSigApp:        sig("wrong", a.app+1, "joe", -2*time.Hour),
		codeSigIdentifier: sig("wrong", a.app, "joe", -2*time.Hour),
		codeSignature:     sig("wrong", a.app, admin, -2*time.Hour),
		codeExpired:       sig(key, a.app, admin, -2*time.Hour),
		codeOK:            sig("another key", a.app, admin, 0), // an older key is still one
	} {
		if r := a.do(http.MethodPost, "/v4/"+all+"im_get_attr_name?"+a.query(map[string]string{"usersig": s}), `{}`); r.ErrorCode != want {
			t.Errorf("%s, want %d", r.Raw, want)
		}
	}
}

// Contract §1: every answer is JSON under HTTP 200, and unknown parameters and fields are ignored.
func TestAuditSection1Answers(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	e := echo.New()
	a.Mount(e)
	for _, path := range []string{
		"/v4/" + all + "im_get_attr_name?ver=v4&servicename=x&command=y&" + a.query(nil), "/v4/nothing", "/v4/" + imPush,
	} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"Unknown":{"a":[1,null]}}`)))
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %s %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

// Contract §2, im_push: the edges of its numbers.
func TestAuditSection2PushNumbers(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	for value, want := range map[string]Code{
		`0`: codeOK, `4294967295`: codeOK,
		`4294967296`: codeRandom, `-1`: codeRandom, `1.5`: codeRandom, `1.0`: codeRandom, `1e2`: codeRandom, `"7"`: codeRandom,
		`true`: codeRandom, `[7]`: codeRandom, `{}`: codeRandom, `null`: codeRandom, `99999999999999999999999`: codeRandom,
	} {
		a.coded(want, imPush, pushBody(`,"MsgRandom":`+value))
	}
	for value, want := range map[string]Code{
		`0`: codeOK, `1`: codeOK, `604800`: codeOK, `null`: codeOK,
		`604801`: codeLifetimeRange, `-1`: codeLifetimeRange, `9223372036854775808`: codeLifetimeRange,
		`"3"`: codeLifetimeType, `3.0`: codeLifetimeType, `3e0`: codeLifetimeType, `true`: codeLifetimeType, `{}`: codeLifetimeType, `[]`: codeLifetimeType,
	} {
		a.coded(want, imPush, pushBody(`,"MsgRandom":8,"MsgLifeTime":`+value))
	}
}

// Contract §2, im_push: 93000. The message may have exactly 12 KiB, as it was sent and without white space around it.
func TestAuditSection2PushLength(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	body := func(n int) string {
		const frame = `[{"MsgType":"TIMTextElem","MsgContent":{"Text":""}}]`
		message := strings.Replace(frame, `""`, `"`+strings.Repeat("x", n-len(frame))+`"`, 1)
		return fmt.Sprintf(`{"MsgRandom":%d,"MsgBody": %s }`, n, message)
	}
	a.coded(codeOK, imPush, body(12<<10))
	a.coded(codeTooLong, imPush, body(12<<10+1))
	// What stands beside the message does not count.
	a.coded(codeOK, imPush, strings.TrimSuffix(body(12<<10), "}")+`,"OfflinePushInfo":{"Ext":"`+strings.Repeat("x", 4<<10)+`"}}`)
}

// Contract §2, conditions: 1 to 50 bytes, 1 to 10 tags, no repeats, one family.
func TestAuditSection2Conditions(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(setNames, `{"AttrNames":{"0":"sex","9":"`+fifty+`"}}`)
	for condition, want := range map[string]Code{
		`{"TagsOr":["x"]}`:                                              codeOK,
		`{"TagsOr":["` + fifty + `"]}`:                                  codeOK,
		`{"TagsOr":["` + fiftyOne + `"]}`:                               codeTagLong,
		`{"TagsAnd":["a","` + fiftyOne + `"]}`:                          codeTagLong,
		`{"TagsOr":[""]}`:                                               codeTagEmpty,
		`{"TagsOr":` + strs(10, "t%d") + `}`:                            codeOK,
		`{"TagsOr":` + strs(11, "t%d") + `}`:                            codeManyTags,
		`{"TagsAnd":` + strs(11, "t%d") + `}`:                           codeManyTags,
		`{"TagsOr":["a","a"]}`:                                          codeTagRepeated,
		`{"TagsOr":["a"],"TagsAnd":["b","a"]}`:                          codeTagRepeated,
		`{"TagsOr":["a"],"TagsAnd":["A"]}`:                              codeOK,
		`{"TagsOr":[1]}`:                                                codeBodyPush,
		`{"TagsOr":[null]}`:                                             codeBodyPush,
		`{"TagsOr":{"a":"b"}}`:                                          codeBodyPush,
		`{"TagsOr":[]}`:                                                 codeBodyPush,
		`{"AttrsOr":{}}`:                                                codeBodyPush,
		`{"AttrsOr":["sex"]}`:                                           codeBodyPush,
		`{"AttrsOr":{"sex":null}}`:                                      codeBodyPush,
		`{"AttrsOr":{"sex":["f"]}}`:                                     codeBodyPush,
		`{"AttrsOr":{"sex":"` + fifty + `"}}`:                           codeOK,
		`{"AttrsOr":{"sex":"` + fiftyOne + `"}}`:                        codeAttrLength,
		`{"AttrsAnd":{"` + fifty + `":"x"}}`:                            codeOK,
		`{"AttrsAnd":{"` + fiftyOne + `":"x"}}`:                         codeAttrLength,
		`{"AttrsAnd":{"":"x"}}`:                                         codeAttrLength,
		`{"AttrsAnd":{"sex":""}}`:                                       codeAttrLength,
		`{"AttrsAnd":{"SEX":"f"}}`:                                      codeAttrUnknown,
		`{"AttrsAnd":{"sex":1.50,"` + fifty + `":true}}`:                codeOK,
		`{"AttrsAnd":{"sex":` + strings.Repeat("1", 51) + `}}`:          codeAttrLength,
		`{"AttrsAnd":{"sex":"f"},"TagsAnd":["a"]}`:                      codeMixed,
		`{"AttrsAnd":{"sex":"f"},"TagsAnd":null}`:                       codeOK,
		`{"TagsOr":null,"TagsAnd":null,"AttrsOr":null,"AttrsAnd":null}`: codeOK,
		`null`:  codeOK,
		`{}`:    codeOK,
		`[]`:    codeBodyPush,
		`"all"`: codeBodyPush,
	} {
		a.coded(want, imPush, pushBody(`,"Condition":`+condition))
	}
}

// Contract §2, From_Account: an account of the app or an admin; what was just imported or deleted counts.
func TestAuditSection2Senders(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	longest := strings.Repeat("y", 32)
	from := func(sender string) string { return pushBody(`,"From_Account":` + sender) }
	a.coded(codeSender, imPush, from(`"u"`))
	a.ok(login+"multiaccount_import", `{"Accounts":["u","`+longest+`"]}`)
	a.coded(codeOK, imPush, from(`"u"`))
	a.coded(codeOK, imPush, from(`"`+longest+`"`))
	a.coded(codeSender, imPush, from(`"`+longest+`y"`))
	a.coded(codeSender, imPush, from(`"U"`))
	a.coded(codeOK, imPush, from(`"second"`))
	a.coded(codeOK, imPush, from(`null`))
	for _, sender := range []string{`7`, `true`, `["u"]`, `{"u":1}`} {
		a.coded(codeAccountType, imPush, from(sender))
	}
	a.ok(login+"account_delete", `{"DeleteItem":[{"UserID":"u"}]}`)
	a.coded(codeSender, imPush, from(`"u"`))
}

// Contract §2: a push's identity is its sender and its MsgRandom, not what it says.
func TestAuditSection2Repeats(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	for random := 1; ; random++ {
		start := time.Now()
		first := a.ok(imPush, pushBody(fmt.Sprintf(`,"MsgRandom":%d`, random)))
		same := a.ok(imPush, pushBody(fmt.Sprintf(`,"MsgRandom":%d,"MsgLifeTime":60,"From_Account":%q`, random, admin)))
		other := a.ok(imPush, pushBody(fmt.Sprintf(`,"MsgRandom":%d,"From_Account":"second"`, random)))
		if time.Since(start) >= wire.DuplicateWindow {
			continue // it proved nothing
		}
		if same.TaskId != first.TaskId || other.TaskId == first.TaskId {
			t.Errorf("%s, again %s, by another sender %s", first.TaskId, same.TaskId, other.TaskId)
		}
		return
	}
}

// wrong are JSON values that are not of a type.
func wrong(kind string) []string {
	values := map[string]string{"string": `"x"`, "number": `1`, "boolean": `true`, "object": `{"x":1}`, "array": `["x"]`}
	delete(values, kind)
	var list []string
	for _, v := range values {
		list = append(list, v)
	}
	return list
}

// Contract §2, message elements: every member of every element, of every wrong type.
func TestAuditSection2ElementMembers(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	const s, n = "string", "number"
	for kind, members := range map[string]map[string]string{
		"TIMTextElem":     {"Text": s},
		"TIMLocationElem": {"Desc": s, "Latitude": n, "Longitude": n},
		"TIMFaceElem":     {"Index": n, "Data": s},
		"TIMCustomElem":   {"Data": s, "Desc": s, "Ext": s, "Sound": s},
		"TIMSoundElem":    {"Url": s, "UUID": s, "Size": n, "Second": n, "Download_Flag": n},
		"TIMImageElem":    {"UUID": s, "ImageFormat": n, "ImageInfoArray": "array"},
		"TIMFileElem":     {"Url": s, "UUID": s, "FileSize": n, "FileName": s, "Download_Flag": n},
		"TIMVideoFileElem": {
			"VideoUrl": s, "VideoUUID": s, "VideoSize": n, "VideoSecond": n, "VideoFormat": s, "VideoDownloadFlag": n, "ThumbUrl": s,
			"ThumbUUID": s, "ThumbSize": n, "ThumbWidth": n, "ThumbHeight": n, "ThumbFormat": s, "ThumbDownloadFlag": n,
		},
	} {
		content := map[string]json.RawMessage{}
		for name, kind := range members {
			switch {
			case kind == s:
				content[name] = json.RawMessage(`""`)
			case strings.HasSuffix(name, "Flag"):
				content[name] = json.RawMessage(`2`)
			case kind == n:
				content[name] = json.RawMessage(`0`)
			default:
				content[name] = json.RawMessage(`[{"Type":1,"Size":0,"Width":0,"Height":0,"URL":""}]`)
			}
		}
		body := func(changed, value string) string {
			c := map[string]json.RawMessage{"Unknown": json.RawMessage(`[]`)}
			for name, v := range content {
				c[name] = v
			}
			if changed != "" {
				c[changed] = json.RawMessage(value)
			}
			raw, err := json.Marshal([]any{map[string]any{"MsgType": kind, "MsgContent": c}})
			if err != nil {
				t.Fatal(err)
			}
			return `{"MsgRandom":7,"MsgBody":` + string(raw) + `}`
		}
		a.coded(codeOK, imPush, body("", ""))
		for name, kind := range members {
			for _, value := range wrong(kind) {
				a.coded(codeElement, imPush, body(name, value))
			}
			if strings.HasSuffix(name, "Flag") {
				a.coded(codeElement, imPush, body(name, `1`))
			}
		}
	}
	for name, kind := range map[string]string{"Type": n, "Size": n, "Width": n, "Height": n, "URL": s} {
		for _, value := range wrong(kind) {
			info := `{"Type":1,"URL":"","` + name + `":` + value + `}`
			a.coded(codeElement, imPush, `{"MsgRandom":7,"MsgBody":[{"MsgType":"TIMImageElem","MsgContent":{"UUID":"u","ImageInfoArray":[`+info+`]}}]}`)
		}
	}
	for _, value := range []string{`0`, `4`, `-1`} {
		a.coded(codeElement, imPush, `{"MsgRandom":7,"MsgBody":[{"MsgType":"TIMImageElem","MsgContent":{"UUID":"u","ImageInfoArray":[{"URL":"","Type":`+value+`}]}}]}`)
	}
}

// Contract §2, OfflinePushInfo: every member of every wrong type.
func TestAuditSection2OfflinePushInfoMembers(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	const s, n, o = "string", "number", "object"
	for path, members := range map[string]map[string]string{
		`%s`: {"PushFlag": n, "Title": s, "Desc": s, "Ext": s, "AndroidInfo": o, "ApnsInfo": o},
		`{"AndroidInfo":%s}`: {
			"Sound": s, "HuaWeiChannelID": s, "XiaoMiChannelID": s, "OPPOChannelID": s, "GoogleChannelID": s, "VIVOClassification": n,
			"HuaWeiImportance": s, "HuaWeiCategory": s, "ExtAsHuaweiIntentParam": n,
		},
		`{"ApnsInfo":%s}`: {"Sound": s, "BadgeMode": n, "Title": s, "SubTitle": s, "Image": s, "MutableContent": n},
	} {
		for name, kind := range members {
			body := func(value string) string {
				return pushBody(`,"OfflinePushInfo":` + fmt.Sprintf(path, `{"Unknown":[],"`+name+`":`+value+`}`))
			}
			a.coded(codeOK, imPush, body(`null`))
			for _, value := range wrong(kind) {
				a.coded(codeOfflineInfo, imPush, body(value))
			}
		}
	}
	for _, flag := range []string{`2`, `-1`, `0.5`} {
		a.coded(codeOfflineInfo, imPush, pushBody(`,"OfflinePushInfo":{"PushFlag":`+flag+`}`))
	}
	for _, value := range []string{`1`, `"x"`, `[]`, `true`} {
		a.coded(codeOfflineInfo, imPush, pushBody(`,"OfflinePushInfo":`+value))
	}
}

// Contract §2, attributes and tags: 100 accounts and 101, 10 tags and 11, 1 to 50 bytes, accounts of 32 bytes.
func TestAuditSection2Limits(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	longest := strings.Repeat("深", 10) + "yy"
	a.ok(login+"multiaccount_import", `{"Accounts":`+strs(100, "u%d")+`}`).extra(t, `"FailAccounts":[]`)
	a.ok(login+"account_import", `{"UserID":"`+longest+`"}`)
	a.coded(codeParameter, login+"account_import", `{"UserID":"`+longest+`y"}`)

	a.ok(setNames, `{"AttrNames":{"0":"`+fifty+`"}}`)
	a.coded(codeAttrLength, setNames, `{"AttrNames":{"1":"`+fiftyOne+`"}}`)
	for _, c := range []struct {
		command string
		list    string
		element string
	}{
		{setAttr, "UserAttrs", `{"To_Account":"u%d","Attrs":{"` + fifty + `":"` + fifty + `"}}`},
		{removeAttr, "UserAttrs", `{"To_Account":"u%d","Attrs":["` + fifty + `"]}`},
		{addTag, "UserTags", `{"To_Account":"u%d","Tags":["` + fifty + `"]}`},
		{removeTag, "UserTags", `{"To_Account":"u%d","Tags":["` + fifty + `"]}`},
		{removeAll, "To_Account", `"u%d"`},
		{getTag, "To_Account", `"u%d"`},
		{getAttr, "To_Account", `"u%d"`},
	} {
		a.coded(codeOK, c.command, `{"`+c.list+`":`+elems(100, c.element)+`}`)
		a.coded(codeManyUsers, c.command, `{"`+c.list+`":`+elems(101, c.element)+`}`)
		for _, value := range append(wrong("array"), `null`, `[]`) {
			a.coded(codeBodyPush, c.command, `{"`+c.list+`":`+value+`}`)
		}
	}
	tags := func(list string) string { return `{"UserTags":[{"To_Account":"` + longest + `","Tags":` + list + `}]}` }
	a.coded(codeOK, addTag, tags(strs(10, "t%d")))
	a.coded(codeManyTags, addTag, tags(strs(11, "t%d")))
	a.coded(codeTagLong, addTag, tags(`["`+fiftyOne+`"]`))
	a.coded(codeTagEmpty, addTag, tags(`[""]`))
	a.coded(codeBodyPush, addTag, tags(`[1]`))
	a.coded(codeAttrLength, setAttr, `{"UserAttrs":[{"To_Account":"u1","Attrs":{"`+fifty+`":"`+fiftyOne+`"}}]}`)
	a.coded(codeAttrUnknown, removeAttr, `{"UserAttrs":[{"To_Account":"u1","Attrs":["sex"]}]}`)
}

// Contract §2, tags: exactly 100 of one account, however they came; the 101st is refused with all of its request.
func TestAuditSection2HundredTags(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"multiaccount_import", `{"Accounts":["u","v"]}`)
	var elements []string
	for n := range 10 {
		elements = append(elements, `{"To_Account":"u","Tags":`+strs(10, fmt.Sprintf("%d-", n)+"%d")+`}`)
	}
	a.ok(addTag, `{"UserTags":[`+strings.Join(elements, ",")+`]}`)
	a.ok(addTag, `{"UserTags":[{"To_Account":"u","Tags":["0-0"]}]}`) // one that is there is no other
	a.coded(codeManyTags, addTag, `{"UserTags":[{"To_Account":"v","Tags":["x"]},{"To_Account":"u","Tags":["x"]}]}`)
	if u, v := a.tags("u"), a.tags("v"); len(u) != 100 || slices.Contains(u, "x") || len(v) != 0 {
		t.Errorf("%d tags of u, and %q of v", len(u), v)
	}
	a.ok(removeTag, `{"UserTags":[{"To_Account":"u","Tags":["0-0"]}]}`)
	a.ok(addTag, `{"UserTags":[{"To_Account":"u","Tags":["x"]}]}`)
}

// Contract §2: whole or not at all, whatever is wrong with the last account of a request.
func TestAuditSection2WholeOrNothing(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"account_import", `{"UserID":"u"}`)
	a.ok(setNames, `{"AttrNames":{"0":"sex"}}`)
	a.ok(addTag, `{"UserTags":[{"To_Account":"u","Tags":["kept"]}]}`)
	a.ok(setAttr, `{"UserAttrs":[{"To_Account":"u","Attrs":{"sex":"f"}}]}`)
	for _, account := range []string{`"nobody"`, `""`, `null`, `7`} {
		for command, body := range map[string]string{
			addTag:     `{"UserTags":[{"To_Account":"u","Tags":["x"]},{"To_Account":` + account + `,"Tags":["x"]}]}`,
			removeTag:  `{"UserTags":[{"To_Account":"u","Tags":["kept"]},{"To_Account":` + account + `,"Tags":["kept"]}]}`,
			removeAll:  `{"To_Account":["u",` + account + `]}`,
			setAttr:    `{"UserAttrs":[{"To_Account":"u","Attrs":{"sex":"m"}},{"To_Account":` + account + `,"Attrs":{"sex":"m"}}]}`,
			removeAttr: `{"UserAttrs":[{"To_Account":"u","Attrs":["sex"]},{"To_Account":` + account + `,"Attrs":["sex"]}]}`,
		} {
			if r := a.call(command, body); r.ErrorCode == codeOK {
				t.Errorf("%s %s: %s", command, body, r.Raw)
			}
		}
	}
	a.coded(codeAttrLength, setNames, `{"AttrNames":{"1":"city","0":"","2":"age"}}`)
	a.ok(getNames, `{}`).extra(t, `"AttrNames":{"0":"sex"}`)
	const tags, attrs = `[{"To_Account":"u","Tags":["kept"]}]`, `[{"To_Account":"u","Attrs":{"sex":"f"}}]`
	a.ok(getTag, `{"To_Account":["u"]}`).extra(t, `"UserTags":`+tags+`,"Tags":`+tags)
	a.ok(getAttr, `{"To_Account":["u"]}`).extra(t, `"UserAttrs":`+attrs+`,"Attrs":`+attrs)
}

// Contract §2: names are case-sensitive, so that a name in another case is a field that is not used.
func TestAuditSection2Names(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"account_import", `{"UserID":"u"}`)
	for command, bodies := range map[string]map[string]Code{
		imPush: {
			`{"msgrandom":1,"MsgBody":[]}`: codeRandom, `{"MsgRandom":1,"msgbody":[1]}`: codeNoMsgBody,
			pushBody(`,"msglifetime":-1,"MSGLIFETIME":"x","from_account":7,"condition":7,"offlinepushinfo":7`): codeOK,
			pushBody(`,"Condition":{"tagsor":7,"ATTRSOR":7}`):                                                  codeOK,
		},
		addTag:  {`{"usertags":[]}`: codeBodyPush, `{"UserTags":[{"to_account":"u","Tags":["a"]}]}`: codeBodyPush},
		setAttr: {`{"userattrs":[]}`: codeBodyPush},
		getTag:  {`{"to_account":["u"]}`: codeBodyPush},

		login + "multiaccount_import": {`{"accounts":["u"]}`: codeParameter},
		login + "account_check":       {`{"CheckItem":[{"Userid":"u"}]}`: codeParameter},
		online:                        {`{"To_account":["u"]}`: codeParameter, `{"To_Account":["u"],"isneeddetail":9}`: codeOK},
	} {
		for body, want := range bodies {
			a.coded(want, command, body)
		}
	}
	a.ok(imPush, pushBody(`,"MsgRandom":"x","MsgRandom":9`)) // of a name that stands twice the last one counts
	a.coded(codeRandom, imPush, pushBody(`,"MsgRandom":9,"MsgRandom":"x"`))
}

// Contract §3, accounts: limits, exact members, and what is not an account.
func TestAuditSection3Accounts(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	for command, list := range map[string]string{"multiaccount_import": `"u%d"`, "account_check": `{"UserID":"u%d"}`, "account_delete": `{"UserID":"u%d"}`} {
		name := map[string]string{"multiaccount_import": "Accounts", "account_check": "CheckItem", "account_delete": "DeleteItem"}[command]
		a.coded(codeOK, login+command, `{"`+name+`":`+elems(100, list)+`}`)
		a.coded(codeParameter, login+command, `{"`+name+`":`+elems(101, list)+`}`)
		for _, value := range append(wrong("array"), `null`, `[]`) {
			a.coded(codeParameter, login+command, `{"`+name+`":`+value+`}`)
		}
		a.coded(codeAccountType, login+command, `{"`+name+`":[`+strings.NewReplacer(`"u%d"`, `7`).Replace(list)+`]}`)
	}
	a.coded(codeOK, online, `{"To_Account":`+strs(500, "u%d")+`}`)
	a.coded(codeManyOnline, online, `{"To_Account":`+strs(501, "u%d")+`}`)
	for _, value := range append(wrong("array"), `null`, `[]`) {
		a.coded(codeParameter, online, `{"To_Account":`+value+`}`)
	}
	a.ok(login+"account_import", `{"UserID":null,"Identifier":"u1","Nick":7,"FaceUrl":[]}`)
	for _, command := range []string{"account_import", "kick"} {
		for _, value := range []string{`7`, `true`, `["u"]`, `{"u":1}`} {
			a.coded(codeAccountType, login+command, `{"UserID":`+value+`}`)
			a.coded(codeAccountType, login+command, `{"Identifier":`+value+`}`)
		}
	}
	a.ok(login+"account_delete", `{"DeleteItem":[{"UserID":"u1"},{"UserID":"u1"}]}`)
	a.coded(codeNoSuchAccount, login+"kick", `{"UserID":"u1"}`)
	a.coded(codeNotImported, addTag, `{"UserTags":[{"To_Account":"u1","Tags":["a"]}]}`)
}
