package control

import (
	"bytes"
	"errors"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

var errMessage = errors.New("control: not a message")

// maxTermStep is how far above our own the term of a message may be.
const maxTermStep = 1 << 20

// Step takes one message of another Log from the device that proved to have
// sent it. Data is not kept. The error is a *ordering.Refusal. No input makes it
// panic, whoever sent it.
//
// The instance in the message and the device name the sender's origin, and that
// alone its seat. From an origin without a seat in our Conf it takes only what a
// leader, a candidate or a feeder says: its seat may be news to us, since the
// Conf changed while we slept.
func (l *Log) Step(from ordering.DeviceKey, data []byte) error {
	if l.ended {
		return nil
	}
	if reason := l.step(from, data); reason != "" {
		return ordering.Refuse(reason, ordering.EntryID{Origin: ordering.Origin{Device: from}})
	}
	return nil
}

// step returns why the message is refused, or "".
func (l *Log) step(from ordering.DeviceKey, data []byte) ordering.Reason {
	if len(data) > ordering.MaxRaft {
		return ordering.Oversize
	}
	m, err := decodeMessage(l.cfg, from, data)
	if err != nil {
		return ordering.Malformed
	}
	if m.GetFrom() == l.self {
		return ordering.Malformed
	}
	if m.GetTo() != l.self && !(m.fed && m.GetTo() == 0) {
		return "" // for another instance of this device
	}
	st := l.node.BasicStatus()
	if m.GetTerm() == 0 || m.GetTerm() > st.GetTerm()+maxTermStep {
		return ordering.Malformed
	}
	if _, seated := l.seats.seated[m.GetFrom()]; !seated {
		//exhaustive:ignore
		switch m.GetType() {
		case raftpb.MsgApp, raftpb.MsgSnap, raftpb.MsgHeartbeat, raftpb.MsgVote, raftpb.MsgPreVote:
			l.seats.meet(m.GetFrom(), m.from)
		case raftpb.MsgTimeoutNow:
			return ordering.NotMember
		default:
			return "" // the answer to a feed, or of one whose seat is gone
		}
	}
	//exhaustive:ignore
	switch m.GetType() {
	case raftpb.MsgApp:
		return l.stepApp(m, st)
	case raftpb.MsgSnap:
		return l.stepSnap(m, st)
	case raftpb.MsgHeartbeat:
		if m.GetTerm() >= st.GetTerm() && m.GetCommit() > l.tail.last() {
			return ordering.Malformed
		}
	case raftpb.MsgAppResp:
		// What it answers to in an earlier term may have been cut off here since.
		if m.GetTerm() >= st.GetTerm() && m.GetIndex() > l.tail.last() || m.GetReject() && m.GetRejectHint() > m.GetIndex() {
			return ordering.Malformed
		}
	case raftpb.MsgTimeoutNow:
		if m.GetTerm() > st.GetTerm() || st.Lead != raft.None && st.Lead != m.GetFrom() {
			return ordering.NotAllowed
		}
	default: // a vote or an answer to one: raft takes any
	}
	l.learn(m)
	l.raftStep(m.Message)
	return ""
}

// shown is the most that a replica ever said of its log, and our tick when it last
// answered.
type shown struct{ term, match, tick uint64 }

// learn notes what an answer shows of its sender's disk: the term it is in, and
// up to where it holds the log of that term's leader.
func (l *Log) learn(m *message) {
	var match uint64
	//exhaustive:ignore
	switch m.GetType() {
	case raftpb.MsgAppResp:
		if !m.GetReject() {
			match = m.GetIndex()
		}
	case raftpb.MsgVoteResp, raftpb.MsgHeartbeatResp:
	default:
		return
	}
	was := l.shown[m.from]
	if m.GetTerm() > was.term {
		was = shown{term: m.GetTerm(), tick: was.tick}
	}
	if m.GetTerm() == was.term {
		was.tick = l.ticks
		was.match = max(was.match, match)
		l.shown[m.from] = was
	}
}

// Shown returns the highest term in which a seat holder answered since Open, and
// the highest index that it said to hold in that term (PROTOCOL.md 1, Crash).
func (l *Log) Shown(o ordering.Origin) (term, match uint64) {
	s := l.shown[o]
	return s.term, s.match
}

// raftStep gives raft a message that was checked. Its errors are of messages
// that came too late to matter.
func (l *Log) raftStep(m *raftpb.Message) {
	_ = l.node.Step(m)
	l.note()
}

// stepApp takes records.
func (l *Log) stepApp(m *message, st raft.BasicStatus) ordering.Reason {
	if m.fed {
		if st.RaftState == raft.StateLeader {
			return "" // nobody else knows more
		}
		if m.GetCommit() < m.GetIndex()+uint64(len(m.GetEntries())) {
			return ordering.Malformed // only what is committed is fed
		}
		// What is committed is so in every later term too.
		m.Term = new(max(m.GetTerm(), st.GetTerm()))
	}
	if m.GetTerm() >= st.GetTerm() {
		if l.contradicts(m, st.GetCommit()) {
			l.diverged = true
			return ordering.Fork
		}
		if m.fed {
			l.trim(m, st.GetCommit())
		}
	}
	if l.tail.more && m.GetIndex() > l.tail.last() {
		return "" // as good as lost: what raft appended while it led is not known before the next Ready
	}
	leads := st.RaftState == raft.StateLeader && m.GetTerm() == st.GetTerm()
	term, held := l.tail.termOf(l.store, m.GetIndex())
	taken := m.GetTerm() >= st.GetTerm() && !leads && m.GetIndex() >= st.GetCommit() && held && term == m.GetLogTerm()
	l.raftStep(m.Message)
	if taken {
		l.tail.append(l.store, m.GetEntries())
	}
	if m.fed && l.cfg.Mutant != mutant.FedIsFollowing {
		l.follow(st)
	}
	return ""
}

// follow undoes that raft took who feeds us for the leader: we follow whom we
// followed before, if it is in this term.
func (l *Log) follow(before raft.BasicStatus) {
	now := l.node.BasicStatus()
	switch {
	case now.Lead == before.Lead && now.GetTerm() == before.GetTerm():
	case before.Lead == raft.None || now.GetTerm() != before.GetTerm():
		_ = l.node.ForgetLeader()
	default:
		l.raftStep(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: &before.Lead, To: &l.self, Term: new(now.GetTerm())})
	}
}

// contradicts reports whether a message of a leader, or of one that passes
// committed records on, differs from what is committed here. None of our terms
// or later ones can.
func (l *Log) contradicts(m *message, commit uint64) bool {
	if t, ok := l.tail.termOf(l.store, m.GetIndex()); ok && m.GetIndex() <= commit && t != m.GetLogTerm() {
		return true
	}
	for _, e := range m.GetEntries() {
		i := e.GetIndex()
		if i > commit {
			return false
		}
		t, ok := l.tail.termOf(l.store, i)
		if !ok {
			continue // compacted
		}
		if t != e.GetTerm() {
			return true
		}
		if i > l.store.index && i < l.tail.from {
			if own := l.store.at(i); own.GetType() != e.GetType() || !bytes.Equal(own.GetData(), e.GetData()) {
				return true
			}
		}
	}
	return false
}

// trim drops what is committed here from the front of fed records: raft takes
// none that begin below.
func (l *Log) trim(m *message, commit uint64) {
	last := m.GetIndex() + uint64(len(m.GetEntries()))
	if m.GetIndex() >= commit || last <= commit {
		return
	}
	term, ok := l.tail.termOf(l.store, commit)
	if !ok {
		return
	}
	m.Entries = m.Entries[commit-m.GetIndex():]
	m.Index, m.LogTerm = new(commit), new(term)
}

// answerSnap tells a leader that what it sent a snapshot of is here.
func (l *Log) answerSnap(m *message) {
	if !m.fed {
		l.raftStep(&raftpb.Message{
			Type: raftpb.MsgApp.Enum(), From: m.From, To: m.To, Term: m.Term,
			Index: &m.snap.Index, LogTerm: &m.snap.Term, Commit: &m.snap.Index,
		})
	}
}

// stepSnap keeps a snapshot until the owner can install it (P8): raft never sees
// one.
func (l *Log) stepSnap(m *message, st raft.BasicStatus) ordering.Reason {
	s := m.snap
	if s.Term > m.GetTerm() {
		return ordering.Malformed
	}
	if s.Index <= st.GetCommit() {
		if t, ok := l.tail.termOf(l.store, s.Index); ok && t != s.Term {
			l.diverged = true
			return ordering.Fork
		}
		l.answerSnap(m)
		return ""
	}
	if l.held != nil && l.held.Index >= s.Index && !(l.heldFed && !m.fed) {
		return ""
	}
	l.heldFed = m.fed
	if t, ok := l.tail.termOf(l.store, s.Index); ok && t == s.Term {
		l.answerSnap(m) // all of it is in our records
		return ""
	}
	l.held = s
	if l.cfg.Mutant == mutant.InstallAtOnce {
		l.installNow(*s)
	}
	return ""
}
