package storage

import (
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/linear"
)

// forked stores a chain of three lines, of which the second and the third have
// another beside them.
func forked(t *testing.T, s *Store, room ordering.RoomID) (chain, beside []Entry) {
	t.Helper()
	a, twin := newAuthor(1, room), newAuthor(1, room)
	chain = []Entry{a.say(1, "one"), a.say(2, "two"), a.say(3, "three")}
	twin.say(1, "one")
	beside = []Entry{twin.say(2, "deux"), twin.say(3, "trois")}
	for i := range beside {
		beside[i].Beside = true
	}
	commit(t, s, room, chain...)
	commit(t, s, room, beside...)
	commit(t, s, room, beside...) // again changes nothing
	return chain, beside
}

func wantLines(t *testing.T, s *Store, room ordering.RoomID, what string, want ...string) {
	t.Helper()
	rows, err := page(t, s, room)
	wantTexts(t, what, rows, err, want...)
	if total, _, err := s.Counts(t.Context(), room); err != nil || total != uint64(len(want)) {
		t.Errorf("%s: %d lines are counted, %v", what, total, err)
	}
}

// besides returns which of the stored entries lie beside their chain.
func besides(t *testing.T, s *Store, room ordering.RoomID) map[ordering.Hash]bool {
	t.Helper()
	is := make(map[ordering.Hash]bool)
	for e, err := range s.Restore(t.Context(), room) {
		if err != nil {
			t.Fatal(err)
		}
		is[e.Entry.Hash()] = e.Beside
	}
	return is
}

func TestOfAForkTheBranchThatTheOrderNamesIsShown(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	chain, beside := forked(t, s, room)
	wantLines(t, s, room, "before", "one", "two", "three")
	list := finals(0, ordering.Hash(room), chain[0], beside[0])
	keep(t, s, &Write{Room: room, Finals: list})
	wantLines(t, s, room, "one place is final", "one", "deux", "three")
	lost := linear.Final{ID: chain[2].Entry.ID(), Hash: chain[2].Entry.Hash(), Fate: linear.Lost}
	keep(t, s, &Write{Room: room, Finals: []linear.Final{lost}})
	wantLines(t, s, room, "the rest of the other branch is lost", "one", "deux")
	keep(t, s, &Write{Room: room, Finals: []linear.Final{lost}}) // again
	keep(t, s, &Write{Room: room, Finals: finals(2, list[1].OrderHash, beside[1])})
	wantLines(t, s, room, "all is final", "one", "deux", "trois")
	is := besides(t, s, room)
	for _, e := range chain[1:] {
		if !is[e.Entry.Hash()] {
			t.Errorf("%s is of the chain still", e.Line.Text)
		}
	}
	for _, e := range beside {
		if is[e.Entry.Hash()] {
			t.Errorf("%s lies beside the chain still", e.Line.Text)
		}
	}
	emitted := must(s.Emitted(t.Context(), room))(t)
	if len(emitted) != 1 || emitted[0].Seq != 3 || emitted[0].Hash != beside[1].Entry.Hash() {
		t.Errorf("emitted %+v", emitted)
	}
}

func TestASnapshotNamesABranch(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	chain, beside := forked(t, s, room)
	list := finals(0, ordering.Hash(room), chain[0], beside[0])
	tip := beside[0].Entry
	keep(t, s, &Write{Room: room, Install: &Install{
		First: 1, Order: []ordering.Listed{{EntryID: chain[0].Entry.ID()}, {EntryID: tip.ID()}},
		Entries: []ordering.Hash{chain[0].Entry.Hash(), tip.Hash()}, Hashes: []ordering.Hash{list[0].OrderHash, list[1].OrderHash},
		Emitted: []linear.Emitted{{Origin: tip.Origin, Seq: tip.Seq, Hash: tip.Hash()}},
	}})
	wantLines(t, s, room, "installed", "one", "deux", "three")
}

func TestRunsOfAllBranchesAreServed(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	chain, beside := forked(t, s, room)
	read := func(w ordering.Want) (texts []ordering.Hash) {
		for run, err := range s.Runs(t.Context(), room, []ordering.Want{w}, 0) {
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, run.Last().Hash())
		}
		return texts
	}
	origin := chain[0].Entry.Origin
	if got := read(ordering.Want{Origin: origin, After: 1}); len(got) != 4 {
		t.Errorf("%d runs after the first entry, want 4", len(got))
	}
	for _, e := range append(chain, beside...) {
		x := e.Entry
		got := read(ordering.Want{Origin: origin, After: x.Seq - 1, Tip: ordering.TipOf(x.Seq, x.Hash())})
		if len(got) != 1 || got[0] != x.Hash() {
			t.Errorf("%s: %d runs", e.Line.Text, len(got))
		}
	}
	if got := read(ordering.Want{Origin: origin, After: 1, Tip: ordering.Tip{Seq: 2, Hash: [8]byte{1}}}); len(got) != 0 {
		t.Errorf("%d runs with an entry that nobody wrote", len(got))
	}
}
