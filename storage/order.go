package storage

import (
	"bytes"

	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"tertulia/ordering"
	"tertulia/ordering/linear"
)

// orderStatements are the writer's statements of the final list.
type orderStatements struct {
	head, reading, entry, emit    *sql.Stmt
	emittedTo, chain, addEmitted  *sql.Stmt
	tailUpTo, setReading          *sql.Stmt
	bytes, setBranch, firstBeside *sql.Stmt
}

func (q *orderStatements) texts() []text {
	return []text{
		{&q.head, `SELECT place FROM entries INDEXED BY lines_shown
			WHERE room = ? AND hidden = 0 AND place < x'01' ORDER BY place DESC LIMIT 1`},
		{&q.reading, `SELECT read_final, read_tail FROM rooms WHERE num = ?`},
		{&q.entry, `SELECT num, place, hidden, was_read, stamp, payload, final, branch FROM entries WHERE room = ? AND origin = ? AND seq = ? ORDER BY branch`},
		{&q.bytes, `SELECT bytes FROM entries WHERE num = ?`},
		{&q.setBranch, `UPDATE entries SET branch = ? WHERE num = ?`},
		{&q.firstBeside, `SELECT min(seq) FROM entries INDEXED BY entries_beside WHERE room = ? AND origin = ? AND branch > 0`},
		{&q.emit, `UPDATE entries SET (place, hidden, was_read, final, fate, order_hash, epoch, term, leader, late) =
			(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE num = ?`},
		{&q.emittedTo, `SELECT seq FROM emitted WHERE room = ? AND origin = ?`},
		{&q.chain, `SELECT seq, bytes FROM entries WHERE room = ? AND origin = ? AND branch = 0 AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`},
		{&q.addEmitted, `INSERT INTO emitted (room, origin, seq, hash) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET seq = excluded.seq, hash = excluded.hash WHERE excluded.seq > seq`},
		{&q.tailUpTo, `SELECT coalesce((SELECT place FROM entries INDEXED BY lines_shown
			WHERE room = ? AND hidden = 0 AND place > x'01' AND place <= ? ORDER BY place DESC LIMIT 1), x'01')`},
		{&q.setReading, `UPDATE rooms SET read_final = ?, read_tail = ? WHERE num = ?`},
	}
}

// emission gives entries their place in a room's final list.
//
// Of a final line the room remembers that it was read in one of two ways: it
// stands up to readFinal, or it was read in the tail, or from the beginning, and
// then became final beyond something unread. So what was read stays so, and what
// was not stays that too.
type emission struct {
	t         *writer
	room      int64
	head      uint64 // the newest index
	readFinal []byte // up to here the final list was read
	readTail  []byte // and to here the tail
	moved     bool   // either of them changed
	shown     int    // by how much the count of shown lines grows
	emitted   map[ordering.Origin]linear.Emitted
}

func (t *writer) emission(ctx context.Context, room int64) (*emission, error) {
	x := &emission{t: t, room: room, emitted: map[ordering.Origin]linear.Emitted{}}
	var err error
	if x.head, err = t.head(ctx, room); err == nil {
		err = t.order.reading.QueryRowContext(ctx, room).Scan(&x.readFinal, &x.readTail)
	}
	return x, err
}

// head returns the room's newest index.
func (t *writer) head(ctx context.Context, room int64) (uint64, error) {
	var place []byte
	err := t.order.head.QueryRowContext(ctx, room).Scan(&place)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return indexAt(place), nil
}

// keepOrder keeps w's finals.
func (t *writer) keepOrder(ctx context.Context, room int64, w *Write) error {
	if len(w.Finals) == 0 {
		return nil
	}
	x, err := t.emission(ctx, room)
	if err != nil {
		return fmt.Errorf("storage: read final list of room %s: %w", w.Room, err)
	}
	for i := range w.Finals {
		f := &w.Finals[i]
		if err := x.emit(ctx, f); err != nil {
			return fmt.Errorf("storage: keep final %s of room %s: %w", f.ID, w.Room, err)
		}
		if f.Fate == linear.Lost {
			continue
		}
		x.emitted[f.ID.Origin] = linear.Emitted{Origin: f.ID.Origin, Seq: f.ID.Seq, Hash: f.Hash}
	}
	if err := x.end(ctx); err != nil {
		return fmt.Errorf("storage: keep final list of room %s: %w", w.Room, err)
	}
	return nil
}

// stored is an entry that is here, as emit sees it.
type stored struct {
	num    int64
	place  []byte
	hidden bool
	read   bool
	stamp  stamp
	final  sql.NullInt64
	branch int64
}

func scanStored(rows *sql.Rows) (e stored, err error) {
	err = rows.Scan(&e.num, &e.place, &e.hidden, &e.read, &e.stamp.client, &e.stamp.payload, &e.final, &e.branch)
	return e, err
}

var errOtherFate = errors.New("it is emitted already, and otherwise")

// emit gives an entry its index, or lets it go without one. An entry that has
// just this already stays as it is.
func (x *emission) emit(ctx context.Context, f *linear.Final) error {
	origin, err := x.t.origin(ctx, f.ID.Origin)
	if err != nil {
		return err
	}
	e, err := x.choose(ctx, origin, f)
	switch {
	case err != nil:
		return err
	case e.final.Valid && uint64(e.final.Int64) == f.Index:
		return nil
	case e.final.Valid:
		return errOtherFate
	case f.Index == 0:
		return x.consume(ctx, f, e)
	case e.place == nil:
		return errors.New("it takes no line, and so no index")
	case f.Index != x.head+1:
		return fmt.Errorf("its index is %d after %d", f.Index, x.head)
	}
	return x.show(ctx, f, e)
}

// choose returns the entry that a final names. If its origin forked there, it
// takes its place in the chain, and what else is there is passed over.
func (x *emission) choose(ctx context.Context, origin int64, f *linear.Final) (*stored, error) {
	all, err := collect(ctx, x.t.order.entry, scanStored, x.room, origin, number(f.ID.Seq))
	if err != nil {
		return nil, err
	}
	if len(all) == 1 && all[0].branch == 0 {
		return &all[0], nil
	}
	var named *stored
	for i := range all {
		if h, err := x.hashOf(ctx, all[i].num); err != nil {
			return nil, err
		} else if h == f.Hash {
			named = &all[i]
		}
	}
	if named == nil {
		return nil, errors.New("its entry is not here")
	}
	if f.Fate == linear.Lost {
		return named, nil
	}
	for i := range all {
		if e := &all[i]; e != named && !e.final.Valid {
			if err := x.consume(ctx, &linear.Final{Fate: linear.Lost, Source: f.Source}, e); err != nil {
				return nil, err
			}
		}
	}
	return named, x.toChain(ctx, all, named)
}

// toChain lets one of those at a place of a chain take that place.
func (x *emission) toChain(ctx context.Context, all []stored, named *stored) error {
	if named.branch == 0 {
		return nil
	}
	const aside = -1
	moves := [][2]int64{{named.num, aside}}
	if first := all[0]; first.branch == 0 {
		moves = append(moves, [2]int64{first.num, named.branch})
	}
	for _, m := range append(moves, [2]int64{named.num, 0}) {
		if _, err := x.t.order.setBranch.ExecContext(ctx, m[1], m[0]); err != nil {
			return err
		}
	}
	return nil
}

func (x *emission) hashOf(ctx context.Context, num int64) (ordering.Hash, error) {
	e, err := x.entryAt(ctx, num)
	if err != nil {
		return ordering.Hash{}, err
	}
	return e.Hash(), nil
}

func (x *emission) entryAt(ctx context.Context, num int64) (*ordering.Entry, error) {
	var raw []byte
	if err := x.t.order.bytes.QueryRowContext(ctx, num).Scan(&raw); err != nil {
		return nil, err
	}
	return ordering.DecodeEntry(raw)
}

// follow lets the branch that leads to an entry be the chain.
func (x *emission) follow(ctx context.Context, origin int64, tip linear.Emitted) error {
	var first sql.NullInt64
	if err := x.t.order.firstBeside.QueryRowContext(ctx, x.room, origin).Scan(&first); err != nil || !first.Valid {
		return err
	}
	want := tip.Hash
	for seq := tip.Seq; seq >= uint64(first.Int64) && seq > 0; seq-- {
		all, err := collect(ctx, x.t.order.entry, scanStored, x.room, origin, number(seq))
		if err != nil {
			return err
		}
		found := false
		for i := range all {
			e, err := x.entryAt(ctx, all[i].num)
			if err != nil {
				return err
			}
			if e.Hash() != want {
				continue
			}
			if err := x.toChain(ctx, all, &all[i]); err != nil {
				return err
			}
			want, found = e.Prev, true
			break
		}
		if !found {
			return fmt.Errorf("entry %d is not here", seq)
		}
	}
	return nil
}

// show moves a line from the tail to its index.
func (x *emission) show(ctx context.Context, f *linear.Final, e *stored) error {
	was := e.place
	if e.hidden {
		x.shown++
	}
	twin, twinPlace, err := x.t.shownTwin(ctx, x.room, e.num, e.stamp)
	if err != nil {
		return err
	}
	if twin != 0 && !isFinal(twinPlace) {
		if _, err := x.t.setHidden.ExecContext(ctx, true, twin); err != nil {
			return err
		}
		x.shown--
		if bytes.Compare(twinPlace, was) < 0 {
			was = twinPlace // the same words were shown there
		}
	}
	x.head = f.Index
	place := FinalPlace(f.Index)
	read := e.read || bytes.Compare(was, x.readTail) <= 0
	if read && (f.Index == 1 || bytes.Equal(x.readFinal, FinalPlace(f.Index-1))) {
		x.readFinal, x.moved, read = place, true, false
	}
	return x.put(ctx, f, e.num, place, false, read)
}

// consume lets an entry go without an index; its line, if it has one, is hidden,
// and a repeat takes its place unless the same words are shown already.
func (x *emission) consume(ctx context.Context, f *linear.Final, e *stored) error {
	if err := x.put(ctx, f, e.num, e.place, e.place != nil, false); err != nil || e.place == nil || e.hidden {
		return err
	}
	x.shown--
	twin, _, err := x.t.shownTwin(ctx, x.room, e.num, e.stamp)
	if err != nil || twin != 0 || e.stamp.client == nil {
		return err
	}
	err = x.t.findRepeat.QueryRowContext(ctx, x.room, e.stamp.client, e.stamp.payload).Scan(&twin)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = x.t.setHidden.ExecContext(ctx, false, twin)
		x.shown++
	}
	return err
}

func (x *emission) put(ctx context.Context, f *linear.Final, num int64, place []byte, hidden, read bool) error {
	var fate, orderHash, leader any
	if f.Fate != 0 {
		fate = int(f.Fate)
	}
	if f.Index > 0 {
		orderHash = f.OrderHash[:]
	}
	if f.Leader != (ordering.Origin{}) {
		o, err := x.t.origin(ctx, f.Leader)
		if err != nil {
			return err
		}
		leader = o
	}
	_, err := x.t.order.emit.ExecContext(ctx, place, hidden, read, int64(f.Index), fate, orderHash, int64(f.Epoch), int64(f.Term), leader, f.Late, num)
	return err
}

// end writes down what the emissions add up to.
func (x *emission) end(ctx context.Context) error {
	for _, e := range slices.SortedFunc(maps.Values(x.emitted), func(a, b linear.Emitted) int { return a.Origin.Compare(b.Origin) }) {
		origin, err := x.t.origin(ctx, e.Origin)
		if err == nil {
			_, err = x.t.order.addEmitted.ExecContext(ctx, x.room, origin, int64(e.Seq), e.Hash[:])
		}
		if err != nil {
			return err
		}
	}
	if x.shown != 0 {
		if _, err := x.t.addTotal.ExecContext(ctx, x.shown, x.room); err != nil {
			return err
		}
	}
	return x.keepReading(ctx, x.readTail)
}

// keepReading makes it known that the tail was read up to a place: the last line
// there at or below it, so that what comes there later is not taken for read once
// all else has become final.
func (x *emission) keepReading(ctx context.Context, upTo []byte) error {
	tail := tailBegins
	if !bytes.Equal(upTo, tailBegins) {
		if err := x.t.order.tailUpTo.QueryRowContext(ctx, x.room, upTo).Scan(&tail); err != nil {
			return err
		}
	}
	if !x.moved && bytes.Equal(tail, x.readTail) {
		return nil
	}
	_, err := x.t.order.setReading.ExecContext(ctx, x.readFinal, tail, x.room)
	return err
}

// markRead notes that people have read up to a place, which may be that of a line
// that stands elsewhere by now.
func (t *writer) markRead(ctx context.Context, room int64, to []byte) error {
	if !IsPlace(to) {
		return errPlace
	}
	x, err := t.emission(ctx, room)
	if err != nil {
		return err
	}
	var index uint64
	tail := x.readTail
	if isFinal(to) {
		index = indexAt(to)
	} else {
		if index, err = t.indexOf(ctx, room, idAt(to), x.head); err != nil {
			return err
		}
		if bytes.Compare(to, tail) > 0 {
			tail = to
		}
	}
	if final := FinalPlace(min(index, x.head)); index > 0 && bytes.Compare(final, x.readFinal) > 0 {
		x.readFinal, x.moved = final, true
	}
	return x.keepReading(ctx, tail)
}

// indexOf returns the index of a line that was in the tail, 0 when it took none,
// and head when it is there still, behind the whole final list.
func (t *writer) indexOf(ctx context.Context, room int64, id ordering.EntryID, head uint64) (uint64, error) {
	var origin int64
	err := t.findOrigin.QueryRowContext(ctx, id.Origin.Bytes()).Scan(&origin)
	if errors.Is(err, sql.ErrNoRows) {
		return head, nil
	}
	if err != nil {
		return 0, err
	}
	var e stored
	err = t.order.entry.QueryRowContext(ctx, room, origin, number(id.Seq)).
		Scan(&e.num, &e.place, &e.hidden, &e.read, &e.stamp.client, &e.stamp.payload, &e.final, &e.branch)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !e.final.Valid {
		return head, nil
	}
	return uint64(e.final.Int64), err
}

const installEntries = 64 // of a chain read at a time by install; at most 5 MiB

// install takes up a snapshot with the final list up to it.
func (t *writer) install(ctx context.Context, room int64, in *Install) error {
	if len(in.Order) != len(in.Hashes) || len(in.Order) != len(in.Entries) {
		return errors.New("its order and its hashes differ in length")
	}
	if _, err := t.control.clear.ExecContext(ctx, room); err != nil {
		return err
	}
	replace := in.Saved.Replace()
	if err := t.keepSave(ctx, room, &replace, in.Mark); err != nil {
		return err
	}
	x, err := t.emission(ctx, room)
	if err != nil {
		return err
	}
	for i, l := range in.Order {
		f := linear.Final{ID: l.EntryID, Hash: in.Entries[i], Fate: linear.Shown, Index: in.First + uint64(i), OrderHash: in.Hashes[i], Source: l.Source}
		if err := x.emit(ctx, &f); err != nil {
			return fmt.Errorf("%s: %w", f.ID, err)
		}
	}
	for _, e := range in.Emitted {
		if err := x.consumeChain(ctx, e); err != nil {
			return fmt.Errorf("chain %s up to %d: %w", ordering.OriginTag(e.Origin), e.Seq, err)
		}
	}
	return x.end(ctx)
}

// consumeChain lets what was not emitted of a chain up to its tip go without an index.
func (x *emission) consumeChain(ctx context.Context, tip linear.Emitted) error {
	o, last := tip.Origin, tip.Seq
	origin, err := x.t.origin(ctx, o)
	if err == nil {
		err = x.follow(ctx, origin, tip)
	}
	if err != nil {
		return err
	}
	var done uint64
	err = x.t.order.emittedTo.QueryRowContext(ctx, x.room, origin).Scan(&done)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	for done < last {
		entries, err := collect(ctx, x.t.order.chain, func(rows *sql.Rows) (e *ordering.Entry, err error) {
			var seq uint64
			var raw []byte
			if err := rows.Scan(&seq, &raw); err != nil {
				return nil, err
			}
			return ordering.DecodeEntry(raw)
		}, x.room, origin, number(done+1), number(last), installEntries)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Seq != done+1 {
				break
			}
			if err := x.drop(ctx, e); err != nil {
				return err
			}
			done = e.Seq
			x.emitted[o] = linear.Emitted{Origin: o, Seq: e.Seq, Hash: e.Hash()}
		}
		if len(entries) == 0 || entries[len(entries)-1].Seq != done {
			return fmt.Errorf("entry %d is not here", done+1)
		}
	}
	return nil
}

// drop lets an entry go without an index unless it has one.
func (x *emission) drop(ctx context.Context, e *ordering.Entry) error {
	f := linear.Final{ID: e.ID(), Hash: e.Hash()}
	if !e.Kind.Sealed() {
		f.Fate = linear.Silent
	}
	if err := x.emit(ctx, &f); err != nil && !errors.Is(err, errOtherFate) {
		return err
	}
	return nil
}

// Final is what the final list says of a line; Index 0 means that it has no place
// there.
type Final struct {
	Index     uint64
	Fate      linear.Fate // 0 while it is tentative, and where a snapshot left it out
	OrderHash ordering.Hash
	ordering.Source
}

// Limits of what is asked of the final list at a time.
const (
	MaxListed = 4096
	maxKept   = 1 << 20 // order hashes, for 2^28 finals
)

// Head returns the newest index and the order hash there; at 0 it is the room's id.
func (s *Store) Head(ctx context.Context, room ordering.RoomID) (index uint64, hash ordering.Hash, err error) {
	return headOf(ctx, s.stmts.head, room)
}

func headOf(ctx context.Context, head *sql.Stmt, room ordering.RoomID) (index uint64, hash ordering.Hash, err error) {
	type at struct {
		index uint64
		hash  ordering.Hash
	}
	rows, err := query(ctx, head, "end of the final list", func(rows *sql.Rows) (a at, err error) {
		var h sql.RawBytes
		err = rows.Scan(&a.index, &h)
		copy(a.hash[:], h)
		return a, err
	}, room[:])
	if err != nil || len(rows) == 0 {
		return 0, ordering.Hash(room), err
	}
	return rows[0].index, rows[0].hash, nil
}

// Finals returns up to limit (at most chat.MaxPage) lines of the final list after
// an index.
func (s *Store) Finals(ctx context.Context, room ordering.RoomID, after uint64, limit int) ([]Row, error) {
	return query(ctx, s.stmts.finals, "finals", scanRow, room[:], FinalPlace(after), bound(limit))
}

// Listed returns up to limit (at most MaxListed) places of the final list after an
// index.
func (s *Store) Listed(ctx context.Context, room ordering.RoomID, after uint64, limit int) ([]ordering.Listed, error) {
	return query(ctx, s.stmts.listed, "final list", func(rows *sql.Rows) (l ordering.Listed, err error) {
		var origin, leader sql.RawBytes
		if err = rows.Scan(&origin, &l.Seq, &l.Epoch, &l.Term, &leader, &l.Late); err != nil {
			return l, err
		}
		l.Origin = decodeOrigin(origin)
		if len(leader) == ordering.OriginSize {
			l.Leader = decodeOrigin(leader)
		}
		return l, nil
	}, room[:], FinalPlace(after), max(1, min(limit, MaxListed)))
}

// Emitted returns how far each chain was emitted, by origin.
func (s *Store) Emitted(ctx context.Context, room ordering.RoomID) ([]linear.Emitted, error) {
	return query(ctx, s.stmts.emitted, "emitted chains", func(rows *sql.Rows) (e linear.Emitted, err error) {
		var origin, hash sql.RawBytes
		if err = rows.Scan(&origin, &e.Seq, &hash); err == nil {
			e.Origin = decodeOrigin(origin)
			copy(e.Hash[:], hash)
		}
		return e, err
	}, room[:], ordering.MaxOrigins)
}

// Recent returns the newest linear.Window finals, ascending.
func (s *Store) Recent(ctx context.Context, room ordering.RoomID) ([]linear.Recent, error) {
	all, err := query(ctx, s.stmts.recent, "recent finals", func(rows *sql.Rows) (r linear.Recent, err error) {
		var hash sql.RawBytes
		var raw []byte
		if err := rows.Scan(&r.Index, &hash, &raw); err != nil {
			return r, err
		}
		e, err := ordering.DecodeEntry(raw)
		if err != nil {
			return r, err
		}
		r.ID, r.Stamp = e.ID(), linear.DigestOf(e.Client)
		copy(r.OrderHash[:], hash)
		return r, nil
	}, room[:], linear.Window)
	slices.Reverse(all)
	return all, err
}

// Kept returns the order hashes at multiples of ordering.CheckpointEvery, ascending.
func (s *Store) Kept(ctx context.Context, room ordering.RoomID) ([]linear.Kept, error) {
	return query(ctx, s.stmts.kept, "order hashes", func(rows *sql.Rows) (k linear.Kept, err error) {
		var hash sql.RawBytes
		err = rows.Scan(&k.Index, &hash)
		copy(k.Hash[:], hash)
		return k, err
	}, room[:], maxKept)
}

// scanID reads an origin and a seq.
func scanID(rows *sql.Rows) (id ordering.EntryID, err error) {
	var origin sql.RawBytes
	if err = rows.Scan(&origin, &id.Seq); err == nil {
		id.Origin = decodeOrigin(origin)
	}
	return id, err
}
