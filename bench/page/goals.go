package page

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/carillon-push/carillon/bench/report"
)

// Goal is what Carillon wants to reach in one matter, and the figures that say how far it is. They are chosen by their names, so
// that the code that measures knows nothing of the page.
type Goal struct {
	ID, Text string
	Answers  []Answer
	// Open is a part that nothing measures, and why; empty where there is none.
	Open string
}

// Answer is the figures of a section whose names match; at least one does.
type Answer struct {
	Section string
	Names   *regexp.Regexp
}

func by(section, names string) Answer { return Answer{section, regexp.MustCompile(names)} }

// Goals are in the order of the page.
var Goals = []Goal{
	{
		ID: "fan-out", Text: "One push to 19,000 sessions, messages a CPU-second of the server: ≥ 0.95 × a bare `sendto` loop, ≥ 2.5 × centrifuge, ≥ 2 × goim",
		Answers: []Answer{by("fanout", `^carillon serve: fan-out of one push .* against (a bare sendto loop|centrifuge)`), by("fanout", `^deliver/socket: fan-out of one push`)},
		Open:    "against goim: it is a service of several processes with a Kafka of its own, and no library to link",
	},
	{
		ID: "burst", Text: "Ten pushes that wait together: ≥ 6 × one after the other, ≥ 8 × centrifuge",
		Answers: []Answer{by("fanout", `^(carillon serve|deliver/socket): fan-out of 10 pushes .* (a bare sendto for each|which gathers for 5ms)`)},
	},
	{
		ID: "idle-session", Text: "Resident memory an idle session, of the whole process: ≤ 512 bytes, over TLS ≤ 16 KB",
		Answers: []Answer{by("fanout", `^(carillon serve|deliver/socket): resident memory an idle session, `), by("fanout", `resident memory an idle session over TLS`)},
	},
	{
		ID: "stalled", Text: "A tenth of the clients read nothing: the others' p99 ≤ 1.2 × that without them (a ratio of 1 / 1.2)",
		Answers: []Answer{by("stalled", `one in 10 of which is stalled, p99`)},
	},
	{
		ID: "latency", Text: "From the answer 200 to the last of 10,000 sessions, all roles in one process: p50 ≤ 80 ms, p99 ≤ 150 ms; to one idle session p50 ≤ 3 ms",
		Answers: []Answer{by("latency", `to the last of [\d,]+ sessions, .*p50`), by("latency", `to the last of [\d,]+ sessions, .*p99`), by("latency", `to one idle session, p50`)},
	},
	{
		ID: "match-and", Text: "Whom two attributes hold for, of 10 million users on one core: p99 ≤ 2 ms",
		Answers: []Answer{by("match", `^matching over [^:]*: AttrsAnd of 2, .*p99`)},
	},
	{
		ID: "match-or", Text: "The same of one of ten, nested, and with NOT: p99 ≤ 5 ms",
		Answers: []Answer{by("match", `^matching over [^:]*: (TagsOr of 10|AttrsOr of 10|nested, with NOT).*p99`)},
	},
	{
		ID: "match-postgresql", Text: "The same against PostgreSQL (GIN, btree): ≥ 50 × on most forms",
		Answers: []Answer{by("match", `PostgreSQL`)},
	},
	{
		ID: "match-redis", Text: "The same against Redis with dense bitmaps (BITOP): ≥ 1 × on every form",
		Answers: []Answer{by("match", `Redis`)},
	},
	{
		ID: "index-memory", Text: "The index with all that belongs to it, of 10 million users: ≤ 100 bytes a user",
		Answers: []Answer{by("match", `^index memory`)},
	},
	{
		ID: "index-updates", Text: "Updates of the index while it is matched: ≥ 500,000 a second a writer",
		Answers: []Answer{by("match", `^index updates`)},
	},
	{
		ID: "cold-start", Text: "A matcher that is given a full shard of 1 million users: ≤ 0.5 s from a snapshot, ≤ 5 s from the log",
		Answers: []Answer{by("takeover", `from a snapshot`), by("takeover", `from the log`)},
	},
	{
		ID: "pending", Text: "What a push to 1 million offline users leaves behind: ≤ 1 MB, ≤ 50 ms until durable, ≥ 300 × less than an entry each",
		Answers: []Answer{by("pending", `^pending state .*bytes on the broker`), by("pending", `^pending state .*until durable`)},
	},
	{
		ID: "logins", Text: "Logins with an inbox over 700 live pushes: ≥ 30,000 a second, p99 ≤ 10 ms",
		Answers: []Answer{by("logins", `^requests for an inbox`)},
	},
	{
		ID: "receipts", Text: "Acknowledgements a core: ≥ 2 million in the fold, ≥ 200,000 frames on the wire",
		Answers: []Answer{by("receipts", `^acknowledgements folded`), by("receipts", `a frame each`)},
	},
	{
		ID: "import", Text: "Durable before the answer: ≥ 50,000 users a second imported in bulk, ≥ 10,000 changes of tags a second by REST",
		Answers: []Answer{by("rest", `^accounts imported`), by("rest", `^tags added`)},
	},
	{
		ID: "acceptance", Text: "A push accepted, durable: p50 ≤ 3 ms, p99 ≤ 15 ms while accounts are imported",
		Answers: []Answer{by("rest", `^push acceptance, .*p50`), by("rest", `^push acceptance while .*p99`)},
	},
	{
		ID: "failover", Text: "A process is killed: pushes flow again after ≤ 1 s, where it was the broker's leader ≤ 6 s, and nothing is lost",
		Answers: []Answer{by("failover", `kill -9`)},
	},
	{
		ID: "chaos", Text: "Pairs of a push and a user checked under chaos: ≥ 10 million, none lost, none to a stranger, repeats only where the promise allows them",
		Answers: []Answer{by("chaos", `^chaos: `)},
	},
	{
		ID: "start", Text: "The whole system started in a test: ≤ 300 ms",
		Answers: []Answer{by("start", `^start of the whole system`)},
	},
	{
		ID: "tests", Text: "`make test` on two cores, with warm caches: ≤ 3 minutes",
		Answers: []Answer{by("tests", `^make test`)},
	},
}

// figures of the sections that answer a goal, without repetition, and the answers that have none.
func (g Goal) figures(sections []Section) (list []report.Figure, missing []Answer) {
	seen := make(map[string]bool)
	for _, a := range g.Answers {
		found := false
		for _, s := range sections {
			for _, f := range s.Figures {
				if s.Name != a.Section || !a.Names.MatchString(f.Name) {
					continue
				}
				found = true
				if !seen[f.Name] {
					seen[f.Name] = true
					list = append(list, f)
				}
			}
		}
		if !found {
			missing = append(missing, a)
		}
	}
	return list, missing
}

// Unanswered are the goals, or parts of them, that the sections have no figure for, a sentence each; those of sections that were
// left out do not count.
func Unanswered(sections []Section, leftOut []string) []string {
	var list []string
	for _, g := range Goals {
		_, missing := g.figures(sections)
		for _, a := range missing {
			if !slices.Contains(leftOut, a.Section) {
				list = append(list, fmt.Sprintf("goal %s: no figure of %s is named %s", g.ID, a.Section, a.Names))
			}
		}
	}
	return list
}

// goalTable is the truth at a glance.
func goalTable(sections []Section) string {
	var b strings.Builder
	met, asked := 0, 0
	for _, g := range Goals {
		list, missing := g.figures(sections)
		first := g.Text
		row := func(cells ...string) {
			fmt.Fprintf(&b, "| %s | %s |\n", cell(first), strings.Join(cells, " | "))
			first = ""
		}
		for _, f := range list {
			if f.Goal != "" {
				asked++
			}
			if f.Goal != "" && f.Met {
				met++
			}
			row(cell(f.Name), f.Spread()+" "+cell(f.Unit), number(f.Ratio), f.Goal, verdict(f))
		}
		for _, a := range missing {
			row("not measured: nothing of `"+a.Section+"` says it", "", "", "", "**?**")
		}
		if g.Open != "" {
			row("not measured: "+cell(g.Open), "", "", "", "**?**")
		}
	}
	return fmt.Sprintf("Of %d figures that are held against a goal here, %d meet it.\n\n| goal | figure | value | ratio | wanted | met |\n|---|---|---|---|---|---|\n%s",
		asked, met, b.String())
}

func verdict(f report.Figure) string {
	switch {
	case f.Goal == "":
		return ""
	case f.Met:
		return "yes"
	}
	return "**no**"
}
