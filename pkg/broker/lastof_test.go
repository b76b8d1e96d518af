package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/wire"
)

// An answer about many subjects is whole or an error, whenever its time runs out: half of one would say that accounts do
// not exist.
func TestLastOfIsWholeOrAnError(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	if err := b.EnsureApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	body := bytes.Repeat([]byte("x"), 1024)
	msgs := make([]broker.Message, n)
	subjects := make([]string, n, n+100)
	for i := range msgs {
		msgs[i] = account(fmt.Sprint("u", i))
		msgs[i].Data, subjects[i] = body, msgs[i].Subject
	}
	for from := 0; from < n; from += 500 {
		if _, err := b.Write(wire.AccountsStream(app), msgs[from:from+500]...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		subjects = append(subjects, wire.AccountSubject(app, fmt.Sprint("nobody", i)))
	}
	whole := 0
	for wait := 250 * time.Microsecond; wait < 4*time.Second; wait *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		got, err := b.LastOf(ctx, wire.AccountsStream(app), subjects)
		cancel()
		if err == nil {
			whole++
			if len(got) != n {
				t.Fatalf("within %v %d of %d were found, and no error", wait, len(got), n)
			}
		}
	}
	if whole == 0 {
		t.Error("no answer was whole")
	}
	none, err := b.LastOf(t.Context(), wire.AccountsStream(app), subjects[n:])
	if err != nil || len(none) != 0 {
		t.Errorf("of subjects that nobody has %v were found, %v", none, err)
	}
}
