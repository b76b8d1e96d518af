package webhook

import (
	"errors"
	"fmt"

	"github.com/carillon-push/carillon/deliver/channel"
)

// MaxBatch is how many devices a request has at most.
const MaxBatch = 1000

// Config is one operator's service.
type Config struct {
	// URL is where notices are posted to.
	URL string
	// SecretFile has the secrets that requests are signed with, one a line: "whsec_" and 24 to 64 bytes in base64. Of two,
	// both sign, so that the service can go over from one to the other.
	SecretFile string
	// Batch is how many devices a request has at most.
	Batch int
	// CAFile (PEM) has the authorities to trust in place of the system's.
	CAFile string
}

// Default has the fields that have a default.
func Default() Config { return Config{Batch: 100} }

// Files are those that the credentials are in.
func (c Config) Files() []string {
	files := []string{c.SecretFile}
	if c.CAFile != "" {
		files = append(files, c.CAFile)
	}
	return files
}

// Validate says in full sentences what is wrong. It does not look at files.
func (c Config) Validate() error {
	var errs []error
	if err := channel.BaseURL(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("the URL of the webhook cannot be used: %w", err))
	}
	if c.SecretFile == "" {
		errs = append(errs, errors.New("the webhook needs a file with the secret that requests are signed with"))
	}
	if c.Batch < 1 || c.Batch > MaxBatch {
		errs = append(errs, fmt.Errorf("a batch of the webhook must have 1 to %d devices, not %d", MaxBatch, c.Batch))
	}
	return errors.Join(errs...)
}
