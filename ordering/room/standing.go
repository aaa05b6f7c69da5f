package room

import (
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/linear"
	"tertulia/ordering/mutant"
)

// Waits of standings.
const (
	StandingInterval = time.Second     // between two to the same peer, unless it asked
	distantInterval  = 5 * time.Second // to voters that are reached only through others
	maxKnown         = ordering.MaxOrigins
)

// known is what a replica said of itself, and what we durably remember of it.
type known struct {
	standing *ordering.Standing // newest; nil: none in this life
	at       time.Time
	direct   bool          // it came without a relay
	seen     ordering.Seen // what we remember of it
	dirty    bool          // and not yet durably
	fed      uint64        // control records sent to it beyond its Applied (P5)
	fedAt    time.Time
}

// told is what a peer knows of our standing.
type told struct {
	standing ordering.Standing
	at       time.Time
	owed     bool
}

func (c *Core) knownOf(o ordering.Origin) *known {
	k := c.known[o]
	if k == nil {
		k = &known{seen: ordering.Seen{Origin: o}}
		if len(c.known) < maxKnown {
			c.known[o] = k
		}
	}
	return k
}

// instance returns the origin under which a device lives now, as far as it said;
// zero if it did not.
func (c *Core) instance(d ordering.DeviceKey) ordering.Origin { return c.live[d] }

// standing is where we stand, as told to one replica.
func (c *Core) standing(to ordering.Origin) ordering.Standing {
	s := ordering.Standing{Origin: c.cfg.Self, Priority: c.cfg.Priority, Clock: c.graph.Clock()}
	s.Seen = c.knownOf(to).seen
	s.Seen.Origin, s.Seen.Seq = to, c.graph.Have()[to]
	s.Seen.Hash, _ = c.graph.HashOf(ordering.EntryID{Origin: to, Seq: s.Seen.Seq})
	if o := c.order; o != nil {
		s.Leader = o.status.Leader
		s.Term, s.Commit, s.LastTerm, s.LastIndex = o.status.Term, o.status.Commit, o.status.LastTerm, o.status.LastIndex
		s.Applied, s.Epoch = o.list.Applied(), o.list.Epoch().N
		s.FinalIndex, s.OrderHash = o.list.Index(), o.list.OrderHash()
		s.CheckIndex = s.FinalIndex - s.FinalIndex%ordering.CheckpointEvery
		s.CheckHash, _ = o.list.HashAt(s.CheckIndex)
		_, s.Diverged = o.list.Diverged()
	}
	return s
}

// stand says our standing to a connected peer now, and asks for its own if that
// did not come or may be old.
func (c *Core) stand(d ordering.DeviceKey, ask bool) {
	p := c.peers[d]
	to := c.instance(d)
	if to == (ordering.Origin{}) {
		to = c.newestOrigin(d)
	}
	s := c.standing(to)
	s.Ask = ask || !p.met
	p.told = told{standing: s, at: c.now}
	c.send(d, &s)
}

// newestOrigin guesses under which origin a device lives: the one whose chain
// ends latest.
func (c *Core) newestOrigin(d ordering.DeviceKey) ordering.Origin {
	best := ordering.Origin{Device: d}
	var clock uint64
	for _, o := range c.graph.Have().Origins() {
		if ts := c.graph.ClockOf(o); o.Device == d && ts > clock {
			best, clock = o, ts
		}
	}
	return best
}

// heedStanding takes what a replica says of itself and of us.
func (c *Core) heedStanding(d ordering.DeviceKey, s *ordering.Standing, direct bool) error {
	if s.Origin.Device != d {
		return ordering.Refuse(ordering.Malformed, ordering.EntryID{})
	}
	p := c.peers[d]
	if direct && p == nil {
		return nil
	}
	met := p != nil && p.met
	k := c.knownOf(s.Origin)
	fresh := k.standing == nil
	if c.known[s.Origin] != k {
		return ordering.Refuse(ordering.TooMany, ordering.EntryID{})
	}
	k.standing, k.at, k.direct = s, c.now, direct
	if old := c.live[d]; old != s.Origin {
		c.live[d] = s.Origin
		if k := c.known[old]; k != nil && k.seen == (ordering.Seen{Origin: old}) && (c.order == nil || !c.seated(old)) {
			delete(c.known, old) // an instance that left nothing to remember
		}
	}
	if s.Seen.Origin == c.cfg.Self {
		c.shown.upTo(d, c.cfg.Self, s.Seen.Seq)
		if c.isSetBack(s.Seen) {
			c.fallSilent()
			return nil
		}
		if direct && !p.met {
			p.met = true
			c.meet(d)
		}
	}
	if direct && (s.Ask || p.told.standing.Seen.Origin != s.Origin) {
		// It did not hear ours, or we had guessed another instance. At first nothing
		// else may come before it; later it waits for what the Ready makes durable.
		if p.asked = met; !met {
			c.stand(d, false)
		}
	}
	c.compareOrder(s)
	if o := c.order; o != nil {
		o.lead.feedDue = true
		if fresh || !direct || o.bully.Suspects() {
			c.stir()
		}
	}
	return nil
}

// isSetBack reports whether a peer remembers more of us than our disk does. What
// we held in an older term may rightly be gone.
func (c *Core) isSetBack(seen ordering.Seen) bool {
	if own, held := c.graph.HashOf(ordering.EntryID{Origin: c.cfg.Self, Seq: seen.Seq}); seen.Seq > 0 && (!held || own != seen.Hash) {
		return true
	}
	o := c.order
	if o == nil {
		return seen.Term > 0 || seen.Acked.Epoch > 0
	}
	if c.forgot(seen.Acked) {
		return true
	}
	if !c.seated(c.cfg.Self) && o.status.Vote == 0 && o.status.Term <= 1 {
		return false // we never had a seat: what is remembered is not of us
	}
	return seen.Term > o.status.Term || seen.Term == o.status.Term && seen.Match > o.status.LastIndex
}

// forgot reports whether we said to have more in an epoch than our disk has.
func (c *Core) forgot(a ordering.Acked) bool {
	o := c.order
	if e := o.list.Epoch(); a.Epoch != e.N {
		return a.Epoch > e.N
	}
	branches := make(ordering.Vector)
	for _, x := range c.graph.Forks() {
		branches[x] = c.graph.Sync()[x]
	}
	return !o.held.Keeps(a, branches)
}

// fallSilent ends this replica's say: its owner goes on under a new instance.
func (c *Core) fallSilent() {
	if c.setBack {
		return
	}
	c.setBack = true
	c.ready.Events = append(c.ready.Events, Event{Kind: SetBack})
}

// meet says to a peer what waited until it had told what it remembers of us.
func (c *Core) meet(d ordering.DeviceKey) {
	if compareDevices(c.cfg.Self.Device, d) > 0 { // a digest from here opens nothing (see Hear)
		c.send(d, &ordering.Have{Vector: c.graph.Sync().Clone(), Answer: true})
	} else {
		c.digest(d)
	}
	if o := c.order; o != nil {
		if m, ok := o.log.Ack(); ok && m.To.Device == d {
			c.sendRaft(m)
		}
	}
	c.stir()
}

// remember keeps, durably with the next commit, what a replica has shown of its
// control log.
func (c *Core) remember(o ordering.Origin) {
	k := c.known[o]
	if k == nil {
		return
	}
	term, match := c.order.log.Shown(o)
	if term > k.seen.Term || term == k.seen.Term && match > k.seen.Match {
		k.seen.Term, k.seen.Match, k.dirty = term, match, true
	}
}

// rememberAcked keeps, durably with the next commit, what a replica said to have in
// an epoch.
func (c *Core) rememberAcked(from ordering.Origin, epoch, clock uint64, have []ordering.Tip, sealed bool) {
	if from != c.instance(from.Device) && !slices.Contains(c.order.list.Epoch().View, from) && !c.seated(from) {
		return // an instance of which nothing is known may be made up
	}
	k := c.knownOf(from)
	if acked := k.seen.Acked.With(epoch, clock, have, sealed); acked != k.seen.Acked && c.cfg.Mutant != mutant.ForgetAcked {
		k.seen.Acked, k.dirty = acked, true
	}
}

// rememberAll puts what is to be remembered into a commit that is made anyway.
func (c *Core) rememberAll(r *Ready) {
	if !r.Durable() {
		return
	}
	for o, k := range c.known {
		if k.dirty {
			k.dirty = false
			s := k.seen
			s.Seq = c.graph.Have()[o]
			s.Hash, _ = c.graph.HashOf(ordering.EntryID{Origin: o, Seq: s.Seq})
			r.Seen = append(r.Seen, s)
		}
	}
	slices.SortFunc(r.Seen, func(a, b ordering.Seen) int { return a.Origin.Compare(b.Origin) })
}

// compareOrder compares what another holds for final with what we do.
func (c *Core) compareOrder(s *ordering.Standing) {
	o := c.order
	if o == nil {
		return
	}
	for _, at := range []linear.Kept{{Index: s.FinalIndex, Hash: s.OrderHash}, {Index: s.CheckIndex, Hash: s.CheckHash}} {
		if own, kept := o.list.HashAt(at.Index); at.Index > 0 && kept && own != at.Hash {
			c.diverged(at.Index) // an alarm; only what a quorum agreed on stops this list
		}
	}
}

// tickStandings says our standing to whom it is due, and works out when it is due
// next.
func (c *Core) tickStandings() {
	c.standAt = time.Time{}
	for _, d := range c.Connected() {
		due := c.standingDue(d)
		if p := c.peers[d]; p.regained || p.asked || !due.IsZero() && !c.now.Before(due) {
			c.stand(d, p.regained)
			p.regained, p.asked = false, false
			due = c.standingDue(d)
		}
		if !due.IsZero() && (c.standAt.IsZero() || due.Before(c.standAt)) {
			c.standAt = due
		}
	}
	if due := c.standAfar(); !due.IsZero() && (c.standAt.IsZero() || due.Before(c.standAt)) {
		c.standAt = due
	}
}

// standingDue returns when a peer is to hear our standing anew, zero for not yet:
// it changed, the peer's own has not come, or the peer has what we are not fed.
func (c *Core) standingDue(d ordering.DeviceKey) time.Time {
	p := c.peers[d]
	last := p.told.standing
	last.Ask = false
	if p.told.owed || !p.met || c.standing(last.Seen.Origin) != last {
		return p.told.at.Add(StandingInterval)
	}
	if k, o := c.known[c.instance(d)], c.order; o != nil && k != nil && k.standing != nil && k.standing.Commit > o.status.Commit && !c.seated(c.cfg.Self) {
		return p.told.at.Add(feedRetry)
	}
	return time.Time{}
}

// standAfar says our standing to the voters whom we reach only through others, so
// that they feed us (P5), and returns when it is due next.
func (c *Core) standAfar() time.Time {
	o := c.order
	if o == nil || len(c.peers) == 0 {
		return time.Time{}
	}
	var afar []ordering.Origin
	for _, v := range o.status.Conf.Voters {
		if v.Device != c.cfg.Self.Device && c.peers[v.Device] == nil {
			afar = append(afar, v)
		}
	}
	if len(afar) == 0 {
		return time.Time{}
	}
	if !c.now.Before(o.lead.afarAt) {
		o.lead.afarAt = c.now.Add(distantInterval)
		for _, v := range afar {
			s := c.standing(v)
			c.signal(v.Device, &s)
		}
	}
	return o.lead.afarAt
}
