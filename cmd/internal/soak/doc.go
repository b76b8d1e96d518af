// Package soak tries the whole service for long, under failure, and checks what it promises (docs/delivery.md) for every
// (push, user) pair.
//
// A cluster of processes serves thousands of simulated users, while processes are killed, stopped and drained. Every action
// comes from a schedule that one seed decides (schedule.go). What the actors do and see goes into a ledger, each with its
// time: pushes (push.go), changes of users (user.go), sessions with what came on them (session.go). At the end a judge
// (judge.go) says for each pair whether the user must have got the push, must not have, or may have:
//
//   - A call has an interval, from its beginning to its answer. A change that was answered before a push began is seen by
//     it; one that began after the push was evaluated is not; in between it may be seen or not.
//   - A call that failed may or may not have been done. A change is repeated until it is answered, which closes its
//     interval; a push may then have copies that nobody was told of, and those may come or not.
//
// Conditions are evaluated over that in three values, in the most naive way and with nothing of the service's own code, so
// that a fault there is no fault here too. Nothing is sampled: "may" is said only where the promises leave it open.
package soak
