package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// ReadSecrets reads the secrets of a file as Config.SecretFile describes it. No error has any of them.
func ReadSecrets(file string) ([][]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the webhook's secrets: %w", err)
	}
	var all [][]byte
	for line := range bytes.Lines(content) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		text, ok := bytes.CutPrefix(line, []byte("whsec_"))
		secret, err := base64.StdEncoding.DecodeString(string(text))
		if !ok || err != nil || len(secret) < 24 || len(secret) > 64 {
			return nil, fmt.Errorf("read the webhook's secrets in %s: each line must be whsec_ and 24 to 64 bytes in base64", file)
		}
		all = append(all, secret)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read the webhook's secrets in %s: there is none", file)
	}
	return all, nil
}

// Sign sets the headers by which a receiver knows that a request with this body, sent at a time, is from who has one of the
// secrets.
func Sign(header http.Header, secrets [][]byte, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	var all []string
	for _, secret := range secrets {
		h := hmac.New(sha256.New, secret)
		_, _ = io.WriteString(h, id+"."+timestamp+".")
		h.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", timestamp)
	header.Set("Webhook-Signature", strings.Join(all, " "))
}
