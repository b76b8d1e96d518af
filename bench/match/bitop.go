package match

import (
	"fmt"
	"strconv"

	"github.com/carillon-push/carillon/pkg/predicate"
)

// bitop is one operation of Redis on bitmaps of equal length.
type bitop struct {
	operation string // AND, OR or NOT
	into      string
	of        []string
}

// Keys of Redis.
const (
	everyoneKey = "all"
	resultKey   = "result"
)

// keyOf a term, or of everyone; empty for what must be computed.
func keyOf(n predicate.Node) string {
	switch n := n.(type) {
	case predicate.All:
		return everyoneKey
	case predicate.Tag:
		return "tag:" + n.Name
	case predicate.Attr:
		return "attr:" + strconv.Itoa(int(n.Slot)) + ":" + n.Value
	}
	return ""
}

// bitops are the operations that leave a condition's bitmap at resultKey. A term alone is copied there, since a push's
// audience must stay as it is when the term changes.
func bitops(n predicate.Node) ([]bitop, error) {
	if key := keyOf(n); key != "" {
		return []bitop{{"OR", resultKey, []string{key}}}, nil
	}
	var c bitopper
	err := c.compute(n, resultKey)
	return c.list, err
}

// bitopper gathers operations.
type bitopper struct {
	list []bitop
	used int // keys for what comes between
}

// compute needs a condition that is no term. Bitmaps end where a byte does, so that NOT sets no bit that is nobody's.
func (c *bitopper) compute(n predicate.Node, into string) error {
	var operation string
	var kids []predicate.Node
	switch n := n.(type) {
	case predicate.Not:
		operation, kids = "NOT", []predicate.Node{n.Kid}
	case predicate.And:
		operation, kids = "AND", n.Kids
	case predicate.Or:
		operation, kids = "OR", n.Kids
	default:
		return fmt.Errorf("there is no BITOP for the condition %s", predicate.String(n))
	}
	of := make([]string, len(kids))
	for i, k := range kids {
		if of[i] = keyOf(k); of[i] != "" {
			continue
		}
		of[i] = "between:" + strconv.Itoa(c.used)
		c.used++
		if err := c.compute(k, of[i]); err != nil {
			return err
		}
	}
	c.list = append(c.list, bitop{operation, into, of})
	return nil
}
