package crowd

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// libraryServer serves sessions with a WebSocket library, as its documentation has it for a broadcast: a goroutine a session
// reads, and a push is a loop over all of them with one frame that they share. Neither library joins pushes that wait.
type libraryServer struct {
	listener net.Listener
	http     http.Server
	message  []byte
	received atomic.Int64 // messages of clients
	ended    chan error
	send     func(to []any) error // one push; under mu

	mu   sync.Mutex
	open map[any]struct{} // the library's connections
	list []any            // the same, to walk; nil once they have changed
}

// libraryBuffer is what a session reads into, in bytes: small, as for centrifuge, since nothing long is read.
const libraryBuffer = 512

// startLibrary listens. The library upgrades a connection and calls add, then reads until it ends and calls remove.
func startLibrary(message []byte, set func(*libraryServer) http.HandlerFunc) (local, error) {
	l := &libraryServer{message: message, ended: make(chan error, 1), open: map[any]struct{}{}}
	var err error
	if l.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	l.http.Handler = set(l)
	l.http.ReadHeaderTimeout = 5 * time.Second
	go func() {
		err := l.http.Serve(l.listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		l.ended <- err
	}()
	return l, nil
}

func (l *libraryServer) add(conn any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[conn], l.list = struct{}{}, nil
}

func (l *libraryServer) remove(conn any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, conn)
	l.list = nil
}

func (l *libraryServer) addr() string   { return l.listener.Addr().String() }
func (*libraryServer) path() string     { return "/" }
func (*libraryServer) greeting() []byte { return nil }
func (*libraryServer) receipt() []byte  { return receipt(1) }
func (l *libraryServer) taken() int     { return int(l.received.Load()) }

func (l *libraryServer) sessions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func (l *libraryServer) round(pushes int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list == nil {
		l.list = slices.Collect(maps.Keys(l.open))
	}
	for range pushes {
		if err := l.send(l.list); err != nil {
			return fmt.Errorf("sending to a session: %w", err)
		}
	}
	return nil
}

// stop lets the sessions' goroutines end with the process.
func (l *libraryServer) stop() error { return errors.Join(l.http.Close(), <-l.ended) }

// startGorilla writes one prepared message to each session. Buffers to write from are shared.
func startGorilla(message []byte) (local, error) {
	upgrader := websocket.Upgrader{ReadBufferSize: libraryBuffer, WriteBufferPool: new(sync.Pool)}
	return startLibrary(message, func(l *libraryServer) http.HandlerFunc {
		l.send = func(to []any) error {
			m, err := websocket.NewPreparedMessage(websocket.TextMessage, l.message)
			if err != nil {
				return err
			}
			for _, conn := range to {
				if err := conn.(*websocket.Conn).WritePreparedMessage(m); err != nil {
					return err
				}
			}
			return nil
		}
		return func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return // the client was told, and says so
			}
			l.add(conn)
			go func() { // so that the stack of the handshake is not kept
				defer l.remove(conn)
				for {
					if _, _, err := conn.NextReader(); err != nil { // what is left of the message before is passed over
						_ = conn.Close()
						return
					}
					l.received.Add(1)
				}
			}()
		}
	})
}

// gwsEvents are the library's calls.
type gwsEvents struct {
	gws.BuiltinEventHandler
	in *libraryServer
}

func (e gwsEvents) OnOpen(c *gws.Conn)           { e.in.add(c) }
func (e gwsEvents) OnClose(c *gws.Conn, _ error) { e.in.remove(c) }

func (e gwsEvents) OnMessage(_ *gws.Conn, m *gws.Message) {
	e.in.received.Add(1)
	_ = m.Close() // never fails
}

// startGws writes by the library's broadcaster: a queue a session, which the library's goroutines empty. The other way, a
// loop of WriteMessage, makes the frame for every session anew.
func startGws(message []byte) (local, error) {
	return startLibrary(message, func(l *libraryServer) http.HandlerFunc {
		upgrader := gws.NewUpgrader(gwsEvents{in: l}, &gws.ServerOption{ReadBufferSize: libraryBuffer})
		l.send = func(to []any) error {
			b := gws.NewBroadcaster(gws.OpcodeText, l.message)
			for _, conn := range to {
				if err := b.Broadcast(conn.(*gws.Conn)); err != nil {
					return err
				}
			}
			return b.Close()
		}
		return func(w http.ResponseWriter, r *http.Request) {
			if conn, err := upgrader.Upgrade(w, r); err == nil { // else the client was told, and says so
				go conn.ReadLoop()
			}
		}
	})
}
