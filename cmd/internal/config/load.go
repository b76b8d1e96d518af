package config

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// configEnv names the file where the flag --config does not.
const configEnv = envPrefix + "CONFIG"

// serviceLink matches the variables by which Kubernetes tells a pod of services whose names begin with "carillon". They
// are none of ours, and none of ours looks like them.
var serviceLink = regexp.MustCompile(`^CARILLON_(.+_)?(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)$`)

// Load gathers and validates the configuration from the flags that RegisterFlags added, which were parsed before, and
// the environment, in the form of os.Environ. The error is Faults, or says why the file could not be read.
func Load(flags *pflag.FlagSet, environ []string) (*Config, error) {
	s := source{flags: flags, env: ours(environ), viper: viper.New()}
	s.path = s.env[configEnv]
	if f := flags.Lookup("config"); f != nil && f.Changed {
		s.path = f.Value.String()
	}
	var text []byte
	if s.path != "" {
		var err error
		if text, err = os.ReadFile(s.path); err != nil {
			return nil, fmt.Errorf("read the configuration file: %w", err)
		}
	}
	return s.load(text)
}

// source is where the values of one Load come from.
type source struct {
	path  string // of the file; empty: there is none
	flags *pflag.FlagSet
	env   map[string]string
	viper *viper.Viper
}

// ours picks our variables from an environment. Of a repeated one the last counts, as in package os/exec.
func ours(environ []string) map[string]string {
	env := make(map[string]string)
	for _, e := range environ {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, envPrefix) && !serviceLink.MatchString(name) {
			env[name] = value
		}
	}
	return env
}

// load puts the layers on each other, with the text of the file as the lowest but the defaults.
func (s *source) load(text []byte) (*Config, error) {
	s.viper.SetConfigType("yaml")
	if err := s.viper.ReadConfig(bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("%s is not YAML: %s", s.path, redact(err))
	}
	faults := s.mergeEnv()
	for _, k := range keys {
		s.viper.SetDefault(k.Name, k.Default)
		if f := s.flags.Lookup(k.Name); f != nil {
			if err := s.viper.BindPFlag(k.Name, f); err != nil {
				return nil, fmt.Errorf("bind the flag --%s: %w", k.Name, err)
			}
		}
	}
	c, more := decode(s.viper.AllSettings(), s.origin)
	if faults = append(faults, more...); len(faults) > 0 {
		return nil, faults
	}
	if faults, ok := c.Validate().(Faults); ok {
		for i := range faults {
			faults[i].Origin = s.origin(faults[i].Key)
		}
		return nil, faults
	}
	return c, nil
}

// mergeEnv lays the environment over the file.
func (s *source) mergeEnv() (faults Faults) {
	known := map[string]bool{configEnv: true}
	for _, k := range keys {
		known[k.Env()] = true
		text := s.env[k.Env()]
		if text == "" {
			continue
		}
		var value any = text
		if k.Name == "apps" {
			if err := yaml.Unmarshal([]byte(text), &value); err != nil {
				faults = append(faults, Fault{k.Name, k.Env(), "it is not a list of apps in YAML or JSON: " + redact(err)})
				continue
			}
		}
		tree := map[string]any{k.Name: value}
		if section, leaf, nested := strings.Cut(k.Name, "."); nested {
			tree = map[string]any{section: map[string]any{leaf: value}}
		}
		if err := s.viper.MergeConfigMap(tree); err != nil {
			faults = append(faults, Fault{k.Name, k.Env(), err.Error()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		if !known[name] {
			faults = append(faults, Fault{name, "the environment", "there is no such key"})
		}
	}
	return faults
}

// origin names the layer that a key's value came from. For a key within apps that is the layer of apps.
func (s *source) origin(key string) string {
	if strings.HasPrefix(key, "apps[") {
		key = "apps"
	}
	if f := s.flags.Lookup(key); f != nil && f.Changed {
		return "--" + key
	}
	if env := (Key{Name: key}).Env(); s.env[env] != "" {
		return env
	}
	if s.viper.InConfig(key) {
		return s.path
	}
	return "the defaults"
}

// quoted is what the YAML reader puts in its errors from the text: it may be a part of a secret.
var quoted = regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")

func redact(err error) string { return quoted.ReplaceAllString(err.Error(), "…") }
