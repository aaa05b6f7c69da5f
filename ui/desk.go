package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
)

// Raise brings the window to the front, from the tray too.
func (w *Window) Raise() {
	w.hidden = false
	w.look()
	w.win.Show()
	w.win.RequestFocus()
}

// OpenRoom brings the window to the front with a room in it.
func (w *Window) OpenRoom(room string) {
	w.Raise()
	if hasRoom(w.shown.view.Rooms, room) {
		w.openRoom(room)
	}
}

// OpenLink brings the window to the front and offers to join by an invite.
func (w *Window) OpenLink(link string) {
	w.Raise()
	w.OpenInvite(link)
}

// TrayChanged is to be called when the desktop's tray comes or goes.
func (w *Window) TrayChanged() {
	if w.hasTray() {
		w.buildTray()
		return
	}
	if w.hidden {
		w.Raise()
	}
}

func (w *Window) hasTray() bool { return w.config.HasTray != nil && w.config.HasTray() }

// buildTray puts the program into the desktop's tray.
func (w *Window) buildTray() {
	app, ok := w.app.(desktop.App)
	if !ok || !w.hasTray() {
		return
	}
	quit := fyne.NewMenuItem(tr(textQuit), w.win.Close)
	quit.IsQuit = true
	app.SetSystemTrayMenu(fyne.NewMenu(tr(textAppName), fyne.NewMenuItem(tr(textOpen), w.Raise), quit))
}

// close is what the window's close button does.
func (w *Window) close() {
	if !w.settings.CloseToTray || !w.hasTray() {
		w.win.Close()
		return
	}
	w.hidden = true
	w.look() // first: hiding takes a while
	w.win.Hide()
}
