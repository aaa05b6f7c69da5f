package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"tertulia/ordering"
)

func TestPagesAreCutFromThePredictedOrder(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a, b := newAuthor(1, room), newAuthor(2, room)
	var odd, even []Entry
	for ts := uint64(1); ts <= 20; ts += 2 {
		odd = append(odd, a.say(ts, fmt.Sprint(ts)))
		even = append(even, b.say(ts+1, fmt.Sprint(ts+1)))
	}
	commit(t, s, room, odd...)
	commit(t, s, room, even...)
	commit(t, s, testRoom(2), newAuthor(3, testRoom(2)).say(5, "elsewhere"))

	id := odd[4].Entry.ID() // text 9
	first := odd[0].Entry.ID()
	for _, c := range []struct {
		name         string
		q            Query
		from, to     int
		older, newer bool
	}{
		{"newest", Query{Limit: 5}, 16, 20, true, false},
		{"all", Query{Limit: 20}, 1, 20, false, false},
		{"before", Query{Before: tailPlace(odd[4].Entry.Key()), Limit: 3}, 6, 8, true, true},
		{"before, to the beginning", Query{Before: tailPlace(odd[1].Entry.Key()), Limit: 3}, 1, 2, false, true},
		{"after", Query{After: tailPlace(odd[4].Entry.Key()), Limit: 3}, 10, 12, true, true},
		{"after, to the end", Query{After: tailPlace(even[8].Entry.Key()), Limit: 3}, 19, 20, true, false},
		{"around", Query{Around: &id, Limit: 4}, 7, 10, true, true},
		{"around the first", Query{Around: &first, Limit: 4}, 1, 4, false, true},
	} {
		rows, older, newer, err := s.Page(t.Context(), room, c.q)
		wantTexts(t, c.name, rows, err, numbered(c.from, c.to)...)
		if older != c.older || newer != c.newer {
			t.Errorf("%s: older %v, newer %v", c.name, older, newer)
		}
	}
	missing := ordering.EntryID{Origin: a.origin, Seq: 99}
	if _, _, _, err := s.Page(t.Context(), room, Query{Around: &missing, Limit: 4}); !errors.Is(err, ErrNotFound) {
		t.Errorf("around a missing line: %v", err)
	}

	rows, err := s.Since(t.Context(), room, 0, 12)
	wantTexts(t, "since", rows, err, "1", "3", "5", "7", "9", "11", "13", "15", "17", "19", "2", "4")
	rows, err = s.Since(t.Context(), room, rows[9].Arrival, 2)
	wantTexts(t, "since the tenth", rows, err, "2", "4")

	if err := s.Commit(t.Context(), &Write{Room: room, ReadTo: tailPlace(odd[4].Entry.Key())}); err != nil {
		t.Fatal(err)
	}
	total, unread, err := s.Counts(t.Context(), room)
	if total != 20 || unread != 11 || err != nil {
		t.Errorf("counts: %d, %d, %v", total, unread, err)
	}
}

func TestARowSaysWhatTheEntrySays(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	reply := ordering.EntryID{Origin: newAuthor(2, room).origin, Seq: 7}
	e := a.handed(3, seed(50), "c1", "zero\x00inside")
	e.Line.ReplyTo, e.Line.SenderKey, e.Line.KeyID = &reply, [32]byte{9}, ordering.KeyID{4}
	commit(t, s, room, e)
	r, err := s.Find(t.Context(), room, ordering.OriginTag(a.origin), 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Hash != e.Entry.Hash() || r.ID != e.Entry.ID() || r.TS != 3 || r.WallMS != 3000 || r.Kind != ordering.KindMessage || r.ClientID != "c1" ||
		r.ClientKey != e.Entry.Client.Key || r.Arrival == 0 || r.Hidden || r.Key() != e.Entry.Key() {
		t.Errorf("row: %+v", r)
	}
	l := r.Line
	if l.Text != "zero\x00inside" || *l.ReplyTo != reply || l.SenderKey != [32]byte{9} || l.KeyID != (ordering.KeyID{4}) || !l.Readable || l.Sender != "Ana" {
		t.Errorf("line: %+v", l)
	}
	if _, err := s.Find(t.Context(), room, ordering.OriginTag(a.origin), 2); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing line: %v", err)
	}
}

func TestOfRepeatsOnlyTheFirstInTheOrderIsShown(t *testing.T) {
	for _, firstCame := range []bool{true, false} {
		s := open(t, t.TempDir())
		room := testRoom(1)
		a, b := newAuthor(1, room), newAuthor(2, room)
		client := seed(50)
		first, later := a.handed(1, client, "id", "words"), b.handed(5, client, "id", "words")
		other := b.handed(6, client, "id", "other words")
		if firstCame {
			commit(t, s, room, first, later, other)
		} else {
			commit(t, s, room, later, other)
			commit(t, s, room, first)
		}
		rows, err := page(t, s, room)
		wantTexts(t, "page", rows, err, "words", "other words")
		if rows[0].ID != first.Entry.ID() {
			t.Errorf("first came %v: the later one is shown", firstCame)
		}
		if r, err := s.Find(t.Context(), room, ordering.OriginTag(b.origin), 1); err != nil || !r.Hidden {
			t.Errorf("repeat: %v, %v", r.Hidden, err)
		}
		if total, unread, err := s.Counts(t.Context(), room); total != 2 || unread != 2 || err != nil {
			t.Errorf("counts: %d, %d, %v", total, unread, err)
		}
		r, ok, err := s.Client(t.Context(), room, first.Entry.Client.Key, "id")
		if !ok || err != nil || r.ID != first.Entry.ID() {
			t.Errorf("client: %v, %v, %v", r.ID, ok, err)
		}
		if _, ok, err := s.Client(t.Context(), room, first.Entry.Client.Key, "none"); ok || err != nil {
			t.Errorf("unknown client id: %v, %v", ok, err)
		}
		hits, err := s.Search(t.Context(), nil, "words", 10)
		if len(hits) != 2 || err != nil {
			t.Errorf("search: %d, %v", len(hits), err)
		}
	}
}

func TestSearchTakesAnyText(t *testing.T) {
	s := open(t, t.TempDir())
	room, other := testRoom(1), testRoom(2)
	a, b := newAuthor(1, room), newAuthor(2, other)
	commit(t, s, room, a.say(1, "Reunião às três"), a.say(2, `don't "quote" me`), a.say(3, "reunir AND NOT text:x"))
	commit(t, s, other, b.say(1, "reunião noutra sala"))
	for _, c := range []struct {
		rooms []ordering.RoomID
		text  string
		want  []string
	}{
		{nil, "reuniao", []string{"reunião noutra sala", "Reunião às três"}},
		{[]ordering.RoomID{room}, "reun", []string{"reunir AND NOT text:x", "Reunião às três"}},
		{[]ordering.RoomID{other}, "REUN", []string{"reunião noutra sala"}},
		{[]ordering.RoomID{}, "reun", nil},
		{nil, "reuniao tre", []string{"Reunião às três"}},
		{nil, "reu três", nil}, // only the last word is a prefix
		{nil, `don't "quote"`, []string{`don't "quote" me`}},
		{nil, "AND NOT", []string{"reunir AND NOT text:x"}},
		{nil, "text:x", []string{"reunir AND NOT text:x"}},
		{nil, `" * ( - ^`, nil},
		{nil, "NEAR(a b)*", nil},
		{nil, "1", nil}, // as rooms are numbered within
		{[]ordering.RoomID{room}, "1", nil},
		{[]ordering.RoomID{testRoom(3)}, "reun", nil},
		{[]ordering.RoomID{room, testRoom(3), other}, "reun", []string{"reunião noutra sala", "reunir AND NOT text:x", "Reunião às três"}},
		{nil, "a\x00b\xff", nil},
		{nil, "", nil},
	} {
		hits, err := s.Search(t.Context(), c.rooms, c.text, 10)
		var got []string
		for _, h := range hits {
			got = append(got, h.Line.Text)
			want := room
			if h.Line.Text == "reunião noutra sala" {
				want = other
			}
			if h.Room != want {
				t.Errorf("%q: room %s", c.text, h.Room)
			}
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("search %q: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestAnUnreadableLineOpensLater(t *testing.T) {
	s := open(t, t.TempDir())
	room, key := testRoom(1), ordering.KeyID{7}
	a := newAuthor(1, room)
	e := a.say(1, "")
	e.Line = &Line{KeyID: key}
	commit(t, s, room, e)
	sealed, err := s.Unreadable(t.Context(), room, key, 10)
	if err != nil || len(sealed) != 1 || !sealed[0].Equal(e.Entry) {
		t.Fatalf("unreadable: %d, %v", len(sealed), err)
	}
	if sealed, err := s.Unreadable(t.Context(), room, ordering.KeyID{8}, 10); err != nil || len(sealed) != 0 {
		t.Errorf("of another key: %d, %v", len(sealed), err)
	}
	err = s.Commit(t.Context(), &Write{
		Room: room, Keys: []RoomKey{{ID: key, Key: [32]byte{1}}},
		Opened: []Opened{{ID: e.Entry.ID(), Line: Line{Sender: "Ana", Text: "abracadabra", Readable: true, KeyID: key}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, "abracadabra")
	if hits, err := s.Search(t.Context(), nil, "abra", 10); len(hits) != 1 || err != nil {
		t.Errorf("search: %d, %v", len(hits), err)
	}
	if sealed, err := s.Unreadable(t.Context(), room, key, 10); err != nil || len(sealed) != 0 {
		t.Errorf("unreadable afterwards: %d, %v", len(sealed), err)
	}
	if keys, err := s.Keys(t.Context(), room); err != nil || !slices.Equal(keys, []RoomKey{{ID: key, Key: [32]byte{1}}}) {
		t.Errorf("keys: %v, %v", keys, err)
	}
}

func TestPreviewsAreForPagesAlone(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	one, two := a.say(1, "one"), a.handed(2, seed(50), "id", "two")
	if err := s.Preview(t.Context(), room, []Entry{two}); err != nil {
		t.Fatal(err)
	}
	commit(t, s, room, one)
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, "one", "two")
	rows, err = s.Since(t.Context(), room, 0, 10)
	wantTexts(t, "since", rows, err, "one")
	if total, unread, err := s.Counts(t.Context(), room); total != 1 || unread != 1 || err != nil {
		t.Errorf("counts: %d, %d, %v", total, unread, err)
	}
	if got := restored(t, s, room); len(got) != 1 {
		t.Errorf("restored %d entries", len(got))
	}
	id := two.Entry.ID()
	rows, _, _, err = s.Page(t.Context(), room, Query{Around: &id, Limit: 2})
	wantTexts(t, "around a preview", rows, err, "one", "two")

	commit(t, s, room, two)
	if err := s.Preview(t.Context(), room, []Entry{one, two}); err != nil {
		t.Fatal(err)
	}
	rows, err = page(t, s, room)
	wantTexts(t, "page afterwards", rows, err, "one", "two")
	if rows[1].Arrival == 0 {
		t.Error("the preview is still there")
	}
	if err := s.Preview(t.Context(), room, []Entry{a.say(3, "three")}); err != nil {
		t.Fatal(err)
	}
	if err := s.ClearPreview(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	rows, err = page(t, s, room)
	wantTexts(t, "page, previews cleared", rows, err, "one", "two")
}

func TestReadersGoOnBesideCommits(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for seen := 0; ctx.Err() == nil; {
				rows, _, _, err := s.Page(context.Background(), room, Query{Limit: 1000})
				if err != nil || len(rows) < seen {
					t.Errorf("page of %d lines after one of %d: %v", len(rows), seen, err)
					return
				}
				seen = len(rows)
			}
		})
	}
	for ts := uint64(1); ts <= 200; ts++ {
		commit(t, s, room, a.say(ts, fmt.Sprint(ts)))
	}
	cancel()
	readers.Wait()
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, numbered(1, 200)...)
}
