package ui

import (
	"errors"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// notice is a bar that says what could not be done and what to do about it. It
// stays until it is closed or another one takes its place.
type notice struct {
	OnSize func() // called when the bar comes, goes or changes height; may be nil

	root *fyne.Container
	text *widget.RichText
}

func newNotice() *notice {
	n := &notice{text: widget.NewRichText()}
	n.text.Wrapping = fyne.TextWrapWord
	dismiss := newIconButton(tr(textClose), theme.CancelIcon(), n.hide)
	n.root = container.NewStack(newGround(colorNotice, 0),
		padded(0, 0, padEdge-8, 4, container.NewBorder(nil, nil, nil, container.NewCenter(dismiss), n.text)))
	n.root.Hide()
	return n
}

// fail shows an error in words for people.
func (n *notice) fail(err error) {
	message, hint := wordsOf(err)
	n.say(message, hint)
}

func (n *notice) say(message, hint string) {
	part := func(text string, bold bool) widget.RichTextSegment {
		return &widget.TextSegment{Text: text, Style: widget.RichTextStyle{
			Inline: true, ColorName: colorNoticeText, SizeName: theme.SizeNameText, TextStyle: fyne.TextStyle{Bold: bold},
		}}
	}
	n.text.Segments = []widget.RichTextSegment{part(message+" ", true), part(hint, false)}
	n.text.Refresh()
	n.root.Show()
	n.sized()
}

func (n *notice) hide() {
	if n.root.Visible() {
		n.root.Hide()
		n.sized()
	}
}

func (n *notice) sized() {
	if n.OnSize != nil {
		n.OnSize()
	}
}

// wordsOf is what to tell a person of err.
func wordsOf(err error) (message, hint string) {
	if e, ok := errors.AsType[*chat.Error](err); ok {
		return visibleLine(e.Message), visibleLine(e.Hint)
	}
	return tr(textFailed), tr(textFailedHint)
}
