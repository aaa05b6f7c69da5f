package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/linear"
)

// finals makes finals of entries as a list would that begins after an index.
func finals(after uint64, hash ordering.Hash, entries ...Entry) (all []linear.Final) {
	for _, e := range entries {
		after++
		hash = ordering.NextOrderHash(hash, e.Entry.Hash())
		all = append(all, linear.Final{ID: e.Entry.ID(), Hash: e.Entry.Hash(), Fate: linear.Shown, Index: after, OrderHash: hash, Source: ordering.Source{Term: 1}})
	}
	return all
}

func keep(t *testing.T, s *Store, w *Write) {
	t.Helper()
	if err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func wantUnread(t *testing.T, s *Store, room ordering.RoomID, what string, want uint64) {
	t.Helper()
	if _, unread, err := s.Counts(t.Context(), room); err != nil || unread != want {
		t.Fatalf("%s: %d unread, %v; want %d", what, unread, err, want)
	}
}

func TestWhatWasReadStaysReadWhenItBecomesFinal(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a, b, c := newAuthor(1, room), newAuthor(2, room), newAuthor(3, room)
	one, two, mark := a.say(1, "one"), b.say(2, "two"), c.say(3, "mark")
	commit(t, s, room, one, two, mark)
	keep(t, s, &Write{Room: room, ReadTo: tailPlace(mark.Entry.Key())})
	wantUnread(t, s, room, "all read", 0)

	unseen := a.say(4, "unseen")
	keep(t, s, &Write{Room: room, Entries: []Entry{unseen}, Finals: finals(0, ordering.Hash(room), mark)})
	wantUnread(t, s, room, "the marked line is final before what stood above it", 1)
	keep(t, s, &Write{Room: room, Finals: finals(1, ordering.Hash(room), one, unseen, two)})
	wantUnread(t, s, room, "a line nobody saw became final between lines read", 1)
	commit(t, s, room, b.say(2, "late"))
	wantUnread(t, s, room, "a line of an early time came late", 2)

	stale := tailPlace(one.Entry.Key())
	keep(t, s, &Write{Room: room, ReadTo: stale})
	wantUnread(t, s, room, "the mark does not go back", 2)
	keep(t, s, &Write{Room: room, ReadTo: FinalPlace(3)})
	wantUnread(t, s, room, "read up to the unseen", 1)
	keep(t, s, &Write{Room: room, ReadTo: FinalPlace(1 << 40)})
	commit(t, s, room, c.say(9, "next"))
	keep(t, s, &Write{Room: room, Finals: finals(4, ordering.Hash(room), Entry{Entry: c.last})})
	wantUnread(t, s, room, "the future cannot be read", 2)
	if err := s.Commit(t.Context(), &Write{Room: room, ReadTo: []byte{5}}); err == nil {
		t.Error("what is no place was read")
	}
}

func TestAPlaceThatIsGoneStillPages(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a, b := newAuthor(1, room), newAuthor(2, room)
	var all []Entry
	for ts := uint64(1); ts <= 9; ts++ {
		all = append(all, []*author{a, b}[ts%2].say(ts, fmt.Sprint(ts)))
	}
	commit(t, s, room, all...)
	was := tailPlace(all[4].Entry.Key())
	order := []Entry{all[1], all[0], all[2], all[3], all[4], all[5]}
	keep(t, s, &Write{Room: room, Finals: finals(0, ordering.Hash(room), order...)})
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, "2", "1", "3", "4", "5", "6", "7", "8", "9")
	rows, older, newer, err := s.Page(t.Context(), room, Query{After: was, Limit: 2})
	wantTexts(t, "after a place that is gone", rows, err, "7", "8")
	if !older || !newer {
		t.Errorf("older %v, newer %v", older, newer)
	}
	rows, _, _, err = s.Page(t.Context(), room, Query{Before: was, Limit: 3})
	wantTexts(t, "before a place that is gone", rows, err, "4", "5", "6")
	rows, _, _, err = s.Page(t.Context(), room, Query{Before: FinalPlace(3), Limit: 9})
	wantTexts(t, "before an index", rows, err, "2", "1")
	rows, older, _, err = s.Page(t.Context(), room, Query{After: FinalPlace(0), Limit: 1})
	wantTexts(t, "from the beginning", rows, err, "2")
	if older {
		t.Error("something is older than the first")
	}
	rows, err = s.Finals(t.Context(), room, 4, 10)
	wantTexts(t, "finals after 4", rows, err, "5", "6")
	id := all[0].Entry.ID()
	rows, _, _, err = s.Page(t.Context(), room, Query{Around: &id, Limit: 3})
	wantTexts(t, "around a final", rows, err, "2", "1", "3")
	rows, err = s.Since(t.Context(), room, 0, 3)
	wantTexts(t, "by arrival", rows, err, "1", "2", "3")
}

func TestAFinalThatDoesNotFitIsRefused(t *testing.T) {
	room := testRoom(1)
	a := newAuthor(1, room)
	one, two, three := a.say(1, "one"), a.say(2, "two"), a.say(3, "three")
	null := a.sealRun(Entry{Entry: a.entry(4, ordering.KindNull, nil, "")})[0]
	s := open(t, t.TempDir())
	commit(t, s, room, one, two, null)
	list := finals(0, ordering.Hash(room), one, two)
	keep(t, s, &Write{Room: room, Finals: list[:1]})
	for _, c := range []struct {
		why    string
		finals []linear.Final
	}{
		{"not here", finals(1, ordering.Hash(room), three)},
		{"is 3 after 1", finals(2, ordering.Hash(room), two)},
		{"otherwise", finals(1, ordering.Hash(room), one)},
		{"otherwise", []linear.Final{{ID: one.Entry.ID(), Fate: linear.Void}}},
		{"no line", finals(1, ordering.Hash(room), null)},
	} {
		before := must(s.Listed(t.Context(), room, 0, 10))(t)
		err := s.Commit(t.Context(), &Write{Room: room, Put: map[string][]byte{"k": {1}}, Finals: c.finals})
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("want %q: %v", c.why, err)
		}
		if after := must(s.Listed(t.Context(), room, 0, 10))(t); !slices.Equal(before, after) {
			t.Errorf("%q: the list was changed", c.why)
		}
	}
	if v, err := s.Get(t.Context(), "k"); v != nil || err != nil {
		t.Errorf("setting: %v, %v", v, err)
	}
	keep(t, s, &Write{Room: room, Finals: list}) // the first is here already
	if n, _, err := s.Head(t.Context(), room); n != 2 || err != nil {
		t.Errorf("head %d, %v", n, err)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// batches drives a real list over the entries and stores what it says.
func batches(t *testing.T, s *Store, room ordering.RoomID, list *linear.List, entries []Entry, key func(ordering.Origin) *author) {
	t.Helper()
	for i, e := range entries {
		run := ordering.SignRun(key(e.Entry.Origin).key, e.Entry).Run()
		applied := list.Apply(uint64(i+2), 1, &ordering.Batch{Leader: e.Entry.Origin, Runs: []ordering.Run{run}})
		if applied.Skipped || len(applied.Finals) != 1 {
			t.Fatalf("entry %d: %+v", i, applied)
		}
		keep(t, s, &Write{Room: room, Finals: applied.Finals, Mark: list.Mark()})
	}
}

func resume(t *testing.T, s *Store, room ordering.RoomID, mark []byte) *linear.List {
	t.Helper()
	ctx := t.Context()
	kept := must(s.Kept(ctx, room))(t)
	for i, k := range kept {
		if k.Index != uint64(i+1)*ordering.CheckpointEvery {
			t.Errorf("order hash %d is kept at %d", i, k.Index)
		}
	}
	l, err := linear.Resume(linear.Config{Room: room}, mark, must(s.Emitted(ctx, room))(t), must(s.Recent(ctx, room))(t), kept)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAListResumesFromTheDiskAndFromASnapshot(t *testing.T) {
	s := open(t, t.TempDir())
	founder := newAuthor(1, ordering.RoomID{})
	genesis := founder.entry(1, ordering.KindGenesis, nil, "")
	room := ordering.RoomID(genesis.Hash())
	founder.room = room
	entries := founder.sealRun(Entry{Entry: genesis})
	for i := range 600 {
		switch i % 10 {
		case 3: // twice the same words
			e := entries[len(entries)-1].Entry
			if e.Client == nil {
				break
			}
			x := Entry{Entry: founder.entry(uint64(i+2), ordering.KindMessage, e.Client, "again"), Line: &Line{Text: "again", Readable: true}}
			entries = append(entries, founder.sealRun(x)...)
			continue
		case 7:
			entries = append(entries, founder.sealRun(Entry{Entry: founder.entry(uint64(i+2), ordering.KindNull, nil, "")})...)
			continue
		}
		entries = append(entries, founder.handed(uint64(i+2), seed(50), fmt.Sprint(i), fmt.Sprint(i)))
	}
	list := linear.New(linear.Config{Room: room}, ordering.Leader, founder.origin)
	commit(t, s, room, entries...)
	batches(t, s, room, list, entries, func(ordering.Origin) *author { return founder })
	_, mark, err := s.Control(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	if got := resume(t, s, room, mark); !slices.Equal(got.State(), list.State()) {
		t.Error("the resumed list is another")
	}

	// The same by a snapshot, on top of a list that had begun.
	fresh := open(t, t.TempDir())
	commit(t, fresh, room, entries...)
	batches(t, fresh, room, linear.New(linear.Config{Room: room}, ordering.Leader, founder.origin), entries[:100], func(ordering.Origin) *author { return founder })
	done, _, err := fresh.Head(t.Context(), room)
	if err != nil || done == 0 {
		t.Fatal(done, err)
	}
	in := &Install{Mark: list.Mark(), First: done + 1, Emitted: must(s.Emitted(t.Context(), room))(t)}
	in.Order = must(s.Listed(t.Context(), room, done, MaxListed))(t)
	in.Entries = make([]ordering.Hash, len(in.Order))
	for _, r := range must(s.Finals(t.Context(), room, done, 1000))(t) {
		in.Hashes = append(in.Hashes, r.Final.OrderHash)
	}
	keep(t, fresh, &Write{Room: room, Install: in})
	if got := resume(t, fresh, room, list.Mark()); !slices.Equal(got.State(), list.State()) {
		t.Error("the list resumed from a snapshot is another")
	}
	want, err := page(t, s, room)
	if err != nil {
		t.Fatal(err)
	}
	got, err := page(t, fresh, room)
	wantTexts(t, "after the snapshot", got, err, texts(want)...)
	for i, r := range got {
		if got := r.Final; got != want[i].Final {
			t.Fatalf("line %d: %+v, want %+v", i, r.Final, want[i].Final)
		}
	}
	a, _, errA := s.Counts(t.Context(), room)
	b, _, errB := fresh.Counts(t.Context(), room)
	if a != b || errA != nil || errB != nil {
		t.Errorf("%d lines, %d by the snapshot, %v, %v", a, b, errA, errB)
	}
}

func TestASnapshotAheadOfTheEntriesIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	one, two := a.say(1, "one"), a.say(2, "two")
	commit(t, s, room, one)
	var places []ordering.Listed
	for _, f := range finals(0, ordering.Hash(room), one, two) {
		places = append(places, ordering.Listed{EntryID: f.ID, Source: f.Source})
	}
	for _, in := range []*Install{
		{First: 1, Order: places, Entries: make([]ordering.Hash, 2), Hashes: make([]ordering.Hash, 2)},
		{First: 1, Order: places[:1], Entries: make([]ordering.Hash, 1), Hashes: make([]ordering.Hash, 1), Emitted: []linear.Emitted{{Origin: a.origin, Seq: 2, Hash: two.Entry.Hash()}}},
		{First: 1, Order: places[:1], Entries: make([]ordering.Hash, 1)},
		{First: 2, Order: places[:1], Entries: make([]ordering.Hash, 1), Hashes: make([]ordering.Hash, 1)},
	} {
		if err := s.Commit(t.Context(), &Write{Room: room, Install: in}); err == nil {
			t.Errorf("installed: %+v", in)
		}
		if n, hash, err := s.Head(t.Context(), room); n != 0 || hash != ordering.Hash(room) || err != nil {
			t.Errorf("head %d, %s, %v", n, hash, err)
		}
	}
}
