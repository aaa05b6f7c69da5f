package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// sheet is a small window within the window: a title, a body, buttons. What
// goes wrong in it is said in it.
type sheet struct {
	notice *notice
	popup  *widget.PopUp
	act    *widget.Button // nil in a sheet that only shows something
}

// newSheet makes a sheet whose dismiss button closes it. act, unless it is "",
// names a second button, which calls submit.
func newSheet(win fyne.Window, title, dismiss, act string, body fyne.CanvasObject, submit func()) *sheet {
	s := &sheet{notice: newNotice()}
	buttons := container.NewHBox(layout.NewSpacer(), widget.NewButton(dismiss, func() { s.hide() }))
	if act != "" {
		s.act = widget.NewButton(act, submit)
		s.act.Importance = widget.HighImportance
		buttons.Add(s.act)
	}
	head := paragraph(title, theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	content := container.New(fixedWidth(sizeForm), column(6, head, body, s.notice.root, padded(8, 0, 0, 0, buttons)))
	s.notice.OnSize = func() { s.popup.Resize(s.popup.MinSize()) }
	s.popup = widget.NewModalPopUp(padded(10, 14, 14, 14, content), win.Canvas())
	return s
}

func (s *sheet) show() { s.popup.Show() }
func (s *sheet) hide() { s.popup.Hide() }

// done is what to do with the answer to what the sheet asked for.
func (s *sheet) done(err error) {
	s.act.Enable()
	if err != nil {
		s.fail(err)
		return
	}
	s.hide()
}

func (s *sheet) fail(err error) { s.notice.fail(err) }
