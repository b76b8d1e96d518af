package config

import (
	"errors"
	"strings"
	"testing"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	const app = `{sdkappid: 1, key: ` + secret + `, admins: [a]}`
	for _, c := range []struct {
		file string
		env  []string
		args []string
		want string
	}{
		{file: "sessions: {heartbeat: soon}", want: `sessions.heartbeat in carillon.yaml: "soon" is not a duration such as 60s`},
		{file: "sessions: {heartbeat: 60}", want: `sessions.heartbeat in carillon.yaml: 60 is not a duration such as 60s`},
		{env: []string{"CARILLON_SESSIONS_HEARTBEAT=soon"}, want: `sessions.heartbeat in CARILLON_SESSIONS_HEARTBEAT: "soon" is not a duration such as 60s`},
		{args: []string{"--sessions.heartbeat=2h"}, want: `sessions.heartbeat in --sessions.heartbeat: 2h is not from 1s to 1h`},
		{file: "retention: {pushes: 100h}", want: `retention.pushes in carillon.yaml: 100h is not from 168h to 8784h`},
		{file: "retention: {pushes: 800h}", want: `retention.tasks in the defaults: 720h0m0s is shorter than retention.pushes, 800h0m0s; a push would be forgotten before its log`},
		{file: "http: {body_limit: 12 KiB}", want: `http.body_limit in carillon.yaml: "12 KiB" is not a whole number`},
		{file: "http: {body_limit: 1.5}", want: `http.body_limit in carillon.yaml: 1.5 is not a whole number`},
		{file: "http: {body_limit: [1]}", want: `http.body_limit in carillon.yaml: [1] is not a whole number`},
		{file: "http: {body_limit: 18446744073709551615}", want: `http.body_limit in carillon.yaml: 18446744073709551615 is not a whole number`},
		{file: "http: {body_limit: 3}", want: `http.body_limit in carillon.yaml: 3 is not from 1024 to 16777216`},
		{file: "http: {message_limit: 131072}", want: `http.message_limit in carillon.yaml: 131072 is more than http.body_limit, 65536, so that no such message could arrive`},
		{file: "http: {listen: 8080}", want: `http.listen in carillon.yaml: it is not text; put it in quotes`},
		{file: "http: {listen: localhost}", want: `http.listen in carillon.yaml: "localhost" is not an address such as 127.0.0.1:8080 or :8080`},
		{file: "http: {listen: \":99999\"}", want: `http.listen in carillon.yaml: ":99999" is not an address such as 127.0.0.1:8080 or :8080`},
		{file: "sessions: {listen: \"127.0.0.1:8080\"}", want: `sessions.listen in carillon.yaml: "127.0.0.1:8080" is also http.listen; operators and users need an address each`},
		{file: "data: ''\n", want: `data in carillon.yaml: it must not be empty`},
		{file: "sharding: {bits: 300}", want: `sharding.bits in carillon.yaml: 300 is out of range`},
		{file: "sharding: {bits: -1}", want: `sharding.bits in carillon.yaml: -1 is out of range`},
		{file: "sharding: {bits: 21}", want: `sharding.bits in carillon.yaml: 21 is not from 4 to 20`},
		{file: "nats: {store_limit: -5}", want: `nats.store_limit in carillon.yaml: -5 is less than 0`},
		{file: "nats: {replicas: 2}", want: `nats.replicas in carillon.yaml: 2 is not one of 1, 3`},
		{file: "nats: {replicas: 3}", want: `nats.replicas in carillon.yaml: 3 copies need as many servers; name them in nats.url, or form a cluster with nats.cluster_listen`},
		{file: "nats: {listen: ':4222'}", want: `nats.listen in carillon.yaml: ":4222" can be reached from elsewhere, so that the broker must ask who it is: set nats.user and nats.password, or nats.token`},
		{file: "nats: {user: u}", want: `nats.password in the defaults: it is empty, and nats.user is not; a user needs one`},
		{file: "nats: {password: " + secret + "}", want: `nats.user in the defaults: it is empty, and nats.password is not; a password is a user's`},
		{file: "nats: {user: u, password: " + secret + ", token: " + secret + "}", want: `nats.token in carillon.yaml: there is nats.user too; leave one of them empty`},
		{file: "nats: {password: [" + secret + "]}", want: `nats.password in carillon.yaml: it is not text; put it in quotes`},
		{file: "nats: {url: 'a:4222', credentials: x, token: " + secret + "}", want: `nats.credentials in carillon.yaml: there is nats.user or nats.token too; leave one of them empty`},
		{file: "nats: {url: 'a:4222', sync: interval}", want: `nats.sync in carillon.yaml: "interval" is for the embedded broker, and nats.url names another; set sync_interval there`},
		{file: "nats: {url: 'a:4222', cluster_listen: '127.0.0.1:1'}", want: `nats.cluster_listen in carillon.yaml: "127.0.0.1:1" is for the embedded broker, and nats.url names another; leave one of them empty`},
		{file: "nats: {sync: never}", want: `nats.sync in carillon.yaml: "never" is not one of always, interval`},
		{file: "nats: {tls_cert: a.pem}", want: `nats.tls_key in the defaults: it is empty, and nats.tls_cert is not; TLS needs both`},
		{file: "nats: {tls_ca: a.pem}", want: `nats.tls_cert in the defaults: it is empty, and nats.tls_ca is not; a broker that asks for certificates needs one of its own`},
		{file: "nats: {cluster_listen: ':6222', node: n1}", want: `nats.cluster_listen in carillon.yaml: ":6222" can be reached from elsewhere, so that the servers must ask who it is: set nats.user and nats.password`},
		{file: "nats: {cluster_listen: '127.0.0.1:6222'}", want: `nats.node in the defaults: every server of a cluster needs a name of its own, which stays`},
		{file: "nats: {cluster_listen: '127.0.0.1:6222', node: n1, replicas: 3, cluster_routes: 'b:1'}", want: `nats.replicas in carillon.yaml: 3 copies need as many servers, and nats.cluster_routes makes 2; name all the others there`},
		{file: "nats: {cluster_routes: 'b:1'}", want: `nats.cluster_listen in the defaults: it is empty, and nats.cluster_routes is not; the others must reach this server, too`},
		{file: "nats: {cluster_listen: '127.0.0.1:6222', node: n1, cluster_routes: ':1'}", want: `nats.cluster_routes in carillon.yaml: ":1" is not an address such as 10.0.0.2:6222`},
		{file: "nats: {credentials: x.creds}", want: `nats.credentials in carillon.yaml: they are for the servers of nats.url, which is empty; the embedded broker has nats.user or nats.token`},
		{file: "nats: {url: 'a:4222', listen: ':4222'}", want: `nats.listen in carillon.yaml: ":4222" is for the embedded broker, and nats.url names another; leave one of them empty`},
		{file: "nats: {url: 'a:4222', store_limit: 1}", want: `nats.store_limit in carillon.yaml: 1 is for the embedded broker, and nats.url names another; set the limit there`},
		{file: "nats: {url: 'nats://me:" + secret + "@a, http://me:" + secret + "@b'}", want: `nats.url in carillon.yaml: number 2 of the addresses in it is not one such as nats://10.0.0.1:4222`},
		{file: "http: {cors_origins: 'https://a.example, console.example'}", want: `http.cors_origins in carillon.yaml: "console.example" is not an origin such as https://console.example or http://localhost:3000, nor * alone`},
		{file: "http: {cors_origins: 'https://a.example/'}", want: `http.cors_origins in carillon.yaml: "https://a.example/" is not an origin such as https://console.example or http://localhost:3000, nor * alone`},
		{file: "http: {cors_origins: '*, https://a.example'}", want: `http.cors_origins in carillon.yaml: "*" is not an origin such as https://console.example or http://localhost:3000, nor * alone`},
		{file: "http: {tls_cert: a.pem}", want: `http.tls_key in the defaults: it is empty, and http.tls_cert is not; HTTPS needs both`},
		{file: "http: {tls_key: a.key}", want: `http.tls_cert in the defaults: it is empty, and http.tls_key is not; HTTPS needs both`},
		{file: "sessions: {tls_cert: a.pem}", want: `sessions.tls_key in the defaults: it is empty, and sessions.tls_cert is not; TLS needs both`},
		{file: "sessions: {tls_key: a.key}", want: `sessions.tls_cert in the defaults: it is empty, and sessions.tls_key is not; TLS needs both`},
		{file: "admin: {listen: '127.0.0.1:8081'}", want: `admin.listen in carillon.yaml: "127.0.0.1:8081" is taken by another listener; it needs an address of its own`},
		{file: "log: {access: some}", want: `log.access in carillon.yaml: "some" is not one of all, failures, off`},
		{file: "log: {level: loud}", want: `log.level in carillon.yaml: "loud" is not one of debug, info, warn, error`},
		{file: "http: {liste: x}", want: `http.liste in carillon.yaml: there is no such key`},
		{file: "htp: {listen: x}", want: `htp in carillon.yaml: there is no such key`},
		{file: "http: 8080", want: `http in carillon.yaml: it is not a section of keys`},
		{env: []string{"CARILLON_HTTP_LISTN=x", "CARILLON_ZZ=1"}, want: "CARILLON_HTTP_LISTN in the environment: there is no such key\nCARILLON_ZZ in the environment: there is no such key"},
		{env: []string{"CARILLON_APPS=[" + secret}, want: `apps in CARILLON_APPS: it is not a list of apps in YAML or JSON: yaml: line 1: did not find expected … or …`},
		{env: []string{"CARILLON_APPS=" + secret}, want: `apps in CARILLON_APPS: it is not a list of apps`},
		{file: "apps: {sdkappid: 1}", want: `apps in carillon.yaml: it is not a list of apps`},
		{file: "apps: [" + secret + "]", want: `apps[0] in carillon.yaml: it is not an app, with keys such as sdkappid`},
		{file: "apps: [null]", want: `apps[0] in carillon.yaml: it is not an app, with keys such as sdkappid`},
		{file: "apps: [{key: " + secret + ", admins: [a]}]", want: `apps[0].sdkappid in carillon.yaml: every app needs one, from 1 to 4294967295`},
		{file: "apps: [{sdkappid: 4294967296, key: " + secret + ", admins: [a]}]", want: `apps[0].sdkappid in carillon.yaml: 4294967296 is out of range`},
		{file: "apps: [" + app + "," + app + "]", want: `apps[1].sdkappid in carillon.yaml: 1 is the sdkappid of apps[0] already; every app needs its own`},
		{file: "apps: [{sdkappid: 1, admins: [a]}]", want: `apps[0].key in carillon.yaml: every app needs one: the secret with which its UserSigs are signed`},
		{file: "apps: [{sdkappid: 1, key: 12345678, admins: [a]}]", want: `apps[0].key in carillon.yaml: it is not text; put it in quotes`},
		{file: "apps: [{sdkappid: 1, key: [" + secret + "], admins: [a]}]", want: `apps[0].key in carillon.yaml: it is not text; put it in quotes`},
		{file: "apps: [{sdkappid: 1, key: k, keys: " + secret + ", admins: [a]}]", want: `apps[0].keys in carillon.yaml: it is not a list`},
		{file: "apps: [{sdkappid: 1, key: k, keys: [12], admins: [a]}]", want: `apps[0].keys[0] in carillon.yaml: it is not text; put it in quotes`},
		{file: "apps: [{sdkappid: 1, key: k, keys: [''], admins: [a]}]", want: `apps[0].keys[0] in carillon.yaml: a key must not be empty; leave it out`},
		{file: "apps: [{sdkappid: 1, key: " + secret + "}]", want: `apps[0].admins in carillon.yaml: every app needs at least one account that may call the REST interface`},
		{file: "apps: [{sdkappid: 1, key: " + secret + ", admins: [a, '']}]", want: `apps[0].admins[1] in carillon.yaml: "" is no account: an account must not be empty`},
		{env: []string{`CARILLON_APPS=[{"sdkappid":1,"key":"k","admins":["a"],"push_interval":"-1s"}]`}, want: `apps[0].push_interval in CARILLON_APPS: -1s is not from 0s to 24h`},
		{file: "apps: [{sdkappid: 1, key: k, admins: [a], push_per_day: -1}]", want: `apps[0].push_per_day in carillon.yaml: -1 is less than 0`},
		{file: "apps: [{sdkappid: 1, key: k, admins: [a], push_a_day: 1}]", want: `apps[0].push_a_day in carillon.yaml: there is no such key`},
		{file: "log: {level: loud, format: xml}", want: "log.level in carillon.yaml: \"loud\" is not one of debug, info, warn, error\nlog.format in carillon.yaml: \"xml\" is not one of text, json"},
	} {
		_, err := loadText(t, c.file, c.env, c.args...)
		if err == nil {
			t.Errorf("%s%s%s: no error", c.file, c.env, c.args)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%s%s%s:\n got %s\nwant %s", c.file, c.env, c.args, err, c.want)
		}
		var faults Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s%s%s: the error is not Faults", c.file, c.env, c.args)
		}
	}
}

func TestNotYAML(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a: [", "\tx", "apps: [{key: *" + secret + "}]", "- 1", "a: 1\na: 2", "\x00"} {
		_, err := loadText(t, text, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "carillon.yaml is not YAML: ") || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzLoad reads files: each is a valid configuration, or an error that says something.
func FuzzLoad(f *testing.F) {
	f.Add(string(render()))
	f.Add("apps: [{sdkappid: 1, key: " + secret + ", keys: [" + secret + "], admins: [a], push_interval: 1s}]")
	f.Add("apps: [{sdkappid: 1, key: &a " + secret + ", admins: *a}]")
	f.Add("http.listen: \":1\"\nhttp: {Listen: x, listen: {y: z}, 1: 2}\nsessions: [1]\nlog: null")
	f.Add("apps: [{1: 2}, {a: {b: [c]}}, [[]]]\nretention: {pushes: 2020-01-01}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := loadText(t, text, nil)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Errorf("loaded, and not valid: %v", err)
			}
		} else if c != nil || err.Error() == "" {
			t.Errorf("got %+v with the error %q", c, err)
		}
	})
}
