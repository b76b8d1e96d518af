package socket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

func TestEvent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":           "event: push\nid: 42\ndata: \n\n",
		"a":          "event: push\nid: 42\ndata: a\n\n",
		" a: b":      "event: push\nid: 42\ndata:  a: b\n\n",
		"a\nb\rc":    "event: push\nid: 42\ndata: a\ndata: b\ndata: c\n\n",
		"a\r\nb\r\n": "event: push\nid: 42\ndata: a\ndata: b\ndata: \n\n",
		"\n\r":       "event: push\nid: 42\ndata: \ndata: \ndata: \n\n",
	} {
		if got := NewFrame("push", 42, []byte(text)).bytes(EventStream); string(got) != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := NewFrame("hello", 0, []byte("{}")).bytes(EventStream); string(got) != "event: hello\ndata: {}\n\n" {
		t.Errorf("without an id: %q", got)
	}
}

// TestEventIsBuiltOnce is not parallel: allocations are counted over the process.
func TestEventIsBuiltOnce(t *testing.T) {
	f := NewFrame("push", 1, []byte("a\nb"))
	if f.stream.Load() != nil {
		t.Error("it is built before anybody needs it")
	}
	first := f.bytes(EventStream)
	if n := testing.AllocsPerRun(10, func() { _ = f.bytes(EventStream) }); n != 0 || &first[0] != &f.bytes(EventStream)[0] {
		t.Errorf("it was built again, with %v allocations", n)
	}
}

// FuzzEvent reads frames back by the standard's rules: each text comes whole, its line breaks as \n, whatever is in it, and
// whatever stream it stands in.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"t":"push"}`), uint64(1), []byte("a\r\nb"))
	f.Add([]byte(""), uint64(0), []byte("\r"))
	f.Add([]byte("\n\n"), uint64(9), []byte("data: x\n\nid: 7\n:"))
	f.Add([]byte("\xef\xbb\xbf \r\r\n"), uint64(1<<63), []byte("retry: 1"))
	f.Fuzz(func(t *testing.T, one []byte, id uint64, two []byte) {
		stream := bytes.Join([][]byte{
			heartbeat.bytes(EventStream), NewFrame("push", id, one).bytes(EventStream), heartbeat.bytes(EventStream),
			NewFrame("revoke", 0, two).bytes(EventStream), closing(EventStream, 1001, string(one)).bytes(EventStream),
		}, nil)
		s := &eventSource{r: bufio.NewReader(bytes.NewReader(stream)), lastID: "before"}
		lines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
		for _, want := range []event{{"push", lines.Replace(string(one))}, {"revoke", lines.Replace(string(two))}} {
			if got, err := s.next(); err != nil || got != want {
				t.Fatalf("got %q, %v; want %q", got, err, want)
			}
			if want := strconv.FormatUint(id, 10); id != 0 && s.lastID != want || id == 0 && s.lastID != "before" {
				t.Fatalf("the last id is %q, want %q", s.lastID, want)
			}
		}
		if e, err := s.next(); err != nil || e.name != "close" || s.retry < retryMin || s.retry > retryMax {
			t.Fatalf("the close is %q, %v, retry %d", e, err, s.retry)
		}
		if _, err := s.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("behind it: %v", err)
		}
	})
}
