package native

import (
	"context"
	"net/http"
	"unicode/utf8"

	"github.com/carillon-push/carillon/pkg/history"
	"github.com/carillon-push/carillon/pkg/push"
)

// Pages of a replay's users.
const (
	defaultReplayed = 1000
	maxReplayed     = 10_000
)

// replayed is a dry run of a push on the users of today: the counts, or with change a page of users.
type replayed struct {
	*history.Again
	Users []replayedUser `json:"users,omitempty"`
	// Next is what to send as after for the next page; absent when this is the last.
	Next push.Ordinal `json:"next,omitempty"`
}

// replayedUser is named as in account.
type replayedUser struct {
	Ordinal       push.Ordinal `json:"ordinal"`
	Account       string       `json:"account,omitempty"`
	AccountBase64 []byte       `json:"accountBase64,omitempty"`
}

// replayPush evaluates a push again, for nobody: it tells how its audience would differ today.
func (n *Native) replayPush(ctx context.Context, c *call) (*reply, error) {
	p, err := n.findPush(ctx, c)
	if err != nil {
		return nil, err
	}
	change := c.query.Get("change")
	if change == "" {
		a, err := n.history.Again(ctx, p)
		return &reply{status: http.StatusOK, body: replayed{Again: a}}, err
	}
	if change != "added" && change != "removed" {
		return nil, refuse(http.StatusBadRequest, codeParameter, `change is "added" or "removed"`)
	}
	after, err := c.number("after", 0, 0, 1<<63)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", defaultReplayed, 1, maxReplayed)
	if err != nil {
		return nil, err
	}
	members, more, err := n.history.Difference(ctx, p, change == "added", push.Ordinal(after), int(limit))
	if err != nil {
		return nil, err
	}
	out := replayed{Users: make([]replayedUser, len(members))}
	for i, m := range members {
		out.Users[i].Ordinal = m.Ordinal
		if utf8.ValidString(m.Account) {
			out.Users[i].Account = m.Account
		} else {
			out.Users[i].AccountBase64 = []byte(m.Account)
		}
	}
	if more {
		out.Next = members[len(members)-1].Ordinal
	}
	return &reply{status: http.StatusOK, body: out}, nil
}
