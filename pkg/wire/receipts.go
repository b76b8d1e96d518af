package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

const receiptVersion = 1

// Receipt is what one gateway heard of a push from a shard's users since its last message.
type Receipt struct {
	Received *roaring.Bitmap
	Opened   *roaring.Bitmap
}

// EncodeReceipt lays a receipt out: version 1 | received (length, bitmap) | opened (length, bitmap).
func EncodeReceipt(r Receipt) ([]byte, error) {
	received, err := EncodeBitmap(r.Received)
	if err != nil {
		return nil, err
	}
	opened, err := EncodeBitmap(r.Opened)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(received)+len(opened)+1+2*binary.MaxVarintLen32)
	b = append(b, receiptVersion)
	b = appendBytes(b, received)
	return appendBytes(b, opened), nil
}

// DecodeReceipt reads what EncodeReceipt wrote, for a shard of the given width.
func DecodeReceipt(b []byte, width uint32) (Receipt, error) {
	r := reader{b: b}
	r.version(receiptVersion)
	received, opened := r.bytes("received", len(b)), r.bytes("opened", len(b))
	if err := r.end(); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	var rec Receipt
	var err error
	if rec.Received, err = DecodeBitmap(received, width); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	if rec.Opened, err = DecodeBitmap(opened, width); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	return rec, nil
}
