package storage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
)

// reopening is a store that a test opens anew now and then.
type reopening struct {
	*Store
	t    *testing.T
	dir  string
	stop func()
}

func openAgain(t *testing.T) *reopening {
	r := &reopening{t: t, dir: t.TempDir()}
	r.start()
	t.Cleanup(r.end)
	return r
}

func (r *reopening) start() {
	r.t.Helper()
	s, err := Open(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Store, r.stop = s, run(r.t, s)
}

func (r *reopening) end() {
	r.stop()
	if err := r.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *reopening) restart() {
	r.end()
	r.start()
}

func (r *reopening) write(w *Write) {
	r.t.Helper()
	if err := r.Commit(r.t.Context(), w); err != nil {
		r.t.Fatal(err)
	}
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// randomSave returns a delta that a log in this state may want stored.
func randomSave(r *rand.Rand, s *control.Saved) (d control.Save) {
	if chance(r, 40) {
		d.Hard = &control.Hard{Term: r.Uint64(), Vote: r.Uint64(), Commit: r.Uint64N(1 << 40)}
	}
	if chance(r, 10) {
		d.Snapshot = &control.Snapshot{Index: r.Uint64N(1 << 40), Term: r.Uint64N(9), Conf: randomBytes(r, 50), State: randomBytes(r, 9000)}
	}
	first, last := uint64(1), uint64(0)
	if n := len(s.Log); n > 0 {
		first, last = s.Log[0].Index, s.Log[n-1].Index
	}
	if chance(r, 15) && last > 0 {
		d.CompactTo = first + r.Uint64N(last-first+2)
	}
	if chance(r, 60) {
		from := first + r.Uint64N(last+2-min(first, last+1))
		for i := range r.Uint64N(6) {
			d.Append = append(d.Append, control.Record{Index: from + i, Term: r.Uint64N(1 << 60), Kind: control.RecordKind(1 + r.IntN(2)), Data: randomBytes(r, 300)})
		}
	}
	if chance(r, 30) {
		d.RaftApplied = 1 + r.Uint64N(1<<40)
		d.Conf = randomBytes(r, 200)
	}
	return d
}

// sameSaved compares what people cannot tell apart: nil and empty bytes are one.
func sameSaved(t *testing.T, what string, got, want control.Saved) {
	t.Helper()
	text := func(s control.Saved) string {
		return fmt.Sprintf("%+v %d %d %x %d %x %x %+v", s.Hard, s.Snapshot.Index, s.Snapshot.Term, s.Conf, s.RaftApplied, s.Snapshot.Conf, s.Snapshot.State, s.Log)
	}
	if text(got) != text(want) {
		t.Fatalf("%s: got %.2000s\nwant %.2000s", what, text(got), text(want))
	}
}

func TestTheDiskDoesWhatSavedApplyDoes(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := openAgain(t)
		rooms := []ordering.RoomID{testRoom(1), testRoom(2)}
		models := make([]control.Saved, len(rooms))
		for step := range 150 {
			i := r.IntN(len(rooms))
			d := randomSave(r, &models[i])
			s.write(&Write{Room: rooms[i], Control: &d})
			models[i].Apply(d)
			if chance(r, 4) {
				s.restart()
			}
			if chance(r, 4) {
				models[i] = control.Saved{Hard: control.Hard{Term: 7}, Snapshot: control.Snapshot{Index: 900, Term: 3}, Log: []control.Record{{Index: 901, Term: 4, Kind: control.KindNormal}}}
				s.write(&Write{Room: rooms[i], Install: &Install{Saved: models[i]}})
			}
			for i := range rooms {
				got, _, err := s.Control(t.Context(), rooms[i])
				if err != nil {
					t.Fatal(err)
				}
				sameSaved(t, fmt.Sprintf("seed %d, step %d, room %d", seed, step, i), got, models[i])
			}
		}
	}
}

func TestARoomWithoutAControlLogHasNone(t *testing.T) {
	s := open(t, t.TempDir())
	saved, mark, err := s.Control(t.Context(), testRoom(1))
	if err != nil || mark != nil || fmt.Sprintf("%+v", saved) != fmt.Sprintf("%+v", control.Saved{}) {
		t.Errorf("%+v, %v, %v", saved, mark, err)
	}
}

func TestAFoundedLogIsReadBackAndOpens(t *testing.T) {
	s := openAgain(t)
	room := testRoom(1)
	creator := newAuthor(1, room).origin
	list := linear.New(linear.Config{Room: room}, ordering.Leader, creator)
	founded := control.Found(room, creator, list.State())
	replace := founded.Replace()
	s.write(&Write{Room: room, Control: &replace, Mark: list.Mark()})
	s.restart()
	saved, mark, err := s.Control(t.Context(), room)
	if err != nil || !slices.Equal(mark, list.Mark()) || saved.LinApplied != founded.LinApplied {
		t.Fatalf("mark %x, %+v, %v", mark, saved, err)
	}
	sameSaved(t, "founded", saved, founded)
	if _, err := control.Open(control.Config{Room: room, Self: creator}, saved); err != nil {
		t.Error(err)
	}
	list.Apply(5, 1, nil)
	s.write(&Write{Room: room, Mark: list.Mark()})
	if saved, _, err := s.Control(t.Context(), room); err != nil || saved.LinApplied != 5 {
		t.Errorf("applied %d, %v; want what the mark says", saved.LinApplied, err)
	}
}

func TestWhatWasSeenIsReplacedByOrigin(t *testing.T) {
	s := openAgain(t)
	room := testRoom(1)
	a, b := newAuthor(1, room).origin, newAuthor(2, room).origin
	acked := ordering.Acked{Epoch: 3, Clock: 1<<64 - 1, Have: [ordering.MaxView]uint64{1: 7}, Sealed: true}
	s.write(&Write{Room: room, Seen: []ordering.Seen{{Origin: a, Seq: 1, Term: 2, Match: 3}, {Origin: b, Seq: 4}}})
	s.write(&Write{Room: room, Seen: []ordering.Seen{{Origin: a, Seq: 9, Term: 1<<64 - 1, Match: 8, Acked: acked}}})
	s.restart()
	want := []ordering.Seen{{Origin: a, Seq: 9, Term: 1<<64 - 1, Match: 8, Acked: acked}, {Origin: b, Seq: 4}}
	slices.SortFunc(want, func(x, y ordering.Seen) int { return x.Origin.Compare(y.Origin) })
	if got, err := s.Seen(t.Context(), room); err != nil || !slices.Equal(got, want) {
		t.Errorf("seen %+v, %v", got, err)
	}
	if got, err := s.Seen(t.Context(), testRoom(2)); err != nil || len(got) != 0 {
		t.Errorf("seen in another room %+v, %v", got, err)
	}
}
