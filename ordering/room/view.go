package room

import (
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
)

// EventKind is what an Event tells.
type EventKind uint8

// The kinds.
const (
	LeaderChanged EventKind = 1 // Term, Leader (zero: none)
	EpochOpened   EventKind = 2 // Epoch, Mode, View, Reason
	Diverged      EventKind = 3 // Index: two replicas differ there; this one froze
	SetBack       EventKind = 4 // peers remember more of this replica than its disk
	Forked        EventKind = 5 // Origin signed two entries for one place of its chain
)

// Event is something people are told of.
type Event struct {
	Kind   EventKind
	Term   uint64
	Leader ordering.Origin
	Epoch  uint64
	Mode   ordering.Mode
	View   []ordering.Origin
	Index  uint64
	Reason string // of an epoch
	Origin ordering.Origin
}

// Order is where the final order stands here, for people. It is a snapshot.
type Order struct {
	Mode       ordering.Mode
	Epoch      uint64
	View       []ordering.Origin
	Leader     ordering.Origin // zero: none known
	Role       control.Role
	Leading    bool // we lead, and a record of our term is applied
	Term       uint64
	Voters     []ordering.Origin
	Outgoing   []ordering.Origin // voters too, while seats change
	Learners   []ordering.Origin
	FinalIndex uint64
	OrderHash  ordering.Hash
	Applied    uint64
	Tentative  int               // entries that wait for their place
	WaitingFor []ordering.Origin // whom finality waits for
	Replicas   []Replica
	Diverged   uint64 // index at which replicas differ; 0: nowhere
	SetBack    bool
	Forks      []ordering.Origin // of which two entries are held for one place: in no view, with no seat

	Transferring ordering.Origin // to whom we hand the lead over; zero: nobody
}

// Replica is what another said of its final list.
type Replica struct {
	Origin     ordering.Origin
	FinalIndex uint64
	OrderHash  ordering.Hash
	Clock      uint64
	Diverged   bool
}

// Order returns where the order stands.
func (c *Core) Order() Order {
	v := Order{SetBack: c.setBack, Forks: c.graph.Forks()}
	for _, d := range c.Connected() {
		if k := c.known[c.instance(d)]; k != nil && k.standing != nil {
			s := k.standing
			v.Replicas = append(v.Replicas, Replica{Origin: s.Origin, FinalIndex: s.FinalIndex, OrderHash: s.OrderHash, Clock: s.Clock, Diverged: s.Diverged})
		}
	}
	if c.genesis != nil {
		v.Mode = c.genesis.Mode
	}
	o := c.order
	if o == nil {
		return v
	}
	e := o.list.Epoch()
	v.Mode, v.Epoch, v.View = e.Mode, e.N, e.View
	v.Term, v.Leader, v.Leading = o.status.Term, c.leader(), o.status.Leading
	v.Role, v.Transferring = o.status.Role, o.status.Transferring
	v.Voters, v.Outgoing, v.Learners = o.status.Conf.Voters, o.status.Conf.Outgoing, o.status.Conf.Learners
	v.FinalIndex, v.OrderHash, v.Applied = o.list.Index(), o.list.OrderHash(), o.list.Applied()
	v.Tentative = o.held.Len()
	if v.WaitingFor = c.waitingFor(); e.Mode == ordering.Lamport {
		v.WaitingFor = c.heldBack()
	}
	v.Diverged, _ = o.list.Diverged()
	return v
}

// leader returns who leads, as the log knows or, at members that have no seat, as
// others say.
func (c *Core) leader() ordering.Origin {
	o := c.order
	if o.status.Leader != (ordering.Origin{}) || c.seated(c.cfg.Self) {
		return o.status.Leader
	}
	var best ordering.Origin
	var term uint64
	for _, v := range c.instances() {
		if s := c.known[v].standing; s.Term > term && s.Leader != (ordering.Origin{}) {
			best, term = s.Leader, s.Term
		}
	}
	return best
}

// HasSeat reports whether a device holds a seat of the control log. Who has one is
// needed, and heard about the order, also when it is no member any more.
func (c *Core) HasSeat(d ordering.DeviceKey) bool {
	o := c.order
	if o == nil {
		return false
	}
	conf := o.status.Conf
	return slices.ContainsFunc(slices.Concat(conf.Voters, conf.Outgoing, conf.Learners), func(v ordering.Origin) bool { return v.Device == d })
}

// mayOrder reports whether a device takes part in ordering.
func (c *Core) mayOrder(d ordering.DeviceKey) bool { return c.graph.IsMember(d) || c.HasSeat(d) }

// MayLeave reports whether this replica can go without others having to find a new
// leader: it does not lead, or nobody could take over.
func (c *Core) MayLeave() bool {
	o := c.order
	if o == nil {
		return true
	}
	// The smaller half of two voters stays until its seat is gone.
	if conf := o.status.Conf; o.status.Role != control.Leader && (len(conf.Voters) != 2 || !conf.Votes(c.cfg.Self)) {
		return true
	}
	for _, v := range slices.Concat(o.status.Conf.Voters, c.instances()) {
		if v != c.cfg.Self && c.hears(v) {
			return false
		}
	}
	return true
}

// waitingFor names the voters without whom nothing becomes final: those that are
// not heard, when the others are no majority; of the voters of before too, until a
// change of them is over.
func (c *Core) waitingFor() []ordering.Origin {
	o := c.order
	if o.status.Role != control.Leader && c.now.Sub(o.heard[o.status.Leader]) < 2*time.Second && o.status.Leader != (ordering.Origin{}) {
		return nil
	}
	conf := o.status.Conf
	var missing []ordering.Origin
	for _, half := range [][]ordering.Origin{conf.Voters, conf.Outgoing} {
		absent := slices.DeleteFunc(slices.Clone(half), func(v ordering.Origin) bool {
			return v == c.cfg.Self || c.hears(v)
		})
		if 2*len(absent) >= len(half) {
			missing = append(missing, absent...)
		}
	}
	slices.SortFunc(missing, ordering.Origin.Compare)
	return slices.Compact(missing)
}

// diverged tells people, once, that two replicas differ.
func (c *Core) diverged(at uint64) {
	if c.order.lead.alarmed {
		return
	}
	c.order.lead.alarmed = true
	c.ready.Events = append(c.ready.Events, Event{Kind: Diverged, Index: at})
}
