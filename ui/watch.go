package ui

import (
	"context"
	"sync/atomic"
	"time"
)

// How often a network that is looked at is read anew.
const (
	watchPause = 500 * time.Millisecond // at least so long between two readings
	watchEvery = 5 * time.Second        // without any change: round trips and clocks go on
)

// watch reads a room's network while somebody looks at it.
type watch struct {
	room  atomic.Pointer[string] // id of the room that is looked at, "" = none
	again chan struct{}          // one slot: read it anew
}

func newWatch() *watch {
	w := &watch{again: make(chan struct{}, 1)}
	w.room.Store(new(string))
	return w
}

// look begins to watch a room, "" ends it.
func (w *watch) look(room string) {
	w.room.Store(&room)
	w.poke()
}

// poke asks for another reading, if anybody looks.
func (w *watch) poke() {
	if *w.room.Load() == "" {
		return
	}
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// watchNetwork answers pokes, at most one in each watchPause, until ctx ends.
func (l *loop) watchNetwork(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			l.watch.poke()
			continue
		case <-l.watch.again:
		}
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		pause.Reset(watchPause)
		room := *l.watch.room.Load()
		if room == "" {
			continue
		}
		g, err := l.glanceAt(ctx, room)
		if ctx.Err() == nil {
			l.post(func() { l.seenNetwork(g, err) })
		}
	}
}
