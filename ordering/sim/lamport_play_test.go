package sim

import (
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/lamport"
	"tertulia/ordering/mutant"
)

// held is the chains of a replica in a play of the hold-back queue alone.
type held map[ordering.EntryID]ordering.Hash

// HashOf implements lamport.Chains.
func (h held) HashOf(id ordering.EntryID) (ordering.Hash, bool) {
	x, ok := h[id]
	return x, ok || id.Seq == 0
}

// At implements lamport.Chains: nobody forks.
func (h held) At(tip ordering.Ref, seq uint64) (ordering.Hash, bool) {
	x, ok := h[ordering.EntryID{Origin: tip.Origin, Seq: seq}]
	return x, ok && seq <= tip.Seq
}

// alone is the hold-back queue of the first of four members, without a room.
type alone struct {
	s      *stage
	by     [4]ordering.Origin
	chains held
	have   ordering.Vector
	q      *lamport.Queue
}

// newAlone returns a queue on an empty disk, with the first members in its view.
func newAlone(l *Lab, m mutant.Mutant, members int) *alone {
	a := &alone{s: newStage(l, m), chains: held{}, have: make(ordering.Vector)}
	for i := range a.by {
		a.by[i] = ordering.Origin{Device: ordering.DeviceKey{byte(i + 1)}}
		a.s.chains[i] = &chain{origin: a.by[i], key: l.devices[i]}
	}
	a.q = lamport.New(lamport.Config{Self: a.by[0], Chains: a.chains, Mutant: m}, ordering.Vector{}, 0)
	a.q.Open(1, a.by[:members], nil, time.Unix(0, 0))
	return a
}

// write makes a member's next entry.
func (a *alone) write(i int) *ordering.Entry {
	return a.s.compose(i, nil, ordering.KindJoined, []byte("word")).Run().Last()
}

// take makes an entry durable here.
func (a *alone) take(e *ordering.Entry) {
	a.chains[e.ID()], a.have[e.Origin] = e.Hash(), e.Seq
	a.q.Add(e, false, time.Unix(0, 0))
	a.q.Persisted(a.q.Pending())
}

func tipOf(e *ordering.Entry) ordering.Tip { return ordering.TipOf(e.Seq, e.Hash()) }

// before fails the play if what is final now sorts behind an entry that is not
// here.
func (a *alone) before(e *ordering.Entry) *Failure {
	for _, f := range a.q.Stable(a.have) {
		if e.Key().Compare(f.Key()) < 0 {
			a.s.w.failf(0, "L-3", "%s is final in an epoch in which %s sorts before it", f.Origin.Tag(), e.Origin.Tag())
		}
	}
	return a.s.w.fail
}

// ackOfAnotherEpoch plays a view of {0 1 2} that becomes {0 2 3}. An
// acknowledgement that 2 gave in the old view names the chains of that view: read
// as one of the new, it says that 2 has written nothing.
func ackOfAnotherEpoch(l *Lab, m mutant.Mutant) *Failure {
	a := newAlone(l, m, 3)
	a.take(a.write(0))
	early, mine := a.write(2), a.write(0)
	a.take(mine)
	a.q.Open(2, []ordering.Origin{a.by[0], a.by[2], a.by[3]}, nil, time.Unix(0, 0))
	a.q.Hear(a.by[3], ordering.Ack{Epoch: 2, Clock: mine.TS, Have: []ordering.Tip{tipOf(mine), {}, {}}})
	a.q.Hear(a.by[2], ordering.Ack{Epoch: 1, Clock: mine.TS, Have: []ordering.Tip{tipOf(mine), {}, tipOf(early)}})
	return a.before(early)
}

// clockWithoutItsEntries plays a member whose clock is heard before the entry that
// made it.
func clockWithoutItsEntries(l *Lab, m mutant.Mutant) *Failure {
	a := newAlone(l, m, 2)
	a.take(a.write(0))
	early, mine := a.write(1), a.write(0)
	a.take(mine)
	a.q.Hear(a.by[1], ordering.Ack{Epoch: 1, Clock: mine.TS, Have: []ordering.Tip{tipOf(mine), tipOf(early)}})
	return a.before(early)
}

// sealedStraggler is scenario 6: a member that sealed an epoch without an entry
// hears that all others have it. The cut may be made of its seal.
func sealedStraggler(l *Lab, m mutant.Mutant) *Failure {
	a := newAlone(l, m, 2)
	a.q.SealNow()
	mine := a.write(0)
	a.take(mine)
	a.q.Hear(a.by[1], ordering.Ack{Epoch: 1, Clock: mine.TS, Have: []ordering.Tip{tipOf(mine), {}}})
	if len(a.q.Stable(a.have)) > 0 {
		a.s.w.failf(0, "L-4", "an entry is final in an epoch that was sealed without it")
	}
	return a.s.w.fail
}

// nobodyAdopts plays an entry from outside the view, of which no member speaks.
func nobodyAdopts(l *Lab, m mutant.Mutant) *Failure {
	a := newAlone(l, m, 1)
	a.take(a.write(1))
	if a.q.AdoptDue().IsZero() {
		a.s.w.failf(0, "U8", "an entry from outside the view is never adopted")
	}
	return a.s.w.fail
}

// forgottenSeal sets a member back to before it sealed, while the epoch that it
// sealed is still open: it must learn from who asked for the seal that it did.
func forgottenSeal(l *Lab, m mutant.Mutant) *Failure {
	w := l.quietRoom(m, 3, Leaderless)
	w.run(14*time.Second, nil)
	leader := w.leader()
	member, third := w.nodes[(leader.i+1)%3], w.nodes[(leader.i+2)%3]
	image := member.disk.image()
	for _, n := range []*node{leader, member} {
		w.cut(n.i, third.i)
		w.cut(third.i, n.i)
	}
	for slices.Equal(member.disk.seal, image.seal) && w.fail == nil {
		w.run(100*time.Microsecond, nil)
	}
	member.kill()
	member.disk, member.setback = image, true
	member.revive()
	leader.say("after", w.draft(leader, 1))
	w.run(5*time.Second, nil)
	return w.fail
}

// nobodyIsAsked plays a view in which the replica takes no part, and of whose
// acknowledgements it heard none.
func nobodyIsAsked(l *Lab, m mutant.Mutant) *Failure {
	a := newAlone(l, m, 0)
	a.q.Open(1, a.by[1:3], nil, time.Unix(0, 0))
	a.take(a.write(1))
	if ask, asks := a.q.Ack(time.Unix(60, 0)); !asks || !ask.Ask || len(a.q.WaitsFor()) != 2 {
		a.s.w.failf(0, "U8", "who takes no part in the view does not ask what is held there")
	}
	return a.s.w.fail
}

// changeWithoutAMember plays a view change in which all voters answer, and none of
// the view, of which alone it is known who holds what.
func changeWithoutAMember(l *Lab, m mutant.Mutant) *Failure {
	s := newStage(l, m)
	now := time.Unix(0, 0)
	var voters []ordering.Origin
	for _, n := range s.w.nodes {
		voters = append(voters, n.self)
	}
	c := lamport.NewChange(lamport.Change{Epoch: 1, Term: stageTerm, View: []ordering.Origin{l.origin(8, 0)}, Mode: ordering.Lamport, Want: voters}, voters[0], voters, m)
	for _, v := range voters {
		c.SealedBy(v, make([]ordering.Tip, 1), now)
	}
	if _, enough := c.Union(now.Add(time.Minute)); enough {
		s.w.failf(0, "L-4", "an epoch is cut though nobody of its view is sealed")
	}
	return s.w.fail
}
