package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
)

// The service as a process of its own, which can be killed.
type process struct {
	cmd      *exec.Cmd
	rest     string
	sessions string
}

func buildBinary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "carillon")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// serve starts `carillon serve` and waits until it says that it is ready.
func serve(t *testing.T, bin, data string, ports [2]string, more ...string) *process {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"serve", "--data", data, "--http.listen", ports[0], "--sessions.listen", ports[1],
		"--receipts.interval", "20ms", "--sessions.drain", "0s"}, more...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, rest: "http://" + ports[0], sessions: "ws://" + ports[1]}
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Carillon is ready") {
			go io.Copy(io.Discard, out) //nolint:errcheck // the pipe ends with the process
			return p
		}
	}
	_ = cmd.Wait()
	t.Fatalf("the service did not start:\n%s", log.String())
	return nil
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func freePorts(t *testing.T) (ports [2]string) {
	t.Helper()
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().String()
	}
	return ports
}

// Whatever was answered with OK before a kill -9 is there after it: accounts, tags, pushes, and who is to get them. The
// service is killed again and again while operators change users and push.
func TestKillLosesNothingThatWasAccepted(t *testing.T) {
	t.Parallel()
	bin, data, ports := buildBinary(t), t.TempDir(), freePorts(t)
	p := serve(t, bin, data, ports)
	raw, err := os.ReadFile(filepath.Join(data, "development.key"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(raw))
	rest := &client.REST{URL: p.rest, App: 1400000001, Admin: "administrator", Key: key}

	const rounds = 5
	accepted := map[string]push.TaskID{} // text of an accepted push → its id
	audience := map[string][]string{}    // text → accounts that existed, tagged, before it was sent
	var users []string                   // whose import and tag were answered with OK
	for round := range rounds {
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			timer := time.NewTimer(time.Duration(50+rand.IntN(400)) * time.Millisecond)
			<-timer.C
			p.kill()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for i := 0; ; i++ {
			user := fmt.Sprintf("r%du%d", round, i)
			err := rest.Call(ctx, "im_open_login_svc/account_import", map[string]any{"UserID": user}, nil)
			if err == nil {
				err = rest.Call(ctx, "all_member_push/im_add_tag", map[string]any{"UserTags": []any{map[string]any{"To_Account": user, "Tags": []string{"t"}}}}, nil)
			}
			if err != nil {
				break
			}
			users = append(users, user)
			text := fmt.Sprintf("round %d push %d", round, i)
			id, err := rest.Push(ctx, map[string]any{
				"MsgRandom": rand.Uint32(), "MsgLifeTime": 3600, "Condition": map[string]any{"TagsOr": []string{"t"}},
				"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": text}}},
			})
			if err != nil {
				break
			}
			accepted[text] = id
			audience[text] = append([]string(nil), users...)
		}
		cancel()
		<-killed
		p = serve(t, bin, data, ports)
	}
	if len(accepted) < rounds {
		t.Fatalf("only %d pushes were accepted: nothing was tried", len(accepted))
	}

	// Each user's inbox holds exactly what was accepted after the user was tagged, and perhaps the one push whose answer
	// was lost in each round.
	want := map[string]map[string]bool{}
	for text, to := range audience {
		for _, u := range to {
			if want[u] == nil {
				want[u] = map[string]bool{}
			}
			want[u][text] = true
		}
	}
	checked, missing := 0, 0
	for _, u := range users {
		got := listenFor(t, p.sessions, key, u, want[u])
		for text := range want[u] {
			checked++
			if !got[text] {
				if missing++; missing <= 10 {
					t.Errorf("%s lost %q", u, text)
				}
			}
		}
	}
	t.Logf("%d kills, %d users, %d pushes, %d pairs checked, %d lost", rounds, len(users), len(accepted), checked, missing)
	if got := listenFor(t, p.sessions, key, "a stranger", nil); len(got) != 0 {
		t.Errorf("a stranger got %d pushes", len(got))
	}
}

// listenFor logs a user in and gives the texts of what came, once everything that is wanted has. Most of it is in the
// inbox; what was accepted just before the kill is matched after the restart, and may come live.
func listenFor(t *testing.T, url, key, account string, want map[string]bool) map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sig, err := usersig.Sign(key, 1400000001, account, time.Now(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, missing, pending := map[string]bool{}, len(want), 0
	enough := func() {
		if missing <= 0 && len(got) >= pending {
			cancel()
		}
	}
	session := &client.Session{
		URLs: []string{url}, App: 1400000001, Account: account, UserSig: sig,
		OnState: func(state client.State) {
			if open, ok := state.(client.Open); ok {
				pending = open.Pending
				enough()
			}
		},
		OnPush: func(p client.Push) {
			text := textOf(t, p)
			if want[text] && !got[text] {
				missing--
			}
			got[text] = true
			enough()
		},
	}
	if err := session.Listen(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%s: %v", account, err)
	}
	return got
}

func textOf(t *testing.T, p client.Push) string {
	t.Helper()
	var elems []struct{ MsgContent struct{ Text string } }
	if err := json.Unmarshal(p.Body, &elems); err != nil || len(elems) != 1 {
		t.Errorf("body %s: %v", p.Body, err)
		return ""
	}
	return elems[0].MsgContent.Text
}
