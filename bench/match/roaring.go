package match

import (
	"context"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/matcher/index"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// terms is the obvious index: a roaring bitmap for each term, and roaring's own operations.
type terms struct {
	all    *roaring.Bitmap
	tags   map[string]*roaring.Bitmap
	values [push.AttrSlots]map[string]*roaring.Bitmap
}

func newRoaring() *terms {
	p := &terms{all: roaring.New(), tags: map[string]*roaring.Bitmap{}}
	for slot := range p.values {
		p.values[slot] = map[string]*roaring.Bitmap{}
	}
	return p
}

// apply adds users; it cannot change them.
func (p *terms) apply(updates []index.Update) {
	put := func(terms map[string]*roaring.Bitmap, name string, user uint32) {
		b := terms[name]
		if b == nil {
			b = roaring.New()
			terms[strings.Clone(name)] = b // the name is a part of what it takes
		}
		b.Add(user)
	}
	for _, u := range updates {
		p.all.Add(u.Local)
		for _, t := range u.Record.Tags {
			put(p.tags, t, u.Local)
		}
		for slot, v := range u.Record.Attrs {
			put(p.values[slot], v, u.Local)
		}
	}
}

func (p *terms) ask(_ context.Context, n predicate.Node) (a answer, err error) {
	start := time.Now()
	users := p.eval(n)
	a.found = time.Since(start)
	_, err = wire.EncodeBitmap(users)
	a.whole = time.Since(start)
	a.users = users.GetCardinality()
	return a, err
}

// eval gives a bitmap that must not be changed: it may be their own.
func (p *terms) eval(n predicate.Node) *roaring.Bitmap {
	var found *roaring.Bitmap
	switch n := n.(type) {
	case predicate.All:
		found = p.all
	case predicate.Tag:
		found = p.tags[n.Name]
	case predicate.Attr:
		found = p.values[n.Slot][n.Value]
	case predicate.Not:
		found = roaring.AndNot(p.all, p.eval(n.Kid))
	case predicate.And:
		found = roaring.FastAnd(p.evals(n.Kids)...)
	case predicate.Or:
		found = roaring.FastOr(p.evals(n.Kids)...)
	}
	if found == nil {
		return roaring.New()
	}
	return found
}

func (p *terms) evals(kids []predicate.Node) []*roaring.Bitmap {
	all := make([]*roaring.Bitmap, len(kids))
	for i, k := range kids {
		all[i] = p.eval(k)
	}
	return all
}
