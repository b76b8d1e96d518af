package soak

import (
	"strings"
	"testing"
)

// Pushes count among all, and where something was done while they waited: in its row, and in none when it was before or after.
func TestWaits(t *testing.T) {
	t.Parallel()
	l := history()
	open := l.Dial(3*s, 0, "deliver-1")
	l.Hello(3*s, open, 0)
	accept(l, 1, 10*s, 0, tagged) // answered half a second later
	l.Received(12*s, open, pushFrame(1))
	late := l.Dial(21*s, 0, "deliver-1")
	l.Hello(21*s, late, 0)
	accept(l, 2, 20*s, 0, tagged)
	l.Received(23*s, late, pushFrame(2)) // which did not have to have it
	l.BeginPush(30*s, &Push{N: 3})       // never answered
	l.Disturbed(Trouble{Slot: "broker-1", What: Kill, From: 11 * s, To: 14 * s})
	l.Disturbed(Trouble{Slot: "broker-2+broker-3", What: Kill, From: 5 * s, To: never})
	l.Disturbed(Trouble{Slot: "deliver-1", What: Stop, From: 13 * s, To: 14 * s})
	rows := l.waiting()
	for name, want := range map[string][]wait{
		always:                  {{s / 2, s + s/2, true}, {s / 2, 0, false}},
		"broker kill -9":        {{s / 2, s + s/2, true}},
		"two of broker kill -9": {{s / 2, s + s/2, true}, {s / 2, 0, false}},
	} {
		if got := rows[name]; len(got) != len(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
			continue
		}
		for i := range want {
			if rows[name][i] != want[i] {
				t.Errorf("%s: %v, want %v", name, rows[name], want)
			}
		}
	}
	if len(rows) != 3 {
		t.Errorf("rows: %v", rows)
	}
	var out strings.Builder
	l.reportWaits(&out)
	if !strings.Contains(out.String(), "broker kill -9                    1   0.500   0.500   0.500        1   1.500   1.500   1.500") {
		t.Error(out.String())
	}
}
