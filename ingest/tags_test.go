package ingest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/directory"
)

const (
	addTag    = all + "im_add_tag"
	removeTag = all + "im_remove_tag"
	removeAll = all + "im_remove_all_tags"
	getTag    = all + "im_get_tag"
)

func (a *api) tags(account string) []string {
	a.t.Helper()
	users, err := directory.New(a.b).Users(a.t.Context(), a.app, account)
	if err != nil {
		a.t.Fatal(err)
	}
	return users[account].Record.Tags
}

// Contract §2, tags.
func TestSection2Tags(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"multiaccount_import", `{"Accounts":["u1","u2"]}`)

	a.ok(addTag, `{"UserTags":[{"To_Account":"u1","Tags":["b","a","a"]},{"To_Account":"u2","Tags":["x"]},{"To_Account":"u1","Tags":["<c>"]}]}`).extra(t, "")
	a.ok(addTag, `{"Tags":[{"To_Account":"u2","Tags":["y"]}],"UserTags":null}`)
	if got := a.tags("u1"); !slices.Equal(got, []string{"<c>", "a", "b"}) {
		t.Errorf("read your writes: %q", got)
	}
	list := `[{"To_Account":"u2","Tags":["x","y"]},{"To_Account":"nobody","Tags":[]},{"To_Account":"u1","Tags":["<c>","a","b"]},{"To_Account":"","Tags":[]}]`
	a.ok(getTag, `{"To_Account":["u2","nobody","u1",""]}`).extra(t, `"UserTags":`+list+`,"Tags":`+list)

	a.ok(removeTag, `{"UserTags":[{"To_Account":"u1","Tags":["a","never there"]}]}`).extra(t, "")
	if got := a.tags("u1"); !slices.Equal(got, []string{"<c>", "b"}) {
		t.Errorf("after removing: %q", got)
	}
	a.ok(removeAll, `{"To_Account":["u1","u2","u1"]}`).extra(t, "")
	if got := append(a.tags("u1"), a.tags("u2")...); len(got) != 0 {
		t.Errorf("after removing all: %q", got)
	}
}

// Contract §2, tags: what is refused, and that nothing of it is applied.
func TestSection2TagRefusals(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"account_import", `{"UserID":"u"}`)
	user := func(account, tags string) string {
		return `{"UserTags":[{"To_Account":"u","Tags":["applied"]},{"To_Account":` + account + `,"Tags":` + tags + `}]}`
	}
	tooMany := "[" + `{"To_Account":"u","Tags":["t"]}`
	for range 100 {
		tooMany += `,{"To_Account":"u","Tags":["t"]}`
	}
	for _, command := range []string{addTag, removeTag} {
		a.refused(codeBodyPush, "UserTags: missing", command, `{}`)
		a.refused(codeBodyPush, "UserTags: missing", command, `{"UserTags":null}`)
		a.refused(codeBodyPush, "UserTags: not an array", command, `{"UserTags":{}}`)
		a.refused(codeBodyPush, "UserTags: an empty array", command, `{"UserTags":[]}`)
		a.refused(codeBodyPush, "UserTags[0]: not an object", command, `{"UserTags":["u"]}`)
		a.refused(codeBodyPush, "UserTags[0].To_Account: missing", command, `{"UserTags":[{"Tags":["a"]}]}`)
		a.refused(codeBodyPush, "UserTags[1].Tags: missing", command, user(`"u"`, `null`))
		a.refused(codeBodyPush, "UserTags[1].Tags: an empty array", command, user(`"u"`, `[]`))
		a.refused(codeBodyPush, "UserTags[1].Tags[0]: not a string", command, user(`"u"`, `[1]`))
		a.refused(codeAccountType, "UserTags[1].To_Account", command, user(`1`, `["a"]`))
		a.refused(codeManyUsers, "UserTags: 101", command, `{"UserTags":`+tooMany+`]}`)
		a.refused(codeTagLong, "UserTags[1].Tags[1]: longer than 50 bytes", command, user(`"u"`, `["a","`+long51+`"]`))
		a.refused(codeBodyPush, "UserTags[1].Tags[0]: it holds half of a character", command, user(`"u"`, `["\udfff x"]`))
		a.refused(codeTagEmpty, "UserTags[1].Tags[0]: empty", command, user(`"u"`, `[""]`))
		a.refused(codeNotImported, `"nobody"`, command, user(`"nobody"`, `["a"]`))
		a.refused(codeNotImported, `"`+long51, command, user(`"`+long51+`"`, `["a"]`))
		a.refused(codeNotImported, `""`, command, user(`""`, `["a"]`))
	}
	a.refused(codeManyTags, "UserTags[1].Tags", addTag, user(`"u"`, strs(11, "t%d")))
	a.refused(codeNotImported, `"nobody"`, removeAll, `{"To_Account":["u","nobody"]}`)
	for _, command := range []string{removeAll, getTag} {
		a.refused(codeBodyPush, "To_Account: missing", command, `{}`)
		a.refused(codeBodyPush, "To_Account: an empty array", command, `{"To_Account":[]}`)
		a.refused(codeManyUsers, "To_Account", command, `{"To_Account":`+strs(101, "u%d")+`}`)
		a.refused(codeAccountType, "To_Account[0]", command, `{"To_Account":[7]}`)
	}
	if got := a.tags("u"); len(got) != 0 {
		t.Errorf("refused, and yet there are %q", got)
	}

	for n := range 10 {
		a.ok(addTag, user(`"u"`, strs(10, fmt.Sprintf("t%d-", n)+"%d"))) // with "applied": 101 in the tenth
		if n == 8 {
			break
		}
	}
	full := a.tags("u")
	a.refused(codeManyTags, `"u"`, addTag, user(`"u"`, strs(10, "more %d")))
	if got := a.tags("u"); !slices.Equal(got, full) || len(full) != 91 {
		t.Errorf("%d tags, want the 91 as before: %d", len(got), len(full))
	}
	a.ok(addTag, user(`"u"`, strs(9, "more %d")))
}
