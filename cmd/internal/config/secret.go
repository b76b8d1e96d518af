package config

import "slices"

// Secret is text that is never shown: package fmt makes nothing of it, nor does package json.
type Secret string

const hidden = "(hidden)"

// String does not say what it is.
func (Secret) String() string { return hidden }

// GoString is String.
func (Secret) GoString() string { return hidden }

// MarshalText is String.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// secrets are the keys that have no flag: everybody on a machine sees the command lines of its processes.
var secrets = []string{"nats.password", "nats.token", "tracing.headers"}

// Secret says whether the key is for the file and the environment alone.
func (k Key) Secret() bool { return slices.Contains(secrets, k.Name) }
