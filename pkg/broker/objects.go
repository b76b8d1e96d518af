package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/carillon-push/carillon/pkg/wire"
)

// Object is a large object of a bucket, to be read and closed. It is whole and unchanged when reading it has come to io.EOF.
type Object struct {
	io.ReadCloser
	Meta  map[string]string
	Bytes uint64
	// Written is the broker's time of it.
	Written time.Time
}

// PutObject puts what write gives under a name in place of what was there, which stays until all of it is there. It goes by
// the connection for reading: many megabytes must not stand before a write.
func (b *Broker) PutObject(ctx context.Context, bucket wire.ObjectBucket, name string, meta map[string]string, write func(io.Writer) error) (bytes uint64, err error) {
	store, err := b.in.ObjectStore(ctx, bucket.Name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if err = b.make(ctx, b.objects(bucket)); err == nil {
			store, err = b.in.ObjectStore(ctx, bucket.Name)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("open bucket %s: %w", bucket.Name, err)
	}
	err = b.guarded("put object "+name, func() error {
		r, w := io.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.CloseWithError(write(w)) // without an error this is io.EOF
		}()
		info, err := store.Put(ctx, jetstream.ObjectMeta{Name: name, Metadata: meta}, r)
		_ = r.Close() // so that write ends when nobody reads it any more
		<-ended
		if err != nil {
			return fmt.Errorf("put %s into bucket %s: %w", name, bucket.Name, err)
		}
		bytes = info.Size
		return nil
	})
	return bytes, err
}

// GetObject opens an object, ErrNotFound when there is none. Reading it ends with ctx.
func (b *Broker) GetObject(ctx context.Context, bucket wire.ObjectBucket, name string) (*Object, error) {
	store, err := b.in.ObjectStore(ctx, bucket.Name)
	var res jetstream.ObjectResult
	if err == nil {
		res, err = store.Get(ctx, name)
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("%s of bucket %s: %w", name, bucket.Name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s of bucket %s: %w", name, bucket.Name, err)
	}
	info, err := res.Info()
	if err != nil {
		_ = res.Close()
		return nil, fmt.Errorf("get %s of bucket %s: %w", name, bucket.Name, err)
	}
	return &Object{ReadCloser: res, Meta: info.Metadata, Bytes: info.Size, Written: info.ModTime}, nil
}

// Log is what tells a stream from another of the same name, and how far it goes.
type Log struct {
	Created time.Time
	Last    uint64
}

// Log asks for a stream's identity and end.
func (b *Broker) Log(ctx context.Context, stream string) (Log, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return Log{}, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return Log{}, fmt.Errorf("ask for the state of %s: %w", stream, err)
	}
	return Log{Created: info.Created, Last: info.State.LastSeq}, nil
}
