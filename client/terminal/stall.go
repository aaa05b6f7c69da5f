package terminal

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// stall is what a person is told of messages that do not become final. Those of
// the last moments are no news.
type stall struct {
	tentative int              // messages shown that are not final
	timer     <-chan time.Time // runs while there are any
	told      string           // whom people were told the room waits for
}

// waitingFor is whom a room waits for.
type waitingFor struct{ roomID, names string }

// noteProgress takes the number of messages that are not final; final says that
// one became it just now.
func (t *talk) noteProgress(tentative int, final bool) {
	if t.cfg.JSON || t.cfg.Width == 0 {
		return
	}
	t.tentative = tentative
	switch {
	case tentative == 0:
		t.timer = nil
		if t.told != "" {
			t.told = ""
			t.print.status("all is final")
		}
	case final || t.timer == nil:
		t.timer = time.After(stillWait)
	}
}

// ask asks the node whom the room waits for, without waiting for the answer.
func (t *talk) ask(ctx context.Context) {
	t.timer = time.After(stillWait)
	room := t.room.ID
	t.wg.Go(func() {
		short, cancel := context.WithTimeout(ctx, stillWait)
		defer cancel()
		status, err := t.c.Status(short)
		if err != nil {
			return
		}
		for _, r := range status.Rooms {
			if r.ID != room {
				continue
			}
			select {
			case t.waiting <- waitingFor{room, strings.Join(r.WaitingFor, ", ")}:
			case <-ctx.Done():
			}
		}
	})
}

// tellWaiting tells whom the room waits for, unless that was told.
func (t *talk) tellWaiting(w waitingFor) {
	if w.names == "" || w.names == t.told || t.tentative == 0 || w.roomID != t.room.ID {
		return
	}
	t.told = w.names
	t.print.status(fmt.Sprintf("%d not final yet, waiting for %s", t.tentative, w.names))
}
