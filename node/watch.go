package node

import (
	"context"
	"sync"

	"tertulia/chat"
	"tertulia/ordering"
)

// watchers are those who wait for changes and events. Nobody among them can slow
// the node down: a change is a flag, and a slow reader of events loses the
// oldest.
type watchers struct {
	mu      sync.Mutex
	closed  bool
	changes map[chan struct{}]struct{}
	events  map[chan chat.Event]struct{}
}

// Changes returns a channel with one place: something in View or in a page
// changed since it was last read. It is closed when ctx or the node ends.
func (n *Node) Changes(ctx context.Context) <-chan struct{} {
	return watch(ctx, &n.watchers, n.watchers.changes, 1)
}

// Events returns what happens at this node from now on. A reader more than
// eventsKept behind loses the oldest. It is closed when ctx or the node ends.
func (n *Node) Events(ctx context.Context) <-chan chat.Event {
	return watch(ctx, &n.watchers, n.watchers.events, eventsKept)
}

// watch adds a channel to a set of w until ctx ends.
func watch[T any](ctx context.Context, w *watchers, set map[chan T]struct{}, places int) <-chan T {
	c := make(chan T, places)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		close(c)
		return c
	}
	set[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, ok := set[c]; ok {
			delete(set, c)
			close(c)
		}
	})
	return c
}

func (n *Node) notify() {
	w := &n.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.changes {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (n *Node) emit(e chat.Event) {
	w := &n.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.events {
		for {
			select {
			case c <- e:
			default:
				select {
				case <-c:
				default:
				}
				continue
			}
			break
		}
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c := range w.changes {
		delete(w.changes, c)
		close(c)
	}
	for c := range w.events {
		delete(w.events, c)
		close(c)
	}
}

// reasons are the refusals that are counted, in a fixed order.
var reasons = [...]ordering.Reason{
	ordering.Duplicate, ordering.Fork, ordering.BadSignature, ordering.BadClientSignature, ordering.BadChain,
	ordering.BadDep, ordering.WrongTime, ordering.WrongRoom, ordering.Malformed, ordering.Oversize,
	ordering.NotMember, ordering.NotAllowed, ordering.TooMany, ordering.BadKind,
}

// count counts a refusal.
func (n *Node) count(reason ordering.Reason) {
	for i, r := range reasons {
		if r == reason {
			n.refusals[i].Add(1)
		}
	}
}
