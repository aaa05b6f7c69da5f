package sim

import (
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

// ackOfAnotherEpoch plays a view of {0 1 2} that becomes {0 2 3}. An
// acknowledgement that 2 gave in the old view names the chains of that view: read
// as one of the new, it says that 2 has written nothing.
func ackOfAnotherEpoch(l *Lab, m mutant.Mutant) *Failure {
	s := newStage(l, m)
	var by [4]ordering.Origin
	for i := range by {
		by[i] = ordering.Origin{Device: ordering.DeviceKey{byte(i + 1)}}
		s.chains[i] = &chain{origin: by[i], key: l.devices[i]}
	}
	entry := func(i int) *ordering.Entry {
		return s.compose(i, nil, ordering.KindJoined, []byte("word")).Run().Last()
	}
	early, _, mine := entry(2), entry(0), entry(0)
	now, chains := time.Unix(0, 0), held{}
	q := lamport.New(lamport.Config{Self: by[0], Chains: chains, Mutant: m}, ordering.Vector{by[0]: 1}, 1)
	take := func(e *ordering.Entry) {
		chains[e.ID()] = e.Hash()
		q.Add(e, now)
		q.Persisted(q.Pending())
	}
	q.Open(1, by[:3], nil)
	take(mine)
	q.Open(2, []ordering.Origin{by[0], by[2], by[3]}, nil)
	tip := ordering.TipOf(mine.Seq, mine.Hash())
	q.Hear(by[3], ordering.Ack{Epoch: 2, Clock: mine.TS, Have: []ordering.Tip{tip, {}, {}}})
	q.Hear(by[2], ordering.Ack{Epoch: 1, Clock: mine.TS, Have: []ordering.Tip{tip, {}, ordering.TipOf(1, early.Hash())}})
	final := q.Stable(ordering.Vector{by[0]: 2})
	if len(final) > 0 && early.Key().Compare(final[0].Key()) < 0 {
		s.w.failf(0, "L-3", "%s is final in an epoch in which %s/1 sorts before it", s.w.id(final[0].ID()), early.Origin.Tag())
	}
	return s.w.fail
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
