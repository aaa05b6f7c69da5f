package control

import (
	"reflect"
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

func TestSoleVoterLeadsAndCommitsAlone(t *testing.T) {
	c := newCluster(t, 1)
	r := c.add(member(1), Found(testRoom, member(1), []byte("founded")))
	if r.log.Propose(command(1)) {
		t.Fatal("a follower took a proposal")
	}
	r.log.Campaign()
	c.run()
	st := r.log.Status()
	if !st.Leading || st.Role != Leader || st.Term != 2 || st.Leader != r.self {
		t.Fatalf("after Campaign: %+v", st)
	}
	for n := range uint64(5) {
		if !r.log.Propose(command(n + 1)) {
			t.Fatalf("proposal %d dropped", n+1)
		}
	}
	c.run()
	c.same([]uint64{1, 2, 3, 4, 5}, r)
	c.restart(r)
	if st := r.log.Status(); st.Role != Follower || st.Term != 2 || st.Commit != 7 || st.RaftApplied != 7 {
		t.Errorf("after a restart: %+v", st)
	}
}

func TestWhatNoQuorumHoldsIsLost(t *testing.T) {
	c := newCluster(t, 1)
	three := c.voters(3)
	c.elect(three[0])
	c.cut[three[1].self], c.cut[three[2].self] = true, true
	if !three[0].log.Propose(command(1)) {
		t.Fatal("a leader dropped a proposal")
	}
	c.run()
	c.same(nil, three...)
	c.cut = map[ordering.Origin]bool{three[0].self: true}
	c.elect(three[2])
	if three[2].log.Status().Term != 3 {
		t.Fatalf("term %d", three[2].log.Status().Term)
	}
	c.cut = map[ordering.Origin]bool{}
	c.tick(1)
	c.elect(three[1])
	three[1].log.Propose(command(2))
	c.run()
	c.tick(2)
	c.same([]uint64{2}, three...)
}

func TestNewLeaderIsNotLeadingBeforeItsOwnRecordIsApplied(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.None, mutant.ProposeEarly} {
		c := newCluster(t, 1)
		c.mutant = m
		three := c.voters(3)
		l := three[0].log
		l.Campaign()
		early := false
		for range 40 {
			for _, r := range three {
				c.drain(r)
			}
			if l.Status().Role == Leader && !l.Status().Leading {
				early = l.Propose(command(1))
				break
			}
			p := c.queue[0]
			c.queue = c.queue[1:]
			for _, r := range three {
				if r.self == p.to {
					r.log.Step(p.from, p.data)
				}
			}
		}
		if want := m == mutant.ProposeEarly; early != want {
			t.Errorf("mutant %q: a proposal before the own record is taken: %v", m, early)
		}
	}
}

func TestThreeReplicateAndSurviveRestarts(t *testing.T) {
	c := newCluster(t, 2)
	three := c.voters(3)
	c.elect(three[0])
	var want []uint64
	for n := uint64(1); n <= 30; n++ {
		if !three[0].log.Propose(command(n)) {
			t.Fatalf("proposal %d dropped", n)
		}
		want = append(want, n)
		c.run()
		if n%3 == 0 {
			c.restart(three[1+n%2])
			c.tick(1)
		}
	}
	c.tick(3)
	c.same(want, three...)
}

// A replica that crashes at any step, before or after its disk took the Save,
// goes on from there; nothing committed is lost, and nothing is applied twice in
// two ways. Messages get lost, doubled and reordered all the while.
func TestCrashAtEveryStep(t *testing.T) {
	const seeds = 60
	total := uint64(0)
	for seed := range uint64(seeds) {
		c := newCluster(t, seed)
		three := c.voters(3)
		c.loss, c.doubled, c.reorder = 0.05, 0.1, true
		left := 12
		c.crash = func(r *replica, stored bool) bool {
			if left > 0 && c.dice.IntN(20) == 0 {
				left--
				return true
			}
			return false
		}
		proposed := uint64(0)
		for range 60 {
			if c.dice.IntN(4) == 0 {
				for _, r := range three {
					r.log.ForgetLeader()
				}
				three[c.dice.IntN(3)].log.Campaign()
			}
			for _, r := range three {
				if r.log.Status().Leading {
					proposed++
					r.log.Propose(command(proposed))
				}
			}
			if c.dice.IntN(6) == 0 {
				r := three[c.dice.IntN(3)]
				r.log.Compact(r.lin)
			}
			c.tick(1)
		}
		c.crash, c.loss = nil, 0
		c.electAny()
		c.tick(2)
		for _, r := range three { // P13: a snapshot that was lost is told of
			for _, p := range r.log.Status().Progress {
				if p.SnapshotPending {
					r.log.SnapshotFailed(p.Origin)
				}
			}
		}
		c.tick(5)
		for _, r := range three {
			if r.lin != three[0].lin {
				t.Fatalf("seed %d: %s is at %d, %s at %d: %v", seed, r.self.Tag(), r.lin, three[0].self.Tag(), three[0].lin, c.refused)
			}
			if r.log.Diverged() {
				t.Fatalf("seed %d: diverged", seed)
			}
		}
		total += three[0].lin
	}
	if total < 20*seeds {
		t.Errorf("only %d records were committed in %d worlds: they show nothing", total, seeds)
	}
}

// grow seats learners on empty disks, and promotes them once they hold all.
func grow(t *testing.T, c *cluster, leader *replica, list ...byte) (added []*replica) {
	t.Helper()
	for _, n := range list {
		added = append(added, c.add(member(n), Saved{}))
	}
	if !leader.log.ProposeChange(Change{Learn: members(list...)}) {
		t.Fatal("learners dropped")
	}
	c.run()
	settle(t, c, leader)
	for _, p := range leader.log.Status().Progress {
		if slices.Contains(members(list...), p.Origin) && (!p.Learner || p.Match != leader.log.Status().LastIndex) {
			t.Fatalf("a learner did not catch up: %+v", p)
		}
	}
	if !leader.log.ProposeChange(Change{Promote: members(list...)}) {
		t.Fatal("promotion dropped")
	}
	c.run()
	settle(t, c, leader)
	return added
}

// settle ticks until no change of seats is under way, answering snapshots.
func settle(t *testing.T, c *cluster, leader *replica) {
	t.Helper()
	for range 12 {
		c.tick(1)
		for _, r := range c.replicas {
			if e, ok := r.log.Ack(); ok {
				c.send(r, e)
			}
		}
	}
	c.run()
	if st := leader.log.Status(); st.ConfPending {
		t.Fatalf("still under way: %+v", st)
	}
}

func TestSeatsGrowThroughSnapshotsAndAreHandedOver(t *testing.T) {
	c := newCluster(t, 3)
	one := c.add(member(1), Found(testRoom, member(1), []byte("founded")))
	c.elect(one)
	one.log.Propose(command(1))
	c.run()
	added := grow(t, c, one, 2, 3)
	want := Conf{Voters: members(1, 2, 3)}
	for _, r := range c.replicas {
		if got := r.log.Status().Conf; !reflect.DeepEqual(got, want) {
			t.Fatalf("%s has seats %+v", r.self.Tag(), got)
		}
	}
	one.log.Propose(command(2))
	c.run()
	c.tick(1)
	c.same([]uint64{2}, added...)

	one.log.Transfer(member(3))
	c.run()
	three := added[1]
	if st := three.log.Status(); !st.Leading {
		t.Fatalf("not handed over: %+v", st)
	}
	if !three.log.ProposeChange(Change{Remove: members(1)}) {
		t.Fatal("removal dropped")
	}
	c.run()
	c.tick(2)
	if got := three.log.Status().Conf; !reflect.DeepEqual(got, Conf{Voters: members(2, 3)}) {
		t.Fatalf("seats %+v", got)
	}
	if _, ok := three.log.seats.seated[three.log.cfg.seat(member(1))]; ok {
		t.Error("a seat that was left is still known")
	}
	three.log.Propose(command(3))
	c.run()
	c.tick(1)
	c.same([]uint64{2, 3}, three, added[0])

	// Who was removed learns what goes on by being fed.
	if one.lin >= three.lin {
		t.Fatalf("who has no seat was sent records: %d of %d", one.lin, three.lin)
	}
	for range 5 {
		if data := fed(added[0].log, one.log.Status().Commit); data != nil {
			if err := one.log.Step(added[0].self.Device, data); err != nil {
				t.Fatal(err)
			}
			c.run()
		}
	}
	c.same([]uint64{1, 2, 3}, one)
	if st := one.log.Status(); st.Leader != three.self {
		t.Errorf("who feeds is taken for the leader: %+v", st)
	}
}

func TestReplacingAVoterIsJoint(t *testing.T) {
	c := newCluster(t, 4)
	three := c.voters(3)
	c.elect(three[0])
	c.cut[three[2].self] = true
	four := c.add(member(4), Saved{})
	three[0].log.ProposeChange(Change{Learn: members(4)})
	c.run()
	settle(t, c, three[0])
	joint := false
	if !three[0].log.ProposeChange(Change{Promote: members(4), Remove: members(3)}) {
		t.Fatal("dropped")
	}
	if three[0].log.ProposeChange(Change{Remove: members(2)}) {
		t.Fatal("a second change was taken while one is under way")
	}
	c.crash = func(r *replica, _ bool) bool { joint = joint || r.log.Status().Conf.Joint(); return false }
	c.tick(1)
	c.run()
	settle(t, c, three[0])
	if !joint {
		t.Error("it was never joint")
	}
	if got := four.log.Status().Conf; !reflect.DeepEqual(got, Conf{Voters: members(1, 2, 4)}) {
		t.Errorf("seats %+v", got)
	}
	// The replaced voter slept through it and knows none of the new ones but two;
	// it is fed by one that it has never heard of.
	delete(c.cut, three[2].self)
	fed(four.log, 0)
	if err := three[2].log.Step(four.self.Device, fed(four.log, three[2].log.Status().Commit)); err != nil {
		t.Fatal(err)
	}
	c.run()
	if three[2].lin != four.lin {
		t.Errorf("fed up to %d of %d", three[2].lin, four.lin)
	}
}

func TestWhoSleptThroughAllSeatsFollowsTheNewLeader(t *testing.T) {
	c := newCluster(t, 5)
	three := c.voters(3)
	c.elect(three[0])
	sleeper := three[2]
	c.cut[sleeper.self] = true
	four, five := c.add(member(4), Saved{}), c.add(member(5), Saved{})
	three[0].log.ProposeChange(Change{Learn: members(4, 5)})
	c.run()
	settle(t, c, three[0])
	three[0].log.ProposeChange(Change{Promote: members(4, 5), Remove: members(2)})
	c.run()
	settle(t, c, three[0])
	three[0].log.Transfer(four.self)
	c.run()
	four.log.ProposeChange(Change{Remove: members(1)})
	c.run()
	c.tick(2)
	if got := five.log.Status().Conf; !reflect.DeepEqual(got, Conf{Voters: members(3, 4, 5)}) {
		t.Fatalf("seats %+v", got)
	}
	c.cut = map[ordering.Origin]bool{three[0].self: true, three[1].self: true}
	settle(t, c, four)
	four.log.Propose(command(9))
	c.run()
	c.tick(2)
	c.same([]uint64{9}, sleeper, four, five)
}

func TestObserversAreFedOnlyWhatIsCommitted(t *testing.T) {
	c := newCluster(t, 6)
	three := c.voters(3)
	c.elect(three[0])
	for n := uint64(1); n <= 5; n++ {
		three[0].log.Propose(command(n))
	}
	c.run()
	c.tick(1)
	observer := c.add(member(9), Saved{})
	feed := func(from *replica) bool {
		data := fed(from.log, observer.log.Status().Commit)
		if data == nil {
			return false
		}
		if err := observer.log.Step(from.self.Device, data); err != nil {
			t.Fatal(err)
		}
		c.drain(observer)
		return true
	}
	for feed(three[1]) {
	}
	if observer.lin != three[1].lin {
		t.Fatalf("fed up to %d of %d", observer.lin, three[1].lin)
	}
	c.cut[three[1].self], c.cut[three[2].self] = true, true
	three[0].log.Propose(command(6))
	c.run()
	if feed(three[0]) {
		t.Error("what is not committed was fed")
	}
	observer.log.Campaign()
	c.run()
	if st := observer.log.Status(); st.Role != Follower {
		t.Errorf("an observer campaigns: %+v", st)
	}
	c.cut = map[ordering.Origin]bool{}
	c.tick(3)
	for feed(three[2]) {
	}
	c.same([]uint64{6}, observer)
	// From further back than it holds is no harm either.
	if err := observer.log.Step(three[1].self.Device, fed(three[1].log, observer.lin-2)); err != nil {
		t.Fatal(err)
	}
	c.restart(observer)
	if observer.lin != three[0].lin {
		t.Errorf("after a restart at %d of %d", observer.lin, three[0].lin)
	}
}

// An observer that once campaigned in a later term than the room's is fed all
// the same.
func TestFeedReachesALaterTerm(t *testing.T) {
	c := newCluster(t, 7)
	three := c.voters(3)
	c.elect(three[0])
	three[0].log.Propose(command(1))
	c.run()
	c.tick(1)
	late := c.add(member(9), Saved{Hard: Hard{Term: 40}})
	for range 3 {
		if data := fed(three[1].log, late.log.Status().Commit); data != nil {
			late.log.Step(three[1].self.Device, data)
			c.drain(late)
		}
	}
	three[0].log.Propose(command(2))
	c.run()
	c.tick(1)
	if data := fed(three[1].log, late.log.Status().Commit); data == nil || late.log.Step(three[1].self.Device, data) != nil {
		t.Fatal("not fed")
	}
	c.drain(late)
	c.same([]uint64{2}, late)
	if st := late.log.Status(); st.Term != 40 {
		t.Errorf("term %d", st.Term)
	}
}

func TestCompactionKeepsWhatTheLinearizerNeeds(t *testing.T) {
	c := newCluster(t, 8)
	one := c.add(member(1), Found(testRoom, member(1), []byte("founded")))
	c.elect(one)
	for n := uint64(1); n <= 20; n++ {
		one.log.Propose(command(n))
	}
	// The linearizer stands still at 10.
	for {
		rd, ok := one.log.Ready()
		if !ok {
			break
		}
		one.disk.Apply(rd.Save)
		for _, m := range rd.Committed {
			if m.Index <= 10 {
				c.linearize(one, []Committed{m})
			}
		}
		one.disk.LinApplied = one.lin
		one.log.Advance()
	}
	one.log.Compact(15)
	rd, ok := one.log.Ready()
	if !ok || rd.Save.Snapshot == nil || rd.Save.Snapshot.Index != 10 || rd.Save.CompactTo != 9 {
		t.Fatalf("%+v", rd.Save)
	}
	one.disk.Apply(rd.Save)
	one.log.Advance()
	if n, bytes := one.log.Size(); n != 12 || bytes != 12*len(ordering.EncodeCommand(command(1))) {
		t.Errorf("%d records of %d bytes are kept", n, bytes)
	}
	l, err := Open(c.config(one), one.disk)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, m := range l.Backlog() {
		got = append(got, m.Index)
	}
	if len(got) != 12 || got[0] != 11 || got[11] != 22 {
		t.Errorf("backlog %v", got)
	}
}

// A snapshot that arrives late does not take records from the disk that were
// acknowledged since.
func TestInstallingKeepsAcknowledgedRecords(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.None, mutant.DropAcknowledged} {
		c := newCluster(t, 9)
		c.mutant = m
		three := c.voters(3)
		c.elect(three[0])
		for n := uint64(1); n <= 5; n++ {
			three[0].log.Propose(command(n))
		}
		c.run()
		s, ok := three[0].log.snapshot()
		if !ok {
			t.Fatal("no snapshot")
		}
		three[0].log.Propose(command(6))
		three[0].log.Propose(command(7))
		c.run()
		last := three[1].log.Status().LastIndex
		saved := three[1].log.Installed(s)
		l, err := Open(c.config(three[1]), saved)
		if err != nil {
			t.Fatal(err)
		}
		if kept := l.Status().LastIndex == last; kept != (m == mutant.None) {
			t.Errorf("mutant %q: the log ends at %d, was acknowledged to %d", m, l.Status().LastIndex, last)
		}
		if three[1].log.Propose(command(8)) || three[1].log.Step(three[0].self.Device, nil) != nil {
			t.Error("an ended Log acts")
		}
		var disk Saved
		disk.Apply(three[1].disk.Replace())
		disk.Apply(saved.Replace())
		disk.LinApplied = saved.LinApplied
		if !reflect.DeepEqual(normal(disk), normal(saved)) {
			t.Errorf("Replace leaves %+v, want %+v", disk, saved)
		}
	}
}

func normal(s Saved) Saved {
	if len(s.Log) == 0 {
		s.Log = nil
	}
	return s
}

func TestSnapshotWaitsForTheNewestChangeOfSeats(t *testing.T) {
	c := newCluster(t, 10)
	one := c.add(member(1), Found(testRoom, member(1), []byte("founded")))
	c.elect(one)
	one.log.ProposeChange(Change{Learn: members(2)})
	for range 6 { // the linearizer does not follow
		rd, ok := one.log.Ready()
		if !ok {
			break
		}
		one.disk.Apply(rd.Save)
		one.log.Advance()
	}
	if got := one.log.Status().Conf.Learners; !slices.Equal(got, members(2)) {
		t.Fatalf("learners %v", got)
	}
	if fed(one.log, 0) != nil {
		t.Error("a snapshot was made that does not seat its receiver")
	}
	c.linearize(one, []Committed{{Index: 3, Term: 2, Conf: true}})
	if fed(one.log, 0) == nil {
		t.Error("no snapshot once the linearizer is there")
	}
}

func TestUnlawfulChangesChangeNothing(t *testing.T) {
	cfg := Config{Room: testRoom}
	three := Conf{Voters: members(1, 2, 3), Learners: members(4)}
	for _, k := range []struct {
		name string
		from Conf
		ch   Change
	}{
		{"leave what is not joint", three, Change{}},
		{"learn a voter", three, Change{Learn: members(1)}},
		{"learn a learner", three, Change{Learn: members(4)}},
		{"promote a stranger", three, Change{Promote: members(5)}},
		{"promote a voter", three, Change{Promote: members(1)}},
		{"remove a stranger", three, Change{Remove: members(9)}},
		{"remove all", Conf{Voters: members(1)}, Change{Remove: members(1)}},
		{"twice the same", three, Change{Promote: members(4), Remove: members(4)}},
		{"while joint", Conf{Voters: members(1, 2), Outgoing: members(1)}, Change{Learn: members(7)}},
		{"on nothing", Conf{}, Change{Learn: members(7)}},
		{"six voters", Conf{Voters: members(1, 2, 3, 4, 5), Learners: members(6)}, Change{Promote: members(6)}},
	} {
		if got, err := k.from.next(cfg, k.ch); err == nil {
			t.Errorf("%s: gives %+v", k.name, got)
		}
	}
}

// Our Conf and raft's own go through the same changes.
func TestConfGoesAlongWithRafts(t *testing.T) {
	c := newCluster(t, 11)
	one := c.add(member(1), Found(testRoom, member(1), []byte("founded")))
	c.elect(one)
	grow(t, c, one, 2, 3)
	grow(t, c, one, 4, 5)
	one.log.ProposeChange(Change{Remove: members(2)})
	c.run()
	settle(t, c, one)
	for _, r := range c.replicas {
		if r.self == member(2) {
			continue
		}
		st := r.log.node.Status()
		cs := r.log.conf.state(r.log.cfg)
		if len(st.Config.Voters[0]) != len(cs.Voters) || len(st.Config.Voters[1]) != 0 || len(st.Config.Learners) != 0 {
			t.Errorf("%s: raft has %v, we %v", r.self.Tag(), st.Config, cs)
		}
		for _, id := range cs.Voters {
			if _, ok := st.Config.Voters[0][id]; !ok {
				t.Errorf("raft lacks seat %x", id)
			}
		}
	}
}

func TestAWipedMemberHasAnotherSeat(t *testing.T) {
	again := member(1)
	again.Instance[0] = 99
	cfg := Config{Room: testRoom}
	if cfg.seat(member(1)) == cfg.seat(again) {
		t.Error("two instances of a device have one seat")
	}
	cfg.Mutant = mutant.SeatOfDevice
	if cfg.seat(member(1)) != cfg.seat(again) {
		t.Error("the mutant is no different")
	}
	if got := (Config{Room: testRoom}).seat(member(1)); got != 0x74f93488dad8ee27 {
		t.Errorf("the seat of the first member is %#x", got)
	}
}

func TestHardStateMutantsForget(t *testing.T) {
	for m, want := range map[mutant.Mutant]Hard{
		mutant.ForgetVote: {Term: 2, Commit: 1},
		mutant.ForgetTerm: {Term: 1, Commit: 1},
	} {
		c := newCluster(t, 1)
		c.mutant = m
		three := c.voters(3)
		three[0].log.Campaign()
		c.queueUntilVote(three)
		if got := three[1].disk.Hard; got != want {
			t.Errorf("%s: saved %+v, want %+v", m, got, want)
		}
	}
}

// queueUntilVote delivers until the second replica has voted.
func (c *cluster) queueUntilVote(list []*replica) {
	for range 30 {
		for _, r := range list {
			c.drain(r)
		}
		if list[1].log.Status().Term == 2 {
			return
		}
		p := c.queue[0]
		c.queue = c.queue[1:]
		for _, r := range list {
			if r.self == p.to {
				r.log.Step(p.from, p.data)
			}
		}
	}
}

func TestVoteIsSaved(t *testing.T) {
	c := newCluster(t, 1)
	three := c.voters(3)
	three[0].log.Campaign()
	c.queueUntilVote(three)
	want := Hard{Term: 2, Vote: three[0].log.self, Commit: 1}
	if got := three[1].disk.Hard; got != want {
		t.Errorf("saved %+v, want %+v", got, want)
	}
}

func TestLeaderWithoutAQuorumStepsDown(t *testing.T) {
	c := newCluster(t, 1)
	three := c.voters(3)
	c.elect(three[0])
	c.cut[three[0].self] = false
	c.cut[three[1].self], c.cut[three[2].self] = true, true
	c.tick(2 * electionTicks)
	if st := three[0].log.Status(); st.Role != Follower {
		t.Errorf("after two election times alone: %+v", st)
	}
}

func TestOpenRefusesACorruptDisk(t *testing.T) {
	good := Found(testRoom, member(1), []byte("s"))
	good.Log = []Record{{Index: 2, Term: 2, Kind: KindNormal}, {Index: 3, Term: 2, Kind: KindNormal}}
	good.Hard = Hard{Term: 2, Commit: 3}
	cfg := Config{Room: testRoom, Self: member(1), State: func() (uint64, []byte) { return 1, nil }}
	if _, err := Open(cfg, good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(s *Saved){
		"a hole":                func(s *Saved) { s.Log[1].Index = 4; s.Hard.Commit = 2 },
		"terms that fall":       func(s *Saved) { s.Log[1].Term = 1 },
		"commit beyond the end": func(s *Saved) { s.Hard.Commit = 4 },
		"commit below":          func(s *Saved) { s.Hard.Commit = 0 },
		"applied beyond commit": func(s *Saved) { s.RaftApplied = 4 },
		"linearized beyond":     func(s *Saved) { s.LinApplied = 3 },
		"linearized below":      func(s *Saved) { s.LinApplied = 0 },
		"an old term":           func(s *Saved) { s.Hard.Term = 1 },
		"a term out of range":   func(s *Saved) { s.Hard.Term = 1 << 63 },
		"no seats":              func(s *Saved) { s.Conf = nil },
		"broken seats":          func(s *Saved) { s.Conf = s.Conf[1:] },
		"no seats in snapshot":  func(s *Saved) { s.Snapshot.Conf = nil },
		"a record of no kind":   func(s *Saved) { s.Log[0].Kind = 9 },
		"a broken command":      func(s *Saved) { s.Log[0].Data = []byte{1, 2} },
		"a broken change":       func(s *Saved) { s.Log[0].Kind, s.Log[0].Data = KindConf, []byte{1, 2} },
		"a duplicate":           func(s *Saved) { s.Log[1].Index = 2 },
	} {
		s := good.Clone()
		spoil(&s)
		if _, err := Open(cfg, s); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// B11: whatever the moment, a leader goes on without a quorum for ten ticks and no
// longer; raft's own look alone takes up to twice as many.
func TestALeaderStepsDownTenTicksAfterItsQuorumFellSilent(t *testing.T) {
	for before := range 2 * electionTicks {
		c := newCluster(t, 1)
		list := c.voters(3)
		leader := list[2]
		c.elect(leader)
		c.tick(before)
		c.cut[list[0].self] = true
		c.tick(3 * electionTicks) // one is enough
		if !leader.log.Status().Leading {
			t.Fatal("it steps down although one of two answers")
		}
		c.cut[list[1].self] = true
		c.tick(electionTicks)
		if !leader.log.Status().Leading {
			t.Fatalf("%d ticks after the election it steps down too soon", before)
		}
		c.tick(1)
		if s := leader.log.Status(); s.Role != Follower || s.Leader != (ordering.Origin{}) {
			t.Fatalf("%d ticks after the election it does not step down: %+v", before, s)
		}
	}
}
