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

// roleServices are the services that run carillon.
func roleServices(c compose) map[string]service {
	roles := make(map[string]service)
	for name, s := range c.Services {
		if s.Build != "" {
			roles[name] = s
		}
	}
	return roles
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
	roles := roleServices(readCompose(t))
	for _, r := range app.Roles() {
		if s, ok := roles[string(r)]; !ok || !slices.Equal(s.Command, []string{string(r)}) {
			t.Errorf("no service %s runs the role", r)
		}
	}
	for name, s := range roles {
		if _, _, err := root().Find(s.Command); err != nil {
			t.Errorf("service %s: %v", name, err)
		}
	}
}

func TestComposeConfiguresEveryRole(t *testing.T) {
	t.Parallel()
	known := []string{"CARILLON_CONFIG"}
	for _, k := range config.Keys() {
		known = append(known, k.Env())
	}
	for name, s := range roleServices(readCompose(t)) {
		env := environ(t, s)
		for _, e := range env {
			if key, _, _ := strings.Cut(e, "="); !slices.Contains(known, key) {
				t.Errorf("service %s: %s is no key of the configuration", name, key)
			}
		}
		flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
		config.RegisterFlags(flags)
		if _, err := config.Load(flags, env); err == nil || !strings.Contains(err.Error(), "apps[0].key") {
			t.Errorf("service %s starts with the secret of the example: %v", name, err)
		}
		for i := range env {
			env[i] = strings.ReplaceAll(env[i], `"key":""`, `"key":"a secret"`)
		}
		cfg, err := config.Load(flags, env)
		if err != nil {
			t.Errorf("service %s: %v", name, err)
			continue
		}
		if cfg.NATS.Embedded() || len(cfg.Apps) == 0 {
			t.Errorf("service %s cannot start: nats.url is %q, and there are %d apps", name, cfg.NATS.URL, len(cfg.Apps))
		}
		if listens := []string{cfg.HTTP.Listen, cfg.Sessions.Listen}; !slices.Equal(listens, []string{":8080", ":8081"}) {
			t.Errorf("service %s listens at %q, not at the ports of the image", name, listens)
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
		for on, d := range s.DependsOn {
			if _, ok := c.Services[on]; !ok || d.Condition != "service_healthy" {
				t.Errorf("service %s does not wait until %s is healthy", name, on)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if path, ok := strings.CutPrefix(from, "./"); ok {
				read(t, path)
			} else if _, ok := c.Volumes[from]; !ok {
				t.Errorf("service %s has the volume %s, which is not declared", name, from)
			}
		}
	}
	for name, s := range roleServices(c) {
		if !slices.Contains(s.Healthcheck.Test, "http://127.0.0.1:8080/readyz") {
			t.Errorf("service %s is not asked whether it is ready", name)
		}
		if _, ok := s.DependsOn["nats"]; !ok {
			t.Errorf("service %s does not wait for nats", name)
		}
	}
}

func TestComposeKeepsSecretsOut(t *testing.T) {
	t.Parallel()
	for name, s := range readCompose(t).Services {
		for k := range s.Environment {
			if k == "CARILLON_APPS" || k == "CARILLON_NATS_CREDENTIALS" {
				t.Errorf("service %s: %s belongs in %s", name, k, s.EnvFile)
			}
		}
	}
	if !slices.Contains(strings.Fields(string(read(t, ".gitignore"))), "/deploy/*.env") {
		t.Error("git does not ignore deploy/carillon.env, which has the secret")
	}
}

func TestNATSConfigIsValid(t *testing.T) {
	t.Parallel()
	opts, err := server.ProcessConfigFile(filepath.Join(top, "deploy", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !opts.JetStream || !opts.SyncAlways || opts.StoreDir != "/data" || opts.Port != 4222 || opts.HTTPPort != 8222 {
		t.Errorf("JetStream %t, sync always %t, store %q, ports %d and %d", opts.JetStream, opts.SyncAlways, opts.StoreDir, opts.Port, opts.HTTPPort)
	}
}
