package directory

import (
	"context"
	"fmt"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// Names gives the accounts of ordinals, of deleted ones too; an ordinal that was never given is absent. It costs a round
// trip for each shard that they are of, and each 1,024 of them.
func (d *Directory) Names(ctx context.Context, app push.AppID, ordinals ...push.Ordinal) (map[push.Ordinal]string, error) {
	byShard := map[push.Shard][]string{}
	for _, o := range ordinals {
		s := d.b.Sharding().Shard(o)
		byShard[s] = append(byShard[s], wire.UserSubject(app, s, o))
	}
	names := make(map[push.Ordinal]string, len(ordinals))
	for shard, subjects := range byShard {
		records, err := d.b.LastOf(ctx, wire.UsersStream(app, shard), subjects)
		if err != nil {
			return nil, fmt.Errorf("read the accounts of %d ordinals: %w", len(subjects), err)
		}
		for subject, m := range records {
			o, err := wire.ParseUserSubject(subject)
			if err != nil {
				return nil, err
			}
			r, err := wire.DecodeRecord(m.Data)
			if err != nil {
				return nil, fmt.Errorf("read the record of ordinal %d: %w", o, err)
			}
			names[o] = r.Account
		}
	}
	return names, nil
}
