package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/deliver/callback"
)

func TestCallbackOfAnApp(t *testing.T) {
	t.Parallel()
	text := func(callback string) string {
		return "apps:\n- {sdkappid: 7, key: k, admins: [a], callback: " + callback + "}\n"
	}
	c, err := loadText(t, text("{url: https://operator.example/hook, secret_file: /run/secret, events: [login, sent]}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := callback.App{ID: 7, URL: "https://operator.example/hook", SecretFile: "/run/secret", Events: []string{"login", "sent"}}
	if got := c.Apps[0].Callback.Of(7); !reflect.DeepEqual(got, want) || !c.Apps[0].Callback.Set() {
		t.Errorf("%+v", got)
	}
	if got := fmt.Sprint(c.Apps[0].Callback, Callback{}); got != "{url: https://operator.example/hook, secret_file: /run/secret, events: [login sent]} {}" {
		t.Error(got)
	}
	if c, err = loadText(t, text("{url: https://operator.example, secret_file: s}"), nil); err != nil || len(c.Apps[0].Callback.Of(7).Events) != 6 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = loadText(t, text("{}"), nil); err != nil || c.Apps[0].Callback.Set() {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = loadText(t, text("{url: http://operator.example, events: [seen]}"), nil)
	for _, want := range []string{"apps[0].callback", "not https", "secret", `"seen" is no kind`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if _, err = loadText(t, text("{uri: x}"), nil); err == nil || !strings.Contains(err.Error(), "uri") {
		t.Errorf("an unknown key: %v", err)
	}
}
