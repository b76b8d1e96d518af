package bulk

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/carillon-push/carillon/pkg/push"
)

// perPage is how many users are asked for at once.
const perPage = 1000

// listing gives the users of an app in the order of their ordinals, a page at a time.
type listing struct {
	calls *caller
	after push.Ordinal
	ended bool // there are no more pages
}

// page is the service's answer.
type page struct {
	Accounts []listed      `json:"accounts"`
	Next     *push.Ordinal `json:"next"` // where to go on; null at the end
}

// listed is a user as the service gives it: the account is in one of the two ways.
type listed struct {
	Account       *string           `json:"account"`
	AccountBase64 *string           `json:"accountBase64"`
	Attributes    map[string]string `json:"attributes"`
	Tags          []string          `json:"tags"`
}

// next gives the users of the next page, which may be none.
func (l *listing) next(ctx context.Context) ([]User, error) {
	var p page
	q := url.Values{"after": {strconv.FormatUint(uint64(l.after), 10)}, "limit": {strconv.Itoa(perPage)}}
	if err := l.calls.native(ctx, http.MethodGet, accountsPath, q, nil, &p); err != nil {
		return nil, fmt.Errorf("list the accounts behind ordinal %d: %w", l.after, err)
	}
	users := make([]User, len(p.Accounts))
	for i, a := range p.Accounts {
		account, err := accountOf(a.Account, a.AccountBase64)
		if err != nil {
			return nil, fmt.Errorf("read the accounts behind ordinal %d: %w", l.after, err)
		}
		users[i] = User{Account: account, Attributes: a.Attributes, Tags: a.Tags}
	}
	switch {
	case p.Next == nil:
		l.ended = true
	case *p.Next <= l.after:
		return nil, fmt.Errorf("the service lists the accounts behind ordinal %d after those behind %d", *p.Next, l.after)
	default:
		l.after = *p.Next
	}
	return users, nil
}
