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
		if err := x.core.Resume(w.now); err != nil {
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

// allFinal reports whether every replica shows n finals, in one order.
func (w *network) allFinal(n int) bool {
	for _, x := range w.nodes {
		if len(x.shown()) < n {
			return false
		}
	}
	return true
}

func (w *network) sameFinals() {
	w.t.Helper()
	for _, x := range w.nodes {
		a, b := w.nodes[0].core.Order(), x.core.Order()
		if a.FinalIndex != b.FinalIndex || a.OrderHash != b.OrderHash || a.Epoch != b.Epoch {
			w.t.Errorf("%d: %d finals in epoch %d, 0: %d in %d; %v", x.n, b.FinalIndex, b.Epoch, a.FinalIndex, a.Epoch, b.OrderHash == a.OrderHash)
		}
	}
}

func TestWithoutALeaderWhatIsSaidBecomesFinalOnceAllHaveAcknowledged(t *testing.T) {
	w := newNetworkOf(t, 12, 3, ordering.Lamport)
	w.shared()
	w.mesh()
	inView := func() bool {
		for _, x := range w.nodes {
			if len(x.core.Order().View) != 3 {
				return false
			}
		}
		return true
	}
	w.run(time.Minute, inView)
	if !inView() {
		for _, x := range w.nodes {
			t.Errorf("%d: %+v", x.n, x.core.Order())
		}
		t.FailNow()
	}
	for _, x := range w.nodes {
		x.say(line)
		x.drive()
	}
	took := w.run(time.Second, func() bool { return w.allFinal(3) })
	if !w.allFinal(3) {
		t.Fatalf("not final: %+v", w.nodes[0].core.Order())
	}
	w.sameFinals()
	t.Logf("final everywhere after %s", took)

	// One goes silent: the others go on without it, and it catches up.
	gone := w.nodes[2]
	gone.disconnect(w.nodes[0])
	gone.disconnect(w.nodes[1])
	w.nodes[0].say(line)
	w.nodes[0].drive()
	gone.say(line)
	gone.drive()
	took = w.run(30*time.Second, func() bool { return len(w.nodes[0].shown()) >= 4 && len(w.nodes[1].shown()) >= 4 })
	if len(w.nodes[1].shown()) < 4 {
		t.Fatalf("not final without the silent one: %+v", w.nodes[0].core.Order())
	}
	t.Logf("final without the silent one after %s", took)
	w.mesh()
	w.run(30*time.Second, func() bool { return w.allFinal(5) })
	if !w.allFinal(5) {
		t.Fatalf("not final after it came back: %+v, %+v", w.nodes[0].core.Order(), gone.core.Order())
	}
	w.run(20*time.Second, inView)
	w.sameFinals()
}

func TestTheOrderOfARoomIsSwitchedThereAndBack(t *testing.T) {
	w := newNetworkOf(t, 13, 3, ordering.Lamport)
	w.shared()
	w.mesh()
	w.run(time.Minute, func() bool { return w.ledBy(2) })
	said := 0
	for _, mode := range []ordering.Mode{ordering.Leader, ordering.Lamport, ordering.Leader} {
		w.nodes[0].say(Draft{Kind: ordering.KindSwitch, Body: ordering.Switch{Mode: mode}.Encode()})
		w.nodes[0].drive()
		said++
		for _, x := range w.nodes {
			x.say(line)
			x.drive()
			said++
		}
		switched := func() bool {
			for _, x := range w.nodes {
				if x.core.Order().Mode != mode {
					return false
				}
			}
			return w.allFinal(said)
		}
		w.run(30*time.Second, switched)
		if !switched() {
			t.Fatalf("to %d: %d of %d final, %+v", mode, len(w.nodes[1].shown()), said, w.nodes[1].core.Order())
		}
		w.run(time.Second, nil)
		w.sameFinals()
	}
}
