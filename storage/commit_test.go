package storage

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"tertulia/chat"
	"tertulia/ordering"
)

// waitFor commits the writes before the store runs, so that they form one group,
// and returns each one's error.
func waitFor(t *testing.T, s *Store, writes ...*Write) []error {
	t.Helper()
	errs := make([]error, len(writes))
	var all sync.WaitGroup
	for i, w := range writes {
		all.Go(func() { errs[i] = s.Commit(t.Context(), w) })
	}
	for queued := 0; queued < len(writes); { // Commit itself returns only when the group is durable
		runtime.Gosched()
		s.mu.Lock()
		queued = len(s.waiting)
		s.mu.Unlock()
	}
	stop := run(t, s)
	all.Wait()
	stop()
	return errs
}

func TestWaitingCommitsShareATransactionAndOneFaultStaysAlone(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	const rooms = 20
	var writes []*Write
	for i := range uint64(rooms) {
		a := newAuthor(i, testRoom(i))
		writes = append(writes, &Write{Room: a.room, Entries: []Entry{a.say(1, fmt.Sprint(i))}})
	}
	a := newAuthor(100, testRoom(100))
	fine, cut := a.say(1, "fine"), a.line(2, "cut")
	writes = append(writes, &Write{Room: a.room, Entries: []Entry{fine, cut}})
	before := s.Transactions()
	errs := waitFor(t, s, writes...)
	if got := s.Transactions() - before; got != 1 {
		t.Errorf("%d transactions, want 1", got)
	}
	for i, err := range errs[:rooms] {
		if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if err := errs[rooms]; err == nil || chat.CodeOf(err) == chat.CodeDisk {
		t.Errorf("a cut run: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	for i := range uint64(rooms) {
		rows, err := page(t, s, testRoom(i))
		wantTexts(t, "page", rows, err, fmt.Sprint(i))
	}
	rows, err := page(t, s, a.room)
	wantTexts(t, "page of the failed write", rows, err)
	// The numbers that the failed write gave are forgotten with it.
	commit(t, s, a.room, fine)
	rows, err = page(t, s, a.room)
	wantTexts(t, "page", rows, err, "fine")
}

func TestAnEntryIsStoredOnce(t *testing.T) {
	s := open(t, t.TempDir())
	room := testRoom(1)
	a, fork := newAuthor(1, room), newAuthor(1, room)
	e := a.say(1, "one")
	commit(t, s, room, e)
	commit(t, s, room, e)
	rows, err := page(t, s, room)
	wantTexts(t, "page", rows, err, "one")
	if total, _, err := s.Counts(t.Context(), room); total != 1 || err != nil {
		t.Errorf("total %d, %v", total, err)
	}
	err = s.Commit(t.Context(), &Write{Room: room, Entries: []Entry{fork.say(1, "two")}})
	if err == nil || !strings.Contains(err.Error(), "another entry has its place") {
		t.Errorf("a fork: %v", err)
	}
}

func TestAFullDatabaseFailsVisiblyAndRecovers(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := s.conn.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		if _, err := s.conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 40)
	stop := run(t, s)
	acked := fillUp(t, s, testRoom(1))
	stop()
	limit(1 << 30)
	a := newAuthor(9, testRoom(1))
	if errs := waitFor(t, s.again(), &Write{Room: a.room, Entries: []Entry{a.say(100_000, "there is space")}}); errs[0] != nil {
		t.Error(errs[0])
	}
	if got := len(restored(t, s, testRoom(1))); got != acked+1 {
		t.Errorf("%d entries, want %d", got, acked+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// again lets the store run once more after Run ended.
func (s *Store) again() *Store {
	s.closed = false
	return s
}

// fillUp commits until the disk refuses and checks that reading goes on. It
// returns how many entries were acknowledged.
func fillUp(t *testing.T, s *Store, room ordering.RoomID) int {
	t.Helper()
	a := newAuthor(1, room)
	const tries = 10_000
	text := strings.Repeat("word ", 200)
	for n := range tries {
		err := s.Commit(t.Context(), &Write{Room: room, Entries: []Entry{a.say(uint64(n+1), text)}})
		if err == nil {
			continue
		}
		if chat.CodeOf(err) != chat.CodeDisk || !strings.Contains(err.Error(), "full") {
			t.Fatalf("commit %d: %v", n, err)
		}
		if got := len(restored(t, s, room)); n == 0 || got != n {
			t.Fatalf("%d entries are read, %d were acknowledged", got, n)
		}
		return n
	}
	t.Fatalf("the disk took %d messages", tries)
	return 0
}
