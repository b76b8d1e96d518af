package config

import (
	"slices"
	"testing"
	"time"
)

func TestChangesNameWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	a, b := Default(), Default()
	if got := a.Changes(b); len(got) != 0 {
		t.Fatalf("two defaults differ in %q", got)
	}
	b.Apps = []App{{SDKAppID: 1}}
	b.Data, b.Sessions.Drain, b.Log.Level = "elsewhere", time.Hour, "debug"
	if got, want := a.Changes(b), []string{"data", "sessions.drain", "log.level"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
