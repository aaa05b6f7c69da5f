package ui

import (
	"image/color"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// What is typed into, pressed and chosen in sheets. The toolkit gives a key to
// what has the focus and to nothing else; these hand on to the window what they
// have no use for, so that Enter and Escape do the same wherever the cursor is.

func passOn(from fyne.CanvasObject, e *fyne.KeyEvent) {
	c := fyne.CurrentApp().Driver().CanvasForObject(from)
	if c == nil {
		return
	}
	if typed := c.OnTypedKey(); typed != nil {
		typed(e)
	}
}

// entry is a line to type in.
type entry struct{ widget.Entry }

func newEntry(hint string) *entry {
	e := &entry{}
	e.ExtendBaseWidget(e)
	e.SetPlaceHolder(hint)
	return e
}

// TypedKey implements fyne.Focusable.
func (e *entry) TypedKey(k *fyne.KeyEvent) {
	if k.Name == fyne.KeyEscape {
		passOn(e, k)
		return
	}
	e.Entry.TypedKey(k)
}

// button is pressed by Enter as well as by the space bar, and then keeps the focus,
// which a ring shows: the toolkit's shade is not seen on every ground.
type button struct {
	widget.Button
	ring  *canvas.Rectangle
	label string // under the pointer a tip says it
	tip   *tip   // where it is said
}

func newButton(text string, icon fyne.Resource, tap func()) *button {
	b := &button{}
	b.ExtendBaseWidget(b)
	b.Text, b.Icon, b.OnTapped = text, icon, tap
	return b
}

// newIconButton is a button of a picture alone, without a ground.
func newIconButton(label string, icon fyne.Resource, tap func()) *button {
	b := newButton("", icon, tap)
	b.label = label
	b.Importance = widget.LowImportance
	return b
}

// CreateRenderer implements fyne.Widget.
func (b *button) CreateRenderer() fyne.WidgetRenderer {
	b.ring = canvas.NewRectangle(color.Transparent)
	b.ring.StrokeWidth = 2
	b.ring.Hide()
	return &ringed{b.Button.CreateRenderer(), b}
}

// FocusGained implements fyne.Focusable.
func (b *button) FocusGained() {
	b.mark(true)
	b.Button.FocusGained()
}

// FocusLost implements fyne.Focusable.
func (b *button) FocusLost() {
	b.mark(false)
	b.Button.FocusLost()
}

func (b *button) mark(focused bool) {
	if b.ring == nil {
		return
	}
	b.ring.StrokeColor = theme.Color(theme.ColorNamePrimary)
	if b.Importance == widget.HighImportance || b.Importance == widget.DangerImportance {
		b.ring.StrokeColor = theme.Color(theme.ColorNameForegroundOnPrimary)
	}
	b.ring.CornerRadius = theme.Size(theme.SizeNameButtonRadius) - ringInset
	b.ring.Hidden = !focused
}

const ringInset = 2

// ringed draws a button and, when it has the focus, a ring in it.
type ringed struct {
	fyne.WidgetRenderer
	button *button
}

// Layout implements fyne.WidgetRenderer.
func (r *ringed) Layout(size fyne.Size) {
	r.WidgetRenderer.Layout(size)
	put(r.button.ring, ringInset, ringInset, size.Width-2*ringInset, size.Height-2*ringInset)
}

// Objects implements fyne.WidgetRenderer.
func (r *ringed) Objects() []fyne.CanvasObject {
	return append(slices.Clone(r.WidgetRenderer.Objects()), r.button.ring)
}

// TypedKey implements fyne.Focusable.
func (b *button) TypedKey(k *fyne.KeyEvent) {
	switch k.Name {
	case fyne.KeyReturn, fyne.KeyEnter, fyne.KeySpace:
		if !b.Disabled() {
			b.untip()
			b.OnTapped() // Tapped takes the focus away, and with it the place among the fields
		}
	case fyne.KeyEscape:
		passOn(b, k)
	default:
		b.Button.TypedKey(k)
	}
}

// MouseIn implements desktop.Hoverable.
func (b *button) MouseIn(e *desktop.MouseEvent) {
	b.Button.MouseIn(e)
	driver := fyne.CurrentApp().Driver()
	c := driver.CanvasForObject(b)
	if b.label == "" || c == nil {
		return
	}
	content, ok := c.Content().(*fyne.Container)
	if !ok {
		return
	}
	if root, ok := content.Layout.(*whole); ok {
		b.tip = root.tip
		b.tip.show(b.label, driver.AbsolutePositionForObject(b).AddXY(b.Size().Width, b.Size().Height), content.Size())
	}
}

// MouseOut implements desktop.Hoverable.
func (b *button) MouseOut() {
	b.Button.MouseOut()
	b.untip()
}

// Tapped implements fyne.Tappable.
func (b *button) Tapped(e *fyne.PointEvent) {
	b.untip()
	b.Button.Tapped(e)
}

func (b *button) untip() {
	if b.tip != nil {
		b.tip.hide()
	}
}

// toggle is something that is on or off.
type toggle struct{ widget.Check }

func newToggle(text string, on bool) *toggle {
	t := &toggle{}
	t.ExtendBaseWidget(t)
	t.Text, t.Checked = text, on
	return t
}

// TypedKey implements fyne.Focusable.
func (t *toggle) TypedKey(k *fyne.KeyEvent) {
	if k.Name == fyne.KeySpace {
		t.Check.TypedKey(k)
		return
	}
	passOn(t, k)
}

// choice is one of a few things, side by side. Left and Right go from one to
// the next.
type choice struct {
	paint
	OnChange func(i int)

	names   []string
	chosen  int
	focused bool
}

func newChoice(chosen int, names ...string) *choice {
	c := &choice{names: names, chosen: chosen}
	widest := float32(0)
	for _, n := range names {
		widest = max(widest, textWidth(n, textSizeSmall, fyne.TextStyle{Bold: true}))
	}
	c.min = fyne.NewSize((widest+14)*float32(len(names)), 34)
	c.place = c.draw
	c.ExtendBaseWidget(c)
	return c
}

func (c *choice) draw(size fyne.Size) []fyne.CanvasObject {
	back := canvas.NewRectangle(theme.Color(theme.ColorNameButton))
	back.CornerRadius = 10
	if c.focused {
		back.StrokeColor, back.StrokeWidth = theme.Color(theme.ColorNameFocus), 3
	}
	objects := []fyne.CanvasObject{put(back, 0, 0, size.Width, size.Height)}
	w := size.Width / float32(len(c.names))
	for i, name := range c.names {
		text := write(newText(textSizeSmall), name, theme.Color(colorText))
		x := w * float32(i)
		if i == c.chosen {
			text.TextStyle.Bold = true
			text.Color = theme.Color(theme.ColorNameForegroundOnPrimary)
			mark := canvas.NewRectangle(theme.Color(theme.ColorNamePrimary))
			mark.CornerRadius = 8
			objects = append(objects, put(mark, x+3, 3, w-6, size.Height-6))
		}
		m := text.MinSize()
		objects = append(objects, put(text, x+(w-m.Width)/2, (size.Height-m.Height)/2, m.Width, m.Height))
	}
	return objects
}

// set chooses without telling.
func (c *choice) set(i int) {
	if i < 0 || i >= len(c.names) || i == c.chosen {
		return
	}
	c.chosen = i
	c.Refresh()
}

func (c *choice) pick(i int) {
	before := c.chosen
	if c.set(i); c.chosen != before && c.OnChange != nil {
		c.OnChange(i)
	}
}

// Tapped implements fyne.Tappable.
func (c *choice) Tapped(e *fyne.PointEvent) {
	if on := fyne.CurrentApp().Driver().CanvasForObject(c); on != nil {
		on.Focus(c)
	}
	c.pick(int(e.Position.X / (c.Size().Width / float32(len(c.names)))))
}

// Cursor implements desktop.Cursorable.
func (c *choice) Cursor() desktop.Cursor { return desktop.PointerCursor }

// FocusGained implements fyne.Focusable.
func (c *choice) FocusGained() {
	c.focused = true
	c.Refresh()
}

// FocusLost implements fyne.Focusable.
func (c *choice) FocusLost() {
	c.focused = false
	c.Refresh()
}

// TypedRune implements fyne.Focusable.
func (c *choice) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (c *choice) TypedKey(k *fyne.KeyEvent) {
	switch k.Name {
	case fyne.KeyLeft:
		c.pick(c.chosen - 1)
	case fyne.KeyRight:
		c.pick(c.chosen + 1)
	default:
		passOn(c, k)
	}
}

// cardWords are what a card says.
type cardWords struct {
	who   string // what the face's colour derives from
	title string
	note  string // muted, after the title
	below string
	mono  bool                // below is read letter by letter
	dot   fyne.ThemeColorName // at the face, "" = none
}

// card is a face, a line of words beside it and a smaller one below.
type card struct {
	paint
	cardWords
}

func newCard(words cardWords) *card {
	c := &card{cardWords: words}
	c.min = fyne.NewSize(160, 46)
	c.place = c.draw
	c.ExtendBaseWidget(c)
	return c
}

func (c *card) draw(size fyne.Size) []fyne.CanvasObject {
	const left = sizeAvatar + 12
	objects := face(c.who, c.title, 0, (size.Height-sizeAvatar)/2, sizeAvatar)
	if c.dot != "" {
		objects = append(objects, presence(c.dot, theme.ColorNameOverlayBackground, sizeAvatar, (size.Height+sizeAvatar)/2)...)
	}
	title := newText(textSizeBody)
	title.TextStyle.Bold = true
	room := size.Width - left
	write(title, fitLine(c.title, room, textSizeBody, true), theme.Color(colorText))
	m := title.MinSize()
	objects = append(objects, put(title, left, 3, m.Width, m.Height))
	if rest := room - m.Width - 8; c.note != "" && rest > 30 {
		note := write(newText(textSizeSmall), fitLine(c.note, rest, textSizeSmall, false), theme.Color(colorMuted))
		n := note.MinSize()
		objects = append(objects, put(note, left+m.Width+8, 3+m.Height-n.Height-1, n.Width, n.Height))
	}
	below := newText(textSizeSmall)
	if c.mono {
		below.TextSize, below.TextStyle.Monospace = textSizeTiny, true
		write(below, c.below, theme.Color(colorMuted))
	} else {
		write(below, fitLine(c.below, room, textSizeSmall, false), theme.Color(colorMuted))
	}
	b := below.MinSize()
	return append(objects, put(below, left, size.Height-b.Height-4, b.Width, b.Height))
}

// face is an avatar: a disc with the first letter of a name.
func face(who, name string, x, y, size float32) []fyne.CanvasObject {
	letter := write(newText(size*0.39), initials(name), onAvatar)
	letter.TextStyle.Bold = true
	m := letter.MinSize()
	return []fyne.CanvasObject{
		put(canvas.NewCircle(avatarColor(who)), x, y, size, size),
		put(letter, x+(size-m.Width)/2, y+(size-m.Height)/2, m.Width, m.Height),
	}
}

// presence is a dot at the lower right corner of a face, in a ring of the ground
// it lies on.
func presence(dot, ground fyne.ThemeColorName, right, bottom float32) []fyne.CanvasObject {
	const ring, core = 14, 9
	x, y := right-ring+2, bottom-ring+2
	return []fyne.CanvasObject{
		put(canvas.NewCircle(theme.Color(ground)), x, y, ring, ring),
		put(canvas.NewCircle(theme.Color(dot)), x+(ring-core)/2, y+(ring-core)/2, core, core),
	}
}
