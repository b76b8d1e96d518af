package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-push/carillon/cmd/internal/app"
)

// dashboard is what is checked of Grafana's.
type dashboard struct {
	Title  string `json:"title"`
	Panels []struct {
		ID         int    `json:"id"`
		Title      string `json:"title"`
		Type       string `json:"type"`
		Datasource struct {
			UID string `json:"uid"`
		} `json:"datasource"`
		GridPos struct{ X, Y, W, H int } `json:"gridPos"`
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	} `json:"panels"`
}

var (
	metricName = regexp.MustCompile(`\b(?:carillon|process|go)_[a-z_]+`)
	metricRow  = regexp.MustCompile("(?m)^\\| `(carillon_[a-z_]+)` \\| ([a-z,]*) \\|")
	byLabels   = regexp.MustCompile(`by \(([a-z, ]+)\)`)
)

// labels are those of every metric of the reference, with what Prometheus adds.
func labels(t *testing.T) map[string][]string {
	t.Helper()
	labels := map[string][]string{}
	for _, row := range metricRow.FindAllStringSubmatch(string(read(t, "docs/reference.md")), -1) {
		labels[row[1]] = append(strings.Split(row[2], ","), "instance", "role", "le")
	}
	return labels
}

// asks holds a query against the metrics that there are.
func asks(t *testing.T, who, expr string, labels map[string][]string) {
	t.Helper()
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 {
		t.Errorf("%s asks for nothing: %s", who, expr)
	}
	for _, name := range names {
		of := strings.TrimSuffix(name, "_bucket")
		if strings.HasPrefix(name, "process_") || strings.HasPrefix(name, "go_") {
			continue
		}
		has, ok := labels[of]
		if !ok {
			t.Errorf("%s asks for %s, which nobody has", who, name)
		}
		for _, by := range byLabels.FindAllStringSubmatch(expr, -1) {
			for _, l := range strings.Split(by[1], ", ") {
				if !slices.Contains(has, l) {
					t.Errorf("%s groups %s by %s, which it has not", who, name, l)
				}
			}
		}
	}
}

// Each alert asks for metrics that there are, says how urgent it is and what it means, and has a section in the runbook;
// Prometheus is given the file. Where promtool is installed it looks at it, too.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	const rules, book = "deploy/prometheus/carillon.rules.yml", "docs/alerts.md"
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(read(t, rules), &file); err != nil {
		t.Fatal(err)
	}
	labels, runbook, alerts := labels(t), string(read(t, book)), map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if alerts[r.Alert] {
				t.Errorf("%s is there twice", r.Alert)
			}
			alerts[r.Alert] = true
			if !strings.HasPrefix(r.Expr, "up") && !strings.Contains(r.Expr, "(up{") {
				asks(t, r.Alert, r.Expr, labels)
			}
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s is %q", r.Alert, s)
			}
			if r.For == "" && !strings.Contains(r.Expr, "increase(") || r.Annotations["summary"] == "" {
				t.Errorf("%s has neither a time nor a meaning: %+v", r.Alert, r)
			}
			if r.Annotations["runbook"] != book+"#"+strings.ToLower(r.Alert) || !strings.Contains(runbook, "\n## "+r.Alert+"\n") {
				t.Errorf("%s leads to %q, where nothing is", r.Alert, r.Annotations["runbook"])
			}
		}
	}
	for _, heading := range regexp.MustCompile(`(?m)^## (Carillon\w+)$`).FindAllStringSubmatch(runbook, -1) {
		if !alerts[heading[1]] {
			t.Errorf("%s is about %s, which is no alert", book, heading[1])
		}
	}
	if len(alerts) < 15 || !strings.Contains(string(read(t, "deploy/prometheus/prometheus.yml")), "rule_files: ["+path.Base(rules)+"]") ||
		!slices.Contains(readCompose(t).Services["prometheus"].Volumes, "./deploy/prometheus:/etc/prometheus:ro") {
		t.Error("Prometheus is not given the alerts")
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.CommandContext(t.Context(), promtool, "check", "config", filepath.Join(top, "deploy/prometheus/prometheus.yml")).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
}

// Each query asks for metrics that there are, by labels that they have.
func TestDashboardAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	labels := labels(t)
	var d dashboard
	if err := json.Unmarshal(read(t, "deploy/grafana/dashboards/carillon.json"), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) < 15 || len(labels) < 20 {
		t.Fatalf("%d panels, %d metrics", len(d.Panels), len(labels))
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if other, ok := taken[[2]int{p.GridPos.X, p.GridPos.Y}]; ok || ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is where %q is", p.Title, other)
		}
		taken[[2]int{p.GridPos.X, p.GridPos.Y}], ids[p.ID] = p.Title, true
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "prometheus" || len(p.Targets) == 0 {
			t.Errorf("panel %q asks %q", p.Title, p.Datasource.UID)
		}
		for _, q := range p.Targets {
			asks(t, "panel "+p.Title, q.Expr, labels)
		}
	}
	provider := string(read(t, "deploy/grafana/provisioning/dashboards/carillon.yml"))
	source := string(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml"))
	if !strings.Contains(provider, "/var/lib/grafana-dashboards") || !strings.Contains(source, "uid: prometheus") || !strings.Contains(source, "http://prometheus:9090") {
		t.Error("Grafana is not provisioned with the dashboard or its source")
	}
}

// Prometheus finds every service that runs carillon.
func TestPrometheusScrapesEveryService(t *testing.T) {
	t.Parallel()
	var p struct {
		Scrape []struct {
			Path string `yaml:"metrics_path"`
			DNS  []struct {
				Names []string `yaml:"names"`
				Type  string   `yaml:"type"`
				Port  int      `yaml:"port"`
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(read(t, "deploy/prometheus/prometheus.yml"), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Scrape) != 1 || len(p.Scrape[0].DNS) != 1 || p.Scrape[0].Path != "/metrics" || p.Scrape[0].DNS[0].Port != 8080 || p.Scrape[0].DNS[0].Type != "A" {
		t.Fatalf("got %+v", p)
	}
	for name, s := range readCompose(t).Services {
		if s.Build != "" && !slices.Contains(p.Scrape[0].DNS[0].Names, name) {
			t.Errorf("service %s is not scraped", name)
		}
	}
}

// manifest is what is checked here of Kubernetes' objects; their fields are held against its API in deploy/testdata/check.
type manifest struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Template struct {
			Spec struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []struct {
					Args []string `yaml:"args"`
					Env  []struct {
						Name      string `yaml:"name"`
						Value     string `yaml:"value"`
						ValueFrom any    `yaml:"valueFrom"`
					} `yaml:"env"`
					Ports     []port `yaml:"ports"`
					Readiness probe  `yaml:"readinessProbe"`
					Liveness  probe  `yaml:"livenessProbe"`
				} `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type port struct {
	Name string `yaml:"name"`
}

type probe struct {
	HTTPGet struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

// Every role has a workload, a disruption budget and, unless it is the broker, an autoscaler; its variables are keys of the
// configuration, and no secret is among them.
func TestKubernetesRunsEveryRole(t *testing.T) {
	t.Parallel()
	for _, role := range append([]string{"broker"}, roleNames()...) {
		kinds := map[string]bool{}
		docs := yaml.NewDecoder(bytes.NewReader(read(t, "deploy/kubernetes/"+role+".yaml")))
		for {
			var m manifest
			err := docs.Decode(&m)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", role, err)
			}
			kinds[m.Kind] = true
			if m.Metadata.Name != "carillon-"+role {
				t.Errorf("%s: a %s is called %s", role, m.Kind, m.Metadata.Name)
			}
			for _, c := range m.Spec.Template.Spec.Containers {
				if !slices.Equal(c.Args, []string{role}) {
					t.Errorf("%s runs %v", role, c.Args)
				}
				if _, _, err := root().Find(c.Args); err != nil {
					t.Errorf("%s: %v", role, err)
				}
				if m.Spec.Template.Spec.Grace < 30 {
					t.Errorf("%s has %d seconds to end", role, m.Spec.Template.Spec.Grace)
				}
				if c.Readiness.HTTPGet.Path != "/readyz" || c.Liveness.HTTPGet.Path != "/healthz" || !slices.ContainsFunc(c.Ports, func(p port) bool { return p.Name == c.Readiness.HTTPGet.Port }) {
					t.Errorf("%s is asked %+v and %+v", role, c.Readiness, c.Liveness)
				}
				for _, e := range c.Env {
					secret := strings.Contains(e.Name, "PASSWORD") || e.Name == "CARILLON_APPS"
					if strings.HasPrefix(e.Name, "CARILLON_") && !known(e.Name) {
						t.Errorf("%s: %s is no key of the configuration", role, e.Name)
					}
					if secret && (e.Value != "" || e.ValueFrom == nil) {
						t.Errorf("%s: %s is no secret", role, e.Name)
					}
				}
			}
		}
		if !kinds["PodDisruptionBudget"] || kinds["HorizontalPodAutoscaler"] == (role == "broker") || !kinds["StatefulSet"] && !kinds["Deployment"] {
			t.Errorf("%s has %v", role, kinds)
		}
		if !strings.Contains(string(read(t, "deploy/kubernetes/kustomization.yaml")), role+".yaml") {
			t.Errorf("kustomization.yaml leaves out %s", role)
		}
	}
}

func roleNames() (names []string) {
	for _, r := range app.Roles() {
		names = append(names, string(r))
	}
	return names
}
