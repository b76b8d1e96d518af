package broker

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever of an answer is lost, what is found is what is there, or there is an error; and what was found is not asked for again.
func TestBrokenAnswersAreCompleted(t *testing.T) {
	t.Parallel()
	const n = 2*maxLastOf + 100
	there := map[string]*Message{}
	var subjects []string
	for i := range n {
		s := fmt.Sprint("s", i)
		subjects = append(subjects, s)
		if i%3 > 0 {
			there[s] = &Message{Subject: s}
		}
	}
	for range 200 {
		breaks := rand.IntN(8)
		asked := map[string]int{}
		silent := 0 // broken answers in a row that had nothing
		found, err := gathered(subjects, partialTries, func(some []string, found map[string]*Message) error {
			if len(some) > maxLastOf {
				t.Fatalf("%d at once", len(some))
			}
			var has []string
			for _, s := range some {
				if asked[s]++; found[s] != nil {
					t.Fatalf("%s was there", s)
				}
				if there[s] != nil {
					has = append(has, s)
				}
			}
			give := len(has)
			if breaks--; breaks >= 0 {
				give = rand.IntN(len(has) + 1)
				if rand.IntN(2) == 0 {
					give = 0
				}
			}
			for _, s := range has[:give] {
				found[s] = there[s]
			}
			if silent++; give > 0 {
				silent = 0
			}
			if breaks >= 0 {
				return errPartial
			}
			return nil
		})
		switch {
		case err == nil && !maps.Equal(found, there):
			t.Fatalf("found %d, there are %d", len(found), len(there))
		case err != nil && (!errors.Is(err, errPartial) || silent < partialTries-1):
			t.Fatalf("after %d answers without anything: %v", silent, err)
		}
	}
	other := errors.New("no")
	calls := 0
	_, err := gathered(subjects, partialTries, func([]string, map[string]*Message) error { calls++; return other })
	if !errors.Is(err, other) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	calls = 0
	_, err = gathered(subjects, 1, func(some []string, found map[string]*Message) error {
		calls++
		found[some[0]] = &Message{}
		return errPartial
	})
	if !errors.Is(err, errPartial) || calls != 1 {
		t.Errorf("%d calls with one try, %v", calls, err)
	}
	if !slices.IsSorted(subjects[:2]) {
		t.Error("the caller's subjects were moved")
	}
}
