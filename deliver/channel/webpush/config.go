package webpush

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Config is one application server, as browsers know it by its VAPID key (RFC 8292).
type Config struct {
	// KeyFile has the private key: of the curve P-256, in PEM, or as 32 bytes in URL-safe base64, as generators of VAPID keys
	// print it. Subscriptions are made with its public key, see Channel.PublicKey.
	KeyFile string
	// Subject is how a push service reaches the operator: mailto: and an address, or an https URL.
	Subject string
	// Hosts are the push services to speak to, each with the names below it; empty: any. Endpoints come from clients, so
	// that a list, such as fcm.googleapis.com, push.services.mozilla.com, notify.windows.com, push.apple.com, is the
	// surest guard of other servers.
	Hosts []string
	// Private lets endpoints lead to addresses that are not public: this machine's, and those of private networks. It is for
	// a push service of one's own.
	Private bool
	// CAFile (PEM) has the authorities to trust in place of the system's.
	CAFile string
}

// Files are those that the credentials are in.
func (c Config) Files() []string {
	files := []string{c.KeyFile}
	if c.CAFile != "" {
		files = append(files, c.CAFile)
	}
	return files
}

// Validate says in full sentences what is wrong. It does not look at files.
func (c Config) Validate() error {
	var errs []error
	if c.KeyFile == "" {
		errs = append(errs, errors.New("a VAPID key file is needed for Web Push"))
	}
	mail, isMail := strings.CutPrefix(c.Subject, "mailto:")
	if !(isMail && strings.Contains(mail, "@")) && !strings.HasPrefix(c.Subject, "https://") {
		errs = append(errs, fmt.Errorf("the subject of Web Push must be mailto: and an address, or an https URL, not %q", c.Subject))
	}
	for _, host := range c.Hosts {
		if host == "" || strings.ContainsAny(host, ":/*@ ") || strings.HasPrefix(host, ".") {
			errs = append(errs, fmt.Errorf("a host of Web Push must be a name such as push.example.org, not %q", host))
		}
	}
	return errors.Join(errs...)
}

// allows says whether a host of an endpoint, without its port, is one to speak to.
func (c Config) allows(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" {
		return false
	}
	for _, h := range c.Hosts {
		if h = strings.ToLower(h); host == h || strings.HasSuffix(host, "."+h) {
			return true
		}
	}
	return len(c.Hosts) == 0
}

// key reads the private key. No error has any of it.
func (c Config) key() (*ecdh.PrivateKey, error) {
	content, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the VAPID key: %w", err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(content)), "="))
	if block, _ := pem.Decode(content); block != nil {
		raw, err = fromDER(block.Bytes)
	}
	if err == nil {
		var key *ecdh.PrivateKey
		if key, err = ecdh.P256().NewPrivateKey(raw); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("read the VAPID key in %s: it is no private key of P-256, in PEM or as 32 bytes in base64", c.KeyFile)
}

func fromDER(der []byte) ([]byte, error) {
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, err
		}
		var ok bool
		if key, ok = any.(*ecdsa.PrivateKey); !ok {
			return nil, errors.New("not of an elliptic curve")
		}
	}
	return key.Bytes()
}
