package wire

import (
	"encoding/json"
	"fmt"

	"github.com/carillon-push/carillon/pkg/push"
)

// RoleDeliver is the role whose members answer the requests of this file.
const RoleDeliver = "deliver"

// Requests that go to every gateway at once; each answers for its own sessions. They are JSON: rare, and read by people.

// StatusRequest asks which of some users have sessions.
type StatusRequest struct {
	Ordinals []push.Ordinal `json:"ordinals"`
}

// SessionStatus is one session of a user that was asked for.
type SessionStatus struct {
	Ordinal  push.Ordinal `json:"ordinal"`
	Platform string       `json:"platform"`
}

// StatusReply is one gateway's answer.
type StatusReply struct {
	Sessions []SessionStatus `json:"sessions"`
}

// EndRequest ends every session of a user with the given close code.
type EndRequest struct {
	Ordinal push.Ordinal `json:"ordinal"`
	Code    CloseCode    `json:"code"`
}

// EndReply is one gateway's answer.
type EndReply struct {
	Ended int `json:"ended"`
}

// ConnectedRequest asks who of a shard is connected. The answer is a bitmap of their places (EncodeBitmap).
type ConnectedRequest struct {
	Shard push.Shard `json:"shard"`
}

// RevokedRequest asks a gateway to answer once it has dispatched AUDIENCES up to a place, a revocation's, and has published
// what it knows of who was sent what. The answer is empty.
type RevokedRequest struct {
	Audiences uint64 `json:"audiences"`
}

// EncodeJSON lays out one of the messages that are JSON.
func EncodeJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: %T cannot be JSON: %v", v, err)) // a fault of this package, not of input
	}
	return b
}

// DecodeJSON reads one of the messages that are JSON.
func DecodeJSON[T any](b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%w: %T: %v", ErrCorrupt, v, err)
	}
	return v, nil
}
