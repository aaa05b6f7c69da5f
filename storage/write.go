package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"tertulia/ordering"
)

// writer holds the writing connection's statements and what it remembers of the
// database. It belongs to Run's goroutine.
type writer struct {
	conn *sql.Conn
	all  []*sql.Stmt

	begin, end, undo, save, keep, unsave *sql.Stmt

	findRoom, addRoom, setRoom, addTotal *sql.Stmt
	findOrigin, addOrigin                *sql.Stmt
	addEntry, getPlace, countRun, lineAt *sql.Stmt
	findTwin, findRepeat                 *sql.Stmt
	setHidden, openLine                  *sql.Stmt
	addWords, addKey, put, remove        *sql.Stmt
	addReceipt                           *sql.Stmt

	addPreview, previewBefore                      *sql.Stmt
	dropPreview, dropSamePreview, dropOlderPreview *sql.Stmt
	clearPreviews                                  *sql.Stmt

	order   orderStatements
	control controlStatements

	savePeer, dropOldPeers *sql.Stmt

	rooms     map[ordering.RoomID]int64
	origins   map[ordering.Origin]int64
	previewed map[int64]bool // rooms that have previews; nil = not known

	previews atomic.Bool // there may be previews; for readers, who see it before them
}

// text is a statement to be prepared.
type text struct {
	stmt **sql.Stmt
	text string
}

const lineColumns = `readable, sealed_by, sender_key, reply, sender, text`

func (t *writer) prepare(ctx context.Context, conn *sql.Conn) error {
	t.conn = conn
	t.forget()
	for _, p := range slices.Concat(t.order.texts(), t.control.texts(), []text{
		{&t.begin, `BEGIN IMMEDIATE`},
		{&t.end, `COMMIT`},
		{&t.undo, `ROLLBACK`},
		{&t.save, `SAVEPOINT job`},
		{&t.keep, `RELEASE job`},
		{&t.unsave, `ROLLBACK TO job`},

		{&t.findRoom, `SELECT num FROM rooms WHERE id = ?`},
		{&t.addRoom, `INSERT INTO rooms (id) VALUES (?)`},
		{&t.setRoom, `UPDATE rooms SET listed = 1, name = ?, state = ?, reason = ?, invite = ?, via = ?, target = ?, mode = ? WHERE num = ?`},
		{&t.addTotal, `UPDATE rooms SET total = total + ? WHERE num = ?`},
		{&t.findOrigin, `SELECT num FROM origins WHERE origin = ?`},
		{&t.addOrigin, `INSERT INTO origins (origin, tag) VALUES (?, ?)`},

		{&t.addEntry, `INSERT INTO entries (room, origin, seq, run, sig, bytes, place, stamp, payload, arrived_ms, branch, hidden, was_read, ` + lineColumns + `)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&t.getPlace, `SELECT count(*) FILTER (WHERE bytes = ?4), coalesce(max(branch), 0), count(final) FROM entries WHERE room = ?1 AND origin = ?2 AND seq = ?3`},
		{&t.countRun, `SELECT count(DISTINCT seq) FROM entries WHERE room = ? AND origin = ? AND seq BETWEEN ? AND ?`},
		{&t.lineAt, `SELECT num, place, hidden, readable, bytes FROM entries WHERE room = ? AND origin = ? AND seq = ? AND branch = 0 AND place IS NOT NULL`},

		{&t.findTwin, `SELECT num, place FROM entries INDEXED BY lines_stamp
			WHERE room = ? AND stamp = ? AND payload = ? AND hidden = 0 AND num <> ? ORDER BY place DESC LIMIT 1`},
		{&t.findRepeat, `SELECT num FROM entries INDEXED BY lines_repeated
			WHERE room = ? AND stamp = ? AND payload = ? AND hidden = 1 AND final IS NULL ORDER BY place LIMIT 1`},
		{&t.setHidden, `UPDATE entries SET hidden = ? WHERE num = ?`},
		{&t.openLine, `UPDATE entries SET (stamp, payload, ` + lineColumns + `) = (?, ?, ?, ?, ?, ?, ?, ?) WHERE num = ?`},
		{&t.addWords, `INSERT INTO words (rowid, text, room) SELECT num, text, room FROM entries WHERE num BETWEEN ? AND ? AND text <> ''`},

		{&t.addKey, `INSERT INTO room_keys (room, id, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`},
		{&t.addReceipt, `INSERT INTO receipts (room, device, person, name, up_to, signed, sig) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET name = excluded.name, up_to = excluded.up_to, signed = excluded.signed, sig = excluded.sig
			WHERE excluded.up_to > up_to`},
		{&t.put, `INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`},
		{&t.remove, `DELETE FROM settings WHERE key = ?`},

		{&t.addPreview, `INSERT OR REPLACE INTO previews (room, origin, seq, place, stamp, payload, ` + lineColumns + `, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&t.previewBefore, `SELECT EXISTS (SELECT 1 FROM previews WHERE room = ? AND stamp = ? AND payload = ? AND place < ?)`},
		{&t.dropPreview, `DELETE FROM previews WHERE room = ? AND place = ?`},
		{&t.dropSamePreview, `DELETE FROM previews WHERE room = ? AND stamp = ? AND payload = ?`},
		{&t.dropOlderPreview, `DELETE FROM previews WHERE room = ?1 AND place <
			(SELECT place FROM previews WHERE room = ?1 ORDER BY place DESC LIMIT 1 OFFSET ?2)`},
		{&t.clearPreviews, `DELETE FROM previews WHERE room = (SELECT num FROM rooms WHERE id = ?)`},

		{&t.savePeer, `INSERT INTO peers (device, name, addrs, seen_ms) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET name = excluded.name, addrs = excluded.addrs, seen_ms = excluded.seen_ms`},
		{&t.dropOldPeers, `DELETE FROM peers WHERE device IN (SELECT device FROM peers ORDER BY seen_ms DESC LIMIT -1 OFFSET ?)`},
	}) {
		st, err := conn.PrepareContext(ctx, p.text) //nolint:sqlclosecheck // kept until writer.close
		if err != nil {
			return fmt.Errorf("storage: prepare %q: %w", p.text, err)
		}
		*p.stmt = st
		t.all = append(t.all, st)
	}
	return t.lookForPreviews(ctx)
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
	_ = t.lookForPreviews(ctx) // without an answer readers look for them, perhaps in vain
	return err
}

func (t *writer) applyAll(ctx context.Context, group []*job) error {
	for _, j := range group {
		if len(group) > 1 { // a job alone needs no savepoint: the transaction is one
			if _, err := t.save.ExecContext(ctx); err != nil {
				return fmt.Errorf("storage: begin job: %w", err)
			}
		}
		if j.err = j.apply(ctx, t); j.err != nil {
			if isDisk(j.err) {
				return j.err
			}
			t.forget()
		}
		if err := t.endJob(ctx, len(group) == 1, j.err != nil); err != nil {
			return fmt.Errorf("storage: end job: %w", err)
		}
	}
	return nil
}

// endJob keeps what a job did, or undoes it when it failed.
func (t *writer) endJob(ctx context.Context, alone, failed bool) error {
	if alone {
		if !failed {
			return nil
		}
		if _, err := t.undo.ExecContext(ctx); err != nil {
			return err
		}
		_, err := t.begin.ExecContext(ctx) // so that there is one to commit
		return err
	}
	if failed {
		if _, err := t.unsave.ExecContext(ctx); err != nil {
			return err
		}
	}
	_, err := t.keep.ExecContext(ctx)
	return err
}

// apply makes one Write's changes.
func (t *writer) apply(ctx context.Context, w *Write) error {
	for key, value := range w.Put {
		if err := t.set(ctx, key, value); err != nil {
			return fmt.Errorf("storage: keep setting %s: %w", key, err)
		}
	}
	if w.onlySettings() {
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
	for i := range w.Read {
		r := &w.Read[i]
		if _, err := t.addReceipt.ExecContext(ctx, room, r.Device[:], r.Person[:], r.Name, number(r.UpTo), r.Signed[:], r.Sig[:]); err != nil {
			return fmt.Errorf("storage: keep receipt of room %s: %w", w.Room, err)
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
	if err := t.keepOrder(ctx, room, w); err != nil {
		return err
	}
	if err := t.keepControl(ctx, room, w); err != nil {
		return err
	}
	if w.Install != nil {
		if err := t.install(ctx, room, w.Install); err != nil {
			return fmt.Errorf("storage: install snapshot of room %s: %w", w.Room, err)
		}
	}
	if w.ReadTo != nil {
		if err := t.markRead(ctx, room, w.ReadTo); err != nil {
			return fmt.Errorf("storage: mark room %s read: %w", w.Room, err)
		}
	}
	return nil
}

func (w *Write) onlySettings() bool {
	return w.Meta == nil && len(w.Entries) == 0 && len(w.Opened) == 0 && len(w.Keys) == 0 && len(w.Finals) == 0 &&
		w.Control == nil && w.Mark == nil && len(w.Seen) == 0 && w.Install == nil && w.ReadTo == nil && len(w.Read) == 0
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
		r.Via[:], encodeVector(r.Target), int(r.Mode), num)
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
	var all added
	for i := range w.Entries {
		if err := t.keepEntry(ctx, room, w.Room, w.Entries[i:], &all); err != nil {
			return fmt.Errorf("storage: keep entry %s of room %s: %w", w.Entries[i].Entry.ID(), w.Room, err)
		}
	}
	if all.words {
		if _, err := t.addWords.ExecContext(ctx, all.first, all.last); err != nil {
			return fmt.Errorf("storage: index lines of room %s: %w", w.Room, err)
		}
	}
	if all.shown == 0 {
		return nil
	}
	if _, err := t.addTotal.ExecContext(ctx, all.shown, room); err != nil {
		return fmt.Errorf("storage: count lines of room %s: %w", w.Room, err)
	}
	return nil
}

// added sums up the entries that one Write added.
type added struct {
	first, last int64 // their numbers; others may lie between
	words       bool  // there is text among them
	shown       int   // by how much the count of shown lines grows
}

// keepEntry stores the first of rest, which ends with the Write's last entry. One
// that is here already changes nothing.
func (t *writer) keepEntry(ctx context.Context, room int64, id ordering.RoomID, rest []Entry, all *added) error {
	x := &rest[0]
	e := x.Entry
	if e.Room != id && e.Kind != ordering.KindGenesis {
		return errors.New("it is of another room")
	}
	origin, err := t.origin(ctx, e.Origin)
	if err != nil {
		return err
	}
	if x.Run == 0 && !runGoesOn(rest) {
		return errors.New("its run is cut")
	}
	num, shown, err := t.addOne(ctx, room, origin, x)
	if err != nil || num == 0 {
		return err
	}
	if x.Run > 1 {
		if err := t.wholeRun(ctx, room, origin, e.Seq, x.Run); err != nil {
			return err
		}
	}
	if all.first == 0 {
		all.first = num
	}
	all.last = num
	all.words = all.words || x.Line != nil && x.Line.Readable && x.Line.Text != ""
	all.shown += shown
	return nil
}

// addOne inserts x's row and settles which of two repeats is shown. It returns the
// row's number, 0 when the entry is here already, and by how much the room's count
// of shown lines grows.
func (t *writer) addOne(ctx context.Context, room, origin int64, x *Entry) (num int64, shown int, err error) {
	e := x.Entry
	var sig, place []byte
	if x.Run > 0 {
		sig = x.Sig[:]
	}
	var st stamp
	if x.Line != nil {
		shown = 1
		place = tailPlace(e.Key())
		st = stampOf(e.Client, x.Line)
		if err := t.dropPreviewsOf(ctx, room, place, st); err != nil {
			return 0, 0, err
		}
	}
	add := func(branch int64) (int64, error) {
		values := make([]any, 0, entryColumns)
		values = append(values, room, origin, int64(e.Seq), x.Run, sig, e.Bytes(), place, st.client, st.payload, time.Now().UnixMilli(), branch, branch > 0, x.Quiet)
		return insert(ctx, t.addEntry, appendLine(values, x.Line))
	}
	if !x.Beside {
		if num, err = add(0); err != nil {
			return 0, 0, err
		}
	}
	if num == 0 {
		branch, err := t.freeBranch(ctx, room, origin, x)
		if err != nil || branch == 0 {
			return 0, 0, err
		}
		st = stamp{} // nothing is a repeat of what is not shown
		num, err = add(branch)
		return num, 0, err
	}
	more, err := t.settle(ctx, room, num, place, st)
	return num, shown + more, err
}

const entryColumns = 19 // values of addEntry

// insert returns the new row's number, 0 when it was in conflict with another.
func insert(ctx context.Context, st *sql.Stmt, values []any) (int64, error) {
	res, err := st.ExecContext(ctx, values...)
	if err != nil {
		return 0, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return 0, err
	}
	return res.LastInsertId()
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

// freeBranch returns under which number an entry is kept beside its chain, 0 when
// it is here already. It fails when the entry is said to be of the chain and
// another has its place there, unless that one is final: then the final order has
// named another branch than the one that was held first.
func (t *writer) freeBranch(ctx context.Context, room, origin int64, x *Entry) (int64, error) {
	var same, last, final int64
	err := t.getPlace.QueryRowContext(ctx, room, origin, int64(x.Entry.Seq), x.Entry.Bytes()).Scan(&same, &last, &final)
	switch {
	case err != nil || same > 0:
		return 0, err
	case !x.Beside && final == 0:
		return 0, errors.New("another entry has its place")
	}
	return last + 1, nil
}

// settle hides, of a shown line and its twin, a shown readable line with the same
// stamp, the one that stands later, whichever came first (PROTOCOL.md L7). Two
// final ones both stay: the list itself has shown them. It returns by how much the
// room's count of shown lines grows.
func (t *writer) settle(ctx context.Context, room, num int64, place []byte, st stamp) (shown int, err error) {
	twin, twinPlace, err := t.shownTwin(ctx, room, num, st)
	if err != nil || twin == 0 || isFinal(place) && isFinal(twinPlace) {
		return 0, err
	}
	later := twin
	if bytes.Compare(twinPlace, place) < 0 {
		later = num
	}
	_, err = t.setHidden.ExecContext(ctx, true, later)
	return -1, err
}

// shownTwin returns the last shown line with the stamp beside num, 0 when there is
// none. There is a tentative one only where no final one is.
func (t *writer) shownTwin(ctx context.Context, room, num int64, st stamp) (twin int64, place []byte, err error) {
	if st.client == nil {
		return 0, nil, nil
	}
	err = t.findTwin.QueryRowContext(ctx, room, st.client, st.payload, num).Scan(&twin, &place)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return twin, place, err
}

// openOne replaces an unreadable line; a readable one may be a repeat, or show that another is.
func (t *writer) openOne(ctx context.Context, room int64, o *Opened) error {
	origin, err := t.origin(ctx, o.ID.Origin)
	if err != nil {
		return err
	}
	var num int64
	var place, raw []byte
	var hidden, readable bool
	err = t.lineAt.QueryRowContext(ctx, room, origin, int64(o.ID.Seq)).Scan(&num, &place, &hidden, &readable, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil || readable {
		return err
	}
	e, err := ordering.DecodeEntry(raw)
	if err != nil {
		return err
	}
	st := stampOf(e.Client, &o.Line)
	values := append(appendLine([]any{st.client, st.payload}, &o.Line), num)
	if _, err := t.openLine.ExecContext(ctx, values...); err != nil {
		return err
	}
	if !hidden {
		shown, err := t.settle(ctx, room, num, place, st)
		if err == nil && shown != 0 {
			_, err = t.addTotal.ExecContext(ctx, shown, room)
		}
		if err != nil {
			return err
		}
	}
	if err := t.dropPreviewsOf(ctx, room, place, st); err != nil {
		return err
	}
	_, err = t.addWords.ExecContext(ctx, num, num)
	return err
}

// appendLine appends the values of lineColumns; nil stands for no line.
func appendLine(values []any, l *Line) []any {
	if l == nil {
		l = &Line{}
	}
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
	return append(values, l.Readable, sealedBy, senderKey, reply, l.Sender, text)
}

// stamp is what tells repeats, a client's key, id and payload hash, as two indexed
// numbers: 128 bits of digests, of which only the client itself could make two
// equal ones, by 2^64 tries, to hide its own words. They are nil where there is none.
type stamp struct{ client, payload any }

// stampOf returns a readable line's stamp. Anybody can copy a client's stamp onto
// an entry; only that the body was opened and matches it shows whose words they
// are, so an unreadable line has none.
func stampOf(c *ordering.Stamp, l *Line) stamp {
	if c == nil || !l.Readable {
		return stamp{}
	}
	return stamp{clientNumber(c.Key, c.ID), int64(binary.BigEndian.Uint64(c.Hash[:]))}
}

func clientNumber(key [32]byte, id string) int64 {
	b := make([]byte, 0, len(key)+ordering.MaxClientID)
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
