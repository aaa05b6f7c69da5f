package sim

import (
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/dag"
	"tertulia/ordering/linear"
	"tertulia/ordering/mutant"
	"tertulia/ordering/room"
	"tertulia/ordering/sequencer"
)

// plays are worlds for mistakes that honest replicas around them hide: a rule
// that stops what no correct leader does is tried with an incorrect one. Each
// plays one scene with the mistake in all replicas, and returns what broke.
var plays = map[string]func(*Lab, mutant.Mutant) *Failure{
	"gap": staged(func(s *stage) {
		a1, a2, a3 := s.write(0, nil), s.write(0, nil), s.write(0, nil)
		s.batch(a1)
		s.batch(a3) // its leader lost a2
		s.batch(a2, a3)
	}),
	"deps": staged(func(s *stage) {
		a1, a2 := s.write(0, nil), s.write(0, nil)
		b1 := s.write(1, []ordering.Verified{a2})
		s.batch(a1)
		s.batch(b1)
		s.batch(a2, b1)
	}),
	"branch": staged(func(s *stage) {
		a1 := s.write(0, nil)
		fork := s.chains[0]
		a2 := s.write(0, nil)
		s.batch(a1, a2)
		s.chains[0] = fork
		s.w.forgers = map[ordering.Origin]bool{a1.Run().Origin(): true}
		s.compose(0, nil, ordering.KindJoined, []byte("the other a2"))
		s.batch(s.compose(0, nil, ordering.KindJoined, []byte("and a3 behind it")))
	}),
	"epoch": staged(func(s *stage) {
		a1, a2 := s.write(0, nil), s.write(0, nil)
		s.commit(&ordering.Batch{Epoch: 7, Leader: s.w.nodes[0].self, Runs: []ordering.Run{a1.Run()}})
		s.batch(a1, a2)
	}),
	"base": staged(func(s *stage) {
		s.epoch(1, s.w.nodes[0])
		s.epoch(1, s.w.nodes[1])
	}),
	"twice": staged(func(s *stage) {
		a1 := s.write(0, nil)
		s.batch(a1)
		s.batch(a1)
	}),
	"again": staged(func(s *stage) {
		s.batch(s.write(0, nil), s.write(0, nil))
		s.restart()
		s.again()
	}),
	"removed": staged(func(s *stage) {
		b1 := s.write(1, nil)
		s.batch(s.remove(1), b1)
	}),
	"void": staged(func(s *stage) {
		stranger := s.w.lab.origin(8, 0)
		admits := s.put(1, nil, ordering.KindAdmit, ordering.Admit{Device: stranger.Device, Invite: invite, Name: "stranger"}.Encode())
		s.batch(s.remove(1), admits)
		s.chains[8] = &chain{origin: stranger, key: s.w.lab.devices[8]}
		s.batch(s.write(8, []ordering.Verified{admits}))
	}),
	"checkpoint": staged(func(s *stage) {
		for range ordering.CheckpointEvery / 16 {
			var runs []ordering.Verified
			for range 16 {
				runs = append(runs, s.write(0, nil))
			}
			s.batch(runs...)
		}
		s.commit(&ordering.Checkpoint{Index: ordering.CheckpointEvery, Hash: ordering.Hash{1}})
		s.batch(s.write(0, nil))
	}),
	"early": func(l *Lab, m mutant.Mutant) *Failure {
		s := newSoleLog(l, m)
		s.log.Campaign()
		for s.log.Status().Role != control.Leader {
			s.step()
		}
		if s.log.Propose(&ordering.Checkpoint{Index: ordering.CheckpointEvery}) {
			s.w.failf(0, "P-2", "a leader proposes before a record of its term is committed")
		}
		return s.w.fail
	},
	"pending": func(l *Lab, m mutant.Mutant) *Failure {
		s := newSoleLog(l, m)
		s.lead()
		a, b := l.origin(0, 0), l.origin(1, 0)
		if s.log.ProposeChange(control.Change{Learn: []ordering.Origin{a}}) && s.log.ProposeChange(control.Change{Learn: []ordering.Origin{b}}) {
			s.rest()
			if c := s.log.Status().Conf; len(c.Learners) != 2 { // raft made an empty record of the second
				s.w.failf(0, "P-3", "a change of seats counts as done and is not: learners %s", s.w.whoAll(c.Learners))
			}
		}
		return s.w.fail
	},
	"unapplied": func(l *Lab, m mutant.Mutant) *Failure {
		s := newSoleLog(l, m)
		s.lead()
		s.grow()
		s.log.Compact(s.log.Status().RaftApplied)
		s.rest()
		if _, err := control.Open(s.cfg, s.saved); err != nil {
			s.w.failf(0, "U7", "what the final list waits for is gone: %v", err)
		}
		return s.w.fail
	},
	"ahead": func(l *Lab, m mutant.Mutant) *Failure {
		s := newSoleLog(l, m)
		s.lead()
		s.grow()
		s.index = s.log.Status().RaftApplied - 1 // the final list is one behind
		s.log.LinApplied(s.index)
		s.log.Compact(s.index)
		s.rest()
		if got := s.saved.Snapshot.Index; got > s.index {
			s.w.failf(0, "U7", "a snapshot names record %d, and its state is as of %d", got, s.index)
		}
		return s.w.fail
	},
	"oldconf": func(l *Lab, m mutant.Mutant) *Failure {
		s := newSoleLog(l, m)
		s.lead()
		s.grow()
		s.index = s.log.Status().RaftApplied // from here on the final list stands still
		s.log.LinApplied(s.index)
		s.log.ProposeChange(control.Change{Learn: []ordering.Origin{l.origin(1, 0)}})
		s.rest()
		s.log.Compact(s.index)
		s.rest()
		if f := decodeConf(s.saved.Snapshot.Conf); s.saved.Snapshot.Index == s.index && len(f.learners) > 0 {
			s.w.failf(0, "P-3", "a snapshot as of record %d has the seats of a later one: learners %s", s.index, s.w.whoAll(f.learners))
		}
		return s.w.fail
	},
	"acked": func(l *Lab, m mutant.Mutant) *Failure {
		s := newSoleLog(l, m)
		s.lead()
		s.grow()
		last := s.log.Status().RaftApplied // as though it were acknowledged to another leader
		saved := s.log.Installed(control.Snapshot{Index: last - 2, Term: s.log.Status().Term, Conf: s.saved.Conf})
		if n := len(saved.Log); n == 0 || saved.Log[n-1].Index != last {
			s.w.failf(0, "P-2", "records up to %d were acknowledged, and a snapshot of %d leaves %d of them", last, last-2, n)
		}
		return s.w.fail
	},
	"dropped": func(l *Lab, m mutant.Mutant) *Failure {
		s := newStage(l, m)
		now := time.Unix(0, 0)
		q := sequencer.New(sequencer.Config{Self: s.w.nodes[0].self, Mutant: m})
		q.Add(s.write(0, nil).Run(), now)
		b, ok := q.Next(now, 0)
		if !ok {
			s.w.failf(0, "P1", "a leader with nothing in flight does not propose")
			return s.w.fail
		}
		q.Dropped(b, now)
		if _, ok = q.Next(now.Add(time.Second), 0); !ok {
			s.w.failf(0, "U8", "what the log did not take is not proposed again")
		}
		return s.w.fail
	},
	"another-epoch": ackOfAnotherEpoch,
	"blind":         clockWithoutItsEntries,
	"straggler":     sealedStraggler,
	"amnesia":       forgottenSeal,
	"orphan":        nobodyAdopts,
	"unasked":       nobodyIsAsked,
	"viewless":      changeWithoutAMember,
	"tail": func(l *Lab, m mutant.Mutant) *Failure {
		w := l.quiet(m, 3)
		leader := w.leader()
		follower := w.nodes[(leader.i+1)%len(w.nodes)]
		w.cut(follower.i, leader.i) // shorter than any detector notices
		follower.say("lost", w.draft(follower, 1))
		w.run(50*time.Millisecond, nil)
		w.mend(follower.i, leader.i)
		w.run(4*time.Second, nil) // and no digest is due
		if w.fail == nil && follower.disk.emitted[follower.self].Seq == 0 {
			w.failf(follower.i, "U8", "what the leader did not get at first is not final after 4 s")
		}
		return w.fail
	},
	"wake": func(l *Lab, m mutant.Mutant) *Failure {
		w := l.quiet(m, 3)
		leader, leaders := w.leader(), w.stats.Leaders
		for _, n := range w.nodes {
			n.sleep()
		}
		w.run(time.Second, nil)
		for _, n := range w.nodes {
			if n != leader {
				n.wake(3 * time.Hour)
			}
		}
		w.run(700*time.Millisecond, nil)
		leader.wake(3 * time.Hour)
		w.run(4*time.Second, nil)
		if w.fail == nil && w.stats.Leaders != leaders {
			w.failf(leader.i, "P-6", "a leader that slept with all others is replaced")
		}
		return w.fail
	},
}

// quiet returns a world without faults and without words in which n members are
// at rest, a second after their digests.
func (l *Lab) quiet(m mutant.Mutant, n int) *World { return l.quietRoom(m, n, Led) }

// quietRoom is quiet with a room of the given order.
func (l *Lab) quietRoom(m mutant.Mutant, n int, o Ordering) *World {
	seed := uint64(1)
	none := Faults(0)
	for {
		w := l.begin(Options{Seed: seed, Ordering: o, Faults: &none, Mutant: m})
		if len(w.nodes) != n || w.plan.delay > 10*time.Millisecond {
			seed++
			continue
		}
		w.plan.stream, w.plan.warm = false, 13500*time.Millisecond
		w.plan.waits = room.Waits{Stable: time.Second, Hold: time.Second}
		w.found()
		return w
	}
}

// stage is a room whose control log is written by hand: three replicas, each with
// its final list and its disk, and no cores.
type stage struct {
	w      *World
	m      mutant.Mutant
	lists  []*linear.List
	chains map[int]*chain
	index  uint64
	last   ordering.Command
}

// chain is where an author's next entry goes.
type chain struct {
	origin ordering.Origin
	key    []byte
	seq    uint64
	prev   ordering.Hash
	ts     uint64
}

func staged(scene func(*stage)) func(*Lab, mutant.Mutant) *Failure {
	return func(l *Lab, m mutant.Mutant) *Failure {
		s := newStage(l, m)
		scene(s)
		return s.w.fail
	}
}

const stageTerm = 2

func newStage(l *Lab, m mutant.Mutant) *stage {
	w := l.quietScene(m)
	s := &stage{w: w, m: m, chains: make(map[int]*chain), index: 1}
	creator := w.creator()
	var voters []ordering.Origin
	for _, n := range w.nodes {
		voters = append(voters, n.self)
		s.chains[n.i] = &chain{origin: n.self, key: l.devices[n.i]}
		list := linear.New(linear.Config{Room: w.room, Mutant: m}, ordering.Leader, creator.self)
		s.lists = append(s.lists, list)
		n.apply(&room.Ready{Control: control.Found(w.room, creator.self, list.State()).Replace(), Mark: list.Mark()})
	}
	slices.SortFunc(voters, ordering.Origin.Compare)
	w.canon.confs = []confAt{{1, conf{voters: voters}}}
	first := w.genes.Run().Last()
	*s.chains[creator.i] = chain{origin: creator.self, key: l.devices[creator.i], seq: 1, prev: first.Hash(), ts: 1}
	s.hold(w.genes)
	runs := []ordering.Verified{w.genes}
	for _, n := range w.nodes {
		if n != creator {
			runs = append(runs, s.put(creator.i, nil, ordering.KindAdmit, ordering.Admit{Device: n.self.Device, Invite: invite, Name: n.name()}.Encode()))
		}
	}
	s.batch(runs...)
	return s
}

// quietScene returns a world of three nodes that nobody starts; the creator is
// the last of them.
func (l *Lab) quietScene(m mutant.Mutant) *World {
	none := Faults(0)
	for seed := uint64(1); ; seed++ {
		w := l.begin(Options{Seed: seed, Faults: &none, Mutant: m})
		if len(w.nodes) == 3 && w.nodes[2].creator {
			return w
		}
	}
}

// compose makes an author's next entry without giving it to anybody.
func (s *stage) compose(author int, deps []ordering.Verified, kind ordering.Kind, body []byte) ordering.Verified {
	c := *s.chains[author]
	e := ordering.Entry{Room: s.w.room, Origin: c.origin, Seq: c.seq + 1, Prev: c.prev, TS: c.ts + 1, Kind: kind, Body: body}
	for _, d := range deps {
		last := d.Run().Last()
		e.Deps = append(e.Deps, last.Ref())
		e.TS = max(e.TS, last.TS+1)
	}
	sealed := ordering.Seal(e)
	c.seq, c.prev, c.ts = sealed.Seq, sealed.Hash(), sealed.TS
	s.chains[author] = &c
	return ordering.SignRun(c.key, sealed)
}

// put makes an author's next entry and stores it on all disks.
func (s *stage) put(author int, deps []ordering.Verified, kind ordering.Kind, body []byte) ordering.Verified {
	v := s.compose(author, deps, kind, body)
	s.hold(v)
	return v
}

func (s *stage) write(author int, deps []ordering.Verified) ordering.Verified {
	return s.put(author, deps, ordering.KindJoined, []byte("word"))
}

func (s *stage) remove(i int) ordering.Verified {
	return s.put(s.w.creator().i, nil, ordering.KindRemove, ordering.Remove{Device: s.w.nodes[i].self.Device}.Encode())
}

func (s *stage) hold(v ordering.Verified) {
	for _, n := range s.w.nodes {
		n.apply(&room.Ready{Persist: []dag.Accepted{{Run: v, From: n.self.Device}}})
	}
}

// batch commits a batch of the open epoch.
func (s *stage) batch(runs ...ordering.Verified) {
	b := &ordering.Batch{Epoch: s.lists[0].Epoch().N, Leader: s.w.nodes[0].self}
	for _, v := range runs {
		b.Runs = append(b.Runs, v.Run())
	}
	s.commit(b)
}

// epoch commits the epoch after base 0, with one member in its view.
func (s *stage) epoch(n uint64, of *node) {
	s.commit(&ordering.Epoch{N: n, Base: n - 1, Mode: ordering.Leader, View: []ordering.Origin{of.self}, Reason: "play"})
}

// commit puts a command into all logs, and then into all final lists.
func (s *stage) commit(c ordering.Command) {
	s.index++
	s.last = c
	if s.index == 2 { // the record of the term's leader, without which it proposes nothing
		for _, n := range s.w.nodes {
			n.apply(&room.Ready{Control: control.Save{Append: []control.Record{{Index: 2, Term: stageTerm, Kind: control.KindNormal}}, Hard: &control.Hard{Term: stageTerm, Commit: 1}}})
		}
		for _, n := range s.w.nodes {
			n.apply(&room.Ready{Control: control.Save{Hard: &control.Hard{Term: stageTerm, Commit: 2}}})
		}
		s.index++
	}
	for _, n := range s.w.nodes {
		n.apply(&room.Ready{Control: control.Save{Append: []control.Record{{Index: s.index, Term: stageTerm, Kind: control.KindNormal, Data: ordering.EncodeCommand(c)}}}})
	}
	for i, n := range s.w.nodes {
		s.linearize(n, s.lists[i], &control.Hard{Term: stageTerm, Commit: s.index})
	}
}

func (s *stage) linearize(n *node, list *linear.List, hard *control.Hard) {
	finals := list.Apply(s.index, stageTerm, s.last).Finals
	n.apply(&room.Ready{Control: control.Save{Hard: hard}, Final: finals, Mark: list.Mark()})
}

// restart makes all final lists anew from the disks.
func (s *stage) restart() {
	for i, n := range s.w.nodes {
		d := n.disk.saved(s.w.canon)
		list, err := linear.Resume(linear.Config{Room: s.w.room, Mutant: s.m}, d.Mark, d.Emitted, d.Recent, d.Kept)
		if err != nil {
			s.w.failf(n.i, "U7", "%v", err)
			return
		}
		s.lists[i] = list
	}
}

// again gives the newest record to all final lists a second time.
func (s *stage) again() {
	for i, n := range s.w.nodes {
		s.linearize(n, s.lists[i], nil)
	}
}

// soleLog is the control log of a room in which one replica votes, with its disk.
// Its final list stands at index.
type soleLog struct {
	w     *World
	cfg   control.Config
	log   *control.Log
	saved control.Saved
	index uint64
}

func newSoleLog(l *Lab, m mutant.Mutant) *soleLog {
	w := l.quietScene(m)
	s := &soleLog{w: w, index: 1}
	self := w.creator().self
	s.cfg = control.Config{Room: w.room, Self: self, Mutant: m, State: func() (uint64, []byte) { return s.index, nil }}
	s.saved = control.Found(w.room, self, nil)
	log, err := control.Open(s.cfg, s.saved)
	if err != nil {
		panic(err) // the founding is our own
	}
	s.log = log
	return s
}

// step carries out one Ready, if there is one.
func (s *soleLog) step() bool {
	r, ok := s.log.Ready()
	if ok {
		s.saved.Apply(r.Save)
		s.saved.LinApplied = s.index
		s.log.Advance()
	}
	return ok
}

func (s *soleLog) rest() {
	for s.step() {
	}
}

// grow commits some records.
func (s *soleLog) grow() {
	for range 4 {
		s.log.Propose(&ordering.Checkpoint{Index: ordering.CheckpointEvery})
		s.rest()
	}
}

// lead makes the replica lead, with a record of its term applied.
func (s *soleLog) lead() {
	s.log.Campaign()
	s.rest()
}
