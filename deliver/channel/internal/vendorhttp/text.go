package vendorhttp

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/carillon-push/carillon/deliver/channel"
)

// Measure is what a character counts for with a vendor.
type Measure func(r rune) int

// Units counts UTF-16 code units, as vendors do whose servers count characters in Java; it is never less than the number of
// characters.
func Units(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}

// Columns counts two for everything but ASCII.
func Columns(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	return 2
}

// Encoded counts the bytes of a character within a JSON string.
func Encoded(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
		return 2
	case r < ' ' || r == 0x2028 || r == 0x2029 || r == utf8.RuneError:
		return 6
	}
	return utf8.RuneLen(r)
}

// Length is how much a text counts for.
func (m Measure) Length(s string) int {
	n := 0
	for _, r := range s {
		n += m(r)
	}
	return n
}

// Cut is the longest beginning of s that counts for at most limit and ends between two characters as a reader sees them: a
// letter keeps its accents and a family of emoji stays together. Where the very first of those is too long already, it ends
// between two code points.
func (m Measure) Cut(s string, limit int) string {
	n, end := 0, len(s)
	for i, r := range s {
		if n += m(r); n > limit {
			end = i
			break
		}
	}
	if end == len(s) {
		return s
	}
	for at := end; at > 0; {
		before, size := utf8.DecodeLastRuneInString(s[:at])
		after, _ := utf8.DecodeRuneInString(s[at:])
		if !joins(after) && before != zeroWidthJoiner && !(flag(after) && flags(s[:at])%2 == 1) {
			if cut := strings.TrimRightFunc(s[:at], unicode.IsSpace); cut != "" {
				return cut
			}
			return s[:at]
		}
		at -= size
	}
	return s[:end]
}

const zeroWidthJoiner = '\u200d'

// joins says whether a code point belongs to the one before it.
func joins(r rune) bool {
	return r == zeroWidthJoiner || unicode.Is(unicode.M, r) || (r >= 0x1f3fb && r <= 0x1f3ff)
}

// flag says whether a code point is half of a flag.
func flag(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// flags counts the halves of flags at the end of s.
func flags(s string) (n int) {
	for r, size := utf8.DecodeLastRuneInString(s); flag(r); r, size = utf8.DecodeLastRuneInString(s) {
		n, s = n+1, s[:len(s)-size]
	}
	return n
}

// Title is what a vendor that demands a title is to show: the notice's, else the configured name of the app, else the text.
func Title(n *channel.Notice, app string) string {
	for _, s := range []string{n.Title, app} {
		if strings.TrimSpace(s) != "" {
			return s
		}
	}
	return n.Text
}

// Life is what is left of a notice, in whole seconds from one to most; false when it has ended.
func Life(n *channel.Notice, now time.Time, most time.Duration) (time.Duration, bool) {
	left := n.Expire.Sub(now)
	if left <= 0 {
		return 0, false
	}
	return min(max(left.Truncate(time.Second), time.Second), most), true
}

// NotifyID is the number under which a phone shows the notice, so that a repeat takes the place of the first. Vendors take
// 31 bits; pushes that are 2^31 apart do not meet on a phone.
func NotifyID(n *channel.Notice) int32 { return int32(n.Seq & (1<<31 - 1)) }

// Fit cuts text, and then title, until message's JSON has at most limit bytes. Both are fields of message. It is false when
// the rest alone is too long.
func Fit(message any, limit int, title, text *string) bool {
	whole, part := *title, *text
	*title, *text = "", ""
	b, err := JSON(message)
	room := limit - len(b)
	// Less than this is no notification to anybody.
	if err != nil || room < 16 {
		return false
	}
	*title = Measure(Encoded).Cut(whole, room/2)
	*text = Measure(Encoded).Cut(part, room-Measure(Encoded).Length(*title))
	return true
}
