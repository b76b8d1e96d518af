package soak

// bits is a set of users, by number.
type bits []uint64

func newBits(users int) bits { return make(bits, (users+63)/64) }

func (b bits) has(u int) bool { return b[u/64]&(1<<(u%64)) != 0 }
func (b bits) add(u int)      { b[u/64] |= 1 << (u % 64) }
