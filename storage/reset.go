package storage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"tertulia/ordering"
)

// A room whose copy here is older than what others hold of it begins anew. What
// was kept of it is set aside, under an id of its own, until all that only this
// copy had was said again: Restore and Runs read it under that id, and nothing
// else finds it.

// Limits of what is set aside.
const (
	maxAside   = 8   // copies of a room; beyond, the newest of them goes
	asideDrops = 512 // entries deleted in one commit
)

// Aside is a copy of a room that was set aside.
type Aside struct {
	ID      ordering.RoomID
	Origins []ordering.Origin // whose entries it has
}

// asideID is the id of a room's n-th copy set aside, from 1 on.
func asideID(room ordering.RoomID, n int) ordering.RoomID {
	b := append([]byte("tertulia set aside v1\x00"), room[:]...)
	return ordering.RoomID(sha256.Sum256(append(b, byte(n))))
}

// SetAside begins w.Room anew: what is kept of it is set aside, but for its keys
// and how far people have read it, and then w is applied to the empty room. All of this is
// one commit, as of Commit. In the tail the room counts as read up to the last
// line there that is not of the own device: own words of late may stand behind
// others' that never came.
func (s *Store) SetAside(ctx context.Context, own ordering.DeviceKey, w *Write) error {
	return s.do(ctx, 0, func(ctx context.Context, t *writer) error {
		if err := t.setAside(ctx, own, w.Room); err != nil {
			return fmt.Errorf("storage: set room %s aside: %w", w.Room, err)
		}
		return t.apply(ctx, w)
	})
}

func (t *writer) setAside(ctx context.Context, own ordering.DeviceKey, id ordering.RoomID) error {
	old, err := t.room(ctx, id)
	if err != nil {
		return err
	}
	as, err := t.freeAside(ctx, id)
	if err != nil {
		return err
	}
	t.forget() // the id names another row from here on
	for _, step := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO words (words, rowid, text, room) SELECT 'delete', num, text, room FROM entries WHERE room = ? AND text <> ''`, []any{old}},
		{`DELETE FROM previews WHERE room = ?`, []any{old}},
		{`UPDATE rooms SET id = ?, listed = 0 WHERE num = ?`, []any{as[:], old}},
		{`INSERT INTO rooms (id, read_final, read_tail) SELECT ?1, read_final, coalesce((
			SELECT place FROM entries INDEXED BY lines_shown WHERE room = ?2 AND hidden = 0 AND place > x'01' AND place <= read_tail
				AND origin NOT IN (SELECT num FROM origins WHERE substr(origin, 1, ?3) = ?4)
				ORDER BY place DESC LIMIT 1), x'01') FROM rooms WHERE num = ?2`, []any{id[:], old, len(own), own[:]}},
		{`UPDATE room_keys SET room = (SELECT num FROM rooms WHERE id = ?) WHERE room = ?`, []any{id[:], old}},
		{`UPDATE receipts SET room = (SELECT num FROM rooms WHERE id = ?) WHERE room = ?`, []any{id[:], old}},
	} {
		if _, err := t.conn.ExecContext(ctx, step.text, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// freeAside returns an id under which nothing is kept.
func (t *writer) freeAside(ctx context.Context, room ordering.RoomID) (id ordering.RoomID, err error) {
	for n := range maxAside {
		id = asideID(room, n+1)
		var num int64
		if err := t.findRoom.QueryRowContext(ctx, id[:]).Scan(&num); errors.Is(err, sql.ErrNoRows) {
			return id, nil
		} else if err != nil {
			return id, err
		}
	}
	for more := true; more && err == nil; {
		more, err = t.dropSome(ctx, id)
	}
	return id, err
}

// Asides returns the copies of a room that are set aside, the oldest first.
func (s *Store) Asides(ctx context.Context, room ordering.RoomID) ([]Aside, error) {
	var all []Aside
	for n := range maxAside {
		a := Aside{ID: asideID(room, n+1)}
		var kept bool
		if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM rooms WHERE id = ?)`, a.ID[:]).Scan(&kept); err != nil {
			return nil, fmt.Errorf("storage: read what is set aside: %w", err)
		}
		if !kept {
			continue
		}
		if err := s.originsOf(ctx, &a); err != nil {
			return nil, fmt.Errorf("storage: read what is set aside: %w", err)
		}
		all = append(all, a)
	}
	return all, nil
}

func (s *Store) originsOf(ctx context.Context, a *Aside) error {
	rows, err := s.read.QueryContext(ctx, `SELECT origin FROM origins WHERE num IN
		(SELECT DISTINCT origin FROM entries INDEXED BY entries_place WHERE room = (SELECT num FROM rooms WHERE id = ?))
		ORDER BY origin LIMIT ?`, a.ID[:], ordering.MaxOrigins)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var origin sql.RawBytes
		if err := rows.Scan(&origin); err != nil {
			return err
		}
		a.Origins = append(a.Origins, decodeOrigin(origin))
	}
	return rows.Err()
}

// DropAside deletes a copy that was set aside, a part at a time; it goes on where
// it was interrupted. A room that is listed is never deleted.
func (s *Store) DropAside(ctx context.Context, id ordering.RoomID) error {
	for {
		var more bool
		err := s.do(ctx, 0, func(ctx context.Context, t *writer) (err error) {
			more, err = t.dropSome(ctx, id)
			return err
		})
		if err != nil {
			return fmt.Errorf("storage: drop what is set aside: %w", err)
		}
		if !more {
			return nil
		}
	}
}

// dropSome deletes some entries of what is set aside, or, when there are none,
// the rest.
func (t *writer) dropSome(ctx context.Context, id ordering.RoomID) (more bool, err error) {
	var num int64
	err = t.conn.QueryRowContext(ctx, `SELECT num FROM rooms WHERE id = ? AND listed = 0`, id[:]).Scan(&num)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.forget()
	done, err := t.conn.ExecContext(ctx, `DELETE FROM entries WHERE num IN
		(SELECT num FROM entries INDEXED BY entries_room WHERE room = ? LIMIT ?)`, num, asideDrops)
	if err != nil {
		return false, err
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		return true, err
	}
	for _, text := range []string{
		`DELETE FROM emitted WHERE room = ?`, `DELETE FROM control WHERE room = ?`,
		`DELETE FROM control_snapshots WHERE room = ?`, `DELETE FROM control_log WHERE room = ?`,
		`DELETE FROM seen WHERE room = ?`, `DELETE FROM rooms WHERE num = ?`,
	} {
		if _, err := t.conn.ExecContext(ctx, text, num); err != nil {
			return false, err
		}
	}
	return false, nil
}
