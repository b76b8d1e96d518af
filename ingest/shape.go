package ingest

import "fmt"

// shape is what an object of the contract looks like: its members with their types. Members that are not in it are
// clients' own, and pass.
type shape []member

type member struct {
	name string
	need presence
	// check says what is wrong with the member's value, which is there.
	check func(value) error
}

type presence bool

const (
	required presence = true
	optional presence = false
)

// check says what is wrong with an object, nil for nothing.
func (s shape) check(v value) error {
	o, err := v.object()
	if err != nil {
		return err
	}
	for _, m := range s {
		member := o.get(m.name)
		if member.absent() {
			if m.need == required {
				return &fieldError{member.path, "missing"}
			}
			continue
		}
		if err := m.check(member); err != nil {
			return err
		}
	}
	return nil
}

func isText(v value) error {
	_, err := v.text()
	return err
}

func isNumber(v value) error {
	if !v.isNumber() {
		return v.wrong("a number")
	}
	return nil
}

// isFrom takes the integers from the first to the last one.
func isFrom(first, last int) func(value) error {
	return func(v value) error {
		for n := first; n <= last; n++ {
			if string(v.raw) == fmt.Sprint(n) {
				return nil
			}
		}
		if first == last {
			return v.wrong(fmt.Sprint(first))
		}
		return v.wrong(fmt.Sprintf("a number from %d to %d", first, last))
	}
}

// isSome takes an array of at least one object of a shape.
func isSome(s shape) func(value) error {
	return func(v value) error {
		items, err := v.list()
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return &fieldError{v.path, "an empty array"}
		}
		for _, item := range items {
			if err := s.check(item); err != nil {
				return err
			}
		}
		return nil
	}
}
