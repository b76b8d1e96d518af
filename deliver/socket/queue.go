package socket

// queue is what waits for a full socket: shared frames, the first of them perhaps partly sent.
type queue struct {
	frames []*Frame
	off    int // bytes of the first frame that are sent
	size   int // bytes that wait
}

func (q *queue) push(f *Frame) {
	q.frames = append(q.frames, f)
	q.size += len(f.b)
}

// advance takes n sent bytes off the front.
func (q *queue) advance(n int) {
	q.size -= n
	q.off += n
	for len(q.frames) > 0 && q.off >= len(q.frames[0].b) {
		q.off -= len(q.frames[0].b)
		q.frames[0] = nil
		q.frames = q.frames[1:]
	}
}

// cut drops every frame of which nothing is sent: what stays is the rest of the frame that the client has half.
func (q *queue) cut() {
	keep := 0
	if q.off > 0 {
		keep = 1
	}
	for _, f := range q.frames[keep:] {
		q.size -= len(f.b)
	}
	clear(q.frames[keep:])
	q.frames = q.frames[:keep]
}
