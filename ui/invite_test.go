package ui

import (
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"tertulia/node/invite"
)

// someInvite is a link to a room named Book circle.
func someInvite(expires time.Time) string {
	return invite.Link{Name: "Book circle", Expires: expires}.String()
}

// onTop lists the objects of a type in the sheet on top, in reading order.
func onTop[T fyne.CanvasObject](s *stage) []T {
	var out []T
	if top := s.win.win.Canvas().Overlays().Top(); top != nil {
		for _, o := range test.LaidOutObjects(top) {
			if o, ok := o.(T); ok && o.Visible() {
				out = append(out, o)
			}
		}
	}
	return out
}

// button is the one with this text in the sheet on top, nil when there is none.
func (s *stage) button(text string) *button {
	for _, b := range onTop[*button](s) {
		if b.Text == text {
			return b
		}
	}
	return nil
}
