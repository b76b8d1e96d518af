package push

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseAppID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := AppID(rapid.Uint32Min(1).Draw(t, "app"))
		if got, err := ParseAppID(want.String()); err != nil || got != want {
			t.Fatalf("%s: %d, %v", want, got, err)
		}
	})
	for _, s := range []string{"", "0", "-1", "+1", "1.0", "0x1", " 1", "1_0", "4294967296", "app"} {
		if got, err := ParseAppID(s); err == nil {
			t.Errorf("%q is taken for app %d", s, got)
		}
	}
}

func TestTaskIDRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Push{App: AppID(rapid.Uint32().Draw(t, "app")), Seq: Seq(rapid.Uint64().Draw(t, "seq"))}
		app, seq, err := p.TaskID().Parse()
		if err != nil || app != p.App || seq != p.Seq {
			t.Fatalf("%s: %d, %d, %v", p.TaskID(), app, seq, err)
		}
	})
}

func TestTaskIDRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []TaskID{
		"", "1", "1-", "-1", "1-2 ", " 1-2", "1-2-3", "01-2", "1-02", "+1-2", "1-+2", "1--2", "4294967296-1",
		"1-18446744073709551616", "0x1-2", "1\n-2", "１-２", "\x00",
	} {
		if app, seq, err := s.Parse(); !errors.Is(err, ErrTaskID) {
			t.Errorf("%q: %d, %d, %v, want ErrTaskID", s, app, seq, err)
		}
	}
}

func FuzzTaskID(f *testing.F) {
	f.Add("1400000001-42")
	f.Add("1-+2")
	f.Fuzz(func(t *testing.T, s string) {
		app, seq, err := TaskID(s).Parse()
		if err != nil {
			if err != ErrTaskID {
				t.Fatalf("%v is not ErrTaskID", err)
			}
			return
		}
		if again := NewTaskID(app, seq); again != TaskID(s) {
			t.Fatalf("%q is also %q", s, again)
		}
	})
}

func TestExpire(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1700000000999)
	for lifetime, want := range map[time.Duration]int64{
		0: 0, -time.Second: 0, time.Second: 1700000001, MaxLifetime * time.Second: 1700604800,
	} {
		p := Push{At: at, Lifetime: lifetime}
		if got := p.Expire(); got != want {
			t.Errorf("a lifetime of %s ends at %d, want %d", lifetime, got, want)
		}
	}
}
