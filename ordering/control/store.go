package control

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// store mirrors the disk's records for raft (raft.Storage): what a Ready told
// the owner to store, whether or not it is durable yet.
type store struct {
	index, term uint64 // of the record before the first that can be read
	entries     []*raftpb.Entry
	bytes       int // of the entries' data
	hard        *raftpb.HardState
	conf        *raftpb.ConfState
	make        func() (Snapshot, bool) // a snapshot of now
	cfg         Config
}

func newStore(cfg Config, s Saved, conf Conf) *store {
	st := &store{cfg: cfg, conf: conf.state(cfg)}
	st.hard = &raftpb.HardState{Term: &s.Hard.Term, Vote: &s.Hard.Vote, Commit: &s.Hard.Commit}
	st.index, st.term = s.base()
	for _, r := range s.Log {
		if r.Index > st.index {
			st.entries = append(st.entries, entryOf(r))
			st.bytes += len(r.Data)
		}
	}
	return st
}

func (s *store) last() uint64 { return s.index + uint64(len(s.entries)) }

// termOf returns the term of a record; false where it is not held.
func (s *store) termOf(i uint64) (uint64, bool) {
	switch {
	case i == s.index:
		return s.term, true
	case i < s.index || i > s.last():
		return 0, false
	}
	return s.entries[i-s.index-1].GetTerm(), true
}

// at returns the record at i, which is held.
func (s *store) at(i uint64) *raftpb.Entry { return s.entries[i-s.index-1] }

func (s *store) append(entries []*raftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	keep := entries[0].GetIndex() - s.index - 1
	for _, e := range s.entries[keep:] {
		s.bytes -= len(e.GetData())
	}
	for _, e := range entries {
		s.bytes += len(e.GetData())
	}
	if keep < uint64(len(s.entries)) {
		// Raft may still read what is cut off through a slice it was given.
		s.entries = s.entries[:keep:keep]
	}
	s.entries = append(s.entries, entries...)
}

// compact forgets the records up to and including i, but for the last one's
// term.
func (s *store) compact(i uint64) {
	if i <= s.index {
		return
	}
	n := i - s.index
	term, _ := s.termOf(i)
	for _, e := range s.entries[:n] {
		s.bytes -= len(e.GetData())
	}
	s.entries = append([]*raftpb.Entry(nil), s.entries[n:]...)
	s.index, s.term = i, term
}

// InitialState implements raft.Storage.
func (s *store) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return s.hard, s.conf, nil
}

// Entries implements raft.Storage.
func (s *store) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	if lo <= s.index {
		return nil, raft.ErrCompacted
	}
	if hi > s.last()+1 {
		return nil, raft.ErrUnavailable
	}
	from, n, size := lo-s.index-1, uint64(0), uint64(0)
	for ; lo+n < hi; n++ {
		size += entryHead + uint64(len(s.entries[from+n].GetData()))
		if n > 0 && size > maxSize {
			break
		}
	}
	return s.entries[from : from+n : from+n], nil
}

// Term implements raft.Storage.
func (s *store) Term(i uint64) (uint64, error) {
	if t, ok := s.termOf(i); ok {
		return t, nil
	}
	if i < s.index {
		return 0, raft.ErrCompacted
	}
	return 0, raft.ErrUnavailable
}

// LastIndex implements raft.Storage.
func (s *store) LastIndex() (uint64, error) { return s.last(), nil }

// FirstIndex implements raft.Storage.
func (s *store) FirstIndex() (uint64, error) { return s.index + 1, nil }

// Snapshot implements raft.Storage: always one of now.
func (s *store) Snapshot() (*raftpb.Snapshot, error) {
	snap, ok := s.make()
	if !ok {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	conf, err := decodeConf(snap.Conf)
	if err != nil {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{
		Data:     encodeSnapshot(snap),
		Metadata: &raftpb.SnapshotMetadata{ConfState: conf.state(s.cfg), Index: &snap.Index, Term: &snap.Term},
	}, nil
}

// tail foretells raft's own log between two Readys, which raft does not show:
// the terms of the records that messages put behind or over the store's. What a
// leader appends is not in it, so raft may hold more, never less.
type tail struct {
	from  uint64 // index of terms[0]; what is below is the store's
	terms []uint64
	more  bool // raft may hold records behind these: it led since the last Ready
}

func (s *store) tail() tail { return tail{from: s.last() + 1} }

func (t *tail) last() uint64 { return t.from + uint64(len(t.terms)) - 1 }

func (t *tail) termOf(s *store, i uint64) (uint64, bool) {
	if i < t.from {
		return s.termOf(i)
	}
	if i > t.last() {
		return 0, false
	}
	return t.terms[i-t.from], true
}

// append does what raft does with entries behind a record that matches.
func (t *tail) append(s *store, entries []*raftpb.Entry) {
	for i, e := range entries {
		if term, ok := t.termOf(s, e.GetIndex()); ok && term == e.GetTerm() {
			continue
		}
		if e.GetIndex() <= t.last() {
			t.more = false
		}
		if e.GetIndex() < t.from {
			t.from, t.terms = e.GetIndex(), nil
		}
		t.terms = t.terms[:e.GetIndex()-t.from]
		for _, e := range entries[i:] {
			t.terms = append(t.terms, e.GetTerm())
		}
		return
	}
}

// silent is raft's logger: what it would say is told by Status. It panics where
// raft asks for it: that is a mistake of this package.
type silent struct{}

func (silent) Debug(...any)            {}
func (silent) Debugf(string, ...any)   {}
func (silent) Error(...any)            {}
func (silent) Errorf(string, ...any)   {}
func (silent) Info(...any)             {}
func (silent) Infof(string, ...any)    {}
func (silent) Warning(...any)          {}
func (silent) Warningf(string, ...any) {}
func (silent) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (silent) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (silent) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (silent) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
