package ui

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// paint is a widget drawn by hand: place is called for every change of size
// or theme, and answers with what to draw.
type paint struct {
	widget.BaseWidget

	min   fyne.Size
	place func(size fyne.Size) []fyne.CanvasObject
}

// CreateRenderer implements fyne.Widget.
func (p *paint) CreateRenderer() fyne.WidgetRenderer { return &paintRenderer{paint: p} }

type paintRenderer struct {
	paint   *paint
	objects []fyne.CanvasObject
}

func (r *paintRenderer) Layout(size fyne.Size)        { r.objects = r.paint.place(size) }
func (r *paintRenderer) MinSize() fyne.Size           { return r.paint.min }
func (r *paintRenderer) Objects() []fyne.CanvasObject { return r.objects }
func (r *paintRenderer) Destroy()                     {}
func (r *paintRenderer) Refresh() {
	r.objects = r.paint.place(r.paint.Size())
	canvas.Refresh(r.paint)
}

func put(o fyne.CanvasObject, x, y, w, h float32) fyne.CanvasObject {
	o.Resize(fyne.NewSize(w, h))
	o.Move(fyne.NewPos(x, y))
	return o
}

func write(t *canvas.Text, text string, c color.Color) *canvas.Text {
	t.Text, t.Color = text, c
	return t
}

// ground is a plain area in a colour of the theme.
type ground struct {
	widget.BaseWidget
	name   fyne.ThemeColorName
	radius float32
}

func newGround(name fyne.ThemeColorName, radius float32) *ground {
	g := &ground{name: name, radius: radius}
	g.ExtendBaseWidget(g)
	return g
}

// CreateRenderer implements fyne.Widget.
func (g *ground) CreateRenderer() fyne.WidgetRenderer {
	r := &groundRenderer{ground: g, rect: canvas.NewRectangle(theme.Color(g.name))}
	r.rect.CornerRadius = g.radius
	return r
}

type groundRenderer struct {
	ground *ground
	rect   *canvas.Rectangle
}

func (r *groundRenderer) Layout(size fyne.Size)        { r.rect.Resize(size) }
func (r *groundRenderer) MinSize() fyne.Size           { return fyne.Size{} }
func (r *groundRenderer) Objects() []fyne.CanvasObject { return []fyne.CanvasObject{r.rect} }
func (r *groundRenderer) Destroy()                     {}
func (r *groundRenderer) Refresh() {
	r.rect.FillColor = theme.Color(r.ground.name)
	r.rect.Refresh()
}

func padded(top, bottom, left, right float32, content fyne.CanvasObject) fyne.CanvasObject {
	return container.New(layout.NewCustomPaddedLayout(top, bottom, left, right), content)
}

// column stacks objects with a gap in pixels.
func column(gap float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedVBoxLayout(gap), objects...)
}

// paragraph is wrapped text of the theme's colours.
func paragraph(text string, size fyne.ThemeSizeName, c fyne.ThemeColorName, bold bool) *widget.RichText {
	t := widget.NewRichText(&widget.TextSegment{Text: text, Style: widget.RichTextStyle{
		ColorName: c, SizeName: size, TextStyle: fyne.TextStyle{Bold: bold},
	}})
	t.Wrapping = fyne.TextWrapWord
	return t
}

// fixedWidth gives its content a width and the height it then wants.
type fixedWidth float32

// Layout implements fyne.Layout.
func (w fixedWidth) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		width := min(float32(w), size.Width)
		o.Resize(fyne.NewSize(width, size.Height))
		o.Move(fyne.NewPos((size.Width-width)/2, 0))
	}
}

// MinSize implements fyne.Layout.
func (w fixedWidth) MinSize(objects []fyne.CanvasObject) fyne.Size {
	size := fyne.NewSize(float32(w), 0)
	for _, o := range objects {
		size.Height = max(size.Height, o.MinSize().Height)
	}
	return size
}

// relayout lays c out again after one of its objects came, went or changed
// size; unlike Refresh it draws nothing anew.
func relayout(c *fyne.Container) { c.Layout.Layout(c.Objects, c.Size()) }

// frame puts its second object between the first, at the top, and the third,
// at the bottom, without gaps.
type frame struct{}

// Layout implements fyne.Layout.
func (frame) Layout(o []fyne.CanvasObject, size fyne.Size) {
	top, bottom := o[0].MinSize().Height, o[2].MinSize().Height
	put(o[0], 0, 0, size.Width, top)
	put(o[1], 0, top, size.Width, max(size.Height-top-bottom, 0))
	put(o[2], 0, size.Height-bottom, size.Width, bottom)
}

// MinSize implements fyne.Layout.
func (frame) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	for _, o := range objects {
		m := o.MinSize()
		size = fyne.NewSize(max(size.Width, m.Width), size.Height+m.Height)
	}
	return size
}
