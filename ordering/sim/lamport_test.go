package sim

import (
	"strings"
	"testing"
)

// TestLeaderlessWorldsAreDeterministic plays worlds of each ordering twice and
// compares all that happened.
func TestLeaderlessWorldsAreDeterministic(t *testing.T) {
	for _, o := range []Ordering{Leaderless, Mixed} {
		for seed := uint64(1); seed <= 3; seed++ {
			var traces [2]string
			for i := range traces {
				tr := &Trace{}
				NewLab().Play(Options{Seed: seed, Ordering: o, Trace: tr})
				var b strings.Builder
				_, _ = tr.WriteTo(&b)
				traces[i] = b.String()
			}
			if traces[0] != traces[1] {
				t.Errorf("%s world %d differs:\n%s", o, seed, firstDifference(traces[0], traces[1]))
			}
		}
	}
}
