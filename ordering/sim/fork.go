package sim

import (
	"slices"

	"tertulia/ordering"
)

// equivocate returns what a message says to a node: a member that forks signs
// another run for the same place of its chain, and half of the others hear that.
func (n *node) equivocate(to *node, m ordering.Message) ordering.Message {
	w := n.w
	p, ok := m.(*ordering.Push)
	if !ok || p.Run.Origin() != n.self || len(w.nodes) < 3 {
		return m
	}
	last := p.Run.Last()
	if n.forge && last.Kind == ordering.KindMessage && !w.forger(n.self) && w.expendable(n) && !w.anySetBack() {
		n.forge, n.setback = false, true // until it is told
		w.forged[last.Hash()] = n.anew(p.Run)
		w.forgers[n.self] = true
		w.note(n.i, "says %s in two ways", w.id(last.ID()))
	}
	if run, ok := w.forged[last.Hash()]; ok && (to.i+n.i)%2 == 0 {
		w.runs[run.Run().Last().Hash()] = run
		return &ordering.Push{Run: run.Run()}
	}
	return m
}

// anew signs the entries of a run with another time on them.
func (n *node) anew(run ordering.Run) ordering.Verified {
	var entries []*ordering.Entry
	for i, e := range run.Entries {
		x := *e
		x.WallMS++
		if i > 0 {
			x.Prev = entries[i-1].Hash()
		}
		entries = append(entries, ordering.Seal(x))
	}
	return ordering.SignRun(n.w.lab.devices[n.i], entries...)
}

// anySetBack reports whether a replica is about to go on under a new instance.
func (w *World) anySetBack() bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return n.setback })
}

// forger reports whether an origin forked on purpose.
func (w *World) forger(o ordering.Origin) bool { return w.forgers[o] }

// mayFork reports whether an origin's chain may have two branches.
func (w *World) mayFork(o ordering.Origin) bool { return w.forger(o) || w.faults.Has(OldImage) }
