package native

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/carillon-push/carillon/pkg/broker/brokertest"
)

// spec is openapi.json, with what is needed to hold answers to it.
type spec struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
}

var loadSpec = sync.OnceValue(func() *spec {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi))
	if err != nil {
		panic(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("openapi.json", doc); err != nil {
		panic(err)
	}
	return &spec{doc: doc.(map[string]any), compiler: c, schemas: map[string]*jsonschema.Schema{}}
})

// at gives what a JSON pointer leads to, through references; place is where it stands.
func (s *spec) at(place string) (any, string) {
	var v any = s.doc
	for _, step := range strings.Split(strings.TrimPrefix(place, "/"), "/") {
		m, isObject := v.(map[string]any)
		if !isObject {
			return nil, place
		}
		v = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	if m, isObject := v.(map[string]any); isObject {
		if ref, isRef := m["$ref"].(string); isRef {
			return s.at(strings.TrimPrefix(ref, "#"))
		}
	}
	return v, place
}

// valid checks JSON against the schema at a place.
func (s *spec) valid(place string, raw []byte) error {
	s.mu.Lock()
	schema := s.schemas[place]
	if schema == nil {
		var err error
		if schema, err = s.compiler.Compile("openapi.json#" + place); err != nil {
			s.mu.Unlock()
			return err
		}
		s.schemas[place] = schema
	}
	s.mu.Unlock()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// pathOf finds the path of the description that a request's path is of.
func (s *spec) pathOf(path string) string {
	f := strings.Split(path, "/")
	for p := range s.doc["paths"].(map[string]any) {
		g := strings.Split(p, "/")
		if len(g) == len(f) && slices.EqualFunc(f, g, func(a, b string) bool { return a == b || strings.HasPrefix(b, "{") }) {
			return p
		}
	}
	return ""
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// documented checks that an answer, its status and its form are in the description, and that a body which was taken is
// what the description lets one send.
func documented(t testing.TB, req *http.Request, res answer, body string) {
	t.Helper()
	s := loadSpec()
	path := s.pathOf(req.URL.EscapedPath())
	operation := "/paths/" + escape.Replace(path) + "/" + strings.ToLower(req.Method)
	if o, _ := s.at(operation); path == "" || o == nil {
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed && !strings.HasPrefix(req.URL.Path, "/v1/openapi") && req.URL.Path != "/v1/docs" {
			t.Errorf("%s %s is not described, and answers %d", req.Method, req.URL.Path, res.StatusCode)
		}
		return
	}
	r, place := s.at(operation + "/responses/" + strconv.Itoa(res.StatusCode))
	if r == nil {
		t.Errorf("%s %s answers %d, which is not described: %s", req.Method, req.URL.Path, res.StatusCode, res.raw)
		return
	}
	content, _ := r.(map[string]any)["content"].(map[string]any)
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if (len(res.raw) > 0) != (content != nil) || content != nil && content[kind] == nil {
		t.Errorf("%s %s answers %d with %q of %d bytes, described are %v", req.Method, req.URL.Path, res.StatusCode, kind, len(res.raw), content)
		return
	}
	if content != nil {
		if err := s.valid(place+"/content/"+escape.Replace(kind)+"/schema", res.raw); err != nil {
			t.Errorf("%s %s answers %s: %v", req.Method, req.URL.Path, res.raw, err)
		}
	}
	if taken, _ := s.at(operation + "/requestBody"); taken != nil && res.StatusCode < 300 && body != "" {
		if err := s.valid(operation+"/requestBody/content/application~1json/schema", []byte(body)); err != nil {
			t.Errorf("%s %s took %s, which the description does not allow: %v", req.Method, req.URL.Path, body, err)
		}
	}
}

// The description has every operation that is mounted, with its role, and no other.
func TestDescriptionHasTheOperations(t *testing.T) {
	t.Parallel()
	described := map[string]string{}
	for path, methods := range loadSpec().doc["paths"].(map[string]any) {
		for method, o := range methods.(map[string]any) {
			o := o.(map[string]any)
			described[o["operationId"].(string)] = strings.ToUpper(method) + " " + path + " " + o["x-role"].(string)
		}
	}
	for _, o := range (&Native{}).table() {
		path := o.path
		for _, name := range []string{"account", "id", "device"} {
			path = strings.ReplaceAll(path, ":"+name, "{"+name+"}")
		}
		if want := o.method + " " + path + " " + string(o.role); described[o.id] != want {
			t.Errorf("%s is described as %q, want %q", o.id, described[o.id], want)
		}
		if body, _ := loadSpec().at("/paths/" + escape.Replace(path) + "/" + strings.ToLower(o.method) + "/requestBody"); (body != nil) != o.hasBody {
			t.Errorf("%s: body described %t, read %t", o.id, body != nil, o.hasBody)
		}
		delete(described, o.id)
	}
	if len(described) > 0 {
		t.Errorf("described, and not mounted: %v", described)
	}
}

// Every example is one that the schema allows, and that is taken.
func TestExamplesAreTaken(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	a.attributes("city", "left")
	matcherOf(a)
	ok[account](a, 201, "PUT", "/v1/accounts/news", "")
	for path, methods := range loadSpec().doc["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			examples, _ := loadSpec().at("/paths/" + escape.Replace(path) + "/" + method + "/requestBody/content/application~1json/examples")
			if examples == nil || path == "/v1/attributes" {
				continue
			}
			for name, e := range examples.(map[string]any) {
				url := strings.NewReplacer("{account}", "news", "{id}", "1").Replace(path)
				if res := a.do(strings.ToUpper(method), url, js(e.(map[string]any)["value"])); res.StatusCode >= 300 {
					t.Errorf("the example %q of %s %s: %d %s", name, method, path, res.StatusCode, res.raw)
				}
			}
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t)).as("")
	res := a.do("GET", "/v1/openapi.json", "")
	var doc struct{ OpenAPI string }
	if err := json.Unmarshal(res.raw, &doc); err != nil || res.StatusCode != 200 || doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi.json: %d %.100s, %v", res.StatusCode, res.raw, err)
	}
	page := a.do("GET", "/v1/docs", "")
	if page.StatusCode != 200 || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
		t.Errorf("docs: %d %s", page.StatusCode, page.Header)
	}
	for _, o := range a.operations {
		if !bytes.Contains(page.raw, []byte(`id="`+o.id+`"`)) {
			t.Errorf("the page has nothing of %s", o.id)
		}
	}
	for _, outside := range []string{"<script", "src=", "http://", "https://", "@import"} {
		if bytes.Contains(page.raw, []byte(outside)) {
			t.Errorf("the page loads something: %s", outside)
		}
	}
}
