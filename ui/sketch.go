package ui

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
)

// sketch is a page of a known width that is drawn from top to bottom. It is as
// high as y when all is drawn, which the toolkit's wrapping text can tell only
// after it was laid out.
type sketch struct {
	width   float32
	y       float32
	objects []fyne.CanvasObject
}

// ink is how text is drawn.
type ink struct {
	size  float32
	color fyne.ThemeColorName
	bold  bool
}

func (k ink) text(s string) *canvas.Text {
	t := write(newText(k.size), s, theme.Color(k.color))
	t.TextStyle.Bold = k.bold
	return t
}

func (k ink) height() float32 { return textHeight(k.size) }

func textHeight(size float32) float32 { return fyne.MeasureText("M", size, fyne.TextStyle{}).Height }

func (s *sketch) add(o fyne.CanvasObject, x, y, w, h float32) {
	s.objects = append(s.objects, put(o, x, y, w, h))
}

// word draws one line at x, cut where it is wider than width, and returns how
// wide it is.
func (s *sketch) word(text string, k ink, x, y, width float32) float32 {
	t := k.text(fitLine(text, width, k.size, k.bold))
	m := t.MinSize()
	s.add(t, x, y, m.Width, m.Height)
	return m.Width
}

// prose draws wrapped text below all that is there.
func (s *sketch) prose(text string, k ink, x, width float32) {
	s.y += s.proseAt(text, k, x, s.y, width)
}

// proseAt draws wrapped text and returns how high it is.
func (s *sketch) proseAt(text string, k ink, x, y, width float32) float32 {
	size := k.size
	if k.bold {
		size *= 1.08 // wrap measures regular letters, which are narrower
	}
	lines, _ := wrap(text, width, size)
	for i, line := range lines {
		t := k.text(line)
		s.add(t, x, y+float32(i)*k.height(), t.MinSize().Width, k.height())
	}
	return float32(len(lines)) * k.height()
}

// card draws a ground behind what draw adds within it, as wide as width.
func (s *sketch) card(name fyne.ThemeColorName, x, width float32, draw func(x, width float32)) {
	const pad = 14
	ground := canvas.NewRectangle(theme.Color(name))
	ground.CornerRadius = radiusBubble
	top := s.y
	s.objects = append(s.objects, ground)
	s.y += pad - 2
	draw(x+pad, width-2*pad)
	s.y += pad - 2
	put(ground, x, top, width, s.y-top)
}

// dot is a filled circle for what is there, a ring for what is not.
func dot(c color.Color, filled bool) *canvas.Circle {
	circle := canvas.NewCircle(color.Transparent)
	circle.StrokeColor, circle.StrokeWidth = c, 2
	if filled {
		circle.FillColor = c
	}
	return circle
}

// board shows a sketch, and is as high as it.
type board struct {
	paint
	draw func(s *sketch)
}

func newBoard(draw func(s *sketch)) *board {
	b := &board{draw: draw}
	b.place = func(size fyne.Size) []fyne.CanvasObject { return b.sketch(size.Width).objects }
	b.ExtendBaseWidget(b)
	return b
}

// sketch draws for a width; the board then wants the height that this needs.
func (b *board) sketch(width float32) *sketch {
	s := &sketch{width: width}
	b.draw(s)
	b.min.Height = s.y
	return s
}
