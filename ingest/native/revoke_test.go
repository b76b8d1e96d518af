package native

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// usersOf plays a shard's matcher for one push, with users who match.
func (a *api) usersOf(shard push.Shard, seq push.Seq, users ...uint32) {
	a.Helper()
	data, err := wire.EncodeBitmap(roaring.BitmapOf(users...))
	if err != nil {
		a.Fatal(err)
	}
	_, _, err = a.b.Publish(a.Context(), broker.Message{
		Subject: wire.AudienceSubject(a.app, shard, seq), Data: data, Header: map[string]string{wire.HeaderCardinality: fmt.Sprint(len(users))},
	})
	if err != nil {
		a.Fatal(err)
	}
}

// receiptOf plays a gateway.
func (a *api) receiptOf(seq push.Seq, r wire.Receipt) {
	a.Helper()
	data, err := wire.EncodeReceipt(r)
	if err != nil {
		a.Fatal(err)
	}
	if _, _, err := a.b.Publish(a.Context(), broker.Message{Subject: wire.ReceiptSubject(a.app, 0, seq), Data: data}); err != nil {
		a.Fatal(err)
	}
}

// evaluated is a matcher who gives a push's revocation its audience as soon as it is there.
func (a *api) evaluated(p accepted, users ...uint32) (done chan push.Seq) {
	done = make(chan push.Seq, 1)
	go func() {
		ctx, cancel := context.WithTimeout(a.Context(), 10*time.Second)
		defer cancel()
		_ = a.b.Fold(ctx, broker.FoldConfig{
			Stream: wire.PushesStream, Filter: wire.RevocationSubject(a.app, p.Seq),
			Handle: func(m *broker.Message) error {
				r, err := wire.DecodePush(m.Data, push.Seq(m.Seq))
				if err != nil || r.Revokes != p.Seq {
					a.Errorf("the revocation is %+v, %v", r, err)
				}
				a.usersOf(0, push.Seq(m.Seq), users...)
				done <- push.Seq(m.Seq)
				return context.Canceled
			},
		})
	}()
	return done
}

// revocation is the answer as it is read.
type revocation struct {
	ID               push.TaskID
	State, RevokedAt string
	tally
}

func TestRevokedPush(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t))
	ok[account](a, 201, "PUT", "/v1/accounts/u", "")
	p := ok[accepted](a, 202, "POST", "/v1/pushes", `{"lifetime":3600,"body":`+hello+`}`)
	other := ok[accepted](a, 202, "POST", "/v1/pushes", `{"body":`+hello+`}`)
	a.usersOf(0, p.Seq, 1, 2, 3, 4, 5, 6)
	a.usersOf(0, other.Seq, 1)
	a.receiptOf(p.Seq, wire.Receipt{Received: roaring.BitmapOf(1), Sent: roaring.BitmapOf(2, 3)})
	a.receiptOf(p.Seq, wire.Receipt{Received: roaring.BitmapOf(2, 99), Opened: roaring.BitmapOf(4)})
	a.receiptOf(other.Seq, wire.Receipt{Received: roaring.BitmapOf(5)})

	// One gateway, which publishes something when it is asked.
	leave, err := a.b.Join(wire.RoleDeliver)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, stop := context.WithCancel(t.Context())
	served, serving := make(chan error, 1), make(chan struct{})
	go func() {
		served <- a.b.Serve(ctx, wire.SessionRevokedFilter(), "", func() { close(serving) }, func(r *broker.Request) {
			q, err := wire.DecodeJSON[wire.RevokedRequest](r.Data)
			m, lerr := a.b.Get(ctx, wire.AudiencesStream, q.Audiences)
			if err != nil || lerr != nil || r.Subject != wire.SessionRevokedSubject(a.app) {
				t.Errorf("asked at %s for %+v: %v, %v", r.Subject, q, err, lerr)
			} else if place, err := wire.ParsePushPlace(m.Subject); err != nil || place.Seq <= other.Seq {
				t.Errorf("asked before the revocation: %+v, %v", place, err)
			}
			a.receiptOf(p.Seq, wire.Receipt{Sent: roaring.BitmapOf(5)})
			if err := r.Respond([]byte("{}")); err != nil {
				t.Error(err)
			}
		})
	}()
	<-serving
	defer func() {
		stop()
		<-served
	}()

	path := "/v1/pushes/" + string(p.ID)
	seq := a.evaluated(p, 1, 2, 3, 4, 5, 6)
	got := ok[revocation](a, 200, "DELETE", path, "")
	if want := (tally{Audience: 6, Received: 3, Opened: 1, Sent: 2, Withheld: 1}); got.State != "revoked" || got.ID != p.ID || got.tally != want {
		t.Errorf("revoked: %+v, want %+v", got, want)
	}
	again := ok[revocation](a, 200, "DELETE", path, "")
	if again.tally != got.tally || again.RevokedAt != got.RevokedAt {
		t.Errorf("again: %+v", again)
	}
	if shown := ok[pushView](a, 200, "GET", path, ""); shown.RevokedAt != got.RevokedAt {
		t.Errorf("shown as revoked at %q, want %q", shown.RevokedAt, got.RevokedAt)
	}
	list := ok[pushList](a, 200, "GET", "/v1/pushes", "")
	if len(list.Pushes) != 2 || list.Pushes[0].RevokedAt != "" || list.Pushes[1].RevokedAt != got.RevokedAt {
		t.Errorf("listed: %s", js(list))
	}
	for _, none := range []push.Seq{<-seq, 0} { // a revocation is no push, and nothing has the number 0
		for _, method := range []string{"GET", "DELETE"} {
			a.refused(404, codePush, "-", method, "/v1/pushes/"+string(push.NewTaskID(a.app, none)), "")
		}
	}
}

// While a matcher or a gateway has not confirmed, there are no counts, and the call can be repeated.
func TestRevokingTakesLong(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t), func(c *Config) { c.RevokeWait = 100 * time.Millisecond })
	ok[account](a, 201, "PUT", "/v1/accounts/u", "")
	p := ok[accepted](a, 202, "POST", "/v1/pushes", `{"lifetime":3600,"body":`+hello+`}`)
	a.usersOf(0, p.Seq, 1)
	path := "/v1/pushes/" + string(p.ID)
	if got := ok[revocation](a, 202, "DELETE", path, ""); got.State != "revoking" || got.tally != (tally{}) {
		t.Errorf("without a matcher: %+v", got)
	}
	<-a.evaluated(p, 1)
	leave, err := a.b.Join(wire.RoleDeliver)
	if err != nil {
		t.Fatal(err)
	}
	if got := ok[revocation](a, 202, "DELETE", path, ""); got.State != "revoking" {
		t.Errorf("with a gateway that does not answer: %+v", got)
	}
	leave()
	if got := ok[revocation](a, 200, "DELETE", path, ""); got.State != "revoked" || got.tally != (tally{Audience: 1, Withheld: 1}) {
		t.Errorf("revoked: %+v", got)
	}
}

// A revocation ends with its push, to the second.
func TestRevocationsLifetime(t *testing.T) {
	t.Parallel()
	a := serve(t, brokertest.Start(t), func(c *Config) { c.RevokeWait = time.Millisecond })
	for lifetime, kept := range map[int]bool{0: false, 1: true, 604800: true} {
		p := ok[accepted](a, 202, "POST", "/v1/pushes", `{"lifetime":`+strconv.Itoa(lifetime)+`,"body":`+hello+`}`)
		a.do("DELETE", "/v1/pushes/"+string(p.ID), "")
		first, err1 := a.b.Get(t.Context(), wire.PushesStream, uint64(p.Seq))
		last, err2 := a.b.Last(t.Context(), wire.PushesStream, wire.RevocationSubject(a.app, p.Seq))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		pushed, err1 := wire.DecodePush(first.Data, push.Seq(first.Seq))
		r, err2 := wire.DecodePush(last.Data, push.Seq(last.Seq))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		over := r.At.Unix() >= pushed.Expire() // a second may have passed
		if !over && r.Expire() != pushed.Expire() || over && r.Expire() != 0 || !kept && r.Expire() != 0 {
			t.Errorf("lifetime %d: the push ends at %d, its revocation of %v at %d", lifetime, pushed.Expire(), r.At, r.Expire())
		}
	}
}
