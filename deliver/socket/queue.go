package socket

// queue is what waits for a full socket: shared frames, the first of them perhaps partly sent.
type queue struct {
	frames   []*Frame
	off      int // bytes of the first frame that are sent
	size     int // bytes that wait
	protocol Protocol
}

func (q *queue) push(f *Frame) {
	q.frames = append(q.frames, f)
	q.size += len(f.bytes(q.protocol))
}

// advance takes n sent bytes off the front.
func (q *queue) advance(n int) {
	left, off := skip(q.frames, q.protocol, q.off+n)
	clear(q.frames[:len(q.frames)-len(left)])
	q.frames, q.off = left, off
	q.size -= n
}

// cut drops every frame of which nothing is sent: what stays is the rest of the frame that the client has half.
func (q *queue) cut() {
	keep := 0
	if q.off > 0 {
		keep = 1
	}
	for _, f := range q.frames[keep:] {
		q.size -= len(f.bytes(q.protocol))
	}
	clear(q.frames[keep:])
	q.frames = q.frames[:keep]
}

// skip gives the frames that are left behind n bytes, and how much of the first of them is among these.
func skip(frames []*Frame, p Protocol, n int) (left []*Frame, off int) {
	for len(frames) > 0 {
		size := len(frames[0].bytes(p))
		if n < size {
			break
		}
		n -= size
		frames = frames[1:]
	}
	return frames, n
}
