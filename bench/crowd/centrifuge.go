package crowd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"
)

// channelServer serves sessions with centrifuge.
type channelServer struct {
	node     *centrifuge.Node
	listener net.Listener
	http     http.Server
	message  []byte
	received atomic.Int64 // messages of clients
	ended    chan error
}

const channel = "everybody"

// Kept are how many messages wait for a client that greets with Wanting.
var Kept = []int{0, 1, 100}

// Wanting is the greeting of a client of centrifuge for whom so many messages wait, one of Kept: in the history of a
// channel that it shares with the others like it.
func Wanting(kept int) []byte {
	return fmt.Appendf(nil, `{"id":1,"connect":{"name":"%d","subs":{"%[1]d":{"recover":true}}}}`, kept)
}

// keep publishes what waits.
func (l *channelServer) keep() error {
	for _, kept := range Kept {
		for range kept {
			if _, err := l.node.Publish(strconv.Itoa(kept), l.message, centrifuge.WithHistory(kept, time.Hour)); err != nil {
				return fmt.Errorf("publishing: %w", err)
			}
		}
	}
	return nil
}

// startCentrifuge sets the library up as one would for an app's pushes: JSON over WebSocket, one node with its broker in
// memory, one channel to which the server subscribes each client, so that it need not ask. No history, presence,
// recovery, compression or access checks, none of which come for free. A client's writes are gathered for the given time
// into a frame of any number of messages, by a timer and not by a goroutine a client: that takes the least CPU time and
// memory of what the library offers, and is the only way in which pushes that wait together share a write. Buffers to
// write from are shared, those to read into small, and commands are handled on goroutines that end, so that none keeps a
// deep stack. Pings are off, since the clients answer none and no other candidate sends any meanwhile.
func startCentrifuge(message []byte, wait string) (local, error) {
	gather, err := time.ParseDuration(wait)
	if err != nil {
		return nil, fmt.Errorf("reading how long to gather: %w", err)
	}
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, fmt.Errorf("making a node: %w", err)
	}
	l := &channelServer{node: node, message: message, ended: make(chan error, 1)}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		subscription := map[string]centrifuge.SubscribeOptions{channel: {}}
		if e.Name != "" {
			subscription = map[string]centrifuge.SubscribeOptions{e.Name: {EnableRecovery: true}}
		}
		return centrifuge.ConnectReply{
			Credentials:        &centrifuge.Credentials{},
			Subscriptions:      subscription,
			WriteDelay:         gather,
			WriteWithTimer:     true,
			MaxMessagesInFrame: -1,
		}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnMessage(func(centrifuge.MessageEvent) { l.received.Add(1) })
	})
	if err := node.Run(); err != nil {
		return nil, fmt.Errorf("running a node: %w", err)
	}
	if err := l.keep(); err != nil {
		return nil, errors.Join(err, node.Shutdown(context.Background()))
	}
	if l.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(fmt.Errorf("listening: %w", err), node.Shutdown(context.Background()))
	}
	l.http.Handler = centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		ReadBufferSize: 512, UseWriteBufferPool: true, ProcessCommandsOffReadLoop: true,
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1},
	})
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

func (l *channelServer) addr() string   { return l.listener.Addr().String() }
func (*channelServer) path() string     { return "/connection/websocket" }
func (*channelServer) greeting() []byte { return []byte(`{"id":1,"connect":{}}`) }
func (*channelServer) receipt() []byte  { return []byte(`{"send":{"data":{"t":"ack","seq":[1]}}}`) }
func (l *channelServer) taken() int     { return int(l.received.Load()) }
func (l *channelServer) sessions() int  { return l.node.Hub().NumSubscribers(channel) }

func (l *channelServer) round(pushes int) error {
	for range pushes {
		if _, err := l.node.Publish(channel, l.message); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	return nil
}

func (l *channelServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	return errors.Join(l.node.Shutdown(ctx), l.http.Close(), <-l.ended)
}
