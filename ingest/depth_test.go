package ingest

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// deepest is the oracle of tooDeep: the tokens of the standard library.
func deepest(text []byte) (most int) {
	d := json.NewDecoder(bytes.NewReader(text))
	depth := 0
	for {
		tok, err := d.Token()
		if err != nil {
			return most // at the end: the text is known to be valid
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
			most = max(most, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func nested(n int) string { return strings.Repeat(`{"a":`, n) + `"[{"` + strings.Repeat(`}`, n) }

func FuzzDepth(f *testing.F) {
	for _, s := range []string{
		nested(1), nested(maxDepth), nested(maxDepth + 1), `{"a\"[":"\\","b":[[],{}]}`, strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
		`["` + strings.Repeat(`[\"`, 100) + `"]`, `"\\"`, strings.Repeat("[],", 100),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			_ = tooDeep(text) // it may say anything
			return
		}
		if most := deepest(text); tooDeep(text) != (most > maxDepth) {
			t.Errorf("%d levels, too deep: %v, of %q", most, tooDeep(text), text)
		}
	})
}

func TestDeepBodiesAreRefused(t *testing.T) {
	t.Parallel()
	a := serveAPI(t, brokertest.Start(t))
	a.ok(login+"account_import", `{"UserID":"u","more":`+nested(maxDepth-1)+`}`)
	a.refused(codeBodyAccounts, "deep", login+"account_import", `{"UserID":"u","more":`+nested(maxDepth)+`}`)
	a.refused(codeBodyPush, "deep", imPush, `{"more":`+nested(9000)+`}`)
	a.refused(codeBodyPush, "not a JSON object", imPush, `{"more":`+strings.Repeat("[", 11000)+strings.Repeat("]", 11000)+`}`)
}

func BenchmarkDepth(b *testing.B) {
	body := []byte(pushBody(""))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if tooDeep(body) {
			b.Fatal("it is not")
		}
	}
}
