package config

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write configs/carillon.yaml from the table of keys")

var shipped = filepath.Join("..", "..", "..", "configs", "carillon.yaml")

// render is the shipped file: every key with its default, below what it means.
func render() []byte {
	var b bytes.Buffer
	comment := func(indent, text string) {
		line := indent + "#"
		for _, word := range strings.Fields(text) {
			if len(line)+1+len(word) > 110 {
				fmt.Fprintln(&b, line)
				line = indent + "#"
			}
			line += " " + word
		}
		fmt.Fprintln(&b, line)
	}
	value := func(k Key) string {
		switch d := k.Default.(type) {
		case nil:
			return ""
		case string:
			return fmt.Sprintf("%q", d)
		case time.Duration:
			return brief(d)
		case []string, []any:
			return "[]"
		case map[string]map[string]any:
			return "{}"
		default:
			return fmt.Sprint(d)
		}
	}
	comment("", `Every key of Carillon, with its default. A variable is stronger than this file (CARILLON_HTTP_LISTEN is
		http.listen, CARILLON_APPS is apps in YAML or JSON), a flag (--http.listen) stronger than both. Bytes are whole numbers, times are
		like 500ms, 60s or 192h.`)
	section := ""
	for _, k := range Keys() {
		s, leaf, nested := strings.Cut(k.Name, ".")
		indent := "  "
		if !nested {
			indent, leaf, s = "", k.Name, k.Name
		}
		if s != section {
			fmt.Fprintln(&b)
		}
		if nested && s != section {
			fmt.Fprintf(&b, "%s:\n", s)
		}
		section = s
		comment(indent, k.Usage)
		fmt.Fprintf(&b, "%s%s: %s\n", indent, leaf, value(k))
	}
	comment("", "An app is like this; what is left out has the value that it has here:")
	examples := map[string]string{"sdkappid": "1400000001", "key": "a secret of your own", "admins": "[administrator]"}
	dash := "- "
	for _, k := range AppKeys() {
		v := value(k)
		if e, ok := examples[k.Name]; ok {
			v = e
		}
		comment("#   ", k.Usage)
		fmt.Fprintf(&b, "# %s%s: %s\n", dash, k.Name, v)
		dash = "  "
	}
	return b.Bytes()
}

func TestShippedFile(t *testing.T) {
	t.Parallel()
	if *update {
		if err := os.WriteFile(shipped, render(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, render()) {
		t.Errorf("%s is not what the table of keys says; run this test with -update", shipped)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	if got, want := names(tree, ""), structNames(t, Config{}); !slices.Equal(got, want) {
		t.Errorf("the file has the keys %v,\nthe struct %v", got, want)
	}
	c, err := loadText(t, string(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := Default(); !reflect.DeepEqual(c, d) {
		t.Errorf("the file says\n%+v, the defaults\n%+v", c, d)
	}
}

// The example in the file's comments is an app that works, with nothing but defaults.
func TestShippedExample(t *testing.T) {
	t.Parallel()
	_, example, ok := strings.Cut(string(render()), "apps: []\n")
	if !ok {
		t.Fatal("the file has no apps")
	}
	text := "apps:\n"
	for line := range strings.Lines(example) {
		if line = strings.TrimPrefix(line, "# "); strings.Contains(line, ": ") && !strings.HasPrefix(line, "An app") {
			text += line
		}
	}
	c, err := loadText(t, text, nil)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	want := App{SDKAppID: 1400000001, Key: "a secret of your own", Keys: []string{}, Admins: []string{"administrator"}, PushInterval: time.Second, PushPerDay: 100, APIKeys: []APIKey{}, Channels: map[string]map[string]any{}}
	if len(c.Apps) != 1 || !reflect.DeepEqual(c.Apps[0], want) {
		t.Errorf("got %+v", c.Apps)
	}
}

// The tables and the structs have the same keys.
func TestTables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		table  []Key
		fields any
		whole  bool // a section is one key
	}{{Keys(), Config{}, false}, {AppKeys(), App{}, true}} {
		var inTable []string
		for _, k := range c.table {
			inTable = append(inTable, k.Name)
			if !strings.HasSuffix(k.Usage, ".") {
				t.Errorf("%s: the usage is not a sentence: %s", k.Name, k.Usage)
			}
		}
		slices.Sort(inTable)
		inStruct := structNames(t, c.fields)
		if c.whole {
			for i, name := range inStruct {
				inStruct[i], _, _ = strings.Cut(name, ".")
			}
			inStruct = slices.Compact(inStruct)
		}
		if !slices.Equal(inTable, inStruct) {
			t.Errorf("the table has the keys %v,\nthe struct %v", inTable, inStruct)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func structNames(t *testing.T, of any) []string {
	t.Helper()
	tree := make(map[string]any)
	if err := mapstructure.Decode(of, &tree); err != nil {
		t.Fatal(err)
	}
	return names(tree, "")
}

// names are the paths of a tree's leaves.
func names(tree map[string]any, prefix string) (all []string) {
	for _, k := range slices.Sorted(maps.Keys(tree)) {
		if m, ok := tree[k].(map[string]any); ok {
			all = append(all, names(m, prefix+k+".")...)
		} else {
			all = append(all, prefix+k)
		}
	}
	slices.Sort(all)
	return all
}
