package storage

import (
	"fmt"
	"os"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
)

// diskDir returns a directory on the disk of the user's cache, since TMPDIR is often memory.
func diskDir(b *testing.B) string {
	cache, err := os.UserCacheDir()
	if err == nil {
		err = os.MkdirAll(cache, 0o700)
	}
	if err != nil {
		b.Skipf("no cache directory to write in: %v", err)
	}
	dir, err := os.MkdirTemp(cache, "tertulia-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var phrases = [...]string{
	"Bom dia, alguém sabe se a reunião começou?", "The bridge is open again, come over",
	"Ainda não, chega em cinco minutos", "Let us meet at the harbour at six", "Qual é o número da sala nova?",
}

// benchEntries returns n messages of a, each with a client's stamp.
func benchEntries(a *author, n int) []Entry {
	client := seed(99)
	all := make([]Entry, n)
	for i := range all {
		ts := uint64(1)
		if a.last != nil {
			ts = a.last.TS + 1
		}
		all[i] = a.handed(ts, client, fmt.Sprintf("client-%d-%d", a.origin.Instance[0], ts), fmt.Sprintf("%s %d", phrases[i%len(phrases)], ts))
	}
	return all
}

func benchCommit(b *testing.B, size int) {
	s := open(b, diskDir(b))
	room := testRoom(1)
	a := newAuthor(1, room)
	groups := make([][]Entry, b.N)
	for i := range groups {
		groups[i] = benchEntries(a, size)
	}
	b.ResetTimer()
	for _, g := range groups {
		commit(b, s, room, g...)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkCommit1(b *testing.B)  { benchCommit(b, 1) }
func BenchmarkCommit64(b *testing.B) { benchCommit(b, 64) }

// filled returns a store whose room has n messages of four authors.
func filled(b *testing.B, n int) (*Store, ordering.RoomID) {
	s := open(b, diskDir(b))
	room := testRoom(1)
	var authors []*author
	for i := range 4 {
		authors = append(authors, newAuthor(uint64(i), room))
	}
	const group = 1000
	for i := 0; i < n; i += group {
		commit(b, s, room, benchEntries(authors[i/group%len(authors)], group)...)
	}
	b.ResetTimer()
	return s, room
}

func BenchmarkPage(b *testing.B) {
	const rows = 50
	s, room := filled(b, 100_000)
	for b.Loop() {
		got, _, _, err := s.Page(b.Context(), room, Query{Limit: rows})
		if err != nil || len(got) != rows {
			b.Fatal(len(got), err)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkSearch(b *testing.B) {
	const rows = 50
	s, room := filled(b, 100_000)
	for b.Loop() {
		got, err := s.Search(b.Context(), []ordering.RoomID{room}, "reuniao com", rows)
		if err != nil || len(got) != rows {
			b.Fatal(len(got), err)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRestore(b *testing.B) {
	const rows = 100_000
	s, room := filled(b, rows)
	for b.Loop() {
		n := 0
		for _, err := range s.Restore(b.Context(), room) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != rows {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRuns(b *testing.B) {
	const rows = 100_000
	s, room := filled(b, rows)
	var wants []ordering.Want
	for i := range 4 {
		wants = append(wants, ordering.Want{Origin: newAuthor(uint64(i), room).origin})
	}
	for b.Loop() {
		n := 0
		for r, err := range s.Runs(b.Context(), room, wants, 0) {
			if err != nil {
				b.Fatal(err)
			}
			n += len(r.Entries)
		}
		if n != rows {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

// sequenced makes every entry final in the Write that stores it, with a record of
// the control log, as a leader alone in its room would.
func sequenced(room ordering.RoomID, groups [][]Entry) []*Write {
	hash, index := ordering.Hash(room), uint64(0)
	mark := linear.New(linear.Config{Room: room}, ordering.Leader, groups[0][0].Entry.Origin).Mark()
	writes := make([]*Write, len(groups))
	for i, g := range groups {
		w := &Write{Room: room, Entries: g, Mark: mark, Finals: finals(index, hash, g...)}
		save := control.Save{Hard: &control.Hard{Term: 1, Commit: uint64(i + 1)}, RaftApplied: uint64(i + 1)}
		for _, e := range g {
			save.Append = append(save.Append, control.Record{Index: index + 1, Term: 1, Kind: control.KindNormal, Data: e.Entry.Bytes()})
			index++
		}
		w.Control = &save
		hash = w.Finals[len(g)-1].OrderHash
		writes[i] = w
	}
	return writes
}

func benchFinal(b *testing.B, size int) {
	s := open(b, diskDir(b))
	room := testRoom(1)
	a := newAuthor(1, room)
	groups := make([][]Entry, b.N)
	for i := range groups {
		groups[i] = benchEntries(a, size)
	}
	writes := sequenced(room, groups)
	b.ResetTimer()
	for _, w := range writes {
		if err := s.Commit(b.Context(), w); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkFinal1(b *testing.B)  { benchFinal(b, 1) }
func BenchmarkFinal64(b *testing.B) { benchFinal(b, 64) }

// filledFinal returns a store whose room has n finals.
func filledFinal(b *testing.B, n int) (*Store, ordering.RoomID) {
	s := open(b, diskDir(b))
	room := testRoom(1)
	a := newAuthor(1, room)
	var groups [][]Entry
	for range n / 1000 {
		groups = append(groups, benchEntries(a, 1000))
	}
	for _, w := range sequenced(room, groups) {
		if err := s.Commit(b.Context(), w); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	return s, room
}

func BenchmarkFinalPage(b *testing.B) {
	const rows = 50
	s, room := filledFinal(b, 100_000)
	for b.Loop() {
		got, _, _, err := s.Page(b.Context(), room, Query{Before: FinalPlace(50_000), Limit: rows})
		if err != nil || len(got) != rows {
			b.Fatal(len(got), err)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRecent(b *testing.B) {
	s, room := filledFinal(b, 100_000)
	for b.Loop() {
		if got, err := s.Recent(b.Context(), room); err != nil || len(got) != linear.Window {
			b.Fatal(len(got), err)
		}
	}
}

// BenchmarkResume reads what a list needs besides its recent finals.
func BenchmarkResume(b *testing.B) {
	s, room := filledFinal(b, 100_000)
	for b.Loop() {
		emitted, err := s.Emitted(b.Context(), room)
		if err != nil || len(emitted) != 1 {
			b.Fatal(len(emitted), err)
		}
		if kept, err := s.Kept(b.Context(), room); err != nil || len(kept) != 390 {
			b.Fatal(len(kept), err)
		}
		if head, _, err := s.Head(b.Context(), room); err != nil || head != 100_000 {
			b.Fatal(head, err)
		}
	}
}

func BenchmarkCountsUnread(b *testing.B) {
	s, room := filledFinal(b, 100_000)
	for b.Loop() {
		if total, unread, err := s.Counts(b.Context(), room); err != nil || total != 100_000 || unread != MaxUnread {
			b.Fatal(total, unread, err)
		}
	}
}
