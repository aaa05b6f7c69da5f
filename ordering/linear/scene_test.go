package linear

import (
	"slices"
	"testing"

	"tertulia/ordering"
)

// scene is a room whose entries are made without signatures, which a list does
// not look at.
type scene struct {
	room    ordering.RoomID
	creator ordering.Origin
	last    map[ordering.Origin]*ordering.Entry
	clock   uint64
}

func newScene() (*scene, *ordering.Entry) {
	s := &scene{creator: origin(1), last: make(map[ordering.Origin]*ordering.Entry)}
	genesis := ordering.Seal(ordering.Entry{Origin: s.creator, Seq: 1, TS: 1, Kind: ordering.KindGenesis})
	s.room = ordering.RoomID(genesis.Hash())
	s.last[s.creator] = genesis
	s.clock = 1
	return s, genesis
}

func origin(b byte) (o ordering.Origin) {
	o.Device[0], o.Instance[0] = b, 1
	return o
}

// after makes an entry behind prev, nil for the first, at the clock of the room.
func (s *scene) after(prev *ordering.Entry, e ordering.Entry, deps ...*ordering.Entry) *ordering.Entry {
	e.Room, e.Seq = s.room, 1
	if prev != nil {
		e.Origin, e.Seq, e.Prev = prev.Origin, prev.Seq+1, prev.Hash()
	}
	for _, d := range deps {
		if d != nil && d.Origin != e.Origin {
			e.Deps = append(e.Deps, d.Ref())
		}
	}
	slices.SortFunc(e.Deps, func(a, b ordering.Ref) int { return a.Origin.Compare(b.Origin) })
	if e.TS == 0 {
		s.clock++
		e.TS = s.clock
	}
	return ordering.Seal(e)
}

func (s *scene) write(o ordering.Origin, e ordering.Entry, deps ...*ordering.Entry) *ordering.Entry {
	e.Origin = o
	x := s.after(s.last[o], e, deps...)
	s.last[o] = x
	return x
}

func (s *scene) say(o ordering.Origin, deps ...*ordering.Entry) *ordering.Entry {
	return s.write(o, ordering.Entry{Kind: ordering.KindJoined}, deps...)
}

func (s *scene) admit(by, o ordering.Origin, deps ...*ordering.Entry) *ordering.Entry {
	body := ordering.Admit{Device: o.Device, Name: "node"}.Encode()
	return s.write(by, ordering.Entry{Kind: ordering.KindAdmit, Body: body}, deps...)
}

func (s *scene) remove(by, o ordering.Origin, deps ...*ordering.Entry) *ordering.Entry {
	body := ordering.Remove{Device: o.Device}.Encode()
	return s.write(by, ordering.Entry{Kind: ordering.KindRemove, Body: body}, deps...)
}

func stamp(client, n byte) *ordering.Stamp {
	return &ordering.Stamp{Key: [32]byte{client}, ID: string('a' + rune(n)), Hash: ordering.Hash{n}}
}

// single makes a run of each entry.
func single(entries ...*ordering.Entry) (runs []ordering.Run) {
	for _, e := range entries {
		runs = append(runs, ordering.Run{Entries: []*ordering.Entry{e}})
	}
	return runs
}

func batch(epoch uint64, entries ...*ordering.Entry) *ordering.Batch {
	return &ordering.Batch{Epoch: epoch, Leader: origin(1), Runs: single(entries...)}
}

// replica is a list with what its owner keeps on disk.
type replica struct {
	*List
	cfg    Config
	finals []Final
	mark   []byte
	next   uint64 // index of the next record
}

func newReplica(cfg Config, s *scene) *replica {
	cfg.Room = s.room
	return &replica{List: New(cfg, ordering.Leader, s.creator), cfg: cfg, next: 1}
}

// apply applies the next record and commits it.
func (r *replica) apply(term uint64, c ordering.Command) Applied {
	a := r.Apply(r.next, term, c)
	r.next++
	r.finals = append(r.finals, a.Finals...)
	r.mark = r.Mark()
	return a
}

// disk returns what Resume is given.
func (r *replica) disk() (emitted []Emitted, recent []Recent, kept []Kept) {
	last := make(map[ordering.Origin]Emitted)
	for _, f := range r.finals {
		if f.ID.Seq >= last[f.ID.Origin].Seq && f.Fate != Lost {
			last[f.ID.Origin] = Emitted{f.ID.Origin, f.ID.Seq, f.Hash}
		}
		if f.Fate != Shown {
			continue
		}
		recent = append(recent, Recent{f.Index, f.ID, f.Stamp, f.OrderHash})
		if f.Index%ordering.CheckpointEvery == 0 {
			kept = append(kept, Kept{f.Index, f.OrderHash})
		}
	}
	for _, e := range last {
		emitted = append(emitted, e)
	}
	return emitted, recent[max(0, len(recent)-Window):], kept
}

// restart goes on from the disk.
func (r *replica) restart() error {
	emitted, recent, kept := r.disk()
	l, err := Resume(r.cfg, r.mark, emitted, recent, kept)
	if err == nil {
		r.List = l
	}
	return err
}

// fates writes a record's outcome as people would say it.
func fates(a Applied) (s string) {
	for _, f := range a.Finals {
		s += map[Fate]string{Shown: "shown ", Silent: "silent ", Repeat: "repeat ", Void: "void ", Lost: "lost "}[f.Fate]
	}
	if a.Skipped {
		s += "skipped "
	}
	if a.Opened {
		s += "opened "
	}
	return s
}

func (r *replica) want(t *testing.T, what string, c ordering.Command) Applied {
	t.Helper()
	a := r.apply(1, c)
	if got := fates(a); got != what {
		t.Fatalf("the record gave %q, want %q", got, what)
	}
	return a
}
