package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"tertulia/ordering"
)

// MaxReceipts bounds what Receipts returns.
const MaxReceipts = 2048

// Receipts returns how far persons have read the room, as it was committed.
func (s *Store) Receipts(ctx context.Context, room ordering.RoomID) ([]ordering.Receipt, error) {
	return query(ctx, s.stmts.receipts, "receipts", func(rows *sql.Rows) (r ordering.Receipt, err error) {
		var device, person, signed, sig sql.RawBytes
		if err = rows.Scan(&device, &person, &r.Name, &r.UpTo, &signed, &sig); err == nil {
			copy(r.Device[:], device)
			copy(r.Person[:], person)
			copy(r.Signed[:], signed)
			copy(r.Sig[:], sig)
		}
		return r, err
	}, room[:], MaxReceipts)
}

// ReadUpTo returns the index up to which the final list was read without a gap, 0
// for none of it.
func (s *Store) ReadUpTo(ctx context.Context, room ordering.RoomID) (uint64, error) {
	var place []byte
	err := s.stmts.readUpTo.QueryRowContext(ctx, room[:]).Scan(&place)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("storage: read how far room %s was read: %w", room, err)
	case len(place) != finalPlaceSize:
		return 0, nil
	}
	return indexAt(place), nil
}

// FirstUnread returns the first of the lines that Counts counts as unread. The
// error is ErrNotFound when there is none.
func (s *Store) FirstUnread(ctx context.Context, room ordering.RoomID) (ordering.EntryID, error) {
	ids, err := query(ctx, s.stmts.firstUnread, "first unread line", scanID, room[:])
	if err == nil && len(ids) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return ordering.EntryID{}, err
	}
	return ids[0], nil
}

// Entry returns an entry as it was signed, and when it was stored, zero if
// that was not noted. The error is ErrNotFound when it is not here.
func (s *Store) Entry(ctx context.Context, room ordering.RoomID, id ordering.EntryID) (*ordering.Entry, time.Time, error) {
	var ms sql.NullInt64
	var raw []byte
	err := s.stmts.entry.QueryRowContext(ctx, room[:], id.Origin.Bytes(), number(id.Seq)).Scan(&ms, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, ErrNotFound
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("storage: read entry %s: %w", id, err)
	}
	e, err := ordering.DecodeEntry(raw)
	if !ms.Valid {
		return e, time.Time{}, err
	}
	return e, time.UnixMilli(ms.Int64), err
}

// maxLookBack is how many of the lines stored last Writers looks at.
const maxLookBack = 10_000

// Writers returns whose lines were stored since a time, of the last 10,000.
func (s *Store) Writers(ctx context.Context, room ordering.RoomID, since time.Time) ([]ordering.Origin, error) {
	return query(ctx, s.stmts.writers, "writers", func(rows *sql.Rows) (ordering.Origin, error) {
		var o sql.RawBytes
		if err := rows.Scan(&o); err != nil {
			return ordering.Origin{}, err
		}
		return decodeOrigin(o), nil
	}, room[:], since.UnixMilli(), maxLookBack)
}
