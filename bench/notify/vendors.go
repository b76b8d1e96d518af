package notify

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
)

const vendorsPart = "vendors"

// place is where the vendors are.
type place struct {
	// Plain speaks HTTP/1.1, and Secure HTTP/2 over TLS with a certificate of Authority, in PEM.
	Plain, Secure, Authority string
}

// sample is the request with notifications that a vendor had last.
type sample struct {
	URL    string
	Header http.Header
	Body   []byte
}

// vendors answer as theirs do when all is well, for less than any of them: what they would refuse, the channels' own tests
// know. A vendor's name is the first part of its paths.
type vendors struct {
	mu   sync.Mutex
	last map[string]sample
}

// answer plays the vendors until the input ends.
func answer(in *json.Decoder, out *json.Encoder) error {
	v := &vendors{last: map[string]sample{}}
	plain, secure := httptest.NewUnstartedServer(v), httptest.NewUnstartedServer(v)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	plain.Start()
	defer plain.Close()
	secure.StartTLS()
	defer secure.Close()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := out.Encode(place{plain.URL, secure.URL, string(authority)}); err != nil {
		return fmt.Errorf("say where the vendors are: %w", err)
	}
	untilEnd(in)
	return nil
}

// grants are what is answered to whoever asks for an access token, or has a message saved, by path.
var grants = map[string]string{
	"/fcm/token":    `{"access_token":"access","token_type":"Bearer","expires_in":3600}`,
	"/huawei/token": `{"access_token":"access","token_type":"Bearer","expires_in":3600}`,
	"/honor/token":  `{"access_token":"access","token_type":"Bearer","expires_in":3600}`,
	"/oppo/auth":    `{"code":0,"message":"","data":{"auth_token":"access","create_time":1}}`,
	"/vivo/auth":    `{"result":0,"desc":"","authToken":"access"}`,
	"/vivo/save":    `{"result":0,"desc":"","taskId":"task"}`,
}

// tails are the vendors' own paths of those.
var tails = strings.NewReplacer("/oauth2/v3/token", "/token", "/server/v1/auth", "/auth", "/message/auth", "/auth", "/message/saveListPayload", "/save")

func (v *vendors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet { // not a vendor's: what it had last
		v.mu.Lock()
		defer v.mu.Unlock()
		_ = json.NewEncoder(w).Encode(v.last[r.URL.Path])
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller went away
	}
	if text, ok := grants[tails.Replace(r.URL.Path)]; ok {
		_, _ = io.WriteString(w, text)
		return
	}
	name := strings.SplitN(r.URL.Path, "/", 3)[1]
	v.mu.Lock()
	v.last["/"+name] = sample{r.URL.Path, r.Header.Clone(), body}
	v.mu.Unlock()
	switch name {
	case "3": // Apple's paths begin so
		w.Header().Set("apns-id", "00000000-0000-0000-0000-000000000000")
	case "v1": // Google's
		_, _ = io.WriteString(w, `{"name":"projects/bench/messages/1"}`)
	case "push": // a browser's endpoint
		w.WriteHeader(http.StatusCreated)
	case "webhook":
		var asked struct{ Tokens []string }
		_ = json.Unmarshal(body, &asked)
		_, _ = io.WriteString(w, `{"results":[`+strings.TrimSuffix(strings.Repeat(`{"outcome":"sent","id":"1"},`, len(asked.Tokens)), ",")+`]}`)
	case "huawei":
		_, _ = io.WriteString(w, `{"code":"80000000","msg":"Success","requestId":"request"}`)
	case "honor":
		_, _ = io.WriteString(w, `{"code":200,"message":"success","data":{"sendResult":true,"requestId":"request"}}`)
	case "xiaomi":
		_, _ = io.WriteString(w, `{"result":"ok","trace_id":"t","code":0,"data":{"id":"scm1"}}`)
	case "oppo":
		_, _ = w.Write(named(body))
	case "vivo":
		_, _ = io.WriteString(w, `{"result":0,"desc":"","requestId":"request"}`)
	default:
		http.NotFound(w, r)
	}
}

// named is OPPO's answer, which names each device of a batch.
func named(body []byte) []byte {
	form, _ := url.ParseQuery(string(body))
	var messages []struct {
		Token string `json:"target_value"`
	}
	_ = json.Unmarshal([]byte(form.Get("messages")), &messages)
	var b bytes.Buffer
	b.WriteString(`{"code":0,"message":"","data":[`)
	for i, m := range messages {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"messageId":"m-%d","registrationId":%q}`, i, m.Token)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}
