package dag

import (
	"bytes"
	"maps"
	"slices"

	"tertulia/ordering"
)

// An origin that signed two entries for one place has forked (PROTOCOL.md 1,
// Crash): the two entries are the proof. Both branches are held, so that what
// depends on either is accepted. The branch that was held first is the origin's
// chain here; the others lie beside it, by hash.

// MaxWants is how many entries of other branches are named at once.
const MaxWants = 64

// HoldsRef reports whether this very entry is in the graph, on any branch.
func (g *Graph) HoldsRef(r ordering.Ref) bool {
	_, ok := g.find(r)
	return ok
}

func (g *Graph) find(r ordering.Ref) (vertex, bool) {
	if c := g.chains[r.Origin]; r.Seq > 0 && r.Seq <= uint64(len(c)) && c[r.Seq-1].hash == r.Hash {
		return c[r.Seq-1], true
	}
	b, ok := g.beside[r.Hash]
	return b.vertex, ok && b.ref == r
}

// previous names the entry before e in its chain.
func previous(e *ordering.Entry) ordering.Ref {
	return ordering.Ref{EntryID: ordering.EntryID{Origin: e.Origin, Seq: e.Seq - 1}, Hash: e.Prev}
}

// holds reports whether an entry is in the run.
func holds(run ordering.Run, r ordering.Ref) bool {
	first := run.First().Seq
	return first <= r.Seq && r.Seq <= run.Last().Seq && run.Entries[r.Seq-first].Ref() == r
}

// continues reports whether e comes next in its origin's chain.
func (g *Graph) continues(e *ordering.Entry) bool {
	c := g.chains[e.Origin]
	return e.Seq == uint64(len(c))+1 && (len(c) == 0 || c[len(c)-1].hash == e.Prev)
}

// branch returns the first entry of the branch beside the chain that e is on: of
// the one before it, or e itself.
func (g *Graph) branch(e *ordering.Entry) ordering.Hash {
	if b, ok := g.beside[e.Prev]; ok {
		return b.root
	}
	return e.Hash()
}

func (g *Graph) forkOf(o ordering.Origin) *fork {
	f := g.forks[o]
	if f == nil {
		f = new(fork)
		g.forks[o] = f
	}
	return f
}

// crowded reports whether n more entries beside an origin's chain are too many.
func (g *Graph) crowded(o ordering.Origin, n int) bool {
	of := 0
	if f := g.forks[o]; f != nil {
		of = f.entries
	}
	return of+n > MaxForkedOfOrigin || len(g.beside)+n > MaxForked
}

// needs reports whether an entry of another member waits for the run, if only
// through later entries of its author.
func (g *Graph) needs(run ordering.Run) bool {
	seen := map[ordering.Hash]bool{}
	for ahead := []ordering.Run{run}; len(ahead) > 0; ahead = ahead[1:] {
		if g.neededByOthers(ahead[0]) {
			return true
		}
		for _, e := range ahead[0].Entries {
			for _, p := range g.waiting[e.Hash()] {
				if last := p.last().Hash; !seen[last] {
					seen[last] = true
					ahead = append(ahead, p.run.Run())
				}
			}
		}
	}
	return false
}

// Forked reports whether two entries of the origin are held for one place.
func (g *Graph) Forked(o ordering.Origin) bool {
	f := g.forks[o]
	return f != nil && f.entries > 0
}

// Forks returns the origins that forked, in their order.
func (g *Graph) Forks() []ordering.Origin {
	return slices.DeleteFunc(slices.SortedFunc(maps.Keys(g.forks), ordering.Origin.Compare), func(o ordering.Origin) bool { return !g.Forked(o) })
}

// Sync returns the vector by which replicas compare what they hold: of a forked
// origin, as far as its longest branch goes. The caller does not change it.
func (g *Graph) Sync() ordering.Vector {
	if len(g.beside) == 0 {
		return g.have
	}
	v := g.have.Clone()
	for _, b := range g.beside {
		v[b.ref.Origin] = max(v[b.ref.Origin], b.ref.Seq)
	}
	return v
}

// At returns the hash of the entry at a seq of the chain that leads to tip.
func (g *Graph) At(tip ordering.Ref, seq uint64) (ordering.Hash, bool) {
	if seq == 0 || seq > tip.Seq || !g.HoldsRef(tip) {
		return ordering.Hash{}, false
	}
	for {
		b, ok := g.beside[tip.Hash]
		switch {
		case !ok:
			return g.chains[tip.Origin][seq-1].hash, true
		case tip.Seq == seq:
			return tip.Hash, true
		}
		tip.Seq, tip.Hash = tip.Seq-1, b.prev
	}
}

// Resolve returns the entry held at the end of a chain that another named.
func (g *Graph) Resolve(o ordering.Origin, t ordering.Tip) (ordering.Ref, bool) {
	id := ordering.EntryID{Origin: o, Seq: t.Seq}
	if h, ok := g.HashOf(id); ok && ordering.TipOf(t.Seq, h) == t {
		return ordering.Ref{EntryID: id, Hash: h}, true
	}
	if !g.Forked(o) {
		return ordering.Ref{}, false
	}
	for _, b := range g.beside {
		if b.ref.EntryID == id && ordering.TipOf(t.Seq, b.ref.Hash) == t {
			return b.ref, true
		}
	}
	return ordering.Ref{}, false
}

// Meet returns the last entry that the chains leading to two entries of one origin
// share; seq 0 if they share none.
func (g *Graph) Meet(a, b ordering.Ref) ordering.Ref {
	for seq := min(a.Seq, b.Seq); seq > 0; seq-- {
		x, _ := g.At(a, seq)
		if y, _ := g.At(b, seq); x == y {
			return ordering.Ref{EntryID: ordering.EntryID{Origin: a.Origin, Seq: seq}, Hash: x}
		}
	}
	return ordering.Ref{EntryID: ordering.EntryID{Origin: a.Origin}}
}

// Wants names up to MaxWants entries for which parked runs wait and which no range
// of a chain brings: another is held in their place.
func (g *Graph) Wants() []ordering.Ref {
	var refs []ordering.Ref
	sync, shelved := g.Sync(), make(map[ordering.Hash]bool)
	for _, p := range g.parked {
		if p.run.Run().First().Seq <= sync[p.last().Origin] {
			for _, e := range p.run.Run().Entries {
				shelved[e.Hash()] = true
			}
		}
	}
	for _, last := range g.shelved() {
		for _, r := range g.parked[last.Hash].missing {
			if r.Seq <= sync[r.Origin] && g.lacks(r) && !shelved[r.Hash] && len(refs) < MaxWants && !slices.Contains(refs, r) {
				refs = append(refs, r)
			}
		}
	}
	return refs
}

func compareHashes(a, b ordering.Hash) int { return bytes.Compare(a[:], b[:]) }
