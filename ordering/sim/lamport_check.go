package sim

import (
	"fmt"
	"slices"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
	"tertulia/ordering/room"
)

// epochal is the part of the canonical history that is about Lamport epochs.
type epochal struct {
	views    map[uint64]view
	cuts     map[uint64]ordering.Vector                    // of closed Lamport epochs
	closing  uint64                                        // the open epoch, by the committed records so far
	read     uint64                                        // how far they were read for that
	counted  map[uint64]ordering.Vector                    // natives that somebody made final in the open epoch
	on       map[ordering.Hash]uint64                      // on whose disks an entry ever was: a bit for each origin
	promises map[ordering.Origin][]promise                 // of every acknowledgement
	seals    map[uint64]map[ordering.Origin][]ordering.Tip // as first durable, by epoch
	sealedAt map[uint64]map[ordering.Origin]uint64         // clock of the same
}

// view is who takes part in an epoch.
type view struct {
	mode    ordering.Mode
	members []ordering.Origin
}

// promise is what an acknowledgement promised: entries after own have a ts above
// clock (L4).
type promise struct{ own, clock uint64 }

func newEpochal() epochal {
	return epochal{
		views: make(map[uint64]view), cuts: make(map[uint64]ordering.Vector), read: 1, counted: make(map[uint64]ordering.Vector),
		on: make(map[ordering.Hash]uint64), promises: make(map[ordering.Origin][]promise),
		seals: make(map[uint64]map[ordering.Origin][]ordering.Tip), sealedAt: make(map[uint64]map[ordering.Origin]uint64),
	}
}

// stored checks an entry that n has made durable against what its author promised
// (L-1). What a replica writes on a disk that was set back stays there.
func (c *canon) stored(n *node, e *ordering.Entry) {
	c.epochal.on[e.Hash()] |= c.bit(n.self)
	if n.self != e.Origin || n.setback {
		return
	}
	for _, p := range c.epochal.promises[e.Origin] {
		if e.Seq > p.own && e.TS <= p.clock {
			n.w.failf(n.i, "L-1", "writes %s with ts %d after it acknowledged clock %d at its seq %d", n.w.id(e.ID()), e.TS, p.clock, p.own)
		}
	}
}

// acked checks an acknowledgement: it says no more than the disk (L-6), and than
// the seal (L-5), and is a promise (L-1).
func (c *canon) acked(n *node, a *ordering.Ack) {
	w, x := n.w, &c.epochal
	v, known := x.views[a.Epoch]
	if !known || len(a.Have) != len(v.members) {
		w.failf(n.i, "L-6", "acknowledges %d chains in epoch %d, which has %s", len(a.Have), a.Epoch, w.whoAll(v.members))
		return
	}
	i := slices.Index(v.members, n.self)
	if i < 0 && a.Ask {
		return // it wants to follow
	}
	if i < 0 {
		w.failf(n.i, "L-6", "acknowledges in epoch %d of %s, where it takes no part", a.Epoch, w.whoAll(v.members))
		return
	}
	for k, t := range a.Have {
		if t.Seq > n.disk.have[v.members[k]] {
			w.failf(n.i, "L-6", "acknowledges %s/%d with %d on disk", w.who(v.members[k]), t.Seq, n.disk.have[v.members[k]])
		}
	}
	if a.Clock > n.disk.clock {
		w.failf(n.i, "L-1", "acknowledges clock %d with %d on disk", a.Clock, n.disk.clock)
	}
	if sealed := x.seals[a.Epoch][n.self]; sealed != nil {
		for k, t := range a.Have {
			if t.Seq > sealed[k].Seq {
				w.failf(n.i, "L-5", "acknowledges %s/%d in epoch %d, which it sealed with %d", w.who(v.members[k]), t.Seq, a.Epoch, sealed[k].Seq)
			}
		}
		if a.Clock > x.sealedAt[a.Epoch][n.self] {
			w.failf(n.i, "L-5", "acknowledges clock %d in epoch %d, which it sealed at %d", a.Clock, a.Epoch, x.sealedAt[a.Epoch][n.self])
		}
	}
	p := promise{a.Have[i].Seq, a.Clock}
	if list := x.promises[n.self]; len(list) == 0 || list[len(list)-1] != p {
		x.promises[n.self] = append(list, p)
	}
}

// saidSealed checks that a seal that is said is durable, and is the only one of
// the replica in its epoch (L-5).
func (c *canon) saidSealed(n *node, m *ordering.SealOK) {
	first := c.epochal.seals[m.Epoch][n.self]
	if first == nil || !slices.Equal(first, m.Have) {
		n.w.failf(n.i, "L-5", "says that it sealed epoch %d at %s, and its disk at %s", m.Epoch, describeTips(m.Have), describeTips(first))
	}
	if s, _ := parseSeal(n.disk.seal); s.epoch < m.Epoch {
		n.w.failf(n.i, "L-5", "says that it sealed epoch %d, and its disk knows of %d", m.Epoch, s.epoch)
	}
}

// saidHolds checks that what is said to be held is on disk.
func (c *canon) saidHolds(n *node, epoch uint64, have []ordering.Tip) {
	v := c.epochal.views[epoch]
	if len(have) != len(v.members) {
		n.w.failf(n.i, "L-4", "speaks of %d chains of epoch %d, which has %s", len(have), epoch, n.w.whoAll(v.members))
		return
	}
	for i, t := range have {
		if t.Seq > n.disk.have[v.members[i]] {
			n.w.failf(n.i, "L-4", "says that it holds %s/%d with %d on disk", n.w.who(v.members[i]), t.Seq, n.disk.have[v.members[i]])
		}
	}
}

// diskSeal is a seal as a disk keeps it.
type diskSeal struct {
	epoch, clock uint64
	have         []ordering.Tip
}

func parseSeal(b []byte) (s diskSeal, err error) {
	if len(b) == 0 {
		return s, nil
	}
	if len(b) < 16 || len(b)%16 != 0 {
		return s, fmt.Errorf("sim: %d bytes are no seal", len(b))
	}
	u := func(b []byte) (x uint64) {
		for _, c := range b[:8] {
			x = x<<8 | uint64(c)
		}
		return x
	}
	s.epoch, s.clock = u(b), u(b[8:])
	for b = b[16:]; len(b) > 0; b = b[16:] {
		t := ordering.Tip{Seq: u(b)}
		copy(t.Hash[:], b[8:])
		s.have = append(s.have, t)
	}
	return s, nil
}

// epochCommitted checks a commit as a whole for what it says of Lamport epochs;
// the disk has it already.
func (c *canon) epochCommitted(n *node, r *room.Ready) {
	w, x := n.w, &c.epochal
	if n.disk.mark != nil {
		if s, err := linear.ParseState(append(slices.Clip(n.disk.mark), 0, 0)); err == nil {
			x.views[s.Epoch.N] = view{s.Epoch.Mode, s.Epoch.View}
			n.disk.open = s.Epoch.N
		}
	}
	if r.Seal != nil {
		s, err := parseSeal(r.Seal)
		if err != nil {
			w.failf(n.i, "L-5", "%v", err)
			return
		}
		if x.seals[s.epoch] == nil {
			x.seals[s.epoch], x.sealedAt[s.epoch] = make(map[ordering.Origin][]ordering.Tip), make(map[ordering.Origin]uint64)
		}
		if first := x.seals[s.epoch][n.self]; first == nil {
			x.seals[s.epoch][n.self], x.sealedAt[s.epoch][n.self] = append([]ordering.Tip{}, s.have...), s.clock
			c.saidHolds(n, s.epoch, s.have)
		} else if !slices.Equal(first, s.have) || x.sealedAt[s.epoch][n.self] != s.clock {
			w.failf(n.i, "L-5", "seals epoch %d again, at %s and not at %s", s.epoch, describeTips(s.have), describeTips(first))
		}
	}
	for i := range r.Final {
		c.native(n, &r.Final[i])
	}
	c.readEpochs(n)
}

// native checks an entry that n has made final in a Lamport epoch.
func (c *canon) native(n *node, f *linear.Final) {
	w, x := n.w, &c.epochal
	v, known := x.views[f.Epoch]
	if !known || v.mode != ordering.Lamport || !slices.Contains(v.members, f.ID.Origin) || w.forger(f.ID.Origin) {
		return
	}
	e := c.wrote[f.Hash]
	if e == nil || f.Fate == linear.Lost {
		return
	}
	if n.disk.nativeOf != f.Epoch {
		n.disk.nativeOf, n.disk.native = f.Epoch, ordering.Key{}
	}
	if k := e.Key(); k.Compare(n.disk.native) <= 0 {
		w.failf(n.i, "L-3", "%s is final in epoch %d after what sorts behind it", w.id(f.ID), f.Epoch)
	} else {
		n.disk.native = k
	}
	if n.disk.open != f.Epoch {
		return // a cut may have made it final
	}
	for _, q := range v.members {
		if x.on[f.Hash]&c.bit(q) == 0 {
			w.failf(n.i, "L-6", "%s is final in epoch %d, and not on the disk of %s", w.id(f.ID), f.Epoch, w.who(q))
		}
	}
	if x.counted[f.Epoch] == nil {
		x.counted[f.Epoch] = make(ordering.Vector)
	}
	x.counted[f.Epoch][f.ID.Origin] = max(x.counted[f.Epoch][f.ID.Origin], f.ID.Seq)
	if cut, closed := x.cuts[f.Epoch]; closed && cut[f.ID.Origin] < f.ID.Seq {
		w.failf(n.i, "L-4", "%s is final in epoch %d, which was cut at %d", w.id(f.ID), f.Epoch, cut[f.ID.Origin])
	}
}

// readEpochs follows the committed records from epoch to epoch, and checks that a
// cut covers all that somebody made final before (L-4).
func (c *canon) readEpochs(n *node) {
	w, x := n.w, &c.epochal
	for r := c.log[x.read+1]; r != nil; r = c.log[x.read+1] {
		x.read++
		e := epochOf(r.data)
		if e == nil || e.Base != x.closing {
			continue
		}
		x.closing = e.N
		old := x.views[e.Base]
		if old.mode != ordering.Lamport {
			continue
		}
		cut := make(ordering.Vector)
		for _, r := range e.Cut {
			cut[r.Origin] = r.Seq
		}
		x.cuts[e.Base] = cut
		for o, seq := range x.counted[e.Base] {
			if cut[o] < seq {
				w.failf(-1, "L-4", "epoch %d is cut at %s/%d, and %d was final", e.Base, w.who(o), cut[o], seq)
			}
		}
	}
}

// emittedAs reports whether the disk's final list goes exactly as far as a
// vector: in a Lamport epoch lists that have applied the same records may differ.
func (d *disk) emittedAs(list []linear.Emitted) bool {
	for _, e := range list {
		if d.emitted[e.Origin] != e {
			return false
		}
	}
	return len(list) == len(d.emitted)
}

// opens checks, when a leader has written down a record that closes a Lamport
// epoch, that a majority of the voters and a member of the view had sealed it on
// their disks with no more than it is cut at (L9).
func (c *canon) opens(n *node, r *control.Record) {
	w, x := n.w, &c.epochal
	e := epochOf(r.Data)
	if e == nil || x.views[e.Base].mode != ordering.Lamport {
		return
	}
	cut := make(ordering.Vector)
	for _, r := range e.Cut {
		cut[r.Origin] = r.Seq
	}
	of, voters := x.views[e.Base].members, decodeConf(n.disk.control.Conf).voters
	sealed, members := 0, 0
	for o, have := range x.seals[e.Base] {
		within := true
		for i, t := range have {
			within = within && (t.Seq <= cut[of[i]] || w.mayFork(of[i])) // up to where the branches part
		}
		if within && slices.Contains(voters, o) {
			sealed++
		}
		if within && slices.Contains(of, o) {
			members++
		}
	}
	if 2*sealed <= len(voters) || members == 0 {
		w.failf(n.i, "L9", "proposes %s: %d of %d voters and %d of the view %s are sealed within it", w.describeRecord(r), sealed, len(voters), members, w.whoAll(of))
	}
}
