package history

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/carillon-push/carillon/pkg/directory"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// Clause is a push's condition, or one within it, for one user at the moment at which the push was evaluated.
type Clause struct {
	// Text is the clause for people; of "all of", "any of" and "not", what it stands above is in the clauses behind it
	// that have a greater Depth.
	Text  string `json:"text"`
	Depth int    `json:"depth"`
	// Holds is nil where nothing tells.
	Holds *bool `json:"holds"`
	// Since is the change that made it so, nil where the logs do not reach back to it.
	Since *Change `json:"since,omitempty"`
	// Until is the first change afterwards that made it otherwise, nil where there was none.
	Until *Change `json:"until,omitempty"`
}

// Change is one change of a user's record.
type Change struct {
	// Log is its sequence in the shard's log, to compare with a push's.
	Log uint64 `json:"log"`
	// At is when it was written, by the broker's clock.
	At time.Time `json:"at"`
	// What changed, as far as the clause asks for it; empty where the record before is not known.
	What []string `json:"what"`
}

// subject is a record as a condition sees it.
type subject struct{ *push.Record }

func (s subject) Attr(slot uint8) string {
	if int(slot) >= len(s.Attrs) {
		return ""
	}
	return s.Attrs[slot]
}

// matches says whether a matcher that has this record would take the user for the push.
func matches(n predicate.Node, r *push.Record) bool {
	return !r.Deleted && predicate.Match(n, subject{r})
}

// look is a user's versions, seen from one of them.
type look struct {
	vs   versions
	at   int  // the version that the matcher saw; -1 when the record is not known
	born bool // the first version is the account's first
	// whole says that no version is missing between what the matcher saw and the one behind at.
	whole bool
	names directory.AttrNames
}

// record is what the matcher saw, where that is known.
func (l *look) record() *push.Record { return &l.vs[l.at].record }

// clauses of a condition, in the order in which one reads them. bit is what the audience says of the user, nil when that is
// gone: where the record is not known, it tells of some clauses all the same.
func (l *look) clauses(n predicate.Node, bit *bool) []Clause {
	var all []Clause
	var walk func(n predicate.Node, depth int, told *bool)
	walk = func(n predicate.Node, depth int, told *bool) {
		all = append(all, l.clause(n, depth, told))
		switch n := n.(type) {
		case predicate.Not:
			walk(n.Kid, depth+1, not(told))
		case predicate.And: // all hold where it does
			for _, k := range n.Kids {
				walk(k, depth+1, only(told, true, len(n.Kids)))
			}
		case predicate.Or: // none holds where it does not
			for _, k := range n.Kids {
				walk(k, depth+1, only(told, false, len(n.Kids)))
			}
		}
	}
	walk(n, 0, bit)
	return all
}

func not(v *bool) *bool {
	if v == nil {
		return nil
	}
	w := !*v
	return &w
}

// only passes what is told of a junction on to its kids: for the one value that all of them must have then, or to its only
// kid.
func only(v *bool, want bool, kids int) *bool {
	if v != nil && (*v == want || kids == 1) {
		return v
	}
	return nil
}

func (l *look) clause(n predicate.Node, depth int, told *bool) Clause {
	c := Clause{Text: spell(n, &l.names), Depth: depth, Holds: told}
	if l.at >= 0 {
		holds := matches(n, &l.vs[l.at].record)
		c.Holds = &holds
		c.Since = l.since(n, holds)
	}
	if c.Holds != nil {
		c.Until = l.until(n, *c.Holds)
	}
	return c
}

// since walks back to the change that made a clause what it is.
func (l *look) since(n predicate.Node, holds bool) *Change {
	for i := l.at; i > 0; i-- {
		if matches(n, &l.vs[i-1].record) != holds {
			return l.change(i, n)
		}
	}
	if l.born {
		return l.change(0, n)
	}
	return nil
}

// until walks forward to the first change that made a clause otherwise.
func (l *look) until(n predicate.Node, holds bool) *Change {
	for i := l.at + 1; l.whole && i < len(l.vs); i++ {
		if matches(n, &l.vs[i].record) != holds {
			return l.change(i, n)
		}
	}
	return nil
}

// change describes what a version changed, of what a clause asks for.
func (l *look) change(i int, n predicate.Node) *Change {
	v := &l.vs[i]
	c := &Change{Log: v.log, At: v.at.UTC().Truncate(time.Millisecond), What: []string{}}
	switch {
	case i == 0 && l.born:
		c.What = append(c.What, "the account was registered")
		c.What = append(c.What, l.differences(&push.Record{}, &v.record, n)...)
	case i > 0:
		c.What = append(c.What, l.differences(&l.vs[i-1].record, &v.record, n)...)
	}
	return c
}

func (l *look) differences(a, b *push.Record, n predicate.Node) []string {
	if b.Deleted && !a.Deleted {
		return []string{"the account was deleted"}
	}
	var what []string
	tags, slots := terms(n)
	for _, tag := range tags {
		switch had, has := a.HasTag(tag), b.HasTag(tag); {
		case has && !had:
			what = append(what, "tag "+strconv.Quote(tag)+" was added")
		case had && !has:
			what = append(what, "tag "+strconv.Quote(tag)+" was removed")
		}
	}
	for _, slot := range slots {
		name, was, is := attribute(slot, &l.names), subject{a}.Attr(slot), subject{b}.Attr(slot)
		switch {
		case was == is:
		case is == "":
			what = append(what, fmt.Sprintf("%s, which was %q, was removed", name, was))
		case was == "":
			what = append(what, fmt.Sprintf("%s was set to %q", name, is))
		default:
			what = append(what, fmt.Sprintf("%s was changed from %q to %q", name, was, is))
		}
	}
	return what
}

// terms are the tags and the attributes' slots that a condition asks for, each once.
func terms(n predicate.Node) (tags []string, slots []uint8) {
	var walk func(predicate.Node)
	walk = func(n predicate.Node) {
		switch n := n.(type) {
		case predicate.Tag:
			tags = append(tags, n.Name)
		case predicate.HasAttr:
			slots = append(slots, n.Slot)
		case predicate.Attr:
			slots = append(slots, n.Slot)
		case predicate.Not:
			walk(n.Kid)
		case predicate.And:
			for _, k := range n.Kids {
				walk(k)
			}
		case predicate.Or:
			for _, k := range n.Kids {
				walk(k)
			}
		}
	}
	walk(n)
	slices.Sort(tags)
	slices.Sort(slots)
	return slices.Compact(tags), slices.Compact(slots)
}

// attribute is what a slot is called today.
func attribute(slot uint8, names *directory.AttrNames) string {
	if int(slot) < len(names) && names[slot] != "" {
		return "attribute " + strconv.Quote(names[slot])
	}
	return "attribute slot " + strconv.Itoa(int(slot))
}

// spell is a clause for people, without what is below it.
func spell(n predicate.Node, names *directory.AttrNames) string {
	switch n := n.(type) {
	case predicate.All:
		return "every account"
	case predicate.Tag:
		return "tag " + strconv.Quote(n.Name)
	case predicate.HasAttr:
		return attribute(n.Slot, names) + " has a value"
	case predicate.Attr:
		return attribute(n.Slot, names) + " is " + strconv.Quote(n.Value)
	case predicate.Not:
		return "not"
	case predicate.And:
		return "all of"
	case predicate.Or:
		return "any of"
	}
	return "nobody"
}
