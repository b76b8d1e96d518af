package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A channel's section becomes its configuration, its limits, and files that are read anew each time that it is opened.
func TestChannels(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	apns := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	secret := write(t, "hush1\n")
	t.Setenv("XIAOMI_SECRET", "hush2")
	text := fmt.Sprintf(`
apps:
- sdkappid: 1
  key: k
  admins: [a]
  channels:
    apns: {topic: com.example.app, key_file: %s, key_id: ABC123DEFG, team_id: DEF123GHIJ, sandbox: true, rate: 100.5, concurrency: 7}
    huawei: {client_id: "1234", client_secret_file: %s, timeout: 3s, app_name: App}
    xiaomi: {app_secret_env: XIAOMI_SECRET, package: com.example.app}
`, apns, secret)
	c, err := loadText(t, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, faults := c.Apps[0].VendorChannels()
	if len(faults) > 0 || len(all) != 3 {
		t.Fatalf("%v, %v", all, faults)
	}
	if l := all[0].Limits; all[0].Name != "apns" || l.Rate != 100.5 || l.Concurrency != 7 || l.Timeout != channel.DefaultLimits().Timeout || !slices.Equal(all[0].Files, []string{apns}) {
		t.Errorf("%+v", all[0])
	}
	if all[1].Name != "huawei" || all[1].Limits.Timeout != 3*time.Second || !slices.Equal(all[1].Files, []string{secret}) {
		t.Errorf("%+v", all[1])
	}
	for _, c := range all {
		if _, err := c.Open(); err != nil {
			t.Errorf("open %s: %v", c.Name, err)
		}
	}
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	if _, err := all[1].Open(); err == nil || !strings.Contains(err.Error(), "client_secret_file") {
		t.Errorf("without its file: %v", err)
	}
	for section, reason := range map[string]string{
		`{huawei: {client_id: "1", client_secret_file: /none}}`:        "client_secret_file",
		`{huawei: {client_id: "1", client_secret_env: CARILLON_NONE}}`: "CARILLON_NONE",
	} {
		c, err := loadText(t, "apps: [{sdkappid: 1, key: k, admins: [a], channels: "+section+"}]", nil)
		if err != nil {
			t.Fatal(err)
		}
		all, _ := c.Apps[0].VendorChannels()
		if _, err := all[0].Open(); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want %q", section, err, reason)
		}
	}
	for _, shown := range []string{fmt.Sprint(c.Apps[0]), fmt.Sprintf("%#v", c.Apps[0]), fmt.Sprintf("%+v", *c)} {
		if strings.Contains(shown, "hush") {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
}

// What is wrong with a channel is said with its key, and without its secrets.
func TestWrongChannels(t *testing.T) {
	t.Parallel()
	secret := write(t, "s")
	for _, c := range []struct{ section, key, reason string }{
		{`{gcm: {}}`, "channels.gcm", "there is no such channel"},
		{`{fcm: 7}`, "channels[fcm]", "section"},
		{`{fcm: {}}`, "channels.fcm", "key file"},
		{`{fcm: {credentials_file: x, Project: y}}`, "channels.fcm.project", ""},
		{`{fcm: {credentials_file: x, projects: y}}`, "channels.fcm.projects", "no such key"},
		{`{fcm: {credentials_file: 7}}`, "channels.fcm.credentials_file", "text"},
		{`{fcm: {credentials_file: x, concurrency: 0}}`, "channels.fcm", "concurrency"},
		{`{fcm: {credentials_file: x, concurrency: many}}`, "channels.fcm.concurrency", "whole number"},
		{`{huawei: {client_id: "1", timeout: 7}}`, "channels.huawei.timeout", "duration"},
		{`{huawei: {client_id: "1", client_secret: hush, client_secret_file: ` + secret + `}}`, "channels.huawei.client_secret_file", "more than one way"},
		{`{huawei: {client_id: "1", client_secret_file: 7}}`, "channels.huawei.client_secret_file", "path of a file"},
		{`{huawei: {client_id: "1"}}`, "channels.huawei", ""},
	} {
		_, err := loadText(t, "apps: [{sdkappid: 1, key: hush, admins: [a], channels: "+c.section+"}]", nil)
		if c.key == "channels.fcm.project" { // keys have no case
			if err != nil {
				t.Errorf("%s: %v", c.section, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "apps[0]."+c.key) || !strings.Contains(err.Error(), c.reason) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %s and %q", c.section, err, c.key, c.reason)
		}
	}
}

// Every field of a channel's configuration is a key of a type that a file can give, and every secret is a field.
func TestChannelKeys(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"KeyFile": "key_file", "URL": "url", "AuthURL": "auth_url", "CAFile": "ca_file", "AppID": "app_id", "ClientID": "client_id", "Sandbox": "sandbox"} {
		if got := keyOf(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, k := range ChannelKinds() {
		own, limits := k.Keys()
		v := reflect.ValueOf(k.config()).Elem()
		for _, key := range own {
			switch f := v.FieldByName(key.Field); f.Kind() {
			case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Slice:
			default:
				t.Errorf("%s of %s is a %v", key.Name, k.Name, f.Kind())
			}
		}
		for _, s := range k.secrets {
			if !slices.ContainsFunc(own, func(o ChannelKey) bool { return o.Field == s }) {
				t.Errorf("%s has no field %s", k.Name, s)
			}
		}
		if len(limits) < 8 {
			t.Errorf("%s has the limits %v", k.Name, limits)
		}
	}
}
