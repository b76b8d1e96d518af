package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nuid"

	"github.com/carillon-push/carillon/pkg/push"
)

// QuotaError is the refusal of a push that its app's limits do not admit now.
type QuotaError struct {
	// Code is 90024 or 90047.
	Code   Code
	Detail string
	// RetryAfter is when this limit admits a push again, if nobody else pushes meanwhile.
	RetryAfter time.Duration
}

func (e *QuotaError) Error() string { return e.Detail }

// AdmitPush pays for a push that comes otherwise than by im_push, and whose repeats are known by its name, out of the same
// quota. settle is called once: with false, when it is certain that this push is not on the broker as a new one, it gives
// the unit back. The error is a *QuotaError when the app has to wait.
func (i *Ingest) AdmitPush(ctx context.Context, app push.AppID) (settle func(isNew bool), err error) {
	t := i.tenant(app)
	if t == nil {
		return nil, refuse(codeApp, fmt.Sprintf("sdkappid %d is no app of this service", app))
	}
	ticket, err := t.quota.reserve(ctx, i.limits(t), nuid.Next(), i.now())
	if err != nil {
		return nil, err
	}
	return func(isNew bool) {
		if !isNew {
			i.giveBack(ctx, t, ticket)
		}
	}, nil
}
