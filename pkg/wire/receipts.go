package wire

import (
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

const receiptVersion = 2

// Receipt is what one gateway has to say of a push and a shard's users since its last message. A nil set is an empty one;
// decoded ones are never nil.
type Receipt struct {
	Received *roaring.Bitmap
	Opened   *roaring.Bitmap
	// Sent are those to whose connection the push was given and who have not acknowledged it by the same message.
	Sent *roaring.Bitmap
}

// sets of a receipt, in the order of the layout.
func (r *Receipt) sets() [3]**roaring.Bitmap {
	return [...]**roaring.Bitmap{&r.Received, &r.Opened, &r.Sent}
}

// EncodeReceipt lays a receipt out: version 2 | received | opened | sent, each a bitmap behind its length.
func EncodeReceipt(r Receipt) ([]byte, error) {
	b := []byte{receiptVersion}
	for _, set := range r.sets() {
		var data []byte
		if *set != nil && !(*set).IsEmpty() {
			var err error
			if data, err = EncodeBitmap(*set); err != nil {
				return nil, err
			}
		}
		b = appendBytes(b, data)
	}
	return b, nil
}

// DecodeReceipt reads what EncodeReceipt wrote, for a shard of the given width.
func DecodeReceipt(b []byte, width uint32) (Receipt, error) {
	r := reader{b: b}
	r.version(receiptVersion)
	var rec Receipt
	for _, set := range rec.sets() {
		data := r.bytes("set", len(b))
		*set = roaring.New()
		if len(data) == 0 || r.err != nil {
			continue
		}
		var err error
		if *set, err = DecodeBitmap(data, width); err != nil {
			return Receipt{}, fmt.Errorf("receipt: %w", err)
		}
		if (*set).IsEmpty() { // has one form only
			r.fail("an empty set with bytes")
		}
	}
	if err := r.end(); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	return rec, nil
}
