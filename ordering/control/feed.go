package control

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"tertulia/ordering/mutant"
)

// maxFeed is the size in bytes of the records in one Feed, or one record.
const maxFeed = 64 << 10

// Feed returns a message for a member without a seat, with the committed records
// after peerCommit, which it says to hold (P5); a snapshot where those are not
// held any more; nil when there is nothing new for it.
func (l *Log) Feed(peerCommit uint64) (data []byte, upTo uint64) {
	st := l.node.BasicStatus()
	commit := min(l.committed(st), l.tail.from-1) // what raft is about to replace in the store is not
	if l.cfg.Mutant == mutant.FeedUncommitted {
		commit = l.store.last()
	}
	if peerCommit >= commit || st.GetTerm() == 0 {
		return nil, 0
	}
	m := &raftpb.Message{Type: raftpb.MsgApp.Enum(), Term: new(st.GetTerm())}
	term, ok := l.store.termOf(peerCommit)
	if !ok {
		s, ok := l.snapshot()
		if !ok || s.Index <= peerCommit {
			return nil, 0
		}
		m.Type, m.Snapshot = raftpb.MsgSnap.Enum(), &raftpb.Snapshot{Data: encodeSnapshot(s)}
		return encodeMessage(l.cfg.Self, m, true), s.Index
	}
	entries, err := l.store.Entries(peerCommit+1, commit+1, maxFeed)
	if err != nil {
		return nil, 0
	}
	m.Index, m.LogTerm, m.Entries = &peerCommit, &term, entries
	m.Commit = new(peerCommit + uint64(len(entries)))
	return encodeMessage(l.cfg.Self, m, true), m.GetCommit()
}

// Ack tells the leader how much is committed here: it matches the leader's log
// whatever else does. Said when the leader is first heard of after Open and on
// connecting to it, since a leader that sent a snapshot waits for it. False when
// no leader is known.
func (l *Log) Ack() (Envelope, bool) {
	st := l.node.BasicStatus()
	to, known := l.seats.owner(st.Lead)
	if l.ended || !known || st.Lead == l.self || st.Lead == raft.None {
		return Envelope{}, false
	}
	index := min(st.GetCommit(), l.durable, l.tail.from-1)
	if l.cfg.Mutant == mutant.AckUncommitted {
		index = l.durable
	}
	m := &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), To: new(st.Lead), Term: new(st.GetTerm()), Index: &index}
	return Envelope{To: to, Data: encodeMessage(l.cfg.Self, m, false)}, true
}

// snapshot makes one of now: the linearizer's state, with the seats as of it.
// There is none while a change of seats is applied that the linearizer has not
// reached: its receiver might not be seated in it (P13).
func (l *Log) snapshot() (Snapshot, bool) {
	index, state := l.cfg.State()
	conf, old := l.conf, index < l.confApplied
	if old && l.cfg.Mutant != mutant.SnapshotOldConf || index > l.applied || len(conf.Voters) == 0 {
		return Snapshot{}, false
	}
	//exhaustive:ignore
	switch l.cfg.Mutant {
	case mutant.SnapshotAhead:
		index = min(index+1, l.applied)
	case mutant.SnapshotBehind:
		index = max(index-1, l.store.index)
	}
	term, ok := l.store.termOf(index)
	if !ok || term == 0 {
		return Snapshot{}, false
	}
	return Snapshot{Index: index, Term: term, Conf: encodeConf(conf), State: state}, true
}

// Held returns a snapshot that waits until the graph and the final list are
// where it needs them (P8), nil when none does. It is never given to raft: the
// owner installs it on the disk and opens the Log anew.
func (l *Log) Held() *Snapshot {
	if l.held == nil {
		return nil
	}
	term, ok := l.tail.termOf(l.store, l.held.Index)
	if l.held.Index <= l.node.BasicStatus().GetCommit() || ok && term == l.held.Term {
		l.held = nil // our own records reached it
	}
	return l.held
}

// Installed ends the Log and returns what the disk holds once s is installed:
// nothing up to s but s. Later records are kept where ours agree with s, since
// the leader may count on those that were acknowledged.
func (l *Log) Installed(s Snapshot) Saved {
	l.ended = true
	st := l.node.BasicStatus()
	saved := Saved{
		Hard:        Hard{Term: max(st.GetTerm(), s.Term), Commit: s.Index},
		Snapshot:    s,
		RaftApplied: s.Index,
		Conf:        s.Conf,
		LinApplied:  s.Index,
	}
	if saved.Hard.Term == st.GetTerm() {
		saved.Hard.Vote = st.GetVote()
	}
	if t, ok := l.store.termOf(s.Index); ok && t == s.Term && l.cfg.Mutant != mutant.DropAcknowledged {
		for i := s.Index + 1; i <= l.store.last(); i++ {
			saved.Log = append(saved.Log, recordOf(l.store.at(i)))
		}
		saved.Hard.Commit = max(s.Index, min(st.GetCommit(), l.store.last()))
	}
	return saved
}

// installNow is what mutant.InstallAtOnce does.
func (l *Log) installNow(s Snapshot) {
	saved := l.Installed(s)
	fresh, err := Open(l.cfg, saved)
	if err != nil {
		l.ended = false
		return
	}
	*l = *fresh
	l.store.make = l.snapshot
	l.pending = saved.Replace()
}
