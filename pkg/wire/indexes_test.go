package wire

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestGoldenIndexes(t *testing.T) {
	t.Parallel()
	b, err := json.MarshalIndent(struct {
		Bucket ObjectBucket
		Place  map[string]string
	}{Indexes(), EncodeIndexPlace(IndexPlace{Created: time.Unix(1700000000, 7), Folded: 1 << 40})}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "indexes.json", append(b, '\n'))
}

func TestIndexPlacesComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := IndexPlace{Created: time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC(), Folded: rapid.Uint64().Draw(t, "folded")}
		if got, err := DecodeIndexPlace(EncodeIndexPlace(p)); err != nil || got != p {
			t.Fatalf("%+v, %v: want %+v", got, err, p)
		}
	})
}

func FuzzDecodeIndexPlace(f *testing.F) {
	f.Add("1700000000000000007", "42")
	f.Fuzz(func(t *testing.T, created, folded string) {
		p, err := DecodeIndexPlace(map[string]string{indexCreated: created, indexFolded: folded})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := DecodeIndexPlace(EncodeIndexPlace(p)); err != nil || again != p {
			t.Fatalf("%+v, %v: want %+v", again, err, p)
		}
	})
}

func TestMembersWithoutIDAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{`{}`, `{"id":""}`, `{"id":"` + string(make([]byte, 65)) + `"}`, `x`} {
		if _, err := DecodeMemberNews([]byte(s)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
