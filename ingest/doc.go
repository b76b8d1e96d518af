// Package ingest is the REST contract: it checks a request, writes to the broker, and answers when the broker has it. Echo
// stays in here.
//
// A request goes through the same checks in the same order, whatever it asks for: the URL, the app, the signature, the
// rights, the frequency, the JSON, the fields. Each command is one row in the table of commands, with a handler that gets
// what was checked and gives an answer or an error; one switch makes a code of the error.
//
// It holds no state but counters. Pushes a day and calls a second are counted on the broker, for all processes; what a
// process knows of them is a guess or a lease. Failed authentications are counted in each process.
//
// The apps change while requests run (SetApps): a request looks its app up once, and ends with what it found.
//
// Why a crash between any two lines is safe: a request that was answered OK is on the broker; one that was not is there
// whole or not at all, and its caller repeats it. Repeating any command does no harm: accounts are made once, changes of a
// record give the same record again, and a push that is repeated within wire.DuplicateWindow is the same push. A caller
// that hangs up does not stop its request half way. A push's quota is paid before the push is published: a crash between
// costs one unit, and never is a push unpaid.
package ingest
