package fcm

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Config is one Firebase project.
type Config struct {
	// CredentialsFile is the JSON key of a service account that may send messages, as the console gives it.
	CredentialsFile string
	// Project is the project's ID; empty: that of the service account.
	Project string
	// URL takes the place of Google's for messages, and CAFile (PEM) that of the authorities that vouch for it and for the
	// address that the key names for access tokens.
	URL, CAFile string
}

// Files are those that the credentials are in.
func (c Config) Files() []string {
	files := []string{c.CredentialsFile}
	if c.CAFile != "" {
		files = append(files, c.CAFile)
	}
	return files
}

var projectID = regexp.MustCompile(`^[a-zA-Z0-9:.-]+$`)

// Validate says in full sentences what is wrong. It does not look at files.
func (c Config) Validate() error {
	var errs []error
	if c.CredentialsFile == "" {
		errs = append(errs, errors.New("FCM needs the key file of a service account"))
	}
	if c.Project != "" && !projectID.MatchString(c.Project) {
		errs = append(errs, fmt.Errorf("the FCM project must be an ID such as my-app-1234, not %q", c.Project))
	}
	if c.URL != "" {
		if err := channel.BaseURL(c.URL); err != nil {
			errs = append(errs, fmt.Errorf("the FCM URL cannot be used: %w", err))
		}
	}
	return errors.Join(errs...)
}

// account is a service account's key file.
type account struct {
	Type       string `json:"type"`
	Project    string `json:"project_id"`
	KeyID      string `json:"private_key_id"`
	PrivateKey string `json:"private_key"` // PEM
	Email      string `json:"client_email"`
	TokenURL   string `json:"token_uri"`
}

// account reads the key file. No error has any of the key in it.
func (c Config) account() (*account, error) {
	content, err := os.ReadFile(c.CredentialsFile)
	if err != nil {
		return nil, fmt.Errorf("read the FCM service account: %w", err)
	}
	a := account{TokenURL: "https://oauth2.googleapis.com/token"}
	if err := json.Unmarshal(content, &a); err != nil {
		return nil, fmt.Errorf("read the FCM service account in %s: it is not JSON", c.CredentialsFile)
	}
	if c.Project != "" {
		a.Project = c.Project
	}
	wrong := func(what string) error {
		return fmt.Errorf("read the FCM service account in %s: %s", c.CredentialsFile, what)
	}
	switch {
	case a.Type != "service_account":
		return nil, wrong(fmt.Sprintf("its type is %q, not service_account", a.Type))
	case a.Email == "":
		return nil, wrong("it has no client_email")
	case !projectID.MatchString(a.Project):
		return nil, wrong("it has no project_id, and the configuration none either")
	case !isKey(a.PrivateKey):
		return nil, wrong("its private_key is no RSA key in PEM")
	}
	if err := channel.BaseURL(a.TokenURL); err != nil {
		return nil, wrong("its token_uri cannot be used: " + err.Error())
	}
	return &a, nil
}

func isKey(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		_, ok := key.(*rsa.PrivateKey)
		return ok
	}
	_, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	return err == nil
}
