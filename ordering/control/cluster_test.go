package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

var testRoom = ordering.RoomID{7, 7, 7}

func member(n byte) ordering.Origin {
	return ordering.Origin{Device: ordering.DeviceKey{n, 1}, Instance: ordering.Instance{n, 2}}
}

func members(list ...byte) (o []ordering.Origin) {
	for _, n := range list {
		o = append(o, member(n))
	}
	return o
}

func command(n uint64) *ordering.Checkpoint {
	c := &ordering.Checkpoint{Index: n * ordering.CheckpointEvery}
	binary.BigEndian.PutUint64(c.Hash[:], n)
	return c
}

// replica is a Log with its disk and a linearizer that does no more than hash
// what it applies: after each index the hash must be the same everywhere.
type replica struct {
	self  ordering.Origin
	disk  Saved
	log   *Log
	lin   uint64
	state []byte
	seen  []uint64 // numbers of the commands applied since the start
}

type packet struct {
	from ordering.DeviceKey
	to   ordering.Origin
	data []byte
}

// cluster is a few replicas and a network that loses, doubles and reorders as
// its chance says.
type cluster struct {
	t        testing.TB
	dice     *rand.Rand
	replicas []*replica
	queue    []packet
	canon    map[uint64][]byte // the linearizer's hash by index
	loss     float64
	doubled  float64
	reorder  bool
	cut      map[ordering.Origin]bool
	mutant   mutant.Mutant
	crash    func(r *replica, stored bool) bool // ends the replica within a Ready
	refused  map[ordering.Reason]int
	steps    int
}

func newCluster(t testing.TB, seed uint64) *cluster {
	return &cluster{
		t: t, dice: rand.New(rand.NewPCG(seed, 1)), canon: map[uint64][]byte{},
		cut: map[ordering.Origin]bool{}, refused: map[ordering.Reason]int{},
	}
}

// add starts a replica on a disk.
func (c *cluster) add(o ordering.Origin, disk Saved) *replica {
	r := &replica{self: o, disk: disk, lin: disk.LinApplied, state: disk.Snapshot.State}
	c.replicas = append(c.replicas, r)
	c.open(r)
	return r
}

// voters starts replicas that all vote, as if a room had been founded so.
func (c *cluster) voters(n byte) []*replica {
	var list []ordering.Origin
	for i := range n {
		list = append(list, member(i+1))
	}
	saved := Found(testRoom, member(1), []byte("founded"))
	saved.Conf = encodeConf(Conf{Voters: list})
	saved.Snapshot.Conf = saved.Conf
	for _, o := range list {
		c.add(o, saved.Clone())
	}
	return c.replicas
}

func (c *cluster) config(r *replica) Config {
	return Config{Room: testRoom, Self: r.self, Mutant: c.mutant, State: func() (uint64, []byte) { return r.lin, r.state }}
}

func (c *cluster) open(r *replica) {
	c.t.Helper()
	l, err := Open(c.config(r), r.disk)
	if err != nil {
		c.t.Fatalf("open %s: %v", r.self.Tag(), err)
	}
	r.log = l
	c.linearize(r, l.Backlog())
}

// restart forgets everything that is not on the disk; the linearizer is set back
// to its mark.
func (c *cluster) restart(r *replica) {
	c.t.Helper()
	r.lin = r.disk.LinApplied
	r.state = c.canon[r.lin]
	if r.state == nil {
		r.state = r.disk.Snapshot.State
	}
	c.open(r)
}

func (c *cluster) linearize(r *replica, list []Committed) {
	c.t.Helper()
	for _, m := range list {
		if m.Index <= r.lin {
			continue
		}
		if m.Index != r.lin+1 {
			c.t.Fatalf("%s applies %d after %d", r.self.Tag(), m.Index, r.lin)
		}
		h := sha256.New()
		h.Write(r.state)
		binary.Write(h, binary.BigEndian, []uint64{m.Index, m.Term})
		if m.Command != nil {
			h.Write(ordering.EncodeCommand(m.Command))
			if k, ok := m.Command.(*ordering.Checkpoint); ok {
				r.seen = append(r.seen, k.Index/ordering.CheckpointEvery)
			}
		}
		r.lin, r.state = m.Index, h.Sum(nil)
		if was := c.canon[r.lin]; was != nil && !bytes.Equal(was, r.state) {
			c.t.Fatalf("%s differs at %d", r.self.Tag(), r.lin)
		}
		c.canon[r.lin] = r.state
	}
	r.log.LinApplied(r.lin)
}

// drain handles one replica's Readys, crashing where the test says.
func (c *cluster) drain(r *replica) {
	c.t.Helper()
	for {
		c.foretold(r)
		rd, ok := r.log.Ready()
		if !ok {
			break
		}
		if c.crash != nil && c.crash(r, false) {
			c.restart(r)
			return
		}
		r.disk.Apply(rd.Save)
		r.disk.LinApplied = r.lin // its mark is in the same commit
		if c.crash != nil && c.crash(r, true) {
			c.restart(r)
			return
		}
		for _, e := range rd.Messages {
			c.send(r, e)
		}
		c.linearize(r, rd.Committed)
		r.disk.LinApplied = r.lin
		r.log.Advance()
	}
	if s := r.log.Held(); s != nil {
		r.disk = r.log.Installed(*s)
		r.lin, r.state = s.Index, s.State
		if was := c.canon[s.Index]; was != nil && !bytes.Equal(was, s.State) {
			c.t.Fatalf("%s installs another state at %d", r.self.Tag(), s.Index)
		}
		c.open(r)
	}
}

// foretold checks that the tail agrees with what raft then hands out.
func (c *cluster) foretold(r *replica) {
	c.t.Helper()
	l := r.log
	if l.tail.more || l.ended || l.taken != nil || !l.node.HasReady() {
		return
	}
	was := l.tail
	rd, ok := l.Ready()
	if !ok {
		return
	}
	if was.last() != l.store.last() {
		c.t.Fatalf("%s: foretold a log up to %d, raft has one up to %d", r.self.Tag(), was.last(), l.store.last())
	}
	for i := was.from; i <= was.last(); i++ {
		if term, _ := l.store.termOf(i); term != was.terms[i-was.from] {
			c.t.Fatalf("%s: foretold term %d at %d, raft has %d", r.self.Tag(), was.terms[i-was.from], i, term)
		}
	}
	c.ready(r, rd)
}

// ready does for a Ready what drain does, without crashes.
func (c *cluster) ready(r *replica, rd Ready) {
	c.t.Helper()
	r.disk.Apply(rd.Save)
	for _, e := range rd.Messages {
		c.send(r, e)
	}
	c.linearize(r, rd.Committed)
	r.disk.LinApplied = r.lin
	r.log.Advance()
}

func (c *cluster) send(r *replica, e Envelope) {
	n := 1
	if c.dice.Float64() < c.loss {
		n = 0
	} else if c.dice.Float64() < c.doubled {
		n = 2
	}
	for range n {
		c.queue = append(c.queue, packet{r.self.Device, e.To, e.Data})
	}
}

// run delivers until nothing is on its way.
func (c *cluster) run() {
	c.t.Helper()
	for range 200_000 {
		for _, r := range c.replicas {
			c.drain(r)
		}
		if len(c.queue) == 0 {
			return
		}
		i := 0
		if c.reorder {
			i = c.dice.IntN(len(c.queue))
		}
		p := c.queue[i]
		c.queue = slices.Delete(c.queue, i, i+1)
		c.steps++
		for _, r := range c.replicas {
			if r.self == p.to && !c.cut[r.self] && !c.cutDevice(p.from) {
				if refusal, ok := errors.AsType[*ordering.Refusal](r.log.Step(p.from, p.data)); ok {
					c.refused[refusal.Reason]++
				}
			}
		}
	}
	c.t.Fatal("the network does not come to rest")
}

func (c *cluster) cutDevice(d ordering.DeviceKey) bool {
	for o := range c.cut {
		if o.Device == d {
			return c.cut[o]
		}
	}
	return false
}

// elect makes a replica the leader: the others forget theirs, it campaigns.
func (c *cluster) elect(r *replica) {
	c.t.Helper()
	for range 50 {
		for _, x := range c.replicas {
			if !c.cut[x.self] {
				x.log.ForgetLeader()
			}
		}
		r.log.Campaign()
		c.run()
		if r.log.Status().Leading {
			return
		}
	}
	c.t.Fatalf("%s does not lead: %+v", r.self.Tag(), r.log.Status())
}

// electAny heals the cluster: there is one leader afterwards.
func (c *cluster) electAny() {
	c.t.Helper()
	c.tick(2 * electionTicks) // who cannot lead any more learns it
	best := c.replicas[0]
	for _, r := range c.replicas {
		st, top := r.log.Status(), best.log.Status()
		if st.Leading {
			return
		}
		if st.LastTerm > top.LastTerm || st.LastTerm == top.LastTerm && st.LastIndex > top.LastIndex {
			best = r
		}
	}
	c.elect(best)
}

// tick gives everybody n ticks; only a leader heeds them.
func (c *cluster) tick(n int) {
	c.t.Helper()
	for range n {
		for _, r := range c.replicas {
			if !c.cut[r.self] {
				r.log.Tick()
			}
		}
		c.run()
	}
}

// same checks that the replicas have applied the same commands.
func (c *cluster) same(want []uint64, list ...*replica) {
	c.t.Helper()
	for _, r := range list {
		if !slices.Equal(r.seen, want) {
			c.t.Errorf("%s applied %v, want %v", r.self.Tag(), r.seen, want)
		}
	}
}

// fed is what Feed says.
func fed(l *Log, peerCommit uint64) []byte {
	data, _ := l.Feed(peerCommit)
	return data
}
