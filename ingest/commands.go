package ingest

import "context"

// command is one row of the contract.
type command struct {
	service, name string
	perSecond     int // calls a second of each app, where the app sets nothing else
	family        *family
	handle        func(context.Context, *call) (answer, error)
}

// The contract's limits.
const (
	callsPerSecond   = 100
	importsPerSecond = 200
	maxAccounts      = 100 // in one request
	maxOnline        = 500 // in one query_online_status
)

// table is every command that is answered.
func (i *Ingest) table() []*command {
	const login, all, tim = "im_open_login_svc", "all_member_push", "timpush"
	return []*command{
		{login, "account_import", importsPerSecond, accountsFamily, i.importAccount},
		{login, "multiaccount_import", callsPerSecond, accountsFamily, i.importAccounts},
		{login, "account_delete", callsPerSecond, accountsFamily, i.deleteAccounts},
		{login, "account_check", callsPerSecond, accountsFamily, i.checkAccounts},
		{login, "kick", callsPerSecond, accountsFamily, i.kick},
		{all, "im_push", callsPerSecond, pushFamily, i.push},
		{all, "im_set_attr_name", callsPerSecond, pushFamily, i.setAttrNames},
		{all, "im_get_attr_name", callsPerSecond, pushFamily, i.getAttrNames},
		{all, "im_set_attr", callsPerSecond, pushFamily, i.setAttrs},
		{all, "im_remove_attr", callsPerSecond, pushFamily, i.removeAttrs},
		{all, "im_get_attr", callsPerSecond, pushFamily, i.getAttrs},
		{all, "im_add_tag", callsPerSecond, pushFamily, i.addTags},
		{all, "im_remove_tag", callsPerSecond, pushFamily, i.removeTags},
		{all, "im_remove_all_tags", callsPerSecond, pushFamily, i.removeAllTags},
		{all, "im_get_tag", callsPerSecond, pushFamily, i.getTags},
		{tim, "all_member_push_statistics", callsPerSecond, pushFamily, i.pushStatistics},
		{tim, "all_member_push_trace", callsPerSecond, pushFamily, i.pushTrace},
		{tim, "all_member_push_loss", callsPerSecond, pushFamily, i.pushLoss},
		{"openim", "query_online_status", callsPerSecond, onlineFamily, i.queryOnline},
	}
}
