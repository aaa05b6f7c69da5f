package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/room"
)

// Limits of a node's owner, as in the program.
const (
	inboxMost  = 1024 // inputs that wait; what comes beyond is dropped
	drainMost  = 256  // of these, taken before one commit
	probeEvery = time.Second
	leaveMost  = 5 * time.Second  // a process that ends gracefully waits so long at most
	loadTime   = time.Millisecond // of a read from the own disk
)

// state is what a node's process does.
type state uint8

const (
	unborn state = iota // not started in this world yet
	running
	frozen // stopped: the process does nothing, time goes on
	asleep // the machine sleeps: its monotonic clock stands still
	dead   // killed; the disk stays
	gone   // left the room for good
)

// boundary is a place in the handling of a Ready at which a process may die.
type boundary uint8

const (
	beforeCommit boundary = iota
	duringCommit          // the commit may have been made, but nobody was told
	afterCommit           // made, and nothing sent
	betweenSends
	beforeAdvance
	boundaries
)

// node is a replica: its core, the owner of the core, the disk, and the machine.
type node struct {
	w        *World
	i        int
	number   int // of its name, by which it ranks
	creator  bool
	priority int32
	self     ordering.Origin
	instance int
	dice     *rand.Rand
	phase    time.Duration // of its heartbeats

	core       *room.Core // nil: none, because of the disk or the process
	disk       *disk
	state      state
	life       int // grows with each start of the process
	generation int // grows with each core
	inbox      []input
	busy       bool          // a commit is under way
	began      time.Duration // of the newest commit
	stuck      time.Duration // until then a commit was under way for so long that others missed us
	thawed     time.Duration // when it was continued last
	driving    bool
	commit     *room.Ready
	wakeWith   func()        // what a process does first when it is continued
	due        time.Duration // when the core wants to tick; -1: never
	doom       boundary      // where it dies after doomIn more crossings
	doomIn     int           // 0: it does not
	back       time.Duration // restarts so long after

	full     bool          // the disk takes no writes
	low      bool          // the disk is about to be full: said, though it still takes writes
	stall    time.Duration // commits last at least until then
	draining bool

	base  time.Time     // of the monotonic clock
	since time.Duration // virtual time at base
	ppm   int64         // drift of the monotonic clock
	wall  time.Duration // error of the wall clock

	sides   []side
	dialing []bool
	beating bool
	census  int

	said    []saying // not durable yet
	leading bool     // as the core said last
	term    uint64
	lostAt  time.Duration   // since when it leads without a quorum; -1: it does not
	choice  ordering.Origin // to whom it hands leadership over
	gaveUp  time.Duration   // last time it was seen to hand leadership over
	unfit   bool            // its core was told that its disk takes no writes, or that it is to end
	ailing  bool            // so it was at some time since the last look
	looked  time.Duration   // when it was looked at last
	leaving bool            // no member for long
	forge   bool            // the next run that it says, it says in two ways
	setback bool            // its disk is older than what it said
}

// handedOver reports whether the node gave leadership up of itself.
func (n *node) handedOver(now time.Duration) bool {
	return n.draining || !n.diskOK() || n.gaveUp >= 0 && now-n.gaveUp < handOverMost
}

type input struct {
	what string
	do   func()
}

// saying is a call of Say that has not returned (U10).
type saying struct {
	last ordering.Ref
	at   time.Duration
}

func (w *World) newNode(i, number int, creator bool) *node {
	n := &node{
		w: w, i: i, number: number, creator: creator, self: w.lab.origin(i, 0), dice: dice(w.opt.Seed, ofNode+i),
		disk: newDisk(), due: -1, base: time.Unix(2_000_000_000, 0),
	}
	n.sides, n.dialing = make([]side, MaxCrowd), make([]bool, MaxCrowd)
	n.lostAt, n.gaveUp = -1, -1
	n.phase = time.Duration(n.dice.Int64N(int64(beatEvery)))
	return n
}

func (n *node) name() string { return nodeName(n.number) }

// runs reports whether the process runs.
func (n *node) runs() bool { return n.state == running }

func (n *node) diskOK() bool { return !n.full && !n.low }

// clock is what the process takes for now.
func (n *node) clock() time.Time {
	d := n.w.now - n.since
	return n.base.Add(d + time.Duration(int64(d)/1_000_000*n.ppm))
}

// until is how long it takes until the node's clock shows t.
func (n *node) until(t time.Time) time.Duration {
	d := t.Sub(n.clock())
	if d <= 0 {
		return 0
	}
	return time.Duration(int64(float64(d)/(1+float64(n.ppm)/1e6))) + 2*time.Microsecond
}

func (n *node) wallClock() time.Time {
	t := time.Unix(1_700_000_000, 0).Add(n.w.now)
	if n.w.opt.Walls {
		return t
	}
	return t.Add(n.wall)
}

// start begins a life of the process on its disk.
func (n *node) start() {
	w := n.w
	if n.state == running || n.state == gone {
		return
	}
	n.life++
	n.state = running
	if n.life > 1 {
		w.stats.Restarts++
		if w.faults.Has(Drift) { // another boot of the machine
			n.base, n.since = time.Unix(1_000_000_000+n.dice.Int64N(1_000_000_000), 0), w.now
		}
	}
	n.inbox, n.busy, n.commit, n.beating, n.wakeWith, n.draining, n.doomIn = nil, false, nil, false, nil, false, 0
	for j := range n.sides {
		n.sides[j] = side{watch: n.sides[j].watch + 1}
	}
	w.note(n.i, "starts as %s, instance %d, with %d entries and %d finals", n.name(), n.instance, n.disk.have.Count(), n.disk.index)
	n.reload()
	w.refreshAll(n.i)
	for j := range w.nodes {
		if j != n.i {
			w.consider(n.i, j)
		}
	}
	n.drive()
}

// reload makes a new core from the disk, for a new process or in place of a core
// that is not to be trusted any more, and tells it of the peers.
func (n *node) reload() {
	w := n.w
	n.core = room.New(room.Config{
		Room: w.room, Self: n.self, Key: w.lab.devices[n.i], Priority: n.priority,
		Seed: uint64(n.i)<<32 | uint64(n.life), Waits: w.plan.waits, Keep: w.plan.keep, Mutant: w.opt.Mutant,
	}, n.disk.saved(w.canon))
	n.generation++
	n.census = -1
	n.said = nil
	for _, a := range n.disk.runs {
		for _, e := range a.Entries() {
			run := 0
			if e == a.Run.Run().Last() {
				run = len(a.Run.Run().Entries)
			}
			n.core.Restore(e, run, a.Branch != ordering.Hash{})
		}
	}
	if err := n.core.Resume(n.clock()); err != nil {
		w.failf(n.i, "U7", "the disk is not taken up again: %v", err)
		return
	}
	w.canon.resumed(n)
	if n.creator && n.instance == 0 && len(n.disk.runs) == 0 {
		if err := n.core.Receive(n.clock(), n.self.Device, w.genes); err != nil {
			w.failf(n.i, "U10", "founding: %v", err)
		}
	}
	if n.unfit, n.ailing = false, false; !n.diskOK() || n.draining {
		n.tellHealth()
	}
	for j, peer := range w.nodes {
		if n.sides[j].session != 0 {
			n.core.Connect(n.clock(), peer.self.Device)
			n.observe(peer)
		}
	}
}

// input hands something to the process. What cannot be taken now waits.
func (n *node) input(what string, do func()) {
	switch n.state {
	case unborn, dead, gone:
		return
	case running, frozen, asleep:
	}
	if len(n.inbox) < inboxMost {
		n.inbox = append(n.inbox, input{what, do})
	}
	n.drive()
}

// tick is called when the core's deadline has come.
func (n *node) tick() {
	n.due = -1
	n.drive()
}

// drive does what the owner of a core does: it takes what waits, and carries out
// what the core wants, until a commit is under way or nothing is left.
func (n *node) drive() {
	if n.driving {
		return
	}
	n.driving = true
	for n.runs() && !n.busy && n.w.fail == nil {
		taken := 0
		for len(n.inbox) > 0 && taken < drainMost && n.runs() {
			f := n.inbox[0]
			n.inbox[0] = input{}
			n.inbox = n.inbox[1:]
			f.do()
			taken++
		}
		if n.core == nil || !n.runs() {
			if len(n.inbox) > 0 && n.runs() {
				continue
			}
			break
		}
		n.core.Tick(n.clock())
		r := n.core.Ready()
		if r.Empty() {
			n.core.Advance(n.clock())
			if len(n.inbox) == 0 {
				break
			}
			continue
		}
		n.carryOut(&r)
	}
	n.driving = false
	n.planTick()
}

// planTick sees to the core's deadline.
func (n *node) planTick() {
	n.due = -1
	if n.core == nil || n.busy || !n.runs() || n.w.fail != nil {
		return
	}
	d := n.core.Deadline()
	if d.IsZero() {
		return
	}
	late := time.Duration(0)
	if n.w.plan.lazy > 0 {
		late = time.Duration(n.dice.Int64N(int64(n.w.plan.lazy)))
	}
	n.due = n.w.now + n.until(d) + late
}

// carryOut brings a Ready to disk, then to the peers.
func (n *node) carryOut(r *room.Ready) {
	w := n.w
	n.heldBack(r)
	n.ambush(r)
	if n.dies(beforeCommit) {
		return
	}
	n.speakEarly(r)
	if !r.Durable() {
		n.finish(r)
		return
	}
	if n.full {
		n.breakDown()
		return
	}
	n.busy, n.began, n.commit = true, n.w.now, r
	life, generation := n.life, n.generation
	if n.dies(duringCommit) {
		return
	}
	w.after(n.latency(), func() {
		if n.life != life || n.generation != generation || n.commit != r {
			return
		}
		n.commit = nil
		n.stuck = n.stuckTo()
		if n.full { // it ran full meanwhile
			n.continued(n.breakDown)
			return
		}
		n.apply(r)
		n.continued(func() {
			n.busy = false
			if !n.dies(afterCommit) {
				n.finish(r)
			}
		})
	})
}

// stuckTo is until when the disk let nothing be said.
func (n *node) stuckTo() time.Duration {
	if n.busy && n.w.now-n.began >= suspectLeast {
		return n.w.now
	}
	return n.stuck
}

// continued runs f now, or when the process is continued.
func (n *node) continued(f func()) {
	if !n.runs() {
		n.wakeWith = f
		return
	}
	f()
	n.drive()
}

// heldBack checks that what was said comes to disk with the next commit (U10).
func (n *node) heldBack(r *room.Ready) {
	for _, s := range n.said {
		found := false
		for _, a := range r.Persist {
			if run := a.Run.Run(); run.Origin() == n.self && run.Last().Hash() == s.last.Hash {
				found = true
			}
		}
		if !found {
			n.w.failf(n.i, "U10", "%s, said after %s, is not in the next commit", n.w.id(s.last.EntryID), s.at)
		}
	}
	n.said = n.said[:0]
}

// finish does what comes after the commit.
func (n *node) finish(r *room.Ready) {
	w := n.w
	if w.tracing() && r.Durable() {
		n.noteCommit(r)
	}
	for _, m := range r.Send {
		n.send(m)
		if n.dies(betweenSends) || w.fail != nil {
			return
		}
	}
	for _, run := range r.Publish {
		n.publish(run)
	}
	if r.Fetch != nil {
		n.serve(*r.Fetch)
	}
	if r.FetchFinals != nil {
		n.serveFinals(*r.FetchFinals)
	}
	if r.Load != nil {
		n.load(r.Load)
	}
	setBack := false
	for _, e := range r.Events {
		setBack = setBack || e.Kind == room.SetBack
		w.canon.event(n, e)
	}
	if n.dies(beforeAdvance) {
		return
	}
	switch {
	case setBack:
		w.note(n.i, "was set back: a new instance")
		n.renew()
		return
	case r.Install != nil:
		n.reload()
		return
	}
	n.core.Advance(n.clock())
	w.canon.look(n)
	n.meetMembers()
}

// load reads runs from the own disk.
func (n *node) load(wants []ordering.Want) {
	generation := n.generation
	n.w.after(loadTime, func() {
		n.input("load", func() {
			if n.core == nil || n.generation != generation {
				return
			}
			var runs []ordering.Run
			for _, v := range n.disk.page(wants, pageRuns) {
				runs = append(runs, v.Run())
			}
			n.core.Loaded(n.clock(), runs)
		})
	})
}

// meetMembers looks whether somebody became a member or is none any more.
func (n *node) meetMembers() {
	if n.core == nil || n.core.Graph().MembersVersion() == n.census {
		return
	}
	n.census = n.core.Graph().MembersVersion()
	for j, peer := range n.w.nodes {
		if j == n.i {
			continue
		}
		if n.sides[j].session != 0 && !n.knows(peer) {
			n.hangUp(peer)
		} else if n.sides[j].session == 0 {
			n.w.consider(n.i, j)
		}
	}
}

// knows reports whether n would share the room with the peer: it is a member, or
// n does not know any member yet, none but itself if it is the creator anew.
func (n *node) knows(peer *node) bool {
	return n.core == nil || n.creator && n.instance > 0 && n.core.Graph().MemberCount() == 1 || n.core.Graph().MemberCount() == 0 || n.core.Graph().IsMember(peer.self.Device)
}

// say lets people say something here, if the process runs.
func (n *node) say(what string, drafts ...room.Draft) {
	n.input(what, func() {
		if n.core == nil {
			return // people are told that the disk takes no writes
		}
		refs, err := n.core.Say(n.clock(), n.wallClock(), drafts...)
		if err != nil {
			var refusal *ordering.Refusal
			gone := errors.As(err, &refusal) && refusal.Reason == ordering.NotAllowed // whom it removes is no member
			if n.core.Graph().IsMember(n.self.Device) && !errors.Is(err, room.ErrSetBack) && !gone {
				n.w.failf(n.i, "U10", "a member cannot speak: %v", err)
			}
			n.w.note(n.i, "cannot say: %v", err)
			return
		}
		last := refs[len(refs)-1]
		if n.w.tracing() {
			n.w.note(n.i, "says %s (%s, %d entries)", n.w.id(last.EntryID), what, len(refs))
		}
		n.said = append(n.said, saying{last, n.w.now})
	})
}

// saidNothing reports whether all that was said here is durable.
func (n *node) saidNothing() bool { return len(n.said) == 0 && !n.busy }

// dies kills the process when its doom has come.
func (n *node) dies(at boundary) bool {
	if n.doomIn == 0 || n.doom != at {
		return false
	}
	if n.doomIn--; n.doomIn > 0 {
		return false
	}
	n.w.note(n.i, "dies: %s", [boundaries]string{"before the commit", "during the commit", "after the commit", "between two sends", "before it advances"}[at])
	n.kill()
	n.w.during(n.back, n.start)
	return true
}

// kill ends the process at once. A commit under way is made, or not.
func (n *node) kill() {
	if n.state == dead || n.state == gone || n.state == unborn {
		return
	}
	if n.commit != nil {
		r := n.commit
		n.commit = nil
		if n.dice.IntN(2) == 0 && !n.full {
			n.w.note(n.i, "the commit under way was made")
			n.apply(r)
		}
	}
	n.end(dead)
}

func (n *node) end(s state) {
	n.w.note(n.i, "ends")
	n.state, n.core, n.inbox, n.busy, n.commit, n.wakeWith, n.due = s, nil, nil, false, nil, nil, -1
	n.said = nil
	n.life++
	for j := range n.sides {
		n.sides[j] = side{watch: n.sides[j].watch + 1}
	}
	n.w.canon.ended(n)
	n.w.refreshAll(n.i)
}

// breakDown is what the owner does when a commit fails: the core knows what is
// not on disk, so it is thrown away.
func (n *node) breakDown() {
	n.w.note(n.i, "the disk takes no writes")
	n.core, n.busy, n.commit, n.due = nil, false, nil, -1
	n.said = nil
	n.generation++
	n.w.canon.ended(n)
	n.changed()
	n.probe()
}

// probe tries the disk each second.
func (n *node) probe() {
	life, generation := n.life, n.generation
	n.w.after(probeEvery, func() {
		if n.life != life || n.generation != generation {
			return
		}
		if n.full || !n.runs() {
			n.probe()
			return
		}
		n.w.note(n.i, "the disk takes writes again")
		n.reload()
		n.changed()
		n.drive()
	})
}

// setDisk changes how the disk fares.
func (n *node) setDisk(full, low bool) {
	n.full, n.low = full, low
	n.changed()
	n.health()
}

func (n *node) health() {
	n.input("health", func() {
		if n.core != nil {
			n.tellHealth()
		}
	})
}

func (n *node) tellHealth() {
	n.unfit = !n.diskOK() || n.draining
	n.ailing = n.ailing || n.unfit
	n.core.Health(n.clock(), n.diskOK(), n.draining)
}

// freeze stops the process; thaw continues it.
func (n *node) freeze() {
	if !n.runs() {
		return
	}
	n.w.note(n.i, "is stopped")
	n.state, n.due = frozen, -1
	n.w.refreshAll(n.i)
}

func (n *node) thaw() {
	if n.state != frozen {
		return
	}
	n.w.note(n.i, "is continued")
	n.thawed = n.w.now
	n.goOn()
}

// sleep suspends the machine; its monotonic clock stands still.
func (n *node) sleep() {
	if !n.runs() {
		return
	}
	n.w.note(n.i, "falls asleep")
	n.base, n.since = n.clock(), n.w.now
	n.state, n.due = asleep, -1
	n.w.refreshAll(n.i)
}

// wake ends the sleep, which lasted extra longer than the world noticed.
func (n *node) wake(extra time.Duration) {
	if n.state != asleep {
		return
	}
	n.w.note(n.i, "wakes after %s", n.w.now-n.since+extra)
	n.since = n.w.now
	n.wall += extra
	n.state = running
	if n.core != nil {
		n.core.Woke(n.clock())
	}
	n.state = frozen
	n.goOn()
}

// goOn continues a process: it learns what became of its sessions.
func (n *node) goOn() {
	n.state = running
	w := n.w
	w.refreshAll(n.i)
	for j, peer := range w.nodes {
		s := &n.sides[j]
		if s.session == 0 {
			continue
		}
		peer.changed()
		if !w.links[j][n.i].passes {
			n.miss(peer, suspectLeast+time.Duration(w.net.Int64N(int64(suspectMost-suspectLeast))), false)
		} else if peer.sides[n.i].session != s.session && w.links[n.i][j].open() {
			session := s.session
			w.after(w.flight(w.links[n.i][j])+w.flight(w.links[j][n.i]), func() {
				if n.runs() && s.session == session {
					n.lose(peer)
				}
			})
		}
		w.consider(n.i, j)
	}
	for j := range w.nodes {
		if j != n.i {
			w.consider(n.i, j)
		}
	}
	n.changed()
	if f := n.wakeWith; f != nil {
		n.wakeWith = nil
		f()
	}
	n.drive()
}

// drain is the graceful end of a process: it says that it leaves, and ends when
// the core may go, within leaveMost; then does then.
func (n *node) drain(then func()) {
	if !n.runs() {
		return
	}
	n.draining = true
	n.w.note(n.i, "is about to end")
	n.changed()
	n.health()
	life, began := n.life, n.w.now
	var look func()
	look = func() {
		if n.life != life || !n.draining {
			return
		}
		if n.w.now-began < leaveMost && (!n.runs() || n.core != nil && !n.core.MayLeave()) {
			n.w.after(beatEvery, look)
			return
		}
		n.kill()
		then()
	}
	n.w.after(beatEvery+time.Duration(n.dice.Int64N(int64(beatEvery))), look)
}

// renew lets the device go on under a new instance, on an empty disk.
func (n *node) renew() {
	n.end(dead)
	n.instance++
	n.self = n.w.lab.origin(n.i, n.instance)
	n.disk = newDisk()
	n.w.after(100*time.Millisecond, n.start)
}

func (n *node) noteCommit(r *room.Ready) {
	s := ""
	for _, a := range r.Persist {
		s += fmt.Sprintf(" +%s", n.w.id(a.Run.Run().Last().ID()))
	}
	for i := range r.Final {
		f := &r.Final[i]
		s += fmt.Sprintf(" final %s(%d at %d)", n.w.id(f.ID), f.Fate, f.Index)
	}
	if h := r.Control.Hard; h != nil {
		s += fmt.Sprintf(" term=%d vote=%x commit=%d", h.Term, h.Vote&0xffff, h.Commit)
	}
	for _, x := range r.Control.Append {
		s += fmt.Sprintf(" log[%d@%d %s]", x.Index, x.Term, n.w.describeRecord(&x))
	}
	if r.Control.Snapshot != nil {
		s += fmt.Sprintf(" snapshot %d", r.Control.Snapshot.Index)
	}
	if r.Install != nil {
		s += fmt.Sprintf(" install %d", r.Install.Saved.Snapshot.Index)
	}
	n.w.note(n.i, "durable:%s", s)
}
