package storage

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"tertulia/ordering"
)

// author writes one chain of a room.
type author struct {
	key    ed25519.PrivateKey
	origin ordering.Origin
	room   ordering.RoomID
	last   *ordering.Entry
}

func seed(n uint64) ed25519.PrivateKey {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	return ed25519.NewKeyFromSeed(h[:])
}

func testRoom(n uint64) (r ordering.RoomID) {
	binary.BigEndian.PutUint64(r[:], n)
	return r
}

func newAuthor(n uint64, room ordering.RoomID) *author {
	a := &author{key: seed(n), room: room}
	copy(a.origin.Device[:], a.key.Public().(ed25519.PublicKey))
	a.origin.Instance[0] = byte(n)
	return a
}

// entry returns the author's next entry at ts.
func (a *author) entry(ts uint64, kind ordering.Kind, client *ordering.Stamp, body string) *ordering.Entry {
	e := ordering.Entry{Room: a.room, Origin: a.origin, Seq: 1, TS: ts, WallMS: int64(1000 * ts), Kind: kind, Client: client, Body: []byte(body)}
	if a.last != nil {
		e.Seq, e.Prev = a.last.Seq+1, a.last.Hash()
	}
	a.last = ordering.Seal(e)
	return a.last
}

// say returns a message with its line, a run of its own.
func (a *author) say(ts uint64, text string) Entry {
	return a.sealRun(a.line(ts, text))[0]
}

func (a *author) line(ts uint64, text string) Entry {
	return Entry{
		Entry: a.entry(ts, ordering.KindMessage, nil, "sealed "+text),
		Line:  &Line{Sender: "Ana", SenderKey: [32]byte{1}, Text: text, Readable: true},
	}
}

// handed returns a message that the client handed in under id.
func (a *author) handed(ts uint64, client ed25519.PrivateKey, id, text string) Entry {
	st := ordering.SignClient(client, a.room, 0, ordering.DeviceKey{}, id, []byte(text))
	e := Entry{Entry: a.entry(ts, ordering.KindMessage, st, "sealed "+text), Line: &Line{Sender: "Ana", Text: text, Readable: true}}
	return a.sealRun(e)[0]
}

// sealRun signs entries as one run.
func (a *author) sealRun(entries ...Entry) []Entry {
	var raw []*ordering.Entry
	for _, e := range entries {
		raw = append(raw, e.Entry)
	}
	last := &entries[len(entries)-1]
	last.Run = len(entries)
	last.Sig = ordering.SignRun(a.key, raw...).Run().Sig
	return entries
}

// open opens dir and runs the store until the test ends.
func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, s)
	t.Cleanup(func() {
		stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// run runs the store and returns what stops it and waits.
func run(t testing.TB, s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func commit(t testing.TB, s *Store, room ordering.RoomID, entries ...Entry) {
	t.Helper()
	if err := s.Commit(t.Context(), &Write{Room: room, Entries: entries}); err != nil {
		t.Fatal(err)
	}
}

func texts(rows []Row) []string {
	var all []string
	for _, r := range rows {
		all = append(all, r.Line.Text)
	}
	return all
}

func wantTexts(t *testing.T, what string, rows []Row, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got := texts(rows); !slices.Equal(got, want) {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// page returns the room's newest lines.
func page(t *testing.T, s *Store, room ordering.RoomID) ([]Row, error) {
	t.Helper()
	rows, _, _, err := s.Page(t.Context(), room, Query{Limit: 1000})
	return rows, err
}

func numbered(from, to int) []string {
	var all []string
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}
