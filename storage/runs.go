package storage

import (
	"cmp"
	"container/heap"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"

	"tertulia/chat"
	"tertulia/ordering"
)

const (
	restoreEntries = 256 // read at a time by Restore; at most 17 MiB

	// A cursor of Runs looks ahead one run, then twice as many each time, up
	// to maxAhead: a few wants of a big room cost little, and so does a
	// requester that is far behind.
	maxAhead = 64

	maxBeside = 1 << 16 // runs beside a chain in one answer
)

// Restore returns all entries of the room in acceptance order, each with its Run,
// without Sig and Line. It reads a bounded number at a time; entries committed
// meanwhile may be among them.
func (s *Store) Restore(ctx context.Context, room ordering.RoomID) iter.Seq2[Entry, error] {
	type numbered struct {
		num   int64
		entry Entry
	}
	return func(yield func(Entry, error) bool) {
		var last int64
		for {
			chunk, err := query(ctx, s.stmts.restore, "entries", func(rows *sql.Rows) (n numbered, err error) {
				var raw []byte
				if err := rows.Scan(&n.num, &n.entry.Run, &n.entry.Beside, &raw); err != nil {
					return n, err
				}
				n.entry.Entry, err = ordering.DecodeEntry(raw)
				return n, err
			}, room[:], last, restoreEntries)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, n := range chunk {
				if !yield(n.entry, nil) {
					return
				}
				last = n.num
			}
			if len(chunk) < restoreEntries {
				return
			}
		}
	}
}

// runEnd is the last entry of a stored run.
type runEnd struct {
	num    int64
	seq    uint64
	length int
	sig    [64]byte
}

func scanRunEnd(rows *sql.Rows) (e runEnd, err error) {
	var sig []byte
	err = rows.Scan(&e.num, &e.seq, &e.length, &sig)
	copy(e.sig[:], sig)
	return e, err
}

// cursor walks the runs of one origin.
type cursor struct {
	origin ordering.Origin
	ahead  []runEnd // not empty in a heap
	chunk  int      // length of the last look-up; less was found = no more
	full   bool
}

// beside walks the runs of an origin that are beside its chain. There are few.
func (s *Store) beside(ctx context.Context, room ordering.RoomID, w ordering.Want, high int64) (*cursor, error) {
	ahead, err := query(ctx, s.stmts.closersBeside, "runs beside a chain", scanRunEnd, room[:], w.Origin.Bytes(), number(w.After), high, maxBeside)
	return &cursor{origin: w.Origin, ahead: ahead}, err
}

// holding returns the runs that hold the entry which a want names.
func (s *Store) holding(ctx context.Context, room ordering.RoomID, w ordering.Want) (*cursor, error) {
	seq := w.After + 1
	ends, err := query(ctx, s.stmts.closersAbout, "runs", scanRunEnd, room[:], w.Origin.Bytes(), number(seq), number(seq+ordering.MaxRunEntries-1), maxBeside)
	if err != nil {
		return nil, err
	}
	c := &cursor{origin: w.Origin}
	for _, e := range ends {
		run, err := s.run(ctx, room, w.Origin, e)
		if err != nil {
			return nil, err
		}
		if x := run.Entries[seq-run.First().Seq]; ordering.TipOf(x.Seq, x.Hash()) == w.Tip {
			c.ahead = append(c.ahead, e)
			break
		}
	}
	return c, nil
}

// fill looks further ahead when nothing is left. No runs are left afterwards when ahead is empty.
func (c *cursor) fill(ctx context.Context, s *Store, room ordering.RoomID, after uint64, high int64) (err error) {
	c.chunk = min(max(1, 2*c.chunk), maxAhead)
	c.ahead, err = query(ctx, s.stmts.closers, "runs", scanRunEnd, room[:], c.origin.Bytes(), number(after), high, c.chunk)
	c.full = len(c.ahead) == c.chunk
	return err
}

// cursors is a heap; the run that was accepted first is on top.
type cursors []*cursor

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return c[i].ahead[0].num < c[j].ahead[0].num }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)        { *c = append(*c, x.(*cursor)) }
func (c *cursors) Pop() any {
	old := *c
	last := old[len(old)-1]
	*c = old[:len(old)-1]
	return last
}

// Runs returns the stored runs that have entries after the wants, in acceptance
// order, hence causes first. A run of which the requester has the beginning is
// returned whole. It ends before the run that would pass limitBytes, but not
// before the first; 0 means no limit. Nothing committed after its start is
// included, and memory stays bounded by one look-ahead for each want.
func (s *Store) Runs(ctx context.Context, room ordering.RoomID, wants []ordering.Want, limitBytes int) iter.Seq2[ordering.Run, error] {
	return func(yield func(ordering.Run, error) bool) {
		if len(wants) > ordering.MaxOrigins {
			yield(ordering.Run{}, fmt.Errorf("storage: read runs: more than %d wants", ordering.MaxOrigins))
			return
		}
		if err := s.runs(ctx, room, wants, limitBytes, yield); err != nil {
			yield(ordering.Run{}, err)
		}
	}
}

func (s *Store) runs(ctx context.Context, room ordering.RoomID, wants []ordering.Want, limitBytes int, yield func(ordering.Run, error) bool) error {
	var high int64
	if err := s.stmts.high.QueryRowContext(ctx, room[:]).Scan(&high); err != nil {
		return fmt.Errorf("storage: read runs: %w", err)
	}
	var h cursors
	add := func(c *cursor, err error) error {
		if err == nil && len(c.ahead) > 0 {
			h = append(h, c)
		}
		return err
	}
	for _, w := range wants {
		if w.Tip != (ordering.Tip{}) {
			if err := add(s.holding(ctx, room, w)); err != nil {
				return err
			}
			continue
		}
		c := &cursor{origin: w.Origin}
		if err := add(c, c.fill(ctx, s, room, w.After, high)); err != nil {
			return err
		}
		if err := add(s.beside(ctx, room, w, high)); err != nil {
			return err
		}
	}
	heap.Init(&h)
	sent := 0
	for len(h) > 0 {
		c := h[0]
		run, err := s.run(ctx, room, c.origin, c.ahead[0])
		if err != nil {
			return err
		}
		if sent += run.Size(); limitBytes > 0 && sent > limitBytes && sent > run.Size() {
			return nil
		}
		if !yield(run, nil) {
			return nil
		}
		after := c.ahead[0].seq
		c.ahead = c.ahead[1:]
		if len(c.ahead) == 0 && c.full {
			if err := c.fill(ctx, s, room, after, high); err != nil {
				return err
			}
		}
		if len(c.ahead) == 0 {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return nil
}

// run reads the run that ends at e.
func (s *Store) run(ctx context.Context, room ordering.RoomID, o ordering.Origin, e runEnd) (ordering.Run, error) {
	type numbered struct {
		num   int64
		entry *ordering.Entry
	}
	all, err := query(ctx, s.stmts.runBody, "run", func(rows *sql.Rows) (n numbered, err error) {
		var raw []byte
		if err = rows.Scan(&n.num, &raw); err == nil {
			n.entry, err = ordering.DecodeEntry(raw)
		}
		return n, err
	}, room[:], o.Bytes(), number(e.seq-uint64(e.length)+1), number(e.seq))
	if err != nil {
		return ordering.Run{}, err
	}
	entries := make([]*ordering.Entry, 0, e.length) // the last first
	for _, n := range slices.Backward(all) {        // other branches may lie between
		if n.num == e.num || len(entries) > 0 && entries[len(entries)-1].Prev == n.entry.Hash() {
			entries = append(entries, n.entry)
		}
	}
	if len(entries) != e.length {
		return ordering.Run{}, errors.New("storage: read run: entries are missing")
	}
	slices.Reverse(entries)
	return ordering.Run{Entries: entries, Sig: e.sig}, nil
}

// Newest returns the runs that hold the last n lines (at most chat.MaxPage) of
// the room, in acceptance order.
func (s *Store) Newest(ctx context.Context, room ordering.RoomID, n int) ([]ordering.Run, error) {
	ids, err := query(ctx, s.stmts.newest, "newest lines", scanID, room[:], max(1, min(n, chat.MaxPage)))
	if err != nil {
		return nil, err
	}
	type place struct {
		origin ordering.Origin
		end    runEnd
	}
	ends := map[int64]place{}
	for _, id := range ids {
		c := cursor{origin: id.Origin}
		if err := c.fill(ctx, s, room, id.Seq-1, 1<<62); err != nil {
			return nil, err
		}
		for _, e := range c.ahead {
			ends[e.num] = place{id.Origin, e}
		}
	}
	places := make([]place, 0, len(ends))
	for _, p := range ends {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.end.num, b.end.num) })
	runs := make([]ordering.Run, 0, len(places))
	for _, p := range places {
		r, err := s.run(ctx, room, p.origin, p.end)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}
