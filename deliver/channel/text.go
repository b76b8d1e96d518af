package channel

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Unit is what a vendor counts a text in.
type Unit uint8

const (
	// Bytes of UTF-8.
	Bytes Unit = iota
	// UTF16 are the units of UTF-16, in which Java and JavaScript count: an emoji has two or more.
	UTF16
	// Characters are Unicode's code points.
	Characters
	// Columns are one for a character of ASCII and two for any other.
	Columns
)

// Of is how much a text counts for.
func (u Unit) Of(s string) int {
	switch u {
	case UTF16:
		n := 0
		for _, r := range s {
			n += utf16.RuneLen(r) // of a rune from a range over a string never -1
		}
		return n
	case Characters:
		return utf8.RuneCountInString(s)
	case Columns:
		n := 0
		for _, r := range s {
			if n++; r >= utf8.RuneSelf {
				n++
			}
		}
		return n
	default:
		return len(s)
	}
}

const ellipsis = "…"

// Cut is a text within a limit, in a unit. What is too long ends with an ellipsis, after the last whole character that fits:
// what a reader sees as one (a letter with its marks, an emoji of several) is not divided, unless it is too long by itself.
// Bytes that are no UTF-8 become U+FFFD first.
func Cut(s string, limit int, unit Unit) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if unit.Of(s) <= limit {
		return s
	}
	end := ellipsis
	if limit <= unit.Of(ellipsis) {
		end = "" // nothing would be left but the ellipsis
	}
	room := limit - unit.Of(end)
	kept := prefix(s, room, unit)
	return strings.TrimRight(s[:kept], " \t\r\n") + end
}

// prefix is how many bytes of s fit into some room.
func prefix(s string, room int, unit Unit) int {
	kept, rest, state := 0, s, -1
	for rest != "" {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		n := unit.Of(cluster)
		if n > room {
			if kept > 0 {
				break
			}
			for i, r := range cluster {
				if room -= unit.Of(string(r)); room < 0 {
					return i
				}
			}
		}
		room -= n
		kept += len(cluster)
	}
	return kept
}

// Fit encodes a notice's title and text within a limit of bytes. If the encoding of both is longer, the text is cut as little
// as will do, and if that is not enough, the title. What else encode adds, the app's Ext above all, is never cut: false when
// there is no way but that, or when encode fails.
func Fit(limit int, title, text string, encode func(title, text string) ([]byte, error)) ([]byte, bool) {
	whole, err := encode(title, text)
	if err != nil || len(whole) <= limit {
		return whole, err == nil
	}
	fitted, ok := longest(text, func(cut string) ([]byte, bool) { return within(limit, title, cut, encode) })
	if !ok {
		fitted, ok = longest(title, func(cut string) ([]byte, bool) { return within(limit, cut, Cut(text, len(ellipsis)+1, Bytes), encode) })
	}
	return fitted, ok
}

func within(limit int, title, text string, encode func(title, text string) ([]byte, error)) ([]byte, bool) {
	b, err := encode(title, text)
	return b, err == nil && len(b) <= limit
}

// longest tries cuts of a text for the longest that will do: a shorter cut does wherever a longer one does.
func longest(text string, try func(cut string) ([]byte, bool)) (best []byte, ok bool) {
	// A cut of so many bytes has room for the ellipsis and at least one byte.
	low, high := len(ellipsis)+1, len(text)
	for low <= high {
		middle := (low + high) / 2
		if b, fits := try(Cut(text, middle, Bytes)); fits {
			best, ok, low = b, true, middle+1
		} else {
			high = middle - 1
		}
	}
	return best, ok
}
