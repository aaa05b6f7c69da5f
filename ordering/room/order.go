package room

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tertulia/election"
	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/lamport"
	"tertulia/ordering/linear"
	"tertulia/ordering/sequencer"
)

// Limits of the control log at a replica.
const (
	LoadBytes = 1 << 20 // of runs in one answer to Ready.Load
	patience  = 4       // times the limits of Keep, until the log waits for nobody
	nearly    = 16      // records behind which a replica still counts as caught up with its seat
)

// order is how what a room holds becomes final: a log of commands agreed by
// consensus, the list that follows from it, and what waits for its place.
type order struct {
	log     *control.Log
	list    *linear.List
	queue   *sequencer.Queue
	bully   *election.Bully
	held    *lamport.Queue
	change  *lamport.Change     // a view change under way; nil: none
	waiting []control.Committed // committed and not linearized yet (P12)
	status  control.Status      // after the last step

	inReady bool // the log's Ready is in ours
	sealing bool // our seal for change is not durable yet
	durable int  // of the entries that held awaits, how many our Ready has
	marked  bool // the list moved since the last Ready
	loading bool
	lead    lead
	install install
	heard   map[ordering.Origin]time.Time // last raft message of each
}

// Saved is what the disk gives back of the order.
type Saved struct {
	Control control.Saved
	Mark    []byte
	Emitted []linear.Emitted
	Recent  []linear.Recent
	Kept    []linear.Kept
	Seen    []ordering.Seen
	Seal    []byte
}

// Resume goes on from the disk, after all entries were restored. The error says
// that the disk holds what this program did not write.
func (c *Core) Resume(now time.Time) error {
	c.now = now
	for _, seen := range c.saved.Seen {
		c.knownOf(seen.Origin).seen = seen
	}
	if c.genesis == nil {
		return nil
	}
	return c.tryBegin()
}

func (c *Core) begin() {
	if err := c.tryBegin(); err != nil { // nothing was on disk, so this is our mistake
		panic(fmt.Sprintf("room: begin the order: %v", err))
	}
}

// tryBegin starts the order of a room once its genesis is here.
// Every replica begins with the same log: one snapshot, in which the creator is
// the only voter.
func (c *Core) tryBegin() error {
	o := &order{heard: make(map[ordering.Origin]time.Time)}
	cfg := linear.Config{Room: c.cfg.Room, Mutant: c.cfg.Mutant}
	creator := c.graph.Creator()
	var err error
	if c.saved.Mark == nil {
		o.list, err = linear.New(cfg, c.genesis.Mode, creator), nil
	} else {
		o.list, err = linear.Resume(cfg, c.saved.Mark, c.saved.Emitted, c.saved.Recent, c.saved.Kept)
	}
	if err != nil {
		return err
	}
	saved := c.saved.Control
	if saved.Snapshot.Index == 0 {
		saved = control.Found(c.cfg.Room, creator, o.list.State())
		c.ready.Control = saved.Replace()
		o.marked = true
	}
	saved.LinApplied = max(o.list.Applied(), saved.Snapshot.Index)
	o.log, err = control.Open(control.Config{
		Room: c.cfg.Room, Self: c.cfg.Self, Mutant: c.cfg.Mutant,
		State: func() (uint64, []byte) { return o.list.Applied(), o.list.State() },
	}, saved)
	if err != nil {
		return err
	}
	o.queue = sequencer.New(sequencer.Config{Self: c.cfg.Self, Mutant: c.cfg.Mutant})
	for _, r := range c.restored {
		if r.last.Seq > o.list.Emitted()[r.last.Origin] {
			o.queue.Known(r.last, r.first, c.now)
		}
	}
	o.held = lamport.New(lamport.Config{Self: c.cfg.Self, Chains: c.graph, Mutant: c.cfg.Mutant}, c.graph.Have(), c.graph.Clock())
	for _, k := range c.tail {
		if !o.list.Passed(k.entry) {
			o.held.Kept(k.entry, k.beside, c.now)
		}
	}
	c.restored, c.tail = nil, nil
	o.bully = election.New(election.Config{Self: c.cfg.Self, Hold: c.cfg.Waits.Hold, Seed: c.cfg.Seed, Mutant: c.cfg.Mutant})
	o.lead = newLead(c.now)
	o.waiting = o.log.Backlog()
	o.status = o.log.Status()
	seal, err := decodeSeal(c.saved.Seal)
	if err != nil {
		return err
	}
	c.order, c.saved = o, Saved{}
	c.openEpoch(seal)
	c.stir()
	if c.graph.Forked(c.cfg.Self) {
		c.fallSilent()
	}
	return nil
}

// pump moves the order on and puts what follows into the Ready: what the leader
// proposes goes into the log, what the log committed into the list.
func (c *Core) pump() {
	o := c.order
	if o == nil || o.inReady {
		return
	}
	c.elect()
	c.propose()
	c.drain()
	c.linearize()
	c.settle()
	c.adopt()
	c.acknowledge()
	c.refresh()
	if o.marked {
		o.marked = false
		c.ready.Mark = o.list.Mark()
	}
	c.feed()
	c.tryInstall()
	c.load()
}

// drain takes what the log wants durable and sent, and what it committed.
func (c *Core) drain() {
	o := c.order
	if ready, ok := o.log.Ready(); ok {
		o.inReady = true
		c.ready.Control = c.ready.Control.Then(ready.Save)
		for _, m := range ready.Messages {
			c.sendRaft(m)
		}
		o.waiting = append(o.waiting, ready.Committed...)
	}
}

// advanceOrder says that what the log wanted durable is.
func (c *Core) advanceOrder() {
	o := c.order
	if o == nil {
		return
	}
	o.held.Persisted(o.durable)
	o.durable = 0
	if o.sealing && o.change != nil {
		o.sealing = false
		o.change.SealedBy(c.cfg.Self, o.held.SealNow().Have, c.now)
	}
	if o.inReady {
		o.inReady = false
		o.log.Advance()
		c.refresh()
	}
}

// refresh reads the log's status after a step and draws the consequences.
func (c *Core) refresh() {
	o := c.order
	was := o.status
	o.status = o.log.Status()
	now := o.status
	if now.Term != was.Term || now.Leader != was.Leader {
		c.ready.Events = append(c.ready.Events, Event{Kind: LeaderChanged, Term: now.Term, Leader: now.Leader})
	}
	if now.Leading && !was.Leading {
		c.crowned()
	}
	if was.Transferring != (ordering.Origin{}) && now.Transferring == (ordering.Origin{}) {
		o.queue.Reset() // P2: the transfer ended
	}
	if moved(was, now) {
		c.stir()
	}
	if now.Commit != was.Commit {
		o.lead.feedDue = true
	}
	if now.Leader != was.Leader {
		if m, ok := o.log.Ack(); ok { // it may be waiting for a snapshot to arrive (P13)
			c.sendRaft(m)
		}
	}
	switch {
	case now.Role != control.Leader:
		o.lead.epochAt, o.change = 0, nil
	case was.Role != control.Leader:
		o.lead.tickAt = c.now.Add(tick)
	}
	if o.log.Diverged() {
		c.diverged(o.list.Index())
	}
}

// moved reports whether elections, seats or the view may depend on what changed.
func moved(was, now control.Status) bool {
	return now.Role != was.Role || now.Leader != was.Leader || now.Term != was.Term ||
		now.Transferring != was.Transferring || now.ConfPending != was.ConfPending ||
		!slices.Equal(now.Conf.Voters, was.Conf.Voters) || !slices.Equal(now.Conf.Outgoing, was.Conf.Outgoing) ||
		!slices.Equal(now.Conf.Learners, was.Conf.Learners)
}

// linearize applies committed commands to the final list, in the order of the
// log (P2, P4).
func (c *Core) linearize() {
	o := c.order
	for len(o.waiting) > 0 {
		if _, frozen := o.list.Diverged(); frozen {
			o.waiting = nil // they are in the log
			return
		}
		r := o.waiting[0]
		switch cmd := r.Command.(type) {
		case *ordering.Batch:
			b, ok := c.takeBatch(cmd)
			if !ok {
				return
			}
			r.Command = b
		case *ordering.Epoch:
			if !c.closes(cmd) {
				return
			}
		case *ordering.Checkpoint, nil:
		}
		o.waiting = o.waiting[1:]
		c.applied(r, o.list.Apply(r.Index, r.Term, r.Command))
	}
	o.waiting = nil
}

// takeBatch puts the runs of a batch into the graph, as far as they are not
// there, and returns the batch without those that no replica takes. It reports
// false while a run that the list would emit waits for an entry of another branch.
func (c *Core) takeBatch(b *ordering.Batch) (_ ordering.Command, ok bool) {
	kept, waits := *b, false
	kept.Runs = slices.DeleteFunc(slices.Clone(b.Runs), func(run ordering.Run) bool {
		if c.graph.HoldsRef(run.Last().Ref()) {
			return false
		}
		v, err := ordering.VerifyRun(run)
		if err != nil {
			return true
		}
		accepted, err := c.graph.Take(c.cfg.Self.Device, v)
		c.took(accepted, false)
		//exhaustive:ignore
		switch refusalOf(err) {
		case ordering.WrongRoom, ordering.BadKind, ordering.Malformed:
			return true // so every replica judges; what else stands in its way here may not elsewhere
		}
		if lacking := c.graph.Awaits(v); len(lacking) > 0 && !slices.ContainsFunc(lacking, func(r ordering.Ref) bool { return !c.settledBy(b, r) }) {
			waits = true
		}
		return false
	})
	if waits {
		c.seekBranches()
		c.lack(c.now)
	}
	return &kept, !waits
}

// settledBy reports whether the list lets what depends on an entry pass, now or
// with the batch.
func (c *Core) settledBy(b *ordering.Batch, r ordering.Ref) bool {
	return c.order.list.Settled(r) || slices.ContainsFunc(b.Runs, func(run ordering.Run) bool { return run.Origin() == r.Origin && run.Last().Seq >= r.Seq })
}

// applied draws the consequences of a command that the list has applied.
func (c *Core) applied(r control.Committed, a linear.Applied) {
	o := c.order
	o.marked = true
	c.ready.Final = append(c.ready.Final, a.Finals...)
	o.log.LinApplied(r.Index)
	c.emitted(a.Finals)
	own := r.Term == o.status.Term && o.status.Role == control.Leader
	switch cmd := r.Command.(type) {
	case *ordering.Batch:
		if own && cmd.Leader == c.cfg.Self {
			if a.Skipped {
				o.queue.Dropped(cmd, c.now)
				o.queue.Reset()
			}
			o.queue.Settled()
		}
	case *ordering.Epoch:
		if r.Index >= o.lead.epochAt {
			o.lead.epochAt = 0
		}
		if a.Opened {
			o.queue.Reset()
			c.openEpoch(nil)
			e := o.list.Epoch()
			c.ready.Events = append(c.ready.Events, Event{Kind: EpochOpened, Epoch: e.N, Mode: e.Mode, View: e.View, Reason: cmd.Reason})
			c.stir()
		}
	case *ordering.Checkpoint, nil:
	}
	if at, yes := o.list.Diverged(); yes {
		c.diverged(at)
	}
}

// load asks for the bodies that the queue lacks.
func (c *Core) load() {
	o := c.order
	if o.loading {
		return
	}
	wants := o.queue.Missing()
	if len(wants) == 0 {
		wants = c.loadProofs()
	}
	if len(wants) > 0 {
		o.loading = true
		c.ready.Load = wants
	}
}

// Loaded takes runs from the own disk, in acceptance order, as the answer to
// Ready.Load.
func (c *Core) Loaded(now time.Time, runs []ordering.Run) {
	c.now = now
	if c.order != nil && c.order.loading {
		c.order.loading = false
		c.order.queue.Loaded(runs)
		c.handProofs(runs)
	}
}

// sendRaft sends a message of the log to its replica.
func (c *Core) sendRaft(m control.Envelope) {
	c.signal(m.To.Device, &ordering.Raft{Data: m.Data})
}

// heedRaft takes a message of the log.
func (c *Core) heedRaft(d ordering.DeviceKey, m *ordering.Raft) error {
	o := c.order
	err := o.log.Step(d, m.Data)
	if err == nil {
		if k := c.instance(d); c.seated(k) || k == o.status.Leader {
			o.heard[k] = c.now
			c.remember(k)
		}
	}
	if ref, ok := errors.AsType[*ordering.Refusal](err); ok {
		return ref
	}
	return nil
}

// compact shortens the log, not before who is connected has what goes (P8).
func (c *Core) compact() {
	o := c.order
	records, bytes := o.log.Size()
	if records < c.cfg.Keep.Records && bytes < c.cfg.Keep.Bytes {
		return
	}
	keep := o.list.Applied() - min(o.list.Applied(), c.cfg.Keep.Behind)
	if records < patience*c.cfg.Keep.Records && bytes < patience*c.cfg.Keep.Bytes {
		for _, p := range o.status.Progress {
			if q := c.peers[p.Origin.Device]; q != nil && !q.vital.Suspected {
				keep = min(keep, p.Match)
			}
		}
	}
	if keep > 0 {
		o.log.Compact(keep)
	}
}
