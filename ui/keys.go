package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"

	"tertulia/chat"
)

// shortcuts are the window's, which work wherever the cursor is.
func (w *Window) shortcuts() map[desktop.CustomShortcut]func() {
	return map[desktop.CustomShortcut]func(){
		{KeyName: fyne.KeyF, Modifier: fyne.KeyModifierShortcutDefault}:     w.openFinder,
		{KeyName: fyne.KeyI, Modifier: fyne.KeyModifierShortcutDefault}:     w.openNetwork,
		{KeyName: fyne.KeyK, Modifier: fyne.KeyModifierShortcutDefault}:     w.openSwitcher,
		{KeyName: fyne.KeyUp, Modifier: fyne.KeyModifierAlt}:                func() { w.stepRoom(-1) },
		{KeyName: fyne.KeyDown, Modifier: fyne.KeyModifierAlt}:              func() { w.stepRoom(1) },
		{KeyName: fyne.KeyLeft, Modifier: fyne.KeyModifierAlt}:              w.showRooms,
		{KeyName: fyne.KeyComma, Modifier: fyne.KeyModifierShortcutDefault}: w.showSettings,
	}
}

func (w *Window) addShortcuts() {
	for s, do := range w.shortcuts() {
		w.win.Canvas().AddShortcut(&s, func(fyne.Shortcut) { do() })
	}
	w.win.Canvas().SetOnTypedKey(w.typedKey)
	w.win.Canvas().SetOnTypedRune(w.typedRune)
}

// typedKey gets the keys that nothing has the focus for, as after a click on a
// button.
func (w *Window) typedKey(e *fyne.KeyEvent) {
	switch e.Name {
	case fyne.KeyEscape:
		w.escape()
	case fyne.KeyPageUp, fyne.KeyPageDown, fyne.KeyHome, fyne.KeyEnd:
		if w.atRoom() {
			w.list.TypedKey(e)
		}
	}
}

// typedRune is the same of what is written: it is meant for the open room.
func (w *Window) typedRune(r rune) {
	if w.atRoom() && !w.composer.Disabled() {
		w.win.Canvas().Focus(w.composer)
		w.composer.TypedRune(r)
	}
}

// atRoom says that the messages of a room are in the window, and nothing over
// them.
func (w *Window) atRoom() bool {
	return w.main.Visible() && w.chat.Visible() && !(w.panes.narrow && w.panes.rooms) && w.win.Canvas().Overlays().Top() == nil
}

// shortcut does what a shortcut of the window asks for; false when it is none
// of them. A field that is typed in gets shortcuts before the window does.
func (w *Window) shortcut(s fyne.Shortcut) bool {
	c, ok := s.(*desktop.CustomShortcut)
	if !ok {
		return false
	}
	do := w.shortcuts()[*c]
	if do == nil || c.KeyName == fyne.KeyLeft && !w.panes.narrow { // which fields have a use for
		return false
	}
	do()
	return true
}

// escape leaves what was begun last: a search, an answer, a look at history.
func (w *Window) escape() {
	switch {
	case w.network.Visible():
		w.closeNetwork()
	case w.finder.root.Visible():
		w.closeFinder()
	case w.reply.to.id != "":
		w.answer(quote{})
	case w.list.unlight():
	case w.panes.narrow && !w.panes.rooms:
		w.showRooms()
	case !w.list.stuck:
		w.toNewest()
	}
}

// stepRoom opens the room that is so many places further down the list.
func (w *Window) stepRoom(by int) {
	rooms := w.shown.view.Rooms
	for i := range rooms {
		if rooms[i].ID == w.shown.room && i+by >= 0 && i+by < len(rooms) {
			w.openRoom(rooms[i+by].ID)
			return
		}
	}
}

func (w *Window) buildFinder() {
	w.finder = newPicker(tr(textSearchHint), 4)
	w.finder.root.Hide()
	w.finder.OnType = w.searchRoom
	w.finder.OnPick = func(i int) { w.goTo(w.hits[i].ID) }
	w.finder.OnClose = w.closeFinder
	w.finder.OnShortcut = w.shortcut
	w.finder.OnSize = func() { relayout(w.chat) }
}

func (w *Window) openFinder() {
	if !w.main.Visible() {
		return
	}
	w.closeNetwork()
	w.finder.root.Show()
	relayout(w.chat)
	w.win.Canvas().Focus(w.finder.entry)
}

func (w *Window) closeFinder() {
	if !w.finder.root.Visible() {
		return
	}
	w.finder.clear()
	w.finder.root.Hide()
	relayout(w.chat)
	w.win.Canvas().Focus(w.composer)
}

func (w *Window) searchRoom(text string) {
	w.ask(chat.SearchQuery{Text: text, Room: w.shown.room}, func(hits []chat.Message) {
		w.hits = hits
		items := make([]pickItem, len(hits))
		for i := range hits {
			items[i] = hitItem(&hits[i], text, visibleLine(hits[i].Sender), w.loop.now())
		}
		w.finder.set(items, text != "")
	})
}

// ask searches; use gets what is found, unless another search was begun since.
func (w *Window) ask(q chat.SearchQuery, use func([]chat.Message)) {
	w.query, w.onFound = q, use
	if q.Text == "" {
		use(nil)
		return
	}
	w.loop.search(q)
}

func (w *Window) found(q chat.SearchQuery, hits []chat.Message, err error) {
	switch {
	case q != w.query:
	case err != nil:
		w.notice.fail(err)
	default:
		w.onFound(hits)
	}
}

// openSwitcher offers the rooms by name, and what was said in any of them.
func (w *Window) openSwitcher() {
	if !w.main.Visible() {
		return
	}
	w.closeFinder()
	type place struct{ room, message string }
	var (
		s      *sheet
		places []place
	)
	p := newPicker(tr(textSwitchHint), 7)
	fill := func(text string, hits []chat.Message, searched bool) {
		var items []pickItem
		places = places[:0]
		for i := range w.shown.view.Rooms {
			if r := &w.shown.view.Rooms[i]; matches(r.Name, text) {
				items = append(items, roomItem(r))
				places = append(places, place{room: r.ID})
			}
		}
		for i := range hits {
			m := &hits[i]
			items = append(items, hitItem(m, text, visibleLine(m.Sender)+", "+visibleLine(m.Room), w.loop.now()))
			places = append(places, place{room: m.RoomID, message: m.ID})
		}
		p.set(items, searched && text != "")
	}
	hide := func() {
		s.hide()
		w.win.Canvas().Focus(w.composer)
	}
	p.OnType = func(text string) {
		fill(text, nil, false)
		w.ask(chat.SearchQuery{Text: text}, func(hits []chat.Message) { fill(text, hits, true) })
	}
	p.OnPick = func(i int) {
		to := places[i]
		hide()
		if to.message == "" {
			w.openRoom(to.room)
			return
		}
		w.loop.ask(want{kind: wantMessage, room: to.room, id: to.message})
	}
	p.OnClose = hide
	s = newSheet(w.win, tr(textRooms), tr(textClose), "", p.root, nil)
	p.OnSize = func() { s.popup.Resize(s.popup.MinSize()) }
	fill("", nil, false)
	s.show()
	w.win.Canvas().Focus(p.entry)
}
