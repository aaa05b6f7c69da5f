package room

import (
	"flag"
	"runtime/debug"
	"testing"
	"time"

	"tertulia/ordering/mutant"
)

var wide = flag.Bool("wide", false, "search twenty times as many schedules")

// Views.
var (
	everybody = []int{0, 1, 2}
	others    = []int{1, 2}
)

// allAtOnce is a room in which everything happens: three entries, a change of the
// view, a crash, a lost message.
var allAtOnce = stage{says: [3]int8{1, 1, 1}, leader: 2, view: everybody, changes: 1, crashes: 1, losses: 1, ticks: 2, states: 6_000}

// searchOf makes a search, and has garbage pile up meanwhile.
func searchOf(t *testing.T, st stage) *search {
	before := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	return newSearch(t, st)
}

func (s *search) report(t *testing.T, f found, began time.Time) {
	t.Helper()
	t.Logf("%s; %d replicas' states, %d of their steps, %s", f, len(s.places), len(s.moves), time.Since(began).Round(time.Millisecond))
}

func TestNoScheduleOfThreeReplicasBreaksTheOrder(t *testing.T) {
	for _, x := range []struct {
		what  string
		whole bool // every schedule is tried
		stage
	}{
		{"two write", true, stage{says: [3]int8{1, 1, 0}, leader: 2, view: everybody}},
		{"one writes, one dies", true, stage{says: [3]int8{1, 0, 0}, leader: 2, view: everybody, crashes: 1}},
		{"a message is lost", false, stage{says: [3]int8{1, 1, 0}, leader: 2, view: everybody, losses: 1, ticks: 1, states: 30_000}},
		{"three write", false, stage{says: [3]int8{1, 1, 1}, leader: 2, view: everybody, states: 60_000}},
		{"the view is sealed", false, stage{says: [3]int8{1, 0, 0}, leader: 2, view: everybody, changes: 1, states: 100_000}},
		{"the leader joins", false, stage{says: [3]int8{0, 0, 1}, leader: 0, view: others, ticks: 1, states: 60_000}},
		{"the leader joins, one dies", false, stage{says: [3]int8{0, 0, 1}, leader: 0, view: others, crashes: 1, states: 6_000}},
		{"all at once", false, allAtOnce},
	} {
		t.Run(x.what, func(t *testing.T) {
			st := x.stage
			switch {
			case x.whole:
				st.states = 5_000_000
			case testing.Short():
				t.Skip("takes long")
			case *wide:
				st.states *= 20
			}
			t.Parallel()
			began := time.Now()
			s := searchOf(t, st)
			f := s.breadth()
			s.report(t, f, began)
			if f.wrong != "" || x.whole && (!f.whole || f.longest == 0) {
				t.Error("want nothing wrong, and that something is final once all was tried")
			}
		})
	}
}

// TestNoLongScheduleOfThreeReplicasBreaksTheOrder goes on, by chance, where a search
// by breadth has not come to, until nothing is left to happen; then all that anybody
// wrote becomes final.
func TestNoLongScheduleOfThreeReplicasBreaksTheOrder(t *testing.T) {
	schedules := 300
	if *wide {
		schedules *= 20
	}
	if testing.Short() {
		schedules = 50
	}
	began := time.Now()
	s := searchOf(t, allAtOnce)
	f := s.wander(1, schedules)
	s.report(t, f, began)
	if f.wrong != "" || f.longest < 3 {
		t.Error("want nothing wrong, and three finals")
	}
}

func TestTheSchedulesOfThreeReplicasShowEveryMistakeTheyAreMeantFor(t *testing.T) {
	for m, st := range map[mutant.Mutant]stage{
		mutant.OwnClock:    {says: [3]int8{1, 0, 0}, leader: 2, view: everybody},
		mutant.BlindClock:  {says: [3]int8{1, 1, 0}, leader: 2, view: everybody},
		mutant.Uncovered:   {says: [3]int8{1, 1, 0}, leader: 2, view: everybody},
		mutant.AckEarly:    {says: [3]int8{1, 0, 0}, leader: 2, view: everybody, crashes: 1},
		mutant.NoFreeze:    {says: [3]int8{0, 0, 1}, leader: 0, view: everybody, changes: 1},
		mutant.NoSeal:      {says: [3]int8{0, 0, 1}, leader: 0, view: everybody, changes: 1},
		mutant.LonelyCut:   {says: [3]int8{0, 0, 1}, leader: 0, view: others},
		mutant.ForgetSeal:  {says: [3]int8{0, 0, 1}, leader: 0, view: others, crashes: 1},
		mutant.OwnAckMoves: {says: [3]int8{0, 0, 1}, leader: 0, view: others, ticks: 1},
	} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			st.mutant, st.states = m, 300_000
			s := searchOf(t, st)
			f := s.breadth()
			s.report(t, f, began)
			if f.wrong == "" {
				t.Error("it is not found")
			}
		})
	}
}
