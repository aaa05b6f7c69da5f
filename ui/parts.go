package ui

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// paint is a widget drawn by hand: place is called for every change of size
// or theme, and answers with what to draw.
type paint struct {
	widget.BaseWidget

	self  fyne.Widget // what embeds this
	min   fyne.Size
	place func(size fyne.Size) []fyne.CanvasObject
}

// ExtendBaseWidget is to be called with the widget that embeds p: only by that does
// the toolkit know what has to be painted anew.
func (p *paint) ExtendBaseWidget(w fyne.Widget) {
	p.self = w
	p.BaseWidget.ExtendBaseWidget(w)
}

// CreateRenderer implements fyne.Widget.
func (p *paint) CreateRenderer() fyne.WidgetRenderer { return &paintRenderer{paint: p} }

type paintRenderer struct {
	paint   *paint
	size    fyne.Size // for which the objects were placed
	objects []fyne.CanvasObject
}

// Layout keeps the objects where the size is the same: the toolkit asks for it when
// it meets an object for the first time, and would never come to rest.
func (r *paintRenderer) Layout(size fyne.Size) {
	if r.objects == nil || size != r.size {
		r.size, r.objects = size, r.paint.place(size)
	}
}

func (r *paintRenderer) MinSize() fyne.Size           { return r.paint.min }
func (r *paintRenderer) Objects() []fyne.CanvasObject { return r.objects }
func (r *paintRenderer) Destroy()                     {}
func (r *paintRenderer) Refresh() {
	r.size = r.paint.Size()
	r.objects = r.paint.place(r.size)
	canvas.Refresh(r.paint.self)
}

// tappable is a paint that can be clicked.
type tappable struct {
	paint
	OnTap func()
}

// Tapped implements fyne.Tappable.
func (t *tappable) Tapped(*fyne.PointEvent) { t.OnTap() }

// Cursor implements desktop.Cursorable.
func (t *tappable) Cursor() desktop.Cursor { return desktop.PointerCursor }

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

// paragraphOff is a paragraph of one line.
func paragraphOff(text string, size fyne.ThemeSizeName, c fyne.ThemeColorName, bold bool) *widget.RichText {
	t := paragraph(text, size, c, bold)
	t.Wrapping = fyne.TextWrapOff
	return t
}

// setParagraph gives a paragraph another text.
func setParagraph(t *widget.RichText, text string) {
	t.Segments[0].(*widget.TextSegment).Text = text
	t.Refresh()
}

func enable(w fyne.Disableable, on bool) {
	if on {
		w.Enable()
	} else {
		w.Disable()
	}
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
// size; unlike Refresh it draws nothing anew. The window is painted: an object that
// comes for the first time cannot ask for that itself, since the toolkit knows only
// what it has painted to be in a window.
func relayout(c *fyne.Container) {
	c.Layout.Layout(c.Objects, c.Size())
	if c.Visible() {
		c.Hide()
		c.Show()
	}
}

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

// tip is a line of words beside the pointer, over what else is drawn.
type tip struct {
	root *fyne.Container
	rect *canvas.Rectangle
	text *canvas.Text
}

func newTip() *tip {
	t := &tip{rect: canvas.NewRectangle(color.Transparent), text: newText(textSizeSmall)}
	t.rect.CornerRadius = 6
	t.root = bare(t.rect, t.text)
	t.root.Hide()
	return t
}

// show puts text below at, its right edge there, within an area.
func (t *tip) show(text string, at fyne.Position, area fyne.Size) {
	if t.root.Visible() && t.text.Text == text && t.root.Position() == at {
		return
	}
	write(t.text, text, theme.Color(theme.ColorNameBackground))
	t.rect.FillColor = theme.Color(theme.ColorNameForeground)
	m := t.text.MinSize()
	w, h := m.Width+16, m.Height+8
	t.root.Move(at)
	x := min(max(at.X-w, 4), max(area.Width-w-4, 4)) - at.X
	y := float32(4)
	if at.Y+y+h > area.Height {
		y = -h - 30
	}
	put(t.rect, x, y, w, h)
	put(t.text, x+8, y+4, m.Width, m.Height)
	t.root.Show()
	t.rect.Refresh()
	t.text.Refresh()
}

func (t *tip) hide() {
	if t.root.Visible() {
		t.root.Hide()
	}
}

// whole lays out all that is in the window: the body, below it the notice, and
// over both the tip, which finds its own place.
type whole struct {
	// OnSize is called when the window has another size.
	OnSize func()

	tip  *tip
	size fyne.Size
}

// Layout implements fyne.Layout.
func (l *whole) Layout(o []fyne.CanvasObject, size fyne.Size) {
	notice := float32(0)
	if o[1].Visible() {
		notice = o[1].MinSize().Height
	}
	put(o[0], 0, 0, size.Width, size.Height-notice)
	put(o[1], 0, size.Height-notice, size.Width, notice)
	if size != l.size {
		l.size = size
		l.OnSize()
	}
}

// MinSize implements fyne.Layout.
func (l *whole) MinSize(o []fyne.CanvasObject) fyne.Size {
	size := o[0].MinSize()
	if o[1].Visible() {
		notice := o[1].MinSize()
		size = fyne.NewSize(max(size.Width, notice.Width), size.Height+notice.Height)
	}
	return size
}

// strip is a line of calm words across the room; it is gone when there are none.
type strip struct {
	root *fyne.Container
	text *widget.RichText
}

func newStrip() *strip {
	s := &strip{text: paragraph("", theme.SizeNameCaptionText, colorNoticeText, false)}
	s.root = container.NewStack(newGround(colorNotice, 0), padded(-4, -4, padEdge-8, padEdge-8, s.text))
	s.root.Hide()
	return s
}

// set tells whether the strip wants another height.
func (s *strip) set(text string) bool {
	segment := s.text.Segments[0].(*widget.TextSegment)
	if segment.Text == text {
		return false
	}
	segment.Text = text
	s.text.Refresh()
	s.root.Hidden = text == ""
	s.root.Refresh()
	return true
}

// replyBar says above the composer what is being answered.
type replyBar struct {
	OnCancel func()

	root *fyne.Container
	line *paint
	to   quote
}

func newReplyBar() *replyBar {
	b := &replyBar{}
	b.line = &paint{min: fyne.NewSize(120, 36), place: b.place}
	b.line.ExtendBaseWidget(b.line)
	cancel := newIconButton(tr(textCancelReply), theme.CancelIcon(), func() { b.OnCancel() })
	b.root = container.NewBorder(nil, nil, nil, cancel, b.line)
	b.root.Hide()
	return b
}

// set tells whether the bar came or went.
func (b *replyBar) set(to quote) bool {
	if b.to == to {
		return false
	}
	b.to = to
	b.line.Refresh()
	was := b.root.Visible()
	if to.id == "" {
		b.root.Hide()
	} else {
		b.root.Show()
	}
	return was != b.root.Visible()
}

func (b *replyBar) place(size fyne.Size) []fyne.CanvasObject {
	bar := canvas.NewRectangle(authorColor(b.to.who))
	bar.CornerRadius = 1.5
	name := newText(textSizeSmall)
	name.TextStyle.Bold = true
	write(name, fitLine(tr(textReplyTo, args{"Name": b.to.name}), size.Width-16, textSizeSmall, true), authorColor(b.to.who))
	text := write(newText(textSizeSmall), fitLine(b.to.text, size.Width-16, textSizeSmall, false), theme.Color(colorMuted))
	h := name.MinSize().Height
	return []fyne.CanvasObject{
		put(bar, 0, 0, 3, size.Height),
		put(name, 12, size.Height/2-h, size.Width-16, h),
		put(text, 12, size.Height/2, size.Width-16, h),
	}
}

// popMenu shows a menu at a place, or as near to it as leaves air at the edges.
func popMenu(c fyne.Canvas, at fyne.Position, items ...*fyne.MenuItem) {
	const air = 8
	menu := widget.NewPopUpMenu(fyne.NewMenu("", items...), c)
	room := c.Size().Subtract(menu.MinSize())
	menu.ShowAtPosition(fyne.NewPos(max(min(at.X, room.Width-air), 0), max(min(at.Y, room.Height-air), 0)))
}
