package lab

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// device is the name of every host's interface.
const device = "lab0"

// openTUN makes an interface in the network of the calling thread, with an address in 10.77.0.0/24, and gives the other end
// of it: what is read there was sent into the network, what is written arrives from it. The loopback interface is up, too,
// also after an error: a run without a network is on that.
func openTUN(ip [4]byte) (*os.File, error) {
	if err := interfaces([]step{{"start the loopback interface", unix.SIOCSIFFLAGS, "lo", up}}); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	if err := configure(fd, ip); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	// Not blocking, so that reading it costs no thread; and now that it has its interface: before, nobody is woken by it.
	return os.NewFile(uintptr(fd), device), nil
}

func configure(tun int, ip [4]byte) error {
	if err := ioctl(tun, unix.TUNSETIFF, device, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI); return nil }); err != nil {
		return fmt.Errorf("make a network interface: %w", err)
	}
	number := func(n uint32) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { r.SetUint32(n); return nil }
	}
	return interfaces([]step{
		{"set the address", unix.SIOCSIFADDR, device, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }},
		{"set the network mask", unix.SIOCSIFNETMASK, device, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{"set the packet size", unix.SIOCSIFMTU, device, number(maxPacket)},
		{"set the queue's length", unix.SIOCSIFTXQLEN, device, number(10_000)},
		{"start the interface", unix.SIOCSIFFLAGS, device, up},
	})
}

func up(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }

// step is one request about an interface.
type step struct {
	what    string
	request uint
	name    string
	set     func(*unix.Ifreq) error
}

// interfaces makes requests about interfaces of the calling thread's network.
func interfaces(steps []step) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket to configure a network interface: %w", err)
	}
	defer unix.Close(s)
	for _, step := range steps {
		if err := ioctl(s, step.request, step.name, step.set); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func ioctl(fd int, request uint, name string, set func(*unix.Ifreq) error) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := set(r); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, request, r)
}
