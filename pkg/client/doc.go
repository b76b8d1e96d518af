// Package client is the Go SDK: Session for an app's users, REST for its operator.
//
// A Session keeps one user logged in. Listen connects, comes back when the connection is lost, shows each push once and
// acknowledges it when it has been shown:
//
//	s := &client.Session{
//		URLs: []string{"wss://push.example.com"}, App: 1400000001, Account: "alice", UserSig: sig,
//		OnPush: func(p client.Push) { fmt.Println(p.Text()) },
//	}
//	err := s.Listen(ctx) // until ctx ends, Logout, or the service refuses the session
//
// A lost acknowledgement, a repeated push and a reconnection do no harm in any order: whatever the service does not know to
// be acknowledged it sends again at the next login, and what was shown is recognised by its sequence and acknowledged again.
// So the SDK keeps acknowledgements only to spare those repeats, and may forget some when there are very many.
//
// Three goroutines hold a session: the one that called Listen runs every callback, one reads, one writes. Listen ends them
// before it goes on.
package client
