package app_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/app/apptest"
)

// A copy of the directory of a stopped process is a backup: what was accepted before is there, and what was pending is still
// delivered; what came after the copy is not.
func TestACopyOfTheDataIsABackup(t *testing.T) {
	t.Parallel()
	cfg := apptest.Config(t)
	s := apptest.StartRoles(t, cfg, app.Roles()...)
	s.Import("had", "waits", "new")
	s.Tag("waits", "stockA")
	had := s.Dial("had")
	s.Push(apptest.Text("to all", 3600, nil))
	_, seq := had.Push()
	had.Ack(seq)
	had.Sync()
	s.Push(apptest.Text("to some", 3600, map[string]any{"TagsOr": []string{"stockA"}}))
	s.Stop()

	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(cfg.Data)); err != nil {
		t.Fatal(err)
	}
	s = apptest.StartRoles(t, cfg, app.Roles()...)
	s.Push(apptest.Text("after the copy", 3600, nil))
	s.Import("later")
	s.Stop()

	restored := apptest.Config(t)
	restored.Data = backup
	s = apptest.StartRoles(t, restored, app.Roles()...)
	if status, text := probe(t, s, "/health"); status != http.StatusOK {
		t.Errorf("what is restored is not well: %s", text)
	}
	if again := s.Dial("had"); again.Hello.Pending != 0 {
		t.Errorf("what was acknowledged waits again: %d", again.Hello.Pending)
	}
	waits := s.Dial("waits") // the second push may be matched after the copy's start alone, and then come live
	for _, want := range []string{"to all", "to some"} {
		if text, _ := waits.Push(); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
	s.Push(apptest.Text("tagged still", 3600, map[string]any{"TagsOr": []string{"stockA"}}))
	if text, _ := waits.Push(); text != "tagged still" {
		t.Errorf("got %q", text)
	}
}
