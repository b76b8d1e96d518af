package wire

// Stream is the name of the stream that a bucket is.
func (b Bucket) Stream() string { return "KV_" + b.Name }

// Filter matches the subjects of all entries of a bucket.
func (b Bucket) Filter() string { return "$KV." + b.Name + ".>" }

// Stream is the name of the stream that a bucket of objects is.
func (b ObjectBucket) Stream() string { return "OBJ_" + b.Name }

// Subjects of the pieces of a bucket's objects, and of what says which pieces are an object.
func (b ObjectBucket) Subjects() []string {
	return []string{"$O." + b.Name + ".C.>", "$O." + b.Name + ".M.>"}
}

// LeaderSubject is where a stream's leader, and none of its replicas, is asked for a message.
func LeaderSubject(stream string) string { return "$JS.API.STREAM.MSG.GET." + stream }

// ClusterSubject is where the leader of the cluster, who alone makes streams and consumers, is asked for a sign of life.
const ClusterSubject = "$JS.API.INFO"

// ConsumerInfoSubject is where a consumer's leader is asked for its state; the leader of the cluster says that there is none.
func ConsumerInfoSubject(stream, consumer string) string {
	return "$JS.API.CONSUMER.INFO." + stream + "." + consumer
}

// StreamInfoSubject is where a stream's leader is asked which subjects it has.
func StreamInfoSubject(stream string) string { return "$JS.API.STREAM.INFO." + stream }

// SnapshotSubject is where a stream is asked for a snapshot of itself.
func SnapshotSubject(stream string) string { return "$JS.API.STREAM.SNAPSHOT." + stream }

// RestoreSubject is where a stream is made of a snapshot.
func RestoreSubject(stream string) string { return "$JS.API.STREAM.RESTORE." + stream }
