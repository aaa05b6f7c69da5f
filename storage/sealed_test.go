package storage

import (
	"fmt"
	"slices"
	"testing"

	"tertulia/ordering"
)

// unreadable returns the entry with a line that could not be opened.
func unreadable(e Entry, key ordering.KeyID) Entry {
	e.Line = &Line{KeyID: key}
	return e
}

// stolen returns an entry of a whose client stamp is copied from another's and
// whose body nobody can open.
func (a *author) stolen(ts uint64, from Entry) Entry {
	e := Entry{Entry: a.entry(ts, ordering.KindMessage, from.Entry.Client, "garbage")}
	return unreadable(a.sealRun(e)[0], ordering.KeyID{9})
}

func TestACopiedStampOnAnUnreadableBodyHidesNothing(t *testing.T) {
	for _, thiefFirst := range []bool{true, false} {
		s := open(t, t.TempDir())
		room := testRoom(1)
		thief, b := newAuthor(1, room), newAuthor(2, room)
		said := b.handed(5, seed(50), "id", "words")
		garbage := thief.stolen(1, said)
		if thiefFirst {
			commit(t, s, room, garbage, said)
		} else {
			commit(t, s, room, said)
			commit(t, s, room, garbage)
		}
		rows, err := page(t, s, room)
		wantTexts(t, "page", rows, err, "", "words")
		r, ok, err := s.Client(t.Context(), room, said.Entry.Client.Key, "id")
		if !ok || err != nil || r.ID != said.Entry.ID() {
			t.Errorf("client: %v, %v, %v; want the readable line", r.ID, ok, err)
		}
		if total, _, err := s.Counts(t.Context(), room); total != 2 || err != nil {
			t.Errorf("total %d, %v", total, err)
		}
	}
}

func TestAnUnreadableLineIsNotFoundByItsClient(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	said := newAuthor(2, room).handed(5, seed(50), "id", "words")
	commit(t, s, room, newAuthor(1, room).stolen(1, said))
	if r, ok, err := s.Client(t.Context(), room, said.Entry.Client.Key, "id"); ok || err != nil {
		t.Errorf("client: %v, %v, %v", r.ID, ok, err)
	}
}

func TestACopiedStampHidesNoPreview(t *testing.T) {
	for _, thiefFirst := range []bool{true, false} {
		s := open(t, t.TempDir())
		room := testRoom(1)
		thief, b := newAuthor(1, room), newAuthor(2, room)
		said := b.handed(5, seed(50), "id", "words")
		shown := []Entry{thief.stolen(1, said), said}
		if !thiefFirst {
			slices.Reverse(shown)
		}
		for _, e := range shown {
			if err := s.Preview(t.Context(), room, []Entry{e}); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := page(t, s, room)
		wantTexts(t, "previews", rows, err, "", "words")
		commit(t, s, room, thief.stolen(2, said))
		rows, err = page(t, s, room)
		wantTexts(t, "previews beside a stored line", rows, err, "", "", "words")
	}
}

func TestRepeatsAreSettledWhenALineOpens(t *testing.T) {
	for _, firstOpens := range []bool{true, false} {
		s := open(t, t.TempDir())
		room := testRoom(1)
		a, b := newAuthor(1, room), newAuthor(2, room)
		first, later := a.handed(1, seed(50), "id", "words"), b.handed(5, seed(50), "id", "words")
		opens := later
		if firstOpens {
			opens = first
		}
		for _, e := range []Entry{first, later} {
			if e.Entry == opens.Entry {
				e = unreadable(e, ordering.KeyID{7})
			}
			commit(t, s, room, e)
		}
		if total, _, err := s.Counts(t.Context(), room); total != 2 || err != nil {
			t.Errorf("total %d, %v, before the line opened", total, err)
		}
		o := Opened{ID: opens.Entry.ID(), Line: *opens.Line}
		if err := s.Commit(t.Context(), &Write{Room: room, Opened: []Opened{o}}); err != nil {
			t.Fatal(err)
		}
		rows, err := page(t, s, room)
		wantTexts(t, "page", rows, err, "words")
		if rows[0].ID != first.Entry.ID() {
			t.Errorf("first opens %v: the later one is shown", firstOpens)
		}
		if r, err := s.Find(t.Context(), room, ordering.OriginTag(b.origin), 1); err != nil || !r.Hidden || !r.Line.Readable {
			t.Errorf("the later one: %+v, %v", r, err)
		}
		if total, unread, err := s.Counts(t.Context(), room); total != 1 || unread != 1 || err != nil {
			t.Errorf("counts: %d, %d, %v", total, unread, err)
		}
		if hits, err := s.Search(t.Context(), nil, "words", 10); len(hits) != 1 || err != nil {
			t.Errorf("search: %d, %v", len(hits), err)
		}
	}
}

func TestAnOpenedLineTakesTheRepeatedPreviewsPlace(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	first, later := newAuthor(1, room).handed(1, seed(50), "id", "words"), newAuthor(2, room).handed(5, seed(50), "id", "words")
	if err := s.Preview(t.Context(), room, []Entry{later}); err != nil {
		t.Fatal(err)
	}
	commit(t, s, room, unreadable(first, ordering.KeyID{7}))
	o := Opened{ID: first.Entry.ID(), Line: *first.Line}
	if err := s.Commit(t.Context(), &Write{Room: room, Opened: []Opened{o}}); err != nil {
		t.Fatal(err)
	}
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, "words")
	if rows[0].ID != first.Entry.ID() {
		t.Error("the preview is shown")
	}
}

func TestSealedNamesTheKeysOfUnreadableLines(t *testing.T) {
	s := open(t, t.TempDir())
	room, other := testRoom(1), testRoom(2)
	a, b := newAuthor(1, room), newAuthor(2, other)
	key := func(n int) ordering.KeyID { return ordering.KeyID{byte(n >> 8), byte(n), 1} }
	var all []Entry
	for i := range 40 {
		all = append(all, unreadable(a.say(uint64(i+1), "x"), key(3-i%4)))
	}
	readable := a.say(90, "readable")
	readable.Line.KeyID = key(20)
	all = append(all, readable, unreadable(a.say(91, "x"), ordering.KeyID{}))
	commit(t, s, room, all...)
	commit(t, s, other, unreadable(b.say(1, "x"), key(30)))

	got, err := s.Sealed(t.Context(), room)
	if want := []ordering.KeyID{key(0), key(1), key(2), key(3)}; err != nil || !slices.Equal(got, want) {
		t.Errorf("sealed: %v, %v; want %v", got, err, want)
	}
	var opened []Opened
	for i, e := range all[:40] {
		if i%4 == 0 { // those of key 3
			opened = append(opened, Opened{ID: e.Entry.ID(), Line: Line{Text: "now", Readable: true, KeyID: key(3)}})
		}
	}
	if err := s.Commit(t.Context(), &Write{Room: room, Opened: opened}); err != nil {
		t.Fatal(err)
	}
	got, err = s.Sealed(t.Context(), room)
	if want := []ordering.KeyID{key(0), key(1), key(2)}; err != nil || !slices.Equal(got, want) {
		t.Errorf("sealed afterwards: %v, %v; want %v", got, err, want)
	}
	if got, err := s.Sealed(t.Context(), testRoom(3)); err != nil || len(got) != 0 {
		t.Errorf("sealed in an unknown room: %v, %v", got, err)
	}

	all = nil
	for i := range MaxSealed + 10 {
		all = append(all, unreadable(b.say(uint64(i+2), "x"), key(i+1)))
	}
	commit(t, s, other, all...)
	if got, err := s.Sealed(t.Context(), other); err != nil || len(got) != MaxSealed {
		t.Errorf("sealed by many keys: %d, %v; want %d", len(got), err, MaxSealed)
	}
}

func TestSealedReadsTheIndexAlone(t *testing.T) {
	s := open(t, t.TempDir())
	rows, err := s.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+sealedText, make([]byte, 32), MaxSealed)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	searches := 0
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if step == "SEARCH entries USING COVERING INDEX lines_sealed (room=? AND sealed_by>?)" {
			searches++
		}
	}
	if err := rows.Err(); err != nil || searches != 2 {
		t.Errorf("%d searches of the index, %v; want both steps to be one", searches, err)
	}
}

func TestAJobAloneThatFailsLeavesNoTrace(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a, fork := newAuthor(1, room), newAuthor(1, room)
	commit(t, s, room, a.say(1, "one"))
	other := newAuthor(2, room)
	fine, bad := other.say(2, "fine"), fork.say(1, "fork")
	err := s.Commit(t.Context(), &Write{Room: room, Put: map[string][]byte{"k": {1}}, Entries: []Entry{fine, bad}})
	if err == nil {
		t.Fatal("a fork went through")
	}
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, "one")
	if v, err := s.Get(t.Context(), "k"); v != nil || err != nil {
		t.Errorf("setting: %v, %v", v, err)
	}
	commit(t, s, room, fine)
	rows, err = page(t, s, room)
	wantTexts(t, "page", rows, err, "one", "fine")
}

func TestPreviewsAreSeenAfterARestart(t *testing.T) {
	dir := t.TempDir()
	room := testRoom(1)
	a := newAuthor(1, room)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, s)
	if err := s.Preview(t.Context(), room, []Entry{a.say(1, "one")}); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, "one")
	if !s.w.previews.Load() {
		t.Error("readers are not told")
	}
	if err := s.ClearPreview(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	rows, err = page(t, s, room)
	wantTexts(t, "page, previews cleared", rows, err)
	if s.w.previews.Load() {
		t.Error("readers still look for previews")
	}
}

// BenchmarkSealed asks a room of many readable lines.
func BenchmarkSealed(b *testing.B) {
	s, room := filled(b, 100_000)
	for b.Loop() {
		if got, err := s.Sealed(b.Context(), room); err != nil || len(got) != 0 {
			b.Fatal(fmt.Sprint(got), err)
		}
	}
}
