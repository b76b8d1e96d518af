package wire

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-push/carillon/pkg/push"
)

var (
	recodeDevices    = recoder(DecodeDevices, sure(func(d []Device) []byte { return AppendDevices(nil, d) }))
	recodeTokenOwner = recoder(DecodeTokenOwner, sure(EncodeTokenOwner))
)

func sampleDevices() []Device {
	return []Device{
		{ID: "phone 1", Channel: "apns", Token: "\x00\xff", Platform: "iOS", At: 0, Seen: 1<<63 - 1},
		{ID: TokenHash("webpush", `{"endpoint":"…"}`), Channel: "webpush", Token: `{"endpoint":"…"}`, At: 1700000000, Seen: 1700086400},
	}
}

func FuzzDecodeDevices(f *testing.F) { fuzzLayout(f, "device", recodeDevices) }

func FuzzDecodeTokenOwner(f *testing.F) { fuzzLayout(f, "token", recodeTokenOwner) }

func anyDevice() *rapid.Generator[Device] {
	text := func(low, limit int) *rapid.Generator[string] {
		return rapid.StringOfN(rapid.RuneFrom([]rune(" ~09azAZ_-/\"")), low, limit, -1)
	}
	seconds := rapid.Int64Min(0)
	return rapid.Custom(func(t *rapid.T) Device {
		return Device{
			ID:       text(1, MaxDeviceIDLen).Draw(t, "id"),
			Channel:  rapid.StringMatching(`[a-z0-9_-]{1,32}`).Draw(t, "channel"),
			Token:    anyBytes(1, MaxTokenLen).Draw(t, "token"),
			Platform: text(0, MaxPlatformLen).Draw(t, "platform"),
			At:       seconds.Draw(t, "at"),
			Seen:     seconds.Draw(t, "seen"),
		}
	})
}

func TestDevicesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfNDistinct(anyDevice(), 0, MaxDevices, func(d Device) string { return d.ID }).Draw(t, "devices")
		slices.SortFunc(want, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
		head := anyBytes(0, 8).Draw(t, "what stands before")
		b := AppendDevices([]byte(head), want)
		if string(b[:len(head)]) != head {
			t.Fatal("what stood before has changed")
		}
		if got, err := DecodeDevices(b[len(head):]); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d devices, %v, want %d", len(got), err, len(want))
		}
		owner := push.Ordinal(rapid.Uint64().Draw(t, "owner"))
		if got, err := DecodeTokenOwner(EncodeTokenOwner(owner)); err != nil || got != owner {
			t.Fatalf("owner %d, %v, want %d", got, err, owner)
		}
	})
}

func TestDecodeDevicesRefuses(t *testing.T) {
	t.Parallel()
	good := Device{ID: "a", Channel: "apns", Token: "t"}
	after := good
	after.ID = "b"
	var many []Device
	for i := range MaxDevices + 1 {
		many = append(many, good)
		many[i].ID = fmt.Sprintf("%02d", i)
	}
	for name, devices := range map[string][]Device{
		"a repeated ID":    {good, good},
		"unsorted IDs":     {after, good},
		"too many devices": many,
		"a bad device":     {{ID: "a", Channel: "APNS", Token: "t"}},
		"a negative time":  {{ID: "a", Channel: "apns", Token: "t", Seen: -1}},
	} {
		if _, err := DecodeDevices(AppendDevices(nil, devices)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
}

func TestDeviceValidate(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, d := range []Device{
		{ID: "a", Channel: "huawei", Token: "t"},
		{ID: long(MaxDeviceIDLen), Channel: long(MaxChannelLen), Token: long(MaxTokenLen), Platform: long(MaxPlatformLen)},
		{ID: " ~", Channel: "my-hook_2", Token: "\x00é\xff", At: 1, Seen: 2},
	} {
		if err := d.Validate(); err != nil {
			t.Errorf("%v: %v", d, err)
		}
	}
	for want, d := range map[string]Device{
		"its ID has 1 to 128 bytes, not 0":                        {Channel: "apns", Token: "t"},
		"its ID has 1 to 128 bytes, not 129":                      {ID: long(129), Channel: "apns", Token: "t"},
		"its ID has other characters than printable ASCII":        {ID: "é", Channel: "apns", Token: "t"},
		"its channel has 1 to 32 bytes, not 0":                    {ID: "a", Token: "t"},
		"its channel has 1 to 32 bytes, not 33":                   {ID: "a", Channel: long(33), Token: "t"},
		"its channel has other characters than a-z, 0-9, _ and -": {ID: "a", Channel: "ap.ns", Token: "t"},
		"its token has 1 to 4096 bytes, not 0":                    {ID: "a", Channel: "apns"},
		"its token has 1 to 4096 bytes, not 4097":                 {ID: "a", Channel: "apns", Token: long(4097)},
		"its platform has at most 32 bytes, not 33":               {ID: "a", Channel: "apns", Token: "t", Platform: long(33)},
		"its platform has other characters than printable ASCII":  {ID: "a", Channel: "apns", Token: "t", Platform: "\x7f"},
		"it was seen before 1970":                                 {ID: "a", Channel: "apns", Token: "t", Seen: -1},
	} {
		if err := d.Validate(); !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Neither a way of printing nor a fault that a token in the wrong field makes gives a token away.
func TestDeviceKeepsItsToken(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	d := Device{ID: "a", Channel: "apns", Token: secret, Platform: "iOS"}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("registered", "device", d, "pointer", &d)
	}
	shown := []string{log.String(), d.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, d), fmt.Sprintf(verb, &d), fmt.Sprintf(verb, []Device{d}))
	}
	for _, misplaced := range []Device{
		{ID: secret + "\n", Channel: "apns", Token: "t"}, {ID: "a", Channel: "!" + secret, Token: "t"},
		{ID: "a", Channel: "apns", Token: "t", Platform: secret + "\n"}, {ID: "a", Channel: "apns", Token: strings.Repeat(secret, 1000)},
	} {
		shown = append(shown, fmt.Sprint(misplaced.Validate()))
	}
	for _, s := range shown {
		if strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) {
			t.Errorf("it shows in %s", s)
		}
	}
	if !strings.Contains(d.String(), "apns") {
		t.Errorf("%s does not say the channel", d)
	}
}

func TestTokenHash(t *testing.T) {
	t.Parallel()
	if a, b := TokenHash("a", "bc"), TokenHash("ab", "c"); a == b {
		t.Errorf("two tokens are both %s", a)
	}
	if got, want := TokenHash("fcm", "token"), 22; len(got) != want || strings.ContainsAny(got, ".*> ") {
		t.Errorf("%q, want one subject token of %d characters", got, want)
	}
}

func BenchmarkDecodeDevices(b *testing.B) {
	data := AppendDevices(nil, sampleDevices())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeDevices(data); err != nil {
			b.Fatal(err)
		}
	}
}
