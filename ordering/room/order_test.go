package room

import (
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/linear"
)

// leaders makes a network of a room with a leader, whose last node ranks highest.
func leaders(t testing.TB, n int) *network {
	w := newNetworkOf(t, 11, n, ordering.Leader)
	for _, x := range w.nodes {
		if err := x.core.Resume(w.now, Saved{}); err != nil {
			t.Fatal(err)
		}
	}
	w.shared()
	w.mesh()
	return w
}

// ledBy reports whether all follow the node.
func (w *network) ledBy(n int) bool {
	for _, x := range w.nodes {
		o := x.core.Order()
		if o.Leader != w.nodes[n].self || len(o.Voters) != len(w.nodes) {
			return false
		}
	}
	return true
}

func (x *replica) shown() (list []ordering.EntryID) {
	for _, f := range x.finals {
		if f.Fate == linear.Shown {
			list = append(list, f.ID)
		}
	}
	return list
}

func TestTheHighestRankLeadsAndWhatIsSaidBecomesFinalEverywhere(t *testing.T) {
	w := leaders(t, 3)
	w.run(time.Minute, func() bool { return w.ledBy(2) })
	if !w.ledBy(2) {
		for _, x := range w.nodes {
			t.Errorf("%d: %+v", x.n, x.core.Order())
		}
		t.FailNow()
	}
	for _, x := range w.nodes {
		x.say(line)
		x.drive()
	}
	all := func() bool {
		for _, x := range w.nodes {
			if len(x.shown()) < 3 {
				return false
			}
		}
		return true
	}
	took := w.run(time.Second, all)
	for _, x := range w.nodes {
		if !all() || x.core.Order().OrderHash != w.nodes[0].core.Order().OrderHash {
			t.Fatalf("%d: %v", x.n, x.shown())
		}
	}
	t.Logf("final everywhere after %s", took)
}
