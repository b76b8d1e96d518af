package predicate_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

func slots(name string) (uint8, bool) {
	s, ok := map[string]uint8{"sex": 0, "city": 1, "age": 9}[name]
	return s, ok
}

func tags(n int) string {
	quoted := make([]string, n)
	for i := range quoted {
		quoted[i] = fmt.Sprintf(`"t%02d"`, i)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

func TestConditionToTree(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 25)
	for in, want := range map[string]string{
		`null`:                                                      `all`,
		`{}`:                                                        `all`,
		` {"TagsOr":null,"AttrsAnd": null}`:                         `all`,
		`{"tagsor":["a"],"TAGSAND":3}`:                              `all`,
		`{"Later":{"x":[1]}}`:                                       `all`,
		`{"TagsOr":["a"]}`:                                          `(tag "a")`,
		`{"TagsOr":["b","a"],"TagsAnd":null}`:                       `(or (tag "a") (tag "b"))`,
		`{"TagsAnd":["b","a"]}`:                                     `(and (tag "a") (tag "b"))`,
		`{"TagsOr":["b","a"],"TagsAnd":["d","c"]}`:                  `(and (tag "c") (tag "d") (or (tag "a") (tag "b")))`,
		`{"TagsOr":["a"],"TagsAnd":["b"]}`:                          `(and (tag "a") (tag "b"))`,
		`{"TagsAnd":["` + long + `"]}`:                              predicate.String(tag{long}),
		`{"TagsAnd":["A","a"],"tagsOr":["a"]}`:                      `(and (tag "A") (tag "a"))`,
		`{"AttrsOr":{"sex":"f","city":"\u6df1"}}`:                   `(or (attr 0 "f") (attr 1 "\u6df1"))`,
		`{"AttrsAnd":{"sex":true,"age" : 3 }}`:                      `(and (attr 0 "true") (attr 9 "3"))`,
		`{"AttrsAnd":{"age":-1.50e+3,"sex":false}}`:                 `(and (attr 0 "false") (attr 9 "-1.50e+3"))`,
		`{"AttrsOr":{"city":"x"},"AttrsAnd":{"city":"y"}}`:          `none`,
		`{"AttrsOr":{"sex":"f","city":"x"},"AttrsAnd":{"age":"3"}}`: `(and (attr 9 "3") (or (attr 0 "f") (attr 1 "x")))`,
	} {
		c, err := predicate.ParseCondition([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		n, err := predicate.FromCondition(c, slots)
		if err != nil || predicate.String(n) != want {
			t.Errorf("%s became %s, %v; want %s", in, predicate.String(n), err, want)
		}
	}
}

func TestConditionErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 51)
	for in, want := range map[string]predicate.Error{
		``:                                 {Kind: predicate.Malformed, Path: "Condition"},
		`{"TagsOr":["a"],}`:                {Kind: predicate.Malformed, Path: "Condition"},
		`{} // all`:                        {Kind: predicate.Malformed, Path: "Condition"},
		"{\"TagsOr\":[\"\xff\"]}":          {Kind: predicate.Malformed, Path: "Condition"},
		`[]`:                               {Kind: predicate.Malformed, Path: "Condition"},
		`"all"`:                            {Kind: predicate.Malformed, Path: "Condition"},
		`{"TagsOr":"a"}`:                   {Kind: predicate.Malformed, Path: "Condition.TagsOr"},
		`{"TagsAnd":{"a":1}}`:              {Kind: predicate.Malformed, Path: "Condition.TagsAnd"},
		`{"TagsOr":["a",1]}`:               {Kind: predicate.Malformed, Path: "Condition.TagsOr[1]"},
		`{"TagsOr":[null]}`:                {Kind: predicate.Malformed, Path: "Condition.TagsOr[0]"},
		`{"AttrsOr":["city"]}`:             {Kind: predicate.Malformed, Path: "Condition.AttrsOr"},
		`{"AttrsAnd":{"city":null}}`:       {Kind: predicate.Malformed, Path: `Condition.AttrsAnd["city"]`},
		`{"AttrsAnd":{"sex":[],"age":{}}}`: {Kind: predicate.Malformed, Path: `Condition.AttrsAnd["age"]`},

		`{"TagsOr":[]}`:                                {Kind: predicate.Empty, Path: "Condition.TagsOr"},
		`{"AttrsAnd":{}}`:                              {Kind: predicate.Empty, Path: "Condition.AttrsAnd"},
		`{"TagsOr":["a"],"AttrsOr":{"sex":"f"}}`:       {Kind: predicate.Mixed, Path: "Condition"},
		`{"TagsAnd":[],"AttrsAnd":{}}`:                 {Kind: predicate.Mixed, Path: "Condition"},
		`{"TagsOr":` + tags(11) + `}`:                  {Kind: predicate.TooManyTags, Path: "Condition.TagsOr"},
		`{"TagsAnd":["a",""]}`:                         {Kind: predicate.TagEmpty, Path: "Condition.TagsAnd[1]"},
		`{"TagsOr":["a","b","c","` + long + `"]}`:      {Kind: predicate.TagTooLong, Path: "Condition.TagsOr[3]", Detail: "longer than 50 bytes"},
		`{"TagsOr":["a","b","a"]}`:                     {Kind: predicate.TagRepeated, Path: "Condition.TagsOr[2]", Detail: "repeats Condition.TagsOr[0]"},
		`{"TagsAnd":["b"],"TagsOr":["a","b"]}`:         {Kind: predicate.TagRepeated, Path: "Condition.TagsAnd[0]", Detail: "repeats Condition.TagsOr[1]"},
		`{"AttrsOr":{"":"x"}}`:                         {Kind: predicate.AttrInvalid, Path: `Condition.AttrsOr[""]`},
		`{"AttrsOr":{"city":""}}`:                      {Kind: predicate.AttrInvalid, Path: `Condition.AttrsOr["city"]`},
		`{"AttrsOr":{"city":"` + long + `"}}`:          {Kind: predicate.AttrInvalid, Path: `Condition.AttrsOr["city"]`},
		`{"AttrsOr":{"` + long + `":"x"}}`:             {Kind: predicate.AttrInvalid, Path: `Condition.AttrsOr["` + long[:50] + `..."]`},
		`{"AttrsOr":{"sex":"f","City":"x","Age":"1"}}`: {Kind: predicate.AttrUnknown, Path: `Condition.AttrsOr["Age"]`},
	} {
		c, err := predicate.ParseCondition([]byte(in))
		if err == nil {
			_, err = predicate.FromCondition(c, slots)
		} else if want.Kind != predicate.Malformed {
			t.Errorf("%s: refused by ParseCondition: %v", in, err)
		}
		var got *predicate.Error
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got.Kind != want.Kind || got.Path != want.Path || want.Detail != "" && got.Detail != want.Detail {
			t.Errorf("%s: kind %d, %v; want kind %d at %s", in, got.Kind, got, want.Kind, want.Path)
		}
	}
	err := &predicate.Error{Kind: predicate.TagTooLong, Path: "Condition.TagsOr[3]", Detail: "longer than 50 bytes"}
	if err.Error() != "Condition.TagsOr[3]: longer than 50 bytes" {
		t.Error(err)
	}
}

func TestTenTagsInEachListAreAllowed(t *testing.T) {
	t.Parallel()
	other := strings.ReplaceAll(tags(10), "t", "u")
	c, err := predicate.ParseCondition([]byte(`{"TagsOr":` + tags(10) + `,"TagsAnd":` + other + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := predicate.FromCondition(c, slots); err != nil {
		t.Fatal(err)
	}
}

func TestLimitsAreThoseOfRecords(t *testing.T) {
	t.Parallel()
	if predicate.MaxTagLen != push.MaxTagLen || predicate.MaxAttrLen != push.MaxAttrLen {
		t.Error("a condition and a record allow different lengths")
	}
}

func FuzzParseCondition(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `{"TagsOr":["a","b"],"TagsAnd":["c"]}`, `{"AttrsOr":{"age":3,"sex":"f","city":true}}`, `{"TagsOr":[]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var refusal *predicate.Error
		c, err := predicate.ParseCondition(raw)
		if err != nil {
			if !errors.As(err, &refusal) || refusal.Kind != predicate.Malformed {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		again, err := predicate.ParseCondition(raw)
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q: read twice, %v and %v", raw, c, again)
		}
		n, err := predicate.FromCondition(c, slots)
		_, errAgain := predicate.FromCondition(c, slots)
		if fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Fatalf("%q: %v, then %v", raw, err, errAgain)
		}
		if err != nil {
			if !errors.As(err, &refusal) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if back, err := predicate.Parse(predicate.String(n)); err != nil || predicate.Compare(n, back) != 0 {
			t.Fatalf("%q: %s does not parse back: %v", raw, predicate.String(n), err)
		}
	})
}
