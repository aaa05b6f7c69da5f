// Package sim plays whole worlds of a room in leader mode: 2 to 9 replicas,
// their disks, the network between them, their clocks and the people who write.
// The replicas are real room.Cores; everything else is modelled, in virtual
// time. Whatever happens in a world follows from its seed.
//
// A world has four acts. In the first the room is founded and its members meet.
// In the second, safety, the faults that the seed chose (see Faults) strike
// while people write. In the third, liveness, a core of replicas that has a
// majority of the voters is healed, the others stay as they are, and the core
// must bring to a final place everything it holds. In the fourth all are healed
// and must agree, and the highest voter must lead.
//
// After every commit of every replica the invariants of PROTOCOL.md 4 are
// checked, against one canonical history that all replicas share (see canon);
// checks look at disks, not at messages. The first that fails ends the world.
//
// What is modelled: one durable commit per room.Ready, which takes the time of a
// disk and is lost or kept when the process dies meanwhile; directed links with
// delay, loss, copies, disorder, jams and cuts; sessions of which each side has
// its own opinion; the findings of the failure detector (B1), whose heartbeats
// are not played one by one; processes that are killed at any boundary of their
// output, stopped, put to sleep and restarted; clocks that drift and jump.
// What is not: bytes on the wire (runs are handed over verified) and SQLite.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
	"tertulia/ordering/room"
)

// Limits of a world.
const (
	MaxNodes    = 9         // that a seed chooses
	MaxCrowd    = 20        // of a script
	maxSteps    = 3_000_000 // events; a world beyond works without end
	maxIdleWork = 1000      // ticks of one replica at one moment
)

// Options choose a world.
type Options struct {
	Seed     uint64
	Faults   *Faults       // nil: as the seed says
	Mutant   mutant.Mutant // of all replicas
	Trace    *Trace        // nil: none is written
	Ordering Ordering      // of the room
	Walls    bool          // all wall clocks are right, whatever the seed says (U13)
}

// Outcome is what came of a world.
type Outcome struct {
	Failure *Failure // nil: all invariants held
	Faults  Faults
	Nodes   int
	Stats   Stats
	Order   []ordering.EntryID // the final list
}

// Stats count what happened in a world.
type Stats struct {
	Steps, Finals, Restarts, Leaders, Commits, Messages, Installs, Refused int
	Virtual                                                                time.Duration
	Stuck                                                                  bool          // no core had a majority: nothing to be asked of the living
	Healed                                                                 time.Duration // how long the liveness act took
	Settled                                                                time.Duration // how long agreement took in the last act
	Crowned                                                                time.Duration // and until the highest voter led
}

// World is one world under way.
type World struct {
	lab    *Lab
	opt    Options
	faults Faults
	plan   plan
	now    time.Duration // since the world began
	events events
	order  uint64
	era    int // grows from act to act: what an earlier act planned is void
	nodes  []*node
	links  [][]*link // by sender, receiver
	room   ordering.RoomID
	genes  ordering.Verified
	canon  *canon
	net    *rand.Rand
	load   *rand.Rand
	runs   map[ordering.Hash]ordering.Verified // by the last entry's hash

	forged  map[ordering.Hash]ordering.Verified // by the run's last entry, what half the others hear instead
	forgers map[ordering.Origin]bool
	sess    uint64 // sessions so far
	words   int
	shaken  bool // the third act kept nodes apart, or an ambush took one
	moved   bool // who hears whom, or leads, has changed
	fail    *Failure
	stats   Stats
	epochs  epochs
}

// plan is what the seed says about a world besides its faults.
type plan struct {
	warm   time.Duration // the first act
	safety time.Duration // the second
	waits  room.Waits
	keep   room.Keep
	stream bool          // what a cut holds up arrives later, as with TCP
	delay  time.Duration // base of a link's one-way delay, at most
	fsync  time.Duration // at most, without stalls
	lazy   time.Duration // how late timers fire, at most
	says   int           // in the second act
}

type event struct {
	at    time.Duration
	order uint64
	do    func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// dice returns a stream of chance that depends on the seed and the purpose alone,
// so that switching one fault off leaves the others as they are.
func dice(seed uint64, purpose int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15*uint64(purpose+1)))
}

// The purposes of chance below those of the faults.
const (
	ofPlan = 100 + iota
	ofNet
	ofLoad
	ofNode // and above: one for each node
)

// Play plays one world to its end.
func (l *Lab) Play(opt Options) Outcome {
	w := l.begin(opt)
	w.play()
	return w.outcome()
}

func (w *World) outcome() Outcome {
	w.stats.Virtual, w.stats.Finals = w.now, len(w.canon.order)
	o := Outcome{Failure: w.fail, Faults: w.faults, Nodes: len(w.nodes), Stats: w.stats}
	for _, s := range w.canon.order {
		o.Order = append(o.Order, s.id)
	}
	return o
}

// begin sets the scene: nobody runs yet.
func (l *Lab) begin(opt Options) *World {
	r := dice(opt.Seed, ofPlan)
	w := &World{
		lab: l, opt: opt, canon: newCanon(), net: dice(opt.Seed, ofNet), load: dice(opt.Seed, ofLoad),
		runs: make(map[ordering.Hash]ordering.Verified), forged: make(map[ordering.Hash]ordering.Verified), forgers: make(map[ordering.Origin]bool),
	}
	n := 2 + r.IntN(4) // most worlds are small
	if r.IntN(4) == 0 {
		n = 2 + r.IntN(MaxNodes-1)
	}
	w.faults = chooseFaults(r)
	if f := dice(opt.Seed, int(Fork)); f.IntN(12) == 0 && w.faults&Faults(0).With(OldImage, Wipe, Leave, Remove) == 0 {
		w.faults = w.faults.With(Fork) // the forger's disk is given up, and no other
	}
	if opt.Faults != nil {
		w.faults = *opt.Faults
	}
	second := func(most int) time.Duration { return time.Duration(1+r.IntN(most)) * time.Second }
	w.plan = plan{
		waits:  room.Waits{Stable: within(r, 300*time.Millisecond, 2*time.Second), Hold: within(r, 300*time.Millisecond, 2*time.Second)},
		safety: within(r, 3*time.Second, 9*time.Second),
		stream: r.IntN(3) > 0,
		delay:  time.Duration(1+r.IntN(10)) * time.Millisecond,
		fsync:  time.Duration(1+r.IntN(5)) * time.Millisecond,
		lazy:   time.Duration(r.IntN(3)) * time.Millisecond,
		says:   4 + r.IntN(24),
	}
	switch r.IntN(24) {
	case 0:
		w.plan.safety = 60 * time.Second
	case 1:
		w.plan.waits = room.Waits{} // as in the program
		w.plan.safety = 40 * time.Second
	case 2, 3:
		w.plan.delay = 150 * time.Millisecond
	case 4, 5:
		w.plan.waits.Replace = second(10)
	case 6, 7:
		w.plan.lazy = 50 * time.Millisecond
	}
	if r.IntN(3) == 0 {
		w.plan.keep = room.Keep{Records: 4 + r.IntN(40), Behind: uint64(2 + r.IntN(12))}
	}
	w.plan.warm = w.stable() + within(r, 500*time.Millisecond, 3*time.Second)
	if r.IntN(6) == 0 {
		w.plan.warm = time.Duration(r.IntN(500)) * time.Millisecond
	}
	numbers := r.Perm(12)[:n] // names whose bytewise order is not their numeric one
	creator := r.IntN(n)
	w.chooseOrdering()
	w.genes, w.room = l.genesis(creator, numbers[creator]+1, w.epochs.begins)
	for i := range n {
		w.nodes = append(w.nodes, w.newNode(i, numbers[i]+1, i == creator))
	}
	if r.IntN(10) == 0 {
		w.nodes[r.IntN(n)].priority = int32(r.IntN(3)) - 1
	}
	w.links = make([][]*link, n)
	for i := range n {
		for j := range n {
			w.links[i] = append(w.links[i], w.newLink(i, j, r))
		}
	}
	return w
}

func (w *World) stable() time.Duration { return orElse(w.plan.waits.Stable, 10*time.Second) }
func (w *World) hold() time.Duration   { return orElse(w.plan.waits.Hold, 10*time.Second) }

func orElse(d, or time.Duration) time.Duration {
	if d == 0 {
		return or
	}
	return d
}

// play goes through the four acts, and makes a failure of a panic.
func (w *World) play() {
	defer func() {
		if p := recover(); p != nil {
			w.failf(-1, "panic", "%v\n%s", p, debug.Stack())
		}
	}()
	for _, act := range []func(){w.found, w.strike, w.healCore, w.healAll} {
		act()
		if w.fail != nil || w.stats.Stuck {
			return
		}
	}
}

// after plans something in virtual time, whatever the act.
func (w *World) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.events, event{w.now + max(0, d), w.order, do})
}

// during plans something that is void in the next act.
func (w *World) during(d time.Duration, do func()) {
	era := w.era
	w.after(d, func() {
		if w.era == era {
			do()
		}
	})
}

// run lets virtual time pass for d at most, until done, which may be nil, says
// so; it is asked every so often.
func (w *World) run(d time.Duration, done func() bool) bool {
	const often = 50 * time.Millisecond
	end, ask := w.now+d, w.now
	idle := 0
	for w.fail == nil {
		if done != nil && w.now >= ask {
			if done() {
				return true
			}
			ask = w.now + often
		}
		next, who := end, (*node)(nil)
		if done != nil {
			next = min(end, ask)
		}
		limit := next
		if len(w.events) > 0 {
			next = min(next, w.events[0].at)
		}
		for _, n := range w.nodes {
			if n.due >= 0 && n.due < next {
				next, who = n.due, n
			}
		}
		if next > w.now {
			w.now, idle = next, 0
		}
		if w.stats.Steps++; w.stats.Steps > maxSteps {
			w.failf(-1, "U14", "endless work at %s", w.now)
			break
		}
		switch {
		case who != nil:
			if idle++; idle > maxIdleWork {
				w.failf(who.i, "U14", "wants to tick without end")
				return false
			}
			who.tick()
		case len(w.events) > 0 && w.events[0].at <= next:
			e := heap.Pop(&w.events).(event)
			e.do()
		case limit >= end:
			return done != nil && done()
		}
		if w.moved {
			w.moved = false
			w.watchQuorum()
		}
	}
	return false
}

// found is the first act: the creator founds the room and admits the others.
func (w *World) found() {
	creator := w.creator()
	creator.start()
	late := w.joiners()
	for _, n := range w.nodes {
		if n != creator && !slices.Contains(late, n) {
			w.admit(n)
		}
	}
	for _, n := range w.nodes {
		if n != creator && !slices.Contains(late, n) {
			n.start()
		}
	}
	w.run(w.plan.warm, nil)
}

func (w *World) creator() *node {
	return w.nodes[slices.IndexFunc(w.nodes, func(n *node) bool { return n.creator })]
}

// admit lets n knock at the creator's until that made it a member.
func (w *World) admit(n *node) {
	c := w.creator()
	switch {
	case n.leaving || c.core != nil && c.core.Graph().IsMember(n.self.Device) && c.saidNothing():
		return
	case c.core != nil && c.saidNothing():
		body := ordering.Admit{Device: n.self.Device, Invite: invite, Name: n.name()}.Encode()
		c.say("admit", room.Draft{Kind: ordering.KindAdmit, Body: body})
	}
	w.after(time.Second, func() { w.admit(n) })
}

// strike is the second act: people write and faults strike.
func (w *World) strike() {
	w.era++
	w.planFaults()
	w.planEpochs()
	for range w.plan.says {
		w.during(time.Duration(w.load.Int64N(int64(w.plan.safety))), w.talk)
	}
	w.run(w.plan.safety, nil)
}

// talk lets somebody say a run of 1 to 8 messages, sometimes by way of two nodes.
func (w *World) talk() {
	n := w.nodes[w.load.IntN(len(w.nodes))]
	other := w.nodes[w.load.IntN(len(w.nodes))]
	k := 1
	if w.load.IntN(4) == 0 {
		k += w.load.IntN(8)
	}
	twice := w.load.IntN(3) == 0
	later := time.Duration(w.load.IntN(2000)) * time.Millisecond
	var drafts, again []room.Draft
	for range k {
		w.words++
		drafts, again = append(drafts, w.draft(n, w.words)), append(again, w.draft(other, w.words))
	}
	n.say("talk", drafts...)
	if twice && w.faults.Has(Repeat) {
		w.during(later, func() { other.say("repeat", again...) })
	}
}

// draft is the word of a number as its client hands it to a node.
func (w *World) draft(n *node, word int) room.Draft {
	text := fmt.Sprintf("word %d", word)
	return room.Draft{Kind: ordering.KindMessage, Body: []byte(text), Client: w.lab.stamp(w.room, n.self.Device, word%3, text)}
}

// healCore is the third act: some replicas that have a majority are healed, and
// must bring all they hold to its final place.
func (w *World) healCore() {
	w.era++
	for _, n := range w.nodes {
		n.forge = false
		if n.leaving {
			n.vanish()
		}
	}
	r := dice(w.opt.Seed, ofPlan+1000)
	members := w.core(r)
	if members == nil {
		w.stats.Stuck = true
		return
	}
	w.isolate(r, members)
	w.run(time.Second, nil) // what is healed comes up
	for _, n := range members {
		w.words++
		n.say("after", w.draft(n, w.words))
	}
	w.run(100*time.Millisecond, nil)
	began := w.now
	bound := 30*time.Second + 2*w.hold() + 2*w.stable()
	ok := w.run(bound, func() bool { return w.lacks(members) == "" })
	w.stats.Healed = w.now - began
	if !ok && w.fail == nil {
		w.failf(-1, "U8", "a healed core of %s is not done after %s: %s", names(members), bound, w.lacks(members))
	}
}

// healAll is the last act: everybody is healed; all must agree, and the highest
// voter must lead.
func (w *World) healAll() {
	w.era++
	all := w.staying()
	w.heal(all)
	w.run(500*time.Millisecond, nil)
	began := w.now
	bound := 60*time.Second + 2*w.hold() + 2*w.stable()
	ok := w.run(bound, func() bool { return w.lacks(all) == "" })
	w.stats.Settled = w.now - began
	if !ok && w.fail == nil {
		w.failf(-1, "U8", "healed replicas do not agree after %s: %s", bound, w.lacks(all))
	}
	if w.fail != nil {
		return
	}
	w.canon.settled(w, all)
	w.switched(all)
	began = w.now
	bound = w.crownBound()
	ok = w.run(bound, func() bool { return w.uncrowned(all) == "" })
	w.stats.Crowned = w.now - began
	if !ok && w.fail == nil {
		w.failf(-1, "P-7", "after %s without a fault: %s", bound, w.uncrowned(all))
	}
}

// staying returns the nodes that are members to the end.
func (w *World) staying() []*node {
	var all []*node
	for _, n := range w.nodes {
		if n.state != gone && n.state != unborn {
			all = append(all, n)
		}
	}
	return all
}
