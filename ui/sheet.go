package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// sheet is a small window within the window: a title, a body, buttons. What
// goes wrong in it is said in it. Enter does what act does, Escape closes the one
// on top.
type sheet struct {
	OnHide func() // called when the sheet is gone; may be nil

	notice  *notice
	popup   *widget.PopUp
	first   fyne.Focusable // where the cursor is when the sheet opens
	act     *button        // nil in a sheet that only shows something
	dismiss *button
	canvas  fyne.Canvas
	below   func(*fyne.KeyEvent) // who gets keys once the sheet is gone
}

// newSheet makes a sheet whose dismiss button closes it. act, unless it is "",
// names a second button, which calls submit.
func newSheet(win fyne.Window, title, dismiss, act string, body fyne.CanvasObject, submit func()) *sheet {
	return newSheetOf(win, sizeForm, title, dismiss, act, body, submit)
}

// newSheetOf makes a sheet of another width.
func newSheetOf(win fyne.Window, width float32, title, dismiss, act string, body fyne.CanvasObject, submit func()) *sheet {
	s := &sheet{notice: newNotice(), canvas: win.Canvas()}
	s.dismiss = newButton(dismiss, nil, s.hide)
	s.first = s.dismiss
	buttons := container.NewHBox(layout.NewSpacer(), s.dismiss)
	if act != "" {
		s.act = newButton(act, nil, submit)
		s.act.Importance = widget.HighImportance
		s.first = s.act
		buttons.Add(s.act)
	}
	head := paragraph(title, theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	content := container.New(fixedWidth(width), column(6, head, body, s.notice.root, padded(8, 0, 0, 0, buttons)))
	s.notice.OnSize = s.fit
	s.popup = widget.NewModalPopUp(padded(10, 14, 14, 14, content), s.canvas)
	s.popup.Hide()
	return s
}

func (s *sheet) show() {
	s.popup.Show()
	s.below = s.canvas.OnTypedKey()
	s.canvas.SetOnTypedKey(s.typed)
	s.canvas.Focus(s.first)
}

// fit gives the sheet the height that its body wants now.
func (s *sheet) fit() { s.popup.Resize(s.popup.MinSize()) }

// typed gets the keys that nothing in the sheet has a use for.
func (s *sheet) typed(e *fyne.KeyEvent) {
	if !s.popup.Visible() {
		s.below(e) // one further up was closed later than this one
		return
	}
	switch e.Name {
	case fyne.KeyEscape:
		s.hide()
	case fyne.KeyReturn, fyne.KeyEnter:
		if s.act != nil && !s.act.Disabled() {
			s.act.OnTapped()
		}
	}
}

func (s *sheet) hide() {
	if !s.popup.Visible() {
		return
	}
	s.popup.Hide()
	s.canvas.SetOnTypedKey(s.below)
	if s.OnHide != nil {
		s.OnHide()
	}
}

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

// roomFor is the height that a sheet on c can give to a body of so much.
func roomFor(c fyne.Canvas, height float32) float32 {
	const rest = 150 // title, buttons and the edge around
	return max(min(height, c.Size().Height-rest), 120)
}
