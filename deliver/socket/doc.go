// Package socket keeps the connections of users on raw descriptors under its own epoll loops, so that an idle connection
// costs one small struct and one table entry: no goroutine, no net.Conn, no buffer, no queue. They speak WebSocket, or get a
// stream of server-sent events, and either may come over TLS. It runs on Linux.
//
// # The way of a connection
//
// net/http reads the request, after the handshake of TLS if the listener is one of NewTLSListener. Check looks at the
// WebSocket headers while a refusal can still be plain HTTP, Upgrade answers 101, or Stream 200, and takes the connection
// over, Poller.Adopt moves its descriptor into the poller. From then on Conn.Send works. Conn.Start lets the client's bytes
// in: only from there on is the Owner called, so that whoever adopts can register the connection and send what must come
// first without racing its own callbacks.
//
// # Who may touch a descriptor
//
// Anybody may write to it, under the connection's lock. Only the connection's loop reads it, and only the loop closes
// it: another goroutine that wants it closed shuts it down, which the loop sees as an event. The number is given back to
// the kernel after the table has let go of it and under the lock that writers take, so a write can never reach a
// descriptor that was reused, and an event can never reach a connection that came later.
//
// # Sends together
//
// A Writer gathers sends, each with the lock of its connection, and gives them to an io_uring in one call, within which the
// kernel completes them all. So that it cannot wait for somebody who waits for it, it sends what it has gathered before it
// waits for a lock.
//
// # TLS
//
// crypto/tls takes and gives records through the poller's descriptor and never waits. A read that would have to ends with a
// temporary error, which leaves half a record where it is; a write always takes everything, and what the socket does not is
// kept as records, one chunk of at most a record, while frames behind it wait as they are, shared. All of it happens under
// the connection's lock, reading too, since a client may ask for new keys, which is answered.
//
// # Event streams
//
// Their clients say nothing: what comes is thrown away, and the kernel tells whether anybody still takes what is sent. The
// heartbeat is a comment. The close is an event, and one for draining sets the time after which the client comes back.
//
// # Closing
//
// A close frame is sent, the sending side is shut, and what the client still sends is thrown away until it hangs up, or
// for some seconds at most. Closing at once would reset the connection and lose the frame that says why. A client
// whose socket is full gets the rest of the frame that it has half, then the close frame; the frames between are dropped.
//
// # Bounds
//
// A connection holds at most Config.QueueLimit of output and one call's frames more, by reference to frames that all
// connections share, and at most twice Config.FrameLimit of input, only while a frame or message is incomplete. TLS adds a
// record each way, and its keys. A loop takes one buffer from a connection at a time, so that a client that sends much or
// byte by byte delays nobody. One that is woken again and again lets more come for two milliseconds, so that it is woken
// less often than it reads.
package socket
