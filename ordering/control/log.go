// Package control is a room's control log: a small consensus log of epochs,
// batches, checkpoints and changes of seats (PROTOCOL.md 2), replicated by
// go.etcd.io/raft. A Log is one replica of it. It is pure: the owner stores what
// a Ready says, then sends, then calls Advance, and brings it messages and ticks.
//
// No raft type crosses the border: seats are named by their origins, messages
// are bytes in an encoding of our own, and records are plain values.
package control

import (
	"fmt"
	"math"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Config is what a Log needs from its owner. All of it is needed, but for Mutant.
type Config struct {
	Room   ordering.RoomID
	Self   ordering.Origin
	Mutant mutant.Mutant

	// State returns the linearizer's state and the index up to which it has
	// applied: what a snapshot carries. It is called within the Log's methods.
	State func() (index uint64, state []byte)
}

// Raft's settings. A tick is 100 ms.
const (
	electionTicks    = 10       // a leader without a quorum for so long steps down (B11)
	heartbeatTicks   = 1        //
	maxMessageBytes  = 64 << 10 // of records in one message, or one record
	maxApplyBytes    = 1 << 20  // of records in one Ready
	maxInflight      = 64       // messages on their way to one replica
	maxInflightBytes = 1 << 20  //
	maxUncommitted   = 4 << 20  // bytes of records that wait for a quorum
)

// Log is one replica of a room's control log.
type Log struct {
	cfg   Config
	self  uint64
	node  *raft.RawNode
	store *store
	tail  tail
	seats directory

	conf        Conf
	applied     uint64 // index up to which records were handed out
	confApplied uint64 // index of the newest change of seats among them
	confLast    uint64 // index of the newest change of seats in the store
	proposing   bool   // a change was proposed since the last Ready
	lin         uint64 // index up to which the linearizer has applied
	durable     uint64 // index up to which records are on the disk
	hard        Hard   // as last saved

	taken    *raft.Ready // handed out and not advanced
	pending  Save        // of Compact, for the next Ready
	held     *Snapshot
	heldFed  bool // by one that need not lead
	backlog  []Committed
	shown    map[ordering.Origin]shown // of who has or had a seat in this life
	ticks    uint64                    // that were heeded
	led      uint64                    // term of the newest of them
	ledFrom  uint64                    // the first of that term
	diverged bool
	ended    bool // by Installed
}

// Envelope is a message for another replica.
type Envelope struct {
	To   ordering.Origin
	Data []byte
}

// Committed is a record that will never change.
type Committed struct {
	Index, Term uint64
	Command     ordering.Command // nil for an empty record or a change of seats
	Conf        bool             // a change of seats: already applied
}

// Ready is what a Log wants done, in this order: store Save durably, then send
// Messages and give Committed to the linearizer, then call Advance.
type Ready struct {
	Save      Save
	Messages  []Envelope
	Committed []Committed
}

// Open returns a Log that goes on where saved ends. The error tells of a disk
// that is corrupt.
func Open(cfg Config, saved Saved) (*Log, error) {
	if err := saved.check(cfg); err != nil {
		return nil, err
	}
	conf, err := decodeConf(saved.Conf)
	if err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, self: cfg.seat(cfg.Self), store: newStore(cfg, saved, conf), seats: cfg.directory(conf),
		shown: make(map[ordering.Origin]shown), conf: conf, applied: saved.RaftApplied, confApplied: saved.Snapshot.Index, lin: saved.LinApplied, hard: saved.Hard,
	}
	l.store.make = l.snapshot
	l.durable = l.store.last()
	l.tail = l.store.tail()
	for i, e := range l.store.entries {
		if e.GetType() == raftpb.EntryConfChangeV2 {
			if l.confLast = e.GetIndex(); e.GetIndex() <= l.applied {
				l.confApplied = e.GetIndex()
			}
		}
		if e.GetIndex() > l.lin && e.GetIndex() <= l.applied {
			l.backlog = append(l.backlog, committed(l.store.entries[i]))
		}
	}
	l.node, err = raft.NewRawNode(&raft.Config{
		ID: l.self, Storage: l.store, Applied: saved.RaftApplied, Logger: silent{},
		ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks,
		PreVote: true, CheckQuorum: true, ReadOnlyOption: raft.ReadOnlySafe, DisableProposalForwarding: true, StepDownOnRemoval: true,
		MaxSizePerMsg: maxMessageBytes, MaxCommittedSizePerReady: maxApplyBytes, MaxUncommittedEntriesSize: maxUncommitted,
		MaxInflightMsgs: maxInflight, MaxInflightBytes: maxInflightBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("control: open: %w", err)
	}
	return l, nil
}

// committed reads a record that was checked when it came in.
func committed(e *raftpb.Entry) Committed {
	c := Committed{Index: e.GetIndex(), Term: e.GetTerm(), Conf: e.GetType() == raftpb.EntryConfChangeV2}
	if !c.Conf && len(e.GetData()) > 0 {
		c.Command, _ = ordering.DecodeCommand(e.GetData())
	}
	return c
}

// note keeps what the foretelling of raft's log rests on.
func (l *Log) note() {
	if l.node.BasicStatus().RaftState == raft.StateLeader {
		l.tail.more = true
	}
}

// Tick tells a leader that 100 ms passed; nobody else is ticked, so that only
// Campaign starts elections.
func (l *Log) Tick() {
	if l.ended || !l.leads() {
		return
	}
	l.node.Tick()
	l.ticks++
	if term := l.node.BasicStatus().GetTerm(); term != l.led {
		l.led, l.ledFrom = term, l.ticks
	}
	if !l.answered(l.conf.Voters) || l.conf.Joint() && !l.answered(l.conf.Outgoing) {
		l.stepDown()
	}
	l.note()
}

// answered reports whether a majority of voters, ourselves among them, answered this
// leader within the last electionTicks.
func (l *Log) answered(voters []ordering.Origin) bool {
	n := 0
	for _, v := range voters {
		if v == l.cfg.Self || l.ticks-max(l.shown[v].tick, l.ledFrom) <= electionTicks {
			n++
		}
	}
	return 2*n > len(voters)
}

// stepDown ends the lead of a leader without a quorum (B11). Raft itself looks once
// in electionTicks whether a quorum answered since its last look, so it may take twice
// as long; of two looks in a row the second finds that nobody did.
func (l *Log) stepDown() {
	for range 2 {
		_ = l.node.Step(&raftpb.Message{Type: raftpb.MsgCheckQuorum.Enum(), From: new(raft.LocalAppendThread)})
	}
}

// Campaign asks the voters for the lead. It does nothing for who is no voter.
func (l *Log) Campaign() {
	if !l.ended {
		_ = l.node.Campaign()
		l.note()
	}
}

// ForgetLeader makes a follower ready to vote for another.
func (l *Log) ForgetLeader() {
	if !l.ended {
		_ = l.node.ForgetLeader()
	}
}

// Transfer makes a leader hand the lead to a voter; it takes no proposals
// meanwhile.
func (l *Log) Transfer(to ordering.Origin) {
	if !l.ended && l.leads() && l.conf.Votes(to) {
		l.node.TransferLeader(l.cfg.seat(to))
	}
}

// Unreachable tells a leader that a message to o was not sent (P13).
func (l *Log) Unreachable(o ordering.Origin) { l.node.ReportUnreachable(l.cfg.seat(o)) }

// SnapshotFailed tells a leader that o did not acknowledge a snapshot in time
// (P13): it is probed again.
func (l *Log) SnapshotFailed(o ordering.Origin) {
	l.node.ReportSnapshot(l.cfg.seat(o), raft.SnapshotFailure)
	l.note()
}

func (l *Log) leads() bool { return l.node.BasicStatus().RaftState == raft.StateLeader }

// leading reports whether proposals may start: a record of our own term is
// applied (P6, B7).
func (l *Log) leading() bool {
	st := l.node.BasicStatus()
	if l.ended || st.RaftState != raft.StateLeader {
		return false
	}
	term, ok := l.store.termOf(st.Applied)
	return ok && term == st.GetTerm()
}

// Propose appends a command where this replica leads. False: it was dropped, and
// nothing of it remains.
func (l *Log) Propose(c ordering.Command) bool {
	if !l.leading() && (l.cfg.Mutant != mutant.ProposeEarly || !l.leads()) {
		return false
	}
	data := ordering.EncodeCommand(c)
	if len(data) > maxRecord {
		return false
	}
	ok := l.node.Propose(data) == nil
	l.note()
	return ok
}

// ProposeEmpty appends an empty record: raft leaves a joint Conf only when
// something is applied (P13).
func (l *Log) ProposeEmpty() bool {
	if !l.leading() {
		return false
	}
	ok := l.node.Propose(nil) == nil
	l.note()
	return ok
}

// ProposeChange appends a change of seats. False: it was dropped, is not lawful,
// or another is under way. It is done only when Status no longer says
// ConfPending and its Conf shows it (P13).
func (l *Log) ProposeChange(c Change) bool {
	if !l.leading() || l.confPending() && l.cfg.Mutant != mutant.CountUnapplied {
		return false
	}
	if _, err := l.conf.next(l.cfg, c); err != nil || c.size() == 0 {
		return false
	}
	l.proposing = l.node.ProposeConfChange(raftChange(l.cfg, c)) == nil
	l.note()
	return l.proposing
}

// confPending reports whether a change of seats is proposed and not applied, or
// applied and joint.
func (l *Log) confPending() bool {
	return l.proposing || l.confLast > l.node.BasicStatus().Applied || l.conf.Joint()
}

// Ready returns what is to be done; false when there is nothing, or the last
// Ready is not advanced.
func (l *Log) Ready() (Ready, bool) {
	for !l.ended && l.taken == nil && (l.node.HasReady() || !l.pending.Empty()) {
		r := l.take()
		if !r.Save.Empty() || len(r.Messages) > 0 || len(r.Committed) > 0 {
			return r, true
		}
		l.Advance()
	}
	return Ready{}, false
}

func (l *Log) take() Ready {
	rd := l.node.Ready()
	l.taken = &rd
	r := Ready{Save: l.pending}
	l.pending = Save{}
	if to := r.Save.CompactTo; to > 0 && to < math.MaxInt64 {
		l.store.compact(to + 1) // the disk keeps that record for its term
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		l.hard = Hard{Term: rd.HardState.GetTerm(), Vote: rd.HardState.GetVote(), Commit: rd.HardState.GetCommit()}
		r.Save.Hard = new(l.hard)
	}
	l.appended(rd.Entries, &r.Save)
	l.apply(rd.CommittedEntries, &r)
	if r.Save.Hard != nil {
		//exhaustive:ignore
		switch l.cfg.Mutant {
		case mutant.ForgetTerm:
			r.Save.Hard.Term, _ = l.store.termOf(l.store.last())
			r.Save.Hard.Vote = 0
		case mutant.ForgetVote:
			r.Save.Hard.Vote = 0
		}
	}
	for _, m := range rd.Messages {
		to, known := l.seats.owner(m.GetTo())
		if data := encodeMessage(l.cfg.Self, m, false); known && data != nil {
			r.Messages = append(r.Messages, Envelope{To: to, Data: data})
		}
	}
	return r
}

// appended puts new records into the store and the Save.
func (l *Log) appended(entries []*raftpb.Entry, save *Save) {
	if len(entries) > 0 {
		first := entries[0].GetIndex()
		l.durable = min(l.durable, first-1)
		if l.confLast >= first {
			l.confLast = l.confApplied
			for i := l.applied + 1; i < first; i++ {
				if l.store.at(i).GetType() == raftpb.EntryConfChangeV2 {
					l.confLast = i
				}
			}
		}
		l.store.append(entries)
		for _, e := range entries {
			save.Append = append(save.Append, recordOf(e))
			if e.GetType() == raftpb.EntryConfChangeV2 {
				l.confLast = e.GetIndex()
			}
		}
	}
	l.proposing = false
	l.tail = l.store.tail()
}

// apply hands out committed records and applies changes of seats, which take
// effect at once (P12).
func (l *Log) apply(entries []*raftpb.Entry, r *Ready) {
	for _, e := range entries {
		r.Committed = append(r.Committed, committed(e))
		l.applied = e.GetIndex()
		r.Save.RaftApplied = l.applied
		if e.GetType() != raftpb.EntryConfChangeV2 {
			continue
		}
		l.confApplied = e.GetIndex()
		ch, err := decodeChange(l.cfg, e.GetData())
		if err != nil {
			continue
		}
		conf, err := l.conf.next(l.cfg, ch)
		if err != nil {
			continue
		}
		l.conf = conf
		l.seats.seat(l.cfg, conf)
		l.node.ApplyConfChange(raftChange(l.cfg, ch))
		r.Save.Conf = encodeConf(conf)
	}
	l.note()
}

// Advance tells that the last Ready's Save is durable and its Messages are sent.
// More may be ready then.
func (l *Log) Advance() {
	if l.taken == nil || l.ended {
		return
	}
	if n := len(l.taken.Entries); n > 0 {
		l.durable = min(l.taken.Entries[n-1].GetIndex(), l.store.last())
	}
	rd := *l.taken
	l.taken = nil
	l.node.Advance(rd)
	l.note()
}

// Backlog returns, after Open, the committed records that the linearizer has not
// applied (P12), in their order.
func (l *Log) Backlog() []Committed { return l.backlog }

// LinApplied tells that the linearizer has applied up to index, and that its
// mark is stored with the next Save at the latest. Compaction never passes it.
func (l *Log) LinApplied(index uint64) { l.lin = max(l.lin, min(index, l.applied)) }

// Compact snapshots the linearizer's state and drops the records below keepFrom,
// as far as the linearizer has applied them; in the next Ready's Save. It does
// nothing while a snapshot cannot be made.
func (l *Log) Compact(keepFrom uint64) {
	s, ok := l.snapshot()
	if !ok || keepFrom < 2 {
		return
	}
	limit := min(l.lin, s.Index)
	if l.cfg.Mutant == mutant.CompactUnapplied {
		limit = l.applied
	}
	// The record before the first that is kept stays for its term.
	to := min(keepFrom-1, limit)
	if to <= l.store.index {
		return
	}
	l.pending = Save{Snapshot: &s, CompactTo: to - 1}
}

// Size returns how many records are kept and the bytes of their data.
func (l *Log) Size() (records, bytes int) { return len(l.store.entries), l.store.bytes }

// Diverged reports whether another replica has a committed record that differs
// from ours: one of the two lost its memory or lies. It stays true.
func (l *Log) Diverged() bool { return l.diverged }

// Role is a replica's part.
type Role uint8

// The roles.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

// String returns the role in lower case.
func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

// Status is where a replica stands.
type Status struct {
	Role         Role
	Term         uint64
	Leader       ordering.Origin // zero: none is known
	Vote         uint64          // a seat's id as in Hard; 0 for nobody
	Voted        bool            // Vote is another's
	Commit       uint64
	LastIndex    uint64 // of the records handed out to be stored
	LastTerm     uint64
	RaftApplied  uint64
	Leading      bool // leads, and a record of its own term is applied (P6, B7)
	Conf         Conf
	ConfPending  bool            // a change of seats is not applied yet, or joint
	Transferring ordering.Origin // to whom the lead is being handed; zero: nobody
	Progress     []Progress      // of the others, ascending; for a leader only
}

// Progress is what a leader knows of another seat.
type Progress struct {
	Origin          ordering.Origin
	Match, Next     uint64
	Learner         bool
	Active          bool // heard of within the last election time
	SnapshotPending bool
}

// Status returns a copy of where the replica stands.
func (l *Log) Status() Status {
	st := l.node.BasicStatus()
	s := Status{
		Term: st.GetTerm(), Commit: l.committed(st), LastIndex: l.store.last(), RaftApplied: l.applied,
		Vote: st.GetVote(), Leading: l.leading(), Conf: l.conf, ConfPending: l.confPending(),
	}
	s.Voted = s.Vote != raft.None && s.Vote != l.self
	s.LastTerm, _ = l.store.termOf(s.LastIndex)
	switch st.RaftState {
	case raft.StateFollower:
		s.Role = Follower
	case raft.StatePreCandidate:
		s.Role = PreCandidate
	case raft.StateCandidate:
		s.Role = Candidate
	case raft.StateLeader:
		s.Role = Leader
	}
	s.Leader, s.Transferring = l.origin(st.Lead), l.origin(st.LeadTransferee)
	if s.Role == Leader {
		l.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
			if o, ok := l.seats.owner(id); ok && id != l.self {
				s.Progress = append(s.Progress, Progress{
					Origin: o, Match: p.Match, Next: p.Next, Learner: kind == raft.ProgressTypeLearner,
					Active: p.RecentActive, SnapshotPending: p.State == tracker.StateSnapshot,
				})
			}
		})
		slices.SortFunc(s.Progress, func(a, b Progress) int { return a.Origin.Compare(b.Origin) })
	}
	return s
}

// committed returns up to where the log is committed, as the owner was told to make
// durable: with a change of the seats raft may count further at once.
func (l *Log) committed(st raft.BasicStatus) uint64 { return min(st.GetCommit(), l.hard.Commit) }

// origin returns whose a seat is; zero for nobody's.
func (l *Log) origin(id uint64) ordering.Origin {
	if id == l.self {
		return l.cfg.Self
	}
	o, _ := l.seats.owner(id)
	return o
}
