package control

import (
	"bytes"
	"encoding/binary"

	"go.etcd.io/raft/v3/raftpb"

	"tertulia/ordering"
)

// A message between two Logs is: version, kind, the sender's instance, the
// receiver's seat, the term, and what the kind adds. Raft has more kinds and
// fields: what stands here cannot be said cannot come in.
const wireVersion = 1

type wireKind uint8

const (
	wireApp           wireKind = 1  // prev index, prev term, commit, records
	wireAppResp       wireKind = 2  // index, reject, hint, hint's term
	wireVote          wireKind = 3  // last index, last term, whether it is by transfer
	wireVoteResp      wireKind = 4  // reject
	wirePreVote       wireKind = 5  // last index, last term, whether it is by transfer
	wirePreVoteResp   wireKind = 6  // reject
	wireSnap          wireKind = 7  // a snapshot
	wireHeartbeat     wireKind = 8  // commit
	wireHeartbeatResp wireKind = 9  // nothing
	wireTimeoutNow    wireKind = 10 // nothing
	wireFeed          wireKind = 11 // as wireApp, all of it committed, from any seat (P5)
	wireFeedSnap      wireKind = 12 // as wireSnap, from any seat
)

// Limits of a message.
const (
	maxAppEntries = 16384 // records in one message
	entryHead     = 13    // bytes of a record beside its data: term, kind, length
)

// transfer is raft's mark of a campaign that the leader itself asked for.
const transfer = "CampaignTransfer"

// message is one that was read, in raft's words.
type message struct {
	*raftpb.Message
	from ordering.Origin
	fed  bool      // by one that need not lead
	snap *Snapshot // of a MsgSnap, which raft never sees
}

// encodeMessage returns what goes to another Log; nil for what is not said.
func encodeMessage(self ordering.Origin, m *raftpb.Message, fed bool) []byte {
	var kind wireKind
	//exhaustive:ignore
	switch m.GetType() {
	case raftpb.MsgApp:
		if kind = wireApp; fed {
			kind = wireFeed
		}
	case raftpb.MsgSnap:
		if kind = wireSnap; fed {
			kind = wireFeedSnap
		}
	case raftpb.MsgAppResp:
		kind = wireAppResp
	case raftpb.MsgVote:
		kind = wireVote
	case raftpb.MsgVoteResp:
		kind = wireVoteResp
	case raftpb.MsgPreVote:
		kind = wirePreVote
	case raftpb.MsgPreVoteResp:
		kind = wirePreVoteResp
	case raftpb.MsgHeartbeat:
		kind = wireHeartbeat
	case raftpb.MsgHeartbeatResp:
		kind = wireHeartbeatResp
	case raftpb.MsgTimeoutNow:
		kind = wireTimeoutNow
	default:
		return nil
	}
	size := 64 + len(m.GetSnapshot().GetData())
	for _, e := range m.GetEntries() {
		size += entryHead + len(e.GetData())
	}
	b := make([]byte, 0, size)
	u64 := func(v uint64) { b = binary.BigEndian.AppendUint64(b, v) }
	flag := func(v bool) {
		if v {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	b = append(b, wireVersion, uint8(kind))
	b = append(b, self.Instance[:]...)
	u64(m.GetTo())
	u64(m.GetTerm())
	switch kind {
	case wireApp, wireFeed:
		u64(m.GetIndex())
		u64(m.GetLogTerm())
		u64(m.GetCommit())
		b = binary.BigEndian.AppendUint32(b, uint32(len(m.GetEntries())))
		for _, e := range m.GetEntries() {
			r := recordOf(e)
			u64(r.Term)
			b = append(b, uint8(r.Kind))
			b = appendBytes(b, r.Data)
		}
	case wireAppResp:
		u64(m.GetIndex())
		flag(m.GetReject())
		u64(m.GetRejectHint())
		u64(m.GetLogTerm())
	case wireVote, wirePreVote:
		u64(m.GetIndex())
		u64(m.GetLogTerm())
		flag(bytes.Equal(m.GetContext(), []byte(transfer)))
	case wireVoteResp, wirePreVoteResp:
		flag(m.GetReject())
	case wireSnap, wireFeedSnap:
		b = append(b, m.GetSnapshot().GetData()...)
	case wireHeartbeat:
		u64(m.GetCommit())
	case wireHeartbeatResp, wireTimeoutNow:
	}
	return b
}

// decodeMessage reads what encodeMessage wrote on the device it came from. Shape
// and limits are checked, and that every record can be read.
func decodeMessage(cfg Config, device ordering.DeviceKey, data []byte) (*message, error) {
	r := reader{b: data}
	if r.u8() != wireVersion {
		return nil, errMessage
	}
	kind := wireKind(r.u8())
	from := ordering.Origin{Device: device}
	copy(from.Instance[:], r.raw(ordering.InstanceSize))
	id, to, term := cfg.seat(from), r.u64(), r.u64()
	m := &message{Message: &raftpb.Message{From: &id, To: &to, Term: &term}, from: from}
	u64 := func() *uint64 { v := r.u64(); return &v }
	flag := func() *bool {
		v := r.u8()
		if v > 1 {
			r.err = errMessage
		}
		yes := v == 1
		return &yes
	}
	switch kind {
	case wireApp, wireFeed:
		m.Type, m.fed = raftpb.MsgApp.Enum(), kind == wireFeed
		m.Index, m.LogTerm, m.Commit = u64(), u64(), u64()
		if err := decodeEntries(cfg, &r, m); err != nil {
			return nil, err
		}
	case wireAppResp:
		m.Type = raftpb.MsgAppResp.Enum()
		m.Index, m.Reject, m.RejectHint, m.LogTerm = u64(), flag(), u64(), u64()
	case wireVote, wirePreVote:
		if m.Type = raftpb.MsgVote.Enum(); kind == wirePreVote {
			m.Type = raftpb.MsgPreVote.Enum()
		}
		m.Index, m.LogTerm = u64(), u64()
		if *flag() {
			m.Context = []byte(transfer)
		}
	case wireVoteResp, wirePreVoteResp:
		if m.Type = raftpb.MsgVoteResp.Enum(); kind == wirePreVoteResp {
			m.Type = raftpb.MsgPreVoteResp.Enum()
		}
		m.Reject = flag()
	case wireSnap, wireFeedSnap:
		m.Type, m.fed = raftpb.MsgSnap.Enum(), kind == wireFeedSnap
		s, err := decodeSnapshot(r.raw(len(r.b)))
		if err != nil {
			return nil, err
		}
		m.snap = &s
	case wireHeartbeat:
		m.Type, m.Commit = raftpb.MsgHeartbeat.Enum(), u64()
	case wireHeartbeatResp:
		m.Type = raftpb.MsgHeartbeatResp.Enum()
	case wireTimeoutNow:
		m.Type = raftpb.MsgTimeoutNow.Enum()
	default:
		return nil, errMessage
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	for _, v := range []uint64{term, m.GetIndex(), m.GetLogTerm(), m.GetRejectHint()} {
		if v > maxIndex {
			return nil, errMessage
		}
	}
	return m, nil
}

// decodeEntries reads the records of a message, which follow one another and the
// one before them: an index needs no saying.
func decodeEntries(cfg Config, r *reader, m *message) error {
	v := r.raw(4)
	if v == nil {
		return errMessage
	}
	n, term := binary.BigEndian.Uint32(v), m.GetLogTerm()
	if n > maxAppEntries || int(n) > len(r.b)/entryHead {
		return errMessage
	}
	for i := range uint64(n) {
		e := Record{Index: m.GetIndex() + 1 + i, Term: r.u64(), Kind: RecordKind(r.u8()), Data: bytes.Clone(r.bytes())}
		if r.err != nil {
			return r.err
		}
		if e.Term < term || e.Term == 0 || e.Term > m.GetTerm() {
			return errMessage
		}
		term = e.Term
		if err := checkRecord(cfg, e.Kind, e.Data); err != nil {
			return err
		}
		m.Entries = append(m.Entries, entryOf(e))
	}
	return nil
}
