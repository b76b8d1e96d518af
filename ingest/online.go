package ingest

import (
	"context"
	"slices"

	"github.com/carillon-push/carillon/pkg/push"
	"github.com/carillon-push/carillon/pkg/wire"
)

// What an account's status can be.
const (
	statusOnline  = "Online"
	statusOffline = "Offline"
)

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
	out := &onlineAnswer{QueryResult: []onlineItem{}, ErrorList: []missingItem{}}
	for _, name := range names {
		u, exists := users[name]
		if !exists {
			out.ErrorList = append(out.ErrorList, missingItem{name, codeNoSuchAccount})
			continue
		}
		item := onlineItem{Account: name, Status: statusOffline}
		if on := platforms[u.Ordinal]; len(on) > 0 {
			item.Status = statusOnline
			if string(need.raw) == "1" {
				for _, p := range on {
					item.Detail = append(item.Detail, platformStatus{p, statusOnline})
				}
			}
		}
		item.State = item.Status
		out.QueryResult = append(out.QueryResult, item)
	}
	return out, nil
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
