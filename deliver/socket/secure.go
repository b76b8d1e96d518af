package socket

import (
	"crypto/tls"
	"net"
	"sync"
)

// recordSize is how much one TLS record holds, in bytes.
const recordSize = 16 << 10

// NewTLSListener accepts TLS connections that a Poller can adopt. net/http does their handshakes, bounded by its server's
// timeouts. The config is copied; whatever it says, the connections speak HTTP/1.1 over TLS 1.2 or later and do not
// renegotiate.
func NewTLSListener(inner net.Listener, cfg *tls.Config) net.Listener {
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.NextProtos = []string{"http/1.1"}
	cfg.Renegotiation = tls.RenegotiateNever
	// Records of one packet each would be a system call each.
	cfg.DynamicRecordSizingDisabled = true
	return &tlsListener{inner, cfg}
}

type tlsListener struct {
	net.Listener
	cfg *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := &secure{Conn: conn}
	s.tls = tls.Server(s, l.cfg)
	return s.tls, nil
}

// secure is what a TLS connection reads and writes its records through: the accepted connection while net/http has it,
// the poller's descriptor from Adopt on. A tls.Conn takes both its directions' errors for the end, but for a read that is
// a temporary net.Error: it keeps what it has of a record and goes on at the next call. So reads end with again, and
// writes take everything, whatever the socket does. From Adopt on all is guarded by the connection's lock.
type secure struct {
	net.Conn // given once adopted
	tls      *tls.Conn
	fd       int32
	budget   int32  // bytes that may still be read before the others have their turn
	tail     []byte // records, or what is left of them, that the socket did not take
}

// given stands in for a connection whose descriptor is the poller's: it is closed, and keeps no memory.
var given = func() net.Conn {
	conn, far := net.Pipe()
	_, _ = conn.Close(), far.Close() // a pipe closes without errors
	return conn
}()

// adopt turns to the poller's descriptor and lets go of the accepted connection.
func (s *secure) adopt(fd int) error {
	err := s.Conn.Close()
	s.Conn, s.fd, s.budget = given, int32(fd), readSize
	return err
}

// again is the error of a read that would have to wait.
var again net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "the socket has nothing to read" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Read takes records off the socket. It ends with again also when it has taken a bufferful: what tls.Conn has read it then
// has handed out, but for an incomplete record, so that an event comes for whatever there is more.
func (s *secure) Read(b []byte) (int, error) {
	if s.Conn != given {
		return s.Conn.Read(b)
	}
	if s.budget <= 0 {
		s.budget = readSize
		return 0, again
	}
	n, err := recv(s.fd, b[:min(len(b), int(s.budget))])
	if n == 0 && err == nil {
		s.budget = readSize
		return 0, again
	}
	s.budget -= int32(n)
	return n, err
}

// Write gives records to the socket and keeps what that does not take. A connection that is broken is an error.
func (s *secure) Write(b []byte) (int, error) {
	if s.Conn != given {
		return s.Conn.Write(b)
	}
	n := 0
	if len(s.tail) == 0 {
		var err error
		if n, err = send(s.fd, b); err != nil {
			return 0, err
		}
	}
	s.tail = append(s.tail, b[n:]...)
	return len(b), nil
}

// drain sends the tail.
func (s *secure) drain() error {
	if len(s.tail) == 0 {
		return nil
	}
	n, err := send(s.fd, s.tail)
	if s.tail = s.tail[n:]; len(s.tail) == 0 {
		s.tail = nil
	}
	return err
}

// offer encrypts one record of the frames, without the first off bytes, and returns how many of their bytes it holds. It must
// not be called while there is a tail.
func (s *secure) offer(frames []*Frame, p Protocol, off int) (int, error) {
	first := frames[0].bytes(p)[off:]
	if len(frames) == 1 || len(first) >= recordSize {
		return s.tls.Write(first[:min(len(first), recordSize)])
	}
	record := records.Get().(*[recordSize]byte)
	defer records.Put(record)
	n := copy(record[:], first)
	for _, f := range frames[1:] {
		if n == recordSize {
			break
		}
		n += copy(record[n:], f.bytes(p))
	}
	return s.tls.Write(record[:n])
}

var records = sync.Pool{New: func() any { return new([recordSize]byte) }}
