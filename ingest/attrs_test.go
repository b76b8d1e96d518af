package ingest

import (
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

const (
	setNames   = all + "im_set_attr_name"
	getNames   = all + "im_get_attr_name"
	setAttr    = all + "im_set_attr"
	removeAttr = all + "im_remove_attr"
	getAttr    = all + "im_get_attr"
)

// Contract §2, attributes.
func TestSection2Attrs(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"multiaccount_import", `{"Accounts":["u1","u2"]}`)
	a.ok(getNames, `{}`).extra(t, `"AttrNames":{}`)
	a.ok(setNames, `{"AttrNames":{"0":"sex","1":"city"}}`).extra(t, "")
	a.ok(setNames, `{"AttrNames":{"9":"age"}}`)
	a.ok(getNames, `{}`).extra(t, `"AttrNames":{"0":"sex","1":"city","9":"age"}`)

	a.ok(setAttr, `{"UserAttrs":[{"To_Account":"u1","Attrs":{"sex":"f","city":"Shenzhen"}},{"To_Account":"u2","Attrs":{"age":3,"sex":true}}]}`).extra(t, "")
	a.ok(setAttr, `{"Attrs":[{"To_Account":"u1","Attrs":{"city":"<Xi'an>"}}]}`)
	list := `[{"To_Account":"u2","Attrs":{"age":"3","sex":"true"}},{"To_Account":"nobody","Attrs":{}},{"To_Account":"u1","Attrs":{"city":"<Xi'an>","sex":"f"}}]`
	a.ok(getAttr, `{"To_Account":["u2","nobody","u1"]}`).extra(t, `"UserAttrs":`+list+`,"Attrs":`+list)

	a.ok(setNames, `{"AttrNames":{"1":"town"}}`) // values belong to the slot
	a.ok(removeAttr, `{"UserAttrs":[{"To_Account":"u1","Attrs":["sex","age"]}]}`).extra(t, "")
	list = `[{"To_Account":"u1","Attrs":{"town":"<Xi'an>"}}]`
	a.ok(getAttr, `{"To_Account":["u1"]}`).extra(t, `"UserAttrs":`+list+`,"Attrs":`+list)

	a.ok(setNames, `{"AttrNames":{"0":"town","1":"sex"}}`) // two change places in one request
}

// Contract §2, attributes: what is refused, and that nothing of it is applied.
func TestSection2AttrRefusals(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"account_import", `{"UserID":"u"}`)
	a.ok(setNames, `{"AttrNames":{"0":"sex","1":"city"}}`)
	a.refused(codeBodyPush, "AttrNames: missing", setNames, `{}`)
	a.refused(codeBodyPush, "AttrNames: not an object", setNames, `{"AttrNames":"sex"}`)
	a.refused(codeBodyPush, "AttrNames: an empty object", setNames, `{"AttrNames":[]}`)
	a.refused(codeBodyPush, "AttrNames.10: not a slot from 0 to 9", setNames, `{"AttrNames":["a","b","c","d","e","f","g","h","i","j","k"]}`)
	a.refused(codeBodyPush, "AttrNames: an empty object", setNames, `{"AttrNames":{}}`)
	a.refused(codeBodyPush, "AttrNames.2: not a string", setNames, `{"AttrNames":{"2":7}}`)
	for _, slot := range []string{"10", "-1", "01", "", "+1", "256", "sex"} {
		a.refused(codeBodyPush, "not a slot", setNames, `{"AttrNames":{"`+slot+`":"x"}}`)
	}
	a.refused(codeAttrLength, "AttrNames.2: the name is empty", setNames, `{"AttrNames":{"2":""}}`)
	a.refused(codeAttrLength, "longer than 50", setNames, `{"AttrNames":{"2":"`+long51+`"}}`)
	a.refused(codeAttrLength, "same name", setNames, `{"AttrNames":{"2":"sex"}}`)

	user := func(account, attrs string) string {
		return `{"UserAttrs":[{"To_Account":"u","Attrs":{"city":"applied"}},{"To_Account":` + account + `,"Attrs":` + attrs + `}]}`
	}
	many := elems(101, `{"To_Account":"u%d","Attrs":{}}`)
	a.refused(codeBodyPush, "UserAttrs: missing", setAttr, `{}`)
	a.refused(codeBodyPush, "UserAttrs: an empty array", setAttr, `{"UserAttrs":[]}`)
	a.refused(codeManyUsers, "UserAttrs", setAttr, `{"UserAttrs":`+many+`}`)
	a.refused(codeBodyPush, "UserAttrs[1].Attrs: missing", setAttr, user(`"u"`, `null`))
	a.refused(codeBodyPush, "UserAttrs[1].Attrs: not an object", setAttr, user(`"u"`, `["sex"]`))
	a.refused(codeBodyPush, "UserAttrs[1].Attrs: an empty object", setAttr, user(`"u"`, `{}`))
	a.refused(codeBodyPush, "UserAttrs[1].Attrs.sex: not a string, a number or a boolean", setAttr, user(`"u"`, `{"sex":null}`))
	a.refused(codeBodyPush, "UserAttrs[1].Attrs.sex", setAttr, user(`"u"`, `{"sex":{}}`))
	a.refused(codeAttrLength, "the value is empty", setAttr, user(`"u"`, `{"sex":""}`))
	a.refused(codeAttrLength, "the value is longer than 50", setAttr, user(`"u"`, `{"sex":"`+long51+`"}`))
	a.refused(codeAttrLength, "the name is empty", setAttr, user(`"u"`, `{"":"x"}`))
	a.refused(codeAttrLength, "the name is longer than 50", setAttr, user(`"u"`, `{"`+long51+`":"x"}`))
	a.refused(codeAttrUnknown, `"Sex"`, setAttr, user(`"u"`, `{"Sex":"x"}`))
	a.refused(codeAccountType, "UserAttrs[1].To_Account", setAttr, user(`[]`, `{"sex":"x"}`))
	a.refused(codeNotImported, `"nobody"`, setAttr, user(`"nobody"`, `{"sex":"x"}`))

	names := func(account, attrs string) string {
		return `{"UserAttrs":[{"To_Account":` + account + `,"Attrs":` + attrs + `}]}`
	}
	a.refused(codeBodyPush, "UserAttrs[0].Attrs: missing", removeAttr, names(`"u"`, `null`))
	a.refused(codeBodyPush, "UserAttrs[0].Attrs: not an array", removeAttr, names(`"u"`, `{"sex":"f"}`))
	a.refused(codeBodyPush, "UserAttrs[0].Attrs: an empty array", removeAttr, names(`"u"`, `[]`))
	a.refused(codeBodyPush, "UserAttrs[0].Attrs[1]: not a string", removeAttr, names(`"u"`, `["sex",1]`))
	a.refused(codeAttrUnknown, "UserAttrs[0].Attrs[0]", removeAttr, names(`"u"`, `["age"]`))
	a.refused(codeAttrLength, "UserAttrs[0].Attrs[0]", removeAttr, names(`"u"`, `[""]`))
	a.refused(codeNotImported, `"nobody"`, removeAttr, names(`"nobody"`, `["sex"]`))

	a.refused(codeBodyPush, "To_Account: missing", getAttr, `{}`)
	a.refused(codeManyUsers, "To_Account", getAttr, `{"To_Account":`+strs(101, "u%d")+`}`)
	const list = `[{"To_Account":"u","Attrs":{}}]`
	a.ok(getAttr, `{"To_Account":["u"]}`).extra(t, `"UserAttrs":`+list+`,"Attrs":`+list)
}
