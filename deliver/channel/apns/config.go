package apns

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sideshow/apns2/certificate"
	"github.com/sideshow/apns2/token"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Config is one app at Apple. It has a key (KeyFile, KeyID, TeamID) or a certificate, not both.
type Config struct {
	// Topic is the app's bundle ID.
	Topic string
	// KeyFile is a key for token authentication, a .p8 file of PEM, KeyID its ten characters, TeamID those of the team.
	KeyFile, KeyID, TeamID string
	// CertificateFile is a certificate with its key: .p12 as the keychain exports it, or .pem. Password is that of its key.
	CertificateFile, Password string
	// Sandbox is for the tokens of apps that were signed for development.
	Sandbox bool
	// Badge is the number that a push that counts (BadgeMode 0) sets the app's badge to. What a user has not read yet is known
	// to the app only. 0: pushes leave the badge alone.
	Badge int
	// URL takes the place of Apple's, and CAFile (PEM) that of the authorities that vouch for it.
	URL, CAFile string
}

// Default has the fields that have a default.
func Default() Config { return Config{Badge: 1} }

// String names the app, so that a configuration that is printed tells no password.
func (c Config) String() string { return "Apple's app " + c.Topic }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Files are those that the credentials are in.
func (c Config) Files() []string {
	var files []string
	for _, name := range []string{c.KeyFile, c.CertificateFile, c.CAFile} {
		if name != "" {
			files = append(files, name)
		}
	}
	return files
}

// Validate says in full sentences what is wrong. It does not look at files.
func (c Config) Validate() error {
	var errs []error
	if c.Topic == "" {
		errs = append(errs, errors.New("APNs needs the app's topic, which is its bundle ID"))
	}
	switch {
	case c.KeyFile == "" && c.CertificateFile == "":
		errs = append(errs, errors.New("APNs needs a key file or a certificate file"))
	case c.KeyFile != "" && c.CertificateFile != "":
		errs = append(errs, errors.New("APNs takes a key file or a certificate file, not both"))
	case c.KeyFile != "" && (c.KeyID == "" || c.TeamID == ""):
		errs = append(errs, errors.New("an APNs key file needs its key ID and its team ID"))
	}
	if c.Badge < 0 {
		errs = append(errs, fmt.Errorf("the APNs badge must not be negative; it is %d", c.Badge))
	}
	if c.URL != "" {
		if err := channel.BaseURL(c.URL); err != nil {
			errs = append(errs, fmt.Errorf("the APNs URL cannot be used: %w", err))
		}
	}
	return errors.Join(errs...)
}

// token reads the key; nil when there is a certificate instead.
func (c Config) token() (*token.Token, error) {
	if c.KeyFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the APNs key: %w", err)
	}
	key, err := token.AuthKeyFromBytes(content)
	if err != nil {
		return nil, fmt.Errorf("read the APNs key in %s: it is not the .p8 file of an elliptic curve key: %w", c.KeyFile, err)
	}
	t := &token.Token{AuthKey: key, KeyID: c.KeyID, TeamID: c.TeamID}
	if _, err := t.Generate(); err != nil {
		return nil, fmt.Errorf("sign with the APNs key in %s: %w", c.KeyFile, err)
	}
	return t, nil
}

// fromP12 reads what the keychain and OpenSSL export; the library of package certificate knows only the ciphers of old ones.
func fromP12(content []byte, password string) (tls.Certificate, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(content, password)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

// certificate reads the certificate; nil when there is a key instead.
func (c Config) certificate() (*tls.Certificate, error) {
	if c.CertificateFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.CertificateFile)
	if err != nil {
		return nil, fmt.Errorf("read the APNs certificate: %w", err)
	}
	parse := certificate.FromPemBytes
	if ext := strings.ToLower(filepath.Ext(c.CertificateFile)); ext == ".p12" || ext == ".pfx" {
		parse = fromP12
	}
	pair, err := parse(content, c.Password)
	if err != nil {
		return nil, fmt.Errorf("read the APNs certificate in %s: %w", c.CertificateFile, err)
	}
	if pair.Leaf == nil {
		return nil, fmt.Errorf("read the APNs certificate in %s: its certificate cannot be parsed", c.CertificateFile)
	}
	if until := pair.Leaf.NotAfter; time.Now().After(until) {
		return nil, fmt.Errorf("the APNs certificate in %s ended at %s", c.CertificateFile, until.Format(time.RFC3339))
	}
	return &pair, nil
}
