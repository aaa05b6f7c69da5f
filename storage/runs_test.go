package storage

import (
	"fmt"
	"slices"
	"testing"

	"tertulia/ordering"
)

func restored(t *testing.T, s *Store, room ordering.RoomID) []ordering.EntryID {
	t.Helper()
	var ids []ordering.EntryID
	for e, err := range s.Restore(t.Context(), room) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.Entry.ID())
	}
	return ids
}

// served returns the runs as "author:first-last".
func served(t *testing.T, s *Store, room ordering.RoomID, limitBytes int, wants ...ordering.Want) []string {
	t.Helper()
	var all []string
	for r, err := range s.Runs(t.Context(), room, wants, limitBytes) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, describe(t, r))
	}
	return all
}

func describe(t *testing.T, r ordering.Run) string {
	t.Helper()
	if _, err := ordering.VerifyRun(r); err != nil {
		t.Fatalf("run of %d entries: %v", len(r.Entries), err)
	}
	return fmt.Sprintf("%d:%d-%d", r.Origin().Instance[0], r.First().Seq, r.Last().Seq)
}

func TestRunsAreServedWholeInAcceptanceOrder(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a, b := newAuthor(1, room), newAuthor(2, room)
	commit(t, s, room, a.sealRun(a.line(1, "a1"), a.line(2, "a2"), a.line(3, "a3"))...)
	commit(t, s, room, slices.Concat(b.sealRun(b.line(4, "b1")), a.sealRun(a.line(5, "a4"), a.line(6, "a5")))...)
	commit(t, s, room, b.sealRun(b.line(7, "b2"), b.line(8, "b3"))...)
	commit(t, s, room, a.say(9, "a6"))

	wantA, wantB := ordering.Want{Origin: a.origin}, ordering.Want{Origin: b.origin}
	after := func(w ordering.Want, seq uint64) ordering.Want { w.After = seq; return w }
	for _, c := range []struct {
		limit int
		wants []ordering.Want
		want  []string
	}{
		{0, []ordering.Want{wantB, wantA}, []string{"1:1-3", "2:1-1", "1:4-5", "2:2-3", "1:6-6"}},
		{0, []ordering.Want{after(wantA, 4), after(wantB, 1)}, []string{"1:4-5", "2:2-3", "1:6-6"}},
		{0, []ordering.Want{after(wantA, 2)}, []string{"1:1-3", "1:4-5", "1:6-6"}},
		{0, []ordering.Want{after(wantA, 6), after(wantB, 3)}, nil},
		{0, []ordering.Want{after(wantA, 1<<63+5)}, nil},
		{0, []ordering.Want{{Origin: newAuthor(3, room).origin}}, nil},
		{1, []ordering.Want{wantA, wantB}, []string{"1:1-3"}},
	} {
		if got := served(t, s, room, c.limit, c.wants...); !slices.Equal(got, c.want) {
			t.Errorf("limit %d, wants %v: %v, want %v", c.limit, c.wants, got, c.want)
		}
	}
	runs, err := s.Newest(t.Context(), room, 4)
	var got []string
	for _, r := range runs {
		got = append(got, describe(t, r))
	}
	if want := []string{"1:4-5", "2:2-3", "1:6-6"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("newest: %v, %v; want %v", got, err, want)
	}
}

func TestRunsLookFurtherAheadUntilTheEnd(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	authors := []*author{newAuthor(1, room), newAuthor(2, room), newAuthor(3, room)}
	var all []Entry
	var want []string
	for i := range 600 {
		a := authors[i*i%3]
		all = append(all, a.say(uint64(i+1), "x"))
		want = append(want, fmt.Sprintf("%d:%d-%d", a.origin.Instance[0], a.last.Seq, a.last.Seq))
	}
	commit(t, s, room, all...)
	var wants []ordering.Want
	for _, a := range authors {
		wants = append(wants, ordering.Want{Origin: a.origin})
	}
	if got := served(t, s, room, 0, wants...); !slices.Equal(got, want) {
		t.Errorf("served %d runs, want %d in acceptance order", len(got), len(want))
	}
	ids := restored(t, s, room)
	if len(ids) != len(all) {
		t.Fatalf("restored %d entries, want %d", len(ids), len(all))
	}
	for i, id := range ids {
		if id != all[i].Entry.ID() {
			t.Fatalf("entry %d is restored out of order", i)
		}
	}
}

func TestTheRestOfARunMayFollowItsBeginning(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a := newAuthor(1, room)
	l1, l2, l3 := a.line(1, "1"), a.line(2, "2"), a.line(3, "3")
	whole := a.sealRun(slices.Clone([]Entry{l1, l2, l3})...)
	commit(t, s, room, a.sealRun(l1)...)
	commit(t, s, room, whole[1:]...)
	if got, want := served(t, s, room, 0, ordering.Want{Origin: a.origin, After: 1}), []string{"1:1-3"}; !slices.Equal(got, want) {
		t.Errorf("served %v, want %v", got, want)
	}
}
