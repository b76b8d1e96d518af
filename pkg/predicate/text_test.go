package predicate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// The spelling stands in messages on the broker: these must not change.
func TestStringGolden(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]node{
		`none`:                                   nil,
		`all`:                                    all{},
		`(tag "a\x00\"")`:                        tag{"a\x00\""},
		`(tag "\xff\u6df1\U0001f514\ufffd\x7f")`: tag{"\xff深🔔\ufffd\x7f"},
		`(has 0)`:                                has{0},
		`(attr 9 "")`:                            attr{9, ""},
		`(and (tag "a") (or (has 1) (not all)) (or))`: and{kids(tag{"a"}, or{kids(has{1}, not{all{}})}, or{})},
	} {
		if got := predicate.String(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		back, err := predicate.Parse(want)
		if err != nil || predicate.Compare(back, n) != 0 {
			t.Errorf("Parse(%s) = %#v, %v", want, back, err)
		}
	}
}

func TestParseNamesTheOffset(t *testing.T) {
	t.Parallel()
	for s, at := range map[string]int{
		``:                       0,
		`some`:                   0,
		`all `:                   3,
		` all`:                   0,
		`(tag "a"`:               8,
		`(tag a)`:                5,
		"(tag `a`)":              5,
		`(tag 'a')`:              5,
		`(tag "é")`:              5,
		`(tag "\x61")`:           5,
		`(tag "a)`:               5,
		`(has )`:                 5,
		`(has 01)`:               5,
		`(has 256)`:              5,
		`(has -1)`:               5,
		`(attr 3"x")`:            7,
		`(and  all)`:             5,
		`(and all,none)`:         8,
		`(not)`:                  0,
		`(not all none)`:         8,
		`(xor all)`:              0,
		`(and (or (tag "a") b))`: 19,
	} {
		_, err := predicate.Parse(s)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d:", at)) {
			t.Errorf("Parse(%s): %v, want an error at byte %d", s, err, at)
		}
	}
}

func TestParseBounds(t *testing.T) {
	t.Parallel()
	nest := func(depth int) string {
		return strings.Repeat("(not ", depth-1) + "all" + strings.Repeat(")", depth-1)
	}
	row := func(nodes int) string { return "(or" + strings.Repeat(" all", nodes-1) + ")" }
	for s, ok := range map[string]bool{
		nest(predicate.MaxDepth):     true,
		nest(predicate.MaxDepth + 1): false,
		row(predicate.MaxNodes):      true,
		row(predicate.MaxNodes + 1):  false,
		`(tag "` + strings.Repeat("a", predicate.MaxSize-len(`(tag "")`)) + `")`:   true,
		`(tag "` + strings.Repeat("a", predicate.MaxSize-len(`(tag "")`)+1) + `")`: false,
	} {
		if _, err := predicate.Parse(s); (err == nil) != ok {
			t.Errorf("Parse of %d bytes: %v", len(s), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`all`, `(and (tag "a\x00") (attr 3 "x") (not (has 9)))`, `(or)`, `(tag "\xff")`, `(not`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := predicate.Parse(s)
		if err != nil {
			return
		}
		if got := predicate.String(n); got != s {
			t.Fatalf("%q parsed, but is spelt %q", s, got)
		}
		simple := predicate.String(predicate.Simplify(n))
		if _, err := predicate.Parse(simple); err != nil {
			t.Fatalf("%q simplified to %q: %v", s, simple, err)
		}
	})
}
