package room

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/lamport"
	"tertulia/ordering/linear"
	"tertulia/ordering/mutant"
)

// This file tries, breadth first, every schedule of a room of three replicas: of
// Core as it runs in the program, under an owner that makes durable, sends and
// advances. A schedule says which message arrives next and where, who writes, when
// the leader changes the view, who dies at which step and comes back, and which
// message is lost.
//
// A Core cannot be copied, but what it does follows from its inputs. So a replica's
// state is known by how it was reached, and made again by replaying that; what an
// input does to it is worked out once, and then looked up (see place). States are
// the same if all that a Core holds is (see print_test.go).
//
// What is left out, to keep the number of schedules in bounds:
//
//   - What replicas say of where they stand, and all of the election, arrives at
//     once: one replica leads the control log throughout, and when it dies and comes
//     back it is elected at once.
//   - The followers' answers about the control log arrive at once; what the leader
//     sends them arrives together with what it sent before. Which follower learns
//     when is open.
//   - A newer acknowledgement takes the place of one that still waits in the same
//     lane: it says all that the older one did.
//   - Time stands still but for steps of one tick (span) at one replica, enough for
//     every wait of a view change, and for too few ticks to reach the waits of a
//     second or more.
//   - A message overtakes those of the other lanes between the same two, not those
//     of its own.

const (
	span      = 400 * time.Millisecond // one step of time: above the sum of the short waits, of which Straggle is the longest
	mostPause = 90 * time.Millisecond  // of acknowledgements within a step of time; the waits below span that a tick ends are longer
	mostLive  = 400                    // replicas kept ready to go on, instead of being replayed

	mostEnds   = 200              // of a search by breadth that are played on
	mostFinish = 40 * time.Second // until all is final, once nothing is in the way
)

// lane separates messages that may overtake each other.
type lane uint8

const (
	runs lane = iota
	acks
	seals
	records // of the control log
	lanes   // how many
	talk    // arrives at once
)

func laneOf(m ordering.Message) lane {
	switch m.(type) {
	case *ordering.Push:
		return runs
	case *ordering.Ack:
		return acks
	case *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
		return seals
	case *ordering.Raft:
		return records
	case *ordering.Bully, *ordering.Standing, *ordering.Relay, *ordering.Digest, *ordering.Have:
	}
	return talk
}

// stage is what may happen in a search, at most.
type stage struct {
	says    [3]int8 // entries of each
	leader  int     // of the control log
	view    []int   // of the open epoch, the last replica among them; the leader joins it at once
	changes int8    // of the view that the leader begins
	crashes int8
	losses  int8
	ticks   int8
	states  int // that a search by breadth sees
	mutant  mutant.Mutant
}

// verb is what an input is.
type verb uint8

const (
	hear    verb = iota // arg: a message
	connect             // of: with whom, as bits
	observe             // the same
	say
	passes
	fetched // arg: what a fetch brought
	change  // the view
	elected // the log campaigns
	forget  // whom the log follows
	dies
	pause // before the beginning
)

// input is what happens to one replica. Doom says where in it the replica dies and
// comes back: 0 nowhere, 2k-1 before the kth commit, 2k after it.
type input struct {
	verb verb
	of   int8
	doom int8
	arg  int32
}

// sent is a message on its way.
type sent struct {
	to  int8
	msg int32
}

// site is a replica under its owner.
type site struct {
	*replica
	base   time.Time
	ticks  int
	out    []sent
	fetch  *Fetch
	dead   bool             // in this input
	clock  uint64           // highest said in an acknowledgement (L4)
	sealed *ordering.SealOK // last said (L-5)
	stable []linear.Final   // final not by a cut
	last   struct {
		epoch uint64
		key   ordering.Key // of the native that was final last
	}
	wrong string // what must not be
}

// place is one state of one replica.
type place struct {
	who    int
	from   int32 // the place before; -1: as restored
	by     input
	finals []linear.Final
	stable []linear.Final // by acknowledgements alone
	view   []ordering.Origin
	epoch  uint64
	have   ordering.Vector
	waits  bool // a tick is of use
	wrong  string
}

// outcome is what an input does to a replica.
type outcome struct {
	to    int32 // -1: not possible
	out   []sent
	fetch int32 // a fetch that it begins; -1: none
}

type move struct {
	at int32
	in input
}

// search is one.
type search struct {
	stage
	t       testing.TB
	begin   *network // whose disks are the beginning
	places  []place
	byPrint map[[16]byte]int32
	moves   map[move]outcome
	live    map[int32]*site
	lived   []int32
	msgs    []ordering.Message
	byMsg   map[string]int32
	checked []ordering.Verified // of msgs that are pushes
	brought [][]int32           // what fetches brought, as pushes
	fetches []Fetch
	replays int
	calm    bool // all messages but those of a view change arrive at once
	already int  // finals at the beginning
}

func newSearch(t testing.TB, st stage) *search {
	s := &search{
		stage: st, t: t, byPrint: make(map[[16]byte]int32), moves: make(map[move]outcome),
		live: make(map[int32]*site), byMsg: make(map[string]int32),
	}
	s.begin = newNetworkOf(t, 21, 3, ordering.Lamport)
	w := s.begin
	w.shared()
	w.mesh()
	settled := func(view []int) func() bool {
		return func() bool {
			for _, x := range w.nodes {
				if o := x.core.Order(); !slices.Equal(o.View, s.origins(view)) || len(o.Voters) != 3 {
					return false
				}
			}
			return w.ledBy(2)
		}
	}
	if w.run(time.Minute, settled([]int{0, 1, 2})); !settled([]int{0, 1, 2})() {
		t.Fatal("no room to begin with")
	}
	w.run(2*time.Second, nil)
	if len(st.view) < 3 { // the rest is not let in again
		for _, x := range w.nodes {
			x.core.cfg.Waits.Readmit = time.Hour
			if o := x.core.order; o.status.Leading {
				e := o.list.Epoch()
				x.core.proposeEpoch(&lamport.Change{Epoch: e.N, View: e.View, Mode: e.Mode, Want: s.origins(st.view)}, o.held.Tips(o.held.Durable()))
				x.drive()
			}
		}
		if w.run(time.Minute, settled(st.view)); !settled(st.view)() {
			t.Fatal("no such view to begin with")
		}
	}
	return s
}

func (s *search) origins(who []int) (list []ordering.Origin) {
	for _, i := range who {
		list = append(list, s.begin.nodes[i].self)
	}
	slices.SortFunc(list, ordering.Origin.Compare)
	return list
}

// restored is a replica as it comes back from the disk that the search begins with.
func (s *search) restored(who int) *site {
	from := s.begin.nodes[who]
	w := &network{t: s.t, r: s.begin.r, now: s.begin.now, said: make(map[ordering.EntryID]ordering.Hash)}
	x := &site{base: w.now, replica: &replica{
		network: w, n: who, key: from.key, self: from.self, disk: slices.Clip(from.disk), have: from.have.Clone(),
		states: map[ordering.Hash]bool{from.have.Hash(): true}, finals: slices.Clip(from.finals), saved: from.saved,
	}}
	x.saved.Control = x.saved.Control.Clone()
	x.saved.Seen = slices.Clone(x.saved.Seen)
	cfg := from.core.cfg
	cfg.Mutant = s.mutant
	cfg.Waits = Waits{Stable: time.Hour, Hold: time.Hour, Evict: time.Hour, Readmit: time.Hour, Replace: time.Hour}
	x.core = New(cfg, Saved{})
	x.restart()
	return x
}

// intern gives a message a number.
func (s *search) intern(m ordering.Message) int32 {
	var key string
	switch m := m.(type) {
	case *ordering.Push:
		h := m.Run.Last().Hash()
		key = "push" + string(h[:])
	case *ordering.Digest:
		key = "digest" + string(m.Hash[:])
	case *ordering.Have:
		h := m.Vector.Hash()
		key = fmt.Sprint("have", m.Answer, string(h[:]))
	case ordering.Signal:
		key = "signal" + string(ordering.EncodeSignal(m))
	default:
		s.t.Fatalf("a message %T in a room in which all are connected", m)
	}
	n, known := s.byMsg[key]
	if !known {
		n = int32(len(s.msgs))
		s.byMsg[key], s.msgs, s.checked = n, append(s.msgs, m), append(s.checked, ordering.Verified{})
		if p, ok := m.(*ordering.Push); ok {
			v, err := ordering.VerifyRun(p.Run)
			if err != nil {
				s.t.Fatal(err)
			}
			s.checked[n] = v
		}
	}
	return n
}

// do has a site take an input, and reports whether that is possible.
func (s *search) do(x *site, in input) bool {
	x.out, x.fetch, x.dead = x.out[:0], nil, false
	peer := func() ordering.DeviceKey { return s.begin.nodes[in.of].self.Device }
	switch in.verb {
	case hear:
		if _, ok := s.msgs[in.arg].(*ordering.Push); ok {
			_ = x.core.Receive(x.now, peer(), s.checked[in.arg])
		} else if err := x.core.Hear(x.now, peer(), s.msgs[in.arg]); err != nil {
			x.wrong = fmt.Sprintf("a message is refused: %v", err)
		}
	case connect, observe:
		for i, y := range s.begin.nodes {
			switch {
			case in.of&(1<<i) == 0:
			case in.verb == connect:
				x.core.Connect(x.now, y.self.Device)
			default:
				x.core.Observe(x.now, y.self.Device, Vital{DiskOK: true, Hears: devices(s.origins([]int{0, 1, 2}))})
			}
		}
	case say:
		refs, err := x.core.Say(x.now, x.base, line)
		switch {
		case err != nil:
			return false
		case s.ts(x, refs[0]) <= x.clock:
			x.wrong = fmt.Sprintf("L-1: an entry has ts %d after an acknowledgement of clock %d", s.ts(x, refs[0]), x.clock)
		}
	case passes:
		x.ticks++
		x.now = x.base.Add(time.Duration(x.ticks) * span)
		x.core.Tick(x.now)
	case fetched:
		for _, m := range s.brought[in.arg] {
			_ = x.core.Pulled(x.now, peer(), s.checked[m])
		}
		x.core.Fetched(x.now, peer(), nil)
	case change:
		if o := x.core.order; !o.status.Leading || o.change != nil || !x.core.lamportic() {
			return false
		}
		x.core.startChange(ordering.Lamport, x.core.order.list.Epoch().View, "search")
	case elected:
		x.core.order.log.Campaign()
		x.core.refresh()
	case forget:
		x.core.order.log.ForgetLeader()
		x.core.refresh()
	case dies:
		x.die()
	case pause:
		x.base = x.base.Add(4 * lamport.AckPause)
		x.now = x.base
		x.core.Tick(x.now)
	}
	x.work(s, in.doom)
	return in.doom == 0 || x.dead
}

func (s *search) ts(x *site, r ordering.Ref) uint64 { return x.core.graph.ClockOf(r.Origin) }

func devices(all []ordering.Origin) (list []ordering.DeviceKey) {
	for _, o := range all {
		list = append(list, o.Device)
	}
	return list
}

func (x *site) die() {
	x.dead = true
	x.restart()
}

// work does what the owner of a Core does, until nothing is left.
func (x *site) work(s *search, doom int8) {
	for commit := int8(1); ; commit++ {
		r := x.core.Ready()
		if r.Empty() {
			due := x.core.order.held.AckDue()
			if due.IsZero() || due.After(x.now.Add(lamport.AckPause)) {
				x.core.Advance(x.now)
				return
			}
			x.now = x.now.Add(lamport.AckPause)
			if x.now.Sub(x.base) >= time.Duration(x.ticks)*span+mostPause {
				panic("room: a search whose replicas acknowledge too often to stand still")
			}
			x.core.Advance(x.now)
			commit--
			continue
		}
		if s.mutant == mutant.AckEarly { // it is the owner's, as in the simulator
			r.Send = slices.DeleteFunc(slices.Clone(r.Send), func(m Envelope) bool {
				_, early := m.Msg.(*ordering.Ack)
				if early {
					x.send(s, m)
				}
				return early
			})
		}
		if doom == 2*commit-1 {
			x.die()
			doom = 0
			commit = 0
			continue
		}
		x.persist(r)
		x.note(r.Final)
		if doom == 2*commit {
			x.die()
			doom = 0
			commit = 0
			continue
		}
		for _, m := range r.Send {
			x.durable(m.Msg)
			x.send(s, m)
		}
		if r.Fetch != nil {
			x.fetch = r.Fetch
		}
		x.core.Advance(x.now)
	}
}

// note checks what became final, and keeps what acknowledgements alone made so.
func (x *site) note(finals []linear.Final) {
	is := x.core.order.list.Epoch()
	for _, f := range finals {
		if f.Epoch == is.N {
			x.stable = append(slices.Clip(x.stable), f)
		}
		if f.Epoch != x.last.epoch {
			x.last.epoch, x.last.key = f.Epoch, ordering.Key{}
		}
		if f.Epoch != is.N || !slices.Contains(is.View, f.ID.Origin) {
			continue // a cut may have made it final
		}
		k := x.key(f.ID)
		if k.Compare(x.last.key) <= 0 {
			x.wrong = fmt.Sprintf("L-3: %s is final after what sorts behind it", f.ID)
		}
		x.last.key = k
	}
}

// key finds the key of an entry on disk.
func (x *site) key(id ordering.EntryID) ordering.Key {
	for _, a := range x.disk {
		for _, e := range a.Run.Run().Entries {
			if e.ID() == id {
				return e.Key()
			}
		}
	}
	panic("room: a final that is not on the disk")
}

// send notes what a replica says, and checks what it may say.
func (x *site) send(s *search, m Envelope) {
	switch m := m.Msg.(type) {
	case *ordering.Ack:
		x.clock = max(x.clock, m.Clock)
		if ok := x.sealed; ok != nil && m.Epoch == ok.Epoch {
			for i, t := range m.Have {
				if t.Seq > ok.Have[i].Seq {
					x.wrong = fmt.Sprintf("L-5: an acknowledgement of epoch %d goes beyond the seal", m.Epoch)
				}
			}
		}
	case *ordering.SealOK:
		x.sealed = m
	}
	to := slices.IndexFunc(s.begin.nodes, func(y *replica) bool { return y.self.Device == m.To })
	x.out = append(x.out, sent{int8(to), s.intern(m.Msg)})
}

// site returns a replica in a place; nobody else has it.
func (s *search) site(at int32) *site {
	if x := s.live[at]; x != nil {
		delete(s.live, at)
		return x
	}
	p := &s.places[at]
	if p.from < 0 {
		return s.restored(p.who)
	}
	x := s.site(p.from)
	s.replays++
	s.do(x, p.by)
	return x
}

// step works out what an input does to a replica in a place.
func (s *search) step(at int32, in input) outcome {
	k := move{at, in}
	if o, known := s.moves[k]; known {
		return o
	}
	x := s.site(at)
	if !s.do(x, in) {
		s.moves[k] = outcome{to: -1}
		return s.moves[k]
	}
	o := outcome{out: slices.Clone(x.out), fetch: -1}
	if x.fetch != nil {
		o.fetch = int32(len(s.fetches))
		s.fetches = append(s.fetches, *x.fetch)
	}
	o.to = s.place(x, at, in)
	s.moves[k] = o
	s.keepAlive(o.to, x)
	return o
}

// keepAlive keeps a replica ready to go on from a place.
func (s *search) keepAlive(at int32, x *site) {
	if s.live[at] != nil {
		return
	}
	s.live[at] = x
	if s.lived = append(s.lived, at); len(s.lived) > mostLive {
		delete(s.live, s.lived[0])
		s.lived = s.lived[1:]
	}
}

// place numbers the state that a replica is in.
func (s *search) place(x *site, from int32, by input) int32 {
	h := x.print()
	if n, known := s.byPrint[h]; known {
		return n
	}
	n := int32(len(s.places))
	s.byPrint[h] = n
	o := x.core.order
	p := place{who: x.n, from: from, by: by, finals: x.finals, stable: x.stable, view: o.list.Epoch().View, epoch: o.list.Epoch().N, have: x.have.Clone(), wrong: x.wrong}
	until := x.base.Add(time.Duration(x.ticks+1) * span)
	for _, due := range []time.Time{x.core.fetchDue(), x.core.lamportDue()} {
		p.waits = p.waits || !due.IsZero() && !due.After(until)
	}
	s.places = append(s.places, p)
	return n
}

func (c *Core) fetchDue() time.Time {
	if !c.fetch.wants || c.fetch.busy {
		return time.Time{}
	}
	return c.fetch.due
}

// scene is one state of the room. What it does not say is the same in all.
type scene struct {
	at      [3]int32
	fetch   [3]int32 // under way; -1: none
	lanes   [3][3][lanes][]int32
	says    [3]int8
	changes int8
	crashes int8
	losses  int8
	ticks   int8
}

func (v *scene) encode() []byte {
	b := make([]byte, 0, 96)
	for i := range 3 {
		b = binary.AppendUvarint(b, uint64(v.at[i]))
		b = binary.AppendUvarint(b, uint64(v.fetch[i]+1))
		for j := range 3 {
			for l := range lanes {
				if i == j {
					continue
				}
				b = append(b, byte(len(v.lanes[i][j][l])))
				for _, m := range v.lanes[i][j][l] {
					b = binary.AppendUvarint(b, uint64(m))
				}
			}
		}
		b = append(b, byte(v.says[i]))
	}
	return append(b, byte(v.changes), byte(v.crashes), byte(v.losses), byte(v.ticks))
}

func decodeScene(b []byte) (v scene) {
	next := func() int32 {
		x, n := binary.Uvarint(b)
		b = b[n:]
		return int32(x)
	}
	for i := range 3 {
		v.at[i], v.fetch[i] = next(), next()-1
		for j := range 3 {
			for l := range lanes {
				if i == j {
					continue
				}
				n := int(b[0])
				b = b[1:]
				for range n {
					v.lanes[i][j][l] = append(v.lanes[i][j][l], next())
				}
			}
		}
		v.says[i], b = int8(b[0]), b[1:]
	}
	v.changes, v.crashes, v.losses, v.ticks = int8(b[0]), int8(b[1]), int8(b[2]), int8(b[3])
	return v
}

// todo is an input that a replica is about to take.
type todo struct {
	who int
	in  input
}

// happens has inputs happen, and all that arrives at once because of it. It
// reports whether it is possible.
func (s *search) happens(v *scene, list ...todo) bool {
	for n := 0; len(list) > 0; n++ {
		if n > 10_000 {
			s.t.Fatal("endless talk")
		}
		next := list[0]
		list = list[1:]
		o := s.step(v.at[next.who], next.in)
		if o.to < 0 {
			return false
		}
		v.at[next.who] = o.to
		if next.in.doom > 0 || next.in.verb == dies {
			s.cutOff(v, next.who)
		}
		if o.fetch >= 0 {
			v.fetch[next.who] = o.fetch
		}
		for _, m := range o.out {
			l := laneOf(s.msgs[m.msg])
			if l == talk || s.calm && l != seals || l == records && next.who != s.leader {
				list = append(list, todo{int(m.to), input{verb: hear, of: int8(next.who), arg: m.msg}})
				continue
			}
			q := &v.lanes[next.who][m.to][l]
			if l == acks && len(*q) > 0 && s.supersedes(m.msg, (*q)[len(*q)-1]) {
				*q = append(slices.Clone((*q)[:len(*q)-1]), m.msg)
				continue
			}
			*q = append(slices.Clip(*q), m.msg)
		}
	}
	return true
}

// supersedes reports whether an acknowledgement says all that an older one does.
func (s *search) supersedes(newer, older int32) bool {
	a, b := s.msgs[newer].(*ordering.Ack), s.msgs[older].(*ordering.Ack)
	return a.Epoch == b.Epoch && a.Sealed == b.Sealed && (a.Ask || !b.Ask)
}

// cutOff drops what was on its way to a replica that died. What it said may still
// arrive.
func (s *search) cutOff(v *scene, who int) {
	for i := range 3 {
		for l := range lanes {
			v.lanes[i][who][l] = nil
		}
		v.lanes[who][i][records] = nil
	}
	v.fetch[who] = -1
}

// meets connects replicas with each other: bits say, at each, with whom.
func (s *search) meets(v *scene, with [3]int8) {
	var list []todo
	for i, bits := range with {
		if bits != 0 {
			list = append(list, todo{i, input{verb: connect, of: bits}})
		}
	}
	for i, bits := range with {
		if bits != 0 {
			list = append(list, todo{i, input{verb: observe, of: bits}})
		}
	}
	if !s.happens(v, list...) {
		s.t.Fatal("replicas cannot connect")
	}
}

// peersOf are all but one, as bits.
func peersOf(who int) int8 { return 7 &^ (1 << who) }

// elect has the leader lead again.
func (s *search) elect(v *scene) {
	for i := range 3 {
		if i != s.leader {
			s.happens(v, todo{i, input{verb: forget}})
		}
	}
	was := s.calm
	s.calm = true
	s.happens(v, todo{s.leader, input{verb: elected}})
	s.calm = was
}

// first is the scene in which a search begins: all are connected, one leads, and
// nothing is on its way.
func (s *search) first() *scene {
	v := &scene{fetch: [3]int32{-1, -1, -1}, says: s.says, changes: s.stage.changes, crashes: s.stage.crashes, losses: s.stage.losses, ticks: s.stage.ticks}
	for i := range 3 {
		v.at[i] = s.place(s.restored(i), -1, input{})
	}
	s.calm = true
	s.meets(v, [3]int8{peersOf(0), peersOf(1), peersOf(2)})
	s.elect(v)
	s.happens(v, todo{0, input{verb: pause}}, todo{1, input{verb: pause}}, todo{2, input{verb: pause}})
	s.calm = false
	s.already = len(s.places[v.at[0]].finals)
	return v
}

// act is one step of a schedule.
type act struct {
	verb verb
	who  int8
	from int8
	lane lane
	doom int8
	lose bool
}

// name is what a replica is called in a report.
func name(i int8) string { return string("abc"[i]) }

func (a act) String() string {
	s := name(a.who)
	switch {
	case a.lose:
		return fmt.Sprintf("lost: %s to %s, of the %s", name(a.from), s, laneNames[a.lane])
	case a.verb == hear:
		s += fmt.Sprintf(" hears %s of the %s", name(a.from), laneNames[a.lane])
	case a.verb == fetched:
		s += " fetches"
	default:
		s += " " + verbNames[a.verb]
	}
	if a.doom > 0 {
		s += fmt.Sprintf(" and dies at %d", a.doom)
	}
	return s
}

var (
	laneNames = [...]string{"runs", "acks", "seals", "records"}
	verbNames = [...]string{say: "writes", passes: "waits", change: "changes the view", dies: "dies"}
)

// acts returns the steps that may come next.
func (s *search) acts(v *scene) (list []act) {
	for i := range int8(3) {
		add := func(a act) {
			a.who = i
			list = append(list, a)
			if v.crashes > 0 && a.verb != dies {
				for doom := range int8(6) {
					a.doom = doom + 1
					list = append(list, a)
				}
			}
		}
		for j := range int8(3) {
			for l := range lanes {
				if len(v.lanes[j][i][l]) == 0 {
					continue
				}
				add(act{verb: hear, from: j, lane: l})
				if v.losses > 0 && l != records {
					list = append(list, act{verb: hear, who: i, from: j, lane: l, lose: true})
				}
			}
		}
		if v.fetch[i] >= 0 {
			add(act{verb: fetched})
		}
		if v.says[i] > 0 {
			add(act{verb: say})
		}
		if v.changes > 0 && int(i) == s.leader {
			add(act{verb: change})
		}
		if v.ticks > 0 && s.places[v.at[i]].waits {
			add(act{verb: passes})
		}
		if v.crashes > 0 {
			add(act{verb: dies})
		}
	}
	return list
}

// take does one step, and reports whether it is possible.
func (s *search) take(v *scene, a act) bool {
	who := int(a.who)
	in := input{verb: a.verb, doom: a.doom}
	switch a.verb {
	case hear:
		q := &v.lanes[a.from][a.who][a.lane]
		msgs := (*q)[:1]
		if a.lane == records {
			msgs = *q
		}
		*q = (*q)[len(msgs):]
		if a.lose {
			v.losses--
			return true
		}
		if a.doom > 0 && len(msgs) > 1 {
			return false
		}
		in.of = a.from
		for _, m := range msgs {
			in.arg = m
			if !s.happens(v, todo{who, in}) {
				return false
			}
		}
	case fetched:
		f := s.fetches[v.fetch[who]]
		v.fetch[who] = -1
		in.of = int8(slices.IndexFunc(s.begin.nodes, func(y *replica) bool { return y.self.Device == f.From }))
		from := s.site(v.at[in.of])
		in.arg = s.bring(f, from)
		s.keepAlive(v.at[in.of], from)
		if !s.happens(v, todo{who, in}) {
			return false
		}
	case say:
		v.says[who]--
	case passes:
		v.ticks--
	case change:
		v.changes--
	case connect, observe, elected, forget, dies, pause:
	}
	if a.verb != hear && a.verb != fetched && !s.happens(v, todo{who, in}) {
		return false
	}
	if a.doom > 0 || a.verb == dies {
		v.crashes--
		with := [3]int8{1 << who, 1 << who, 1 << who}
		with[who] = peersOf(who)
		s.meets(v, with)
		if who == s.leader {
			s.elect(v)
		}
	}
	return true
}

// bring works out what a fetch brings: what the other has on disk now.
func (s *search) bring(f Fetch, from *site) int32 {
	var got []int32
	for _, a := range from.disk {
		run := a.Run.Run()
		if j := slices.IndexFunc(f.Wants, func(w ordering.Want) bool { return w.Origin == run.Origin() }); j >= 0 && run.Last().Seq > f.Wants[j].After {
			got = append(got, s.intern(&ordering.Push{Run: run}))
		}
	}
	for n, b := range s.brought {
		if slices.Equal(b, got) {
			return int32(n)
		}
	}
	s.brought = append(s.brought, got)
	return int32(len(s.brought) - 1)
}

// check says what must not be, "" for nothing.
func (s *search) check(v *scene) string {
	for i := range v.at {
		p := &s.places[v.at[i]]
		if p.wrong != "" {
			return p.wrong
		}
		for j := range v.at {
			q := &s.places[v.at[j]]
			if i == j {
				continue
			}
			for n := range min(len(p.finals), len(q.finals)) {
				if p.finals[n].ID != q.finals[n].ID || p.finals[n].OrderHash != q.finals[n].OrderHash {
					return fmt.Sprintf("U1: %s and %s differ at final %d", name(int8(i)), name(int8(j)), n)
				}
			}
			for _, f := range p.stable {
				if f.Epoch < q.epoch && !slices.ContainsFunc(q.finals, func(g linear.Final) bool { return g.ID == f.ID && g.Epoch == f.Epoch }) {
					return fmt.Sprintf("L-4: %s has %s final in epoch %d, which %s closed without it", name(int8(i)), f.ID, f.Epoch, name(int8(j)))
				}
				if f.Epoch == p.epoch && slices.Contains(p.view, f.ID.Origin) && slices.Contains(p.view, s.begin.nodes[j].self) && q.have[f.ID.Origin] < f.ID.Seq {
					return fmt.Sprintf("L-6: %s has %s final, which is not on the disk of %s", name(int8(i)), f.ID, name(int8(j)))
				}
			}
		}
	}
	return ""
}

// finish plays a scene on, now in time that goes on and on a network that works,
// and says what is not final everywhere in the end.
func (s *search) finish(v *scene) string {
	var sites [3]*site
	for i, at := range v.at {
		sites[i] = s.site(at)
	}
	var list []todo
	act := func(who int, in input) {
		list = append(list, todo{who, in})
		for len(list) > 0 {
			n := list[0]
			list = list[1:]
			x := sites[n.who]
			s.do(x, n.in)
			for _, m := range x.out {
				list = append(list, todo{int(m.to), input{verb: hear, of: int8(n.who), arg: m.msg}})
			}
			if x.fetch != nil {
				s.fetches = append(s.fetches, *x.fetch)
				v.fetch[n.who] = int32(len(s.fetches) - 1)
			}
		}
	}
	for i := range v.lanes {
		for j := range v.lanes[i] {
			for _, lane := range v.lanes[i][j] {
				for _, m := range lane {
					act(j, input{verb: hear, of: int8(i), arg: m})
				}
			}
		}
	}
	lacking := ""
	for range mostFinish / span {
		for i, x := range sites {
			if v.fetch[i] >= 0 {
				f := s.fetches[v.fetch[i]]
				v.fetch[i] = -1
				from := slices.IndexFunc(sites[:], func(y *site) bool { return y.self.Device == f.From })
				act(i, input{verb: fetched, of: int8(from), arg: s.bring(f, sites[from])})
			}
			act(i, input{verb: passes})
			if x.wrong != "" {
				return x.wrong
			}
		}
		lacking = ""
		for i, x := range sites {
			for _, y := range sites {
				for _, o := range y.have.Origins() {
					if x.core.order.list.Emitted()[o] < y.have[o] {
						lacking = fmt.Sprintf("U8: %s has not what %s wrote final", name(int8(i)), o.Tag())
					}
				}
			}
			if a, b := x.core.Order(), sites[0].core.Order(); a.OrderHash != b.OrderHash && lacking == "" {
				return fmt.Sprintf("U1: %s ends with another list than a", name(int8(i)))
			}
		}
		if lacking == "" {
			return ""
		}
	}
	return lacking
}

// found is what a search came to.
type found struct {
	states  int
	depth   int // steps of the longest schedule
	whole   bool
	ends    int // scenes in which nothing is left to happen, played on until they rest
	longest int // finals beyond those of the beginning
	wrong   string
	path    []act
}

// trail is how a scene was reached.
type trail struct {
	before int32
	act    act
}

// breadth tries all schedules, the shorter before the longer, until something is
// wrong, all were tried, or there were as many states as the stage allows.
func (s *search) breadth() (f found) {
	type item struct {
		code  []byte
		trail int32
	}
	begin := s.first()
	seen := make(map[[16]byte]struct{})
	var trails []trail
	frontier, next := []item{{begin.encode(), -1}}, []item(nil)
	path := func(t int32) (list []act) {
		for ; t >= 0; t = trails[t].before {
			list = append(list, trails[t].act)
		}
		slices.Reverse(list)
		return list
	}
	defer func() { f.states = len(seen) }()
	for ; len(frontier) > 0; frontier, next, f.depth = next, nil, f.depth+1 {
		for n, it := range frontier {
			if len(seen) > s.stage.states {
				return f
			}
			frontier[n].code = nil
			v := decodeScene(it.code)
			possible := 0
			for _, a := range s.acts(&v) {
				u := v
				if !s.take(&u, a) {
					continue
				}
				possible++
				code := u.encode()
				h := sha256.Sum256(code)
				k := [16]byte(h[:16])
				if _, known := seen[k]; known {
					continue
				}
				seen[k] = struct{}{}
				trails = append(trails, trail{it.trail, a})
				at := int32(len(trails) - 1)
				if f.wrong = s.check(&u); f.wrong != "" {
					f.path = path(at)
					return f
				}
				for _, p := range u.at {
					f.longest = max(f.longest, len(s.places[p].finals)-s.already)
				}
				next = append(next, item{code, at})
			}
			if possible == 0 && f.ends < mostEnds {
				f.ends++
				if f.wrong = s.finish(&v); f.wrong != "" {
					f.path = path(it.trail)
					return f
				}
			}
		}
	}
	f.whole = true
	return f
}

// wander tries schedules by chance, each to its end, until something is wrong.
func (s *search) wander(seed int64, schedules int) (f found) {
	first := s.first()
	r := rand.New(rand.NewSource(seed))
	for f.ends < schedules {
		v := *first
		f.path = nil
		for {
			acts := s.acts(&v)
			r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
			taken := slices.IndexFunc(acts, func(a act) bool {
				u := v
				possible := (a.doom == 0 && a.verb != dies && !a.lose || r.Intn(8) == 0) && s.take(&u, a)
				if possible {
					v = u
				}
				return possible
			})
			if taken < 0 {
				break
			}
			f.states++
			f.path = append(f.path, acts[taken])
			if f.wrong = s.check(&v); f.wrong != "" {
				return f
			}
		}
		f.depth, f.ends = max(f.depth, len(f.path)), f.ends+1
		for _, p := range v.at {
			f.longest = max(f.longest, len(s.places[p].finals)-s.already)
		}
		if f.wrong = s.finish(&v); f.wrong != "" {
			return f
		}
	}
	return f
}

// String tells what was found.
func (f found) String() string {
	if f.wrong == "" {
		return fmt.Sprintf("%d states, %d ends, schedules of up to %d steps, all: %v, %d finals", f.states, f.ends, f.depth, f.whole, f.longest)
	}
	var steps []string
	for _, a := range f.path {
		steps = append(steps, a.String())
	}
	return fmt.Sprintf("%s, after %d states: %s", f.wrong, f.states, strings.Join(steps, ", "))
}
