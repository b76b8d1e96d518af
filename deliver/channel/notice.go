package channel

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

// NewNotice is how phones show a push, by its OfflinePushInfo and its elements; false when they do not show it: its sender
// says so (PushFlag 1), nothing in it can be shown, it is for users who are online only, or it is a revocation.
//
// Without Desc the text is what each element shows, in order and with a space between: a phone that shows "[Image]" where
// the text after the image says what it is about would help nobody. An element with nothing to show adds nothing, so that
// a lone custom element without a Desc has no notice.
func NewNotice(p *push.Push) (*Notice, bool) {
	if p.Lifetime <= 0 || p.Revokes != 0 {
		return nil, false
	}
	var info object
	if len(p.OfflineInfo) > 0 && json.Unmarshal(p.OfflineInfo, &info) != nil || info.number("PushFlag") == 1 {
		return nil, false
	}
	text := strings.TrimSpace(info.text("Desc"))
	if text == "" {
		text = shown(p.Body)
	}
	if text == "" {
		return nil, false
	}
	android, apns := info.object("AndroidInfo"), info.object("ApnsInfo")
	return &Notice{
		Task:   p.TaskID(),
		Seq:    p.Seq,
		Title:  info.text("Title"),
		Text:   text,
		Ext:    info.text("Ext"),
		Expire: time.Unix(p.Expire(), 0),
		Android: Android{
			Sound:                  android.text("Sound"),
			HuaWeiChannelID:        android.text("HuaWeiChannelID"),
			XiaoMiChannelID:        android.text("XiaoMiChannelID"),
			OPPOChannelID:          android.text("OPPOChannelID"),
			GoogleChannelID:        android.text("GoogleChannelID"),
			VIVOClassification:     android.number("VIVOClassification"),
			HuaWeiImportance:       android.text("HuaWeiImportance"),
			HuaWeiCategory:         android.text("HuaWeiCategory"),
			ExtAsHuaweiIntentParam: android.number("ExtAsHuaweiIntentParam"),
		},
		APNs: APNs{
			Sound:          apns.text("Sound"),
			BadgeMode:      apns.number("BadgeMode"),
			Title:          apns.text("Title"),
			SubTitle:       apns.text("SubTitle"),
			Image:          apns.text("Image"),
			MutableContent: apns.number("MutableContent"),
		},
	}, true
}

// placeholders are shown for elements that are no text.
var placeholders = map[string]string{
	"TIMLocationElem":  "[Location]",
	"TIMFaceElem":      "[Face]",
	"TIMSoundElem":     "[Voice]",
	"TIMImageElem":     "[Image]",
	"TIMFileElem":      "[File]",
	"TIMVideoFileElem": "[Video]",
}

// shown is the text of a MsgBody's elements.
func shown(body json.RawMessage) string {
	var elements []object
	if json.Unmarshal(body, &elements) != nil {
		return ""
	}
	var texts []string
	for _, e := range elements {
		kind, content := e.text("MsgType"), e.object("MsgContent")
		text := placeholders[kind]
		switch kind {
		case "TIMTextElem":
			text = content.text("Text")
		case "TIMCustomElem":
			text = content.text("Desc")
		}
		if text = strings.TrimSpace(text); text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, " ")
}

// object is a JSON object whose members are asked for by their exact names: decoding into a struct would take "desc" for
// "Desc". A member of another type counts as absent; ingest lets none through.
type object map[string]json.RawMessage

func (o object) text(name string) (s string) {
	if json.Unmarshal(o[name], &s) != nil {
		return ""
	}
	return s
}

// number is a whole number, however JSON writes it, and 0 for any other.
func (o object) number(name string) int {
	var f float64
	if json.Unmarshal(o[name], &f) != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0
	}
	return int(f)
}

func (o object) object(name string) (member object) {
	if json.Unmarshal(o[name], &member) != nil {
		return nil
	}
	return member
}
