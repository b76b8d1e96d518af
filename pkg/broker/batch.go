package broker

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// errBatchAnswer is returned for an answer to a batch that is about something else.
var errBatchAnswer = errors.New("the broker's answer is not about the batch")

// batchName is a name that no other batch of a stream has while both are under way. It is short: the broker stores it with
// every message, and reads it several times.
func batchName() string { return strconv.FormatUint(rand.Uint64()>>16, 36) }

// publishBatch puts messages into one stream, all or none, and gives the last one's sequence. There is one answer for all:
// another for the first message would be another round trip. One message serves for all of them, since the client has laid
// it out when it returns from publishing it.
func (b *core) publishBatch(ctx context.Context, msgs []Message) (uint64, error) {
	name := batchName()
	id, place := []string{name}, []string{""}
	out := &nats.Msg{Header: nats.Header{}}
	for i := range msgs {
		m := &msgs[i]
		clear(out.Header)
		m.setHeaders(out.Header)
		place[0] = strconv.Itoa(i + 1)
		out.Header[jetstreamext.BatchIDHeader], out.Header[jetstreamext.BatchSeqHeader] = id, place
		out.Subject, out.Data = m.Subject, m.Data
		if i == len(msgs)-1 {
			break
		}
		if err := b.bulk.PublishMsg(out); err != nil {
			return 0, err
		}
	}
	out.Header[jetstreamext.BatchCommitHeader] = []string{"1"}
	answer, err := b.bulk.RequestMsgWithContext(ctx, out)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
		Batch  string              `json:"batch"`
		Count  int                 `json:"count"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, errors.Join(errBatchAnswer, err)
	}
	switch {
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Stream == "" || ack.Batch != name || ack.Count != len(msgs):
		return 0, errBatchAnswer
	}
	return ack.Seq, nil
}
