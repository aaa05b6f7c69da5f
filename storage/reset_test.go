package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/control"
)

// wantAside fails the test unless as many copies of a room are set aside, and
// returns them.
func wantAside(t *testing.T, s *Store, room ordering.RoomID, count int) []Aside {
	t.Helper()
	all, err := s.Asides(t.Context(), room)
	if err != nil || len(all) != count {
		t.Fatalf("%d copies set aside, %v; want %d", len(all), err, count)
	}
	return all
}

func TestARoomSetAsideBeginsAnewAndIsStillReadable(t *testing.T) {
	s := open(t, t.TempDir())
	room, other := testRoom(1), testRoom(2)
	a, b := newAuthor(1, room), newAuthor(2, room)
	genesis, heard, own := a.say(1, "genesis"), b.say(2, "heard"), a.say(3, "own words")
	keep(t, s, &Write{
		Room: room, Meta: &Room{ID: room, Name: "lobby", State: "joined"}, Entries: []Entry{genesis, heard, own},
		Finals: finals(0, ordering.Hash(room), genesis), Mark: []byte{1}, Control: &control.Save{Hard: &control.Hard{Term: 7}},
		Seen: []ordering.Seen{{Origin: b.origin, Term: 7}}, Keys: []RoomKey{{ID: ordering.KeyID{1}}},
		ReadTo: tailPlace(own.Entry.Key()),
	})
	elsewhere := newAuthor(3, other).say(1, "own words elsewhere")
	commit(t, s, other, elsewhere)

	w := &Write{Room: room, Meta: &Room{ID: room, Name: "lobby", State: "joining"}, Entries: []Entry{genesis}, Put: map[string][]byte{"instance": {9}}}
	if err := s.SetAside(t.Context(), a.origin.Device, w); err != nil {
		t.Fatal(err)
	}
	rows, err := page(t, s, room)
	wantTexts(t, "the room", rows, err, "genesis")
	if total, _, err := s.Counts(t.Context(), room); total != 1 || err != nil {
		t.Errorf("total %d, %v", total, err)
	}
	hits, err := s.Search(t.Context(), nil, "words", 9)
	if err != nil || len(hits) != 1 || hits[0].Line.Text != "own words elsewhere" {
		t.Errorf("search finds %v, %v", hits, err)
	}
	if saved, mark, err := s.Control(t.Context(), room); err != nil || mark != nil || saved.Hard.Term != 0 {
		t.Errorf("control %+v, mark %v, %v", saved.Hard, mark, err)
	}
	if seen, err := s.Seen(t.Context(), room); err != nil || len(seen) > 0 {
		t.Errorf("seen %v, %v", seen, err)
	}
	if emitted, err := s.Emitted(t.Context(), room); err != nil || len(emitted) > 0 {
		t.Errorf("emitted %v, %v", emitted, err)
	}
	if keys, err := s.Keys(t.Context(), room); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if rooms, err := s.Rooms(t.Context()); err != nil || len(rooms) != 1 || rooms[0].State != "joining" {
		t.Errorf("rooms %v, %v", rooms, err)
	}
	if v, err := s.Get(t.Context(), "instance"); err != nil || len(v) != 1 {
		t.Errorf("instance %v, %v", v, err)
	}

	commit(t, s, room, heard, b.say(3, "missed"))
	wantUnread(t, s, room, "read is what others had said", 1)

	aside := wantAside(t, s, room, 1)[0]
	want := []ordering.Want{{Origin: a.origin}, {Origin: b.origin}}
	if len(aside.Origins) != 2 {
		t.Errorf("aside are %v", aside.Origins)
	}
	if runs := served(t, s, aside.ID, 0, want...); len(runs) != 3 {
		t.Errorf("aside are the runs %v", runs)
	}
	if err := s.DropAside(t.Context(), room); err != nil { // a listed room stays
		t.Error(err)
	}
	if err := s.DropAside(t.Context(), aside.ID); err != nil {
		t.Error(err)
	}
	wantAside(t, s, room, 0)
	rows, err = page(t, s, room)
	wantTexts(t, "the room", rows, err, "genesis", "heard", "missed")
	for table := range map[string]bool{"entries": true, "emitted": true, "control": true, "seen": true} {
		var left int
		if err := s.read.QueryRow(`SELECT count(*) FROM ` + table + ` WHERE room NOT IN (SELECT num FROM rooms)`).Scan(&left); err != nil || left > 0 {
			t.Errorf("%d rows of %s belong to no room, %v", left, table, err)
		}
	}
}

func TestARoomIsSetAsideWholeOrNotAtAll(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	commit(t, s, room, a.say(1, "one"), a.say(2, "two"))
	stranger := newAuthor(1, testRoom(2)).say(1, "of another room")
	if err := s.SetAside(t.Context(), a.origin.Device, &Write{Room: room, Entries: []Entry{stranger}, Put: map[string][]byte{"instance": {9}}}); err == nil {
		t.Fatal("an entry of another room was taken")
	}
	rows, err := page(t, s, room)
	wantTexts(t, "the room", rows, err, "one", "two")
	wantAside(t, s, room, 0)
	if v, err := s.Get(t.Context(), "instance"); err != nil || v != nil {
		t.Errorf("instance %v, %v", v, err)
	}
	commit(t, s, room, a.say(3, "three"))
	rows, err = page(t, s, room)
	wantTexts(t, "the room", rows, err, "one", "two", "three")
}

func TestARoomIsSetAsideAgainAndAgain(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	for i := range maxAside + 2 {
		a.last = nil
		commit(t, s, room, a.say(1, fmt.Sprint(i)))
		if err := s.SetAside(t.Context(), a.origin.Device, &Write{Room: room, Meta: &Room{ID: room}}); err != nil {
			t.Fatal(err)
		}
		wantAside(t, s, room, min(i+1, maxAside))
	}
	var kept []string
	for _, aside := range wantAside(t, s, room, maxAside) {
		rows, err := page(t, s, aside.ID)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, texts(rows)...)
		if err := s.DropAside(t.Context(), aside.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(kept), "[0 1 2 3 4 5 6 9]"; got != want {
		t.Errorf("kept are %s, want %s", got, want)
	}
	wantAside(t, s, room, 0)
}

func TestWhatIsSetAsideIsDroppedInParts(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	var all []Entry
	for i := range 2*asideDrops + 1 {
		all = append(all, a.say(uint64(i+1), "words"))
	}
	commit(t, s, room, all...)
	if err := s.SetAside(t.Context(), a.origin.Device, &Write{Room: room, Meta: &Room{ID: room}}); err != nil {
		t.Fatal(err)
	}
	before := s.Transactions()
	if err := s.DropAside(t.Context(), wantAside(t, s, room, 1)[0].ID); err != nil {
		t.Fatal(err)
	}
	if n := s.Transactions() - before; n != 4 {
		t.Errorf("%d transactions, want 3 of entries and one of the rest", n)
	}
	wantAside(t, s, room, 0)
}

// Version 4 had words of the text alone.
const wordsOfVersionFour = `DROP TABLE words;
	CREATE VIRTUAL TABLE words USING fts5 (
		text, content = 'entries', content_rowid = 'num', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
	);
	INSERT INTO words (rowid, text) SELECT num, text FROM entries WHERE text <> '';
	PRAGMA user_version = 4;`

func TestWordsOfVersionFourAreFoundByRoom(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, s)
	room, other := testRoom(1), testRoom(2)
	a := newAuthor(1, room)
	meta := func(id ordering.RoomID) *Room { return &Room{ID: id, Name: "lobby", State: "joined"} }
	keep(t, s, &Write{Room: room, Meta: meta(room), Entries: []Entry{a.say(1, "words set aside")}})
	if err := s.SetAside(t.Context(), a.origin.Device, &Write{Room: room, Meta: meta(room)}); err != nil {
		t.Fatal(err)
	}
	keep(t, s, &Write{Room: room, Entries: []Entry{newAuthor(2, room).say(1, "words here")}})
	keep(t, s, &Write{Room: other, Meta: meta(other), Entries: []Entry{newAuthor(3, other).say(1, "words there")}})
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := openWriter(filepath.Join(dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), wordsOfVersionFour)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	for _, c := range []struct {
		rooms []ordering.RoomID
		want  []string
	}{
		{nil, []string{"words there", "words here"}},
		{[]ordering.RoomID{room}, []string{"words here"}},
		{[]ordering.RoomID{other}, []string{"words there"}},
	} {
		hits, err := s.Search(t.Context(), c.rooms, "wor", 9)
		var got []string
		for _, h := range hits {
			got = append(got, h.Line.Text)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("in %v: %q, %v; want %q", c.rooms, got, err, c.want)
		}
	}
}
