package matcher

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/carillon-push/carillon/pkg/wire"
)

// holes says whether the fold of a shard's log may lack a change. The log keeps each user's last record only: one that is
// replaced before the fold has come to it is never seen, and until the fold has come to what replaced it, the index has the
// user as before both. A push between the two must not be evaluated by that.
type holes struct {
	next uint64        // sequence that follows without a gap; of the fold alone
	gap  atomic.Uint64 // sequence behind the last gap that the fold has met
	full atomic.Uint64 // the last gap of which everything that was missing has been folded since
}

// pass notes that the fold has come to a message.
func (h *holes) pass(seq uint64) {
	if seq != h.next {
		h.gap.Store(seq)
	}
	h.next = seq + 1
}

// has says whether the index has every change up to a place in the log; await would return at once.
func (s *shard) has(seq uint64) bool {
	return s.at.At() >= seq && s.holes.gap.Load() <= s.holes.full.Load()
}

// await waits until the index has every change up to a place in the log: folded, or replaced by a later one that is. What
// replaces a change that the fold has missed was written before the fold came past it, and so stands at or before the
// log's end of now; unless it has been replaced in turn, which is another gap.
func (s *shard) await(ctx context.Context, seq uint64) error {
	for {
		if err := s.at.Await(ctx, seq); err != nil {
			return err
		}
		gap := s.holes.gap.Load()
		if gap <= s.holes.full.Load() {
			return nil
		}
		end, err := s.m.b.Last(ctx, wire.UsersStream(s.app, s.id), ">")
		if err != nil {
			return fmt.Errorf("ask for the log's end: %w", err)
		}
		if err := s.at.Await(ctx, end.Seq); err != nil {
			return err
		}
		if s.holes.gap.Load() == gap {
			s.holes.full.Store(gap)
			return nil
		}
		seq = end.Seq
	}
}
