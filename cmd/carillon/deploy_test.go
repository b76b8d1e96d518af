package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
)

// top is the module's root.
const top = "../.."

// compose is what these tests read of docker-compose.yml.
type compose struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

type service struct {
	Image       string            `yaml:"image"`
	Build       string            `yaml:"build"`
	Command     []string          `yaml:"command"`
	EnvFile     string            `yaml:"env_file"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Restart     string            `yaml:"restart"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Deploy struct {
		Replicas  int `yaml:"replicas"`
		Resources struct {
			Limits map[string]string `yaml:"limits"`
		} `yaml:"resources"`
	} `yaml:"deploy"`
}

// read is a file of the tree.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.NewDecoder(bytes.NewReader(read(t, "docker-compose.yml"))).Decode(&c); err != nil {
		t.Fatalf("docker-compose.yml is not YAML: %v", err)
	}
	return c
}

// brokers are the services that run the broker's servers.
var brokers = []string{"broker-1", "broker-2", "broker-3"}

// carillons are the services that run carillon, those of the broker or the others.
func carillons(c compose, broker bool) map[string]service {
	found := make(map[string]service)
	for name, s := range c.Services {
		if s.Build != "" && broker == slices.Contains(brokers, name) {
			found[name] = s
		}
	}
	return found
}

// load is the configuration of a container whose secrets are set, and an error when it starts with those of the example.
func load(t *testing.T, name string, s service) *config.Config {
	t.Helper()
	env := environ(t, s)
	for _, e := range env {
		if key, _, _ := strings.Cut(e, "="); strings.HasPrefix(key, "CARILLON_") && !known(key) {
			t.Errorf("service %s: %s is no key of the configuration", name, key)
		}
	}
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	config.RegisterFlags(flags)
	_, err := config.Load(flags, env)
	for _, missing := range []string{"apps[0].key", "nats.password"} {
		if err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("service %s starts with the secrets of the example: %v", name, err)
		}
	}
	for i := range env {
		env[i] = strings.ReplaceAll(env[i], `"key":""`, `"key":"a secret"`)
		if env[i] == "CARILLON_NATS_PASSWORD=" {
			env[i] += "another"
		}
	}
	cfg, err := config.Load(flags, env)
	if err != nil {
		t.Fatalf("service %s: %v", name, err)
	}
	return cfg
}

// known says whether a variable is a key of the configuration.
func known(variable string) bool {
	return variable == "CARILLON_CONFIG" || slices.ContainsFunc(config.Keys(), func(k config.Key) bool { return k.Env() == variable })
}

// environ is the environment of a container: the image's, then the file's, then the service's.
func environ(t *testing.T, s service) []string {
	t.Helper()
	var env []string
	for _, line := range regexp.MustCompile(`(?m)^ENV (.+)$`).FindAllStringSubmatch(string(read(t, "Dockerfile")), -1) {
		env = append(env, strings.Fields(line[1])...)
	}
	for line := range strings.Lines(string(read(t, s.EnvFile+".example"))) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	for k, v := range s.Environment {
		env = append(env, k+"="+v)
	}
	return env
}

func TestComposeRunsEveryRole(t *testing.T) {
	t.Parallel()
	roles := carillons(readCompose(t), false)
	for _, r := range app.Roles() {
		s, ok := roles[string(r)]
		if !ok || !slices.Equal(s.Command, []string{string(r)}) || s.Deploy.Replicas != 2 {
			t.Errorf("no service %s runs two of the role", r)
		}
		if _, _, err := root().Find(s.Command); err != nil {
			t.Errorf("service %s: %v", r, err)
		}
		cfg := load(t, string(r), s)
		if cfg.NATS.Embedded() || len(cfg.Apps) == 0 || cfg.NATS.Replicas != len(brokers) {
			t.Errorf("service %s cannot start: nats.url is %q with %d replicas, and there are %d apps", r, cfg.NATS.URL, cfg.NATS.Replicas, len(cfg.Apps))
		}
		for _, b := range brokers {
			if !strings.Contains(cfg.NATS.URL, "nats://"+b+":4222") {
				t.Errorf("service %s does not know %s", r, b)
			}
		}
		if listens := []string{cfg.HTTP.Listen, cfg.Sessions.Listen}; !slices.Equal(listens, []string{":8080", ":8081"}) {
			t.Errorf("service %s listens at %q, not at the ports of the image", r, listens)
		}
	}
}

// The three servers of the broker know each other, ask who it is, and write to disk before they answer.
func TestComposeFormsACluster(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	found := carillons(c, true)
	if len(found) != len(brokers) {
		t.Fatalf("there are %d servers of the broker", len(found))
	}
	for _, name := range brokers {
		cfg := load(t, name, found[name])
		if err := app.BrokerConfig(cfg).Validate(); err != nil {
			t.Errorf("service %s: %v", name, err)
		}
		n := cfg.NATS
		if n.Node != name || n.Listen != ":4222" || n.ClusterListen != ":6222" || n.Sync != "always" || n.User == "" {
			t.Errorf("service %s: %+v", name, n)
		}
		for _, other := range brokers {
			if slices.Contains(n.Routes(), other+":6222") != (other != name) {
				t.Errorf("service %s has the routes %v", name, n.Routes())
			}
		}
		if cfg.Data != "/data" || !slices.Contains(found[name].Volumes, name+":/data") {
			t.Errorf("service %s has no volume of its own for %s", name, cfg.Data)
		}
	}
}

func TestComposeWatchesEveryService(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for name, s := range c.Services {
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("service %s has no health check", name)
		}
		if s.Restart == "" {
			t.Errorf("service %s has no restart policy", name)
		}
		for _, limit := range []string{"cpus", "memory"} {
			if s.Deploy.Resources.Limits[limit] == "" {
				t.Errorf("service %s has no limit of %s", name, limit)
			}
		}
		for on, d := range s.DependsOn {
			if _, ok := c.Services[on]; !ok || d.Condition != "service_healthy" {
				t.Errorf("service %s does not wait until %s is healthy", name, on)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if path, ok := strings.CutPrefix(from, "./"); ok {
				if _, err := os.Stat(filepath.Join(top, path)); err != nil {
					t.Errorf("service %s: %v", name, err)
				}
			} else if _, ok := c.Volumes[from]; !ok {
				t.Errorf("service %s has the volume %s, which is not declared", name, from)
			}
		}
	}
	for name, s := range carillons(c, false) {
		if !slices.Contains(s.Healthcheck.Test, "http://127.0.0.1:8080/readyz") {
			t.Errorf("service %s is not asked whether it is ready", name)
		}
		for _, b := range brokers {
			if _, ok := s.DependsOn[b]; !ok {
				t.Errorf("service %s does not wait for %s", name, b)
			}
		}
	}
}

func TestComposeKeepsSecretsOut(t *testing.T) {
	t.Parallel()
	for name, s := range readCompose(t).Services {
		for k := range s.Environment {
			if k == "CARILLON_APPS" || strings.Contains(k, "PASSWORD") || strings.Contains(k, "TOKEN") || strings.Contains(k, "CREDENTIALS") {
				t.Errorf("service %s: %s belongs in %s", name, k, s.EnvFile)
			}
		}
	}
	if !slices.Contains(strings.Fields(string(read(t, ".gitignore"))), "/deploy/*.env") {
		t.Error("git does not ignore deploy/carillon.env, which has the secret")
	}
}

// The configuration for NATS servers of one's own does what `carillon broker` does.
func TestNATSConfigIsValid(t *testing.T) {
	for k, v := range map[string]string{"NATS_NODE": "nats-1", "CARILLON_NATS_USER": "carillon", "CARILLON_NATS_PASSWORD": "secret"} {
		t.Setenv(k, v)
	}
	opts, err := server.ProcessConfigFile(filepath.Join(top, "deploy", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !opts.JetStream || !opts.SyncAlways || opts.StoreDir != "/data" || opts.Port != 4222 || opts.HTTPPort != 8222 {
		t.Errorf("JetStream %t, sync always %t, store %q, ports %d and %d", opts.JetStream, opts.SyncAlways, opts.StoreDir, opts.Port, opts.HTTPPort)
	}
	if opts.ServerName != "nats-1" || opts.Username != "carillon" || opts.Cluster.Username != "carillon" || len(opts.Routes) != 3 || !opts.FeatureFlags[server.FeatureFlagJsSnapshotSources] {
		t.Errorf("server %q, users %q and %q, %d routes, flags %v", opts.ServerName, opts.Username, opts.Cluster.Username, len(opts.Routes), opts.FeatureFlags)
	}
}
