package storage

import (
	"context"
	"path/filepath"
	"testing"
)

// The floor below Commit: the rows alone, an entry's bytes, its place in the order
// and its words, with the same driver, pragmas and disk.
const bareSchema = `
CREATE TABLE entries (num INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE places (key BLOB PRIMARY KEY, num INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2');`

func benchBare(b *testing.B, size int) {
	db, err := openWriter(filepath.Join(diskDir(b), databaseName))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	if _, err := conn.ExecContext(ctx, bareSchema); err != nil {
		b.Fatal(err)
	}
	prepare := func(text string) func(...any) {
		st, err := conn.PrepareContext(ctx, text)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { st.Close() })
		return func(values ...any) {
			if _, err := st.ExecContext(ctx, values...); err != nil {
				b.Fatal(err)
			}
		}
	}
	begin, end := prepare(`BEGIN IMMEDIATE`), prepare(`COMMIT`)
	entry := prepare(`INSERT INTO entries (num, bytes) VALUES (?, ?)`)
	place := prepare(`INSERT INTO places (key, num) VALUES (?, ?)`)
	words := prepare(`INSERT INTO words (rowid, text) VALUES (?, ?)`)
	a := newAuthor(1, testRoom(1))
	groups := make([][]Entry, b.N)
	for i := range groups {
		groups[i] = benchEntries(a, size)
	}
	num := 0
	b.ResetTimer()
	for _, g := range groups {
		begin()
		for _, e := range g {
			num++
			entry(num, e.Entry.Bytes())
			place(e.Entry.Key().Bytes(), num)
			words(num, e.Line.Text)
		}
		end()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkBare1(b *testing.B)  { benchBare(b, 1) }
func BenchmarkBare64(b *testing.B) { benchBare(b, 64) }
