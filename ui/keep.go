package ui

import (
	"maps"
	"reflect"
	"strings"

	"fyne.io/fyne/v2"

	"tertulia/chat"
)

// restore puts the window where s says it was. It is called before build.
func (w *Window) restore(s State) {
	w.drafts, w.places, w.wrote = map[string]draft{}, map[string]place{}, map[string]writers{}
	for id, r := range s.Rooms {
		if r.Draft != "" || r.ReplyTo != "" {
			w.drafts[id] = draft{r.Draft, quoteOf(r.ReplyTo, nil)}
		}
		if r.Top != "" {
			w.places[id] = place{r.Top, r.Bottom}
		}
	}
	w.loop.begin = want{room: s.Room, at: w.places[s.Room]}
	size := fyne.NewSize(1100, 760)
	if s.Width > 0 {
		size = fyne.NewSize(s.Width, s.Height)
	}
	w.kept.Store(&s)
	w.win.Resize(size)
}

// leave notes what is being written in the room that is open, and where it is
// read.
func (w *Window) leave(room string) {
	w.drafts[room] = draft{w.composer.Text, w.reply.to}
	w.notePlace(room)
}

func (w *Window) notePlace(room string) {
	w.places[room] = w.list.position()
}

// keep hands over how the window is now, if that has changed.
func (w *Window) keep() {
	if w.config.KeepState == nil || w.shown.room == "" {
		return
	}
	s := w.stateNow()
	if reflect.DeepEqual(s, *w.kept.Load()) {
		return
	}
	w.kept.Store(&s)
	w.config.KeepState(s)
}

func (w *Window) stateNow() State {
	size := w.win.Canvas().Size()
	s := State{Width: size.Width, Height: size.Height, Room: w.shown.room, Rooms: map[string]RoomState{}}
	w.notePlace(s.Room)
	for id, at := range w.places {
		if at != (place{}) {
			s.Rooms[id] = RoomState{Top: at.id, Bottom: at.bottom}
		}
	}
	note := func(id string, d draft) {
		r := s.Rooms[id]
		r.Draft, r.ReplyTo = d.text, d.reply.id
		if r == (RoomState{}) {
			delete(s.Rooms, id)
			return
		}
		s.Rooms[id] = r
	}
	for id, d := range w.drafts {
		note(id, d)
	}
	note(s.Room, draft{w.composer.Text, w.reply.to})
	maps.DeleteFunc(s.Rooms, func(id string, _ RoomState) bool { return !hasRoom(w.shown.view.Rooms, id) })
	return s
}

// withUnsent is s with messages that were not sent before what is being
// written.
func withUnsent(s *State, unsent []chat.Draft) State {
	out := *s
	out.Rooms = map[string]RoomState{}
	maps.Copy(out.Rooms, s.Rooms)
	texts := map[string][]string{}
	for _, d := range unsent {
		texts[d.Room] = append(texts[d.Room], d.Text)
		if r := out.Rooms[d.Room]; r.ReplyTo == "" {
			r.ReplyTo = d.ReplyTo
			out.Rooms[d.Room] = r
		}
	}
	for id, lines := range texts {
		r := out.Rooms[id]
		r.Draft = strings.TrimSpace(strings.Join(append(lines, r.Draft), "\n"))
		out.Rooms[id] = r
	}
	return out
}
