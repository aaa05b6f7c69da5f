package room

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/dag"
	"tertulia/ordering/linear"
)

var (
	seed   = flag.Int64("seed", 0, "replay the one world of this seed")
	worlds = flag.Int("worlds", 300, "how many worlds to try")
)

// network is a set of replicas in virtual time. Whatever happens in it follows
// from its seed.
type network struct {
	t      testing.TB
	r      *rand.Rand
	now    time.Time
	start  time.Time
	nodes  []*replica
	events []event // unordered; few
	order  int
	cut    map[[2]int]bool // one-way: what is sent is lost
	loss   float64
	double float64
	delay  time.Duration // at most, of a message
	crash  float64       // chance that a Ready meets a crash, before or after it is persisted
	said   map[ordering.EntryID]ordering.Hash
	pushes map[[2]any]int // by receiver and last entry
	lose   func(from, to int, m ordering.Message) bool
}

type event struct {
	at    time.Time
	order int
	do    func()
}

// replica is a Core, its owner and its disk.
type replica struct {
	*network
	n         int
	key       ed25519.PrivateKey
	self      ordering.Origin
	core      *Core
	life      int // grows by each restart
	disk      []dag.Accepted
	have      ordering.Vector        // of the disk
	states    map[ordering.Hash]bool // the hashes of all that have was
	peers     map[int]bool
	fetches   []time.Time
	published []ordering.Run
	finals    []linear.Final
	saved     Saved // of the disk, but for the finals
	liar      bool  // serves nothing
	driving   bool
}

// newNetwork makes n replicas of a room, all of them members; only the first
// knows of it yet.
func newNetwork(t testing.TB, seed int64, n int) *network {
	return newNetworkOf(t, seed, n, ordering.Lamport)
}

func newNetworkOf(t testing.TB, seed int64, n int, mode ordering.Mode) *network {
	w := &network{
		t: t, r: rand.New(rand.NewSource(seed)), now: time.Unix(1_000_000, 0), cut: make(map[[2]int]bool), delay: 5 * time.Millisecond,
		said: make(map[ordering.EntryID]ordering.Hash), pushes: make(map[[2]any]int),
	}
	w.start = w.now
	var founder ed25519.PrivateKey
	for i := range n {
		x := &replica{network: w, n: i, have: make(ordering.Vector), peers: make(map[int]bool)}
		x.states = map[ordering.Hash]bool{x.have.Hash(): true}
		x.key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i), byte(seed)}, ed25519.SeedSize/2))
		copy(x.self.Device[:], x.key.Public().(ed25519.PublicKey))
		w.nodes = append(w.nodes, x)
		if i == 0 {
			founder = x.key
		}
	}
	genesis := Found(w.nodes[0].self, founder, ordering.Genesis{Name: "room", Mode: mode, NodeName: "n1", Invite: ordering.InviteKey{1}}, w.now)
	id := ordering.RoomID(genesis.Run().Last().Hash())
	for _, x := range w.nodes {
		x.core = New(Config{Room: id, Self: x.self, Key: x.key}, Saved{})
	}
	first := w.nodes[0]
	if err := first.core.Receive(w.now, first.self.Device, genesis); err != nil {
		t.Fatal(err)
	}
	for _, x := range w.nodes[1:] {
		first.say(Draft{Kind: ordering.KindAdmit, Body: ordering.Admit{Device: x.self.Device, Invite: ordering.InviteKey{1}, Name: fmt.Sprintf("n%d", x.n+1)}.Encode()})
	}
	first.drive()
	return w
}

// shared makes the whole disk of the first replica known to all, as if by hand.
func (w *network) shared() {
	for _, x := range w.nodes[1:] {
		for _, a := range w.nodes[0].disk {
			if err := x.core.Pulled(w.now, w.nodes[0].self.Device, a.Run); err != nil {
				w.t.Fatal(err)
			}
		}
		x.drive()
	}
}

func (x *replica) say(drafts ...Draft) []ordering.Ref {
	refs, err := x.core.Say(x.now, x.now, drafts...)
	if err != nil {
		x.t.Fatal(err)
	}
	return refs
}

var line = Draft{Kind: ordering.KindJoined, Body: []byte("sealed")}

func (w *network) after(d time.Duration, do func()) {
	w.order++
	w.events = append(w.events, event{w.now.Add(d), w.order, do})
}

// take takes a Ready as if it were persisted and sent.
func (x *replica) take() Ready {
	r := x.core.Ready()
	x.core.Advance(x.now)
	return r
}

// keep makes durable what is not entries.
func (x *replica) keep(r Ready) {
	x.finals = append(x.finals, r.Final...)
	x.saved.Control.Apply(r.Control)
	if r.Mark != nil {
		x.saved.Mark = r.Mark
	}
	if r.Seal != nil {
		x.saved.Seal = r.Seal
	}
	for _, s := range r.Seen {
		x.saved.Seen = slices.DeleteFunc(x.saved.Seen, func(old ordering.Seen) bool { return old.Origin == s.Origin })
		x.saved.Seen = append(x.saved.Seen, s)
	}
	if r.Install != nil {
		x.t.Fatal("a snapshot in a short world")
	}
}

// kept is what the disk gives back.
func (x *replica) kept() Saved {
	s := x.saved
	s.Control = s.Control.Clone()
	emitted := make(map[ordering.Origin]linear.Emitted)
	for _, f := range x.finals {
		emitted[f.ID.Origin] = linear.Emitted{Origin: f.ID.Origin, Seq: f.ID.Seq, Hash: f.Hash}
		if f.Fate == linear.Shown {
			s.Recent = append(s.Recent, linear.Recent{Index: f.Index, ID: f.ID, Stamp: f.Stamp, OrderHash: f.OrderHash})
			if f.Index%ordering.CheckpointEvery == 0 {
				s.Kept = append(s.Kept, linear.Kept{Index: f.Index, Hash: f.OrderHash})
			}
		}
	}
	for _, e := range emitted {
		s.Emitted = append(s.Emitted, e)
	}
	slices.SortFunc(s.Emitted, func(a, b linear.Emitted) int { return a.Origin.Compare(b.Origin) })
	return s
}

// drive does what the owner of a Core does.
func (x *replica) drive() {
	if x.driving {
		return
	}
	x.driving = true
	defer func() { x.driving = false }()
	for {
		ready := x.core.Ready()
		if ready.Empty() {
			x.core.Advance(x.now)
			return
		}
		if x.r.Float64() < x.crash/2 {
			x.restart()
			return
		}
		x.persist(ready)
		if x.r.Float64() < x.crash/2 {
			x.restart()
			return
		}
		for _, m := range ready.Send {
			x.durable(m.Msg)
			x.send(m)
		}
		for _, run := range ready.Publish {
			x.durable(&ordering.Push{Run: run})
			x.published = append(x.published, run)
		}
		if ready.Fetch != nil {
			x.serve(*ready.Fetch)
		}
		x.core.Advance(x.now)
	}
}

// persist makes a Ready durable.
func (x *replica) persist(ready Ready) {
	x.keep(ready)
	for _, a := range ready.Persist {
		x.disk = append(x.disk, a)
		for _, e := range a.Entries() {
			if h, ok := x.said[e.ID()]; ok && h != e.Hash() {
				x.t.Fatalf("%s is on two disks with two hashes: a seq was used again", e.ID())
			}
			x.said[e.ID()] = e.Hash()
			if e.Seq != x.have[e.Origin]+1 {
				x.t.Fatalf("%s is persisted after seq %d", e.ID(), x.have[e.Origin])
			}
			x.have[e.Origin] = e.Seq
		}
		x.states[x.have.Hash()] = true
	}
}

// durable checks that a message says nothing that a crash could undo.
func (x *replica) durable(m ordering.Message) {
	switch m := m.(type) {
	case *ordering.Push:
		if last := m.Run.Last(); x.have[last.Origin] < last.Seq || x.said[last.ID()] != last.Hash() {
			x.t.Fatalf("node %d pushed %s before it was persisted", x.n, last.ID())
		}
	case *ordering.Have:
		if !x.have.Covers(m.Vector) {
			x.t.Fatalf("node %d claims to hold what it has not persisted", x.n)
		}
	case *ordering.Digest:
		if !x.states[m.Hash] {
			x.t.Fatalf("node %d sent a digest of what it has not persisted", x.n)
		}
	}
}

func (x *replica) send(m Envelope) {
	to := x.find(m.To)
	if p, ok := m.Msg.(*ordering.Push); ok {
		x.pushes[[2]any{to.n, p.Run.Last().ID()}]++
	}
	if !x.peers[to.n] || x.cut[[2]int{x.n, to.n}] || x.r.Float64() < x.loss || x.lose != nil && x.lose(x.n, to.n, m.Msg) {
		return
	}
	copies := 1
	if x.r.Float64() < x.double {
		copies++
	}
	for range copies {
		life := to.life
		x.after(time.Duration(x.r.Int63n(int64(x.delay)))+time.Millisecond, func() {
			if to.life != life || !to.peers[x.n] {
				return
			}
			if p, ok := m.Msg.(*ordering.Push); ok {
				to.receive(x, p.Run)
			} else {
				to.core.Hear(x.now, x.self.Device, m.Msg)
			}
			to.drive()
		})
	}
}

// receive takes a run as it comes from the wire.
func (x *replica) receive(from *replica, r ordering.Run) {
	run, err := ordering.DecodeRun(r.Bytes())
	if err != nil {
		x.t.Fatal(err)
	}
	v, err := ordering.VerifyRun(run)
	if err != nil {
		x.t.Fatal(err)
	}
	x.expect(x.core.Receive(x.now, from.self.Device, v))
}

// expect allows what honest replicas may answer one another.
func (x *replica) expect(err error) {
	var refusal *ordering.Refusal
	if err != nil && (!errors.As(err, &refusal) || refusal.Reason != ordering.Duplicate) {
		x.t.Fatalf("node %d: %v", x.n, err)
	}
}

const fetchTimeout = time.Second

// serve answers a fetch from the other's disk, a page at a time.
func (x *replica) serve(f Fetch) {
	x.fetches = append(x.fetches, x.now)
	from, life := x.find(f.From), x.life
	reach := func() bool {
		return x.life == life && x.peers[from.n] && !x.cut[[2]int{x.n, from.n}] && !x.cut[[2]int{from.n, x.n}] && x.r.Float64() >= x.loss
	}
	x.after(time.Duration(x.r.Int63n(int64(2*x.delay)))+time.Millisecond, func() {
		if !reach() {
			x.after(fetchTimeout, func() {
				if x.life == life {
					x.core.Fetched(x.now, f.From, errors.New("timed out"))
					x.drive()
				}
			})
			return
		}
		left := 1 + x.r.Intn(40)
		for _, a := range from.disk {
			run := a.Run.Run()
			i := slices.IndexFunc(f.Wants, func(w ordering.Want) bool { return w.Origin == run.Origin() })
			if from.liar || left == 0 || i < 0 || run.Last().Seq <= f.Wants[i].After {
				continue
			}
			left--
			x.expect(x.core.Pulled(x.now, f.From, a.Run))
			x.drive()
			if x.life != life {
				return
			}
		}
		x.core.Fetched(x.now, f.From, nil)
		x.drive()
	})
}

func (w *network) find(d ordering.DeviceKey) *replica {
	return w.nodes[slices.IndexFunc(w.nodes, func(x *replica) bool { return x.self.Device == d })]
}

// restart loses all but the disk.
func (x *replica) restart() {
	x.life++
	for p := range x.nodes {
		x.disconnect(x.nodes[p])
	}
	x.core = New(x.core.cfg, x.kept())
	x.resume(x.core)
	if x.core.Graph().Have().Hash() != x.have.Hash() {
		x.t.Fatalf("node %d came back with another set", x.n)
	}
}

// resume has a core go on from the entries on the disk.
func (x *replica) resume(c *Core) {
	for _, a := range x.disk {
		for _, e := range a.Entries() {
			run := 0
			if e == a.Run.Run().Last() {
				run = len(a.Run.Run().Entries)
			}
			c.Restore(e, run, a.Branch != ordering.Hash{})
		}
	}
	if err := c.Resume(x.now); err != nil {
		x.t.Fatal(err)
	}
}

func (x *replica) connect(y *replica) {
	if x == y || x.peers[y.n] {
		return
	}
	x.peers[y.n], y.peers[x.n] = true, true
	x.core.Connect(x.now, y.self.Device)
	y.core.Connect(x.now, x.self.Device)
	x.met()
	y.met()
	x.drive()
	y.drive()
}

func (x *replica) disconnect(y *replica) {
	if !x.peers[y.n] {
		return
	}
	delete(x.peers, y.n)
	delete(y.peers, x.n)
	x.core.Disconnect(x.now, y.self.Device)
	y.core.Disconnect(x.now, x.self.Device)
	x.met()
	y.met()
}

// met tells the peers whom x is connected with, themselves included.
func (x *replica) met() {
	x.after(time.Millisecond, func() {
		var all []ordering.DeviceKey
		for p := range x.nodes {
			if x.peers[p] {
				all = append(all, x.nodes[p].self.Device)
			}
		}
		for p := range x.nodes {
			if x.peers[p] {
				x.nodes[p].core.Observe(x.now, x.self.Device, Vital{DiskOK: true, Hears: all})
			}
		}
	})
}

// run lets virtual time pass until done, which may be nil, or for d at most. It
// returns how long it took.
func (w *network) run(d time.Duration, done func() bool) time.Duration {
	begin, end := w.now, w.now.Add(d)
	for steps := 0; done == nil || !done(); steps++ {
		if steps > 2_000_000 {
			w.t.Fatalf("endless work at %s", w.now.Sub(w.start))
		}
		next, at := end, -1
		for i, e := range w.events {
			if e.at.Before(next) || e.at.Equal(next) && at >= 0 && e.order < w.events[at].order {
				next, at = e.at, i
			}
		}
		var ticks *replica
		for _, x := range w.nodes {
			if t := x.core.Deadline(); !t.IsZero() && t.Before(next) {
				next, ticks = t, x
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		switch {
		case ticks != nil:
			ticks.core.Tick(w.now)
			life := ticks.life
			ticks.drive()
			if life != ticks.life {
				continue // it has just come back
			}
			if t := ticks.core.Deadline(); !t.IsZero() && !t.After(w.now) {
				w.t.Fatalf("node %d wants to tick without end: standings %v, order %v", ticks.n, ticks.core.standAt, ticks.core.orderDue())
			}
		case at >= 0:
			do := w.events[at].do
			w.events = slices.Delete(w.events, at, at+1)
			do()
		default:
			return w.now.Sub(begin)
		}
	}
	return w.now.Sub(begin)
}

// mesh connects all with all.
func (w *network) mesh() {
	for _, x := range w.nodes {
		for _, y := range w.nodes {
			x.connect(y)
		}
	}
}

func (w *network) equal() bool {
	for _, x := range w.nodes {
		if x.have.Count() != uint64(len(w.said)) {
			return false
		}
	}
	return true
}

func eachWorld(t *testing.T, f func(t *testing.T, seed int64)) {
	from, to := int64(1), int64(*worlds)+1
	if testing.Short() {
		to = 40
	}
	if *seed != 0 {
		from, to = *seed, *seed+1
	}
	for s := from; s < to; s++ {
		t.Run(fmt.Sprint("seed ", s), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay: go test -tags ci ./ordering/room -run 'TestReplicasAgreeAfterAllTrouble$' -seed=%d", s)
				}
			}()
			f(t, s)
		})
	}
}

// TestReplicasAgreeAfterAllTrouble lets replicas write while messages are lost,
// doubled and reordered, links are cut one way, and nodes crash before and after
// they persist. Once the network is whole, all hold the same, within
// healingTime, and then fall silent but for digests.
func TestReplicasAgreeAfterAllTrouble(t *testing.T) {
	const healingTime = 20 * time.Second // a digest, and what a fetch that failed rests, several times
	var longest time.Duration
	entries, restarts, fetches := 0, 0, 0
	eachWorld(t, func(t *testing.T, s int64) {
		w := newNetwork(t, s, 2+int(s)%5)
		r := w.r
		w.loss, w.double, w.delay = r.Float64()/4, r.Float64()/4, time.Duration(1+r.Intn(200))*time.Millisecond
		w.crash = r.Float64() / 100
		pick := func() *replica { return w.nodes[r.Intn(len(w.nodes))] }
		for range 100 + r.Intn(200) {
			x, y := pick(), pick()
			switch n := r.Intn(100); {
			case n < 60:
				drafts := slices.Repeat([]Draft{line}, 1+r.Intn(3))
				if _, err := x.core.Say(w.now, w.now, drafts...); err != nil && !errors.Is(err, ErrNotMember) {
					t.Fatal(err)
				}
				x.drive()
			case n < 80:
				x.connect(y)
			case n < 85:
				x.disconnect(y)
			case n < 90:
				w.cut[[2]int{x.n, y.n}] = true
			case n < 97:
				delete(w.cut, [2]int{x.n, y.n})
			default:
				x.restart()
			}
			w.run(time.Duration(r.Intn(500))*time.Millisecond, nil)
			for _, x := range w.nodes { // no second with more fetches than round trips
				if n := len(x.fetches); n > 1000 && x.fetches[n-1].Sub(x.fetches[n-1000]) < 10*time.Second {
					t.Fatalf("node %d fetched 1000 times in %s", x.n, x.fetches[n-1].Sub(x.fetches[n-1000]))
				}
			}
		}
		w.loss, w.double, w.crash, w.delay = 0, 0, 0, 10*time.Millisecond
		clear(w.cut)
		switch r.Intn(3) {
		case 0:
			w.mesh()
		case 1: // a chain; what was connected besides stays
			for i := range w.nodes[1:] {
				w.nodes[i].connect(w.nodes[i+1])
			}
		case 2: // a star, and nothing else
			for _, x := range w.nodes {
				for _, y := range w.nodes {
					x.disconnect(y)
				}
				x.connect(w.nodes[0])
			}
			for _, x := range w.nodes[1:] {
				x.connect(w.nodes[0])
			}
		}
		took := w.run(healingTime, w.equal)
		if !w.equal() {
			for _, x := range w.nodes {
				t.Logf("node %d: %d entries of %d, %d parked", x.n, x.have.Count(), len(w.said), x.core.Graph().Parked())
			}
			t.Fatalf("not equal after %s", took)
		}
		longest = max(longest, took)
		for _, x := range w.nodes {
			if x.core.Graph().Have().Hash() != w.nodes[0].core.Graph().Have().Hash() || x.core.Graph().Clock() != w.nodes[0].core.Graph().Clock() {
				t.Fatal("equal disks, other graphs")
			}
			restarts += x.life
			fetches += len(x.fetches)
		}
		entries += len(w.said)
		w.run(5*time.Second, nil) // what is under way comes to rest
		before := make([]int, len(w.nodes))
		for i, x := range w.nodes {
			before[i] = len(x.fetches)
		}
		w.run(25*time.Second, nil)
		for i, x := range w.nodes {
			if len(x.fetches) > before[i] {
				t.Errorf("node %d fetches though nothing is missing", i)
			}
		}
	})
	t.Logf("%d entries, %d restarts, %d fetches; healed within %s", entries, restarts, fetches, longest)
}
