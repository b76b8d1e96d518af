package ingest

import (
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// Requests in the shapes that two server SDKs in use send: one writes every member of its structs, null where it has
// nothing, and gives attributes whatever type the caller's value has; the other names its lists Tags and Attrs and
// accounts Identifier.
func TestRequestsOfRealClients(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"account_import", `{"UserID":"user1","Nick":"","FaceUrl":""}`)
	a.ok(setNames, `{"AttrNames":{"0":"sex","1":"age","2":"vip"}}`)
	a.ok(setAttr, `{"UserAttrs":[{"To_Account":"user1","Attrs":{"sex":"f","age":20,"vip":true}}]}`)
	a.ok(addTag, `{"UserTags":[{"To_Account":"user1","Tags":["a"]}]}`)
	p := a.stored(a.ok(imPush, `{"From_Account":"user1","Condition":{"TagsAnd":null,"TagsOr":null,"AttrsAnd":{"age":20,"vip":true},"AttrsOr":null},
		"MsgRandom":1891240123,"MsgBody":[{"MsgType":"TIMCustomElem","MsgContent":{"Desc":"","Data":"{\"k\":1}","Ext":"","Sound":""}}],"MsgLifeTime":120,
		"OfflinePushInfo":{"PushFlag":0,"Title":"t","Desc":"d","Ext":"","AndroidInfo":{"Sound":"android.mp3","OPPOChannelID":"x"},"ApnsInfo":{"Sound":"apns.mp3","BadgeMode":1,"Title":"a","SubTitle":"b","Image":"c"}}}`).TaskId)
	if p.Condition != `(and (attr 1 "20") (attr 2 "true"))` {
		t.Errorf("condition %s", p.Condition)
	}

	a.ok(login+"account_import", `{"Identifier":"user2","Nick":"n","FaceUrl":null,"Type":0}`)
	a.ok(addTag, `{"Tags":[{"To_Account":"user2","Tags":["a","b"]}]}`)
	a.ok(setAttr, `{"Attrs":[{"To_Account":"user2","Attrs":{"sex":"m"}}]}`)
	a.ok(removeAttr, `{"Attrs":[{"To_Account":"user2","Attrs":["sex"]}]}`)
	a.ok(removeTag, `{"Tags":[{"To_Account":"user2","Tags":["b"]}]}`)
	const list = `[{"To_Account":"user2","Tags":["a"]}]`
	a.ok(getTag, `{"To_Account":["user2"]}`).extra(t, `"UserTags":`+list+`,"Tags":`+list)
	a.ok(login+"kick", `{"Identifier":"user2"}`)
	a.ok(imPush, `{"MsgRandom":9312457,"MsgLifeTime":null,"From_Account":null,"Condition":null,"OfflinePushInfo":null,"SyncOtherMachine":null,
		"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi, beauty"}}]}`)
}
