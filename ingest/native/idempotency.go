package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"

	"github.com/carillon-push/carillon/ingest"
	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// A request with an Idempotency-Key goes in three steps, each of which whoever repeats it finds done or does:
//
//  1. Its entry is written, create-once under the key: it fixes the push's name and the request's digest.
//  2. The push is published, create-once under that name.
//  3. The push is read back by that name, which gives every repeat the same answer.
//
// A crash before the first leaves nothing; between the first and the second an entry whose push the repeat publishes;
// after the second a push that the repeat finds. Two at once agree on one entry, and of their two pushes the broker takes
// one. The entry goes after 24 hours, and its push stays for days: whoever read the entry just before still finds it.

// maxKeyLen is the longest Idempotency-Key, in bytes.
const maxKeyLen = 255

// request is one with an Idempotency-Key.
type request struct {
	subject string // of its entry
	digest  []byte
	name    string     // of its push; empty when there is no entry yet
	made    *push.Push // nil when there is no push yet
}

// request looks whether the key was used before, and what came of it. what is all that the request depends on.
func (n *Native) request(ctx context.Context, c *call, keys []string, what []byte) (*request, error) {
	if len(keys) != 1 || keys[0] == "" || len(keys[0]) > maxKeyLen {
		return nil, refuse(http.StatusBadRequest, codeParameter, "Idempotency-Key is not one value of 1 to %d bytes", maxKeyLen)
	}
	key, digest := sha256.Sum256([]byte(keys[0])), sha256.Sum256(what)
	r := &request{
		subject: wire.PushRequestSubject(c.app.ID, base64.RawURLEncoding.EncodeToString(key[:])), digest: digest[:],
	}
	return r, n.lookUp(ctx, c.app.ID, r)
}

// lookUp reads the entry, and then the push.
func (n *Native) lookUp(ctx context.Context, app push.AppID, r *request) error {
	m, err := n.b.Last(ctx, wire.RequestsStream, r.subject)
	if errors.Is(err, broker.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	entry, err := wire.DecodeJSON[wire.PushRequest](m.Data)
	if err != nil {
		return err
	}
	if !bytes.Equal(entry.Digest, r.digest) {
		return refuse(http.StatusUnprocessableEntity, codeKeyReused, "this Idempotency-Key was used with another body")
	}
	r.name = entry.NUID
	return n.find(ctx, app, r)
}

// find reads the push by its name.
func (n *Native) find(ctx context.Context, app push.AppID, r *request) error {
	m, err := n.b.Last(ctx, wire.PushesStream, wire.PushSubject(app, r.name))
	if errors.Is(err, broker.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.made, err = wire.DecodePush(m.Data, push.Seq(m.Seq))
	return err
}

// answer is that of a push which was made before; nil when there is none.
func (r *request) answer() *reply {
	if r == nil || r.made == nil {
		return nil
	}
	out := acceptance(r.made)
	out.header = map[string]string{"Idempotency-Replayed": "true"}
	return out
}

// publishOnce does what is left of the steps, under a name where none is fixed yet.
func (n *Native) publishOnce(ctx context.Context, p *push.Push, r *request, name string) (*reply, error) {
	if r.name == "" {
		entry := wire.EncodeJSON(wire.PushRequest{NUID: name, Digest: r.digest})
		_, _, err := n.b.Publish(ctx, broker.Message{Subject: r.subject, Data: entry}.Once())
		switch {
		case err == nil:
			r.name = name
		case !errors.Is(err, broker.ErrConflict):
			return nil, err
		default: // somebody wrote it meanwhile
			if err := n.lookUp(ctx, p.App, r); err != nil {
				return nil, err
			}
			if r.made != nil {
				return r.answer(), nil
			}
			if r.name == "" {
				return nil, errNow // it was written and is gone again: its 24 hours ended between
			}
		}
	}
	out, err := n.publish(ctx, p, r.name)
	var over *ingest.QuotaError
	if !errors.Is(err, broker.ErrConflict) && !errors.As(err, &over) {
		return out, err
	}
	// It is there already, or what it costs has just been used up, which may have been by the same request.
	if err := n.find(ctx, p.App, r); err != nil {
		return nil, err
	}
	switch {
	case r.made != nil:
		return r.answer(), nil
	case over != nil:
		return nil, over
	}
	return nil, errNow
}
