package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

// checkRefusal fails unless an error is one that the package promises.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrFrame) {
		t.Fatalf("%v is none of the package's errors", err)
	}
}

// asText is what is left of a string in a text frame.
func asText(s string) string { return string([]rune(s)) }

func TestPushFrameIsWhatClientsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SampledFrom([]string{`[]`, `[ 1.0e2 , "\u4f60" ]`, "[\n\t{}]", `["<&>"]`, `[12345678901234567890]`, `["😀"]`}).Draw(t, "body")
		p := &push.Push{
			App: push.AppID(rapid.Uint32Min(1).Draw(t, "app")), Seq: push.Seq(rapid.Uint64().Draw(t, "seq")),
			Sender: anyBytes(1, push.MaxAccountLen).Draw(t, "sender"), At: time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")),
			Lifetime: time.Duration(rapid.IntRange(0, push.MaxLifetime).Draw(t, "lifetime")) * time.Second, Body: json.RawMessage(body),
		}
		b := AppendPush(nil, p)
		if !utf8.Valid(b) {
			t.Fatalf("%q is no text frame", b)
		}
		if !bytes.HasSuffix(b, []byte(`,"body":`+body+`}`)) {
			t.Fatalf("%s does not keep the body %s byte for byte", b, body)
		}
		var got ServerFrame
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		want := ServerFrame{
			Type: FramePush, ID: p.TaskID(), Seq: p.Seq, From: asText(p.Sender), At: p.At.UnixMilli(), Expire: p.Expire(), Body: p.Body,
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func TestHelloFrameIsWhatClientsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := Hello{anyBytes(0, 40).Draw(t, "session"), rapid.IntRange(1, 3600).Draw(t, "heartbeat"), rapid.IntRange(0, 1000).Draw(t, "pending")}
		b := AppendHello(nil, h)
		var got ServerFrame
		if err := json.Unmarshal(b, &got); err != nil || !utf8.Valid(b) {
			t.Fatalf("%q: %v", b, err)
		}
		if want := (ServerFrame{Type: FrameHello, Session: asText(h.Session), Heartbeat: h.Heartbeat, Pending: h.Pending}); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func TestDecodeClientFrame(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ClientFrame{
		`{"t":"ack","seq":[41,42]}`:                    {Type: FrameAck, Seqs: []push.Seq{41, 42}},
		` { "seq" : [42], "t" : "opened", "x": null} `: {Type: FrameOpened, Seqs: []push.Seq{42}},
		`{"t":"ack","seq":[]}`:                         {Type: FrameAck, Seqs: []push.Seq{}},
		`{"t":"ack","seq":[18446744073709551615]}`:     {Type: FrameAck, Seqs: []push.Seq{1<<64 - 1}},
		`{"t":"ack","seq":[0,9999999999999999999]}`:    {Type: FrameAck, Seqs: []push.Seq{0, 9999999999999999999}},
		`{"t":"device","channel":"apns","token":"x"}`:  {Type: FrameDevice, Channel: "apns", Token: "x"},
		`{"t":"logout"}`:                               {Type: FrameLogout},
		`{"t":"of a later client","seq":{"a":1}}`:      {Type: "of a later client"},
	} {
		if got, err := DecodeClientFrame([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		``, ` `, `null`, `[]`, `1`, `"ack"`, `{`, `{}`, `{"t":null}`, `{"t":1}`, `{"t":"ack"}`, `{"t":"ack","seq":null}`,
		`{"t":"ack","seq":42}`, `{"t":"ack","seq":["42"]}`, `{"t":"ack","seq":[-1]}`, `{"t":"ack","seq":[1.5]}`,
		`{"t":"ack","seq":[18446744073709551616]}`, `{"t":"ack","seq":[1]}{}`, `{"t":"ack","seq":[1]} x`, "{\"t\":\"\xff\"}",
		`{"t":"ack","seq":[,]}`, `{"t":"ack","seq":[1,]}`, `{"t":"ack","seq":[,1]}`, `{"t":"ack","seq":[1,,2]}`, `{"t":"ack","seq":[01]}`,
		`{"t":"ack","seq":[1 2]}`, `{"t":"ack","seq":[1]x]}`, `{"t":"device"}`, `{"t":"device","channel":"apns","token":""}`,
		`{"t":"opened","seq":{}}`, strings.Repeat("[", 100_000),
	} {
		if got, err := DecodeClientFrame([]byte(text)); !errors.Is(err, ErrFrame) {
			t.Errorf("%.40q: %+v, %v, want ErrFrame", text, got, err)
		}
	}
}

func TestDecodeClientFrameBoundsSequences(t *testing.T) {
	t.Parallel()
	ack := func(n int) []byte {
		return fmt.Appendf(nil, `{"t":"ack","seq":[%s]}`, strings.TrimSuffix(strings.Repeat("1,", n), ","))
	}
	if f, err := DecodeClientFrame(ack(MaxAckSeqs)); err != nil || len(f.Seqs) != MaxAckSeqs {
		t.Errorf("%d sequences: %d, %v", MaxAckSeqs, len(f.Seqs), err)
	}
	if _, err := DecodeClientFrame(ack(MaxAckSeqs + 1)); !errors.Is(err, ErrFrame) {
		t.Errorf("%d sequences: %v, want ErrFrame", MaxAckSeqs+1, err)
	}
}

func FuzzDecodeClientFrame(f *testing.F) {
	for _, text := range []string{`{"t":"ack","seq":[41,42]}`, `{"t":"ack","seq":[0,01,,]}`, `{"t":"opened","seq":[]}`, `{"t":"logout"}`, `{"t":"?","seq":{}}`, `[`, "\xff"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeClientFrame(b)
		if byTheBook, err2 := decodeClientFrame(b); !reflect.DeepEqual(got, byTheBook) || (err == nil) != (err2 == nil) {
			t.Fatalf("%s is %+v, %v; by the book %+v, %v", b, got, err, byTheBook, err2)
		}
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatalf("%v is not ErrFrame", err)
			}
			return
		}
		if len(got.Seqs) == 0 && (got.Type == FrameAck || got.Type == FrameOpened) {
			return // clients do not send one that says nothing, and it has no form of its own
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeClientFrame(text)
		if err != nil || again.Type != got.Type || !slices.Equal(again.Seqs, got.Seqs) {
			t.Fatalf("%+v became %+v by way of %s; %v", got, again, text, err)
		}
	})
}
