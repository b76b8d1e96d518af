package directory_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/push"
)

func TestNamesAreThoseThatWereRegistered(t *testing.T) {
	t.Parallel()
	d := directory.New(start(t))
	var names []string
	for i := range 40 { // three shards
		names = append(names, fmt.Sprintf("u.%d *>\x00", i))
	}
	ordinals, err := d.Register(t.Context(), app, names...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Delete(t.Context(), app, names[3]); err != nil {
		t.Fatal(err)
	}
	want, asked := map[push.Ordinal]string{}, []push.Ordinal{0, 47}
	for n, o := range ordinals {
		want[o], asked = n, append(asked, o)
	}
	if got, err := d.Names(t.Context(), app, asked...); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}
