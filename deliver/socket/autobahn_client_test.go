package socket

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Opcodes of frames.
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

// clientFrame lays out one masked frame: whether it is the last of its message, its three reserved bits, and the rest.
func clientFrame(last bool, reserved, op byte, payload string) []byte {
	first := reserved<<4 | op
	if last {
		first |= 0x80
	}
	b := make([]byte, 0, len(payload)+14)
	switch n := len(payload); {
	case n <= 125:
		b = append(b, first, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, first, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, 0x80|127), uint64(n))
	}
	b = append(b, maskingKeys[:4]...)
	at := len(b)
	b = append(b, payload...)
	for rest := b[at:]; len(rest) > 0; {
		rest = rest[subtle.XORBytes(rest, rest, maskingKeys):]
	}
	return b
}

// maskingKeys are the same key again and again, so that much is masked at once.
var maskingKeys = bytes.Repeat([]byte{0x37, 0xfa, 0x21, 0x3d}, 1<<10)

// The frames that most cases are made of.
func textOf(s string) []byte      { return clientFrame(true, 0, opText, s) }
func binaryOf(s string) []byte    { return clientFrame(true, 0, opBinary, s) }
func beginOf(s string) []byte     { return clientFrame(false, 0, opText, s) }
func moreOf(s string) []byte      { return clientFrame(false, 0, opMore, s) }
func lastOf(s string) []byte      { return clientFrame(true, 0, opMore, s) }
func pingOf(s string) []byte      { return clientFrame(true, 0, opPing, s) }
func pongOf(s string) []byte      { return clientFrame(true, 0, opPong, s) }
func closeOf(body string) []byte  { return clientFrame(true, 0, opClose, body) }
func codeOf(code uint16) string   { return string(binary.BigEndian.AppendUint16(nil, code)) }
func sized(n int) string          { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }
func pieces(s ...[]byte) [][]byte { return s }

// fragmented is a message of the opcode in frames of n bytes; a piece each.
func fragmented(op byte, payload string, n int) (frames [][]byte) {
	for first := true; first || payload != ""; first = false {
		part := payload[:min(n, len(payload))]
		payload = payload[len(part):]
		frames = append(frames, clientFrame(payload == "", 0, op, part))
		op = opMore
	}
	return frames
}

// chopped cuts bytes in pieces of n.
func chopped(b []byte, n int) (cut [][]byte) {
	for len(b) > 0 {
		k := min(n, len(b))
		cut = append(cut, b[:k])
		b = b[k:]
	}
	return cut
}

// Of more than singles bytes only so many at either end are written one by one: there the headers are.
const (
	singles = 4 << 10
	ends    = 64
)

// bytewise cuts what is written in single bytes.
func bytewise(of [][]byte) (cut [][]byte) {
	b := concat(of...)
	if len(b) <= singles {
		return chopped(b, 1)
	}
	cut = append(chopped(b[:ends], 1), b[ends:len(b)-ends])
	return append(cut, chopped(b[len(b)-ends:], 1)...)
}

// fuzzer is a client on bare TCP that shares no code with the service.
type fuzzer struct {
	net.Conn
	r *bufio.Reader
}

// fuzz connects and shakes hands; offer is what the client offers as extensions, which must all be declined.
func (s *server) fuzz(t testing.TB, offer string) (*fuzzer, *recorder) {
	t.Helper()
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patient))
	f := &fuzzer{conn, bufio.NewReader(conn)}
	request := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: " + offer + "\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(f.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: %v", res)
	}
	if got := res.Header.Values("Sec-WebSocket-Extensions"); len(got) > 0 {
		t.Fatalf("of the offer %q the service accepted %q", offer, got)
	}
	return f, receive(t, s.adopted)
}

// read gives the next frame as the tables write it, such as "text hello" or "pong x"; a close frame as its code. At the end
// of the stream it gives io.EOF.
func (f *fuzzer) read() (string, error) {
	first, err := f.r.ReadByte()
	if err != nil {
		return "", err
	}
	second, err := f.r.ReadByte()
	if err != nil {
		return "", within(err)
	}
	if first&0xf0 != 0x80 || second >= 0x80 {
		return "", fmt.Errorf("a frame begins with %#x %#x: fragmented, masked or with reserved bits", first, second)
	}
	n := uint64(second)
	var long [8]byte
	switch n {
	case 126:
		_, err = io.ReadFull(f.r, long[6:])
		n = binary.BigEndian.Uint64(long[:])
	case 127:
		_, err = io.ReadFull(f.r, long[:])
		n = binary.BigEndian.Uint64(long[:])
	}
	if err != nil || n > 64<<20 {
		return "", fmt.Errorf("a frame of %d bytes, %w", n, within(err))
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return "", within(err)
	}
	switch op := first & 0xf; {
	case op == opText:
		return "text " + string(payload), nil
	case op == opPong:
		return "pong " + string(payload), nil
	case op == opClose && n == 0:
		return "close", nil
	case op == opClose && n >= 2:
		return closed(binary.BigEndian.Uint16(payload), string(payload[2:])), nil
	}
	return "", fmt.Errorf("a frame of opcode %d and %d bytes", first&0xf, n)
}

// closed is a close frame as read gives it. A reason is only told by whoever finds fault, and is for people: that there is
// one is all that counts.
func closed(code uint16, reason string) string {
	if reason != "" {
		return fmt.Sprintf("close %d with a reason", code)
	}
	return fmt.Sprintf("close %d", code)
}

// within says that a stream must not end in a frame.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
