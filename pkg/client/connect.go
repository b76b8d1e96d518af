package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-push/carillon/pkg/wire"
)

const (
	// signWait bounds the wait for a signature.
	signWait = 20 * time.Second
	// handshake is how long a gateway may take up to its hello where nothing else is set. One that hangs still has its
	// connections accepted, and is left for another.
	handshake = 5 * time.Second
	// maxHandshake is how long it may take after others took too long: a gateway that is slow, as when all its users come at
	// once, answers within ten seconds.
	maxHandshake = 20 * time.Second
	maxMessage   = 1 << 20 // bytes of one message
	codeExpired  = 70001   // the contract's, of a UserSig
)

// errSlow is returned by connect when a gateway was still silent after the time that it had.
var errSlow = errors.New("the service did not answer in time")

// sign gives the signature of the next connection.
func (s *Session) sign(ctx context.Context) (string, error) {
	if s.Sig == nil {
		return s.UserSig, nil
	}
	ctx, cancel := context.WithTimeout(ctx, signWait)
	defer cancel()
	sig, err := s.Sig(ctx)
	if err != nil {
		return "", fmt.Errorf("get a UserSig: %w", err)
	}
	return sig, nil
}

// connect logs in at a base and reads the hello, within some time.
func (s *Session) connect(ctx context.Context, base string, patience time.Duration) (l *link, hello wire.ServerFrame, err error) {
	sig, err := s.sign(ctx)
	if err != nil {
		return nil, wire.ServerFrame{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("connect: %w (%v): %w", errSlow, patience, context.DeadlineExceeded)
		}
	}()
	q := url.Values{"sdkappid": {s.App.String()}, "identifier": {s.Account}, "usersig": {sig}}
	if s.Platform != "" {
		q.Set("platform", s.Platform)
	}
	if s.Device != "" {
		q.Set("device", s.Device)
	}
	l = newLink(s)
	conn, resp, err := websocket.Dial(bounded, strings.TrimRight(base, "/")+"/v1/session?"+q.Encode(), &websocket.DialOptions{
		HTTPClient:     withoutRedirects(s.HTTP),
		OnPingReceived: func(context.Context, []byte) bool { l.hear(); return true },
	})
	if err != nil {
		return nil, wire.ServerFrame{}, s.refusal(resp, err, sig)
	}
	l.conn = conn
	conn.SetReadLimit(maxMessage)
	hello, err = l.next(bounded)
	if err == nil && hello.Type != wire.FrameHello {
		err = fmt.Errorf("the service began with a %q frame, not with hello", hello.Type)
	}
	if err != nil {
		_ = conn.CloseNow() // the session is over in any case
		return nil, wire.ServerFrame{}, err
	}
	return l, hello, nil
}

// refusal is the one place where an answer to a login becomes an error. No error shows the signature, which is in the URL.
func (s *Session) refusal(resp *http.Response, err error, sig string) error {
	if resp == nil {
		return fmt.Errorf("connect: %w", withoutURL(err))
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("connect: %w", err)
	}
	defer resp.Body.Close()
	var body struct {
		ErrorInfo string
		ErrorCode int
	}
	if raw, rerr := io.ReadAll(io.LimitReader(resp.Body, maxMessage)); rerr == nil {
		_ = json.Unmarshal(raw, &body) // an answer that is not the service's says only its status
	}
	if body.ErrorInfo == "" {
		body.ErrorInfo = http.StatusText(resp.StatusCode)
	}
	later := &Unavailable{resp.StatusCode, body.ErrorCode, body.ErrorInfo, retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		// A signature may expire on its way, or in the app's store. The same one again is no accident.
		if body.ErrorCode == codeExpired && s.Sig != nil && sig != s.expired {
			s.expired = sig
			return later
		}
		return &Refused{resp.StatusCode, body.ErrorCode, body.ErrorInfo}
	}
	return later
}

// retryAfter reads the header of that name: seconds, or a date. It is 0 when it says neither, or what is past.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// ending is the one place where the end of a connection becomes an error.
func (s *Session) ending(err error) error {
	var closed websocket.CloseError
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return fmt.Errorf("a message of the service is longer than %d bytes", maxMessage)
	case !errors.As(err, &closed):
		return fmt.Errorf("the connection was lost: %w", err)
	}
	code := wire.CloseCode(closed.Code)
	info := closed.Reason
	if info == "" {
		info = code.Reason()
	}
	switch code {
	case wire.CloseKicked, wire.CloseDeleted, wire.CloseTooMany:
		return &Refused{Code: int(code), Info: info}
	case wire.CloseNormal:
		if s.out.toldLogout() {
			return errLoggedOut
		}
	}
	return &Closed{int(code), info}
}

// errLoggedOut is the end of a session that the user wanted.
var errLoggedOut = errors.New("logged out")
