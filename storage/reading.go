package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
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

// WrittenAt returns a place to page from (Query.After) such that what follows was
// written at the time or later, by its author's clock, and the line before was
// not. Authors' clocks differ, so there may be several such places; it is one of
// them, found by halving: some 30 reads, however long the room is.
func (s *Store) WrittenAt(ctx context.Context, room ordering.RoomID, at time.Time) ([]byte, error) {
	last, _, err := s.Head(ctx, room)
	if err != nil {
		return nil, err
	}
	earlier := func(place []byte) (bool, error) { // the line there or next after it, if any, is
		rows, _, err := s.after(ctx, room, place, 1)
		return err == nil && len(rows) > 0 && rows[0].WallMS < at.UnixMilli(), err
	}
	index, err := halve(0, last, func(n uint64) (bool, error) { return earlier(FinalPlace(n + 1)) })
	if err != nil || index < last {
		return FinalPlace(index), err
	}
	// All that is final is earlier: on in the tail, whose places begin with the ts.
	inTail := func(ts uint64) []byte { return tailPlace(ordering.Key{TS: ts}) }
	rows, _, err := s.before(ctx, room, pastAll, 1)
	if err != nil || len(rows) == 0 || rows[0].Final.Index > 0 {
		return tailBegins, err
	}
	first, err := halve(0, min(rows[0].TS, math.MaxInt64)+1, func(ts uint64) (bool, error) { return earlier(inTail(ts + 1)) })
	if err != nil {
		return nil, err
	}
	// Lines of one ts stand by author; the first that is late enough is wanted.
	place := inTail(first)
	for {
		rows, _, err := s.after(ctx, room, next(place), 1)
		if err != nil || len(rows) == 0 || rows[0].WallMS >= at.UnixMilli() || rows[0].TS > first {
			return place, err
		}
		place = rows[0].Place()
	}
}

// halve returns the least n in [low, high) for which before(n) is false, or high,
// where before is true up to some n and false from there.
func halve(low, high uint64, before func(uint64) (bool, error)) (uint64, error) {
	for low < high {
		middle := low + (high-low)/2
		yes, err := before(middle)
		if err != nil {
			return 0, err
		}
		if yes {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}
