// Package bulk is `carillon import` and `carillon export`: all users of an app from a file, and back into one, in the same
// form and through the interfaces that every operator has.
//
// A file is a list of users, each with account, attributes and tags: NDJSON, or CSV with a header. Neither is ever held as a
// whole. An import reads records, gathers them to batches and has several batches under way at once; a batch is done when
// the service has answered OK to all of its calls. Batches are committed in the order of the file: only then are refused
// lines reported, and is the place up to which every line is done noted beside the file. Since everything that an import
// writes does no harm when it is written again, a crash between any two steps costs at most the repetition of what was under
// way. Two lines about one account are applied in their order, whatever batches they are in.
package bulk
