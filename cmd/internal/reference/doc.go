// Package reference keeps docs/reference.md complete: its test makes the page from the code that defines each key, metric,
// stream, subject and code, and fails when the page in the tree is another one.
package reference
