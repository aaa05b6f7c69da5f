package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/room"
)

// Fault is a class of trouble.
type Fault uint8

// The classes.
const (
	Kill     Fault = iota // processes die at any moment and restart
	Boundary              // processes die at a boundary of their output
	Freeze                // processes are stopped and continued
	Sleep                 // machines sleep for hours and wake
	Drain                 // processes end gracefully and restart
	Cut                   // links lose everything one way
	Shape                 // the network is split, or becomes a bridge, a chain, a ring or a star
	Jam                   // links hold everything up, then let it go in a burst
	Loss                  // messages are lost
	Double                // messages arrive twice
	Unruly                // messages overtake one another
	Slow                  // links become slow
	Nervous               // the failure detector is wrong
	Stall                 // disks take seconds
	Full                  // disks take no writes
	OldImage              // a disk is set back to what it was
	Wipe                  // a disk is lost
	Walls                 // wall clocks are wrong and jump
	Drift                 // monotonic clocks run at other rates
	Join                  // members join late
	Leave                 // members leave for good
	Remove                // members are removed
	Repeat                // one message is handed to two nodes
	Flap                  // the highest voter comes and goes
	Fork                  // a member says different things to two halves of the others
	numFaults
)

var faultNames = [numFaults]string{
	"kill", "boundary", "freeze", "sleep", "drain", "cut", "shape", "jam", "loss", "double", "unruly", "slow", "nervous",
	"stall", "full", "oldimage", "wipe", "walls", "drift", "join", "leave", "remove", "repeat", "flap", "fork",
}

// Faults is a set of classes.
type Faults uint32

// Has reports whether a class is in the set.
func (f Faults) Has(x Fault) bool { return f&(1<<x) != 0 }

// With returns the set with x in it.
func (f Faults) With(x ...Fault) Faults {
	for _, x := range x {
		f |= 1 << x
	}
	return f
}

// Without returns the set without x.
func (f Faults) Without(x Fault) Faults { return f &^ (1 << x) }

// Each returns the classes in the set.
func (f Faults) Each() (all []Fault) {
	for x := range numFaults {
		if f.Has(x) {
			all = append(all, x)
		}
	}
	return all
}

// String returns the names joined by commas, "none" for no fault.
func (f Faults) String() string {
	var s []string
	for _, x := range f.Each() {
		s = append(s, faultNames[x])
	}
	if s == nil {
		return "none"
	}
	return strings.Join(s, ",")
}

// ParseFaults reads what String wrote; "all" is everything.
func ParseFaults(s string) (Faults, error) {
	var f Faults
	if s == "none" {
		return 0, nil
	}
	if s == "all" {
		return 1<<numFaults - 1, nil
	}
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(faultNames[:], name)
		if i < 0 {
			return 0, fmt.Errorf("sim: no fault is called %q", name)
		}
		f = f.With(Fault(i))
	}
	return f, nil
}

// chooseFaults takes 2 to 4 classes for most worlds, none or many for some.
func chooseFaults(r *rand.Rand) Faults {
	n := 2 + r.IntN(3)
	switch r.IntN(20) {
	case 0:
		n = 0
	case 1, 2:
		n = 5 + r.IntN(6)
	}
	var f Faults
	for range n {
		f = f.With(Fault(r.IntN(int(Fork))))
	}
	if f.Has(OldImage) {
		// A setback that only unreachable peers know of cannot be found out
		// (PROTOCOL.md 1, Crash), so nothing may keep peers apart.
		f &= Faults(0).With(OldImage, Double, Stall, Walls, Drift, Join, Repeat, Unruly)
	}
	return f
}

// times is how often a class strikes in a world, at most.
var times = [numFaults]int{
	Kill: 6, Boundary: 8, Freeze: 4, Sleep: 2, Drain: 3, Cut: 6, Shape: 4, Jam: 5, Loss: 3, Double: 2, Unruly: 2, Slow: 3, Nervous: 8,
	Stall: 4, Full: 3, OldImage: 1, Wipe: 2, Walls: 5, Drift: 1, Join: 2, Leave: 2, Remove: 2, Repeat: 0, Flap: 1, Fork: 3,
}

// planFaults decides when each class strikes. Whom, is decided then.
func (w *World) planFaults() {
	for _, x := range w.faults.Each() {
		r := dice(w.opt.Seed, int(x))
		if times[x] == 0 {
			continue
		}
		for range 1 + r.IntN(times[x]) {
			w.during(time.Duration(r.Int64N(int64(w.plan.safety))), func() { w.inflict(x, r) })
		}
	}
}

// joiners are the members that join in the second act.
func (w *World) joiners() (late []*node) {
	if !w.faults.Has(Join) {
		return nil
	}
	for _, n := range w.nodes {
		if !n.creator && len(late) < 2 && len(late) < len(w.nodes)-1 {
			late = append(late, n)
		}
	}
	return late
}

func within(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// inflict lets one fault strike.
func (w *World) inflict(x Fault, r *rand.Rand) {
	n := w.nodes[r.IntN(len(w.nodes))]
	if r.IntN(3) == 0 {
		if l := w.leader(); l != nil { // the leader is worth more trouble
			n = l
		}
	}
	other := w.nodes[(n.i+1+r.IntN(len(w.nodes)-1))%len(w.nodes)]
	brief := within(r, 50*time.Millisecond, 6*time.Second)
	if r.IntN(3) == 0 {
		brief = within(r, 10*time.Millisecond, 500*time.Millisecond)
	}
	k := r.IntN(1 << 20)
	w.note(n.i, "fault: %s", faultNames[x])
	there, back := w.links[n.i][other.i], w.links[other.i][n.i]
	//exhaustive:ignore
	switch x {
	case Kill:
		if k%8 == 0 { // all at once
			for _, n := range w.nodes {
				n.kill()
				w.during(brief+time.Duration(n.i)*time.Duration(k%100)*time.Millisecond, n.revive)
			}
			return
		}
		n.kill()
		w.during(brief, n.revive)
	case Boundary:
		n.doom, n.doomIn, n.back = boundary(k%int(boundaries)), 1+k/16%20, brief
	case Freeze:
		n.freeze()
		w.during(brief, n.thaw)
	case Sleep:
		who := []*node{n}
		if k%4 == 0 {
			who = w.nodes
		}
		for _, n := range who {
			n.sleep()
			w.during(brief, func() { n.wake(time.Duration(k%10) * time.Hour) })
		}
	case Drain:
		n.drain(func() { w.during(brief, n.revive) })
	case Cut:
		w.apart(brief, [][2]int{{n.i, other.i}})
	case Shape:
		w.apart(brief+time.Second, w.shape(r))
	case Jam:
		w.jam(n.i, other.i)
		w.during(brief, func() { w.unjam(n.i, other.i) })
	case Loss:
		p := r.Float64() / 3
		there.loss, back.loss = p, p
		w.during(2*brief, func() { there.loss, back.loss = 0, 0 })
	case Double:
		there.double, back.double = r.Float64()/2, r.Float64()/2
	case Unruly:
		there.unruly, back.unruly = true, true
	case Slow:
		there.slow = within(r, time.Millisecond, 300*time.Millisecond)
		back.slow = within(r, time.Millisecond, 300*time.Millisecond)
		w.during(2*brief, func() { there.slow, back.slow = 0, 0 })
	case Nervous:
		n.falseAlarm(other, brief/2)
	case Stall:
		n.stall = w.now + brief/2
	case Full:
		n.setDisk(k%3 > 0, true)
		w.during(brief, func() { n.setDisk(false, false) })
	case OldImage:
		if w.whole() && w.expendable(n) {
			n.setBackLater(r)
		}
	case Wipe:
		if n.state != gone && n.state != unborn && w.expendable(n) && !n.onlyHolder() {
			n.kill()
			n.renew()
		}
	case Walls:
		for _, n := range w.nodes {
			n.wall = within(r, -time.Hour, time.Hour)
		}
		if k%2 == 0 {
			n.wall = time.Unix(0, 0).Sub(time.Unix(1_700_000_000, 0)) // 1970
		}
	case Drift:
		for _, n := range w.nodes {
			n.base, n.since = n.clock(), w.now
			n.ppm = r.Int64N(20_000) - 10_000
		}
	case Join:
		for _, n := range w.joiners() {
			if n.state == unborn {
				w.admit(n)
				n.start()
				return
			}
		}
	case Leave:
		if !n.creator && n.runs() && w.expendable(n) {
			n.say("leave", room.Draft{Kind: ordering.KindLeave})
			n.leaveFor(n.drainFor)
		}
	case Remove:
		if c := w.creator(); !n.creator && n.runs() && c.runs() && w.expendable(n) {
			c.say("remove", room.Draft{Kind: ordering.KindRemove, Body: ordering.Remove{Device: n.self.Device}.Encode()})
			n.leaveFor(func() { w.after(brief/2, n.vanish) })
		}
	case Fork:
		n.forge = true
	case Repeat:
	case Flap:
		w.flap(r, w.highest())
	}
}

// revive restarts a process that was killed.
func (n *node) revive() {
	if n.state == dead {
		n.start()
	}
}

// leaveFor marks a member as one that is not counted on, and does then.
func (n *node) leaveFor(then func()) {
	n.leaving = true
	then()
}

func (n *node) drainFor() { n.drain(n.vanish) }

// vanish ends a node that is no member any more, for good.
func (n *node) vanish() {
	n.kill()
	n.state = gone
}

// apart cuts links, given as sender and receiver, for a while.
func (w *World) apart(d time.Duration, links [][2]int) {
	for _, l := range links {
		w.cut(l[0], l[1])
	}
	w.during(d, func() {
		for _, l := range links {
			w.mend(l[0], l[1])
		}
	})
}

// shape returns the links to cut so that the network takes some form.
func (w *World) shape(r *rand.Rand) (cuts [][2]int) {
	n := len(w.nodes)
	at := r.Perm(n)
	half := 1 + r.IntN(n-1)
	kind := r.IntN(6)
	w.note(-1, "shape %s of %v, %d", [...]string{"split", "isolate", "bridge", "chain", "ring", "star"}[kind], at, half)
	joined := func(a, b int) bool { // places, a < b
		switch kind {
		case 0: // two halves
			return (a < half) == (b < half)
		case 1: // one alone
			return a > 0
		case 2: // two halves, and one between them
			return a == 0 || (a <= half) == (b <= half)
		case 3:
			return b == a+1
		case 4:
			return b == a+1 || a == 0 && b == n-1
		}
		return a == 0 // a star
	}
	for a := range n {
		for b := a + 1; b < n; b++ {
			if !joined(a, b) {
				cuts = append(cuts, [2]int{at[a], at[b]}, [2]int{at[b], at[a]})
			}
		}
	}
	return cuts
}

// falseAlarm lets n suspect a peer that is alive.
func (n *node) falseAlarm(peer *node, d time.Duration) {
	s := &n.sides[peer.i]
	if !n.runs() || s.session == 0 || s.suspected {
		return
	}
	session, life := s.session, n.life
	n.suspect(peer, true)
	var end func()
	end = func() {
		switch {
		case n.life != life || s.session != session || !n.w.links[peer.i][n.i].passes:
		case !n.runs():
			n.w.after(hangUpAfter, end) // it hears of the other once it goes on
		case d > hangUpAfter:
			n.hangUp(peer)
		default:
			n.suspect(peer, false)
		}
	}
	n.w.after(min(d, hangUpAfter), end)
}

// setBackLater keeps an image of the disk, and sets the node back to it later.
func (n *node) setBackLater(r *rand.Rand) {
	image, instance := n.disk.image(), n.instance
	w := n.w
	w.during(within(r, 500*time.Millisecond, 5*time.Second), func() {
		if !w.whole() || n.instance != instance || !w.expendable(n) {
			return
		}
		n.kill()
		w.note(n.i, "its disk is set back from %d entries to %d", n.disk.have.Count(), image.have.Count())
		w.during(3*time.Second, func() { // what it said has spread
			n.disk = image
			n.setback = true
			n.revive()
		})
	})
}

// whole reports whether all nodes run and hear one another.
func (w *World) whole() bool {
	for _, n := range w.nodes {
		if !n.runs() || n.core == nil {
			return false
		}
		for j := range w.nodes {
			if j != n.i && (n.sides[j].session == 0 || n.sides[j].suspected) {
				return false
			}
		}
	}
	return true
}

// flap takes the link of a node to all others away and back, again and again.
func (w *World) flap(r *rand.Rand, n *node) {
	period := within(r, 500*time.Millisecond, 9*time.Second)
	var all [][2]int
	for j := range w.nodes {
		if j != n.i {
			all = append(all, [2]int{n.i, j}, [2]int{j, n.i})
		}
	}
	var again func()
	again = func() {
		w.apart(period, all)
		w.during(2*period, again)
	}
	again()
}

// highest returns the node of the highest rank.
func (w *World) highest() *node {
	return slices.MaxFunc(w.nodes, func(a, b *node) int { return a.rank(b) })
}

// rank compares two nodes by who is to lead, in the simulator's own words.
func (n *node) rank(m *node) int {
	if n.priority != m.priority {
		return int(n.priority) - int(m.priority)
	}
	return n.number - m.number
}

// leader returns a node that leads, nil for none.
func (w *World) leader() *node {
	for _, n := range w.nodes {
		if n.runs() && n.leading {
			return n
		}
	}
	return nil
}

// expendable reports whether the voters have a majority without n's disk, among
// those whose disks are whole and who stay.
func (w *World) expendable(n *node) bool {
	if n.leaving || n.setback {
		return false
	}
	return w.majority(func(m *node) bool { return m != n && !m.leaving && m.state != gone && m.state != unborn })
}

// onlyHolder reports whether the node's disk has finals that no other has: they
// would be lost with it, though a voter majority had them.
func (n *node) onlyHolder() bool {
	for _, m := range n.w.nodes {
		if m != n && m.disk.have.Covers(n.disk.have) {
			return false
		}
	}
	return true
}

// majority reports whether the chosen nodes are a majority in every configuration
// that holds or may yet: the newest known and those on disks, with and without
// their learners.
func (w *World) majority(chosen func(*node) bool) bool {
	confs := w.canon.newest(3)
	for _, n := range w.nodes {
		if n.state != unborn {
			confs = append(confs, decodeConf(n.disk.control.Conf))
		}
	}
	has := func(list []ordering.Origin) bool {
		k := 0
		for _, o := range list {
			if n := w.find(o.Device); n != nil && n.self == o && chosen(n) {
				k++
			}
		}
		return len(list) == 0 || 2*k > len(list)
	}
	for _, c := range confs {
		if !has(c.voters) || !has(c.outgoing) || !has(slices.Concat(c.voters, c.learners)) {
			return false
		}
	}
	return true
}

// core chooses nodes that have a majority, nil if there are none. While seats may
// be moving that is everybody: a leader may just be promoting somebody.
func (w *World) core(r *rand.Rand) []*node {
	var chosen []*node
	for _, i := range r.Perm(len(w.nodes)) {
		if n := w.nodes[i]; n.state != gone && n.state != unborn && !n.leaving && !n.setback && len(n.disk.have) > 0 {
			chosen = append(chosen, n)
			if !w.moving() && w.meets(chosen) && w.majority(func(m *node) bool { return slices.Contains(chosen, m) }) {
				break
			}
		}
	}
	if !w.meets(chosen) || !w.majority(func(m *node) bool { return slices.Contains(chosen, m) }) {
		return nil
	}
	slices.SortFunc(chosen, func(a, b *node) int { return a.i - b.i })
	return chosen
}

// moving reports whether the seats may be about to change.
func (w *World) moving() bool {
	want := len(w.staying())
	switch {
	case want >= 5:
		want = 5
	case want >= 3:
		want = 3
	default:
		want = 1
	}
	for _, f := range w.canon.newest(1) {
		if len(f.voters) != want || len(f.outgoing)+len(f.learners) > 0 {
			return true
		}
	}
	for _, n := range w.nodes {
		for _, x := range n.disk.control.Log {
			if x.Kind == control.KindConf && x.Index > n.disk.control.RaftApplied {
				return true
			}
		}
	}
	return w.plan.waits.Replace > 0
}

// isolate heals the members of a core and leaves the others in some trouble that
// does not change any more.
func (w *World) isolate(r *rand.Rand, members []*node) {
	w.note(-1, "core %s is healed", names(members))
	for _, n := range w.nodes {
		if slices.Contains(members, n) {
			continue
		}
		w.shaken = true
		out, in := r.IntN(2) == 0, r.IntN(2) == 0
		switch r.IntN(4) {
		case 0:
			n.kill()
		case 1:
			n.freeze()
			out, in = false, false
		case 2:
			out, in = true, true
		}
		for _, m := range members {
			w.clear(n.i, m.i)
			w.clear(m.i, n.i)
			if out {
				w.cut(n.i, m.i)
			}
			if in {
				w.cut(m.i, n.i)
			}
		}
	}
	w.heal(members)
}

// clear takes all faults off a link.
func (w *World) clear(i, j int) {
	l := w.links[i][j]
	l.cuts, l.jams, l.loss, l.double, l.slow, l.unruly = 0, 0, 0, 0, 0, false
	w.release(l)
	w.refresh(i, j)
}

// heal ends all trouble of and between the given nodes.
func (w *World) heal(nodes []*node) {
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				w.clear(a.i, b.i)
			}
		}
	}
	for _, n := range nodes {
		n.stall, n.doomIn = 0, 0
		n.setDisk(false, false)
		if n.draining {
			n.draining = false
			n.health()
			n.changed()
		}
		n.thaw()
		n.wake(0)
		n.revive()
		for j := range w.nodes {
			if j != n.i {
				w.consider(n.i, j)
			}
		}
	}
}
