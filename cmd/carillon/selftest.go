package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/carillon-push/carillon/cmd/internal/app"
	"github.com/carillon-push/carillon/cmd/internal/config"
	"github.com/carillon-push/carillon/pkg/client"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/usersig"
	"github.com/carillon-push/carillon/pkg/wire"
)

// The self-test's own user and tag, so that nobody else gets its push.
const (
	selfTestAccount = "carillon-self-test"
	selfTestTag     = "carillon-self-test"
	selfTestWait    = 10 * time.Second
)

// selfTestPush pushes once through the whole pipeline, as an operator and a user would: over REST to a tag, and to a
// session that waits for it.
func selfTestPush(ctx context.Context, a *app.App, of config.App, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, selfTestWait)
	defer cancel()
	rest := &client.REST{URL: a.URL(), App: of.SDKAppID, Admin: of.Admins[0], Key: of.Key, HTTP: a.Client()}
	say := func(format string, args ...any) { fmt.Fprintf(out, "self-test: "+format+"\n", args...) }
	if err := rest.Call(ctx, "im_open_login_svc/account_import", map[string]any{"UserID": selfTestAccount}, nil); err != nil {
		return err
	}
	if err := rest.Call(ctx, "all_member_push/im_add_tag", map[string]any{
		"UserTags": []any{map[string]any{"To_Account": selfTestAccount, "Tags": []string{selfTestTag}}},
	}, nil); err != nil {
		return err
	}
	say("the account %q has the tag %q", selfTestAccount, selfTestTag)

	arrived, listening := make(chan client.Push, 1), make(chan struct{})
	ended := make(chan error, 1)
	var begun sync.Once // a session that is lost and opened again changes nothing
	sig, err := usersig.Sign(of.Key, of.SDKAppID, selfTestAccount, time.Now(), time.Hour, nil)
	if err != nil {
		return err
	}
	session, stop := context.WithCancel(ctx)
	defer stop()
	listener := &client.Session{
		URLs: []string{a.SessionsURL()}, App: of.SDKAppID, Account: selfTestAccount, UserSig: sig,
		OnState: func(state client.State) {
			if _, open := state.(client.Open); open {
				begun.Do(func() { close(listening) })
			}
		},
		OnPush: func(p client.Push) { arrived <- p },
		Gather: time.Millisecond,
		HTTP:   a.Client(),
	}
	go func() { ended <- listener.Listen(session) }()
	if err := await(ctx, listening, ended); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	say("its session is open at %s", a.SessionsURL())

	start := time.Now()
	id, err := rest.Push(ctx, map[string]any{
		"MsgRandom": rand.Uint32(), "MsgLifeTime": 60, "Condition": map[string]any{"TagsOr": []string{selfTestTag}},
		"MsgBody": []any{map[string]any{"MsgType": "TIMTextElem", "MsgContent": map[string]any{"Text": "hello from Carillon"}}},
	})
	if err != nil {
		return err
	}
	say("accepted in %s: push %s is durable on the broker", since(start), id)
	for {
		select { // the push wakes it; the session's end, or the time, ends it
		case p := <-arrived:
			if p.ID != id {
				continue // what an earlier self-test left
			}
			say("delivered in %s from the call", since(start))
		case err := <-ended:
			return fmt.Errorf("the session ended before the push came: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("push %s did not arrive within %s", id, selfTestWait)
		}
		break
	}
	matched, err := matchedBy(ctx, a, id)
	if err != nil {
		return err
	}
	say("matched %s of the app's users", matched)
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// matchedBy reads the audience's size where the matcher wrote it.
func matchedBy(ctx context.Context, a *app.App, id push.TaskID) (string, error) {
	of, seq, err := id.Parse()
	if err != nil {
		return "", err
	}
	shards, err := a.Broker().Shards(ctx, of)
	if err != nil {
		return "", err
	}
	sum := 0
	for _, s := range shards {
		m, err := a.Broker().Last(ctx, wire.AudiencesStream, wire.AudienceSubject(of, s, seq))
		if err != nil {
			return "", err
		}
		var n int
		if _, err := fmt.Sscan(m.Header[wire.HeaderCardinality], &n); err != nil {
			return "", fmt.Errorf("audience of %s in shard %d: %w", id, s, err)
		}
		sum += n
	}
	return fmt.Sprint(sum), nil
}

func await(ctx context.Context, event <-chan struct{}, ended <-chan error) error {
	select { // the event wakes it; the session's end, or the time, ends it
	case <-event:
		return nil
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func since(t time.Time) string {
	return fmt.Sprintf("%.1f ms", float64(time.Since(t).Microseconds())/1000)
}
