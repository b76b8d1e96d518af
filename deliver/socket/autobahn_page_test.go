package socket

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/conformance.md anew")

const conformancePage = "../../docs/conformance.md"

// inventory is how many cases each part of the suite has, in its order, from its documentation: 517 in all.
var inventory = []struct {
	part  string
	cases int
}{
	{"1.1", 8}, {"1.2", 8}, {"2", 11}, {"3", 7}, {"4.1", 5}, {"4.2", 5}, {"5", 20},
	{"6.1", 3}, {"6.2", 4}, {"6.3", 2}, {"6.4", 4}, {"6.5", 5}, {"6.6", 11}, {"6.7", 4}, {"6.8", 2}, {"6.9", 4}, {"6.10", 3},
	{"6.11", 5}, {"6.12", 8}, {"6.13", 5}, {"6.14", 10}, {"6.15", 1}, {"6.16", 3}, {"6.17", 5}, {"6.18", 5}, {"6.19", 5},
	{"6.20", 7}, {"6.21", 8}, {"6.22", 34}, {"6.23", 7},
	{"7.1", 6}, {"7.3", 6}, {"7.5", 1}, {"7.7", 13}, {"7.9", 9}, {"7.13", 2},
	{"9.1", 6}, {"9.2", 6}, {"9.3", 9}, {"9.4", 9}, {"9.5", 6}, {"9.6", 6}, {"9.7", 6}, {"9.8", 6}, {"10.1", 1},
	{"12.1", 18}, {"12.2", 18}, {"12.3", 18}, {"12.4", 18}, {"12.5", 18},
	{"13.1", 18}, {"13.2", 18}, {"13.3", 18}, {"13.4", 18}, {"13.5", 18}, {"13.6", 18}, {"13.7", 18},
}

// TestEveryAutobahnCase holds the tables to the suite's numbers: each once, in order, and none besides.
func TestEveryAutobahnCase(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, p := range inventory {
		for i := range p.cases {
			want = append(want, fmt.Sprintf("%s.%d", p.part, i+1))
		}
	}
	if len(want) != 517 {
		t.Errorf("the inventory has %d cases, the suite 517", len(want))
	}
	for _, section := range autobahnSections() {
		for _, c := range section {
			got = append(got, c.number)
			if (c.script == nil) != (c.result == declined) {
				t.Errorf("%s: it is run or does not apply, not both", c.number)
			}
		}
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("behind %q the tables have %q, the suite has %q", got[max(i-1, 0)], got[min(i, len(got)-1)], want[min(i, len(want)-1)])
		}
	}
}

// The page in the tree says what the tables say, which TestAutobahn holds the service to.
func TestConformancePage(t *testing.T) {
	t.Parallel()
	page := conformance()
	if *update {
		if err := os.WriteFile(conformancePage, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(conformancePage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, page) {
		t.Error("docs/conformance.md is not what the tables say: run go test ./deliver/socket -run TestConformancePage -update")
	}
}

const preface = `# Conformance

Made from the tables of ` + "`deliver/socket/autobahn_*_test.go` by `go test ./deliver/socket -run TestConformancePage -update`" + `; a test
fails when it is not up to date, another when a case does not end as it says here.

How the service's WebSocket (RFC 6455) does in the 517 cases of the fuzzing client of the
[Autobahn Testsuite](https://github.com/crossbario/autobahn-testsuite), by their numbers there. The suite itself is not run: its cases are
told anew as a client on bare TCP, against the gateway's own poller with an owner that sends every text back. Each case is run as the
suite chops its writes, and once more in single bytes; of more than 4 KiB the first and the last 64 bytes are, and of the thousand
messages of 9.7 ten.

Three things are the service's own:

- **4004.** Whatever breaks the protocol is answered with this one close code and a reason in words, where RFC 6455 names 1002 (a
  fault in the frames), 1003 (binary), 1007 (not UTF-8) and 1009 (too long). The close frame is the last thing that comes, and the
  connection ends in order behind it.
- **Text only.** A binary message is refused at its header.
- **Whole messages.** A text is looked at when it is whole, not at its first bad byte: 6.4.

The cases are run with a limit of 16 MiB on messages. A gateway's is ` + "`sessions.frame_limit`" + `, 32 KiB unless set: a longer message is refused
with 4004 at the header that passes the limit, before any of it is kept. 9.5 and 9.6 send 64 KiB, where the suite sends 1 MiB: they
are about the writes.

`

// conformance makes the page.
func conformance() []byte {
	var b bytes.Buffer
	b.WriteString(preface)
	count := map[result]int{}
	for _, section := range autobahnSections() {
		for _, c := range section {
			count[c.result]++
		}
	}
	b.WriteString("| result | cases |\n|---|---|\n")
	for _, r := range []result{passes, instead2, instead7, late7, textOnly, unjudged, declined} {
		fmt.Fprintf(&b, "| %s | %d |\n", r, count[r])
	}
	titles := map[string]string{
		"1": "Messages", "2": "Pings and pongs", "3": "Reserved bits", "4": "Opcodes", "5": "Fragments", "6": "UTF-8", "7": "Closing",
		"9": "Limits", "10": "Automatic fragments", "12": "Compression",
	}
	for _, section := range autobahnSections() {
		number, _, _ := strings.Cut(section[0].number, ".")
		name := number
		if number == "12" {
			name = "12 and 13"
		}
		fmt.Fprintf(&b, "\n## %s. %s\n\n| case | the client sends | result |\n|---|---|---|\n", name, titles[number])
		for len(section) > 0 {
			n := alike(section)
			numbers := section[0].number
			if n > 1 {
				numbers += "–" + section[n-1].number
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", numbers, section[0].what, section[0].shown())
			section = section[n:]
		}
	}
	return b.Bytes()
}

// alike is how many cases at the front of a list make one line: of one part of the suite, and with nothing to tell between
// them but the bytes.
func alike(list []autobahnCase) int {
	part := regexp.MustCompile(`\.\d+$`)
	n := 1
	for n < len(list) && list[n].what == list[0].what && list[n].shown() == list[0].shown() &&
		part.ReplaceAllString(list[n].number, "") == part.ReplaceAllString(list[0].number, "") {
		n++
	}
	return n
}

// shown is the result, and what came back where the suite leaves that open.
func (c autobahnCase) shown() string {
	switch {
	case c.lossy:
		return string(c.result) + "; answered in order, and with the code of the close frame, but the short text need not come back"
	case c.result == unjudged:
		return string(c.result) + "; answered with the same code"
	}
	return string(c.result)
}
