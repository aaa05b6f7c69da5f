package storage

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
)

// controlStatements are the writer's statements of the control log.
type controlStatements struct {
	state, snapshot, clear    *sql.Stmt
	compact, truncate, append *sql.Stmt
	seen                      *sql.Stmt
}

func (q *controlStatements) texts() []text {
	return []text{
		{&q.state, `INSERT INTO control (room, term, vote, committed, raft_applied, conf, mark) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET term = coalesce(excluded.term, term), vote = coalesce(excluded.vote, vote),
			committed = coalesce(excluded.committed, committed), raft_applied = coalesce(excluded.raft_applied, raft_applied),
			conf = coalesce(excluded.conf, conf), mark = coalesce(excluded.mark, mark)`},
		{&q.snapshot, `INSERT OR REPLACE INTO control_snapshots (room, idx, term, conf, state) VALUES (?, ?, ?, ?, ?)`},
		{&q.clear, `DELETE FROM control WHERE room = ?`},
		{&q.compact, `DELETE FROM control_log WHERE room = ? AND idx <= ?`},
		{&q.truncate, `DELETE FROM control_log WHERE room = ? AND idx >= ?`},
		{&q.append, `INSERT INTO control_log (room, idx, term, kind, data) VALUES (?, ?, ?, ?, ?)`},
		{&q.seen, `INSERT OR REPLACE INTO seen (room, origin, seq, term, match, acked) VALUES (?, ?, ?, ?, ?, ?)`},
	}
}

// keepControl keeps what w says of the control log, the mark and other replicas.
func (t *writer) keepControl(ctx context.Context, room int64, w *Write) error {
	save := w.Control
	if save == nil {
		save = &control.Save{}
	}
	if err := t.keepSave(ctx, room, save, w.Mark); err != nil {
		return fmt.Errorf("storage: keep control log of room %s: %w", w.Room, err)
	}
	for _, s := range w.Seen {
		origin, err := t.origin(ctx, s.Origin)
		if err == nil {
			_, err = t.control.seen.ExecContext(ctx, room, origin, int64(s.Seq), int64(s.Term), int64(s.Match), s.Acked.Encode())
		}
		if err != nil {
			return fmt.Errorf("storage: keep what was seen in room %s: %w", w.Room, err)
		}
	}
	return nil
}

// keepSave does what control.Saved.Apply does, and replaces the mark unless it is
// nil.
func (t *writer) keepSave(ctx context.Context, room int64, d *control.Save, mark []byte) error {
	if d.CompactTo > 0 {
		if _, err := t.control.compact.ExecContext(ctx, room, number(d.CompactTo)); err != nil {
			return err
		}
	}
	if len(d.Append) > 0 {
		if _, err := t.control.truncate.ExecContext(ctx, room, number(d.Append[0].Index)); err != nil {
			return err
		}
	}
	for _, r := range d.Append {
		if _, err := t.control.append.ExecContext(ctx, room, number(r.Index), int64(r.Term), int(r.Kind), r.Data); err != nil {
			return err
		}
	}
	if s := d.Snapshot; s != nil {
		if _, err := t.control.snapshot.ExecContext(ctx, room, number(s.Index), int64(s.Term), s.Conf, s.State); err != nil {
			return err
		}
	}
	var term, vote, committed, applied any // nil: unchanged
	if h := d.Hard; h != nil {
		term, vote, committed = int64(h.Term), int64(h.Vote), int64(h.Commit)
	}
	if d.RaftApplied > 0 {
		applied = int64(d.RaftApplied)
	}
	if term == nil && applied == nil && d.Conf == nil && mark == nil {
		return nil
	}
	_, err := t.control.state.ExecContext(ctx, room, term, vote, committed, applied, d.Conf, mark)
	return err
}

// Control returns the room's control log and the mark of its final list, zeros
// when it has none. LinApplied is what the mark says, or the snapshot's index
// where the mark is not behind the snapshot.
func (s *Store) Control(ctx context.Context, room ordering.RoomID) (saved control.Saved, mark []byte, err error) {
	tx, err := s.read.BeginTx(ctx, nil) // so that the parts belong together
	if err != nil {
		return saved, nil, fmt.Errorf("storage: read control log: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	_, err = query(ctx, tx.StmtContext(ctx, s.stmts.control), "control log", func(rows *sql.Rows) (none struct{}, err error) {
		var term, vote, committed, applied int64
		err = rows.Scan(&term, &vote, &committed, &applied, &saved.Conf, &mark)
		saved.Hard = control.Hard{Term: uint64(term), Vote: uint64(vote), Commit: uint64(committed)}
		saved.RaftApplied = uint64(applied)
		return none, err
	}, room[:])
	if err != nil {
		return saved, nil, err
	}
	at := &saved.Snapshot
	_, err = query(ctx, tx.StmtContext(ctx, s.stmts.snapshot), "control snapshot", func(rows *sql.Rows) (none struct{}, err error) {
		var term int64
		err = rows.Scan(&at.Index, &term, &at.Conf, &at.State)
		at.Term = uint64(term)
		return none, err
	}, room[:])
	if err != nil {
		return saved, nil, err
	}
	saved.Log, err = query(ctx, tx.StmtContext(ctx, s.stmts.records), "control records", func(rows *sql.Rows) (r control.Record, err error) {
		var term int64
		err = rows.Scan(&r.Index, &term, &r.Kind, &r.Data)
		r.Term = uint64(term)
		return r, err
	}, room[:])
	if err == nil && mark != nil {
		saved.LinApplied, err = linApplied(mark, at)
	}
	return saved, mark, err
}

// linApplied returns how far the linearizer has applied the control log.
func linApplied(mark []byte, at *control.Snapshot) (uint64, error) {
	list, err := linear.ParseState(append(bytes.Clone(mark), 0, 0)) // a mark is a state without chains
	if err != nil {
		return 0, fmt.Errorf("storage: read mark: %w", err)
	}
	if of, err := linear.ParseState(at.State); err == nil && of.Applied <= list.Applied {
		return max(list.Applied, at.Index), nil
	}
	return list.Applied, nil
}

// Seen returns what other replicas showed of themselves, by origin.
func (s *Store) Seen(ctx context.Context, room ordering.RoomID) ([]ordering.Seen, error) {
	return query(ctx, s.stmts.seen, "what was seen", func(rows *sql.Rows) (x ordering.Seen, err error) {
		var origin, acked sql.RawBytes
		var seq, term, match int64
		if err = rows.Scan(&origin, &seq, &term, &match, &acked); err != nil {
			return x, err
		}
		x = ordering.Seen{Origin: decodeOrigin(origin), Seq: uint64(seq), Term: uint64(term), Match: uint64(match)}
		x.Acked, err = ordering.DecodeAcked(acked)
		return x, err
	}, room[:], ordering.MaxOrigins)
}
