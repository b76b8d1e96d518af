package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	noon = int64(1_700_000_000)
	day  = int64(24 * 60 * 60)
)

// apns is a device without an ID, seen at noon.
func apns(token string) wire.Device {
	return wire.Device{Channel: "apns", Token: token, Platform: "iOS", Seen: noon}
}

func named(id string, dev wire.Device) wire.Device {
	dev.ID = id
	return dev
}

func seen(at int64, dev wire.Device) wire.Device {
	dev.Seen = at
	return dev
}

func register(t testing.TB, d *directory.Directory, o push.Ordinal, devices ...wire.Device) {
	t.Helper()
	for _, dev := range devices {
		if err := d.RegisterDevice(t.Context(), app, o, dev); err != nil {
			t.Fatalf("register %v with user %d: %v", dev, o, err)
		}
	}
}

func devicesOf(t testing.TB, d *directory.Directory, o push.Ordinal) []wire.Device {
	t.Helper()
	lists, err := d.Devices(t.Context(), app, o)
	if err != nil {
		t.Fatal(err)
	}
	return lists[o]
}

// tokens are what the lists of some users have, as `user:token` in order, with whatever is wrong between the lists and the
// records of tokens.
func tokens(t testing.TB, b *broker.Broker, users ...push.Ordinal) []string {
	t.Helper()
	lists, err := directory.New(b).Devices(t.Context(), app, users...)
	if err != nil {
		t.Fatal(err)
	}
	var found, subjects []string
	owners := map[string]push.Ordinal{}
	for o, devices := range lists {
		for _, dev := range devices {
			found = append(found, fmt.Sprintf("%d:%s", o, dev.Token))
			subject := wire.TokenSubject(app, wire.TokenHash(dev.Channel, dev.Token))
			if owners[subject] != 0 {
				t.Errorf("token %s is listed with users %d and %d", dev.Token, owners[subject], o)
			}
			owners[subject] = o
			subjects = append(subjects, subject)
		}
	}
	slices.Sort(found)
	records, err := b.LastOf(t.Context(), wire.DevicesStream(app), append(subjects, "token.7.none"))
	if err != nil {
		t.Fatal(err)
	}
	for subject, o := range owners {
		if m := records[subject]; m == nil {
			t.Errorf("a token of user %d has no record", o)
		} else if owner, err := wire.DecodeTokenOwner(m.Data); err != nil || owner != o {
			t.Errorf("a token of user %d is %d's in its record; %v", o, owner, err)
		}
	}
	return found
}

func isNobodys(t testing.TB, b *broker.Broker, dev wire.Device) bool {
	t.Helper()
	m, err := b.Last(t.Context(), wire.DevicesStream(app), wire.TokenSubject(app, wire.TokenHash(dev.Channel, dev.Token)))
	if errors.Is(err, broker.ErrNotFound) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	owner, err := wire.DecodeTokenOwner(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return owner == 0
}

func TestDeviceComesAndGoes(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	phone, pad := apns("phone"), named("pad", apns("pad"))
	register(t, d, 1, phone, pad)
	want := []wire.Device{named(wire.TokenHash("apns", "phone"), phone), pad}
	slices.SortFunc(want, func(a, b wire.Device) int { return strings.Compare(a.ID, b.ID) })
	for i := range want {
		want[i].At = noon
	}
	if got := devicesOf(t, d, 1); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for _, err := range []error{
		d.RemoveDevice(t.Context(), app, 1, "fcm", "phone"), d.RemoveDevice(t.Context(), app, 2, "apns", "phone"),
		d.ForgetDevice(t.Context(), app, 1, "phone"), d.ForgetDevice(t.Context(), app, 2, "pad"), d.DeleteDevices(t.Context(), app, 2),
	} {
		if err != nil {
			t.Errorf("forgetting what is not there: %v", err)
		}
	}
	if got := tokens(t, b, 1, 2); !slices.Equal(got, []string{"1:pad", "1:phone"}) {
		t.Fatalf("%q after nothing was forgotten", got)
	}
	if err := d.RemoveDevice(t.Context(), app, 1, "apns", "phone"); err != nil {
		t.Fatal(err)
	}
	if got := tokens(t, b, 1); !slices.Equal(got, []string{"1:pad"}) || !isNobodys(t, b, phone) {
		t.Fatalf("%q after one was removed", got)
	}
	if err := d.ForgetDevice(t.Context(), app, 1, "pad"); err != nil {
		t.Fatal(err)
	}
	if got := devicesOf(t, d, 1); len(got) != 0 || !isNobodys(t, b, pad) {
		t.Fatalf("%v after the last was forgotten", got)
	}
	register(t, d, 1, pad)
	register(t, d, 2, phone)
	if got := tokens(t, b, 1, 2); !slices.Equal(got, []string{"1:pad", "2:phone"}) {
		t.Fatalf("%q after they came back", got)
	}
}

// What says that somebody has nothing goes by itself, or tokens would pile up for as long as vendors change them.
func TestForgottenDevicesLeaveNothingForEver(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	register(t, d, 1, apns("removed"))
	register(t, d, 1, named("a", apns("replaced")))
	register(t, d, 1, named("a", apns("moved")))
	if err := d.RemoveDevice(t.Context(), app, 1, "apns", "removed"); err != nil {
		t.Fatal(err)
	}
	register(t, d, 2, apns("moved"))
	hash := func(token string) string { return wire.TokenHash("apns", token) }
	for subject, kept := range map[string]bool{
		wire.DeviceSubject(app, 0, 1):            false,
		wire.TokenSubject(app, hash("removed")):  false,
		wire.TokenSubject(app, hash("replaced")): false,
		wire.DeviceSubject(app, 0, 2):            true,
		wire.TokenSubject(app, hash("moved")):    true,
	} {
		m, err := b.Last(t.Context(), wire.DevicesStream(app), subject)
		if err != nil {
			t.Fatal(err)
		}
		if _, mortal := m.Header["Nats-TTL"]; mortal == kept {
			t.Errorf("%s is kept for ever: %t, want %t", subject, !mortal, kept)
		}
	}
}

func TestTokenMovesWithItsAccount(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	register(t, d, 1, apns("shared"), apns("own"))
	register(t, d, 100, seen(noon+5, apns("shared"))) // of another shard
	if got := tokens(t, b, 1, 100); !slices.Equal(got, []string{"100:shared", "1:own"}) {
		t.Fatalf("%q", got)
	}
	if got := devicesOf(t, d, 100)[0].At; got != noon+5 {
		t.Errorf("the new user has had it since %d, want %d", got, noon+5)
	}
	if err := d.RemoveDevice(t.Context(), app, 1, "apns", "shared"); err != nil {
		t.Fatal(err)
	}
	if got := tokens(t, b, 1, 100); !slices.Equal(got, []string{"100:shared", "1:own"}) {
		t.Fatalf("%q after the former user forgot it", got)
	}
	register(t, d, 100, wire.Device{Channel: "fcm", Token: "own", Seen: noon}) // another vendor's word
	if got := tokens(t, b, 1, 100); !slices.Equal(got, []string{"100:own", "100:shared", "1:own"}) {
		t.Fatalf("%q after another vendor's token", got)
	}
	register(t, d, 100, apns("own"))
	if got := devicesOf(t, d, 1); len(got) != 0 {
		t.Fatalf("%v after the last has moved", got)
	}
}

func TestDeviceReplacesThatOfItsIDAndOfItsToken(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	register(t, d, 1, named("a", apns("first")), seen(noon+1, named("b", apns("second"))))
	register(t, d, 1, seen(noon+2, named("a", apns("third"))))
	if got := tokens(t, b, 1); !slices.Equal(got, []string{"1:second", "1:third"}) || !isNobodys(t, b, apns("first")) {
		t.Fatalf("%q after a's token changed", got)
	}
	register(t, d, 1, seen(noon+3, named("a", apns("second"))))
	want := named("a", apns("second"))
	want.At, want.Seen = noon, noon+3
	if got := devicesOf(t, d, 1); !slices.Equal(got, []wire.Device{want}) || !isNobodys(t, b, apns("third")) {
		t.Fatalf("%v after a got b's token, want %v", got, want)
	}
	tokens(t, b, 1)
}

func TestDeviceSeenLongestAgoGoesFirst(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	for i := range wire.MaxDevices {
		register(t, d, 1, seen(noon+int64(i+1)%5, apns(fmt.Sprint("t", i))))
	}
	register(t, d, 1, seen(noon+2*day, apns("t4"))) // one of the two oldest, t4 and t9, is seen again
	register(t, d, 1, seen(noon, apns("new")))      // and does not go itself, though it is as old
	if got := tokens(t, b, 1); len(got) != wire.MaxDevices || slices.Contains(got, "1:t9") || !isNobodys(t, b, apns("t9")) {
		t.Fatalf("%q: t9 should have gone", got)
	}
	register(t, d, 1, seen(noon+3*day, named(wire.TokenHash("apns", "t4"), apns("t4")))) // a refresh sends none away
	if got := tokens(t, b, 1); len(got) != wire.MaxDevices || !slices.Contains(got, "1:new") {
		t.Fatalf("%q after a refresh", got)
	}
}

// A login that brings nothing new costs one write a day.
func TestSeenIsWrittenOnceADay(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	written := uint64(0)
	other := apns("t")
	other.Platform = "iPad"
	for _, c := range []struct {
		dev    wire.Device
		writes bool
		seen   int64
	}{
		{apns("t"), true, noon},
		{apns("t"), false, noon},
		{seen(noon-5*day, apns("t")), false, noon},
		{seen(noon+day-1, apns("t")), false, noon},
		{seen(noon+day, apns("t")), true, noon + day},
		{seen(noon+day+1, apns("t")), false, noon + day},
		{seen(noon+1, other), true, noon + day}, // another clock is behind
		{seen(noon+day+2, named("id", other)), true, noon + day + 2},
		{seen(noon+day+3, named("id", other)), false, noon + day + 2},
	} {
		register(t, d, 1, c.dev)
		last, err := b.LastSeq(t.Context(), wire.DevicesStream(app))
		if err != nil || last > written != c.writes {
			t.Errorf("%v of %d: written up to %d, then %d, %v; want a write: %t", c.dev, c.dev.Seen, written, last, err, c.writes)
		}
		written = last
		if got := devicesOf(t, d, 1); len(got) != 1 || got[0].Seen != c.seen || got[0].At != noon {
			t.Errorf("%v of %d: at %d, seen %d, want %d and %d", c.dev, c.dev.Seen, got[0].At, got[0].Seen, noon, c.seen)
		}
	}
	now := apns("now")
	now.At, now.Seen = 5, 0
	register(t, d, 2, now)
	if got := devicesOf(t, d, 2)[0]; got.Seen < noon || got.At != got.Seen {
		t.Errorf("a device of now was seen at %d and is there since %d", got.Seen, got.At)
	}
}

func TestRegisterDeviceRefuses(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	for name, c := range map[string]struct {
		owner push.Ordinal
		dev   wire.Device
	}{
		"nobody":    {0, apns("secret")},
		"channel":   {1, wire.Device{Channel: "Secret", Token: "secret"}},
		"no token":  {1, wire.Device{Channel: "apns"}},
		"long ID":   {1, named(strings.Repeat("secret", 50), apns("secret"))},
		"long":      {1, apns(strings.Repeat("secret", 1000))},
		"Seen":      {1, seen(-1, apns("secret"))},
		"no vendor": {1, wire.Device{Token: "secret"}},
	} {
		err := d.RegisterDevice(t.Context(), app, c.owner, c.dev)
		if !errors.Is(err, wire.ErrDevice) || strings.Contains(strings.ToLower(err.Error()), "secret") {
			t.Errorf("%s: %v, want ErrDevice without the secret", name, err)
		}
	}
	if last, err := b.LastSeq(t.Context(), wire.DevicesStream(app)); err != nil || last != 0 {
		t.Errorf("%d messages were written, %v", last, err)
	}
}

// A caller that broke off is told so without the token.
func TestDeviceErrorsKeepTokens(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, lists := d.Devices(ctx, app, 1, 2)
	for _, err := range []error{
		d.RegisterDevice(ctx, app, 1, apns("secret")), d.RemoveDevice(ctx, app, 1, "apns", "secret"),
		d.ForgetDevice(ctx, app, 1, "secret"), d.DeleteDevices(ctx, app, 1), lists,
	} {
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want an error without the secret", err)
		}
	}
}

func TestDevicesOfMoreThanOneRoundTrip(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	register(t, d, 1, apns("a"))
	register(t, d, 1500, apns("b"))
	ordinals := []push.Ordinal{1, 1} // one asked for twice
	for o := range push.Ordinal(2000) {
		ordinals = append(ordinals, o)
	}
	lists, err := d.Devices(t.Context(), app, ordinals...)
	if err != nil || len(lists) != 2 || len(lists[1]) != 1 || lists[1500][0].Token != "b" {
		t.Fatalf("%v, %v", lists, err)
	}
	if lists, err = d.Devices(t.Context(), app); err != nil || len(lists) != 0 {
		t.Fatalf("nobody's devices: %v, %v", lists, err)
	}
}

func TestDeletedAccountForgetsItsDevices(t *testing.T) {
	t.Parallel()
	b := start(t)
	d := directory.New(b)
	users, err := d.Register(t.Context(), app, "u", "v")
	if err != nil {
		t.Fatal(err)
	}
	register(t, d, users["u"], apns("a"), apns("b"))
	register(t, d, users["v"], apns("c"))
	if _, err := d.Delete(t.Context(), app, "u"); err != nil {
		t.Fatal(err)
	}
	if got := tokens(t, b, users["u"], users["v"]); !slices.Equal(got, []string{"2:c"}) || !isNobodys(t, b, apns("a")) || !isNobodys(t, b, apns("b")) {
		t.Fatalf("%q is left", got)
	}
}
