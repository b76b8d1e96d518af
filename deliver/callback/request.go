package callback

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/carillon-push/carillon/deliver/channel"
	"github.com/carillon-push/carillon/deliver/channel/webhook"
	"github.com/carillon-push/carillon/pkg/push"
)

const (
	// maxAfter is the longest pause that an answer can ask for.
	maxAfter = time.Hour
	// maxAnswer is how much of an answer is read, so that its connection can be used again.
	maxAnswer = 64 << 10
)

// tell posts events until the server has acknowledged them, or they are too old. An error means that they are to be told
// anew.
func (t *teller) tell(ctx context.Context, events []event) error {
	defer t.c.metrics.waiting(t.app.ID, time.Time{})
	if events = t.young(events); len(events) == 0 {
		return nil
	}
	ordinals := make([]push.Ordinal, len(events))
	for i, e := range events {
		ordinals[i] = e.ordinal
	}
	names, err := t.c.dir.Names(ctx, t.app.ID, ordinals...)
	if err != nil {
		return err
	}
	events = slices.DeleteFunc(events, func(e event) bool {
		_, named := names[e.ordinal]
		if !named {
			t.c.metrics.events.WithLabelValues(e.kind, eventUnknown).Inc()
		}
		return !named
	})
	for pause := t.c.cfg.Retry; ; pause = min(2*pause, t.c.cfg.RetryMax) {
		if events = t.young(events); len(events) == 0 {
			return nil
		}
		t.c.metrics.waiting(t.app.ID, events[0].logged)
		after, err := t.post(ctx, events, names)
		if err == nil {
			for _, e := range events {
				t.c.metrics.events.WithLabelValues(e.kind, eventTold).Inc()
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := max(pause, min(after, maxAfter))
		t.log.Warn("a callback was not acknowledged; will try again", "events", len(events), "oldest", events[0].logged.UTC(), "after", wait, "err", err)
		select { // the pause wakes it, ctx ends it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// young gives those events that are not too old to be told, and counts the others.
func (t *teller) young(events []event) []event {
	now := time.Now()
	return slices.DeleteFunc(events, func(e event) bool {
		old := now.Sub(e.logged) > t.c.cfg.MaxAge
		if old {
			t.c.metrics.events.WithLabelValues(e.kind, eventExpired).Inc()
		}
		return old
	})
}

// post makes one request. An error comes with the pause that the server asks for, if it does.
func (t *teller) post(ctx context.Context, events []event, names map[push.Ordinal]string) (after time.Duration, err error) {
	result := requestUnreachable
	defer func() { t.c.metrics.requests.WithLabelValues(result).Inc() }()
	ctx, cancel := context.WithTimeout(ctx, t.c.cfg.Timeout)
	defer cancel()
	content, id, err := t.body(events, names)
	if err != nil {
		return 0, err
	}
	secrets, err := webhook.ReadSecrets(t.app.SecretFile)
	if err != nil {
		result = requestUnsigned
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.app.URL, bytes.NewReader(content))
	if err != nil {
		return 0, fmt.Errorf("make a request of a callback: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	webhook.Sign(r.Header, secrets, id, time.Now(), content)
	got, err := t.c.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer got.Body.Close()
	_, _ = io.CopyN(io.Discard, got.Body, maxAnswer)
	if got.StatusCode/100 != 2 {
		result = requestRefused
		return channel.RetryAfter(got.Header), errors.New("the server answered " + got.Status)
	}
	result = requestAcknowledged
	return 0, nil
}

// body lays a request out, and names it after its events.
func (t *teller) body(events []event, names map[push.Ordinal]string) (content []byte, id string, err error) {
	b := body{App: t.app.ID, Events: make([]line, len(events))}
	h := sha256.New()
	for i, e := range events {
		fmt.Fprintf(h, "%d:%s", len(e.id), e.id)
		b.Events[i] = line{
			ID: e.id, Event: e.kind, At: e.at.UnixMilli(), Account: names[e.ordinal], Task: e.task, Platform: e.platform, Reason: e.reason,
		}
	}
	if content, err = json.Marshal(b); err != nil {
		return nil, "", fmt.Errorf("lay out %d events: %w", len(events), err)
	}
	return content, "msg_" + hex.EncodeToString(h.Sum(nil)[:16]), nil
}
