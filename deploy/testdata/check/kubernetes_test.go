// Package check holds the manifests against the types of the Kubernetes API itself. It is a module of its own, so that
// Carillon does not depend on them: cd deploy/testdata/check && go test ./...
package check

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// kinds are what the manifests may hold.
var kinds = map[meta.TypeMeta]func() any{
	{APIVersion: "v1", Kind: "Service"}:                             func() any { return new(core.Service) },
	{APIVersion: "apps/v1", Kind: "Deployment"}:                     func() any { return new(apps.Deployment) },
	{APIVersion: "apps/v1", Kind: "StatefulSet"}:                    func() any { return new(apps.StatefulSet) },
	{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}:          func() any { return new(policy.PodDisruptionBudget) },
	{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}: func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}:     func() any { return new(networking.NetworkPolicy) },
}

// Every field of every manifest is one that Kubernetes knows, of the type that it has there.
func TestManifestsAreOfTheAPI(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../kubernetes/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("there are %d manifests: %v", len(files), err)
	}
	seen := 0
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
		for {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			var of meta.TypeMeta
			if err := yaml.Unmarshal(doc, &of); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			kind := kinds[of]
			if kind == nil {
				t.Errorf("%s has a %s of %s", file, of.Kind, of.APIVersion)
				continue
			}
			seen++
			if err := yaml.UnmarshalStrict(doc, kind()); err != nil {
				t.Errorf("%s, %s: %v", file, of.Kind, err)
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d manifests were checked", seen)
	}
}
