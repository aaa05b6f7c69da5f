package p2p

import (
	"container/list"
	"slices"
	"sync"

	"tertulia/ordering"
	"tertulia/p2p/wire"
)

// Limits of what waits for one peer. Runs are shared between the queues of all
// peers, so that many slow peers do not multiply the bytes.
const (
	maxQueuedSignals     = 1024    // signals and relays
	maxQueuedSignalBytes = 4 << 20 // bytes that they carry
	maxQueuedHints       = 4096    // pushes
	maxQueuedBytes       = 8 << 20 // bytes of their runs
	maxQueuedRooms       = 4096    // rooms with a Digest or Have waiting
	maxRecordLists       = 16      // PeerRecords frames
	maxQueuedEphemera    = 256     // Ephemerals, of all rooms
)

// outbox is the queue of frames to one peer. Signals and relays overtake all
// else but Rooms, in their own order; when they are too many, the oldest that
// is said again by itself is dropped. The rest keeps the order in which it is
// put in, with two exceptions: of a room's Digests and of its Haves only the
// last is kept, and when the pushes are too many the oldest is dropped.
type outbox struct {
	wake chan struct{} // one slot: there is something to take

	mu       sync.Mutex
	rooms    *wire.Rooms
	records  []*wire.PeerRecords
	signals  list.List // of *wire.Room
	carried  int       // bytes that the signals carry
	queue    list.List // of *wire.Room
	hints    list.List // of the queue's elements that are pushes
	bytes    int       // of the runs in hints
	control  map[controlKey]*list.Element
	ephemera list.List // of *wire.Room; they go last, and beyond the limit the oldest is dropped
}

// dropped counts what had to go for something newer.
type dropped struct{ hints, signals int }

type controlKey struct {
	room   ordering.RoomID
	digest bool // a Digest, else a Have
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), control: map[controlKey]*list.Element{}}
}

// put appends a message.
func (o *outbox) put(f *wire.Room) (gone dropped) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch m := f.Msg.(type) {
	case *ordering.Push:
		o.hints.PushBack(o.queue.PushBack(f))
		o.bytes += m.Run.Size()
		for o.hints.Len() > maxQueuedHints || o.bytes > maxQueuedBytes && o.hints.Len() > 1 {
			o.drop(o.hints.Front().Value.(*list.Element))
			gone.hints++
		}
	case *ordering.Digest:
		o.replace(controlKey{f.Room, true}, f)
	case *ordering.Have:
		key := controlKey{f.Room, false}
		if old, ok := o.control[key]; ok && old.Value.(*wire.Room).Msg.(*ordering.Have).Answer {
			f = &wire.Room{Room: f.Room, Msg: &ordering.Have{Vector: m.Vector, Answer: true}}
		}
		o.replace(key, f)
	case *ordering.Ephemeral:
		o.ephemera.PushBack(f)
		if o.ephemera.Len() > maxQueuedEphemera {
			o.ephemera.Remove(o.ephemera.Front())
			gone.hints++
		}
	case *ordering.Raft, *ordering.Bully, *ordering.Standing, *ordering.Relay,
		*ordering.Ack, *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
		o.signals.PushBack(f)
		o.carried += carries(f)
		for o.signals.Len() > maxQueuedSignals || o.carried > maxQueuedSignalBytes {
			o.dropSignal(o.leastMissed())
			gone.signals++
		}
	}
	o.poke()
	return gone
}

// carries returns the bytes that a signal or relay carries. What has a fixed
// size is bounded by number alone.
func carries(f *wire.Room) int {
	switch m := f.Msg.(type) {
	case *ordering.Raft:
		return len(m.Data)
	case *ordering.Relay:
		return len(m.Data)
	case *ordering.Bully, *ordering.Standing, *ordering.Push, *ordering.Digest, *ordering.Have, *ordering.Ephemeral,
		*ordering.Ack, *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
	}
	return 0
}

// leastMissed returns the oldest Raft or Standing, which their senders make up
// for, or where there is none the oldest signal. signals is not empty.
func (o *outbox) leastMissed() *list.Element {
	for e := o.signals.Front(); e != nil; e = e.Next() {
		switch e.Value.(*wire.Room).Msg.(type) {
		case *ordering.Raft, *ordering.Standing, *ordering.Ack:
			return e
		case *ordering.Bully, *ordering.Relay, *ordering.Push, *ordering.Digest, *ordering.Have, *ordering.Ephemeral,
			*ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
		}
	}
	return o.signals.Front()
}

func (o *outbox) dropSignal(e *list.Element) {
	o.signals.Remove(e)
	o.carried -= carries(e.Value.(*wire.Room))
}

func (o *outbox) replace(key controlKey, f *wire.Room) {
	if old, ok := o.control[key]; ok {
		o.queue.Remove(old)
	} else if len(o.control) >= maxQueuedRooms {
		return // the next round of anti-entropy says it again
	}
	o.control[key] = o.queue.PushBack(f)
}

// drop removes a push, which is the oldest.
func (o *outbox) drop(e *list.Element) {
	o.hints.Remove(o.hints.Front())
	o.queue.Remove(e)
	o.bytes -= e.Value.(*wire.Room).Msg.(*ordering.Push).Run.Size()
}

// share replaces the Rooms that wait.
func (o *outbox) share(rooms []ordering.RoomID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rooms = &wire.Rooms{IDs: rooms}
	o.poke()
}

// tell appends signed addresses; beyond the limit they are left out.
func (o *outbox) tell(r *wire.PeerRecords) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.records) < maxRecordLists {
		o.records = append(o.records, r)
		o.poke()
	}
}

// take removes the next frame, or returns nil.
func (o *outbox) take() wire.Frame {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.rooms; r != nil {
		o.rooms = nil
		return r
	}
	if e := o.signals.Front(); e != nil {
		o.dropSignal(e)
		return e.Value.(*wire.Room)
	}
	if len(o.records) > 0 {
		r := o.records[0]
		o.records = slices.Delete(o.records, 0, 1)
		return r
	}
	e := o.queue.Front()
	if e == nil {
		if e = o.ephemera.Front(); e == nil {
			return nil
		}
		return o.ephemera.Remove(e).(*wire.Room)
	}
	f := e.Value.(*wire.Room)
	switch f.Msg.(type) {
	case *ordering.Push:
		o.drop(e)
	case *ordering.Digest:
		o.queue.Remove(e)
		delete(o.control, controlKey{f.Room, true})
	case *ordering.Have:
		o.queue.Remove(e)
		delete(o.control, controlKey{f.Room, false})
	case *ordering.Raft, *ordering.Bully, *ordering.Standing, *ordering.Relay, *ordering.Ack, *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave, *ordering.Ephemeral: // never in queue
	}
	return f
}

// poke wakes who takes.
func (o *outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
