package socket

import (
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// joined is how many frames one system call takes at most: past some dozens the call costs less than the copying.
const joined = 64

const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// send writes to a socket without waiting and returns how many bytes it took, zero when it is full. The raw system call
// is right because it cannot block: telling the scheduler of each would cost more than it gains.
func send(fd int32, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), sendFlags, 0, 0)
	return taken(n, errno)
}

// sendFrames is send for several frames, without the first off bytes of the first. It offers no more than `joined`.
func sendFrames(fd int32, frames []*Frame, p Protocol, off int) (n, offered int, err error) {
	var vec [joined]unix.Iovec
	frames = frames[:min(len(frames), joined)]
	for i, f := range frames {
		b := f.bytes(p)[off:]
		off = 0
		vec[i].Base = unsafe.SliceData(b)
		vec[i].SetLen(len(b))
		offered += len(b)
	}
	var msg unix.Msghdr
	msg.Iov = &vec[0]
	msg.SetIovlen(len(frames))
	r, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), sendFlags)
	n, err = taken(r, errno)
	return n, offered, err
}

// recv reads from a socket without waiting: nothing, and no error, when there is nothing. The end is io.EOF.
func recv(fd int32, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, nil
	case errno != 0:
		return 0, errno
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return int(n), nil
}

// taken tells a full socket, which takes nothing, from one that is broken.
func taken(n uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR, unix.ENOBUFS, unix.ENOMEM:
		return 0, nil
	}
	return 0, errno
}
