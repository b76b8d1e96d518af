package wire

// Stream is the name of the stream that a bucket is.
func (b Bucket) Stream() string { return "KV_" + b.Name }

// Filter matches the subjects of all entries of a bucket.
func (b Bucket) Filter() string { return "$KV." + b.Name + ".>" }

// LeaderSubject is where a stream's leader, and none of its replicas, is asked for a message.
func LeaderSubject(stream string) string { return "$JS.API.STREAM.MSG.GET." + stream }

// SnapshotSubject is where a stream is asked for a snapshot of itself.
func SnapshotSubject(stream string) string { return "$JS.API.STREAM.SNAPSHOT." + stream }

// RestoreSubject is where a stream is made of a snapshot.
func RestoreSubject(stream string) string { return "$JS.API.STREAM.RESTORE." + stream }
