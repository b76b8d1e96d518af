package match

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/push"
)

// dialect is how a database asks for the tags in an array.
type dialect struct {
	// one says that the column has one, which replaces %s, and all and any that it has all or any of a list; they are empty
	// where the database is slower at that.
	one, all, any string
}

// Tags and values are their ranks to the databases: integers, which is the best case for them.

// where is a condition in SQL, over the columns tags and a0 to a9.
func (d dialect) where(n predicate.Node) (string, error) {
	switch n := n.(type) {
	case predicate.All:
		return "true", nil
	case predicate.Tag:
		return d.tags(d.one, n)
	case predicate.Attr:
		rank, err := rankOf(n.Value, valuePrefix)
		return fmt.Sprintf("a%d = %d", n.Slot, rank), err
	case predicate.Not:
		kid, err := d.where(n.Kid)
		return "not (" + kid + ")", err
	case predicate.And:
		return d.join(" and ", d.all, n.Kids)
	case predicate.Or:
		return d.join(" or ", d.any, n.Kids)
	}
	return "", fmt.Errorf("there is no SQL for the condition %s", predicate.String(n))
}

// join puts the tags among the kids into one test, which an index answers at once, and the other kids beside it.
func (d dialect) join(by, test string, kids []predicate.Node) (string, error) {
	var parts []string
	var ofTags []predicate.Tag
	for _, k := range kids {
		if t, ok := k.(predicate.Tag); ok && test != "" {
			ofTags = append(ofTags, t)
			continue
		}
		part, err := d.where(k)
		if err != nil {
			return "", err
		}
		parts = append(parts, "("+part+")")
	}
	if len(ofTags) > 0 {
		part, err := d.tags(test, ofTags...)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, by), nil
}

func (d dialect) tags(test string, list ...predicate.Tag) (string, error) {
	var ranks []string
	for _, t := range list {
		rank, err := rankOf(t.Name, tagPrefix)
		if err != nil {
			return "", err
		}
		ranks = append(ranks, strconv.Itoa(rank))
	}
	return fmt.Sprintf(test, strings.Join(ranks, ",")), nil
}

// rankOf a tag's or a value's name.
func rankOf(name, prefix string) (int, error) {
	rank, err := strconv.Atoi(strings.TrimPrefix(name, prefix))
	if err != nil {
		return 0, fmt.Errorf("%q is no name of the population", name)
	}
	return rank, nil
}

// row lays out a person as text: the number, the tags between two brackets, and the values.
func row(b []byte, u uint32, who *person, open, shut, delimiter byte) []byte {
	b = strconv.AppendUint(b, uint64(u), 10)
	b = append(b, delimiter, open)
	for i, t := range who.tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(t), 10)
	}
	b = append(b, shut)
	for _, v := range who.values {
		b = append(b, delimiter)
		b = strconv.AppendUint(b, uint64(v), 10)
	}
	return append(b, '\n')
}

// columns of the table, each with the type of numbers, and the tags with that of arrays.
func columns(number, array string) []string {
	list := []string{"id " + number, "tags " + array}
	for slot := range push.AttrSlots {
		list = append(list, fmt.Sprintf("a%d %s", slot, number))
	}
	return list
}
