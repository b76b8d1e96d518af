package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
)

const (
	pushVersion = 1
	// A revocation has a version of its own, so that a process that knows none does not take it for a push to everybody.
	revocationVersion = 2
	// So has a replay, whose condition alone would be for people who have had the push.
	replayVersion = 3
	// MaxPushMeta bounds what stands beside a push's body: its condition is at most some twenty terms of fifty bytes,
	// and the vendor part is bounded by the request.
	maxPushMeta = 1 << 20
)

// pushMeta is what stands beside the body; members are short since every shard's log holds a copy.
type pushMeta struct {
	App       push.AppID      `json:"app"`
	Sender    []byte          `json:"from"`
	Caller    []byte          `json:"by"`
	Random    uint32          `json:"rnd"`
	At        int64           `json:"at"` // unix milliseconds
	Lifetime  int64           `json:"life"`
	Condition string          `json:"cond,omitempty"`
	Offline   json.RawMessage `json:"off,omitempty"`
	Revokes   push.Seq        `json:"rev,omitempty"`
	Again     push.Seq        `json:"again,omitempty"`
}

// EncodePush lays a push out for the PUSHES stream; its Seq is the message's sequence and not in it.
//
//	version 1 (2 for a revocation, 3 for a replay) | meta (length, JSON) | the rest: MsgBody as it was sent
//
// The body stands outside the JSON since a JSON encoder would not keep its bytes.
func EncodePush(p *push.Push) ([]byte, error) {
	m, err := json.Marshal(pushMeta{
		App: p.App, Sender: []byte(p.Sender), Caller: []byte(p.Caller), Random: p.Random, At: p.At.UnixMilli(),
		Lifetime: int64(p.Lifetime / time.Second), Condition: p.Condition, Offline: p.OfflineInfo,
		Revokes: p.Revokes, Again: p.Again,
	})
	if err != nil {
		return nil, fmt.Errorf("lay out a push: %w", err)
	}
	b := make([]byte, 0, len(m)+len(p.Body)+8)
	b = append(b, versionOf(p.Revokes, p.Again))
	b = appendBytes(b, m)
	return append(b, p.Body...), nil
}

func versionOf(revokes, again push.Seq) byte {
	switch {
	case revokes != 0:
		return revocationVersion
	case again != 0:
		return replayVersion
	}
	return pushVersion
}

// DecodePush reads what EncodePush wrote; seq is the message's sequence in PUSHES. The body aliases b.
func DecodePush(b []byte, seq push.Seq) (*push.Push, error) {
	r := reader{b: b}
	version := byte(pushVersion)
	if len(b) > 0 && (b[0] == revocationVersion || b[0] == replayVersion) {
		version = b[0]
	}
	r.version(version)
	raw := r.bytes("meta", maxPushMeta)
	if r.err != nil {
		return nil, fmt.Errorf("push %d: %w", seq, r.err)
	}
	var m pushMeta
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("push %d: %w: %v", seq, ErrCorrupt, err)
	}
	of := max(m.Revokes, m.Again) // the push that this one is about
	if versionOf(m.Revokes, m.Again) != version || of != 0 && of >= seq || m.Revokes != 0 && (m.Again != 0 || len(r.b) > 0) {
		return nil, fmt.Errorf("push %d: %w: version %d, revokes %d, again %d, body of %d bytes", seq, ErrCorrupt, version, m.Revokes, m.Again, len(r.b))
	}
	if m.App == 0 || m.Lifetime < 0 || m.Lifetime > push.MaxLifetime {
		return nil, fmt.Errorf("push %d: %w: app %d, lifetime %d s", seq, ErrCorrupt, m.App, m.Lifetime)
	}
	return &push.Push{
		App: m.App, Seq: seq, Sender: string(m.Sender), Caller: string(m.Caller), Random: m.Random,
		At: time.UnixMilli(m.At), Lifetime: time.Duration(m.Lifetime) * time.Second,
		Condition: m.Condition, Body: json.RawMessage(r.b), OfflineInfo: m.Offline,
		Revokes: m.Revokes, Again: m.Again,
	}, nil
}

// PushID is the message id that makes a repeat within DuplicateWindow the same push.
func PushID(p *push.Push) string {
	return fmt.Sprintf("%d/%d/%x", p.App, p.Random, p.Sender)
}

// HeaderSource is set by the broker on a copied message: the source's name, then the sequence there.
const HeaderSource = "Nats-Stream-Source"

// ParseSource reads the origin's sequence from a copied push's HeaderSource.
func ParseSource(header string) (push.Seq, error) {
	f := strings.Fields(header)
	if len(f) < 2 {
		return 0, fmt.Errorf("%w: source header %q", ErrCorrupt, header)
	}
	n, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: source header %q", ErrCorrupt, header)
	}
	return push.Seq(n), nil
}
