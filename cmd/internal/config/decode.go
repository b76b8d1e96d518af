package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// decode makes a Config of a tree of maps that has a value for every key. Origin says where a key's value came from.
func decode(tree map[string]any, origin func(key string) string) (*Config, Faults) {
	c := new(Config)
	apps, faults := decodeApps(tree["apps"])
	delete(tree, "apps")
	faults = append(fill(c, tree, ""), faults...)
	for i := range faults {
		faults[i].Origin = origin(faults[i].Key)
	}
	c.Apps = apps
	return c, faults
}

// decodeApps makes the list of apps: a key that is absent has the default of appKeys.
func decodeApps(list any) (apps []App, faults Faults) {
	if list == nil {
		return nil, nil
	}
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		faults.add("apps", "it is not a list of apps")
		return nil, faults
	}
	for i := range v.Len() {
		name := fmt.Sprintf("apps[%d]", i)
		element := v.Index(i).Interface()
		if k := reflect.ValueOf(element).Kind(); k != reflect.Map {
			faults.add(name, "it is not an app, with keys such as sdkappid")
			continue
		}
		var app App
		faults = append(faults, fill(&app, appDefaults(), name)...)
		faults = append(faults, fill(&app, element, name)...)
		apps = append(apps, app)
	}
	return apps, faults
}

// fill decodes a map into a struct, leaving alone what is not in the map, and names what it cannot.
func fill(into, from any, name string) (faults Faults) {
	var meta mapstructure.Metadata
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{DecodeHook: convert, Metadata: &meta, Result: into})
	if err == nil {
		err = d.Decode(from)
	}
	collect(err, func(key string, err error) { faults.add(join(name, key), "%v", err) })
	slices.Sort(meta.Unused)
	for _, key := range meta.Unused {
		faults.add(join(name, key), "there is no such key")
	}
	return faults
}

func join(name, key string) string {
	if name == "" || key == "" {
		return name + key
	}
	return name + "." + key
}

// collect calls f for each error of the decoder, with the key at which it was.
func collect(err error, f func(key string, err error)) {
	var at *mapstructure.DecodeError
	switch e := err.(type) {
	case nil:
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			collect(err, f)
		}
	default:
		if errors.As(err, &at) {
			f(at.Name(), at.Unwrap())
			return
		}
		f("", err)
	}
}

var durationType = reflect.TypeFor[time.Duration]()

// convert is the decoder's hook: it makes the text of a variable, and what YAML makes of a file, the type of the key. The
// decoder's own conversions are more generous (a number that does not fit loses its high bits, a duration may be a bare
// number) and its errors are not for operators. A value that was to be text is never shown, as it may be a secret.
func convert(from, to reflect.Value) (any, error) {
	if from.Type() == to.Type() {
		return from.Interface(), nil
	}
	switch {
	case to.Type() == durationType:
		if from.Kind() == reflect.String {
			if d, err := time.ParseDuration(from.String()); err == nil {
				return d, nil
			}
		}
		return nil, fmt.Errorf("%s is not a duration such as 60s", describe(from.Interface()))
	case to.Kind() == reflect.Bool:
		return nil, fmt.Errorf("%s is neither true nor false", describe(from.Interface()))
	case to.CanInt(), to.CanUint():
		return convertInteger(from, to)
	case to.Kind() == reflect.Float64:
		return convertNumber(from)
	case to.Kind() == reflect.String:
		if from.Kind() != reflect.String {
			return nil, errors.New("it is not text; put it in quotes")
		}
	case to.Kind() == reflect.Slice:
		if from.Kind() != reflect.Slice {
			return nil, errors.New("it is not a list")
		}
	case to.Kind() == reflect.Struct, to.Kind() == reflect.Map:
		if from.Kind() != reflect.Map {
			return nil, errors.New("it is not a section of keys")
		}
	}
	return from.Interface(), nil
}

func convertNumber(from reflect.Value) (any, error) {
	text := describe(from.Interface())
	if from.Kind() == reflect.String {
		text = from.String()
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is not a number", describe(from.Interface()))
	}
	return f, nil
}

func convertInteger(from, to reflect.Value) (any, error) {
	text := describe(from.Interface())
	if from.Kind() == reflect.String {
		text = from.String()
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is not a whole number", describe(from.Interface()))
	}
	if to.CanInt() && to.OverflowInt(n) || to.CanUint() && (n < 0 || to.OverflowUint(uint64(n))) {
		return nil, fmt.Errorf("%d is out of range", n)
	}
	return n, nil
}
