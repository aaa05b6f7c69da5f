package ui

import (
	"fyne.io/fyne/v2"
)

// narrowWidth is where the rooms and the open room stop being side by side.
const narrowWidth float32 = 600

// panes lays out the rooms and the open room: side by side, or in a narrow
// window one of them, with a way back from the room to the rooms.
type panes struct {
	// OnChange is called when what is in the window has changed.
	OnChange func()

	side, room fyne.CanvasObject
	back       fyne.CanvasObject // in room, the way to the rooms
	narrow     bool
	rooms      bool // in a narrow window the rooms are shown
}

// Layout implements fyne.Layout.
func (p *panes) Layout(_ []fyne.CanvasObject, size fyne.Size) {
	if narrow := size.Width < narrowWidth; narrow != p.narrow {
		p.narrow = narrow
		defer p.OnChange()
	}
	show(p.back, p.narrow)
	show(p.side, !p.narrow || p.rooms)
	show(p.room, !p.narrow || !p.rooms)
	if p.narrow {
		put(p.side, 0, 0, size.Width, size.Height)
		put(p.room, 0, 0, size.Width, size.Height)
		return
	}
	put(p.side, 0, 0, sizeSidebar, size.Height)
	put(p.room, sizeSidebar, 0, size.Width-sizeSidebar, size.Height)
}

// MinSize implements fyne.Layout.
func (p *panes) MinSize([]fyne.CanvasObject) fyne.Size {
	return p.side.MinSize().Max(p.room.MinSize()).Max(fyne.NewSize(minWidth, minHeight))
}

func show(o fyne.CanvasObject, visible bool) {
	switch {
	case visible == o.Visible():
	case visible:
		o.Show()
	default:
		o.Hide()
	}
}

// showRooms is the way back in a narrow window.
func (w *Window) showRooms() { w.turn(true) }

// showRoomPane turns a narrow window to the open room.
func (w *Window) showRoomPane() { w.turn(false) }

func (w *Window) turn(rooms bool) {
	if rooms == w.panes.rooms || rooms && !w.panes.narrow {
		return
	}
	w.panes.rooms = rooms
	w.panes.Layout(nil, w.main.Size())
	w.paned()
	if rooms {
		w.win.Canvas().Focus(w.rooms.list)
	} else {
		w.win.Canvas().Focus(w.composer)
	}
}

// paned follows what has come into the window or gone out of it.
func (w *Window) paned() {
	w.rooms.set(w.shown.view, w.picked())
	show(w.header.invite, !w.panes.narrow) // its menu has it too
	w.header.root.Refresh()
	w.look()
}

// picked is the room that the list of rooms shows as open: in a narrow window
// none, so that each can be chosen.
func (w *Window) picked() string {
	if w.panes.narrow && w.panes.rooms {
		return ""
	}
	return w.shown.room
}

func (w *Window) setFront(front bool) {
	w.front = front
	w.look()
}

// look tells the loop whether the person has the open room before the eyes.
func (w *Window) look() {
	seen := w.front && !w.hidden && !(w.panes.narrow && w.panes.rooms)
	if w.loop.seen.Swap(seen) != seen {
		w.loop.ask(want{kind: wantLook})
	}
}
