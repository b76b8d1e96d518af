package channel

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/push"
)

func pushOf(info, body string) *push.Push {
	p := &push.Push{App: 7, Seq: 42, At: time.Unix(1700000000, 0), Lifetime: time.Hour, Body: json.RawMessage(body)}
	if info != "" {
		p.OfflineInfo = json.RawMessage(info)
	}
	return p
}

const text = `[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hello"}}]`

func TestNoticeHasEveryField(t *testing.T) {
	t.Parallel()
	got, ok := NewNotice(pushOf(`{"PushFlag":0,"Title":"news","Desc":"your order","Ext":"{\"order\":9}","Other":[],
		"AndroidInfo":{"Sound":"a.mp3","HuaWeiChannelID":"hw","XiaoMiChannelID":"xm","OPPOChannelID":"op","GoogleChannelID":"go",
			"VIVOClassification":1,"HuaWeiImportance":"NORMAL","HuaWeiCategory":"IM","ExtAsHuaweiIntentParam":1.0},
		"ApnsInfo":{"Sound":"i.caf","BadgeMode":1,"Title":"apple","SubTitle":"sub","Image":"https://x/y.png","MutableContent":1e0}}`, text))
	want := Notice{
		Task: "7-42", Seq: 42, Title: "news", Text: "your order", Ext: `{"order":9}`, Expire: time.Unix(1700003600, 0),
		Android: Android{Sound: "a.mp3", HuaWeiChannelID: "hw", XiaoMiChannelID: "xm", OPPOChannelID: "op", GoogleChannelID: "go",
			VIVOClassification: 1, HuaWeiImportance: "NORMAL", HuaWeiCategory: "IM", ExtAsHuaweiIntentParam: 1},
		APNs: APNs{Sound: "i.caf", BadgeMode: 1, Title: "apple", SubTitle: "sub", Image: "https://x/y.png", MutableContent: 1},
	}
	if !ok || *got != want {
		t.Errorf("%t %+v, want %+v", ok, got, want)
	}
}

func TestNoticeText(t *testing.T) {
	t.Parallel()
	element := func(kind, content string) string {
		return `{"MsgType":"` + kind + `","MsgContent":` + content + `}`
	}
	words := element("TIMTextElem", `{"Text":"hello"}`)
	image := element("TIMImageElem", `{"UUID":"u","ImageInfoArray":[]}`)
	custom, bare := element("TIMCustomElem", `{"Data":"d","Desc":"an order"}`), element("TIMCustomElem", `{"Data":"d"}`)
	for _, c := range []struct{ info, body, want string }{ // an empty want: no notice
		{"", words, "hello"},
		{`{}`, words, "hello"},
		{`null`, words, "hello"},
		{`{"Desc":""}`, words, "hello"},
		{`{"Desc":null}`, words, "hello"},
		{`{"Desc":" over "}`, words, "over"},
		{`{"desc":"another name"}`, words, "hello"},
		{`{"Desc":"over"}`, bare, "over"},
		{`{"PushFlag":1}`, words, ""},
		{`{"PushFlag":1.0,"Desc":"over"}`, words, ""},
		{`{"PushFlag":0}`, words, "hello"},
		{"", custom, "an order"},
		{"", bare, ""},
		{`{"Title":"a title alone"}`, bare, ""},
		{"", element("TIMTextElem", `{"Text":" \n "}`), ""},
		{"", element("TIMTextElem", `{"text":"another name"}`), ""},
		{"", element("TIMLocationElem", `{"Desc":"Shenzhen","Latitude":1,"Longitude":2}`), "[Location]"},
		{"", element("TIMFaceElem", `{"Index":1}`), "[Face]"},
		{"", element("TIMSoundElem", `{}`), "[Voice]"},
		{"", image, "[Image]"},
		{"", element("TIMFileElem", `{}`), "[File]"},
		{"", element("TIMVideoFileElem", `{}`), "[Video]"},
		{"", image + "," + words, "[Image] hello"},
		{"", bare + "," + words + "," + custom, "hello an order"},
		{"", element("TIMNewElem", `{}`), ""},
		{"", `1`, ""},
		{`[]`, words, ""},
	} {
		n, ok := NewNotice(pushOf(c.info, "["+c.body+"]"))
		if ok != (c.want != "") || ok && n.Text != c.want {
			t.Errorf("%s with %s: %t, %+v, want %q", c.info, c.body, ok, n, c.want)
		}
	}
}

func TestOnlineOnlyAndRevocationsHaveNoNotice(t *testing.T) {
	t.Parallel()
	p := pushOf("", text)
	p.Lifetime = 0
	if _, ok := NewNotice(p); ok {
		t.Error("an online-only push has a notice")
	}
	p = pushOf(`{"Desc":"x"}`, text)
	p.Revokes = 41
	if _, ok := NewNotice(p); ok {
		t.Error("a revocation has a notice")
	}
}

func FuzzNewNotice(f *testing.F) {
	f.Add(`{"PushFlag":0,"Title":"t","Desc":"d","AndroidInfo":{"VIVOClassification":1e400},"ApnsInfo":[]}`, text)
	f.Add(`{"Desc":"\ud800"}`, `[{"MsgType":"TIMCustomElem","MsgContent":{"Desc":"\udc00"}}]`)
	f.Add("", `[null,{"MsgType":null,"MsgContent":null}]`)
	f.Fuzz(func(t *testing.T, info, body string) {
		n, ok := NewNotice(pushOf(info, body))
		if !ok {
			return
		}
		if strings.TrimSpace(n.Text) == "" || !utf8.ValidString(n.Text) || !utf8.ValidString(n.Title) || !utf8.ValidString(n.Ext) {
			t.Errorf("%s with %s is shown as %+v", info, body, n)
		}
	})
}
