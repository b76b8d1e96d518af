package ingest

import (
	"errors"
	"strings"
	"testing"
)

const (
	image = `{"MsgType":"TIMImageElem","MsgContent":{"UUID":"u","ImageFormat":1,"ImageInfoArray":[{"Type":1,"Size":1,"Width":2,"Height":3,"URL":"http://x"}]}}`
	video = `{"MsgType":"TIMVideoFileElem","MsgContent":{"VideoUrl":"u","VideoUUID":"u","VideoSize":1,"VideoSecond":2,"VideoFormat":"mp4","VideoDownloadFlag":2,"ThumbUrl":"u","ThumbUUID":"u","ThumbSize":1,"ThumbWidth":2,"ThumbHeight":3,"ThumbFormat":"jpg","ThumbDownloadFlag":2}}`
)

// Contract §2, message elements: 90010.
func TestSection2Elements(t *testing.T) {
	t.Parallel()
	i := &Ingest{cfg: Default()}
	for _, c := range []struct{ elements, want string }{
		{`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi"}}]`, ""},
		{`[{"MsgType":"TIMTextElem","MsgContent":{"Text":""}},{"MsgType":"TIMTextElem","MsgContent":{"Text":"b","More":1}}]`, ""},
		{`[{"MsgType":"TIMLocationElem","MsgContent":{"Desc":"d","Latitude":29.34,"Longitude":-116}}]`, ""},
		{`[{"MsgType":"TIMFaceElem","MsgContent":{"Index":1,"Data":"x"}}]`, ""},
		{`[{"MsgType":"TIMCustomElem","MsgContent":{"Data":"m","Desc":"n","Ext":"url","Sound":"dingdong.aiff"}}]`, ""},
		{`[{"MsgType":"TIMSoundElem","MsgContent":{"Url":"u","UUID":"u","Size":1,"Second":2,"Download_Flag":2}}]`, ""},
		{`[{"MsgType":"TIMFileElem","MsgContent":{"Url":"u","UUID":"u","FileSize":1,"FileName":"f","Download_Flag":2}}]`, ""},
		{"[" + image + "," + video + "]", ""},
		{`[1]`, "MsgBody[0]: not an object"},
		{`[null]`, "MsgBody[0]: missing"},
		{`[{"MsgContent":{"Text":"hi"}}]`, "MsgBody[0].MsgType: missing"},
		{`[{"MsgType":1,"MsgContent":{}}]`, "MsgBody[0].MsgType: not a string"},
		{`[{"MsgType":"timtextelem","MsgContent":{"Text":"hi"}}]`, "no type"},
		{`[{"MsgType":"TIMTextElem"}]`, "MsgBody[0].MsgContent: missing"},
		{`[{"MsgType":"TIMTextElem","MsgContent":null}]`, "MsgBody[0].MsgContent: missing"},
		{`[{"MsgType":"TIMTextElem","MsgContent":"hi"}]`, "MsgBody[0].MsgContent: not an object"},
		{`[{"MsgType":"TIMTextElem","MsgContent":{"text":"hi"}}]`, "MsgBody[0].MsgContent.Text: missing"},
		{`[{"MsgType":"TIMTextElem","MsgContent":{"Text":1}}]`, "Text: not a string"},
		{`[{"MsgType":"TIMLocationElem","MsgContent":{"Latitude":"29","Longitude":1}}]`, "Latitude: not a number"},
		{`[{"MsgType":"TIMLocationElem","MsgContent":{"Latitude":29}}]`, "Longitude: missing"},
		{`[{"MsgType":"TIMFaceElem","MsgContent":{"Index":"1"}}]`, "Index: not a number"},
		{`[{"MsgType":"TIMSoundElem","MsgContent":{"UUID":"u","Download_Flag":1}}]`, "Download_Flag: not 2"},
		{strings.Replace("["+image+"]", `"Type":1`, `"Type":4`, 1), "ImageInfoArray[0].Type: not a number from 1 to 3"},
		{`[{"MsgType":"TIMImageElem","MsgContent":{"UUID":"u","ImageInfoArray":[]}}]`, "ImageInfoArray: an empty array"},
		{`[{"MsgType":"TIMImageElem","MsgContent":{"UUID":"u","ImageInfoArray":{}}}]`, "ImageInfoArray: not an array"},
		{strings.Replace("["+video+"]", `"ThumbSize":1`, `"ThumbSize":"1"`, 1), "ThumbSize: not a number"},
		{`[{"MsgType":"TIMCustomElem","MsgContent":{}},{"MsgType":"TIMCustomElem","MsgContent":{}}]`, "MsgBody[1]: a message has one"},
	} {
		_, err := i.readMsgBody(newValue("MsgBody", []byte(c.elements)))
		check(t, c.elements, err, codeElement, c.want)
	}
}

// Contract §2, OfflinePushInfo: 90043.
func TestSection2OfflinePushInfo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ info, want string }{
		{`{}`, ""},
		{`{"PushFlag":1,"Title":"t","Desc":"d","Ext":"{}","AndroidInfo":{"Sound":"a.mp3","HuaWeiChannelID":"","XiaoMiChannelID":"","OPPOChannelID":"","GoogleChannelID":"","VIVOClassification":1,"HuaWeiImportance":"LOW","HuaWeiCategory":"IM","ExtAsHuaweiIntentParam":1},"ApnsInfo":{"Sound":"a","BadgeMode":1,"Title":"t","SubTitle":"s","Image":"i","MutableContent":1}}`, ""},
		{`{"AndroidInfo":null,"ApnsInfo":null,"Title":null,"Other":[]}`, ""},
		{`"x"`, "OfflinePushInfo: not an object"},
		{`{"PushFlag":2}`, "OfflinePushInfo.PushFlag: not a number from 0 to 1"},
		{`{"PushFlag":"0"}`, "OfflinePushInfo.PushFlag"},
		{`{"Desc":1}`, "OfflinePushInfo.Desc: not a string"},
		{`{"Ext":{}}`, "OfflinePushInfo.Ext: not a string"},
		{`{"AndroidInfo":[]}`, "OfflinePushInfo.AndroidInfo: not an object"},
		{`{"AndroidInfo":{"Sound":1}}`, "OfflinePushInfo.AndroidInfo.Sound: not a string"},
		{`{"ApnsInfo":{"BadgeMode":"1"}}`, "OfflinePushInfo.ApnsInfo.BadgeMode: not a number"},
	} {
		raw, err := readOfflineInfo(newValue("OfflinePushInfo", []byte(c.info)))
		check(t, c.info, err, codeOfflineInfo, c.want)
		if err == nil && string(raw) != c.info {
			t.Errorf("%s became %s", c.info, raw)
		}
	}
	_, err := readOfflineInfo(newValue("OfflinePushInfo", []byte(`{"Ext":"`+strings.Repeat("x", maxOfflineInfo)+`"}`)))
	check(t, "a long Ext", err, codeTooLong, "OfflinePushInfo")
}

func check(t *testing.T, what string, err error, code Code, want string) {
	t.Helper()
	var r *refusal
	switch {
	case want == "" && err == nil:
	case want == "":
		t.Errorf("%s: %v", what, err)
	case !errors.As(err, &r) || r.code != code || !strings.Contains(r.info, want):
		t.Errorf("%s: %v, want %d %q", what, err, code, want)
	}
}
