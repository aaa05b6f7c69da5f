// Package seats plans who votes in a room's control log (PROTOCOL.md 2): the
// creator alone, then 3, then 5 voters.
//
// It says the next step alone; the next one is worked out anew when that is
// done, so that nothing has to be remembered of a plan.
package seats

import (
	"slices"
	"time"

	"tertulia/election"
	"tertulia/ordering"
)

// MaxVoters is the number of voters in the largest rooms.
const MaxVoters = 5

// Candidate is what the leader knows of one instance of a member, voter or not.
type Candidate struct {
	Origin             ordering.Origin
	Rank               election.Rank
	Up                 bool          // connected, not suspected, its disk in order
	StableFor, DownFor time.Duration // since when it is up, or is not
	CaughtUp           bool          // as a learner or voter: its log and graph are complete (P8)
	Draining           bool          // it is about to leave
	Former             bool          // its device was removed from the room or left it
}

// Change is one configuration change; its lists are sorted. Promote is of
// learners, Remove of voters and learners.
type Change struct{ Learn, Promote, Remove []ordering.Origin }

// Plan is the next step: exactly one of a Change and a Transfer.
type Plan struct {
	Change   Change
	Transfer ordering.Origin
}

// Waits are how long something must last before a seat changes for it.
type Waits struct {
	Stable  time.Duration // a spare is up before it learns: 10 s
	Replace time.Duration // a voter is down before it is replaced: 10 min
	Drop    time.Duration // a learner is down before it is dropped: 10 s
}

// Next returns the leader's next step, false for none. It is to be asked while
// no configuration change is pending and none is joint. A voter of which there
// is no Candidate is taken to be down since just now.
//
// The rules:
//   - A room grows to 3 and to 5 voters when its members that are up and stable
//     fill them; with two members one of them votes. One instance of a device
//     sits: the newest that is up.
//   - Spares learn first, highest rank first. When all that are wanted are
//     caught up, one change promotes them and removes whom they replace.
//   - A voter that is down for Waits.Replace gives way to a spare; without one it
//     keeps its seat.
//   - A former member and a superseded instance leave; without a spare, another
//     leaves with them so that 3 or 1 remain, but never fewer than 3 while the
//     room has 3 members.
//   - A healthy voter keeps its seat however high newcomers rank: who leads is
//     decided among the voters (P-7), and a seat that moves with every arrival
//     costs more than it gives.
//   - A majority of the voters is up before and after a change.
//   - A leader that drains or is to lose its seat transfers first. A sole voter
//     makes another the second for that, and who leads then removes it. Two
//     voters that are left over become 3, or the leader alone.
func Next(voters, learners []ordering.Origin, self ordering.Origin, candidates []Candidate, w Waits) (Plan, bool) {
	t := &table{self: self, candidates: newest(candidates, voters, learners), w: w}
	for _, o := range voters {
		t.voters = append(t.voters, t.find(o))
	}
	for _, o := range learners {
		t.learners = append(t.learners, t.find(o))
	}
	return t.next()
}

type table struct {
	self             ordering.Origin
	voters, learners []Candidate
	candidates       []Candidate // one instance of a device, and whoever sits
	w                Waits
}

// newest drops, of every device, the instances that neither sit nor are the
// newest that is up.
func newest(candidates []Candidate, voters, learners []ordering.Origin) []Candidate {
	var kept []Candidate
	for _, c := range candidates {
		superseded := slices.ContainsFunc(candidates, func(d Candidate) bool { return supersedes(d, c) })
		if !superseded || slices.Contains(voters, c.Origin) || slices.Contains(learners, c.Origin) {
			kept = append(kept, c)
		}
	}
	slices.SortFunc(kept, func(a, b Candidate) int { // highest rank first
		if c := b.Rank.Compare(a.Rank); c != 0 {
			return c
		}
		return a.Origin.Compare(b.Origin)
	})
	return kept
}

// supersedes reports whether d is a newer instance of c's device: a device runs
// one at a time.
func supersedes(d, c Candidate) bool {
	if d.Origin.Device != c.Origin.Device || d.Origin == c.Origin || !d.Up {
		return false
	}
	if !c.Up {
		return true
	}
	return d.StableFor < c.StableFor || d.StableFor == c.StableFor && d.Origin.Compare(c.Origin) > 0
}

func (t *table) find(o ordering.Origin) Candidate {
	i := slices.IndexFunc(t.candidates, func(c Candidate) bool { return c.Origin == o })
	if i < 0 {
		return Candidate{Origin: o}
	}
	return t.candidates[i]
}

func (t *table) superseded(c Candidate) bool {
	return slices.ContainsFunc(t.candidates, func(d Candidate) bool { return supersedes(d, c) })
}

// unseated reports whether a voter or learner is to go in any case.
func (t *table) unseated(c Candidate) bool { return c.Former || t.superseded(c) }

// dead reports whether a voter gives way to any spare.
func (t *table) dead(c Candidate) bool { return !c.Up && c.DownFor >= t.w.Replace }

// spares returns who could sit and does not vote, best first: learners, whose
// work is not to be lost, then others that are up for the given time, by rank.
func (t *table) spares(stable time.Duration) []Candidate {
	var learning, others []Candidate
	for _, c := range t.candidates {
		switch {
		case !c.Up || c.Draining || t.unseated(c) || has(t.voters, c.Origin):
		case has(t.learners, c.Origin):
			learning = append(learning, c)
		case c.StableFor >= stable:
			others = append(others, c)
		}
	}
	return append(learning, others...)
}

func (t *table) next() (Plan, bool) {
	self := t.find(t.self)
	if self.Draining || t.unseated(self) {
		if len(t.voters) == 1 {
			spares := t.spares(0) // who leaves does not wait for stability
			return t.towards(nil, spares[:min(1, len(spares))])
		}
		if heir, ok := t.heir(); ok {
			return Plan{Transfer: heir}, true
		}
	}

	var stay, dead []Candidate // without self, which cannot go while it leads
	for _, v := range t.voters {
		switch {
		case v.Origin == t.self:
		case len(t.voters) == 2 && (t.unseated(v) || v.Draining || !v.Up && v.DownFor >= t.w.Drop):
			return t.change(Change{Remove: []ordering.Origin{v.Origin}})
		case t.unseated(v):
		case t.dead(v):
			dead = append(dead, v)
		default:
			stay = append(stay, v)
		}
	}
	spares := t.spares(t.w.Stable)

	// Seats that the dead hold count where seats are to be kept, and not where
	// they are to become more.
	grown := odd(1 + len(stay) + len(spares))
	kept := odd(min(1+len(stay)+len(dead)+len(spares), len(t.voters)|1))
	size := max(grown, kept)
	if size < 3 && len(t.voters) >= 3 && t.members() >= 3 {
		return Plan{}, false
	}

	// Whoever is down is the first to lose a seat when seats become fewer.
	slices.SortStableFunc(stay, func(a, b Candidate) int {
		if a.Up != b.Up {
			if a.Up {
				return -1
			}
			return 1
		}
		return b.Rank.Compare(a.Rank)
	})
	stay = stay[:min(len(stay), size-1)]
	spares = spares[:min(len(spares), size-1-len(stay))]
	dead = dead[:min(len(dead), size-1-len(stay)-len(spares))]
	var gone []ordering.Origin
	for _, v := range t.voters {
		if v.Origin != t.self && !has(stay, v.Origin) && !has(dead, v.Origin) {
			gone = append(gone, v.Origin)
		}
	}
	return t.towards(gone, spares)
}

// heir is the best voter to lead instead: up, caught up and there to stay.
func (t *table) heir() (ordering.Origin, bool) {
	for _, c := range t.candidates { // highest rank first
		if c.Origin != t.self && has(t.voters, c.Origin) && c.Up && c.CaughtUp && !c.Draining && !t.unseated(c) {
			return c.Origin, true
		}
	}
	return ordering.Origin{}, false
}

// towards returns the next step on the way to voters without those gone and
// with those wanted.
func (t *table) towards(gone []ordering.Origin, wanted []Candidate) (Plan, bool) {
	var learn, drop, promote []ordering.Origin
	ready := true
	for _, c := range wanted {
		ready = ready && c.CaughtUp
		promote = append(promote, c.Origin)
		if !has(t.learners, c.Origin) {
			learn = append(learn, c.Origin)
		}
	}
	for _, l := range t.learners {
		if !has(wanted, l.Origin) && (l.Up || l.Draining || t.unseated(l) || l.DownFor >= t.w.Drop) {
			drop = append(drop, l.Origin)
		}
	}
	switch {
	case len(learn)+len(drop) > 0:
		return t.change(Change{Learn: learn, Remove: drop})
	case ready && len(promote)+len(gone) > 0:
		return t.change(Change{Promote: promote, Remove: gone})
	}
	return Plan{}, false
}

// change plans a change unless it would take the voters' majority away.
func (t *table) change(c Change) (Plan, bool) {
	up, now, upThen, then := 0, 0, 0, 0
	for _, v := range t.voters {
		alive := v.Up || v.Origin == t.self
		now++
		up += count(alive)
		if !slices.Contains(c.Remove, v.Origin) {
			then++
			upThen += count(alive)
		}
	}
	then += len(c.Promote)
	for _, o := range c.Promote {
		upThen += count(t.find(o).Up)
	}
	if up <= now/2 || upThen <= then/2 {
		return Plan{}, false
	}
	for _, list := range [][]ordering.Origin{c.Learn, c.Promote, c.Remove} {
		slices.SortFunc(list, ordering.Origin.Compare)
	}
	return Plan{Change: c}, true
}

// members counts the devices that are members of the room.
func (t *table) members() int {
	devices := make(map[ordering.DeviceKey]bool)
	for _, c := range slices.Concat(t.candidates, t.voters) {
		if !c.Former {
			devices[c.Origin.Device] = true
		}
	}
	return len(devices)
}

// odd returns the largest number of voters that n members fill.
func odd(n int) int {
	n = min(n, MaxVoters)
	return n - 1 + n%2
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func has(list []Candidate, o ordering.Origin) bool {
	return slices.ContainsFunc(list, func(c Candidate) bool { return c.Origin == o })
}
