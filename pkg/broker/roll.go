package broker

import "slices"

// maxMissed is how many rounds in a row a member may miss before it is struck from the roll.
const maxMissed = 2

// roll is who is a member of a role, as far as one member knows: the bookkeeping of Member, without I/O or clock. A round
// is a ping to all and the time for their answers. Ids are never used again, so that one who has left stays away.
type roll struct {
	me     string
	missed map[string]int // members, and how many rounds they have missed
	heard  map[string]bool
	left   map[string]int // who said that it left, and how many rounds ago: an answer of its may still be under way
}

func newRoll(me string) *roll {
	return &roll{me: me, missed: map[string]int{me: 0}, heard: map[string]bool{}, left: map[string]int{}}
}

// hear notes a sign of life, and says whether it is a new member's.
func (r *roll) hear(id string) bool {
	if _, gone := r.left[id]; gone {
		return false
	}
	_, known := r.missed[id]
	r.missed[id], r.heard[id] = 0, true
	return !known
}

// leave notes that a member has left, and says whether it was one.
func (r *roll) leave(id string) bool {
	if id == r.me {
		return false
	}
	r.left[id] = 0
	_, known := r.missed[id]
	delete(r.missed, id)
	delete(r.heard, id)
	return known
}

// round ends a round, and says whether somebody was struck. A round in which we have not heard ourselves says nothing of
// the others: it is we who are cut off.
func (r *roll) round() bool {
	struck := false
	if r.heard[r.me] {
		for id := range r.missed {
			if r.heard[id] {
				continue
			}
			if r.missed[id]++; r.missed[id] >= maxMissed {
				delete(r.missed, id)
				struck = true
			}
		}
	}
	clear(r.heard)
	for id := range r.left {
		if r.left[id]++; r.left[id] > maxMissed {
			delete(r.left, id)
		}
	}
	return struck
}

// members are their ids, in order.
func (r *roll) members() []string {
	ids := make([]string, 0, len(r.missed))
	for id := range r.missed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
