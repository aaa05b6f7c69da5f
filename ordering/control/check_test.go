package control

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"tertulia/ordering"
)

// spoken returns a message as a device would send it.
func spoken(from ordering.Origin, to uint64, m *raftpb.Message, fed bool) []byte {
	if !fed {
		m.To = &to
	}
	return encodeMessage(from, m, fed)
}

func TestStepRefuses(t *testing.T) {
	c := newCluster(t, 1)
	three := c.voters(3)
	c.elect(three[0])
	for n := uint64(1); n <= 4; n++ {
		three[0].log.Propose(command(n))
	}
	c.run()
	c.tick(1)
	l := three[1].log
	st := l.Status()
	leader, me := three[0].self, l.self
	app := func(prev, prevTerm, term, commit uint64, records ...Record) *raftpb.Message {
		m := &raftpb.Message{Type: raftpb.MsgApp.Enum(), Term: &term, Index: &prev, LogTerm: &prevTerm, Commit: &commit}
		for _, r := range records {
			m.Entries = append(m.Entries, entryOf(r))
		}
		return m
	}
	normal := func(term uint64) Record { return Record{Term: term, Kind: KindNormal} }
	conf := Record{Term: st.Term, Kind: KindConf, Data: []byte{0x12, 0x04, 8, 0, 16, 5, 0x1a, 0}}
	last, term := st.LastIndex, st.Term
	snap := func(s Snapshot) *raftpb.Message {
		return &raftpb.Message{Type: raftpb.MsgSnap.Enum(), Term: &term, Snapshot: &raftpb.Snapshot{Data: encodeSnapshot(s)}}
	}
	heartbeat := func(term, commit uint64) *raftpb.Message {
		return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: &term, Commit: &commit}
	}
	resp := func(index uint64, reject bool, hint uint64) *raftpb.Message {
		return &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: &term, Index: &index, Reject: &reject, RejectHint: &hint}
	}
	now := &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), Term: &term}
	later := &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), Term: new(term + 1)}
	stranger := member(77)
	whole := spoken(leader, me, heartbeat(term, 1), false)
	for _, k := range []struct {
		name string
		from ordering.Origin
		data []byte
		want ordering.Reason
	}{
		{"nothing", leader, nil, ordering.Malformed},
		{"cut short", leader, whole[:len(whole)-1], ordering.Malformed},
		{"too long", leader, append(slices.Clone(whole), 0), ordering.Malformed},
		{"another version", leader, append([]byte{2}, whole[1:]...), ordering.Malformed},
		{"another kind", leader, append([]byte{1, 99}, whole[2:]...), ordering.Malformed},
		{"over the limit", leader, make([]byte, ordering.MaxRaft+1), ordering.Oversize},
		{"to another instance", leader, spoken(leader, me+1, heartbeat(term, 1), false), ""},
		{"from ourselves", l.cfg.Self, spoken(l.cfg.Self, me, heartbeat(term, 1), false), ordering.Malformed},
		{"term zero", leader, spoken(leader, me, heartbeat(0, 1), false), ordering.Malformed},
		{"term out of reach", leader, spoken(leader, me, heartbeat(term+maxTermStep+1, 1), false), ordering.Malformed},
		{"term at the end", leader, spoken(leader, me, heartbeat(1<<64-1, 1), false), ordering.Malformed},
		{"commit beyond our log", leader, spoken(leader, me, heartbeat(term, last+1), false), ordering.Malformed},
		{"ack beyond our log", leader, spoken(leader, me, resp(last+1, false, 0), false), ordering.Malformed},
		{"hint beyond the rejected", leader, spoken(leader, me, resp(2, true, 3), false), ordering.Malformed},
		{"records of a later term", leader, spoken(leader, me, app(last, term, term, last, normal(term+1)), false), ordering.Malformed},
		{"records whose terms fall", leader, spoken(leader, me, app(last, term, term+1, last, normal(term+1), normal(term)), false), ordering.Malformed},
		{"a record of term zero", leader, spoken(leader, me, app(last, 0, term, last, normal(0)), false), ordering.Malformed},
		{"a broken command", leader, spoken(leader, me, app(last, term, term, last, Record{Term: term, Kind: KindNormal, Data: []byte{9}}), false), ordering.Malformed},
		{"a seat of nobody", leader, spoken(leader, me, app(last, term, term, last, conf), false), ordering.Malformed},
		{"an index out of range", leader, spoken(leader, me, app(1<<63, term, term, last), false), ordering.Malformed},
		{"a snapshot without seats", leader, spoken(leader, me, snap(Snapshot{Index: 99, Term: term}), false), ordering.Malformed},
		{"a snapshot of a later term", leader, spoken(leader, me, snap(Snapshot{Index: 99, Term: term + 1, Conf: encodeConf(st.Conf)}), false), ordering.Malformed},
		{"a snapshot at zero", leader, spoken(leader, me, snap(Snapshot{Term: term, Conf: encodeConf(st.Conf)}), false), ordering.Malformed},
		{"timeout from a stranger", stranger, spoken(stranger, me, now, false), ordering.NotMember},
		{"timeout from no leader", three[2].self, spoken(three[2].self, me, now, false), ordering.NotAllowed},
		{"timeout of a later term", leader, spoken(leader, me, later, false), ordering.NotAllowed},
		{"fed beyond what is committed", stranger, spoken(stranger, 0, app(last, term, term, last, normal(term)), true), ordering.Malformed},
		{"an ack of an earlier term, of what was cut off", leader, spoken(leader, me, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term - 1), Index: new(last + 1)}, false), ""},
		{"a late answer of a stranger", stranger, spoken(stranger, me, resp(1, false, 0), false), ""},
		{"in place of a committed record", leader, spoken(leader, me, app(3, term, term, last, Record{Term: term, Kind: KindNormal, Data: ordering.EncodeCommand(command(99))}), false), ordering.Fork},
		{"behind another committed record", leader, spoken(leader, me, app(3, 1, term, last), false), ordering.Fork},
	} {
		err := l.Step(k.from.Device, k.data)
		var got ordering.Reason
		if refusal, ok := errors.AsType[*ordering.Refusal](err); ok {
			got = refusal.Reason
		}
		if got != k.want {
			t.Errorf("%s: refused as %q, want %q", k.name, got, k.want)
		}
		if want := k.want == ordering.Fork; l.Diverged() != want {
			t.Errorf("%s: diverged %v, want %v", k.name, l.Diverged(), want)
			break
		}
	}
	// What was refused left no trace.
	three[0].log.Propose(command(5))
	c.run()
	c.tick(1)
	c.same([]uint64{1, 2, 3, 4, 5}, three...)
}

// A device that names another's instance speaks for a seat of its own, not for
// the other's.
func TestNobodyTakesAnothersSeat(t *testing.T) {
	c := newCluster(t, 1)
	three := c.voters(3)
	c.elect(three[0])
	before := three[1].log.Status()
	thief := ordering.Origin{Device: member(66).Device, Instance: three[2].self.Instance}
	m := &raftpb.Message{Type: raftpb.MsgVoteResp.Enum(), Term: new(before.Term), Reject: new(false)}
	for range 3 {
		if err := three[1].log.Step(thief.Device, spoken(three[2].self, three[1].log.self, m, false)); err != nil {
			t.Fatal(err)
		}
	}
	if got := three[1].log.Status(); got.Role != before.Role || got.Term != before.Term {
		t.Errorf("%+v", got)
	}
}

func TestOldLeadersRecordsAreNoDivergence(t *testing.T) {
	c := newCluster(t, 1)
	three := c.voters(3)
	c.elect(three[0])
	c.cut[three[1].self], c.cut[three[2].self] = true, true
	three[0].log.Propose(command(1))
	c.drain(three[0])
	old := slices.Clone(c.queue)
	c.queue = nil
	c.cut = map[ordering.Origin]bool{three[0].self: true}
	c.elect(three[1])
	three[1].log.Propose(command(2))
	c.run()
	c.tick(1)
	for _, p := range old {
		for _, r := range three[1:] {
			if r.self == p.to {
				if err := r.log.Step(p.from, p.data); err != nil || r.log.Diverged() {
					t.Fatalf("%v, diverged %v", err, r.log.Diverged())
				}
			}
		}
	}
	c.cut = map[ordering.Origin]bool{}
	c.elect(three[2])
	c.tick(2)
	c.same([]uint64{2}, three...)
}

func TestMessagesAreReadAsWritten(t *testing.T) {
	c := newCluster(t, 1)
	cfg := Config{Room: testRoom}
	c.voters(3)
	kinds := map[byte]bool{}
	check := func() {
		for _, p := range c.queue {
			m, err := decodeMessage(cfg, p.from, p.data)
			if err != nil {
				t.Fatalf("%x: %v", p.data, err)
			}
			if m.snap != nil {
				m.Snapshot = &raftpb.Snapshot{Data: encodeSnapshot(*m.snap)}
			}
			if again := encodeMessage(m.from, m.Message, m.fed); !bytes.Equal(again, p.data) {
				t.Fatalf("read %x, wrote %x", p.data, again)
			}
			kinds[p.data[1]] = true
		}
	}
	three := c.replicas
	three[0].log.Campaign()
	for range 200 {
		for _, r := range three {
			c.drain(r)
		}
		check()
		if len(c.queue) == 0 {
			switch {
			case !kinds[byte(wireHeartbeat)]:
				three[0].log.Tick()
			case !kinds[byte(wireTimeoutNow)]:
				three[0].log.Transfer(three[1].self)
			case !kinds[byte(wireFeed)]:
				c.queue = append(c.queue, packet{three[0].self.Device, member(9), fed(three[0].log, 1)})
			case !kinds[byte(wireFeedSnap)]:
				c.queue = append(c.queue, packet{three[0].self.Device, member(9), fed(three[0].log, 0)})
			}
			continue
		}
		p := c.queue[0]
		c.queue = c.queue[1:]
		for _, r := range three {
			if r.self == p.to {
				r.log.Step(p.from, p.data)
			}
		}
	}
	for _, k := range []wireKind{wireApp, wireAppResp, wireVote, wireVoteResp, wirePreVote, wirePreVoteResp, wireHeartbeat, wireHeartbeatResp, wireTimeoutNow, wireFeed, wireFeedSnap} {
		if !kinds[byte(k)] {
			t.Errorf("kind %d was never said", k)
		}
	}
}

// FuzzStep lets one of three voters send anything: real messages with bytes
// changed. Nobody panics, and what an honest replica has committed stays.
func FuzzStep(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, byte(seed)})
	}
	f.Add(uint64(9), bytes.Repeat([]byte{255, 0, 17, 3, 128}, 40))
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) { mutate(t, seed, script[:min(len(script), 400)]) })
}

// mutate plays a script: each byte decides what happens next.
func mutate(t *testing.T, seed uint64, script []byte) {
	c := newCluster(t, seed)
	c.canon = nil
	three := c.voters(3)
	liar := three[2]
	kept := map[string][]byte{}
	check := func() {
		for _, r := range three[:2] {
			st := r.log.node.BasicStatus()
			for i := r.log.store.index + 1; i <= min(st.GetCommit(), r.log.tail.from-1); i++ {
				e := r.log.store.at(i)
				key := fmt.Sprint(r.self.Tag(), i)
				now := append([]byte(fmt.Sprint(e.GetTerm(), e.GetType())), e.GetData()...)
				if was, ok := kept[key]; ok && !bytes.Equal(was, now) {
					t.Fatalf("%s: committed record %d changed", r.self.Tag(), i)
				}
				kept[key] = now
			}
		}
	}
	drain := func(r *replica) {
		for range 100 {
			rd, ok := r.log.Ready()
			if !ok {
				return
			}
			r.disk.Apply(rd.Save)
			for _, e := range rd.Messages {
				c.send(r, e)
			}
			if n := len(rd.Committed); n > 0 {
				r.lin = rd.Committed[n-1].Index
			}
			r.log.LinApplied(r.lin)
			r.disk.LinApplied = r.lin
			r.log.Advance()
			if _, err := Open(c.config(r), r.disk); err != nil {
				t.Fatalf("what was saved is corrupt: %v", err)
			}
		}
		t.Fatal("no end of Readys")
	}
	three[0].log.Campaign()
	number := uint64(0)
	for i, b := range script {
		for _, r := range three {
			if b%3 != 0 || i%4 == 0 { // sometimes several messages meet in one Ready
				drain(r)
			}
		}
		check()
		switch {
		case len(c.queue) == 0 || b < 16:
			number++
			r := three[int(b)%3]
			switch b % 7 {
			case 0:
				r.log.ForgetLeader()
				r.log.Campaign()
			case 1:
				r.log.Tick()
			case 2:
				r.log.Compact(r.lin)
			case 3:
				r.log.Transfer(three[int(number)%3].self)
			case 4:
				r.log.ProposeChange(Change{Learn: members(b)})
			default:
				r.log.Propose(command(number))
			}
			continue
		case b > 240:
			if data := fed(liar.log, uint64(i)%9); data != nil {
				c.queue = slices.Insert(c.queue, 0, packet{liar.self.Device, three[0].self, data})
			}
		}
		p := c.queue[0]
		c.queue = c.queue[1:]
		if p.from == liar.self.Device && b%2 == 1 {
			// The liar's words come out changed; after the header, so that they are heard.
			p.data = slices.Clone(p.data)
			at := 18 + c.dice.IntN(len(p.data)-18)
			switch b % 5 {
			case 0:
				p.data[at] ^= 1 << (b % 8)
			case 1:
				p.data[at] = b
			case 2:
				p.data[1] = b % 14
			case 3:
				p.data = p.data[:at]
			case 4:
				p.data[25] += b % 3
			}
		}
		for _, r := range three {
			if r.self == p.to {
				r.log.Step(p.from, p.data)
			}
		}
	}
	for _, r := range three {
		drain(r)
	}
	check()
}

func TestManyMutatedScripts(t *testing.T) {
	n := uint64(300)
	if testing.Short() {
		n = 100
	}
	for seed := range n {
		c := newCluster(t, seed)
		script := make([]byte, 250)
		for i := range script {
			script[i] = byte(c.dice.Uint32())
		}
		mutate(t, seed, script)
	}
}
