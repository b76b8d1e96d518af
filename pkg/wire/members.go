package wire

import (
	"fmt"

	"github.com/carillon-push/carillon/pkg/push"
)

// Roles whose members divide the shards among themselves.
const (
	RoleMatcher = "matcher"
	RoleOffline = "offline"
	RoleNotify  = "notify"
)

// RoleCallback is the role whose members divide the apps among themselves that have a callback.
const RoleCallback = "callback"

// MemberNews is what a member of a role tells the others when it comes and when it goes, so that they need not find out.
// It is JSON: rare, and read by people.
type MemberNews struct {
	ID   string `json:"id"`
	Left bool   `json:"left,omitempty"`
}

// maxMemberID is longer than any id that a member gives itself.
const maxMemberID = 64

// DecodeMemberNews reads an announcement.
func DecodeMemberNews(b []byte) (MemberNews, error) {
	n, err := DecodeJSON[MemberNews](b)
	if err != nil {
		return n, err
	}
	if n.ID == "" || len(n.ID) > maxMemberID {
		return n, fmt.Errorf("%w: a member's id of %d bytes", ErrCorrupt, len(n.ID))
	}
	return n, nil
}

// MemberSubject is where members of a role announce themselves: `member.<role>`.
func MemberSubject(role string) string { return "member." + role }

// HolderSubject asks whoever does a role's work on a shard, and is ready, for its member id (scatter and gather).
func HolderSubject(role string, app push.AppID, shard push.Shard) string {
	return fmt.Sprintf("holder.%s.%d.%d", role, app, shard)
}
