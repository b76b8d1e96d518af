package history

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteText writes a trace for a terminal.
func (t *Trace) WriteText(w io.Writer) error {
	var b strings.Builder
	account := strconv.Quote(t.Account)
	if t.Account == "" {
		account = strconv.Quote(string(t.AccountBase64))
	}
	fmt.Fprintf(&b, "push %s for %s: %s\n%s\n", t.ID, account, strings.ToUpper(string(t.Outcome)), t.Why)
	if t.Fault != "" {
		fmt.Fprintf(&b, "\nFAULT: %s\n", t.Fault)
	}
	if len(t.Clauses) > 0 {
		fmt.Fprintf(&b, "\nThe condition, as of log %d of shard %d, where the push stands at %d:\n", t.Evaluated, t.Shard, t.Place)
	}
	for _, c := range t.Clauses {
		mark := "?  "
		if c.Holds != nil {
			mark = map[bool]string{true: "yes", false: "no "}[*c.Holds]
		}
		fmt.Fprintf(&b, "  %s %s%s", mark, strings.Repeat("  ", c.Depth), c.Text)
		if c.Since != nil {
			fmt.Fprintf(&b, ", since %s", moment(c.Since.At, c.Since.Log))
		}
		if c.Until != nil {
			fmt.Fprintf(&b, ", until %s", moment(c.Until.At, c.Until.Log))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, e := range t.Events {
		place := ""
		if e.Log > 0 {
			place = fmt.Sprintf(" (log %d)", e.Log)
		}
		fmt.Fprintf(&b, "  %s  %-10s %s%s\n", clock(e.At), e.Kind, e.Text, place)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
