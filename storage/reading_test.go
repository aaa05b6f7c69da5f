package storage

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/ordering/linear"
)

func TestAReceiptOnlyGrowsAndOutlastsARestart(t *testing.T) {
	dir, room := t.TempDir(), testRoom(1)
	s := must(Open(dir))(t)
	stop := run(t, s)
	receipt := func(upTo uint64) ordering.Receipt { return ordering.SignReceipt(seed(1), seed(2), room, "Ana", upTo) }
	other := ordering.SignReceipt(seed(3), seed(4), room, "Bea", 1)
	for _, w := range [][]ordering.Receipt{{receipt(3), other}, {receipt(2)}, {receipt(7)}} {
		if err := s.Commit(t.Context(), &Write{Room: room, Read: w}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	got, err := s.Receipts(t.Context(), room)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d receipts, %v", len(got), err)
	}
	for _, r := range got {
		if want := map[string]ordering.Receipt{"Ana": receipt(7), "Bea": other}[r.Name]; !reflect.DeepEqual(r, want) || !r.Verify(room) {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
	if none, err := s.Receipts(t.Context(), testRoom(2)); err != nil || len(none) > 0 {
		t.Errorf("another room has %d receipts, %v", len(none), err)
	}
}

func TestTheFirstUnreadLineIsTheFirstThatCounts(t *testing.T) {
	s, room := open(t, t.TempDir()), testRoom(1)
	if _, err := s.FirstUnread(t.Context(), room); !errors.Is(err, ErrNotFound) {
		t.Errorf("of an empty room: %v", err)
	}
	a := newAuthor(1, room)
	e1, e2, e3 := a.say(1, "one"), a.say(2, "two"), a.say(3, "three")
	commit(t, s, room, e1, e2, e3)
	final(t, s, room, e1, e2)
	first := func(want ordering.EntryID) {
		t.Helper()
		if id, err := s.FirstUnread(t.Context(), room); err != nil || id != want {
			t.Errorf("first unread %s, %v; want %s", id, err, want)
		}
	}
	read := func(place []byte, upTo uint64) {
		t.Helper()
		if err := s.Commit(t.Context(), &Write{Room: room, ReadTo: place}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ReadUpTo(t.Context(), room); err != nil || got != upTo {
			t.Errorf("read up to %d, %v; want %d", got, err, upTo)
		}
	}
	first(e1.Entry.ID())
	read(FinalPlace(1), 1)
	first(e2.Entry.ID())
	read(FinalPlace(2), 2)
	first(e3.Entry.ID())
	read(tailPlace(e3.Entry.Key()), 2)
	if id, err := s.FirstUnread(t.Context(), room); !errors.Is(err, ErrNotFound) {
		t.Errorf("first unread %s, %v, want none", id, err)
	}
	// What was read in the tail is read when it is final.
	if err := s.Commit(t.Context(), &Write{Room: room, Finals: []linear.Final{{ID: e3.Entry.ID(), Hash: e3.Entry.Hash(), Fate: linear.Shown, Index: 3}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ReadUpTo(t.Context(), room); err != nil || got != 3 {
		t.Errorf("read up to %d, %v; want 3", got, err)
	}
}

// final gives entries the first indexes.
func final(t *testing.T, s *Store, room ordering.RoomID, entries ...Entry) {
	t.Helper()
	var finals []linear.Final
	for i, e := range entries {
		finals = append(finals, linear.Final{ID: e.Entry.ID(), Hash: e.Entry.Hash(), Fate: linear.Shown, Index: uint64(i) + 1})
	}
	if err := s.Commit(t.Context(), &Write{Room: room, Finals: finals}); err != nil {
		t.Fatal(err)
	}
}

// TestAPageBeginsWhereATimeDoes: the authors of these tests write at ts seconds.
func TestAPageBeginsWhereATimeDoes(t *testing.T) {
	for _, finals := range []int{0, 3, 9} {
		s, room := open(t, t.TempDir()), testRoom(1)
		a, b := newAuthor(1, room), newAuthor(2, room)
		var entries []Entry
		for i := range 9 {
			who := a
			if i%2 == 1 {
				who = b
			}
			entries = append(entries, who.say(uint64(10*(i+1)), numbered(i+1, i+1)[0]))
		}
		commit(t, s, room, entries...)
		final(t, s, room, entries[:finals]...)
		for _, at := range []struct {
			ms   int64
			want []string
		}{
			{0, numbered(1, 9)}, {10_000, numbered(1, 9)}, {10_001, numbered(2, 9)}, {30_000, numbered(3, 9)}, {35_000, numbered(4, 9)},
			{40_000, numbered(4, 9)}, {89_999, numbered(9, 9)}, {90_000, numbered(9, 9)}, {90_001, nil},
		} {
			rows, _, newer, err := s.Page(t.Context(), room, Query{At: time.UnixMilli(at.ms), Limit: chat.MaxPage})
			wantTexts(t, time.UnixMilli(at.ms).String(), rows, err, at.want...)
			if newer {
				t.Error("there is more")
			}
		}
	}
}

func TestAnEntryTellsWhenItCameAndWhoWroteSince(t *testing.T) {
	s, room := open(t, t.TempDir()), testRoom(1)
	began := time.Now().Truncate(time.Millisecond)
	a, b := newAuthor(1, room), newAuthor(2, room)
	e := a.say(1, "one")
	commit(t, s, room, e)
	got, arrived, err := s.Entry(t.Context(), room, e.Entry.ID())
	if err != nil || !got.Equal(e.Entry) || arrived.Before(began) || arrived.After(time.Now()) {
		t.Errorf("%v came %s, %v", got, arrived, err)
	}
	if _, _, err := s.Entry(t.Context(), room, ordering.EntryID{Origin: b.origin, Seq: 1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is not here: %v", err)
	}
	commit(t, s, room, b.say(2, "two"), b.say(3, "three"))
	writers, err := s.Writers(t.Context(), room, began)
	if err != nil || len(writers) != 2 {
		t.Errorf("written by %v, %v", writers, err)
	}
	if writers, err = s.Writers(t.Context(), room, time.Now().Add(time.Hour)); err != nil || len(writers) != 0 {
		t.Errorf("written in an hour by %v, %v", writers, err)
	}
}

// Between the look where a line stands and the one there it must not move.
func TestAPageIsOfOneMomentWhileLinesBecomeFinal(t *testing.T) {
	const lines = 300
	s, room := open(t, t.TempDir()), testRoom(1)
	a := newAuthor(1, room)
	entries := make([]Entry, lines)
	for i := range entries {
		entries[i] = a.say(uint64(i)+1, "x")
	}
	commit(t, s, room, entries...)
	ordered := make(chan error, 1)
	go func() {
		for i, e := range entries {
			f := linear.Final{ID: e.Entry.ID(), Hash: e.Entry.Hash(), Fate: linear.Shown, Index: uint64(i) + 1}
			if err := s.Commit(t.Context(), &Write{Room: room, Finals: []linear.Final{f}}); err != nil {
				ordered <- err
				return
			}
		}
		close(ordered)
	}()
	for {
		select {
		case err := <-ordered:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		head, _, err := s.Head(t.Context(), room)
		if err != nil {
			t.Fatal(err)
		}
		id := entries[min(head, lines-1)].Entry.ID()
		for _, q := range []Query{{Around: &id, Limit: 1}, {At: time.UnixMilli(1000 * int64(id.Seq)), Limit: 1}} {
			rows, _, _, err := s.Page(t.Context(), room, q)
			if err != nil || len(rows) != 1 || rows[0].ID != id {
				t.Fatalf("the page of %s by %+v is %v, %v", id, q, rows, err)
			}
		}
	}
}
