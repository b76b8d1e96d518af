package bulk

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Format of a file.
type Format string

// The formats.
const (
	NDJSON Format = "ndjson"
	CSV    Format = "csv"
)

// DefaultSeparator stands between the tags of one CSV field.
const DefaultSeparator = "|"

// compressed is the extension of a file that is compressed by gzip.
const compressed = ".gz"

// formatOf is the format that was chosen, or else that of the file's extension; .gz does not count. Standard input and
// output are NDJSON.
func formatOf(chosen Format, file string) (Format, error) {
	switch chosen {
	case NDJSON, CSV:
		return chosen, nil
	case "":
	default:
		return "", fmt.Errorf("there is no format %q: choose %s or %s", chosen, NDJSON, CSV)
	}
	if file == Standard {
		return NDJSON, nil
	}
	switch ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(file, compressed))); ext {
	case ".ndjson", ".jsonl", ".json":
		return NDJSON, nil
	case ".csv":
		return CSV, nil
	}
	return "", fmt.Errorf("the extension of %s says nothing about its format: choose one with --format %s or --format %s", file, NDJSON, CSV)
}

// checkSeparator says what is wrong with a separator of tags.
func checkSeparator(s string) error {
	if len(s) != 1 || s[0] <= ' ' || s[0] > '~' || s == `\` || s == `"` || s == "," {
		return fmt.Errorf("the separator of tags is one visible ASCII character other than a comma, a quote and a backslash, not %q", s)
	}
	return nil
}
