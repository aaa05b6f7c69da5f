package storage

import (
	"context"
	"fmt"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
)

// Limits of the queue before the disk.
const (
	maxWaiting    = 4096    // jobs; further callers wait for a place
	maxGroupBytes = 8 << 20 // of entries and records in one transaction; the job that passes it is the last
)

// Write is what one Commit makes durable, all or nothing. It belongs to the
// store once handed over.
type Write struct {
	Room    ordering.RoomID
	Meta    *Room              // set: inserts or replaces the room's row
	Entries []Entry            // in acceptance order, whole runs
	Opened  []Opened           // lines that became readable later
	Finals  []linear.Final     // of entries that are here, or among Entries, in the list's order
	Control *control.Save      // of the control log
	Mark    []byte             // the final list's small state, replaced whole; nil: unchanged
	Seen    []ordering.Seen    // each in place of what was seen of that origin
	Install *Install           // after all of the above
	ReadTo  []byte             // a place: what stands up to it was read. How far was read never goes back
	Keys    []RoomKey          // room keys to keep
	Read    []ordering.Receipt // each in place of a lower one of the same person and device
	Put     map[string][]byte  // settings; a nil value deletes
}

// Install takes up a snapshot of the control log (PROTOCOL.md P8): it replaces
// the whole control log and the mark, and brings the final list up to there.
type Install struct {
	Saved   control.Saved
	Mark    []byte
	First   uint64 // the index of Order[0]
	Order   []ordering.Listed
	Entries []ordering.Hash  // the hash of each entry of Order
	Hashes  []ordering.Hash  // the order hash at each of Order
	Emitted []linear.Emitted // entries up to there that are not in the list took no index
}

// Entry is an accepted entry and what people read of it.
type Entry struct {
	Entry *ordering.Entry
	Run   int      // on the last entry of a run the number of its entries, else 0
	Sig   [64]byte // of that run
	Line  *Line    // nil: a control entry, which takes no line in the history
	// Beside says that the entry is of another branch than its origin's chain here
	// (a fork). It is not shown unless the final order names it.
	Beside bool
	// Quiet says that the line counts as read from the beginning.
	Quiet bool
}

// Line is the opened side of an entry.
type Line struct {
	Sender    string
	SenderKey [32]byte
	Text      string
	ReplyTo   *ordering.EntryID
	Readable  bool
	KeyID     ordering.KeyID // the room key that sealed it
}

// Opened replaces an unreadable line. One that stays unreadable may change its
// KeyID, so that Unreadable no longer returns it.
type Opened struct {
	ID   ordering.EntryID
	Line Line
}

// RoomKey is a key that seals the bodies of a room.
type RoomKey struct {
	ID  ordering.KeyID
	Key [32]byte
}

// Room is a room as this node keeps it.
type Room struct {
	ID     ordering.RoomID
	Name   string
	State  string
	Reason string
	Invite string
	Via    ordering.DeviceKey
	Target ordering.Vector
	Mode   ordering.Mode
}

// job is a change on its way through Run.
type job struct {
	bytes int
	apply func(context.Context, *writer) error
	err   error
	done  chan error // one slot
}

// Run commits what waits until ctx ends, then what still waits, and returns nil.
func (s *Store) Run(ctx context.Context) error {
	defer s.stop()
	for {
		select {
		case <-s.wake:
			s.commitWaiting()
		case <-ctx.Done():
			s.refuseMore()
			s.commitWaiting()
			return nil
		}
	}
}

// Commit returns nil only when w would survive a power cut. All callers that
// wait share one transaction. When the disk refuses, the error is a chat.Error of
// CodeDisk and nothing of w is kept; any other error is w's own fault. When ctx
// ends first, w may become durable or not.
func (s *Store) Commit(ctx context.Context, w *Write) error {
	n := 0
	for _, e := range w.Entries {
		n += len(e.Entry.Bytes())
	}
	if w.Control != nil {
		for _, r := range w.Control.Append {
			n += len(r.Data)
		}
	}
	return s.do(ctx, n, func(ctx context.Context, t *writer) error { return t.apply(ctx, w) })
}

// do waits for a place in the queue and for the job's end.
func (s *Store) do(ctx context.Context, bytes int, apply func(context.Context, *writer) error) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return fmt.Errorf("storage: wait for the disk: %w", ctx.Err())
	}
	j := &job{bytes: bytes, apply: apply, done: make(chan error, 1)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.waiting = append(s.waiting, j)
	s.mu.Unlock()
	s.rouse()
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("storage: wait for the disk: %w", ctx.Err())
	}
}

func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) refuseMore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// stop refuses further jobs and fails those that nobody will take.
func (s *Store) stop() {
	s.refuseMore()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.waiting {
		j.done <- ErrClosed
	}
	s.waiting = nil
}

// commitWaiting commits everything that waits, a group at a time.
func (s *Store) commitWaiting() {
	for {
		group := s.takeGroup()
		if len(group) == 0 {
			return
		}
		err := s.w.commit(context.Background(), group)
		if err == nil {
			s.transactions.Add(1)
		}
		for _, j := range group {
			switch {
			case err != nil:
				j.done <- diskError(s.dir, err)
			case j.err != nil:
				j.done <- j.err
			default:
				j.done <- nil
			}
		}
	}
}

// takeGroup takes all waiting jobs, up to maxGroupBytes.
func (s *Store) takeGroup() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, total := 0, 0
	for n < len(s.waiting) && total < maxGroupBytes {
		total += s.waiting[n].bytes
		n++
	}
	group := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	return group
}
