package room

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/lamport"
	"tertulia/ordering/linear"
	"tertulia/ordering/mutant"
)

// In a Lamport epoch nobody leads: what is final follows from what the members of
// the view acknowledge. The leader of the control log only moves the room from one
// epoch to the next.

// lamportic reports whether the open epoch is without a leader.
func (c *Core) lamportic() bool { return c.order.list.Epoch().Mode == ordering.Lamport }

// openEpoch tells the hold-back queue of the list's open epoch.
func (c *Core) openEpoch(seal *lamport.Seal) {
	o := c.order
	e := o.list.Epoch()
	view := e.View
	if e.Mode != ordering.Lamport {
		view = nil
	}
	o.held.Open(e.N, view, seal, c.now)
	o.change = nil
}

// settle moves what became stable into the final list (L6, L7).
func (c *Core) settle() {
	o := c.order
	if _, frozen := o.list.Diverged(); frozen || !c.lamportic() {
		return
	}
	c.finalize(o.held.Stable(c.graph.Have()))
}

// finalize emits entries in their order.
func (c *Core) finalize(entries []*ordering.Entry) {
	o := c.order
	if len(entries) == 0 {
		return
	}
	finals := o.list.Finalize(entries)
	c.ready.Final = append(c.ready.Final, finals...)
	o.marked = true
	c.emitted(finals)
}

// emitted drops what became final, or was lost to another branch, from what waits.
func (c *Core) emitted(finals []linear.Final) {
	o := c.order
	if len(finals) == 0 {
		return
	}
	hashes := make([]ordering.Hash, len(finals))
	for i, f := range finals {
		hashes[i] = f.Hash
		if f.Fate == linear.Lost {
			o.queue.Lost(ordering.Ref{EntryID: f.ID, Hash: f.Hash})
		}
	}
	o.held.Emitted(hashes)
	o.queue.Emitted(o.list.Emitted())
	for _, x := range c.graph.Forks() {
		o.held.Passed(x, o.list.Emitted()[x])
	}
	if o.list.Wish() != 0 {
		c.stir()
	}
}

// closes reports whether an Epoch of the control log closes the open Lamport epoch
// and the graph holds all that it is cut at; if it lacks something, that is
// fetched (L9 step 5).
func (c *Core) closes(e *ordering.Epoch) (ready bool) {
	o := c.order
	if !c.lamportic() || e.Base != o.list.Epoch().N {
		return true
	}
	for _, r := range e.Cut {
		if r.Seq > 0 && !c.graph.HoldsRef(r) {
			c.seekTip(r.Origin, ordering.TipOf(r.Seq, r.Hash))
			c.lack(c.now)
			return false
		}
	}
	c.finalize(o.held.Cut(e.Cut))
	return true
}

// acknowledge says what this member of the view has on disk (L3); who is not in
// the view asks those for whom finality waits here.
func (c *Core) acknowledge() {
	o := c.order
	if c.setBack {
		return
	}
	a, ok := o.held.Ack(c.now)
	if !ok {
		return
	}
	if !o.held.Member() {
		for _, v := range o.held.WaitsFor() {
			c.signal(v.Device, &a)
		}
		return
	}
	for _, d := range c.Connected() {
		c.signal(d, &a)
	}
	for _, v := range o.list.Epoch().View {
		if v != c.cfg.Self && c.peers[v.Device] == nil {
			c.signal(v.Device, &a)
		}
	}
}

// heedAck takes an acknowledgement.
func (c *Core) heedAck(d ordering.DeviceKey, a *ordering.Ack) {
	o := c.order
	from := ordering.Origin{Device: d, Instance: a.Instance}
	if view := o.list.Epoch().View; c.cfg.Mutant == mutant.AckOfDevice {
		if i := slices.IndexFunc(view, func(v ordering.Origin) bool { return v.Device == d }); i >= 0 {
			from = view[i]
		}
	}
	c.rememberAcked(from, a.Epoch, a.Clock, a.Have, a.Sealed)
	if o.held.Hear(from, *a) {
		if mine, ok := o.held.Answer(); ok {
			c.signal(d, &mine)
		}
	}
	if a.Epoch == o.list.Epoch().N {
		c.holdsTips(d, a.Have)
	}
	if a.Sealed && o.status.Leading && o.change == nil && a.Epoch == o.list.Epoch().N {
		c.stir() // L9: a sealed epoch must end
	}
}

// holdsTips notes that a connected member holds the view's chains up to the tips,
// and fetches what is lacking here.
func (c *Core) holdsTips(d ordering.DeviceKey, tips []ordering.Tip) {
	p, view := c.peers[d], c.order.list.Epoch().View
	if p == nil || len(tips) != len(view) {
		return
	}
	reach := c.graph.Reach()
	for i, t := range tips {
		if t.Seq > 0 {
			p.holdUpTo(view[i], t.Seq)
			c.shown.upTo(d, view[i], t.Seq)
		}
		if t.Seq > reach[view[i]] {
			c.lack(c.now)
		} else if _, held := c.graph.Resolve(view[i], t); t.Seq > 0 && !held {
			c.seekTip(view[i], t)
		}
	}
}

// sealNow seals the open epoch here, durably with the next commit (L9 step 1).
func (c *Core) sealNow() *lamport.Seal {
	s := c.order.held.SealNow()
	if c.cfg.Mutant != mutant.ForgetSeal {
		c.ready.Seal = encodeSeal(s)
	}
	return s
}

// heedSeal takes what a view change asks and answers.
func (c *Core) heedSeal(d ordering.DeviceKey, s ordering.Signal) {
	o := c.order
	e := o.list.Epoch()
	if !c.lamportic() {
		return
	}
	switch s := s.(type) {
	case *ordering.SealAsk:
		if s.Epoch == e.N && s.Term >= o.status.Term {
			c.signal(d, &ordering.SealOK{Instance: c.cfg.Self.Instance, Epoch: e.N, Term: s.Term, Have: c.sealNow().Have})
		}
	case *ordering.SealOK:
		if ch := o.change; ch != nil && s.Epoch == ch.Epoch && s.Term == ch.Term {
			from := ordering.Origin{Device: d, Instance: s.Instance}
			c.rememberAcked(from, s.Epoch, 0, s.Have, true)
			c.holdsTips(d, s.Have)
			ch.SealedBy(from, s.Have, c.now)
		}
	case *ordering.CutWant:
		if s.Epoch == e.N && len(s.Cut) == len(e.View) {
			c.holdsTips(d, s.Cut)
			c.signal(d, &ordering.CutHave{Instance: c.cfg.Self.Instance, Epoch: e.N, Term: s.Term, Have: c.holding(s.Cut)})
		}
	case *ordering.CutHave:
		if ch := o.change; ch != nil && s.Epoch == ch.Epoch && s.Term == ch.Term {
			from := ordering.Origin{Device: d, Instance: s.Instance}
			c.rememberAcked(from, s.Epoch, 0, s.Have, false)
			ch.Holds(from, s.Have, c.now)
		}
	case *ordering.Raft, *ordering.Bully, *ordering.Standing, *ordering.Ack:
	}
}

// startChange begins a view change, unless one is under way (L9).
func (c *Core) startChange(mode ordering.Mode, want []ordering.Origin, reason string) {
	o := c.order
	e := o.list.Epoch()
	if ch := o.change; ch != nil && ch.Term == o.status.Term && ch.Epoch == e.N {
		if !ch.Proposed {
			ch.Want, ch.Mode = want, mode
		}
		return
	}
	o.change = lamport.NewChange(lamport.Change{
		Epoch: e.N, Term: o.status.Term, View: e.View, Mode: mode, Want: want, Reason: reason,
	}, c.cfg.Self, o.status.Conf.Voters, c.cfg.Mutant)
}

// changeView takes the next step of a view change (L9 steps 1 to 4).
func (c *Core) changeView() {
	o := c.order
	ch := o.change
	if ch == nil || !c.lamportic() {
		return
	}
	if !o.status.Leading || ch.Term != o.status.Term || ch.Epoch != o.list.Epoch().N {
		o.change = nil
		return
	}
	if ch.Proposed {
		return
	}
	if c.cfg.Mutant == mutant.NoSeal {
		c.proposeEpoch(ch, o.held.Tips(o.held.Durable()))
		return
	}
	if !ch.Begun {
		ch.Begun = true
		c.sealNow()
		o.sealing = true // counts once it is durable
	}
	cut, enough := ch.Union(c.now)
	switch {
	case !enough:
		if ch.Ask(c.now) {
			for _, v := range ch.Unsealed() {
				c.signal(v.Device, &ordering.SealAsk{Epoch: ch.Epoch, Term: ch.Term})
			}
		}
		return
	case c.cfg.Mutant != mutant.LonelyCut:
		settled := c.settleForks(ch, cut)
		ch.Holds(c.cfg.Self, c.holding(cut), c.now)
		if !settled || !ch.Copied(cut) || !ch.HeldBy(c.cfg.Self, cut) {
			if ch.Ask(c.now) {
				for _, v := range ch.Asked() {
					if !c.hears(v) {
						ch.Without(v, c.now)
					}
				}
				for _, v := range ch.Lacking(cut) {
					c.signal(v.Device, &ordering.CutWant{Epoch: ch.Epoch, Term: ch.Term, Cut: cut})
				}
			}
			return
		}
	}
	c.proposeEpoch(ch, cut)
}

// proposeEpoch proposes the epoch that follows the one cut at the tips.
func (c *Core) proposeEpoch(ch *lamport.Change, tips []ordering.Tip) {
	o := c.order
	var cut []ordering.Ref
	for i, t := range tips {
		if r, ok := c.graph.Resolve(ch.View[i], t); ok {
			cut = append(cut, r)
		}
	}
	before := o.status.LastIndex
	if o.log.Propose(&ordering.Epoch{N: ch.Epoch + 1, Base: ch.Epoch, Mode: ch.Mode, View: ch.Want, Cut: cut, Reason: ch.Reason}) {
		ch.Proposed = true
		o.lead.epochAt = before + 1
		c.busy()
		c.refresh()
	}
}

// adopt writes an empty entry over what nobody in the view has named (L8).
func (c *Core) adopt() {
	o := c.order
	due := o.held.AdoptDue()
	if !c.lamportic() || due.IsZero() || c.now.Before(due) {
		return
	}
	o.held.Adopted(c.now)
	if _, err := c.Say(c.now, time.UnixMilli(0), Draft{Kind: ordering.KindNull}); err != nil && !errors.Is(err, ErrNotMember) && !errors.Is(err, ErrSetBack) {
		panic("room: an empty entry is refused: " + err.Error())
	}
}

// lamportDue is when the hold-back queue or a view change is next of use.
func (c *Core) lamportDue() time.Time {
	o := c.order
	if !c.lamportic() {
		return time.Time{}
	}
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if !c.setBack {
		sooner(o.held.AckDue())
		if c.graph.IsMember(c.cfg.Self.Device) {
			sooner(o.held.AdoptDue())
		}
	}
	if ch := o.change; ch != nil && !ch.Proposed && c.mayPropose() {
		sooner(ch.AskAt())
		if due := ch.Due(); c.now.Before(due) {
			sooner(due)
		}
	}
	return next
}

// heldBack names whom finality waits for in a Lamport epoch.
func (c *Core) heldBack() []ordering.Origin {
	o := c.order
	if waits := o.held.WaitsFor(); len(waits) > 0 && c.now.Sub(o.held.Since()) > patienceShown {
		return slices.DeleteFunc(waits, func(v ordering.Origin) bool { return v == c.cfg.Self })
	}
	if o.held.Len() == 0 || o.held.Member() {
		return nil
	}
	var missing []ordering.Origin
	for _, v := range o.list.Epoch().View {
		if c.hears(v) {
			return nil
		}
		missing = append(missing, v)
	}
	return missing
}

// patienceShown is how long something waits before people are told for whom.
const patienceShown = 500 * time.Millisecond

func encodeSeal(s *lamport.Seal) []byte {
	b := binary.BigEndian.AppendUint64(nil, s.Epoch)
	b = binary.BigEndian.AppendUint64(b, s.Clock)
	for _, t := range s.Have {
		b = append(binary.BigEndian.AppendUint64(b, t.Seq), t.Hash[:]...)
	}
	return b
}

var errSeal = errors.New("room: the disk's seal is damaged")

func decodeSeal(b []byte) (*lamport.Seal, error) {
	if len(b) == 0 {
		return nil, nil //nolint:nilnil // never sealed
	}
	if len(b) < 16 || len(b)%16 != 0 || len(b) > 16*(1+ordering.MaxView) {
		return nil, errSeal
	}
	s := &lamport.Seal{Epoch: binary.BigEndian.Uint64(b), Clock: binary.BigEndian.Uint64(b[8:])}
	for b = b[16:]; len(b) > 0; b = b[16:] {
		t := ordering.Tip{Seq: binary.BigEndian.Uint64(b)}
		copy(t.Hash[:], b[8:])
		s.Have = append(s.Have, t)
	}
	return s, nil
}
