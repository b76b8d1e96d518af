package config

import (
	"fmt"
	"strings"

	"github.com/go-viper/mapstructure/v2"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	// Key is a key's name, such as "sessions.heartbeat" or "apps[0].key".
	Key string
	// Origin is where its value came from: a file's path, a variable's name, a flag; empty if that is not known.
	Origin string
	// Reason says what is wrong and what would be right. It never holds a secret.
	Reason string
}

func (f Fault) Error() string {
	if f.Origin == "" {
		return f.Key + ": " + f.Reason
	}
	return f.Key + " in " + f.Origin + ": " + f.Reason
}

// Faults is the error of Load and Validate: everything that is wrong, a line each.
type Faults []Fault

func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// err is the faults as an error, nil if there are none.
func (fs Faults) err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

func (fs *Faults) add(key, reason string, args ...any) {
	*fs = append(*fs, Fault{Key: key, Reason: fmt.Sprintf(reason, args...)})
}

// check applies the checks of a table of keys to the struct that they describe. The prefix goes before their names.
func (fs *Faults) check(table []Key, of any, prefix string) {
	tree := make(map[string]any)
	if err := mapstructure.Decode(of, &tree); err != nil {
		fs.add(strings.TrimSuffix(prefix, "."), "%v", err)
		return
	}
	for _, k := range table {
		if k.check == nil {
			continue
		}
		if reason := k.check(lookup(tree, k.Name)); reason != "" {
			fs.add(prefix+k.Name, "%s", reason)
		}
	}
}

// lookup finds a key's value in a tree of maps; the tests hold that every key of the tables is there.
func lookup(tree map[string]any, name string) any {
	section, leaf, nested := strings.Cut(name, ".")
	if !nested {
		return tree[section]
	}
	return tree[section].(map[string]any)[leaf]
}
