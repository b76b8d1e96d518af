// Package carillon is the root of a self-hosted service that pushes a message to all users of an app, to those with tags,
// or to those with attributes: to whoever is online, and within a push's lifetime to the others when they log in.
//
// There is nothing to import here. The command is cmd/carillon; the roles that it runs are the packages ingest, matcher,
// deliver and offline, which meet in the messages of pkg/wire; pkg/client is the SDK. The tests of this package hold the
// tree to its plan.
package carillon
