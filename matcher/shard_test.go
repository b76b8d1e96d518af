package matcher

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-push/carillon/pkg/broker"
	"github.com/carillon-push/carillon/pkg/broker/brokertest"
	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// What has gathered for a batch is in the index once the log has been read, though the message that was to come next has been
// deleted meanwhile.
func TestALogWhoseLastMessageIsDeletedWhileItIsRead(t *testing.T) {
	t.Parallel()
	m, err := New(Default(), brokertest.Start(t), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, begin := range map[string]func(*shard){"from its beginning": (*shard).builds, "behind a snapshot": func(*shard) {}} {
		s := newShard(m, &broker.Hold{App: app})
		begin(s)
		for u := range push.Ordinal(3) {
			data := wire.AppendRecord(nil, &push.Record{Account: "u"})
			if err := s.fold(&broker.Message{Subject: wire.UserSubject(app, 0, u+1), Data: data, Seq: uint64(u) + 1, More: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if s.caughtUp(); s.index.Users() != 3 {
			t.Errorf("%s: the index has %d users of 3", name, s.index.Users())
		}
	}
}
