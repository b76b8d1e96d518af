package wire

import (
	"bytes"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

// EncodeBitmap lays out a set of places within a shard in roaring's portable format.
func EncodeBitmap(b *roaring.Bitmap) ([]byte, error) {
	data, err := b.ToBytes()
	if err != nil {
		return nil, fmt.Errorf("lay out a bitmap: %w", err)
	}
	return data, nil
}

// DecodeBitmap reads a set of places within a shard of the given width. The result is a copy and validated, so that
// bytes from elsewhere can neither alias nor crash.
func DecodeBitmap(data []byte, width uint32) (*roaring.Bitmap, error) {
	b := roaring.New()
	r := bytes.NewReader(data)
	if _, err := b.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("bitmap: %w: %v", ErrCorrupt, err)
	}
	if r.Len() > 0 {
		return nil, fmt.Errorf("bitmap: %w: %d bytes left over", ErrCorrupt, r.Len())
	}
	if err := b.Validate(); err != nil && !b.IsEmpty() {
		return nil, fmt.Errorf("bitmap: %w: %v", ErrCorrupt, err)
	}
	if !b.IsEmpty() && b.Maximum() >= width {
		return nil, fmt.Errorf("bitmap: %w: %d is outside a shard of %d", ErrCorrupt, b.Maximum(), width)
	}
	return b, nil
}
