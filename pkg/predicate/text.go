package predicate

import (
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what Parse takes. The largest condition that the REST contract allows is 20 values of 50 bytes: a tenth of these.
const (
	MaxSize  = 64 << 10 // bytes of the string
	MaxDepth = 32       // nodes above one another
	MaxNodes = 1024
)

// String spells the tree as an s-expression:
//
//	all   none   (tag "a")   (has 3)   (attr 3 "x")   (not …)   (and …)   (or …)
//
// Names and values are Go-quoted in ASCII, so any bytes survive, and the spelling does not depend on a version's
// tables of printable characters. Every tree has exactly one spelling.
func String(n Node) string { return string(appendNode(nil, n)) }

func appendNode(b []byte, n Node) []byte {
	switch n := n.(type) {
	case All:
		return append(b, "all"...)
	case Tag:
		b = append(b, "(tag "...)
		b = strconv.AppendQuoteToASCII(b, n.Name)
	case HasAttr:
		b = append(b, "(has "...)
		b = strconv.AppendUint(b, uint64(n.Slot), 10)
	case Attr:
		b = append(b, "(attr "...)
		b = strconv.AppendUint(b, uint64(n.Slot), 10)
		b = append(b, ' ')
		b = strconv.AppendQuoteToASCII(b, n.Value)
	case Not:
		b = append(b, "(not "...)
		b = appendNode(b, n.Kid)
	case And:
		b = appendKids(append(b, "(and"...), n.Kids)
	case Or:
		b = appendKids(append(b, "(or"...), n.Kids)
	default:
		return append(b, "none"...)
	}
	return append(b, ')')
}

func appendKids(b []byte, kids []Node) []byte {
	for _, k := range kids {
		b = appendNode(append(b, ' '), k)
	}
	return b
}

// Parse is the inverse of String: it takes exactly what String can write, within MaxSize, MaxDepth and MaxNodes, so
// that two strings that parse are equal if and only if their trees are. An error names the byte offset at which the
// string went wrong, counted from 0.
func Parse(s string) (Node, error) {
	if len(s) > MaxSize {
		return nil, fmt.Errorf("parse a predicate: %d bytes, at most %d are allowed", len(s), MaxSize)
	}
	p := parser{s: s}
	n, err := p.node(1)
	if err == nil && p.at < len(s) {
		err = p.errorf("text after the end")
	}
	if err != nil {
		return nil, fmt.Errorf("parse a predicate: %w", err)
	}
	return n, nil
}

type parser struct {
	s     string
	at    int // the next byte
	nodes int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %s", p.at, fmt.Sprintf(format, args...))
}

// take consumes the literal if it stands next.
func (p *parser) take(lit string) bool {
	ok := strings.HasPrefix(p.s[p.at:], lit)
	if ok {
		p.at += len(lit)
	}
	return ok
}

func (p *parser) node(depth int) (n Node, err error) {
	if depth > MaxDepth {
		return nil, p.errorf("nested deeper than %d", MaxDepth)
	}
	if p.nodes++; p.nodes > MaxNodes {
		return nil, p.errorf("more than %d nodes", MaxNodes)
	}
	switch {
	case p.take("all"):
		return All{}, nil
	case p.take("none"):
		return None{}, nil
	case p.take("(tag "):
		var t Tag
		t.Name, err = p.quoted()
		n = t
	case p.take("(has "):
		var h HasAttr
		h.Slot, err = p.slot()
		n = h
	case p.take("(attr "):
		n, err = p.attr()
	case p.take("(not "):
		var kid Node
		kid, err = p.node(depth + 1)
		n = Not{kid}
	case p.take("(and"):
		var kids []Node
		kids, err = p.kids(depth + 1)
		n = And{kids}
	case p.take("(or"):
		var kids []Node
		kids, err = p.kids(depth + 1)
		n = Or{kids}
	default:
		return nil, p.errorf("expected a predicate")
	}
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.errorf("expected )")
	}
	return n, nil
}

func (p *parser) kids(depth int) (kids []Node, err error) {
	for p.take(" ") {
		k, err := p.node(depth)
		if err != nil {
			return nil, err
		}
		kids = append(kids, k)
	}
	return kids, nil
}

func (p *parser) attr() (Node, error) {
	slot, err := p.slot()
	if err != nil {
		return nil, err
	}
	if !p.take(" ") {
		return nil, p.errorf("expected a space")
	}
	value, err := p.quoted()
	return Attr{slot, value}, err
}

func (p *parser) slot() (uint8, error) {
	end := p.at
	for end < len(p.s) && p.s[end] >= '0' && p.s[end] <= '9' {
		end++
	}
	word := p.s[p.at:end]
	v, err := strconv.ParseUint(word, 10, 8)
	if err != nil || len(word) > 1 && word[0] == '0' {
		return 0, p.errorf("expected a slot from 0 to 255 without leading zeros")
	}
	p.at = end
	return uint8(v), nil
}

func (p *parser) quoted() (string, error) {
	word, err := strconv.QuotedPrefix(p.s[p.at:])
	if err != nil || word[0] != '"' {
		return "", p.errorf("expected a quoted string")
	}
	v, err := strconv.Unquote(word)
	if err != nil || strconv.QuoteToASCII(v) != word {
		return "", p.errorf("a string that is not quoted in the canonical way")
	}
	p.at += len(word)
	return v, nil
}
