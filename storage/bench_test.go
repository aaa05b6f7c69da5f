package storage

import (
	"fmt"
	"os"
	"testing"

	"tertulia/ordering"
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
