package room

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/dag"
	"tertulia/ordering/lamport"
)

// An origin that signed two entries for one place is a fork (PROTOCOL.md 1,
// Crash). Whoever holds both has the proof on its disk: it hands the second run
// on, warns, and the leader gives the origin no seat and no place in the view.
// The final order names one of the branches; the other is passed over.

// foundFork is called when the graph took a run of another branch.
func (c *Core) foundFork(a dag.Accepted) {
	first := a.Entries()[0]
	if first.Hash() == a.Branch { // it proves something new
		c.ready.Events = append(c.ready.Events, Event{Kind: Forked, Origin: first.Origin})
		c.stir()
		if len(c.proofs) < dag.MaxWants {
			c.proofs = append(c.proofs, first.ID())
		}
	}
	if first.Origin == c.cfg.Self {
		c.fallSilent() // another disk says that it is us
	}
}

// loadProofs has the entries of other branches read back from the own disk, for
// each place that is to be told of.
func (c *Core) loadProofs() []ordering.Want {
	var wants []ordering.Want
	for _, id := range c.proofs {
		if !slices.ContainsFunc(wants, func(w ordering.Want) bool { return w.Origin == id.Origin }) {
			wants = append(wants, ordering.Want{Origin: id.Origin, After: id.Seq - 1})
		}
	}
	return wants
}

// handProofs hands the runs with two entries for one place to all who are
// connected, once: both are the proof.
func (c *Core) handProofs(runs []ordering.Run) {
	for _, run := range runs {
		if !slices.ContainsFunc(c.proofs, func(id ordering.EntryID) bool {
			return id.Origin == run.Origin() && run.First().Seq <= id.Seq && id.Seq <= run.Last().Seq
		}) {
			continue
		}
		for _, d := range c.Connected() {
			if c.peers[d].met {
				c.send(d, &ordering.Push{Run: run})
			}
		}
	}
	c.proofs = nil
}

// tipOf names an entry that another told of.
type tipOf struct {
	origin ordering.Origin
	tip    ordering.Tip
}

// seekTip has an entry of another branch than the one held here fetched.
func (c *Core) seekTip(o ordering.Origin, t ordering.Tip) {
	if len(c.tips) < dag.MaxWants {
		c.tips[tipOf{o, t}] = true
	}
	c.seekBranches()
}

// seekBranches has what is wanted of other branches fetched, a little later.
func (c *Core) seekBranches() {
	if c.branchesWanted() && !c.now.Before(c.fetch.again) {
		c.lack(c.now)
	}
}

// branchesWanted reports whether entries of other branches are lacking.
func (c *Core) branchesWanted() bool { return len(c.branchWants()) > 0 }

func (c *Core) branchWants() []ordering.Want {
	var wants []ordering.Want
	want := func(o ordering.Origin, t ordering.Tip) {
		if len(wants) < dag.MaxWants {
			wants = append(wants, ordering.Want{Origin: o, After: t.Seq - 1, Tip: t})
		}
	}
	if c.graph.Parked() > 0 {
		for _, r := range c.graph.Wants() {
			want(r.Origin, ordering.TipOf(r.Seq, r.Hash))
		}
	}
	for t := range c.tips {
		if _, held := c.graph.Resolve(t.origin, t.tip); held {
			delete(c.tips, t)
		}
	}
	for _, t := range sortedTips(c.tips) {
		want(t.origin, t.tip)
	}
	return wants
}

func sortedTips(tips map[tipOf]bool) []tipOf {
	return slices.SortedFunc(maps.Keys(tips), func(a, b tipOf) int {
		return cmp.Or(a.origin.Compare(b.origin), cmp.Compare(a.tip.Seq, b.tip.Seq), bytes.Compare(a.tip.Hash[:], b.tip.Hash[:]))
	})
}

// fetchBranches asks one peer after another for what is wanted of other branches.
func (c *Core) fetchBranches(now time.Time) bool {
	if now.Before(c.fetch.again) {
		return false
	}
	wants := c.branchWants()
	if len(wants) == 0 {
		c.fetch.turn = 0
		return false
	}
	peers := c.Connected()
	for c.fetch.turn < len(peers) {
		d := peers[c.fetch.turn]
		c.fetch.turn++
		if p := c.peers[d]; p.met && !p.vital.Suspected {
			c.fetch.busy, c.fetch.from, c.fetch.got, c.fetch.forks = true, d, false, true
			c.ready.Fetch = &Fetch{From: d, Wants: wants}
			return true
		}
	}
	c.fetch.turn, c.fetch.again = 0, now.Add(FetchRetry) // nobody has it now
	return false
}

// holding is what this replica holds of a cut, for who asks: the very tips, where
// it does.
func (c *Core) holding(cut []ordering.Tip) []ordering.Tip {
	o := c.order
	have := o.held.Tips(o.held.Durable())
	view := o.list.Epoch().View
	for i, t := range cut {
		if !c.graph.Forked(view[i]) && have[i].Seq != t.Seq {
			continue
		}
		if _, held := c.graph.Resolve(view[i], t); held {
			have[i] = t // on disk before this is said
		} else if have[i].Seq >= t.Seq {
			have[i] = ordering.Tip{}
		}
	}
	return have
}

// settleForks lowers a cut to what the members of the view who sealed share of a
// chain, where they hold different branches of it: more of it is final nowhere. It
// reports false while a branch is lacking that is needed to tell.
func (c *Core) settleForks(ch *lamport.Change, cut []ordering.Tip) bool {
	for i, o := range ch.View {
		tips := ch.SealedTips(i)
		forked, lacks := c.graph.Forked(o), false
		for _, t := range append(tips, cut[i]) {
			if _, held := c.graph.Resolve(o, t); t.Seq > 0 && !held {
				lacks = true
				if c.graph.Holds(ordering.EntryID{Origin: o, Seq: t.Seq}) {
					c.seekTip(o, t)
					forked = true
				}
			}
		}
		switch {
		case forked && lacks:
			return false
		case !forked:
			continue
		}
		ch.Forget() // what was said of another branch
		var best ordering.Ref
		for _, t := range tips {
			if r, _ := c.graph.Resolve(o, t); r.Seq > best.Seq {
				best = r
			}
		}
		shared := best
		for _, t := range tips {
			r, _ := c.graph.Resolve(o, t)
			if meet := c.graph.Meet(best, r); t.Seq > 0 && meet.Seq < min(r.Seq, shared.Seq) {
				shared = meet
			}
		}
		best = shared
		if cut[i] = (ordering.Tip{}); best.Seq > 0 {
			cut[i] = ordering.TipOf(best.Seq, best.Hash)
		}
	}
	return true
}
