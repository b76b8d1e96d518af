package wire

import (
	"bytes"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

// maxBitmap is more than the length of any set of that many places whose containers (of 2^16 places) have their shortest
// form: 8 KiB for each, and its share of the header.
func maxBitmap(places uint64) int {
	containers := (places + 1<<16 - 1) >> 16
	return 8 + int(containers)*(8192+16)
}

// EncodeBitmap lays out a set of places within a shard in roaring's portable format. It does not change the set.
func EncodeBitmap(b *roaring.Bitmap) ([]byte, error) {
	if !b.IsEmpty() && b.GetSerializedSizeInBytes() > uint64(maxBitmap(uint64(b.Maximum())+1)) {
		// Set operations may leave runs that are longer than what they stand for.
		b = b.Clone()
		b.RunOptimize()
	}
	data, err := b.ToBytes()
	if err != nil {
		return nil, fmt.Errorf("lay out a bitmap: %w", err)
	}
	return data, nil
}

// DecodeBitmap reads a set of places within a shard of the given width. The result is a copy and validated, so that
// bytes from elsewhere can neither alias nor crash. More bytes than a set of that width needs are refused unread, as the
// time to validate grows with the square of the number of runs.
func DecodeBitmap(data []byte, width uint32) (*roaring.Bitmap, error) {
	if limit := maxBitmap(uint64(width)); len(data) > limit {
		return nil, fmt.Errorf("bitmap: %w: %d bytes, at most %d for a shard of %d", ErrCorrupt, len(data), limit, width)
	}
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
