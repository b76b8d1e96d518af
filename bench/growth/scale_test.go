package growth

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/carillon-push/carillon/bench/report"
)

var update = flag.Bool("update", false, "write the tables of docs/scale.md anew")

const page = "../../docs/scale.md"

// The page's tables are the model's.
func TestScalePage(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, part := range []struct{ name, table string }{
		{"constants", constantsTable()}, {"fleet", fleetTable()}, {"push", pushTable()}, {"limits", limitsTable()}, {"check", checkTable()},
	} {
		begin, end := "<!-- "+part.name+" -->\n", "<!-- end of "+part.name+" -->"
		before, rest, found := strings.Cut(text, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no place for %s", page, part.name)
		}
		text = before + begin + part.table + end + after
	}
	if text == string(b) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the model says: go test ./bench/growth -run ScalePage -update", page)
	}
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// short is a number with three digits.
func short(v float64) string { return report.Text(roundTo(v, 3)) }

// few says of next to nothing that it is so.
func few(v float64) string {
	if v < 0.01 {
		return "under 0.01"
	}
	return short(v)
}

func roundTo(v float64, digits int) float64 {
	var r float64
	if _, err := fmt.Sscanf(fmt.Sprintf("%.*g", digits, v), "%g", &r); err != nil {
		return v
	}
	return r
}

func constantsTable() string {
	var b strings.Builder
	b.WriteString("| | | from the figure |\n|---|---|---|\n")
	for _, c := range constants {
		fmt.Fprintf(&b, "| %s | %s %s | %s |\n", c.of, report.Text(c.value), c.unit, c.figure)
	}
	return b.String()
}

func fleetTable() string {
	var b strings.Builder
	b.WriteString("| role | memory | cores busy on average | machines | because of |\n|---|---|---|---|---|\n")
	sum := 0.0
	for _, n := range HundredMillion().needs() {
		fmt.Fprintf(&b, "| %s | %s GiB | %s | %s | %s |\n", n.role, short(n.gib), few(n.cores), short(n.machines), n.because)
		sum += n.machines
	}
	fmt.Fprintf(&b, "| all | | | %s | |\n", short(sum))
	return b.String()
}

func pushTable() string {
	d := HundredMillion()
	var b strings.Builder
	b.WriteString("| a push to | all | one in ten, at random | one in a hundred, at random |\n|---|---|---|---|\n")
	row := func(what, unit string, of func(share float64, p Push) float64) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, share := range []float64{1, 0.1, 0.01} {
			fmt.Fprintf(&b, " %s %s |", short(of(share, d.Push(share))), unit)
		}
		b.WriteString("\n")
	}
	row("CPU of the brokers", "s", func(_ float64, p Push) float64 { return p.Broker / 1000 })
	row("CPU of the matchers that work on it", "s", func(_ float64, p Push) float64 { return p.Matcher / 1000 })
	row("CPU of all gateways", "s", func(_ float64, p Push) float64 { return p.Deliver / 1000 })
	row("CPU of the offline workers", "s", func(_ float64, p Push) float64 { return p.Offline / 1000 })
	row("a gateway writes to its sessions for", "s", func(s float64, _ Push) float64 { return d.gateway(s) })
	row("messages through the broker", "", func(_ float64, p Push) float64 { return p.Messages })
	row("bytes through the broker", "MB", func(_ float64, p Push) float64 { return p.Bytes / 1e6 })
	row("of these, bitmaps of audiences", "MB", func(s float64, _ Push) float64 { return d.Audience(s) * (2 + d.Gateways + d.Fleet.Offline) / 1e6 })
	row("disk, all replicas", "MB", func(_ float64, p Push) float64 { return p.Stored / 1e6 })
	return b.String()
}

func limitsTable() string {
	d := HundredMillion()
	pushes, bitmaps := d.live()
	m := d.Memory(pushes, bitmaps)
	disk := m.Disk + 8*(d.PushesToAll*d.Push(1).Stored+d.PushesToSome*d.Push(d.Some).Stored)
	var b strings.Builder
	b.WriteString("| | |\n|---|---|\n")
	fmt.Fprintf(&b, "| accounts of one app that fit into the three servers with its names | %s million |\n", short(d.names()/1e6))
	fmt.Fprintf(&b, "| memory of all names, on each of three servers | %s GiB, of %s GiB |\n", short(m.Accounts/1024), short(d.GiB*d.Usable))
	fmt.Fprintf(&b, "| live pushes, and what their bitmaps take in an offline worker that holds all shards | %s, %s GiB |\n", short(pushes), short(bitmaps/(1<<30)))
	fmt.Fprintf(&b, "| disk of all servers together: accounts, and eight days of pushes | %s GB |\n", short(disk/1e9))
	fmt.Fprintf(&b, "| while idle: CPU of the brokers | %s cores |\n", short(d.idle()))
	servers := 0.0
	for _, n := range d.needs() {
		if n.role == "broker" {
			servers = n.machines
		}
	}
	fmt.Fprintf(&b, "| cold start of a broker with all names and its part of the records | %s s |\n", short(d.Users/1e6*brokerStart.value*(1+d.Replicas/servers)/2))
	fmt.Fprintf(&b, "| cold start of matchers on four machines from their snapshots, one shard after the other | %s s |\n", short(2*d.Shards()/4*snapshotStart.value))
	return b.String()
}

func checkTable() string {
	f := Default().Check.Fleet()
	var b strings.Builder
	b.WriteString("| | predicted | measured | predicted / measured |\n|---|---|---|---|\n")
	for _, x := range largest.against(f.Predict(float64(Default().Check.Pushes + 1))) {
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s |\n", x.what, short(x.predicted), x.unit, short(x.measured), short(x.predicted/x.measured))
	}
	return b.String()
}
