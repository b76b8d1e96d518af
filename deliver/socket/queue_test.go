package socket

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestQueue holds a queue against the plain bytes that it stands for.
func TestQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []byte
		half := 0 // bytes of the first frame that have still to go when some of it has gone, else 0
		waiting := func() (all []byte) {
			for i, f := range q.frames {
				b := f.ws
				if i == 0 {
					b = b[q.off:]
				}
				all = append(all, b...)
			}
			return all
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got := waiting(); !bytes.Equal(got, want) || q.size != len(want) {
					t.Fatalf("%d bytes wait, by its size %d, want %d", len(got), q.size, len(want))
				}
			},
			"push": func(t *rapid.T) {
				f := NewFrame("push", 1, rapid.SliceOf(rapid.Byte()).Draw(t, "payload"))
				q.push(f)
				want = append(want, f.ws...)
			},
			"advance": func(t *rapid.T) {
				n := rapid.IntRange(0, len(want)).Draw(t, "sent")
				for left, frames := q.off+n, q.frames; ; frames = frames[1:] {
					if len(frames) == 0 || left == 0 {
						half = 0
						break
					}
					if left < len(frames[0].ws) {
						half = len(frames[0].ws) - left
						break
					}
					left -= len(frames[0].ws)
				}
				q.advance(n)
				want = want[n:]
			},
			"cut": func(*rapid.T) {
				q.cut()
				want = want[:half]
			},
		})
	})
}

// TestTable holds the table against a map, over blocks that are made in any order.
func TestTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		want := map[int]*Conn{}
		fds := rapid.IntRange(0, 3000)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				for fd := range tab.size() + 1 {
					if tab.get(fd) != want[fd] {
						t.Fatalf("descriptor %d is another connection", fd)
					}
				}
			},
			"put": func(t *rapid.T) {
				fd := fds.Draw(t, "fd")
				want[fd] = new(Conn)
				tab.put(fd, want[fd])
			},
			"remove": func(t *rapid.T) {
				fd := fds.Draw(t, "fd")
				delete(want, fd)
				tab.put(fd, nil)
			},
		})
	})
}
