package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

const secret = "s3cr3t-0123456789"

// loadText loads the text of a file called carillon.yaml, with an environment and a command line.
func loadText(t testing.TB, text string, environ []string, args ...string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("carillon", pflag.ContinueOnError)
	RegisterFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	s := source{path: "carillon.yaml", flags: flags, env: ours(environ), viper: viper.New()}
	return s.load([]byte(text))
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "sessions: {heartbeat: 20s, max: 20}\nhttp:\n  body_limit: 20000\nnats: {url: \"a:1\", replicas: 3}"
	for _, c := range []struct {
		file string
		env  []string
		args []string
		want time.Duration
		max  int
	}{
		{"", nil, nil, time.Minute, 1_000_000},
		{file, nil, nil, 20 * time.Second, 20},
		{file, []string{"CARILLON_SESSIONS_HEARTBEAT=30s", "PATH=x"}, nil, 30 * time.Second, 20},
		{file, []string{"CARILLON_SESSIONS_HEARTBEAT=", "CARILLON_SESSIONS_MAX=30"}, nil, 20 * time.Second, 30},
		{file, []string{"CARILLON_SESSIONS_HEARTBEAT=30s"}, []string{"--sessions.heartbeat=40s", "--sessions.max", "40"}, 40 * time.Second, 40},
		// A flag that says what is the default anyway is stronger all the same.
		{file, []string{"CARILLON_SESSIONS_HEARTBEAT=30s"}, []string{"--sessions.heartbeat=60s"}, time.Minute, 20},
		{"", []string{"CARILLON_SESSIONS_MAX=30"}, nil, time.Minute, 30},
		{"sessions: {heartbeat: null}", nil, nil, time.Minute, 1_000_000},
		{"sessions:\n", nil, nil, time.Minute, 1_000_000},
		{"sessions: {max: \"20\"}", nil, nil, time.Minute, 20},
		{"Sessions: {MAX: 20}", nil, nil, time.Minute, 20},
	} {
		got, err := loadText(t, c.file, c.env, c.args...)
		if err != nil {
			t.Errorf("%q %q %q: %v", c.file, c.env, c.args, err)
			continue
		}
		if got.Sessions.Heartbeat != c.want || got.Sessions.Max != c.max {
			t.Errorf("%q %q %q: got %+v", c.file, c.env, c.args, got.Sessions)
		}
		if got.Sessions.Queue != Default().Sessions.Queue {
			t.Errorf("%q %q %q: a key that nobody set is %d", c.file, c.env, c.args, got.Sessions.Queue)
		}
	}
}

// Every key can be set by its variable and by its flag, each of which says the default here.
func TestEveryKey(t *testing.T) {
	t.Parallel()
	var env, args []string
	for _, k := range Keys() {
		if k.Name == "apps" {
			continue
		}
		env = append(env, fmt.Sprintf("%s=%v", k.Env(), k.Default))
		if !k.Secret() {
			args = append(args, fmt.Sprintf("--%s=%v", k.Name, k.Default))
		}
	}
	fromEnv, err := loadText(t, "", env)
	if err != nil {
		t.Fatal(err)
	}
	fromFlags, err := loadText(t, "", nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	if d := Default(); !reflect.DeepEqual(fromEnv, d) || !reflect.DeepEqual(fromFlags, d) {
		t.Errorf("the variables say\n%+v, the flags\n%+v, the defaults\n%+v", fromEnv, fromFlags, d)
	}
}

// A secret comes from the file or the environment, and nothing shows it.
func TestSecrets(t *testing.T) {
	t.Parallel()
	c, err := loadText(t, "nats: {user: u, password: "+secret+"}", nil)
	if err != nil {
		t.Fatal(err)
	}
	fromEnv, err := loadText(t, "", []string{"CARILLON_NATS_TOKEN=" + secret})
	if err != nil {
		t.Fatal(err)
	}
	if string(c.NATS.Password) != secret || string(fromEnv.NATS.Token) != secret {
		t.Errorf("the secrets did not arrive")
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(*c), fmt.Sprintf("%+v %#v", *c, *fromEnv), string(text), fmt.Sprint(c.Changes(fromEnv))} {
		if strings.Contains(shown, secret) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
	flags := pflag.NewFlagSet("carillon", pflag.ContinueOnError)
	RegisterFlags(flags)
	if flags.Lookup("nats.password") != nil || flags.Lookup("nats.token") != nil {
		t.Error("a secret has a flag")
	}
}

func TestApps(t *testing.T) {
	t.Parallel()
	const list = `
- sdkappid: 1400000001
  key: k1
  keys: [k0]
  admins: [administrator, 小明]
- {sdkappid: "7", key: "k2", admins: [a], push_interval: 0s, push_per_day: 0, calls_per_second: 5}
`
	want := []App{
		{SDKAppID: 1400000001, Key: "k1", Keys: []string{"k0"}, Admins: []string{"administrator", "小明"}, PushInterval: time.Second, PushPerDay: 100, APIKeys: []APIKey{}, Channels: map[string]map[string]any{}},
		{SDKAppID: 7, Key: "k2", Keys: []string{}, Admins: []string{"a"}, CallsPerSecond: 5, APIKeys: []APIKey{}, Channels: map[string]map[string]any{}},
	}
	inJSON := `[{"sdkappid":1400000001,"key":"k1","keys":["k0"],"admins":["administrator","小明"]},
		{"sdkappid":7,"key":"k2","admins":["a"],"push_interval":"0s","push_per_day":0,"calls_per_second":5}]`
	const other = "apps: [{sdkappid: 9, key: k, admins: [a]}]"
	for name, c := range map[string]struct {
		file string
		env  []string
	}{
		"file":                {"apps:" + list, nil},
		"variable":            {"", []string{"CARILLON_APPS=" + list}},
		"variable over file":  {other, []string{"CARILLON_APPS=" + list}},
		"JSON in a variable":  {other, []string{"CARILLON_APPS=" + inJSON}},
		"an empty variable":   {"apps:" + list, []string{"CARILLON_APPS="}},
		"the last of several": {"", []string{"CARILLON_APPS=[]", "CARILLON_APPS=" + inJSON}},
	} {
		got, err := loadText(t, c.file, c.env)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(got.Apps, want) {
			t.Errorf("%s: got %+v", name, got.Apps)
		}
	}
	if got := want[0].VerifyKeys(); !reflect.DeepEqual(got, []string{"k1", "k0"}) {
		t.Errorf("VerifyKeys: %q", got)
	}
}

// Wherever a configuration is printed, the keys of its apps are not.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Apps = []App{{SDKAppID: 1, Key: secret, Keys: []string{secret}, Admins: []string{"a"}}}
	inJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(inJSON), fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", *c), fmt.Sprintf("%v", c.Apps[0])} {
		if strings.Contains(s, secret) {
			t.Errorf("it is here: %s", s)
		}
	}
}

// An environment with what Kubernetes adds for the services carillon, carillon-nats and carillon-metrics.
func TestServiceLinks(t *testing.T) {
	t.Parallel()
	_, err := loadText(t, "", []string{
		"CARILLON_SERVICE_HOST=10.0.0.1", "CARILLON_SERVICE_PORT=80", "CARILLON_SERVICE_PORT_HTTP=80", "CARILLON_PORT=tcp://10.0.0.1:80",
		"CARILLON_PORT_80_TCP=tcp://10.0.0.1:80", "CARILLON_PORT_80_TCP_ADDR=10.0.0.1", "CARILLON_PORT_80_TCP_PROTO=tcp",
		"CARILLON_NATS_SERVICE_HOST=10.0.0.2", "CARILLON_NATS_PORT=tcp://10.0.0.2:4222", "CARILLON_METRICS_PORT_53_UDP=udp://10.0.0.2:53",
	})
	if err != nil {
		t.Error(err)
	}
	for _, k := range Keys() {
		if serviceLink.MatchString(k.Env()) {
			t.Errorf("%s is taken for a service's variable", k.Env())
		}
	}
}

func TestLoadFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(path, []byte("data: here\nlog: {level: warn}"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(environ []string, args ...string) (*Config, error) {
		flags := pflag.NewFlagSet("carillon", pflag.ContinueOnError)
		RegisterFlags(flags)
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		return Load(flags, environ)
	}
	for name, c := range map[string]struct{ env, args []string }{
		"flag":               {nil, []string{"--config", path}},
		"variable":           {[]string{"CARILLON_CONFIG=" + path}, nil},
		"flag over variable": {[]string{"CARILLON_CONFIG=/nowhere"}, []string{"--config", path}},
	} {
		if c, err := load(c.env, c.args...); err != nil || c.Data != "here" || c.Log.Level != "warn" || c.Log.Format != "text" {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
	if c, err := load(nil); err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("without a file: got %+v, %v", c, err)
	}
	if _, err := load(nil, "--config", path+".not"); err == nil || !strings.Contains(err.Error(), path+".not") {
		t.Errorf("a file that is not there: %v", err)
	}
	// A set without our flags is a set in which none was given.
	if _, err := Load(pflag.NewFlagSet("carillon", pflag.ContinueOnError), nil); err != nil {
		t.Error(err)
	}
}
