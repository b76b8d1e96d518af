package config

import (
	"github.com/go-viper/mapstructure/v2"
)

// Changes are the keys, but for apps, whose values differ in another configuration: what a running process cannot take
// over, and needs a restart for.
func (c *Config) Changes(to *Config) (names []string) {
	before, after := make(map[string]any), make(map[string]any)
	if mapstructure.Decode(*c, &before) != nil || mapstructure.Decode(*to, &after) != nil {
		return nil // a Config always decodes into a map
	}
	for _, k := range keys {
		if k.Name != "apps" && lookup(before, k.Name) != lookup(after, k.Name) {
			names = append(names, k.Name)
		}
	}
	return names
}
