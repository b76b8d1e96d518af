package webpush

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/channeltest"
	"github.com/carillon-push/carillon/deliver/channel/webpush/webpushtest"
)

// node is a program of directory peer, in which others' implementations of Web Push are. Where they are not installed the
// test is skipped.
func node(t *testing.T, program string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node is not installed")
	}
	if _, err := os.Stat(filepath.Join("peer", "node_modules", ".installed")); err != nil {
		t.Skip("others' implementations of Web Push are not installed: `make peers` does it")
	}
	cmd := exec.CommandContext(t.Context(), path, program)
	cmd.Dir = "peer"
	return cmd
}

// foreign is the push service of web-push-testing, behind TLS, which it does not speak itself.
type foreign struct {
	*testing.T
	at  string // its own address
	tls *channeltest.Server
}

func startForeign(t *testing.T) *foreign {
	t.Helper()
	cmd := node(t, "service.js")
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the service has not started: %v: %s", err, said.String())
	}
	f := &foreign{T: t, at: strings.TrimSpace(line)}
	to, err := url.Parse(f.at)
	if err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	f.tls = channeltest.Start(t, &httputil.ReverseProxy{
		Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
	})
	return f
}

// post asks the service itself.
func (f *foreign) post(path string, ask, answer any) {
	f.Helper()
	body, err := json.Marshal(ask)
	if err != nil {
		f.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	got, err := client.Post(f.at+path, "application/json", bytes.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		f.Fatalf("%s is answered with %s", path, got.Status)
	}
	if answer != nil {
		if err := json.NewDecoder(got.Body).Decode(answer); err != nil {
			f.Fatal(err)
		}
	}
}

// subscribe is a browser of the service's: its name there, and the token of a device.
func (f *foreign) subscribe(applicationServerKey string) (name, token string) {
	f.Helper()
	var got struct {
		Data struct {
			Keys       json.RawMessage
			ClientHash string
		}
	}
	f.post("/subscribe", map[string]string{"userVisibleOnly": "true", "applicationServerKey": applicationServerKey}, &got)
	name = got.Data.ClientHash
	return name, fmt.Sprintf(`{"endpoint":"%s/notify/%s","keys":%s}`, f.tls.URL, name, got.Data.Keys)
}

// received are the messages that a browser got, decrypted.
func (f *foreign) received(name string) []string {
	f.Helper()
	var got struct{ Data struct{ Messages []string } }
	f.post("/get-notifications", map[string]string{"clientHash": name}, &got)
	return got.Data.Messages
}

// What this channel sends, a push service by others accepts, and its browsers decrypt it.
func TestAForeignServiceDecryptsWhatIsSent(t *testing.T) {
	t.Parallel()
	f := startForeign(t)
	config := configOf(webpushtest.Start(t)) // for its key
	config.CAFile = f.tls.CAFile
	c := open(t, config)
	name, token := f.subscribe(c.PublicKey())
	short, chinese, long := notice(), notice(), notice()
	chinese.Title, chinese.Text = "订单", "你好 👩‍👩‍👧‍👦 \"<&>\" \u2028"
	long.Text = strings.Repeat("<你好>", 2000)
	notices := []*channel.Notice{short, chinese, long}
	for i, n := range notices {
		if got := c.Send(t.Context(), n, []string{token}); got[0] != (channel.Result{Outcome: channel.Sent}) {
			t.Fatalf("notice %d: %+v", i, got)
		}
	}
	got := f.received(name)
	if len(got) != len(notices) {
		t.Fatalf("%d messages arrived", len(got))
	}
	for i, n := range notices {
		var m struct {
			Title, Text, Ext, Task string
			Seq                    uint64
		}
		if err := json.Unmarshal([]byte(got[i]), &m); err != nil {
			t.Fatalf("message %d: %v: %s", i, err, got[i])
		}
		text, cut := strings.CutSuffix(m.Text, "…")
		if m.Title != n.Title || m.Ext != n.Ext || m.Task != string(n.Task) || m.Seq != uint64(n.Seq) ||
			cut != (n == long) || !strings.HasPrefix(n.Text, text) || !cut && text != n.Text {
			t.Errorf("message %d is %s", i, got[i])
		}
	}

	_, others := f.subscribe(open(t, configOf(webpushtest.Start(t))).PublicKey())
	if got := c.Send(t.Context(), short, []string{others}); got[0] != (channel.Result{Outcome: channel.Refused, Reason: "400"}) {
		t.Errorf("a subscription that was made with another key: %+v", got)
	}
	f.post("/expire-subscription/"+name, struct{}{}, nil)
	if got := c.Send(t.Context(), short, []string{token}); got[0] != (channel.Result{Outcome: channel.Gone, Reason: "410"}) {
		t.Errorf("a subscription that has ended: %+v", got)
	}
}

// What a sender by others sends, the push service of these tests accepts, and its browsers decrypt it.
func TestTheFakeDecryptsWhatAForeignSenderSends(t *testing.T) {
	t.Parallel()
	s := webpushtest.Start(t)
	private, err := os.ReadFile(s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	const most = 4096 - 103 // which a push service must take (RFC 8030, 7.2), less what encryption adds
	messages := []string{"hello", "你好 👩‍👩‍👧‍👦", strings.Repeat("x", most)}
	send := func(public, private string) (statuses []int) {
		t.Helper()
		ask, err := json.Marshal(map[string]any{
			"ca": string(authority), "subscription": json.RawMessage(s.Subscribe(t, "anna")), "messages": messages,
			"options": map[string]any{
				"TTL": 60, "urgency": "high", "topic": "7-42",
				"vapidDetails": map[string]string{"subject": "mailto:ops@example.org", "publicKey": public, "privateKey": private},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		cmd := node(t, "send.js")
		var said bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(ask), &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
		if err := json.Unmarshal(out, &statuses); err != nil {
			t.Fatal(err)
		}
		return statuses
	}
	if got := send(open(t, configOf(s)).PublicKey(), strings.TrimSpace(string(private))); !slices.Equal(got, []int{201, 201, 201}) {
		t.Fatalf("the answers are %v", got)
	}
	for i, m := range s.Taken() {
		if string(m.Text) != messages[i] || m.Header.Get("TTL") != "60" || m.Header.Get("Urgency") != "high" || m.Header.Get("Topic") != "7-42" {
			t.Errorf("message %d is %q with %v", i, m.Text, m.Header)
		}
	}
	other := webpushtest.Start(t)
	if private, err = os.ReadFile(other.KeyFile); err != nil {
		t.Fatal(err)
	}
	if got := send(open(t, configOf(other)).PublicKey(), strings.TrimSpace(string(private))); !slices.Equal(got, []int{403, 403, 403}) {
		t.Errorf("with another key the answers are %v", got)
	}
	if got := len(s.Taken()); got != len(messages) {
		t.Errorf("%d messages were taken", got)
	}
}
