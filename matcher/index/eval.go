package index

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/dense"
	"github.com/carillon-push/carillon/pkg/predicate"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Eval gives the users for whom the condition holds, by their places within the shard. The bitmap is the caller's own, and
// its containers have their shortest forms.
func (x *Index) Eval(n predicate.Node) *roaring.Bitmap {
	e := evaluators.Get().(*evaluator)
	defer evaluators.Put(e)
	root, spans := e.open(x, n)
	e.data = e.layout(root, spans, e.data[:0])
	x.mu.RUnlock()
	b := roaring.New()
	if _, err := b.ReadFrom(bytes.NewReader(e.data)); err != nil {
		panic(fmt.Sprintf("a layout of our own cannot be read: %v", err)) // tests hold that it can
	}
	return b
}

// Append appends what Eval finds to data, laid out as wire.EncodeBitmap does it, and says how many users that are: what a push
// needs, without a bitmap in between.
func (x *Index) Append(data []byte, n predicate.Node) (_ []byte, users uint64) {
	e := evaluators.Get().(*evaluator)
	defer evaluators.Put(e)
	root, spans := e.open(x, n)
	defer x.mu.RUnlock()
	most := wire.MaxBitmap(spans)
	if cap(data)-len(data) >= most {
		data = e.layout(root, spans, data)
		return data, uint64(e.out.Users())
	}
	e.data = e.layout(root, spans, e.data[:0])
	room := len(e.data)
	if 2*room > most { // what comes next may be written into it at once
		room = most
	}
	if cap(data)-len(data) < room {
		data = append(make([]byte, 0, len(data)+room), data...)
	}
	return append(data, e.data...), uint64(e.out.Users())
}

// Count is how many users the condition holds for.
func (x *Index) Count(n predicate.Node) uint64 {
	e := evaluators.Get().(*evaluator)
	defer evaluators.Put(e)
	root, spans := e.open(x, n)
	defer x.mu.RUnlock()
	users := 0
	e.each(root, spans, func(_ int, s some) { users += s.len() })
	return uint64(users)
}

// layout appends to data for whom what was opened holds.
func (e *evaluator) layout(root *node, spans int, data []byte) []byte {
	e.out.Begin(data, spans)
	e.each(root, spans, func(span int, s some) {
		switch {
		case s.full():
			e.out.Full(uint16(span))
		case s.words != nil:
			e.out.Words(uint16(span), (*dense.Words)(s.words))
		case s.rest:
			e.out.Rest(uint16(span), s.array)
		default:
			e.out.Array(uint16(span), s.array)
		}
	})
	return e.out.End()
}

// evaluators are used again, so that an evaluation allocates nothing but its result.
var evaluators = sync.Pool{New: func() any { return new(evaluator) }}

// evaluator computes a predicate one span after another.
type evaluator struct {
	plan
	blocks []*words // scratch, a stack
	top    int
	room   []uint16 // scratch, used up by the arrays of one span
	out    wire.BitmapWriter
	data   []byte
}

// some are users of one span: bits, or an ascending array.
type some struct {
	words *words
	array []uint16
	n     int  // of words: how many, or -1 when they were not counted
	own   bool // the words are scratch
	rest  bool // it is all of the span but the array
}

// empty may say false of words that were not counted.
func (s *some) empty() bool { return s.words == nil && len(s.array) == 0 || s.words != nil && s.n == 0 }

func (s *some) full() bool { return s.n == spanLen }

func (s *some) len() int {
	switch {
	case s.rest:
		return spanLen - len(s.array)
	case s.words == nil:
		return len(s.array)
	case s.n < 0:
		s.n = s.words.count()
	}
	return s.n
}

// open holds the index for reading, and gives what is to be evaluated in how many spans.
func (e *evaluator) open(x *Index, n predicate.Node) (root *node, spans int) {
	x.read()
	x.names.RLock()
	e.reset(x)
	root = e.make(n)
	x.names.RUnlock()
	switch {
	case root.op == opNone:
	case e.all.op == opTable:
		spans = e.all.table.spans()
	case e.all.op == opList:
		spans = e.all.list.span(e.all.list.len()-1) + 1
	}
	return root, spans
}

// each calls do for the spans in their order, with who there the condition holds for; what it is given is good only within
// the call.
func (e *evaluator) each(root *node, spans int, do func(span int, s some)) {
	for span := range spans {
		e.top, e.room = 0, e.room[:0]
		if s := e.result(root, span); !s.empty() {
			do(span, s)
		}
	}
}

// result is eval for the whole condition. Only it gives a rest: nothing is to be made of it.
func (e *evaluator) result(root *node, span int) some {
	if root.op != opNot {
		return e.eval(root, span)
	}
	all := e.eval(e.all, span)
	if !all.full() {
		return e.minus(all, root.kids[0], span)
	}
	less := e.eval(root.kids[0], span)
	if less.words == nil && !less.empty() {
		return some{array: less.array, rest: true}
	}
	return e.less(all, less, 0)
}

// block is scratch for bits, whatever they are. It is free again when top is set back.
func (e *evaluator) block() *words {
	if e.top == len(e.blocks) {
		e.blocks = append(e.blocks, new(words))
	}
	e.top++
	return e.blocks[e.top-1]
}

// space is scratch for an array of up to n.
func (e *evaluator) space(n int) []uint16 {
	if cap(e.room)-len(e.room) < n {
		e.room = make([]uint16, 0, max(2*cap(e.room), n, 8*maxArray)) // arrays in the old one live on
	}
	at := len(e.room)
	e.room = e.room[:at+n]
	return e.room[at : at : at+n]
}

// eval gives who of a span the node holds for. Words of its own are the first block that was free.
func (e *evaluator) eval(n *node, span int) some {
	switch n.op {
	case opList:
		return some{array: n.part(span)}
	case opTable:
		return e.content(n, span)
	case opNot:
		return e.minus(e.eval(e.all, span), n.kids[0], span)
	case opAnd:
		return e.and(n, span)
	case opOr:
		return e.or(n, span)
	}
	return some{}
}

// everywhere are the words of every full span, as one that is asked for often is in a cache.
var everywhere = func() (w words) {
	for i := range w {
		w[i] = ^uint64(0)
	}
	return w
}()

func (e *evaluator) content(n *node, span int) some {
	c := n.table.at(span)
	switch p := &e.x.postings; {
	case c.n == 0:
		return some{}
	case c.len() == spanLen:
		return some{words: &everywhere, n: spanLen}
	case c.n&isWords != 0:
		return some{words: p.blocks[c.at], n: c.len()}
	default:
		return some{array: p.arrays.run(c.at, c.len())}
	}
}

// part is what a list has in a span. Spans are asked for in their order, some of them twice.
func (n *node) part(span int) []uint16 {
	if n.span == span {
		return n.now
	}
	i := n.from
	for i < n.list.len() && n.list.span(i) < span {
		i++
	}
	end := i
	for end < n.list.len() && n.list.span(end) == span {
		end++
	}
	n.span, n.from, n.now = span, end, n.list.low[i:end]
	return n.now
}

// probes is up to how many look-ups of one user are cheaper than computing a span.
const probes = 128

func (e *evaluator) and(n *node, span int) some {
	var cur some
	must := n.kids[:n.negated]
	if len(must) == 0 {
		cur = e.eval(e.all, span)
	} else {
		cur, must = e.eval(must[0], span), must[1:]
	}
	for _, k := range must {
		if cur.empty() {
			return some{}
		}
		cur = e.both(cur, k, span)
	}
	for _, k := range n.kids[n.negated:] {
		if cur.empty() {
			return some{}
		}
		cur = e.minus(cur, k, span)
	}
	return cur
}

// few says that it is better to ask for each user than to compute the node.
func (s *some) few(n *node) bool {
	return s.words == nil && len(n.kids) > 0 && len(s.array)*n.leaves <= probes
}

// both gives who of cur the node holds for.
func (e *evaluator) both(cur some, n *node, span int) some {
	if cur.few(n) {
		return e.probe(cur, n, span, true)
	}
	mark := e.top
	with := e.eval(n, span)
	switch {
	case cur.full():
		return with
	case with.full():
		e.top = mark
		return cur
	case cur.words == nil && with.words == nil:
		e.top = mark
		return some{array: e.common(cur.array, with.array)}
	case cur.words == nil:
		e.top = mark
		return some{array: with.words.filter(e.space(len(cur.array)), cur.array, 1)}
	case with.words == nil:
		return some{array: cur.words.filter(e.space(len(with.array)), with.array, 1)}
	}
	into := e.into(cur, mark)
	into.and(cur.words, with.words)
	return some{words: into, n: -1, own: true}
}

// common gives what two arrays both have. Long ones do not walk along one another, where each step is a guess: one is
// written as bits, in which the other is looked up.
func (e *evaluator) common(a, b []uint16) []uint16 {
	const long = 512
	if len(a) > len(b) {
		a, b = b, a
	}
	into := e.space(len(a))
	if len(a)+len(b) < long || len(a)*leap < len(b) {
		return common(into, a, b)
	}
	w := e.block()
	e.top--
	clear(w[:])
	w.add(b)
	return w.filter(into, a, 1)
}

// into is where a result of cur and something that was computed after mark is written: over cur if that is scratch, and
// else over the first block that is free from mark on, which may be the other.
func (e *evaluator) into(cur some, mark int) *words {
	e.top = mark
	if cur.own {
		return cur.words
	}
	return e.block()
}

// minus gives who of cur the node does not hold for.
func (e *evaluator) minus(cur some, n *node, span int) some {
	if cur.few(n) {
		return e.probe(cur, n, span, false)
	}
	mark := e.top
	return e.less(cur, e.eval(n, span), mark)
}

// less takes away from cur what was computed after mark.
func (e *evaluator) less(cur, less some, mark int) some {
	switch {
	case less.empty():
		e.top = mark
		return cur
	case less.full():
		return some{}
	case cur.words == nil:
		e.top = mark
		if less.words != nil {
			return some{array: less.words.filter(e.space(len(cur.array)), cur.array, 0)}
		}
		return some{array: without(e.space(len(cur.array)), cur.array, less.array)}
	}
	into := e.into(cur, mark)
	if less.words != nil {
		into.andNot(cur.words, less.words)
		return some{words: into, n: -1, own: true}
	}
	if !cur.own {
		*into = *cur.words
	}
	into.remove(less.array)
	return some{words: into, n: -1, own: true}
}

// or joins arrays as long as they are short, and then writes the rest into bits.
func (e *evaluator) or(n *node, span int) some {
	const short = 256
	var cur some
	for _, k := range n.kids {
		mark := e.top
		more := e.eval(k, span)
		switch {
		case more.full():
			return more
		case more.empty():
			e.top = mark
			continue
		case cur.empty():
			cur = more
			continue
		case cur.words == nil && more.words == nil && len(cur.array)+len(more.array) <= short:
			cur = some{array: merged(e.space(len(cur.array)+len(more.array)), cur.array, more.array)}
			continue
		case cur.words == nil && more.words != nil:
			cur, more = more, cur
			if !cur.own {
				cur = e.copied(cur)
			}
			cur.words.add(more.array)
		case cur.words == nil:
			w := e.block()
			clear(w[:])
			w.add(cur.array)
			w.add(more.array)
			cur = some{words: w, own: true}
		case more.words == nil:
			if !cur.own {
				cur = e.copied(cur)
			}
			cur.words.add(more.array)
		default:
			into := e.into(cur, mark)
			into.or(cur.words, more.words)
			cur.words, cur.own = into, true
		}
		cur.n = -1
	}
	return cur
}

// copied is a set of words that may be written to.
func (e *evaluator) copied(s some) some {
	w := e.block()
	*w = *s.words
	return some{words: w, n: s.n, own: true}
}

// probe asks for each of a few users whether the node holds.
func (e *evaluator) probe(cur some, n *node, span int, want bool) some {
	into := e.space(len(cur.array))
	for _, u := range cur.array {
		if e.holds(n, span, u) == want {
			into = append(into, u)
		}
	}
	return some{array: into}
}

// holds says whether the node holds for one user.
func (e *evaluator) holds(n *node, span int, u uint16) bool {
	switch n.op {
	case opList, opTable:
		s := e.eval(n, span)
		if s.words != nil {
			return s.words.has(u)
		}
		_, found := slices.BinarySearch(s.array, u)
		return found
	case opNot:
		return !e.holds(n.kids[0], span, u)
	case opAnd:
		for i, k := range n.kids {
			if e.holds(k, span, u) != (i < int(n.negated)) {
				return false
			}
		}
		return true
	case opOr:
		for _, k := range n.kids {
			if e.holds(k, span, u) {
				return true
			}
		}
	}
	return false
}
