package channel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// recheck is how often the files of credentials are looked at, at most: by the first Send after it.
const recheck = time.Second

// credentials are the files that a channel was opened with. Contents are compared, not times, which neither a link that is
// turned nor a copy that keeps its times would change.
type credentials struct {
	files   []string
	checked time.Time
	sum     [sha256.Size]byte
}

// changed says whether the files' contents are others than when it said so last. A file that is missing is a content too.
func (c *credentials) changed(now time.Time) bool {
	if len(c.files) == 0 || !c.checked.IsZero() && now.Sub(c.checked) < recheck {
		return false
	}
	c.checked = now
	h := sha256.New()
	for _, name := range c.files {
		content, err := os.ReadFile(name)
		fmt.Fprintf(h, "%d %t\n", len(content), errors.Is(err, fs.ErrNotExist))
		h.Write(content)
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	if sum == c.sum {
		return false
	}
	c.sum = sum
	return true
}
