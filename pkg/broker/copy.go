package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/carillon-push/carillon/pkg/wire"
)

// chunkTime is how long a chunk of a stream may take to come, or to be taken.
const chunkTime = 30 * time.Second

// Copied is one stream that was copied.
type Copied struct {
	Stream   string
	Messages uint64
	Bytes    uint64
	First    uint64
	Last     uint64
}

// CopyTo copies the installation's logs into a broker that has none of them: accounts, users' records, pushes, audiences,
// receipts and settings, each message with its sequence, time and headers, so that ordinals, pushes and places in logs are
// the same there. Devices are left out, as tokens are secrets, and so is what is made from the logs. Roles may go on.
//
// What comes later in the flow is copied first, so that whatever an entry refers to is in the copy. Streams of the names
// without are left out. each is called for each
// stream that is there whole. The broker's consumers are not copied: to.Migrate makes them, before anybody opens it.
func (b *Broker) CopyTo(ctx context.Context, to *Broker, each func(Copied), without ...string) error {
	var names []string
	l := b.js.StreamNames(ctx)
	for name := range l.Name() {
		if order(name) >= 0 && !slices.Contains(without, name) {
			names = append(names, name)
		}
	}
	if err := l.Err(); err != nil {
		return fmt.Errorf("list the broker's streams: %w", err)
	}
	if !slices.Contains(names, wire.PushesStream) {
		return fmt.Errorf("copy the broker's logs: there is no stream %s", wire.PushesStream)
	}
	slices.SortFunc(names, func(a, b string) int { return order(a) - order(b) })
	for _, name := range names {
		if _, err := to.stream(ctx, name); err == nil {
			return fmt.Errorf("copy stream %s: it is there already", name)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	for _, name := range names {
		c, err := b.copyStream(ctx, to, name)
		if err != nil {
			return fmt.Errorf("copy stream %s: %w", name, err)
		}
		each(c)
	}
	return nil
}

// order is when a stream is copied, negative for never.
func order(name string) int {
	if _, _, ok := wire.ParseUsersStream(name); ok {
		return 2
	}
	switch {
	case name == wire.ReceiptsStream:
		return 0
	case name == wire.AudiencesStream:
		return 1
	case wire.IsAccountsStream(name):
		return 3
	case name == wire.SettingsStream, name == wire.PushesStream:
		return 4
	}
	return -1
}

// apiError is how the broker refuses.
type apiError struct {
	Error *struct {
		Code        int    `json:"code"`
		Description string `json:"description"`
	} `json:"error"`
}

func (e apiError) err() error {
	if e.Error == nil {
		return nil
	}
	return fmt.Errorf("%w: %s (%d)", ErrRefused, e.Error.Description, e.Error.Code)
}

// snapshot is a stream's settings and state, as the broker gives and takes them: members that this version does not know go
// along.
type snapshot struct {
	Config map[string]json.RawMessage `json:"config"`
	State  json.RawMessage            `json:"state"`
}

// statusEnd is the status of a snapshot that is whole.
const statusEnd = "204"

// copyStream hands each chunk of a stream's snapshot on, and asks for the next when it is taken.
func (b *Broker) copyStream(ctx context.Context, to *Broker, name string) (Copied, error) {
	inbox := b.nc.NewInbox()
	chunks, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return Copied{}, fmt.Errorf("subscribe to a snapshot: %w", err)
	}
	defer chunks.Unsubscribe() //nolint:errcheck // the connection may be gone already
	if err := chunks.SetPendingLimits(-1, -1); err != nil {
		return Copied{}, fmt.Errorf("subscribe to a snapshot: %w", err)
	}
	var from struct {
		apiError
		snapshot
	}
	// The window bounds what is on its way.
	ask := map[string]any{"deliver_subject": inbox, "no_consumers": true, "jsck": true, "window_size": 4 << 20}
	if err := call(ctx, b.nc, wire.SnapshotSubject(name), ask, &from); err != nil {
		return Copied{}, err
	}
	if err := from.err(); err != nil {
		return Copied{}, fmt.Errorf("ask for a snapshot: %w", err)
	}
	var state struct {
		Messages uint64 `json:"messages"`
		Bytes    uint64 `json:"bytes"`
		First    uint64 `json:"first_seq"`
		Last     uint64 `json:"last_seq"`
	}
	if err := json.Unmarshal(from.State, &state); err != nil {
		return Copied{}, fmt.Errorf("read the snapshot's state: %w", err)
	}
	from.Config["num_replicas"] = json.RawMessage("1")
	delete(from.Config, "placement")
	var into struct {
		apiError
		DeliverSubject string `json:"deliver_subject"`
	}
	if err := call(ctx, to.nc, wire.RestoreSubject(name), from.snapshot, &into); err != nil {
		return Copied{}, err
	}
	if err := into.err(); err != nil {
		return Copied{}, fmt.Errorf("ask to restore: %w", err)
	}
	for {
		m, err := next(ctx, chunks)
		if err != nil {
			return Copied{}, err
		}
		if status := m.Header.Get("Status"); status != "" && status != statusEnd {
			return Copied{}, fmt.Errorf("%w: the snapshot broke off: %s %s", ErrRefused, status, m.Header.Get("Description"))
		}
		answer, err := taken(ctx, to.nc, into.DeliverSubject, m.Data)
		if err != nil {
			return Copied{}, err
		}
		var result apiError
		if len(answer) > 0 {
			if err := json.Unmarshal(answer, &result); err != nil {
				return Copied{}, fmt.Errorf("read the broker's answer: %w", err)
			}
		}
		if err := result.err(); err != nil {
			return Copied{}, fmt.Errorf("restore: %w", err)
		}
		if len(m.Data) == 0 {
			return Copied{name, state.Messages, state.Bytes, state.First, state.Last}, nil
		}
		if m.Reply == "" { // the last one, and then the end
			continue
		}
		if err := m.Respond(nil); err != nil {
			return Copied{}, fmt.Errorf("ask for the next chunk: %w", err)
		}
	}
}

// call asks the broker's interface.
func call(ctx context.Context, nc *nats.Conn, subject string, request, answer any) error {
	raw, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("lay out a request: %w", err)
	}
	if raw, err = taken(ctx, nc, subject, raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	return nil
}

func taken(ctx context.Context, nc *nats.Conn, subject string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTime)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, fmt.Errorf("ask the broker: %w", err)
	}
	return m.Data, nil
}

func next(ctx context.Context, chunks *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTime)
	defer cancel()
	m, err := chunks.NextMsgWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for a chunk of the snapshot: %w", err)
	}
	return m, nil
}
