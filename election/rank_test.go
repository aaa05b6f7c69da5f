package election

import (
	"testing"

	"tertulia/ordering"
)

func TestRanksRunFromLowToHigh(t *testing.T) {
	ranks := []Rank{
		{Priority: -1, Name: "node100"},
		{Name: ""},
		{Name: "!"},
		{Name: "2"},
		{Name: "007"},
		{Name: "07"},
		{Name: "7"},
		{Name: "7a"},
		{Name: "10"},
		{Name: "99999999999999999999999999999999"},
		{Name: "100000000000000000000000000000000"},
		{Name: "node"},
		{Name: "node2"},
		{Name: "node02x"},
		{Name: "node2x"},
		{Name: "node9-10"},
		{Name: "node10-9"},
		{Name: "node10-10"},
		{Name: "node10-10", Tie: ordering.DeviceKey{1}},
		{Name: "node10-10", Tie: ordering.DeviceKey{1, 1}},
		{Name: "node10:"},
		{Name: "nodes"},
		{Priority: 1, Name: "1"},
	}
	for i, a := range ranks {
		for j, b := range ranks {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%+v.Compare(%+v) = %d, want %d", a, b, got, want)
			}
		}
	}
}
