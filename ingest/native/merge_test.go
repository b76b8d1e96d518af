package native

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A request makes accounts and changes others, keeps what it does not mention, and does no harm when it comes again.
func TestMergeAccounts(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	a.attributes("sex", "city")
	const path = "/v1/accounts"
	ok[account](a, 201, "PUT", path+"/old", `{"tags":["a"],"attributes":{"sex":"f","city":"x"}}`)
	for range 2 {
		ok[any](a, 204, "POST", path, `{"accounts":[{"account":"old","tags":["b","a"],"attributes":{"city":"y"}},`+
			`{"account":"new","tags":["c"],"attributes":{"sex":"m"}},{"account":"plain"},{"accountBase64":"/w=="},`+
			`{"account":"new","tags":["d"],"attributes":{"sex":"n"}}]}`)
		for name, want := range map[string]string{
			"old": `["a","b"]{"city":"y","sex":"f"}`, "new": `["c","d"]{"sex":"n"}`, "plain": `[]{}`, "%ff": `[]{}`,
		} {
			if got := ok[account](a, 200, "GET", path+"/"+name, ""); js(got.Tags)+js(got.Attributes) != want {
				t.Errorf("%s is %+v, want %s", name, got, want)
			}
		}
	}
	// Three accounts were made and two changed: each has one record, and only the one that was there before had another.
	last, err := a.b.LastSeq(t.Context(), wire.UsersStream(a.app, 0))
	if err != nil || last != 5 {
		t.Errorf("%d records were written, %v", last, err)
	}
	ok[any](a, 204, "POST", path, `{"accounts":[]}`)
}

// What is wrong with one account is wrong with the request: nothing of it is done.
func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	a.attributes("city")
	const path = "/v1/accounts"
	var tags []string
	for i := range push.MaxTags {
		tags = append(tags, fmt.Sprint("t", i))
	}
	ok[any](a, 204, "POST", path, `{"accounts":[{"account":"full","tags":`+js(tags)+`}]}`)
	many := `{"accounts":[` + strings.TrimSuffix(strings.Repeat(`{"account":"u"},`, maxMerged+1), ",") + `]}`
	for _, c := range []struct {
		status         int
		code, at, body string
	}{
		{400, codeMissing, "/accounts", `{}`},
		{400, codeField, "/accounts", `{"accounts":{}}`},
		{400, codeField, "/accounts", many},
		{400, codeField, "/accounts/1", `{"accounts":[{"account":"u"},"v"]}`},
		{400, codeMissing, "/accounts/1/account", `{"accounts":[{"account":"u"},{}]}`},
		{400, codeField, "/accounts/1/account", `{"accounts":[{"account":"u"},{"account":"` + long51 + `"}]}`},
		{400, codeField, "/accounts/1/account", `{"accounts":[{"account":"u"},{"account":"v","accountBase64":"/w=="}]}`},
		{400, codeUnknownField, "/accounts/1/tag", `{"accounts":[{"account":"u"},{"account":"v","tag":[]}]}`},
		{400, codeField, "/accounts/1/tags/0", `{"accounts":[{"account":"u"},{"account":"v","tags":[""]}]}`},
		{422, codeAttribute, "/accounts/1/attributes/town", `{"accounts":[{"account":"u"},{"account":"v","attributes":{"town":"x"}}]}`},
		{422, codeTags, "-", `{"accounts":[{"account":"u"},{"account":"full","tags":["one more"]}]}`},
	} {
		a.refused(c.status, c.code, c.at, "POST", path, c.body)
	}
	if got := ok[accountList](a, 200, "GET", path, ""); len(got.Accounts) != 1 || len(got.Accounts[0].Tags) != push.MaxTags {
		t.Errorf("refused requests did something: %+v", got)
	}
}
