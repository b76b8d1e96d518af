package carillon_test

import (
	"os"
	"testing"

	"golang.org/x/mod/modfile"
	gomodule "golang.org/x/mod/module"
)

// unreleased are the modules without a release that would do, each with where the version comes from. A version that is
// a commit is as fixed as any other, but nobody has called it good.
var unreleased = map[string]string{
	"github.com/BurntSushi/toml":       "what staticcheck asks for",
	"github.com/ajstarks/svgo":         "what gonum's plots ask for; it has no releases that Go knows",
	"github.com/golang/freetype":       "what gonum's plots ask for; it has no releases",
	"golang.org/x/exp/typeparams":      "what staticcheck asks for; it has no releases",
	"github.com/mitchellh/colorstring": "what progressbar asks for; it has no releases",
	"github.com/munnerz/goautoneg":     "what Prometheus asks for; it has no releases",
	"github.com/sourcegraph/conc":      "what viper asks for",
	"github.com/jackc/pgservicefile":   "what pgx asks for; it has no releases",

	"google.golang.org/genproto/googleapis/api": "what OpenTelemetry's protocol asks for; it has no releases",
	"google.golang.org/genproto/googleapis/rpc": "what OpenTelemetry's protocol asks for; it has no releases",
}

// The dependencies are those that their authors released, at the versions and with the hashes that are in the tree.
func TestDependenciesAreReleasesAsTheyAre(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Replace) > 0 || len(f.Exclude) > 0 {
		t.Errorf("%d modules are replaced and %d versions excluded; whoever imports this module would get others", len(f.Replace), len(f.Exclude))
	}
	for _, r := range f.Require {
		if _, known := unreleased[r.Mod.Path]; gomodule.IsPseudoVersion(r.Mod.Version) && !known {
			t.Errorf("%s is at %s, which is no release; take one, or say in the table why not", r.Mod.Path, r.Mod.Version)
		}
	}
}
