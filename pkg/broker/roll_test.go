package broker

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The roll against the history that it was told: a member is one until it has left or has missed two rounds that count.
func TestRollAgainstTheHistory(t *testing.T) {
	t.Parallel()
	ids := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(t *rapid.T) {
		r := newRoll("a")
		silent, member := map[string]int{}, map[string]bool{"a": true} // rounds of silence, of members
		gone, heard := map[string]int{}, map[string]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"hear": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				_, left := gone[id]
				if isNew := r.hear(id); isNew != (!member[id] && !left) {
					t.Fatalf("%s is new: %v", id, isNew)
				}
				if !left {
					member[id], silent[id], heard[id] = true, 0, true
				}
			},
			"leave": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				was := member[id] && id != "a"
				if r.leave(id) != was {
					t.Fatalf("%s was a member: %v", id, was)
				}
				if id != "a" {
					delete(member, id)
					delete(heard, id)
					gone[id] = 0
				}
			},
			"round": func(t *rapid.T) {
				struck := false
				if heard["a"] {
					for id := range member {
						if !heard[id] {
							silent[id]++
						}
						if !heard[id] && silent[id] == maxMissed {
							delete(member, id)
							struck = true
						}
					}
				}
				for id := range gone {
					if gone[id]++; gone[id] > maxMissed {
						delete(gone, id)
					}
				}
				clear(heard)
				if r.round() != struck {
					t.Fatalf("somebody was struck: %v", !struck)
				}
			},
			"": func(t *rapid.T) {
				var want []string
				for id := range member {
					want = append(want, id)
				}
				slices.Sort(want)
				if got := r.members(); !slices.Equal(got, want) || !member["a"] {
					t.Fatalf("members %v, want %v", got, want)
				}
			},
		})
	})
}
