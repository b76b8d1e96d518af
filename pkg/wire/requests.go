package wire

import "github.com/carillon-push/carillon/pkg/push"

// PushRequest is the entry of a caller's idempotency key: written once, before its push, it fixes what the push will be
// called. The push is then create-once under that name, so that whoever repeats the request, be it in another process
// after a crash, finds the push or makes it, and never makes a second.
type PushRequest struct {
	// NUID is the last token of the push's subject.
	NUID string `json:"push"`
	// Digest is the SHA-256 of the request's body: another body under the same key is another request.
	Digest []byte `json:"digest"`
}

// PushRequestSubject is the subject of the key `<app>.<hash>` in the REQUESTS bucket; hash names a caller's idempotency
// key and is one subject token.
func PushRequestSubject(app push.AppID, hash string) string {
	return "$KV." + RequestsBucket + "." + app.String() + "." + hash
}
