package ui

import (
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
