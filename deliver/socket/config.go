package socket

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Config of a Poller. Use Default and change what differs.
type Config struct {
	// Loops is how many goroutines read; zero means GOMAXPROCS.
	Loops int
	// QueueLimit is how many bytes may wait for one client whose socket is full: a Send that finds more waiting closes the
	// connection with 4003. A SendAll that finds less is taken whole, so that an inbox may exceed it.
	QueueLimit int
	// FrameLimit is the longest text message taken from a client, in bytes, over all its fragments.
	FrameLimit int
	// Heartbeat is how often a connection is pinged, in whole seconds; one that was silent for two is dropped when its turn for
	// the next comes. That of an event stream is dropped by the kernel when nobody acknowledges its comments for two.
	Heartbeat time.Duration
	// SendBuffer is SO_SNDBUF in bytes. Left alone the kernel lets it grow to megabytes, and a client that stopped reading
	// swallows thousands of pushes before anybody notices.
	SendBuffer int
	// Ring has a Writer send by io_uring where the kernel lets it.
	Ring bool
}

// Default is a configuration for an app's clients.
func Default() Config {
	return Config{
		QueueLimit: 256 << 10,
		FrameLimit: 16 << 10,
		Heartbeat:  time.Minute,
		SendBuffer: 16 << 10,
		Ring:       true,
	}
}

// Validate reports every setting that cannot work, in full sentences.
func (c Config) Validate() error {
	var errs []error
	if c.Loops < 0 {
		errs = append(errs, fmt.Errorf("the number of loops is %d; it must not be negative, and zero means one a processor", c.Loops))
	}
	if c.QueueLimit < 1<<10 {
		errs = append(errs, fmt.Errorf("the queue limit is %d bytes; it must be at least 1024", c.QueueLimit))
	}
	if c.FrameLimit < 128 || c.FrameLimit > 16<<20 {
		errs = append(errs, fmt.Errorf("the frame limit is %d bytes; it must be from 128 bytes to 16 MiB", c.FrameLimit))
	}
	if c.Heartbeat < time.Second || c.Heartbeat%time.Second != 0 {
		errs = append(errs, fmt.Errorf("the heartbeat is %v; it must be whole seconds, at least one", c.Heartbeat))
	}
	if c.SendBuffer < 4<<10 {
		errs = append(errs, fmt.Errorf("the send buffer is %d bytes; it must be at least 4096", c.SendBuffer))
	}
	return errors.Join(errs...)
}

func (c Config) loops() int {
	if c.Loops == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return c.Loops
}
