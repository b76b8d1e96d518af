package crowd

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// bare accepts plain connections and writes the same bytes to each.
type bare struct {
	listener int
	port     int
	frame    []byte

	mu   sync.Mutex
	fds  []int
	done chan struct{} // closed when no more are accepted
}

func startBare(message []byte) (local, error) {
	b := &bare{frame: ws.MustCompileFrame(ws.NewTextFrame(message)), done: make(chan struct{})}
	var err error
	if b.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	err = errors.Join(
		unix.Bind(b.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		unix.Listen(b.listener, 4096),
	)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", errors.Join(err, unix.Close(b.listener)))
	}
	name, err := unix.Getsockname(b.listener)
	if at, ok := name.(*unix.SockaddrInet4); ok {
		b.port = at.Port
	} else {
		return nil, fmt.Errorf("finding the port: %w", errors.Join(err, unix.Close(b.listener)))
	}
	go b.accept()
	return b, nil
}

// accept ends when stop shuts the listener.
func (b *bare) accept() {
	defer close(b.done)
	for {
		fd, _, err := unix.Accept4(b.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		b.mu.Lock()
		b.fds = append(b.fds, fd)
		b.mu.Unlock()
	}
}

func (b *bare) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)) }
func (*bare) path() string   { return "" }

// What a client sends is not read.
func (*bare) greeting() []byte { return nil }
func (*bare) receipt() []byte  { return nil }
func (*bare) taken() int       { return 0 }

// sessions lets go of those that have hung up: nothing else looks.
func (b *bare) sessions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	var left []int
	for _, fd := range b.fds {
		if n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT); errors.Is(err, unix.EAGAIN) || n > 0 {
			left = append(left, fd)
		} else {
			_ = unix.Close(fd)
		}
	}
	b.fds = left
	return len(left)
}

func (b *bare) round(pushes int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fd := range b.fds {
		if err := b.send(fd, pushes); err != nil {
			return err
		}
	}
	return nil
}

// send sends the pushes one at a time.
func (b *bare) send(fd, pushes int) error {
	for range pushes {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b.frame[0])), uintptr(len(b.frame)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno != 0 || int(n) != len(b.frame) {
			return fmt.Errorf("sendto took %d of %d bytes: %w", int(n), len(b.frame), errno)
		}
	}
	return nil
}

func (b *bare) stop() error {
	err := unix.Shutdown(b.listener, unix.SHUT_RDWR) // wakes accept
	<-b.done
	for _, fd := range b.fds {
		err = errors.Join(err, unix.Close(fd))
	}
	return errors.Join(err, unix.Close(b.listener))
}
