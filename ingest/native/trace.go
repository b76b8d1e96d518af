package native

import (
	"context"
	"net/http"

	"github.com/carillon-push/carillon/pkg/push"
)

// tracePush tells what became of a push for one user.
func (n *Native) tracePush(ctx context.Context, c *call) (*reply, error) {
	p, err := n.findPush(ctx, c)
	if err != nil {
		return nil, err
	}
	account := c.params[1]
	if err := push.ValidAccount(account); err != nil {
		return nil, refuse(http.StatusBadRequest, codeParameter, "the path: %v", err)
	}
	t, err := n.history.Trace(ctx, p.App, p.Seq, account)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: t}, nil
}
