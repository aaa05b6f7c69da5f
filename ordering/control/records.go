package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"tertulia/ordering"
)

// RecordKind says what a record's data is.
type RecordKind uint8

// The kinds.
const (
	KindNormal RecordKind = 1 // an encoded ordering.Command, or empty
	KindConf   RecordKind = 2 // a change of seats
)

// Record is one entry of the control log as it is stored.
type Record struct {
	Index, Term uint64
	Kind        RecordKind
	Data        []byte
}

// Hard is what a replica promised: it must be durable before anything is said
// that rests on it (P7).
type Hard struct {
	Term   uint64
	Vote   uint64 // a seat's id; 0 for nobody
	Commit uint64
}

// Snapshot stands for the records up to Index.
type Snapshot struct {
	Index, Term uint64
	Conf        []byte // the seats as of Index
	State       []byte // the linearizer's as of Index, opaque here
}

// Saved is what a disk gives back. The zero Saved is that of a replica that has
// nothing of the log yet.
type Saved struct {
	Hard        Hard
	Snapshot    Snapshot
	Log         []Record // contiguous; the first may be at or below Snapshot.Index
	RaftApplied uint64   // changes of seats are applied up to here (P12)
	Conf        []byte   // as of RaftApplied
	LinApplied  uint64   // commands are applied up to here: the linearizer's to say
}

// Save is a delta to Saved, in this order: compact, truncate, append, and the
// rest. What is zero stays as it was.
type Save struct {
	Hard        *Hard
	Snapshot    *Snapshot
	CompactTo   uint64   // records up to here are dropped
	Append      []Record // records from Append[0].Index on are dropped first
	RaftApplied uint64
	Conf        []byte
}

// Empty reports whether there is nothing to store.
func (d Save) Empty() bool {
	return d.Hard == nil && d.Snapshot == nil && d.CompactTo == 0 && len(d.Append) == 0 && d.RaftApplied == 0 && d.Conf == nil
}

// Then returns a delta that does what d and then e do. What e appends follows
// everything that d keeps.
func (d Save) Then(e Save) Save {
	if e.Hard != nil {
		d.Hard = e.Hard
	}
	if e.Snapshot != nil {
		d.Snapshot = e.Snapshot
	}
	if e.Conf != nil {
		d.Conf = e.Conf
	}
	d.CompactTo = max(d.CompactTo, e.CompactTo)
	d.RaftApplied = max(d.RaftApplied, e.RaftApplied)
	d.Append = append(slices.Clip(d.Append), e.Append...)
	return d
}

// Apply does to s what a disk does with d. LinApplied is left alone: it is
// stored with the linearizer's mark.
func (s *Saved) Apply(d Save) {
	if d.CompactTo > 0 {
		n := 0
		for n < len(s.Log) && s.Log[n].Index <= d.CompactTo {
			n++
		}
		s.Log = slices.Clone(s.Log[n:])
	}
	if len(d.Append) > 0 {
		n := len(s.Log)
		for n > 0 && s.Log[n-1].Index >= d.Append[0].Index {
			n--
		}
		s.Log = append(s.Log[:n], d.Append...)
	}
	if d.Hard != nil {
		s.Hard = *d.Hard
	}
	if d.Snapshot != nil {
		s.Snapshot = *d.Snapshot
	}
	if d.RaftApplied > 0 {
		s.RaftApplied = d.RaftApplied
	}
	if d.Conf != nil {
		s.Conf = d.Conf
	}
}

// Clone returns a copy that Apply to either does not change in the other.
func (s Saved) Clone() Saved {
	s.Log = slices.Clone(s.Log)
	return s
}

// Replace returns the delta after which any disk holds s.
func (s Saved) Replace() Save {
	return Save{Hard: &s.Hard, Snapshot: &s.Snapshot, CompactTo: math.MaxInt64, Append: s.Log, RaftApplied: s.RaftApplied, Conf: s.Conf}
}

// Found returns the log of a new room: a snapshot at index 1 of term 1, in which
// the creator alone votes, with the linearizer's state.
func Found(_ ordering.RoomID, creator ordering.Origin, state []byte) Saved {
	conf := encodeConf(Conf{Voters: []ordering.Origin{creator}})
	return Saved{
		Hard:        Hard{Term: 1, Commit: 1},
		Snapshot:    Snapshot{Index: 1, Term: 1, Conf: conf, State: state},
		RaftApplied: 1,
		Conf:        conf,
		LinApplied:  1,
	}
}

// maxIndex bounds indexes and terms, so that no sum of them overflows and every
// one fits a signed column.
const maxIndex = 1 << 60

// check finds out a corrupt disk.
func (s Saved) check(cfg Config) error {
	conf, err := decodeConf(s.Conf)
	if err != nil {
		return err
	}
	if _, err := decodeConf(s.Snapshot.Conf); err != nil {
		return err
	}
	index, term := s.base()
	for i, r := range s.Log {
		if r.Index != index+1 && (i > 0 || r.Index != index) {
			return fmt.Errorf("control: record %d follows %d", r.Index, index)
		}
		if r.Term < term || r.Term == 0 {
			return fmt.Errorf("control: record %d is of term %d after %d", r.Index, r.Term, term)
		}
		if err := checkRecord(cfg, r.Kind, r.Data); err != nil {
			return fmt.Errorf("control: record %d: %w", r.Index, err)
		}
		index, term = r.Index, r.Term
	}
	first, _ := s.base()
	switch {
	case index > maxIndex || s.Hard.Term > maxIndex:
		return errors.New("control: numbers out of range")
	case index < s.Snapshot.Index:
		return errors.New("control: the records end below the snapshot")
	case s.Snapshot.Index > 0 && len(s.Snapshot.Conf) == 0 || s.Snapshot.Index > 0 && s.Snapshot.Term == 0:
		return errors.New("control: the snapshot has no seats")
	case s.Hard.Term < term:
		return errors.New("control: a record is of a later term than the replica")
	case s.Hard.Commit < max(first, s.Snapshot.Index) || s.Hard.Commit > index:
		return errors.New("control: what is committed is not here")
	case s.RaftApplied < max(first, s.Snapshot.Index) || s.RaftApplied > s.Hard.Commit:
		return errors.New("control: what is applied is not here")
	case s.LinApplied < first || s.LinApplied > s.RaftApplied:
		return errors.New("control: what the linearizer waits for is not here")
	case s.RaftApplied > 0 && len(conf.Voters) == 0:
		return errors.New("control: nobody votes")
	}
	return nil
}

// base returns the place before the first record that can be read: the oldest
// one kept gives its term, where it is not above the snapshot.
func (s Saved) base() (index, term uint64) {
	if len(s.Log) > 0 && s.Log[0].Index <= s.Snapshot.Index {
		return s.Log[0].Index, s.Log[0].Term
	}
	return s.Snapshot.Index, s.Snapshot.Term
}

var errRecord = errors.New("control: not a record")

// maxRecord is the size of a record's data in bytes: one batch and its head.
const maxRecord = ordering.MaxBatchBytes + 16<<10

func checkRecord(cfg Config, kind RecordKind, data []byte) error {
	if len(data) > maxRecord {
		return errRecord
	}
	switch kind {
	case KindNormal:
		if len(data) == 0 {
			return nil
		}
		_, err := ordering.DecodeCommand(data)
		return err
	case KindConf:
		_, err := decodeChange(cfg, data)
		return err
	}
	return errRecord
}

func recordOf(e *raftpb.Entry) Record {
	kind := KindNormal
	if e.GetType() == raftpb.EntryConfChangeV2 {
		kind = KindConf
	}
	return Record{Index: e.GetIndex(), Term: e.GetTerm(), Kind: kind, Data: e.GetData()}
}

func entryOf(r Record) *raftpb.Entry {
	kind := raftpb.EntryNormal
	if r.Kind == KindConf {
		kind = raftpb.EntryConfChangeV2
	}
	return &raftpb.Entry{Index: &r.Index, Term: &r.Term, Type: kind.Enum(), Data: r.Data}
}

// encodeSnapshot returns the only encoding of a snapshot.
func encodeSnapshot(s Snapshot) []byte {
	b := make([]byte, 0, 24+len(s.Conf)+len(s.State))
	b = binary.BigEndian.AppendUint64(b, s.Index)
	b = binary.BigEndian.AppendUint64(b, s.Term)
	b = appendBytes(b, s.Conf)
	return appendBytes(b, s.State)
}

var errSnapshot = errors.New("control: not a snapshot")

// decodeSnapshot reads what encodeSnapshot wrote into bytes of its own.
func decodeSnapshot(b []byte) (Snapshot, error) {
	r := reader{b: b}
	s := Snapshot{Index: r.u64(), Term: r.u64(), Conf: slices.Clone(r.bytes()), State: slices.Clone(r.bytes())}
	if err := r.end(); err != nil {
		return Snapshot{}, err
	}
	conf, err := decodeConf(s.Conf)
	if err != nil {
		return Snapshot{}, err
	}
	if len(conf.Voters) == 0 || s.Index == 0 || s.Term == 0 || s.Index > maxIndex {
		return Snapshot{}, errSnapshot
	}
	return s, nil
}

// reader reads fixed-width big-endian numbers and byte strings behind a 32-bit
// length. After the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("control: bytes end too early or too late")

func (r *reader) raw(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.err = errShort
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.raw(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.raw(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) bytes() []byte {
	v := r.raw(4)
	if v == nil {
		return nil
	}
	n := binary.BigEndian.Uint32(v)
	if uint64(n) > uint64(len(r.b)) {
		r.err = errShort
		return nil
	}
	return r.raw(int(n))
}

func (r *reader) origin() (o ordering.Origin) {
	copy(o.Device[:], r.raw(ordering.DeviceSize))
	copy(o.Instance[:], r.raw(ordering.InstanceSize))
	return o
}

func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = errShort
	}
	return r.err
}

func appendBytes(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}
