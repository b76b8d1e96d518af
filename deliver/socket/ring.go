package socket

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringSize is how many sends a ring takes at a time. Twice as many gain nothing, and the call that sends them is one that
// the runtime must wait for: these take a fraction of a millisecond.
const ringSize = 32

// ring sends to many sockets with one system call, by io_uring. It knows one operation, which never waits: MSG_DONTWAIT has
// the kernel complete each within the call, with what the socket took, or that it is full. Nothing of a ring is in flight
// behind a call, so that a descriptor may be closed, and its bytes forgotten, once the call has returned. It is for one
// goroutine at a time.
type ring struct {
	fd            int
	rings, room   []byte // shared with the kernel: the two queues' ends, and the requests
	requests      []ringRequest
	results       []ringResult
	tail          *uint32 // behind the last request
	head, through *uint32 // the first result that was not read, and what is behind the last
	waiting       int     // requests since the last submit
}

// ringRequest is io_uring_sqe.
type ringRequest struct {
	op, flags uint8
	priority  uint16
	fd        int32
	offset    uint64
	at        uint64
	size      uint32
	how       uint32
	id        uint64
	_         [3]uint64
}

// ringResult is io_uring_cqe.
type ringResult struct {
	id    uint64
	n     int32
	flags uint32
}

// ringParams is io_uring_params. The kernel fills in where in the shared memory everything stands.
type ringParams struct {
	requests, results, flags, cpu, idle, features, queue uint32
	_                                                    [3]uint32
	submission                                           struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	completion struct {
		head, tail, mask, entries, overflow, results, flags, _ uint32
		_                                                      uint64
	}
}

// Of linux/io_uring.h.
const (
	ringSend         = 26
	ringCooperative  = 1 << 8 // IORING_SETUP_COOP_TASKRUN: no interrupts for what is done within the call
	ringSingleMap    = 1 << 0 // IORING_FEAT_SINGLE_MMAP
	ringEvents       = 1 << 0 // IORING_ENTER_GETEVENTS
	ringRequestsFrom = 0x10000000
)

// errRing says that the kernel's io_uring does not do what is needed here.
var errRing = errors.New("io_uring does not complete a send at once")

// newRing opens a ring, and tries it. There is an error where the kernel is older than 5.19, or does not let this process:
// in many containers it does not.
func newRing() (r *ring, err error) {
	p := ringParams{flags: ringCooperative}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("opening an io_uring: %w", errno)
	}
	r = &ring{fd: int(fd)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	unix.CloseOnExec(r.fd)
	if p.features&ringSingleMap == 0 {
		return nil, errRing
	}
	size := max(int(p.submission.array+p.requests*4), int(p.completion.results+p.results*uint32(unsafe.Sizeof(ringResult{}))))
	const access, kind = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if r.rings, err = unix.Mmap(r.fd, 0, size, access, kind); err != nil {
		return nil, fmt.Errorf("mapping an io_uring: %w", err)
	}
	if r.room, err = unix.Mmap(r.fd, ringRequestsFrom, int(p.requests)*int(unsafe.Sizeof(ringRequest{})), access, kind); err != nil {
		return nil, fmt.Errorf("mapping an io_uring's requests: %w", err)
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[offset])) }
	r.tail, r.head, r.through = at(p.submission.tail), at(p.completion.head), at(p.completion.tail)
	r.requests = unsafe.Slice((*ringRequest)(unsafe.Pointer(&r.room[0])), p.requests)
	r.results = unsafe.Slice((*ringResult)(unsafe.Pointer(&r.rings[p.completion.results])), p.results)
	for i := range p.requests { // requests are taken in the order of their places
		*at(p.submission.array + 4*i) = i
	}
	return r, r.try()
}

// try sends to a socket until that is full, and once more when its other end is closed.
func (r *ring) try() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening sockets to try an io_uring: %w", err)
	}
	near, far := pair[0], pair[1]
	b := make([]byte, 4<<10)
	once := func() (n int, err error) {
		r.add(int32(near), b, 0)
		_, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 0, 0, 0, 0)
		if errno != 0 || atomic.LoadUint32(r.through) == *r.head {
			return 0, errors.Join(errRing, unix.Shutdown(near, unix.SHUT_RDWR)) // and nothing may be in flight behind it
		}
		r.waiting = 0
		r.collect(func(_ uint64, took int, why error) { n, err = took, why })
		return n, err
	}
	const most = 1 << 12 // of which a socket takes a few
	n := len(b)
	for i := 0; err == nil && n > 0 && i < most; i++ {
		n, err = once()
	}
	if err == nil && n > 0 {
		err = errRing
	}
	closed := unix.Close(far)
	if err == nil {
		if _, broken := once(); !errors.Is(broken, unix.EPIPE) {
			err = errors.Join(errRing, broken)
		}
	}
	return errors.Join(err, closed, unix.Close(near))
}

// full says that submit must be called.
func (r *ring) full() bool { return r.waiting == len(r.requests) }

// add has the next submit send b to a socket. The caller keeps both until then.
func (r *ring) add(fd int32, b []byte, id uint64) {
	tail := *r.tail
	r.requests[tail&uint32(len(r.requests)-1)] = ringRequest{
		op: ringSend, fd: fd, at: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), size: uint32(len(b)), how: sendFlags, id: id,
	}
	atomic.StoreUint32(r.tail, tail+1)
	r.waiting++
}

// submit sends what was added, in that order, and tells of each how many bytes its socket took, zero when it is full. After
// an error it gives the number of those that it has told of: the ring cannot be used any more, and of the others nothing is
// sent.
func (r *ring) submit(told func(id uint64, n int, err error)) (count int, err error) {
	for all := r.waiting; count < all; {
		least := uintptr(0)
		if r.waiting == 0 {
			least = 1 // which try has shown not to be
		}
		// Like send, it cannot block: everything completes within the call.
		n, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.waiting), least, ringEvents, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return count, fmt.Errorf("sending by io_uring: %w", errno)
		}
		r.waiting -= int(n)
		count += r.collect(told)
	}
	return count, nil
}

// collect tells of everything that is done, and gives its number.
func (r *ring) collect(told func(id uint64, n int, err error)) int {
	head, through := *r.head, atomic.LoadUint32(r.through)
	for at := head; at != through; at++ {
		c := &r.results[at&uint32(len(r.results)-1)]
		n, err := c.taken()
		told(c.id, n, err)
	}
	atomic.StoreUint32(r.head, through)
	return int(through - head)
}

// taken is what send returns.
func (c *ringResult) taken() (int, error) {
	switch {
	case c.n >= 0:
		return int(c.n), nil
	case syscall.Errno(-c.n) == unix.ECANCELED: // it was not tried
		return 0, nil
	}
	return taken(0, syscall.Errno(-c.n))
}

func (r *ring) close() error {
	var errs []error
	for _, mapped := range [][]byte{r.rings, r.room} {
		if mapped != nil {
			errs = append(errs, unix.Munmap(mapped))
		}
	}
	return errors.Join(append(errs, unix.Close(r.fd))...)
}
