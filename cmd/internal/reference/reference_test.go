package reference_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/deliver"
	"github.com/carillon-push/carillon/deliver/callback"
	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/notify"
	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/ingest/native"
	"github.com/carillon-push/carillon/matcher"
	"github.com/carillon-push/carillon/offline"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/tracing"
	"github.com/carillon-push/carillon/pkg/wire"
)

var update = flag.Bool("update", false, "write docs/reference.md anew")

const (
	root = "../../../"
	page = root + "docs/reference.md"
)

// The page in the tree says everything that the code defines, and nothing else.
func TestReferencePageIsComplete(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString("# Reference\n\nMade from the code by `go test ./cmd/internal/reference -update`; a test fails when it is not up to date.\n")
	keys(&b)
	channels(t, &b)
	metrics(t, &b)
	streams(&b)
	subjects(t, &b)
	codes(t, &b)
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/reference.md is not what the code says: run go test ./cmd/internal/reference -update")
	}
}

func keys(b *bytes.Buffer) {
	b.WriteString("\n## Configuration keys\n\nEach is a key of the file, a flag, and an environment variable; the later the stronger.\n\n| key | variable | default | |\n|---|---|---|---|\n")
	for _, k := range config.Keys() {
		fmt.Fprintf(b, "| `%s` | `%s` | `%v` | %s |\n", k.Name, k.Env(), k.Default, k.Usage)
	}
	b.WriteString("\nOf each element of `apps`:\n\n| key | default | |\n|---|---|---|\n")
	for _, k := range config.AppKeys() {
		def := "required"
		if k.Default != nil {
			def = fmt.Sprintf("`%v`", k.Default)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", k.Name, def, k.Usage)
	}
}

// channels are the keys of the sections of channels, with what the comments of the fields say that they set.
func channels(t *testing.T, b *bytes.Buffer) {
	b.WriteString("\n## Channels\n\nOf a section of an app's `channels`, beside the limits below. A secret may be given as the path of a file that has it, and nothing else, under the key with `_file` behind it, or as the name of an environment variable with `_env`. Files are read again when they change.\n")
	row := func(k config.ChannelKey, doc, more string) {
		def := "`" + k.Default + "`"
		if k.Default == "" {
			def = ""
		}
		fmt.Fprintf(b, "| `%s` | %s | %s%s |\n", k.Name, def, strings.ReplaceAll(doc, "|", "\\|"), more)
	}
	var limits []config.ChannelKey
	for _, kind := range config.ChannelKinds() {
		own, of := kind.Keys()
		if len(of) > len(limits) {
			limits = of
		}
		fmt.Fprintf(b, "\n### `%s`\n", kind.Name)
		docs := fieldDocs(t, "deliver/channel/"+kind.Name, "Config")
		fmt.Fprintf(b, "\n%s\n\n| key | default | |\n|---|---|---|\n", docs[""])
		for _, k := range own {
			more := ""
			if kind.Secret(k) {
				more = fmt.Sprintf(" Or `%s_file`, `%s_env`.", k.Name, k.Name)
			}
			row(k, docs[k.Field], more)
		}
	}
	b.WriteString("\n### Limits of every channel\n\n| key | default | |\n|---|---|---|\n")
	docs := fieldDocs(t, "deliver/channel", "Limits")
	for _, k := range limits {
		row(k, docs[k.Field], "")
	}
}

// fieldDocs are the comments of a struct's fields, by name, and its own under "". Fields of one line share theirs.
func fieldDocs(t *testing.T, dir, of string) map[string]string {
	t.Helper()
	docs := map[string]string{}
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(syntax, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			spec := decl.Specs[0].(*ast.TypeSpec)
			if spec.Name.Name != of {
				return true
			}
			docs[""] = strings.Join(strings.Fields(decl.Doc.Text()), " ")
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				for _, name := range f.Names {
					if docs[name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " "); docs[name.Name] == "" {
						t.Errorf("%s.%s in %s has no comment", of, name.Name, dir)
					}
				}
			}
			return false
		})
	}
	if len(docs) == 0 {
		t.Errorf("%s has no %s", dir, of)
	}
	return docs
}

// catcher sees what is registered on it.
type catcher struct {
	prometheus.Registerer
	descs []string
}

func (c *catcher) Register(m prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 64)
	m.Describe(ch)
	close(ch)
	for d := range ch {
		c.descs = append(c.descs, d.String())
	}
	return nil
}

func (c *catcher) MustRegister(ms ...prometheus.Collector) {
	for _, m := range ms {
		_ = c.Register(m)
	}
}

var desc = regexp.MustCompile(`fqName: "(.*?)", help: "(.*?)"(?:, unit: ".*?")?, constLabels: \{.*?\}, variableLabels: \{(.*?)\}`)

func metrics(t *testing.T, b *bytes.Buffer) {
	c := &catcher{}
	log := slog.New(slog.DiscardHandler)
	icfg := ingest.Default()
	icfg.Apps = []ingest.App{{ID: 1, Keys: []string{"k"}, Admins: []string{"a"}}}
	if _, err := ingest.New(icfg, nil, c, log); err != nil {
		t.Fatal(err)
	}
	c.MustRegister((*broker.Broker)(nil).Collector())
	tcfg := tracing.Default()
	tcfg.Endpoint = "http://collector:4318"
	if _, err := tracing.New(tcfg, c, log); err != nil {
		t.Fatal(err)
	}
	if _, err := app.NewMetrics(c); err != nil {
		t.Fatal(err)
	}
	ncfg := native.Default()
	ncfg.Apps = []native.App{{ID: 1, Keys: []string{"k"}, Admins: []string{"a"}}}
	if _, err := native.New(ncfg, nil, c, log); err != nil {
		t.Fatal(err)
	}
	if _, err := matcher.New(matcher.Default(), nil, c, log); err != nil {
		t.Fatal(err)
	}
	if _, err := deliver.New(deliver.Default(), nil, c, log); err != nil {
		t.Fatal(err)
	}
	if _, err := channel.NewMetrics(c); err != nil {
		t.Fatal(err)
	}
	if _, err := callback.New(callback.Default(), nil, c, log); err != nil {
		t.Fatal(err)
	}
	if _, err := notify.New(notify.Default(), nil, c, log); err != nil {
		t.Fatal(err)
	}
	if _, err := offline.New(offline.Default(), nil, c, log); err != nil {
		t.Fatal(err)
	}
	sort.Strings(c.descs)
	b.WriteString("\n## Metrics\n\nAt `/metrics` of every process, beside those of the Go runtime and the process.\n\n| metric | labels | |\n|---|---|---|\n")
	for _, d := range c.descs {
		f := desc.FindStringSubmatch(d)
		if f == nil {
			t.Fatalf("metric %s", d)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f[1], f[3], f[2])
	}
}

func streams(b *bytes.Buffer) {
	b.WriteString("\n## Streams on the broker\n\n| stream | subjects | kept | |\n|---|---|---|---|\n")
	kept := func(d time.Duration) string {
		if d == 0 {
			return "for ever"
		}
		if d < time.Minute {
			return d.String()
		}
		return fmt.Sprintf("%g d", d.Hours()/24)
	}
	row := func(s wire.Stream) {
		var notes []string
		if s.Queue {
			notes = append(notes, "a work queue: a message goes once it is done")
		}
		if s.LastOnly {
			notes = append(notes, "the last message of each subject")
		}
		if s.Memory {
			notes = append(notes, "in memory")
		}
		if s.Counters {
			notes = append(notes, "counters")
		}
		if s.PerMessageTTL {
			notes = append(notes, "messages with their own TTL")
		}
		if s.Batches {
			notes = append(notes, "atomic batches")
		}
		if s.Duplicates > 0 {
			notes = append(notes, fmt.Sprintf("message ids recognised for %s", s.Duplicates))
		}
		if s.Consumers > 0 {
			notes = append(notes, fmt.Sprintf("up to %d consumers", s.Consumers))
		}
		if s.Source != nil {
			notes = append(notes, fmt.Sprintf("sources `%s` of %s by a durable consumer", s.Source.Filter, s.Source.Stream))
		}
		fmt.Fprintf(b, "| %s | `%s` | %s | %s |\n", s.Name, strings.Join(s.Subjects, "`, `"), kept(s.MaxAge), strings.Join(notes, "; "))
	}
	row(wire.Accounts(1))
	row(wire.Users(1, 0))
	row(wire.Devices(1))
	for _, s := range wire.Fixed(config.Default().Retention.Pushes) {
		row(s)
	}
	for _, k := range wire.Buckets(config.Default().Retention.Tasks) {
		note := "bucket"
		if k.PerMessageTTL {
			note += "; entries with their own TTL"
		}
		if k.Consumers > 0 {
			note += fmt.Sprintf("; up to %d consumers", k.Consumers)
		}
		fmt.Fprintf(b, "| KV_%s | `$KV.%s.>` | %s | %s |\n", k.Name, k.Name, kept(k.MaxAge), note)
	}
	o := wire.Indexes()
	fmt.Fprintf(b, "| %s | `%s` | %s | bucket of objects |\n", o.Stream(), strings.Join(o.Subjects(), "`, `"), kept(o.MaxAge))
	b.WriteString("\n`ACCOUNTS_1` and `USERS_1_0` stand for those of app 1 and its shard 0. PUSHES, AUDIENCES and RECEIPTS are kept as `retention.pushes` says, TASKS as `retention.tasks`.\n")
}

// subjects are the functions of pkg/wire that make them, with what their comments say.
func subjects(t *testing.T, b *bytes.Buffer) {
	b.WriteString("\n## Subjects\n\nMade and read by `pkg/wire` alone.\n\n| function | |\n|---|---|\n")
	f, err := parser.ParseFile(token.NewFileSet(), root+"pkg/wire/subjects.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasSuffix(fn.Name.Name, "Subject") && !strings.HasSuffix(fn.Name.Name, "Filter") || strings.HasPrefix(fn.Name.Name, "Is") || strings.HasPrefix(fn.Name.Name, "Parse") {
			continue
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", fn.Name.Name, strings.Join(strings.Fields(fn.Doc.Text()), " "))
	}
}

// codes are the constants of ingest/codes.go and the close codes of pkg/wire, with their comments.
func codes(t *testing.T, b *bytes.Buffer) {
	b.WriteString("\n## Codes of the REST interface\n\nThe HTTP status is 200 but for a body over `http.body_limit` (413).\n\n| ErrorCode | |\n|---|---|\n")
	constants(t, b, root+"ingest/codes.go", "Code")
	b.WriteString("\n## Close codes of sessions\n\n| code | |\n|---|---|\n")
	constants(t, b, root+"pkg/wire/frames.go", "CloseCode")
	b.WriteString("\nA login is refused with HTTP 401 (signature), 403 (app, account), 429 (the gateway is full), 400 or 426 (not a WebSocket request), or 503 (try again), and the three fields of the REST interface as JSON.\n")
}

func constants(t *testing.T, b *bytes.Buffer, file, typ string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != typ {
			return true
		}
		lit, ok := v.Values[0].(*ast.BasicLit)
		if !ok || lit.Value == "0" {
			return true
		}
		if v.Comment == nil {
			t.Errorf("%s: %s has no comment to document it", file, v.Names[0].Name)
			return true
		}
		fmt.Fprintf(b, "| %s | %s |\n", lit.Value, strings.TrimSpace(v.Comment.Text()))
		return true
	})
}
