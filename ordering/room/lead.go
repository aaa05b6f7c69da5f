package room

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"tertulia/election"
	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/seats"
	"tertulia/ordering/sequencer"
)

// Waits of a leader and of those who look for one.
const (
	tick         = 100 * time.Millisecond // of the log, at a leader alone
	quietAfter   = 30 * time.Second       // nothing pending so long, a leader ticks no more
	planAgain    = time.Second            // after a plan, or a reason to wait with it
	feedRetry    = 2 * time.Second        // until what a member was fed counts as lost
	maxActs      = 4                      // looks of the election at one change
	feedAhead    = 1024                   // records fed to a member before it says where it is
	snapshotWait = 5 * time.Second        // P13: for a snapshot to be acknowledged
	jointWait    = time.Second            // P13: then an empty record ends a joint configuration
)

// lead is what a leader, and who may become one, keeps in mind.
type lead struct {
	stirred bool      // the election is to look again
	feedDue bool      // somebody may lack what is committed
	tickAt  time.Time // next tick of the log
	quiet   bool
	busyAt  time.Time // something was pending last
	epochAt uint64    // index from which an Epoch of ours is on its way; 0: none
	checked uint64    // index of the last Checkpoint proposed
	planAt  time.Time // when to look at seats and view again
	muted   time.Time // woken up then: proposes nothing before a quorum was heard since (B10)
	joint   time.Time // joint and idle since
	afarAt  time.Time
	alarmed bool // people were told of a divergence
	flaps   map[ordering.Origin]flap
	snaps   map[ordering.Origin]time.Time // since when a snapshot is on its way
}

// flap counts how often a member fell out of the view (L10).
type flap struct {
	times int
	epoch uint64 // in which it was last left out: each counts once
	last  time.Time
}

func newLead(now time.Time) lead {
	return lead{tickAt: now, busyAt: now, planAt: now, flaps: make(map[ordering.Origin]flap), snaps: make(map[ordering.Origin]time.Time)}
}

// stir says that something changed on which elections, seats or the view may
// depend.
func (c *Core) stir() {
	if o := c.order; o != nil {
		o.lead.planAt, o.lead.stirred = c.now, true
		o.lead.busyAt, o.lead.quiet = c.now, false
	}
}

// Woke says that this process slept: the wall clock went on without it (B10).
func (c *Core) Woke(now time.Time) {
	c.now = now
	if o := c.order; o != nil {
		o.bully.Woke(now)
		o.lead.muted = now
		c.stir()
	}
}

// lost says that a connected member is gone.
func (c *Core) lost(d ordering.DeviceKey) {
	c.unheard(d)
	if o := c.order; o != nil && o.status.Role == control.Leader {
		if at := c.instance(d); at != (ordering.Origin{}) {
			o.log.Unreachable(at)
		}
	}
}

// unheard forgets when a replica was last heard: the detector found that it is
// gone, and only what comes from now on is a sign of life.
func (c *Core) unheard(d ordering.DeviceKey) {
	if o := c.order; o != nil {
		delete(o.heard, c.instance(d))
	}
}

// scene is what the election is told.
func (c *Core) scene() election.Scene {
	o := c.order
	s := election.Scene{
		Now: c.now, Role: role(o.status.Role),
		Term: o.status.Term, LastTerm: o.status.LastTerm, LastIndex: o.status.LastIndex,
		Voted: o.status.Voted, Leader: o.status.Leader, LeaderHeard: o.heard[o.status.Leader], Leading: o.status.Leading,
		Busy:     o.status.ConfPending || len(o.status.Conf.Outgoing) > 0 || o.lead.epochAt > 0 || o.status.Transferring != ordering.Origin{},
		Draining: !able(c.health),
	}
	if _, frozen := o.list.Diverged(); frozen {
		s.Draining = true
	}
	voters := c.voters()
	for _, v := range voters {
		s.Voters = append(s.Voters, c.voter(v, voters))
	}
	return s
}

func role(r control.Role) election.Role {
	switch r {
	case control.PreCandidate:
		return election.PreCandidate
	case control.Candidate:
		return election.Candidate
	case control.Leader:
		return election.Leader
	case control.Follower:
	}
	return election.Follower
}

// voters returns who votes, on either side of a joint configuration.
func (c *Core) voters() []ordering.Origin {
	conf := c.order.status.Conf
	all := append(slices.Clone(conf.Voters), conf.Outgoing...)
	slices.SortFunc(all, ordering.Origin.Compare)
	return slices.Compact(all)
}

func (c *Core) voter(v ordering.Origin, voters []ordering.Origin) election.Voter {
	o := c.order
	x := election.Voter{Origin: v, Rank: c.rank(v)}
	if v == c.cfg.Self {
		x.Heard, x.LastTerm, x.LastIndex, x.CaughtUp = true, o.status.LastTerm, o.status.LastIndex, true
		heard := 0
		for _, w := range voters {
			if w == v || c.hears(w) {
				heard++
			}
		}
		x.Eligible = able(c.health) && 2*heard > len(voters)
		return x
	}
	if k := c.known[v]; k != nil && k.standing != nil {
		x.LastTerm, x.LastIndex = k.standing.LastTerm, k.standing.LastIndex
	}
	p := c.peers[v.Device]
	if p == nil || c.instance(v.Device) != v {
		return x
	}
	heard := 1
	for _, w := range voters {
		if w != v && p.hears[w.Device] {
			heard++
		}
	}
	x.Heard = p.met && !p.vital.Suspected && p.vital.DiskOK // who cannot write does nothing
	x.Eligible = able(p.vital) && 2*heard > len(voters)
	x.RTT = p.vital.RTT
	for _, g := range o.status.Progress {
		if g.Origin == v {
			x.CaughtUp = g.Active && !g.SnapshotPending && g.Match+sequencer.InFlight >= o.status.Commit // raft waits for the rest before it hands over
			x.LastTerm, x.LastIndex = o.status.LastTerm, max(x.LastIndex, g.Match)
		}
	}
	return x
}

// hears reports whether we hear the replica now, without a relay.
func (c *Core) hears(v ordering.Origin) bool {
	p := c.peers[v.Device]
	return p != nil && p.met && !p.vital.Suspected && c.instance(v.Device) == v
}

// fit reports whether a replica is heard and able to take part.
func (c *Core) fit(v ordering.Origin) bool {
	return c.hears(v) && able(c.peers[v.Device].vital) && c.trusted(v)
}

// trusted reports whether a replica may have a seat and be in the view: it is a
// member's, and its chain has not forked.
func (c *Core) trusted(v ordering.Origin) bool {
	return c.graph.IsMember(v.Device) && !c.graph.Forked(v)
}

// able reports whether a replica can write and is not about to leave.
func able(v Vital) bool { return v.DiskOK && !v.Draining }

// rank orders replicas by who is to lead.
func (c *Core) rank(v ordering.Origin) election.Rank {
	r := election.Rank{Tie: v.Device}
	if v == c.cfg.Self {
		r.Priority = c.cfg.Priority
	} else if k := c.known[v]; k != nil && k.standing != nil {
		r.Priority = k.standing.Priority
	}
	for _, m := range c.graph.Known() {
		if m.Device == v.Device {
			r.Name = m.Name
		}
	}
	return r
}

// elect has the election look at the scene, and does what it asks for.
func (c *Core) elect() {
	o := c.order
	due := o.bully.Deadline()
	if c.setBack || !o.lead.stirred && (due.IsZero() || c.now.Before(due)) {
		return
	}
	for range maxActs {
		o.lead.stirred = false
		o.bully.Update(c.scene())
		if !c.obey() {
			return
		}
	}
}

// obey does what the election asks for, and reports whether it asked.
func (c *Core) obey() bool {
	o := c.order
	actions := o.bully.Actions()
	for _, a := range actions {
		switch a := a.(type) {
		case election.Say:
			c.signal(a.To.Device, a.Msg)
		case election.Forget:
			o.log.ForgetLeader()
		case election.Campaign:
			o.log.Campaign()
		case election.Transfer:
			o.log.Transfer(a.To)
		}
		c.refresh()
	}
	return len(actions) > 0
}

// heedBully takes a message of the election.
func (c *Core) heedBully(d ordering.DeviceKey, m *ordering.Bully) error {
	o := c.order
	from := c.instance(d)
	if from == (ordering.Origin{}) {
		return nil
	}
	if k := c.known[from]; k != nil && k.standing != nil && m.Kind != ordering.Coordinator {
		s := *k.standing
		s.Term, s.LastTerm, s.LastIndex = m.Term, m.LastTerm, m.LastIndex
		k.standing = &s
	}
	if m.Kind == ordering.Probe {
		if p := c.peers[d]; p != nil {
			p.told.owed = true
		}
	}
	o.bully.Hear(c.scene(), from, m)
	c.obey()
	o.lead.stirred = true
	return nil
}

// crowned is called when this replica leads and its own-term record is applied:
// it says so (B7), and everything not final yet is proposed anew (P2).
func (c *Core) crowned() {
	o := c.order
	o.queue.Lead()
	o.lead.epochAt, o.lead.checked = 0, o.list.Index()
	for _, d := range c.Connected() {
		c.signal(d, &ordering.Bully{
			Kind: ordering.Coordinator, Term: o.status.Term, LastTerm: o.status.LastTerm, LastIndex: o.status.LastIndex, Leader: c.cfg.Self,
		})
	}
	c.stir()
}

// propose has a leader put what is not final yet into the log (P1, P6).
func (c *Core) propose() {
	o := c.order
	if !c.mayPropose() {
		return
	}
	c.plan()
	c.changeView()
	if o.lead.epochAt > 0 || o.list.Epoch().Mode != ordering.Leader {
		return // P2: nothing after an Epoch until it is applied
	}
	for {
		b, ok := o.queue.Next(c.now, o.list.Epoch().N)
		if !ok {
			break
		}
		if !o.log.Propose(b) {
			o.queue.Dropped(b, c.now)
			break
		}
		o.queue.Proposed(b)
		c.busy()
	}
	if at := o.list.Index() - o.list.Index()%ordering.CheckpointEvery; at > o.lead.checked {
		if h, ok := o.list.HashAt(at); ok && o.log.Propose(&ordering.Checkpoint{Index: at, Hash: h}) {
			o.lead.checked = at
			c.busy()
		}
	}
	c.refresh()
}

// mayPropose reports whether this replica leads, and nothing forbids it to go on.
func (c *Core) mayPropose() bool {
	o := c.order
	return o.status.Leading && !c.setBack && o.status.Transferring == (ordering.Origin{}) && c.awake()
}

// busy says that something is under way in the log.
func (c *Core) busy() {
	c.order.lead.busyAt, c.order.lead.quiet = c.now, false
}

// awake reports whether a quorum was heard since this process last slept (B10).
func (c *Core) awake() bool {
	o := c.order
	if o.lead.muted.IsZero() {
		return true
	}
	heard, voters := 0, c.voters()
	for _, v := range voters {
		if v == c.cfg.Self || o.heard[v].After(o.lead.muted) {
			heard++
		}
	}
	if 2*heard > len(voters) {
		o.lead.muted = time.Time{}
		return true
	}
	return false
}

// plan looks, at most when something changed or a wait is over, at who should
// vote and who is in the view, and proposes one change.
func (c *Core) plan() {
	o := c.order
	if o.lead.planAt.IsZero() || c.now.Before(o.lead.planAt) {
		return
	}
	o.lead.planAt = time.Time{}
	if len(o.status.Conf.Outgoing) > 0 {
		c.endJoint()
		return
	}
	if o.status.ConfPending || o.lead.epochAt > 0 {
		return // its end stirs us again
	}
	o.lead.joint = time.Time{}
	if c.planView() {
		return
	}
	if o.change != nil {
		return // one of either at a time (L9)
	}
	plan, ok := seats.Next(o.status.Conf.Voters, o.status.Conf.Learners, c.cfg.Self, c.candidates(),
		seats.Waits{Stable: c.cfg.Waits.Stable, Replace: c.cfg.Waits.Replace, Drop: c.cfg.Waits.Stable})
	switch {
	case !ok:
	case plan.Transfer != (ordering.Origin{}):
		o.log.Transfer(plan.Transfer)
	case c.lamportic() && !c.viewHas(plan.Change):
		c.planBy(c.now.Add(planAgain)) // an Epoch comes first (L9)
		return
	default:
		o.log.ProposeChange(control.Change(plan.Change))
	}
	if ok {
		c.busy()
		c.refresh()
		c.planBy(c.now.Add(planAgain))
	}
}

// viewHas reports whether the view has a majority of the voters after a change.
func (c *Core) viewHas(ch seats.Change) bool {
	voters := slices.DeleteFunc(slices.Concat(c.order.status.Conf.Voters, ch.Promote), func(v ordering.Origin) bool { return slices.Contains(ch.Remove, v) })
	in := 0
	for _, v := range voters {
		if slices.Contains(c.order.list.Epoch().View, v) {
			in++
		}
	}
	return 2*in > len(voters)
}

// planBy has plan called again, at the latest then.
func (c *Core) planBy(t time.Time) {
	if l := &c.order.lead; l.planAt.IsZero() || t.Before(l.planAt) {
		l.planAt = t
	}
}

// endJoint proposes an empty record when a joint configuration stands idle (P13).
func (c *Core) endJoint() {
	o := c.order
	if o.lead.joint.IsZero() {
		o.lead.joint = c.now
	}
	if !c.now.Before(o.lead.joint.Add(jointWait)) {
		o.log.ProposeEmpty()
		o.lead.joint = c.now
	}
	c.planBy(o.lead.joint.Add(jointWait))
}

// candidates are the replicas that vote or might.
func (c *Core) candidates() []seats.Candidate {
	o := c.order
	var list []seats.Candidate
	caught := make(map[ordering.Origin]bool)
	for _, p := range o.status.Progress {
		k := c.known[p.Origin]
		caught[p.Origin] = p.Match > 0 && p.Match+nearly >= o.status.Commit && k != nil && k.standing != nil && k.standing.Applied+nearly >= o.status.Commit
	}
	add := func(v ordering.Origin) {
		x := seats.Candidate{Origin: v, Rank: c.rank(v), CaughtUp: caught[v], Former: !c.trusted(v)}
		p := c.peers[v.Device]
		switch {
		case v == c.cfg.Self:
			x.Up, x.CaughtUp, x.Draining = true, true, c.health.Draining
			x.StableFor = c.cfg.Waits.Stable
		case c.hears(v):
			x.Up, x.Draining = true, !able(p.vital)
			x.StableFor = c.now.Sub(p.since)
			if x.StableFor < c.cfg.Waits.Stable {
				c.planBy(p.since.Add(c.cfg.Waits.Stable))
			}
		default:
			x.DownFor = c.now.Sub(c.seenUp(v))
			for _, wait := range []time.Duration{c.cfg.Waits.Stable, c.cfg.Waits.Replace} {
				if x.DownFor < wait {
					c.planBy(c.now.Add(wait - x.DownFor))
				}
			}
		}
		if !x.CaughtUp && x.Up && slices.Contains(o.status.Conf.Learners, v) {
			c.planBy(c.now.Add(planAgain))
		}
		list = append(list, x)
	}
	seen := make(map[ordering.Origin]bool)
	conf := o.status.Conf
	for _, v := range slices.Concat([]ordering.Origin{c.cfg.Self}, conf.Voters, conf.Learners) {
		if !seen[v] {
			seen[v] = true
			add(v)
		}
	}
	for _, d := range c.Connected() {
		if v := c.instance(d); v != (ordering.Origin{}) && !seen[v] && c.trusted(v) {
			seen[v] = true
			add(v)
		}
	}
	return list
}

// seenUp returns when a replica that is down was last up, as far as this leader
// knows.
func (c *Core) seenUp(v ordering.Origin) time.Time {
	k := c.knownOf(v)
	if p := c.peers[v.Device]; p != nil && !p.down.IsZero() {
		k.at = maxTime(k.at, p.down)
	}
	if k.at.IsZero() {
		k.at = c.now // it has all the patience from now on
	}
	return k.at
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// planView proposes an Epoch when who takes part has changed (L10).
func (c *Core) planView() bool {
	o := c.order
	is := o.list.Epoch()
	want, voting := c.withVoters(c.view(is.View))
	mode := cmp.Or(o.list.Wish(), is.Mode)
	if slices.Equal(want, is.View) && mode == is.Mode && !(is.Mode == ordering.Lamport && o.held.Sealed()) {
		return false
	}
	if 2*voting <= len(o.status.Conf.Voters) {
		return false
	}
	if is.Mode == ordering.Lamport {
		c.startChange(mode, want, "view")
		return true
	}
	before := o.status.LastIndex
	if !o.log.Propose(&ordering.Epoch{N: is.N + 1, Base: is.N, Mode: mode, View: want, Reason: "view"}) {
		c.planBy(c.now.Add(planAgain))
		return false
	}
	o.lead.epochAt = before + 1
	c.busy()
	c.refresh()
	return true
}

// withVoters adds voters that are heard to a view, however often they fell out of
// it, until it has a majority of them (L9): else nobody could be left out. It
// returns how many voters the view has.
func (c *Core) withVoters(view []ordering.Origin) (full []ordering.Origin, voting int) {
	conf := c.order.status.Conf
	for _, v := range conf.Voters {
		if slices.Contains(view, v) {
			voting++
		}
	}
	for _, v := range conf.Voters {
		if 2*voting <= len(conf.Voters) && !slices.Contains(view, v) && c.fit(v) {
			view = append(view, v)
			voting++
		}
	}
	if over := len(view) - ordering.MaxView; over > 0 { // voters come first
		view = slices.DeleteFunc(view, func(v ordering.Origin) bool {
			drop := over > 0 && !slices.Contains(conf.Voters, v)
			if drop {
				over--
			}
			return drop
		})
	}
	slices.SortFunc(view, ordering.Origin.Compare)
	return view, voting
}

// view is who should be in the view: who is in it and not suspected for longer
// than Evict, and who is up for long enough to be trusted again.
func (c *Core) view(is []ordering.Origin) []ordering.Origin {
	o := c.order
	var want []ordering.Origin
	keep := func(v ordering.Origin) bool {
		if v == c.cfg.Self {
			return !c.health.Draining
		}
		p := c.peers[v.Device]
		if !c.trusted(v) || p == nil && c.now.Sub(c.seenUp(v)) >= c.cfg.Waits.Evict {
			return false
		}
		if p == nil {
			c.planBy(c.seenUp(v).Add(c.cfg.Waits.Evict))
			return true
		}
		if c.instance(v.Device) != v && c.instance(v.Device) != (ordering.Origin{}) || !able(p.vital) {
			return false
		}
		if p.vital.Suspected {
			until := p.down.Add(c.cfg.Waits.Evict)
			if !c.now.Before(until) {
				return false
			}
			c.planBy(until)
		}
		return true
	}
	for _, v := range is {
		if keep(v) {
			want = append(want, v)
		} else if v != c.cfg.Self {
			f := o.lead.flaps[v]
			if c.now.Sub(f.last) > 10*time.Minute {
				f.times = 0
			}
			if n := o.list.Epoch().N; f.times == 0 || f.epoch != n {
				f.times, f.epoch = f.times+1, n
			}
			f.last = c.now
			o.lead.flaps[v] = f
		}
	}
	for _, v := range slices.Concat([]ordering.Origin{c.cfg.Self}, c.instances()) {
		if len(want) >= ordering.MaxView || slices.Contains(is, v) || slices.Contains(want, v) {
			continue
		}
		if v == c.cfg.Self {
			if !c.health.Draining {
				want = append(want, v)
			}
			continue
		}
		if !c.fit(v) {
			continue
		}
		wait := c.cfg.Waits.Readmit
		if f := o.lead.flaps[v]; f.times > 1 {
			wait = min(wait<<min(f.times-1, 16), 10*time.Minute)
		}
		if until := c.peers[v.Device].since.Add(wait); c.now.Before(until) {
			c.planBy(until)
			continue
		}
		want = append(want, v)
	}
	slices.SortFunc(want, ordering.Origin.Compare)
	return want
}

// instances are the origins of the connected members.
func (c *Core) instances() []ordering.Origin {
	var list []ordering.Origin
	for _, d := range c.Connected() {
		if v := c.instance(d); v != (ordering.Origin{}) {
			list = append(list, v)
		}
	}
	return list
}

// feed sends committed records to members that have no seat (P5): the leader does
// it, and any other seat holder for those who do not hear the leader.
func (c *Core) feed() {
	o := c.order
	if !o.lead.feedDue {
		return
	}
	o.lead.feedDue = false
	if !slices.Contains(slices.Concat(o.status.Conf.Voters, o.status.Conf.Learners), c.cfg.Self) || c.setBack {
		return
	}
	for _, v := range slices.SortedFunc(maps.Keys(c.known), ordering.Origin.Compare) {
		k := c.known[v]
		if k.standing == nil || k.standing.Commit == 0 || v == c.cfg.Self || k.standing.Commit >= o.status.Commit || c.seated(v) || !c.graph.IsMember(v.Device) {
			continue
		}
		p := c.peers[v.Device]
		if p == nil && (k.direct || o.status.Role != control.Leader) || p != nil && (!p.met || p.vital.Suspected) {
			continue
		}
		if o.status.Role != control.Leader && o.status.Leader != (ordering.Origin{}) && p.hears[o.status.Leader.Device] {
			continue
		}
		if k.fed < k.standing.Commit || !c.now.Before(k.fedAt.Add(feedRetry)) {
			k.fed = k.standing.Commit
		}
		for k.fed < o.status.Commit && k.fed < k.standing.Commit+feedAhead {
			data, upTo := o.log.Feed(k.fed)
			if data == nil || upTo <= k.fed {
				break
			}
			k.fed, k.fedAt = upTo, c.now
			c.signal(v.Device, &ordering.Raft{Data: data})
		}
	}
}

func (c *Core) seated(v ordering.Origin) bool {
	conf := c.order.status.Conf
	return slices.Contains(conf.Voters, v) || slices.Contains(conf.Outgoing, v) || slices.Contains(conf.Learners, v)
}

// tickOrder lets time pass for the order.
func (c *Core) tickOrder() {
	o := c.order
	if o == nil || c.setBack {
		return
	}
	if o.status.Role == control.Leader && !o.lead.quiet && !c.now.Before(o.lead.tickAt) {
		o.lead.tickAt = c.now.Add(tick)
		o.lead.stirred, o.lead.feedDue = true, true
		o.log.Tick()
		c.reportSnapshots()
		c.refresh()
		c.rest()
	}
	for _, run := range c.overdue() {
		if d := c.leader().Device; c.peers[d] != nil && c.peers[d].met {
			c.send(d, &ordering.Push{Run: run})
		}
	}
	c.compact()
}

// reportSnapshots gives up snapshots that were not acknowledged in time (P13).
func (c *Core) reportSnapshots() {
	o := c.order
	for _, p := range o.status.Progress {
		since, known := o.lead.snaps[p.Origin]
		switch {
		case !p.SnapshotPending:
			delete(o.lead.snaps, p.Origin)
		case !known:
			o.lead.snaps[p.Origin] = c.now
		case c.now.Sub(since) >= snapshotWait:
			delete(o.lead.snaps, p.Origin)
			o.log.SnapshotFailed(p.Origin)
		}
	}
}

// overdue are runs whose place in the order is overdue; the leader is offered
// them again (P3).
func (c *Core) overdue() []ordering.Run {
	o := c.order
	if o.status.Leading || c.leader() == (ordering.Origin{}) || c.lamportic() {
		return nil
	}
	return o.queue.Overdue(c.now)
}

// rest ends the ticking when nothing is pending and everybody has everything.
func (c *Core) rest() {
	o := c.order
	pending := o.held.Len() > 0 || o.status.Commit < o.status.LastIndex || o.queue.InFlight() > 0
	for _, p := range o.status.Progress {
		pending = pending || p.Match < o.status.LastIndex || p.Origin != c.cfg.Self && !c.hears(p.Origin)
	}
	if pending {
		o.lead.busyAt = c.now
	}
	o.lead.quiet = c.now.Sub(o.lead.busyAt) >= quietAfter
}

// orderDue is when tickOrder, or the election, is next of use.
func (c *Core) orderDue() time.Time {
	o := c.order
	if o == nil || c.setBack {
		return time.Time{}
	}
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(o.bully.Deadline())
	if o.log.Held() != nil && !o.install.busy && !o.install.done {
		sooner(o.install.retryAt)
	}
	if o.status.Role == control.Leader && !o.lead.quiet {
		sooner(o.lead.tickAt)
	}
	if c.mayPropose() {
		sooner(o.lead.planAt)
	}
	sooner(c.lamportDue())
	switch {
	case o.queue.Len() == 0 || c.lamportic():
	case c.mayPropose() && o.lead.epochAt == 0 && o.list.Epoch().Mode == ordering.Leader:
		sooner(o.queue.Deadline(true))
	case !o.status.Leading && c.leader() != (ordering.Origin{}):
		sooner(o.queue.Deadline(false))
	}
	return next
}

// leaderFirst returns the connected members, the leader before others (P3).
func (c *Core) leaderFirst() []ordering.DeviceKey {
	all := c.Connected()
	if o := c.order; o != nil {
		leader := c.leader().Device
		if i := slices.Index(all, leader); i > 0 {
			all = slices.Insert(slices.Delete(all, i, i+1), 0, leader)
		}
	}
	return all
}
