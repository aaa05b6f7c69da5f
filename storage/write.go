package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tertulia/ordering"
)

// sweepEntries is how many entries of a deleted room one transaction removes.
const sweepEntries = 1000

// writer holds the writing connection's statements and what it remembers of the
// database. It belongs to Run's goroutine.
type writer struct {
	conn *sql.Conn
	all  []*sql.Stmt

	begin, end, undo, save, keep, unsave *sql.Stmt

	findRoom, addRoom, setRoom, addTotal      *sql.Stmt
	findOrigin, addOrigin                     *sql.Stmt
	addEntry, getEntry, countRun, lineAt      *sql.Stmt
	addLine, findShown, setRepeated, openLine *sql.Stmt
	highest, addWords                         *sql.Stmt
	addKey, put, remove                       *sql.Stmt

	addPreview, previewBefore                      *sql.Stmt
	dropPreview, dropSamePreview, dropOlderPreview *sql.Stmt
	clearPreviews                                  *sql.Stmt

	savePeer, dropOldPeers *sql.Stmt

	rooms     map[ordering.RoomID]int64
	origins   map[ordering.Origin]int64
	previewed map[int64]bool // rooms that have previews; nil = not known
	sweeping  bool           // there are deleted rooms
}

const lineColumns = `readable, sealed_by, sender_key, reply, sender, text`

func (t *writer) prepare(ctx context.Context, conn *sql.Conn) error {
	t.conn = conn
	t.forget()
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&t.begin, `BEGIN IMMEDIATE`},
		{&t.end, `COMMIT`},
		{&t.undo, `ROLLBACK`},
		{&t.save, `SAVEPOINT job`},
		{&t.keep, `RELEASE job`},
		{&t.unsave, `ROLLBACK TO job`},

		{&t.findRoom, `SELECT num FROM rooms WHERE id = ?`},
		{&t.addRoom, `INSERT INTO rooms (id) VALUES (?)`},
		{&t.setRoom, `UPDATE rooms SET listed = 1, name = ?, state = ?, reason = ?, invite = ?, via = ?, target = ?, read_to = ?, mode = ? WHERE num = ?`},
		{&t.addTotal, `UPDATE rooms SET total = total + ? WHERE num = ?`},
		{&t.findOrigin, `SELECT num FROM origins WHERE origin = ?`},
		{&t.addOrigin, `INSERT INTO origins (origin, tag) VALUES (?, ?)`},

		{&t.addEntry, `INSERT INTO entries (room, origin, seq, run, sig, bytes) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&t.getEntry, `SELECT bytes FROM entries WHERE room = ? AND origin = ? AND seq = ?`},
		{&t.countRun, `SELECT count(*) FROM entries WHERE room = ? AND origin = ? AND seq BETWEEN ? AND ?`},
		{&t.lineAt, `SELECT l.num, l.readable FROM entries e JOIN lines l ON l.num = e.num WHERE e.room = ? AND e.origin = ? AND e.seq = ?`},

		{&t.addLine, `INSERT INTO lines (num, room, key, stamp, payload, repeated, ` + lineColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&t.findShown, `SELECT num, key FROM lines WHERE stamp = ? AND payload = ? AND repeated = 0`},
		{&t.setRepeated, `UPDATE lines SET repeated = 1 WHERE num = ?`},
		{&t.openLine, `UPDATE lines SET (` + lineColumns + `) = (?, ?, ?, ?, ?, ?) WHERE num = ?`},
		{&t.highest, `SELECT coalesce(max(num), 0) FROM entries`},
		{&t.addWords, `INSERT INTO words (rowid, text) SELECT num, text FROM lines WHERE num BETWEEN ? AND ? AND text <> ''`},

		{&t.addKey, `INSERT INTO room_keys (room, id, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`},
		{&t.put, `INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`},
		{&t.remove, `DELETE FROM settings WHERE key = ?`},

		{&t.addPreview, `INSERT OR REPLACE INTO previews (room, origin, seq, key, stamp, payload, ` + lineColumns + `, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&t.previewBefore, `SELECT EXISTS (SELECT 1 FROM previews WHERE room = ? AND stamp = ? AND payload = ? AND key < ?)`},
		{&t.dropPreview, `DELETE FROM previews WHERE room = ? AND key = ?`},
		{&t.dropSamePreview, `DELETE FROM previews WHERE room = ? AND stamp = ? AND payload = ?`},
		{&t.dropOlderPreview, `DELETE FROM previews WHERE room = ?1 AND key <
			(SELECT key FROM previews WHERE room = ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2)`},
		{&t.clearPreviews, `DELETE FROM previews WHERE room = (SELECT num FROM rooms WHERE id = ?)`},

		{&t.savePeer, `INSERT INTO peers (device, name, addrs, seen_ms) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET name = excluded.name, addrs = excluded.addrs, seen_ms = excluded.seen_ms`},
		{&t.dropOldPeers, `DELETE FROM peers WHERE device IN (SELECT device FROM peers ORDER BY seen_ms DESC LIMIT -1 OFFSET ?)`},
	} {
		st, err := conn.PrepareContext(ctx, p.text)
		if err != nil {
			return fmt.Errorf("storage: prepare %q: %w", p.text, err)
		}
		*p.stmt = st
		t.all = append(t.all, st)
	}
	err := conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM rooms WHERE id IS NULL)`).Scan(&t.sweeping)
	if err != nil {
		return fmt.Errorf("storage: look for deleted rooms: %w", err)
	}
	return nil
}

// close gives the statements back; what it could not free ends with the connection.
func (t *writer) close() {
	for _, st := range t.all {
		st.Close()
	}
}

// forget drops what may not have become durable.
func (t *writer) forget() {
	t.rooms = map[ordering.RoomID]int64{}
	t.origins = map[ordering.Origin]int64{}
	t.previewed = nil
}

// commit applies the jobs in one transaction. A job that fails by itself gets its
// error in job.err and leaves no trace; the error returned is the disk's, and then
// nothing is kept.
func (t *writer) commit(ctx context.Context, group []*job) error {
	if _, err := t.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("storage: begin: %w", err)
	}
	err := t.applyAll(ctx, group)
	if err == nil {
		if _, err = t.end.ExecContext(ctx); err != nil {
			err = fmt.Errorf("storage: commit: %w", err)
		}
	}
	if err != nil {
		t.forget()
		// SQLite has rolled back already after some errors; then this fails,
		// which changes nothing.
		_, _ = t.undo.ExecContext(ctx)
	}
	return err
}

func (t *writer) applyAll(ctx context.Context, group []*job) error {
	for _, j := range group {
		if _, err := t.save.ExecContext(ctx); err != nil {
			return fmt.Errorf("storage: begin job: %w", err)
		}
		if j.err = j.apply(ctx, t); j.err != nil {
			if isDisk(j.err) {
				return j.err
			}
			t.forget()
			if _, err := t.unsave.ExecContext(ctx); err != nil {
				return fmt.Errorf("storage: undo job: %w", err)
			}
		}
		if _, err := t.keep.ExecContext(ctx); err != nil {
			return fmt.Errorf("storage: end job: %w", err)
		}
	}
	return nil
}

// apply makes one Write's changes.
func (t *writer) apply(ctx context.Context, w *Write) error {
	for key, value := range w.Put {
		if err := t.set(ctx, key, value); err != nil {
			return fmt.Errorf("storage: keep setting %s: %w", key, err)
		}
	}
	if w.Meta == nil && len(w.Entries) == 0 && len(w.Opened) == 0 && len(w.Keys) == 0 {
		return nil
	}
	room, err := t.room(ctx, w.Room)
	if err != nil {
		return fmt.Errorf("storage: keep room %s: %w", w.Room, err)
	}
	if w.Meta != nil {
		if err := t.keepRoom(ctx, room, w.Meta); err != nil {
			return fmt.Errorf("storage: keep room %s: %w", w.Room, err)
		}
	}
	for _, k := range w.Keys {
		if _, err := t.addKey.ExecContext(ctx, room, k.ID[:], k.Key[:]); err != nil {
			return fmt.Errorf("storage: keep key of room %s: %w", w.Room, err)
		}
	}
	if len(w.Entries) > 0 {
		if err := t.keepEntries(ctx, room, w); err != nil {
			return err
		}
	}
	for i := range w.Opened {
		if err := t.openOne(ctx, room, &w.Opened[i]); err != nil {
			return fmt.Errorf("storage: open line %s of room %s: %w", w.Opened[i].ID, w.Room, err)
		}
	}
	return nil
}

func (t *writer) set(ctx context.Context, key string, value []byte) error {
	var err error
	if value == nil {
		_, err = t.remove.ExecContext(ctx, key)
	} else {
		_, err = t.put.ExecContext(ctx, key, value)
	}
	return err
}

func (t *writer) keepRoom(ctx context.Context, num int64, r *Room) error {
	_, err := t.setRoom.ExecContext(ctx, r.Name, r.State, r.Reason, r.Invite,
		r.Via[:], encodeVector(r.Target), r.ReadTo, int(r.Mode), num)
	return err
}

// room returns the room's number, giving it one if it has none.
func (t *writer) room(ctx context.Context, id ordering.RoomID) (int64, error) {
	if num, ok := t.rooms[id]; ok {
		return num, nil
	}
	num, err := intern(ctx, t.findRoom, t.addRoom, id[:])
	if err != nil {
		return 0, err
	}
	t.rooms[id] = num
	return num, nil
}

// origin returns the origin's number, giving it one if it has none.
func (t *writer) origin(ctx context.Context, o ordering.Origin) (int64, error) {
	if num, ok := t.origins[o]; ok {
		return num, nil
	}
	num, err := intern(ctx, t.findOrigin, t.addOrigin, o.Bytes(), ordering.OriginTag(o))
	if err != nil {
		return 0, err
	}
	t.origins[o] = num
	return num, nil
}

// intern looks the first of values up and inserts all of them if it is new.
func intern(ctx context.Context, find, add *sql.Stmt, values ...any) (int64, error) {
	var num int64
	err := find.QueryRowContext(ctx, values[0]).Scan(&num)
	if !errors.Is(err, sql.ErrNoRows) {
		return num, err
	}
	res, err := add.ExecContext(ctx, values...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// keepEntries stores w's entries, makes their text searchable and counts them.
func (t *writer) keepEntries(ctx context.Context, room int64, w *Write) error {
	var before int64
	if err := t.highest.QueryRowContext(ctx).Scan(&before); err != nil {
		return fmt.Errorf("storage: keep entries of room %s: %w", w.Room, err)
	}
	shown := 0
	for i := range w.Entries {
		n, err := t.keepEntry(ctx, room, w.Room, w.Entries, i)
		if err != nil {
			return fmt.Errorf("storage: keep entry %s of room %s: %w", w.Entries[i].Entry.ID(), w.Room, err)
		}
		shown += n
	}
	if _, err := t.addWords.ExecContext(ctx, before+1, int64(math.MaxInt64)); err != nil {
		return fmt.Errorf("storage: index lines of room %s: %w", w.Room, err)
	}
	if shown == 0 {
		return nil
	}
	if _, err := t.addTotal.ExecContext(ctx, shown, room); err != nil {
		return fmt.Errorf("storage: count lines of room %s: %w", w.Room, err)
	}
	return nil
}

// keepEntry stores all[i] and returns by how much the room's count of shown lines
// grows. An entry that is here already changes nothing.
func (t *writer) keepEntry(ctx context.Context, room int64, id ordering.RoomID, all []Entry, i int) (int, error) {
	x := &all[i]
	e := x.Entry
	if e.Room != id && e.Kind != ordering.KindGenesis {
		return 0, errors.New("it is of another room")
	}
	origin, err := t.origin(ctx, e.Origin)
	if err != nil {
		return 0, err
	}
	var sig []byte
	if x.Run > 0 {
		sig = x.Sig[:]
	} else if !runGoesOn(all[i:]) {
		return 0, errors.New("its run is cut")
	}
	res, err := t.addEntry.ExecContext(ctx, room, origin, int64(e.Seq), x.Run, sig, e.Bytes())
	if err != nil {
		return 0, err
	}
	if added, err := changed(res, nil); err != nil {
		return 0, err
	} else if !added {
		return 0, t.sameEntry(ctx, room, origin, e)
	}
	if x.Run > 1 {
		if err := t.wholeRun(ctx, room, origin, e.Seq, x.Run); err != nil {
			return 0, err
		}
	}
	if x.Line == nil {
		return 0, nil
	}
	num, err := res.LastInsertId()
	if err != nil {
		return 0, err
	}
	return t.keepLine(ctx, room, id, num, e, x.Line)
}

// runGoesOn reports whether the next entry of the first's origin continues its run.
func runGoesOn(rest []Entry) bool {
	for _, x := range rest[1:] {
		if x.Entry.Origin == rest[0].Entry.Origin {
			return x.Entry.Seq == rest[0].Entry.Seq+1
		}
	}
	return false
}

func (t *writer) wholeRun(ctx context.Context, room, origin int64, last uint64, length int) error {
	if length > ordering.MaxRunEntries || uint64(length) > last {
		return errors.New("its run is too long")
	}
	var n int
	err := t.countRun.QueryRowContext(ctx, room, origin, int64(last)-int64(length)+1, int64(last)).Scan(&n)
	if err == nil && n != length {
		err = errors.New("its run has gaps")
	}
	return err
}

func (t *writer) sameEntry(ctx context.Context, room, origin int64, e *ordering.Entry) error {
	var have []byte
	if err := t.getEntry.QueryRowContext(ctx, room, origin, int64(e.Seq)).Scan(&have); err != nil {
		return err
	}
	if !bytes.Equal(have, e.Bytes()) {
		return errors.New("another entry has its place")
	}
	return nil
}

// keepLine stores an entry's line and settles which of two repeats is shown
// (PROTOCOL.md L7): the first in the predicted order, whichever came first. It
// returns by how much the room's count of shown lines grows.
func (t *writer) keepLine(ctx context.Context, room int64, id ordering.RoomID, num int64, e *ordering.Entry, l *Line) (int, error) {
	key := e.Key().Bytes()
	st := stampOf(id, e.Client)
	if err := t.dropPreviewsOf(ctx, room, key, st); err != nil {
		return 0, err
	}
	values := append([]any{num, room, key, st.client, st.payload, 0}, lineValues(l)...)
	if added, err := changed(t.addLine.ExecContext(ctx, values...)); err != nil || added {
		return 1, err
	}
	// The index of stamps refused it: the same words are shown already.
	other, otherKey, err := t.shownRepeat(ctx, st)
	if err != nil {
		return 0, err
	}
	if bytes.Compare(otherKey, key) < 0 {
		values[5] = 1
	} else if _, err := t.setRepeated.ExecContext(ctx, other); err != nil {
		return 0, err
	}
	added, err := changed(t.addLine.ExecContext(ctx, values...))
	if err == nil && !added {
		err = errors.New("its line is refused")
	}
	return 0, err
}

// shownRepeat returns the shown line with the stamp, num 0 when there is none.
func (t *writer) shownRepeat(ctx context.Context, st stamp) (num int64, key []byte, err error) {
	err = t.findShown.QueryRowContext(ctx, st.client, st.payload).Scan(&num, &key)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return num, key, err
}

func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func (t *writer) openOne(ctx context.Context, room int64, o *Opened) error {
	origin, err := t.origin(ctx, o.ID.Origin)
	if err != nil {
		return err
	}
	var num int64
	var readable bool
	err = t.lineAt.QueryRowContext(ctx, room, origin, int64(o.ID.Seq)).Scan(&num, &readable)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil || readable {
		return err
	}
	if _, err := t.openLine.ExecContext(ctx, append(lineValues(&o.Line), num)...); err != nil {
		return err
	}
	_, err = t.addWords.ExecContext(ctx, num, num)
	return err
}

// lineValues are the values of lineColumns.
func lineValues(l *Line) []any {
	var sealedBy, senderKey, reply []byte
	if l.KeyID != (ordering.KeyID{}) {
		sealedBy = l.KeyID[:]
	}
	if l.SenderKey != ([32]byte{}) {
		senderKey = l.SenderKey[:]
	}
	if l.ReplyTo != nil {
		reply = encodeID(*l.ReplyTo)
	}
	text := l.Text
	if !l.Readable {
		text = ""
	}
	return []any{l.Readable, sealedBy, senderKey, reply, l.Sender, text}
}

// stamp is what tells repeats, a client's key, id and payload hash, as two indexed
// numbers: 128 bits of digests, of which only the client itself could make two
// equal ones, by 2^64 tries, to hide its own words. They are nil without a client.
type stamp struct{ client, payload any }

func stampOf(room ordering.RoomID, c *ordering.Stamp) stamp {
	if c == nil {
		return stamp{}
	}
	return stamp{clientNumber(room, c.Key, c.ID), int64(binary.BigEndian.Uint64(c.Hash[:]))}
}

func clientNumber(room ordering.RoomID, key [32]byte, id string) int64 {
	b := make([]byte, 0, len(room)+len(key)+len(id))
	b = append(b, room[:]...)
	b = append(b, key[:]...)
	b = append(b, id...)
	h := sha256.Sum256(b)
	return int64(binary.BigEndian.Uint64(h[:]))
}

// encodeVector returns origin and uvarint seq of each, in the order of origins.
func encodeVector(v ordering.Vector) []byte {
	var b []byte
	for _, o := range v.Origins() {
		b = append(b, o.Bytes()...)
		b = binary.AppendUvarint(b, v[o])
	}
	return b
}

func decodeVector(b []byte) (ordering.Vector, error) {
	if len(b) == 0 {
		return nil, nil
	}
	v := ordering.Vector{}
	for len(b) > 0 {
		if len(b) < ordering.OriginSize {
			return nil, errors.New("storage: a vector is cut")
		}
		o := decodeOrigin(b)
		seq, n := binary.Uvarint(b[ordering.OriginSize:])
		if n <= 0 {
			return nil, errors.New("storage: a vector is cut")
		}
		v[o] = seq
		b = b[ordering.OriginSize+n:]
	}
	return v, nil
}

// decodeOrigin reads the first OriginSize bytes of b.
func decodeOrigin(b []byte) (o ordering.Origin) {
	copy(o.Device[:], b)
	copy(o.Instance[:], b[ordering.DeviceSize:])
	return o
}

// idSize is the length of an encoded entry id, which is also a key's end.
const idSize = ordering.OriginSize + 8

func encodeID(id ordering.EntryID) []byte {
	return binary.BigEndian.AppendUint64(id.Origin.Bytes(), id.Seq)
}

// decodeID reads idSize bytes.
func decodeID(b []byte) ordering.EntryID {
	return ordering.EntryID{Origin: decodeOrigin(b), Seq: binary.BigEndian.Uint64(b[ordering.OriginSize:])}
}

// DeleteRoom makes the room and all that was kept of it disappear at once; its
// rows are removed in the background, after a restart too.
func (s *Store) DeleteRoom(ctx context.Context, id ordering.RoomID) error {
	return s.do(ctx, 0, func(ctx context.Context, t *writer) error {
		_, err := t.conn.ExecContext(ctx, `UPDATE rooms SET id = NULL, listed = 0, name = '', invite = '' WHERE id = ?`, id[:])
		if err != nil {
			return fmt.Errorf("storage: delete room %s: %w", id, err)
		}
		t.forget()
		t.sweeping = true
		return nil
	})
}

// sweep removes up to sweepEntries entries of a deleted room, or what else is
// left of it; without one it ends the sweeping.
func (t *writer) sweep(ctx context.Context) error {
	if _, err := t.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("storage: begin: %w", err)
	}
	err := t.sweepOne(ctx)
	if err == nil {
		_, err = t.end.ExecContext(ctx)
	}
	if err != nil {
		_, _ = t.undo.ExecContext(ctx) // may have been done by SQLite
		return fmt.Errorf("storage: remove deleted rooms: %w", err)
	}
	return nil
}

func (t *writer) sweepOne(ctx context.Context) error {
	var room int64
	err := t.conn.QueryRowContext(ctx, `SELECT num FROM rooms WHERE id IS NULL LIMIT 1`).Scan(&room)
	if errors.Is(err, sql.ErrNoRows) {
		t.sweeping = false
		return nil
	}
	if err != nil {
		return err
	}
	var last sql.NullInt64
	err = t.conn.QueryRowContext(ctx, `SELECT max(num) FROM (SELECT num FROM entries WHERE room = ? ORDER BY num LIMIT ?)`,
		room, sweepEntries).Scan(&last)
	if err != nil {
		return err
	}
	steps := []string{
		`DELETE FROM previews WHERE room = ?1 AND ?2 IS NULL`,
		`DELETE FROM room_keys WHERE room = ?1 AND ?2 IS NULL`,
		`DELETE FROM rooms WHERE num = ?1 AND ?2 IS NULL`,
	}
	if last.Valid {
		steps = []string{
			`INSERT INTO words (words, rowid, text) SELECT 'delete', l.num, l.text FROM entries e CROSS JOIN lines l ON l.num = e.num
				WHERE e.room = ?1 AND e.num <= ?2 AND l.text <> ''`,
			`DELETE FROM lines WHERE num IN (SELECT num FROM entries WHERE room = ?1 AND num <= ?2)`,
			`DELETE FROM entries WHERE room = ?1 AND num <= ?2`,
		}
	}
	for _, step := range steps {
		if _, err := t.conn.ExecContext(ctx, step, room, last); err != nil {
			return err
		}
	}
	return nil
}
