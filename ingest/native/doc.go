// Package native is the REST interface under /v1: accounts with their tags and attributes, the app's attribute names, and
// pushes, each as one resource, with HTTP status codes and application/problem+json (RFC 9457). It does what the contract
// under /v4 does, on the same broker, and more: conditions of any nesting, counting without pushing (dryRun), and
// Idempotency-Key. openapi.json describes it, and tests hold the two together.
//
// Callers are the holders of an app's API keys, each with roles, and the app's admins with a UserSig, who may do all.
//
// Why a crash between any two lines is safe: package directory says it for accounts. A push is on the broker or it is not;
// one with an Idempotency-Key gets its name on the broker before it is published, and is create-once under that name, so
// that a repeat, in whatever process, finds it or makes it (idempotency.go).
package native
