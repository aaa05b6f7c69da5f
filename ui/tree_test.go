package ui

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
)

// each visits o and all that is drawn within it.
func each(o fyne.CanvasObject, visit func(fyne.CanvasObject)) {
	visit(o)
	switch o := o.(type) {
	case *fyne.Container:
		for _, c := range o.Objects {
			each(c, visit)
		}
	case fyne.Widget:
		for _, c := range test.WidgetRenderer(o).Objects() {
			each(c, visit)
		}
	}
}

// known fails the test where a widget asks for the painting of something else than
// itself, which no window has.
func known(t *testing.T, o fyne.CanvasObject) (painted int) {
	t.Helper()
	each(o, func(o fyne.CanvasObject) {
		w, ok := o.(fyne.Widget)
		if !ok {
			return
		}
		if r, ok := test.WidgetRenderer(w).(*paintRenderer); ok {
			painted++
			if r.paint.self != w {
				t.Errorf("a %T asks for the painting of a %T", w, r.paint.self)
			}
		}
	})
	return painted
}

func buttonsIn(o fyne.CanvasObject) (buttons []*widget.Button) {
	each(o, func(o fyne.CanvasObject) {
		switch b := o.(type) {
		case *widget.Button:
			buttons = append(buttons, b)
		case *button:
			buttons = append(buttons, &b.Button)
		}
	})
	return buttons
}

// wordsIn is what o says, its lines parted by spaces.
func wordsIn(o fyne.CanvasObject) string {
	words := ""
	each(o, func(o fyne.CanvasObject) {
		if t, ok := o.(*canvas.Text); ok {
			words += t.Text + " "
		}
	})
	return words
}
