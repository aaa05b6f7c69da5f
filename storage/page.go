package storage

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
)

// Query asks for a stretch of a room's lines. At most one of Before, After (places,
// as of Row.Place), Around and At is set; none means the newest.
type Query struct {
	Before []byte            // the page ends just before it
	After  []byte            // the page begins just after it
	Around *ordering.EntryID // the page has it near the middle
	// At has the page begin with a line that was written then or later, by its
	// author's clock, while the line before was not. Authors' clocks differ, so
	// there may be several; it is one of them.
	At    time.Time
	Limit int // 1 to chat.MaxPage
}

// Page returns a stretch of the room's lines and previews: the final list, then
// the tail in predicted order, without what is hidden, and whether there are lines before and after it.
// The error is ErrNotFound when q.Around is not here.
func (s *Store) Page(ctx context.Context, room ordering.RoomID, q Query) (rows []Row, older, newer bool, err error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, false, false, fmt.Errorf("storage: read page: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	return (&snapshot{tx, &s.stmts, s.w.previews.Load(), room}).page(ctx, q)
}

// snapshot reads a room as it is on the disk at one moment: what becomes final
// moves, and may not do so between two reads of one page.
type snapshot struct {
	tx       *sql.Tx
	stmts    *statements
	previews bool // there may be some
	room     ordering.RoomID
}

func (s *snapshot) page(ctx context.Context, q Query) (rows []Row, older, newer bool, err error) {
	limit := bound(q.Limit)
	switch {
	case q.Around != nil:
		at, err := findLine(ctx, s.tx.StmtContext(ctx, s.stmts.find), s.room, ordering.OriginTag(q.Around.Origin), q.Around.Seq)
		if err != nil {
			return nil, false, false, err
		}
		return s.around(ctx, at.Place(), limit)
	case !q.At.IsZero():
		if q.After, err = s.writtenAt(ctx, q.At); err != nil {
			return nil, false, false, err
		}
		fallthrough
	case q.After != nil:
		from := next(q.After)
		rows, newer, err = s.after(ctx, from, limit)
		if err == nil {
			older, err = s.has(ctx, s.stmts.hasBefore, from)
		}
		return rows, older, newer, err
	case q.Before != nil:
		rows, older, err = s.before(ctx, q.Before, limit)
		slices.Reverse(rows)
		if err == nil {
			newer, err = s.has(ctx, s.stmts.hasAfter, q.Before)
		}
		return rows, older, newer, err
	default:
		rows, older, err = s.before(ctx, pastAll, limit)
		slices.Reverse(rows)
		return rows, older, false, err
	}
}

// around shares limit between both sides of place; what one side lacks the other
// may fill.
func (s *snapshot) around(ctx context.Context, place []byte, limit int) (rows []Row, older, newer bool, err error) {
	before, older, err := s.before(ctx, place, limit)
	if err != nil {
		return nil, false, false, err
	}
	after, newer, err := s.after(ctx, place, limit)
	if err != nil {
		return nil, false, false, err
	}
	keepAfter := min(len(after), max(limit-limit/2, limit-len(before)))
	keepBefore := min(len(before), limit-keepAfter)
	older = older || keepBefore < len(before)
	newer = newer || keepAfter < len(after)
	before = before[:keepBefore]
	slices.Reverse(before)
	return append(before, after[:keepAfter]...), older, newer, nil
}

// writtenAt returns the place before a page of Query.At. It is found by halving:
// some 30 reads, however long the room is.
func (s *snapshot) writtenAt(ctx context.Context, at time.Time) ([]byte, error) {
	last, _, err := headOf(ctx, s.tx.StmtContext(ctx, s.stmts.head), s.room)
	if err != nil {
		return nil, err
	}
	earlier := func(place []byte) (bool, error) { // the line there or next after it, if any, is
		rows, _, err := s.after(ctx, place, 1)
		return err == nil && len(rows) > 0 && rows[0].WallMS < at.UnixMilli(), err
	}
	index, err := halve(0, last, func(n uint64) (bool, error) { return earlier(FinalPlace(n + 1)) })
	if err != nil || index < last {
		return FinalPlace(index), err
	}
	// All that is final is earlier: on in the tail, whose places begin with the ts.
	inTail := func(ts uint64) []byte { return tailPlace(ordering.Key{TS: ts}) }
	rows, _, err := s.before(ctx, pastAll, 1)
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
		rows, _, err := s.after(ctx, next(place), 1)
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

// before returns up to limit rows before place, nearest first, and whether there are more.
func (s *snapshot) before(ctx context.Context, place []byte, limit int) ([]Row, bool, error) {
	if s.previews {
		return s.side(ctx, s.stmts.beforeAll, place, limit)
	}
	return s.side(ctx, s.stmts.before, place, limit)
}

// after returns up to limit rows from place on, nearest first, and whether there are more.
func (s *snapshot) after(ctx context.Context, place []byte, limit int) ([]Row, bool, error) {
	if s.previews {
		return s.side(ctx, s.stmts.afterAll, place, limit)
	}
	return s.side(ctx, s.stmts.after, place, limit)
}

func (s *snapshot) side(ctx context.Context, st *sql.Stmt, place []byte, limit int) ([]Row, bool, error) {
	rows, err := query(ctx, s.tx.StmtContext(ctx, st), "page", scanRow, s.room[:], place, limit+1)
	if err != nil {
		return nil, false, err
	}
	if len(rows) > limit {
		return rows[:limit], true, nil
	}
	return rows, false, nil
}

func (s *snapshot) has(ctx context.Context, st *sql.Stmt, place []byte) (bool, error) {
	found, err := query(ctx, s.tx.StmtContext(ctx, st), "page", func(rows *sql.Rows) (b bool, err error) {
		err = rows.Scan(&b)
		return b, err
	}, s.room[:], place)
	return len(found) > 0 && found[0], err
}

// bound keeps a limit within 1 and chat.MaxPage.
func bound(limit int) int { return max(1, min(limit, chat.MaxPage)) }
