package ingest

import (
	"context"
	"slices"
	"time"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// What an account's status can be.
const (
	statusOnline     = "Online"
	statusPushOnline = "PushOnline" // no session, but a device that was in use within deviceInUse
	statusOffline    = "Offline"
)

// deviceInUse is the contract's week within which a device makes its user PushOnline.
const deviceInUse = 7 * 24 * time.Hour

type platformStatus struct {
	Platform string
	Status   string
}

// onlineItem has its status under both names that clients look for.
type onlineItem struct {
	Account string `json:"To_Account"`
	Status  string
	State   string
	Detail  []platformStatus `json:",omitempty"`
}

type missingItem struct {
	Account   string `json:"To_Account"`
	ErrorCode Code
}

type onlineAnswer struct {
	outcome
	QueryResult []onlineItem
	ErrorList   []missingItem
}

// queryOnline is query_online_status.
func (i *Ingest) queryOnline(ctx context.Context, c *call) (answer, error) {
	names, err := accounts(c.body.get("To_Account"), maxOnline, codeManyOnline)
	if err != nil {
		return nil, err
	}
	need := c.body.get("IsNeedDetail")
	if !need.absent() {
		if err := isFrom(0, 1)(need); err != nil {
			return nil, err
		}
	}
	users, err := i.users(ctx, c.app.ID, names)
	if err != nil {
		return nil, err
	}
	ordinals := make([]push.Ordinal, 0, len(users))
	for _, u := range users {
		ordinals = append(ordinals, u.Ordinal)
	}
	platforms, err := i.platforms(ctx, c.app.ID, ordinals)
	if err != nil {
		return nil, err
	}
	detail := string(need.raw) == "1"
	phones, err := i.phones(ctx, c.app.ID, ordinals, platforms, detail)
	if err != nil {
		return nil, err
	}
	out := &onlineAnswer{QueryResult: []onlineItem{}, ErrorList: []missingItem{}}
	for _, name := range names {
		u, exists := users[name]
		if !exists {
			out.ErrorList = append(out.ErrorList, missingItem{name, codeNoSuchAccount})
			continue
		}
		item := onlineItem{Account: name, Status: statusOffline}
		on, asleep := platforms[u.Ordinal], phones[u.Ordinal]
		switch {
		case len(on) > 0:
			item.Status = statusOnline
		case asleep != nil:
			item.Status = statusPushOnline
		}
		if detail {
			for _, p := range on {
				item.Detail = append(item.Detail, platformStatus{p, statusOnline})
			}
			for _, p := range asleep {
				if p != "" && !slices.Contains(on, p) {
					item.Detail = append(item.Detail, platformStatus{p, statusPushOnline})
				}
			}
		}
		item.State = item.Status
		out.QueryResult = append(out.QueryResult, item)
	}
	return out, nil
}

// phones are the platforms of the devices that some users had in use lately, sorted and each once; not nil for who has such
// a device, be its platform unknown. Of users with sessions they are looked up for the detail only.
func (i *Ingest) phones(ctx context.Context, app push.AppID, ordinals []push.Ordinal, online map[push.Ordinal][]string, detail bool) (map[push.Ordinal][]string, error) {
	asked := slices.DeleteFunc(slices.Clone(ordinals), func(o push.Ordinal) bool { return !detail && len(online[o]) > 0 })
	if len(asked) == 0 {
		return nil, nil
	}
	lists, err := i.dir.Devices(ctx, app, asked...)
	if err != nil {
		return nil, err
	}
	since, in := time.Now().Add(-deviceInUse).Unix(), map[push.Ordinal][]string{}
	for o, devices := range lists {
		for _, d := range devices {
			if d.Seen >= since {
				in[o] = append(in[o], d.Platform)
			}
		}
		if platforms, ok := in[o]; ok {
			slices.Sort(platforms)
			in[o] = slices.Compact(platforms)
		}
	}
	return in, nil
}

// platforms asks every gateway on which platforms some users have sessions, sorted and each once.
func (i *Ingest) platforms(ctx context.Context, app push.AppID, ordinals []push.Ordinal) (map[push.Ordinal][]string, error) {
	if len(ordinals) == 0 {
		return nil, nil
	}
	request := wire.EncodeJSON(wire.StatusRequest{Ordinals: ordinals})
	replies, err := i.b.Gather(ctx, wire.RoleDeliver, wire.SessionStatusSubject(app), request)
	if err != nil {
		return nil, err
	}
	on := map[push.Ordinal][]string{}
	for _, raw := range replies {
		reply, err := wire.DecodeJSON[wire.StatusReply](raw)
		if err != nil {
			return nil, err
		}
		for _, s := range reply.Sessions {
			on[s.Ordinal] = append(on[s.Ordinal], s.Platform)
		}
	}
	for o, platforms := range on {
		slices.Sort(platforms)
		on[o] = slices.Compact(platforms)
	}
	return on, nil
}
