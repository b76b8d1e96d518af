package soak

// bits is a set of users, by number.
type bits []uint64

func newBits(users int) bits { return make(bits, (users+63)/64) }

func (b bits) has(u int) bool { return u/64 < len(b) && b[u/64]&(1<<(u%64)) != 0 }

// add grows the set where it must: a user may have come after it was made.
func (b *bits) add(u int) {
	for len(*b) <= u/64 {
		*b = append(*b, 0)
	}
	(*b)[u/64] |= 1 << (u % 64)
}
