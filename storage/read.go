package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"tertulia/ordering"
	"tertulia/ordering/linear"
)

// Limits of what is asked.
const (
	MaxUnread      = 1000 // lines counted by Counts before it stops
	maxSearchBytes = 1024 // of the text searched for
	maxSearchWords = 32
)

// Row is a line of a room's history with what its entry says.
type Row struct {
	Arrival   uint64 // rises in the order of storing; 0 for a preview
	ID        ordering.EntryID
	Hash      ordering.Hash
	TS        uint64
	WallMS    int64
	Kind      ordering.Kind
	ClientKey [32]byte
	ClientID  string
	// ClientHash is what that client signed: the digest of the payload.
	ClientHash ordering.Hash
	Line       Line
	Hidden     bool // not shown: the same words stand earlier in the order (PROTOCOL.md L7), or the final list left it out
	Final      Final
}

// Key is the row's place in the predicted order.
func (r Row) Key() ordering.Key { return ordering.Key{TS: r.TS, EntryID: r.ID} }

// Place is where the row stands now: what Query and Write.ReadTo take.
func (r Row) Place() []byte {
	if r.Final.Index > 0 {
		return FinalPlace(r.Final.Index)
	}
	return tailPlace(r.Key())
}

// Hit is a row found by Search.
type Hit struct {
	Room ordering.RoomID
	Row
}

// statements of the reading connections.
type statements struct {
	rooms, get, settings, keys              *sql.Stmt
	before, after, hasBefore, hasAfter      *sql.Stmt
	beforeAll, afterAll                     *sql.Stmt // with previews
	since, find, client, search, counts     *sql.Stmt
	num                                     *sql.Stmt
	firstUnread, readUpTo, entry, writers   *sql.Stmt
	receipts                                *sql.Stmt
	unreadable, sealed                      *sql.Stmt
	closersBeside, closersAbout             *sql.Stmt
	restore, closers, runBody, newest, high *sql.Stmt
	peers                                   *sql.Stmt
	head, finals, listed                    *sql.Stmt
	emitted, recent, kept                   *sql.Stmt
	control, snapshot, records, seen        *sql.Stmt
}

// rowColumns of entries e, or rowNames of what selected them, are what scanRow reads.
const (
	rowNames       = `num, hidden, final, fate, order_hash, epoch, term, leader, late, ` + lineColumns + `, bytes`
	previewColumns = `0 AS num, 0 AS hidden, NULL AS final, NULL AS fate, NULL AS order_hash, NULL AS epoch, NULL AS term,
		NULL AS leader, NULL AS late, ` + lineColumns + `, bytes`
	roomNum = `(SELECT num FROM rooms WHERE id = ?1)`
)

var rowColumns = strings.Replace(qualified("e", rowNames), "e.leader", "(SELECT o.origin FROM origins o WHERE o.num = e.leader) AS leader", 1)

// sideText selects up to ?3 shown lines on one side of the place ?2.
func sideText(columns, compare, order string) string {
	return `SELECT ` + columns + ` FROM entries e INDEXED BY lines_shown
		WHERE room = ` + roomNum + ` AND hidden = 0 AND place ` + compare + ` ?2 ORDER BY place ` + order + ` LIMIT ?3`
}

// pageText selects up to ?3 shown lines and previews on one side of the place ?2.
func pageText(compare, order string) string {
	return `SELECT ` + rowNames + ` FROM (
		SELECT * FROM (` + sideText(rowColumns+`, place`, compare, order) + `)
		UNION ALL SELECT * FROM (SELECT ` + previewColumns + `, place FROM previews
			WHERE room = ` + roomNum + ` AND place ` + compare + ` ?2 ORDER BY place ` + order + ` LIMIT ?3)
		) ORDER BY place ` + order + ` LIMIT ?3`
}

// existsText tells whether a shown line or preview lies on one side of the place ?2.
func existsText(compare string) string {
	return `SELECT EXISTS (SELECT 1 FROM entries INDEXED BY lines_shown WHERE room = ` + roomNum + ` AND hidden = 0 AND place ` + compare + ` ?2)
		OR EXISTS (SELECT 1 FROM previews WHERE room = ` + roomNum + ` AND place ` + compare + ` ?2)`
}

// sealedText goes from each key id to the next: as many steps as there are keys,
// however many lines they sealed.
const sealedText = `WITH RECURSIVE steps (id) AS (
		SELECT min(sealed_by) FROM entries INDEXED BY lines_sealed
			WHERE room = ` + roomNum + ` AND readable = 0 AND sealed_by > x''
		UNION ALL
		SELECT (SELECT min(sealed_by) FROM entries INDEXED BY lines_sealed
			WHERE room = ` + roomNum + ` AND readable = 0 AND sealed_by > steps.id) FROM steps WHERE steps.id IS NOT NULL)
	SELECT id FROM steps WHERE id IS NOT NULL LIMIT ?2`

func (q *statements) prepare(ctx context.Context, db *sql.DB) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&q.rooms, `SELECT id, name, state, reason, invite, via, target, mode FROM rooms WHERE listed = 1 ORDER BY num`},
		{&q.get, `SELECT value FROM settings WHERE key = ?`},
		{&q.settings, `SELECT key, value FROM settings WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key LIMIT ?2`},
		{&q.keys, `SELECT id, key FROM room_keys WHERE room = ` + roomNum + ` ORDER BY num`},

		{&q.before, sideText(rowColumns, "<", "DESC")},
		{&q.after, sideText(rowColumns, ">=", "ASC")},
		{&q.beforeAll, pageText("<", "DESC")},
		{&q.afterAll, pageText(">=", "ASC")},
		{&q.hasBefore, existsText("<")},
		{&q.hasAfter, existsText(">=")},

		{&q.since, `SELECT ` + rowColumns + ` FROM entries e INDEXED BY entries_room
			WHERE room = ` + roomNum + ` AND num > ?2 AND place IS NOT NULL AND hidden = 0 ORDER BY num LIMIT ?3`},
		{&q.find, `SELECT ` + rowColumns + ` FROM entries e
				WHERE room = ` + roomNum + ` AND origin IN (SELECT num FROM origins WHERE tag = ?2) AND seq = ?3 AND branch = 0 AND place IS NOT NULL
			UNION ALL SELECT ` + previewColumns + ` FROM previews
				WHERE room = ` + roomNum + ` AND origin IN (SELECT num FROM origins WHERE tag = ?2) AND seq = ?3
			LIMIT 1`},
		{&q.client, `SELECT ` + rowColumns + ` FROM entries e INDEXED BY lines_stamp
			WHERE room = ` + roomNum + ` AND stamp = ?2 AND hidden = 0 ORDER BY place`},
		{&q.search, `SELECT r.id, ` + rowColumns + ` FROM words w
			CROSS JOIN entries e ON e.num = w.rowid AND e.hidden = 0
			CROSS JOIN rooms r ON r.num = e.room
			WHERE words MATCH ?1 ORDER BY w.rowid DESC LIMIT ?2`},
		{&q.num, `SELECT num FROM rooms WHERE id = ?`},
		{&q.counts, `SELECT total, (SELECT count(*) FROM (
				SELECT * FROM (SELECT 1 FROM entries INDEXED BY lines_shown WHERE room = ` + roomNum + ` AND hidden = 0
					AND place > (SELECT read_final FROM rooms WHERE id = ?1) AND place < x'01' AND was_read = 0 LIMIT ?2)
				UNION ALL SELECT * FROM (SELECT 1 FROM entries INDEXED BY lines_shown WHERE room = ` + roomNum + ` AND hidden = 0
					AND place > (SELECT read_tail FROM rooms WHERE id = ?1) AND was_read = 0 LIMIT ?2)
				LIMIT ?2)) FROM rooms WHERE id = ?1`},

		{&q.firstUnread, `SELECT (SELECT o.origin FROM origins o WHERE o.num = e.origin), seq FROM (
				SELECT * FROM (SELECT origin, seq FROM entries INDEXED BY lines_shown WHERE room = ` + roomNum + ` AND hidden = 0
					AND place > (SELECT read_final FROM rooms WHERE id = ?1) AND place < x'01' AND was_read = 0 ORDER BY place LIMIT 1)
				UNION ALL SELECT * FROM (SELECT origin, seq FROM entries INDEXED BY lines_shown WHERE room = ` + roomNum + ` AND hidden = 0
					AND place > (SELECT read_tail FROM rooms WHERE id = ?1) AND was_read = 0 ORDER BY place LIMIT 1)
				LIMIT 1) e`},
		{&q.readUpTo, `SELECT read_final FROM rooms WHERE id = ?`},
		{&q.entry, `SELECT arrived_ms, bytes FROM entries
			WHERE room = ` + roomNum + ` AND origin = (SELECT num FROM origins WHERE origin = ?2) AND seq = ?3 AND branch = 0`},
		{&q.writers, `SELECT DISTINCT (SELECT o.origin FROM origins o WHERE o.num = e.origin) FROM (
				SELECT origin, arrived_ms FROM entries INDEXED BY entries_room
					WHERE room = ` + roomNum + ` AND place IS NOT NULL ORDER BY num DESC LIMIT ?3) e
			WHERE arrived_ms >= ?2`},
		{&q.receipts, `SELECT device, person, name, up_to, signed, sig FROM receipts WHERE room = ` + roomNum + ` ORDER BY device, person LIMIT ?2`},

		{&q.unreadable, `SELECT bytes FROM entries INDEXED BY lines_sealed
			WHERE room = ` + roomNum + ` AND sealed_by = ?2 AND readable = 0 AND branch = 0 ORDER BY num LIMIT ?3`},
		{&q.sealed, sealedText},
		{&q.restore, `SELECT num, run, branch > 0, bytes FROM entries INDEXED BY entries_room WHERE room = ` + roomNum + ` AND num > ?2 ORDER BY num LIMIT ?3`},
		{&q.closers, `SELECT num, seq, run, sig FROM entries
			WHERE room = ` + roomNum + ` AND origin = (SELECT num FROM origins WHERE origin = ?2) AND seq > ?3 AND branch = 0 AND run > 0 AND num <= ?4 ORDER BY seq LIMIT ?5`},
		{&q.closersBeside, `SELECT num, seq, run, sig FROM entries INDEXED BY entries_beside
			WHERE room = ` + roomNum + ` AND origin = (SELECT num FROM origins WHERE origin = ?2) AND branch > 0 AND seq > ?3 AND run > 0 AND num <= ?4 ORDER BY num LIMIT ?5`},
		{&q.closersAbout, `SELECT num, seq, run, sig FROM entries
			WHERE room = ` + roomNum + ` AND origin = (SELECT num FROM origins WHERE origin = ?2) AND seq BETWEEN ?3 AND ?4 AND run > seq - ?3 ORDER BY seq LIMIT ?5`},
		{&q.runBody, `SELECT num, bytes FROM entries
			WHERE room = ` + roomNum + ` AND origin = (SELECT num FROM origins WHERE origin = ?2) AND seq BETWEEN ?3 AND ?4 ORDER BY seq`},
		{&q.newest, `SELECT (SELECT o.origin FROM origins o WHERE o.num = e.origin), seq FROM entries e INDEXED BY lines_shown
			WHERE room = ` + roomNum + ` AND hidden = 0 AND place IS NOT NULL ORDER BY place DESC LIMIT ?2`},
		{&q.high, `SELECT coalesce(max(num), 0) FROM entries WHERE room = ` + roomNum},

		{&q.head, `SELECT final, order_hash FROM entries INDEXED BY lines_shown
			WHERE room = ` + roomNum + ` AND hidden = 0 AND place < x'01' ORDER BY place DESC LIMIT 1`},
		{&q.finals, `SELECT ` + rowColumns + ` FROM entries e INDEXED BY lines_shown
			WHERE room = ` + roomNum + ` AND hidden = 0 AND place > ?2 AND place < x'01' ORDER BY place LIMIT ?3`},
		{&q.listed, `SELECT (SELECT o.origin FROM origins o WHERE o.num = e.origin), seq, epoch, term,
			(SELECT o.origin FROM origins o WHERE o.num = e.leader), late FROM entries e INDEXED BY lines_shown
			WHERE room = ` + roomNum + ` AND hidden = 0 AND place > ?2 AND place < x'01' ORDER BY place LIMIT ?3`},
		{&q.emitted, `SELECT o.origin, e.seq, e.hash FROM emitted e JOIN origins o ON o.num = e.origin
			WHERE e.room = ` + roomNum + ` ORDER BY o.origin LIMIT ?2`},
		{&q.recent, `SELECT final, order_hash, bytes FROM entries INDEXED BY lines_shown
			WHERE room = ` + roomNum + ` AND hidden = 0 AND place < x'01' ORDER BY place DESC LIMIT ?2`},
		{&q.kept, `SELECT final, order_hash FROM entries INDEXED BY finals_kept
			WHERE room = ` + roomNum + ` AND final > 0 AND final % 256 = 0 ORDER BY final LIMIT ?2`},

		{&q.control, `SELECT coalesce(term, 0), coalesce(vote, 0), coalesce(committed, 0), coalesce(raft_applied, 0), conf, mark
			FROM control WHERE room = ` + roomNum},
		{&q.snapshot, `SELECT idx, term, conf, state FROM control_snapshots WHERE room = ` + roomNum},
		{&q.records, `SELECT idx, term, kind, data FROM control_log WHERE room = ` + roomNum + ` ORDER BY idx`},
		{&q.seen, `SELECT o.origin, s.seq, s.term, s.match, s.acked FROM seen s JOIN origins o ON o.num = s.origin
			WHERE s.room = ` + roomNum + ` ORDER BY o.origin LIMIT ?2`},

		{&q.peers, `SELECT device, name, addrs, seen_ms FROM peers ORDER BY seen_ms DESC`},
	} {
		st, err := db.PrepareContext(ctx, p.text) //nolint:sqlclosecheck // kept until the database closes
		if err != nil {
			return fmt.Errorf("storage: prepare %q: %w", p.text, err)
		}
		*p.stmt = st
	}
	return nil
}

// qualified puts the table's name before each column.
func qualified(table, columns string) string {
	return table + "." + strings.ReplaceAll(columns, ", ", ", "+table+".")
}

// Rooms returns the rooms that were committed with Meta, in the order of their first mention.
func (s *Store) Rooms(ctx context.Context) ([]Room, error) {
	return query(ctx, s.stmts.rooms, "rooms", func(rows *sql.Rows) (r Room, err error) {
		var id, via, target []byte
		if err := rows.Scan(&id, &r.Name, &r.State, &r.Reason, &r.Invite, &via, &target, &r.Mode); err != nil {
			return r, err
		}
		copy(r.ID[:], id)
		copy(r.Via[:], via)
		r.Target, err = decodeVector(target)
		return r, err
	})
}

// Get returns a setting, nil when there is none.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	var v []byte
	err := s.stmts.get.QueryRowContext(ctx, key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("storage: read setting %s: %w", key, err)
	}
	return v, nil
}

// MaxSettings bounds what Settings returns.
const MaxSettings = 4096

// Settings returns the settings whose key begins with prefix, at most
// MaxSettings of them.
func (s *Store) Settings(ctx context.Context, prefix string) (map[string][]byte, error) {
	type setting struct {
		key   string
		value []byte
	}
	list, err := query(ctx, s.stmts.settings, "settings", func(rows *sql.Rows) (x setting, err error) {
		err = rows.Scan(&x.key, &x.value)
		return x, err
	}, prefix, MaxSettings)
	found := make(map[string][]byte, len(list))
	for _, x := range list {
		found[x.key] = x.value
	}
	return found, err
}

// Put makes a setting durable; a nil value deletes it.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	return s.Commit(ctx, &Write{Put: map[string][]byte{key: value}})
}

// Keys returns the room's keys, oldest first.
func (s *Store) Keys(ctx context.Context, room ordering.RoomID) ([]RoomKey, error) {
	return query(ctx, s.stmts.keys, "room keys", func(rows *sql.Rows) (k RoomKey, err error) {
		var id, key []byte
		err = rows.Scan(&id, &key)
		copy(k.ID[:], id)
		copy(k.Key[:], key)
		return k, err
	}, room[:])
}

// Since returns up to limit (at most chat.MaxPage) lines stored after the one of
// that arrival, in the order of storing, without what is hidden. That a line
// became final later is told by Finals alone.
func (s *Store) Since(ctx context.Context, room ordering.RoomID, arrival uint64, limit int) ([]Row, error) {
	return query(ctx, s.stmts.since, "new lines", scanRow, room[:], number(arrival), bound(limit))
}

// number fits n into SQLite's signed integers; nothing stored is above.
func number(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// Find returns the line, or the preview, that an id's string names, a hidden one too.
// The error is ErrNotFound when it is not here.
func (s *Store) Find(ctx context.Context, room ordering.RoomID, originTag string, seq uint64) (Row, error) {
	return findLine(ctx, s.stmts.find, room, originTag, seq)
}

func findLine(ctx context.Context, find *sql.Stmt, room ordering.RoomID, originTag string, seq uint64) (Row, error) {
	rows, err := query(ctx, find, "line", scanRow, room[:], originTag, number(seq))
	if err == nil && len(rows) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Row{}, err
	}
	return rows[0], nil
}

// Client returns the first shown readable line of the room that the client with this key
// handed in under this id, and whether there is one.
func (s *Store) Client(ctx context.Context, room ordering.RoomID, key [32]byte, id string) (Row, bool, error) {
	rows, err := query(ctx, s.stmts.client, "client line", scanRow, room[:], clientNumber(key, id))
	if err != nil {
		return Row{}, false, err
	}
	for _, r := range rows {
		if r.ClientKey == key && r.ClientID == id {
			return r, true, nil
		}
	}
	return Row{}, false, nil
}

// Search returns up to limit (at most chat.MaxPage) lines, the last stored first,
// that have all words of text; the last word may be a prefix. Case and diacritics
// do not matter. No rooms means all.
func (s *Store) Search(ctx context.Context, rooms []ordering.RoomID, text string, limit int) ([]Hit, error) {
	match, err := s.matchText(ctx, rooms, text)
	if err != nil || match == "" {
		return nil, err
	}
	return query(ctx, s.stmts.search, "search", func(rows *sql.Rows) (h Hit, err error) {
		var id []byte
		h.Row, err = scanRowAfter(rows, &id)
		copy(h.Room[:], id)
		return h, err
	}, match, bound(limit))
}

// matchText says to FTS5 what Search looks for, "" where nothing can be found.
func (s *Store) matchText(ctx context.Context, rooms []ordering.RoomID, text string) (string, error) {
	words := quoteWords(text)
	if words == "" || rooms == nil {
		return words, nil
	}
	var in []string
	for _, r := range rooms {
		var num int64
		switch err := s.stmts.num.QueryRowContext(ctx, r[:]).Scan(&num); {
		case err == nil:
			in = append(in, fmt.Sprintf(`"%d"`, num))
		case !errors.Is(err, sql.ErrNoRows):
			return "", fmt.Errorf("storage: read room %s: %w", r, err)
		}
	}
	if in == nil {
		return "", nil
	}
	return words + " AND room : (" + strings.Join(in, " OR ") + ")", nil
}

// quoteWords quotes a person's words for FTS5: each a phrase, the last a prefix.
// What has no letter or digit finds nothing and is left out.
func quoteWords(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxSearchBytes)], " ")
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	words = slices.DeleteFunc(words, func(w string) bool {
		return !strings.ContainsFunc(w, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	})
	if len(words) == 0 {
		return ""
	}
	words = words[:min(len(words), maxSearchWords)]
	for i, w := range words {
		words[i] = `"` + strings.ReplaceAll(w, `"`, `""`) + `"`
	}
	return "text : (" + strings.Join(words, " ") + "*)"
}

// Counts returns the number of shown lines in the room and of those not read,
// which is counted up to MaxUnread.
func (s *Store) Counts(ctx context.Context, room ordering.RoomID) (total, unread uint64, err error) {
	err = s.stmts.counts.QueryRowContext(ctx, room[:], MaxUnread).Scan(&total, &unread)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, 0, fmt.Errorf("storage: count lines: %w", err)
	}
	return total, unread, nil
}

// Unreadable returns up to limit (at most chat.MaxPage) entries, in the order of storing, whose lines
// are not readable and were sealed by the key.
func (s *Store) Unreadable(ctx context.Context, room ordering.RoomID, key ordering.KeyID, limit int) ([]*ordering.Entry, error) {
	return query(ctx, s.stmts.unreadable, "unreadable lines", scanEntry, room[:], key[:], bound(limit))
}

// MaxSealed bounds the key ids that Sealed returns.
const MaxSealed = 1024

// Sealed returns the ids of the room keys that sealed the room's unreadable lines,
// each once, at most MaxSealed of them.
func (s *Store) Sealed(ctx context.Context, room ordering.RoomID) ([]ordering.KeyID, error) {
	return query(ctx, s.stmts.sealed, "keys of unreadable lines", func(rows *sql.Rows) (id ordering.KeyID, err error) {
		var b sql.RawBytes
		err = rows.Scan(&b)
		copy(id[:], b)
		return id, err
	}, room[:], MaxSealed)
}

// query runs a statement and scans all its rows; what is the noun for the error.
func query[T any](ctx context.Context, st *sql.Stmt, what string, scan func(*sql.Rows) (T, error), args ...any) ([]T, error) {
	all, err := collect(ctx, st, scan, args...)
	if err != nil {
		return nil, fmt.Errorf("storage: read %s: %w", what, err)
	}
	return all, nil
}

func collect[T any](ctx context.Context, st *sql.Stmt, scan func(*sql.Rows) (T, error), args ...any) ([]T, error) {
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// scanEntry reads a row of one column, an entry's bytes.
func scanEntry(rows *sql.Rows) (*ordering.Entry, error) {
	var raw []byte
	if err := rows.Scan(&raw); err != nil {
		return nil, err
	}
	return ordering.DecodeEntry(raw)
}

// scanRow reads rowColumns.
func scanRow(rows *sql.Rows) (Row, error) { return scanRowAfter(rows) }

// scanRowAfter reads rowColumns behind other columns.
func scanRowAfter(rows *sql.Rows, others ...any) (r Row, err error) {
	var sealedBy, senderKey, reply, raw sql.RawBytes // nothing of them is kept
	var orderHash, leader sql.RawBytes
	var index, fate, epoch, term sql.NullInt64
	var late sql.NullBool
	err = rows.Scan(append(others, &r.Arrival, &r.Hidden, &index, &fate, &orderHash, &epoch, &term, &leader, &late,
		&r.Line.Readable, &sealedBy, &senderKey, &reply, &r.Line.Sender, &r.Line.Text, &raw)...)
	if err != nil {
		return r, err
	}
	r.Final = Final{
		Index: uint64(index.Int64), Fate: linear.Fate(fate.Int64),
		Source: ordering.Source{Epoch: uint64(epoch.Int64), Term: uint64(term.Int64), Late: late.Bool},
	}
	copy(r.Final.OrderHash[:], orderHash)
	if len(leader) == ordering.OriginSize {
		r.Final.Leader = decodeOrigin(leader)
	}
	e, err := ordering.DecodeEntry(raw)
	if err != nil {
		return r, err
	}
	r.ID, r.Hash, r.TS, r.WallMS, r.Kind = e.ID(), e.Hash(), e.TS, e.WallMS, e.Kind
	if c := e.Client; c != nil {
		r.ClientKey, r.ClientID, r.ClientHash = c.Key, c.ID, c.Hash
	}
	copy(r.Line.KeyID[:], sealedBy)
	copy(r.Line.SenderKey[:], senderKey)
	if len(reply) == idSize {
		id := decodeID(reply)
		r.Line.ReplyTo = &id
	}
	return r, nil
}
