package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"tertulia/ordering"
)

// Limits of the seats.
const (
	MaxVoters   = 5  // L1
	MaxLearners = 16 // at a time
	maxChanges  = 16 // seats that one Change moves

	confVersion = 1
)

// Conf says who has a seat. Every list is ascending. A zero Conf is that of a
// replica which holds nothing of the log yet.
type Conf struct {
	Voters   []ordering.Origin
	Outgoing []ordering.Origin // not empty while joint: a majority of these is needed too
	Learners []ordering.Origin
}

// Joint reports whether a change of several seats is under way.
func (c Conf) Joint() bool { return len(c.Outgoing) > 0 }

// Votes reports whether o's vote counts.
func (c Conf) Votes(o ordering.Origin) bool {
	return slices.Contains(c.Voters, o) || slices.Contains(c.Outgoing, o)
}

// Seats reports whether o has a seat of any kind.
func (c Conf) Seats(o ordering.Origin) bool { return c.Votes(o) || slices.Contains(c.Learners, o) }

// Change moves seats, all at once. Learn seats new learners; Promote makes
// voters of learners; Remove unseats voters or learners. A change of one seat
// takes effect when it is applied; one of several goes through a joint Conf that
// is left by itself.
type Change struct {
	Learn, Promote, Remove []ordering.Origin
}

func (c Change) size() int { return len(c.Learn) + len(c.Promote) + len(c.Remove) }

var errChange = errors.New("control: not a lawful change of seats")

// next returns the Conf after ch, or errChange where ch is not lawful: every
// replica judges alike, so an unlawful change that was committed changes nothing
// anywhere. A zero Change leaves the joint Conf.
func (c Conf) next(cfg Config, ch Change) (Conf, error) {
	if ch.size() == 0 {
		if !c.Joint() {
			return Conf{}, errChange
		}
		return Conf{Voters: c.Voters, Learners: c.Learners}, nil
	}
	if c.Joint() || len(c.Voters) == 0 || ch.size() > maxChanges {
		return Conf{}, errChange
	}
	voters, learners := slices.Clone(c.Voters), slices.Clone(c.Learners)
	moved := map[uint64]bool{}
	move := func(o ordering.Origin) bool {
		id := cfg.seat(o)
		again := moved[id]
		moved[id] = true
		return !again
	}
	taken := func(o ordering.Origin) bool {
		return slices.ContainsFunc(slices.Concat(c.Voters, c.Learners), func(p ordering.Origin) bool { return cfg.seat(p) == cfg.seat(o) })
	}
	without := func(list []ordering.Origin, o ordering.Origin) []ordering.Origin {
		return slices.DeleteFunc(list, func(p ordering.Origin) bool { return p == o })
	}
	for _, o := range ch.Learn {
		if !move(o) || taken(o) {
			return Conf{}, errChange
		}
		learners = append(learners, o)
	}
	for _, o := range ch.Promote {
		if !move(o) || !slices.Contains(c.Learners, o) {
			return Conf{}, errChange
		}
		learners, voters = without(learners, o), append(voters, o)
	}
	for _, o := range ch.Remove {
		if !move(o) || !c.Seats(o) {
			return Conf{}, errChange
		}
		learners, voters = without(learners, o), without(voters, o)
	}
	if len(voters) == 0 || len(voters) > MaxVoters || len(learners) > MaxLearners {
		return Conf{}, errChange
	}
	slices.SortFunc(voters, ordering.Origin.Compare)
	slices.SortFunc(learners, ordering.Origin.Compare)
	n := Conf{Voters: voters, Learners: learners}
	if len(learners) == 0 {
		n.Learners = nil
	}
	if ch.size() > 1 {
		n.Outgoing = c.Voters
	}
	return n, nil
}

// state returns the Conf in raft's words.
func (c Conf) state(cfg Config) *raftpb.ConfState {
	ids := func(list []ordering.Origin) (ids []uint64) {
		for _, o := range list {
			ids = append(ids, cfg.seat(o))
		}
		slices.Sort(ids)
		return ids
	}
	joint := c.Joint()
	return &raftpb.ConfState{Voters: ids(c.Voters), VotersOutgoing: ids(c.Outgoing), Learners: ids(c.Learners), AutoLeave: &joint}
}

// encodeConf returns the only encoding of a Conf; nil for the zero one.
func encodeConf(c Conf) []byte {
	if len(c.Voters) == 0 {
		return nil
	}
	b := []byte{confVersion}
	for _, list := range [][]ordering.Origin{c.Voters, c.Outgoing, c.Learners} {
		b = append(b, uint8(len(list)))
		for _, o := range list {
			b = append(b, o.Bytes()...)
		}
	}
	return b
}

var errConf = errors.New("control: not a list of seats")

// decodeConf reads what encodeConf wrote.
func decodeConf(b []byte) (Conf, error) {
	if len(b) == 0 {
		return Conf{}, nil
	}
	r := reader{b: b}
	if r.u8() != confVersion {
		return Conf{}, errConf
	}
	var c Conf
	for _, list := range []struct {
		to  *[]ordering.Origin
		max int
	}{{&c.Voters, MaxVoters}, {&c.Outgoing, MaxVoters}, {&c.Learners, MaxLearners}} {
		n := int(r.u8())
		if n > list.max {
			return Conf{}, errConf
		}
		for range n {
			*list.to = append(*list.to, r.origin())
		}
		for i := 1; i < n; i++ {
			if (*list.to)[i-1].Compare((*list.to)[i]) >= 0 {
				return Conf{}, errConf
			}
		}
	}
	if err := r.end(); err != nil {
		return Conf{}, err
	}
	if len(c.Voters) == 0 || slices.ContainsFunc(c.Learners, c.Votes) {
		return Conf{}, errConf
	}
	return c, nil
}

// A Change travels as raft's ConfChangeV2, whose context names the origin of
// each seat in turn, so that every replica learns whose it is. Raft's own record
// that leaves a joint Conf has no data at all.

// raftChange returns the Change in raft's words.
func raftChange(cfg Config, ch Change) *raftpb.ConfChangeV2 {
	cc := &raftpb.ConfChangeV2{}
	for _, part := range []struct {
		kind raftpb.ConfChangeType
		list []ordering.Origin
	}{{raftpb.ConfChangeAddLearnerNode, ch.Learn}, {raftpb.ConfChangeAddNode, ch.Promote}, {raftpb.ConfChangeRemoveNode, ch.Remove}} {
		for _, o := range part.list {
			id := cfg.seat(o)
			cc.Changes = append(cc.Changes, &raftpb.ConfChangeSingle{Type: part.kind.Enum(), NodeId: &id})
			cc.Context = append(cc.Context, o.Bytes()...)
		}
	}
	return cc
}

// decodeChange reads the data of a KindConf record; strict, and without a
// protobuf library, of whose messages it knows this one.
func decodeChange(cfg Config, data []byte) (Change, error) {
	type single struct{ kind, id uint64 }
	var singles []single
	var context []byte
	for len(data) > 0 {
		field, v, rest, err := protoBytes(data)
		if err != nil {
			return Change{}, err
		}
		data = rest
		switch field {
		case 2:
			var s single
			for len(v) > 0 {
				f, n, rest, err := protoNumber(v)
				if err != nil {
					return Change{}, err
				}
				switch v = rest; f {
				case 1:
					s.kind = n
				case 2:
					s.id = n
				default:
					return Change{}, errChange
				}
			}
			if singles = append(singles, s); len(singles) > maxChanges {
				return Change{}, errChange
			}
		case 3:
			context = v
		default: // a transition: only raft's automatic one, which is not written, is ours
			return Change{}, errChange
		}
	}
	r := reader{b: context}
	var ch Change
	for _, s := range singles {
		o := r.origin()
		if r.err == nil && (s.id != cfg.seat(o) || s.kind > uint64(raftpb.ConfChangeAddLearnerNode)) {
			return Change{}, fmt.Errorf("control: seat %x is not that of %s", s.id, o.Tag())
		}
		switch raftpb.ConfChangeType(s.kind) {
		case raftpb.ConfChangeAddLearnerNode:
			ch.Learn = append(ch.Learn, o)
		case raftpb.ConfChangeAddNode:
			ch.Promote = append(ch.Promote, o)
		case raftpb.ConfChangeRemoveNode:
			ch.Remove = append(ch.Remove, o)
		case raftpb.ConfChangeUpdateNode:
			return Change{}, errChange
		}
	}
	return ch, r.end()
}

// protoBytes reads one field of wire type 2.
func protoBytes(b []byte) (field uint64, v, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag&7 != 2 {
		return 0, nil, nil, errChange
	}
	size, m := binary.Uvarint(b[n:])
	if m <= 0 || size > uint64(len(b)-n-m) {
		return 0, nil, nil, errChange
	}
	from := n + m
	return tag >> 3, b[from : from+int(size)], b[from+int(size):], nil
}

// protoNumber reads one field of wire type 0.
func protoNumber(b []byte) (field, v uint64, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag&7 != 0 {
		return 0, 0, nil, errChange
	}
	v, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return 0, 0, nil, errChange
	}
	return tag >> 3, v, b[n+m:], nil
}
