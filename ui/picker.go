package ui

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// pickItem is one thing to choose: a room, or a message that was found.
type pickItem struct {
	title string
	when  string
	text  string
	hit   string // the part of text that was searched for, as it stands there
	who   string // what the mark's colour derives from
}

// picker is a field and, below it, what matches what is typed there. Up, Down
// and Enter choose without leaving the field.
type picker struct {
	OnType     func(text string) // without space around it
	OnPick     func(i int)
	OnClose    func()
	OnShortcut func(fyne.Shortcut) bool // as composer.OnShortcut; may be nil
	OnSize     func()                   // called when it wants another height; may be nil

	root   *fyne.Container
	entry  *pickEntry
	list   *widget.List
	box    *fyne.Container // around list
	none   *widget.RichText
	items  []pickItem
	chosen int
	most   int  // items in sight at once
	stale  bool // what matches is not known yet
	eager  bool // Enter was pressed meanwhile: the first that comes is picked
}

const pickHeight float32 = 50

func newPicker(hint string, most int) *picker {
	p := &picker{most: most}
	p.entry = &pickEntry{picker: p}
	p.entry.ExtendBaseWidget(p.entry)
	p.entry.SetPlaceHolder(hint)
	p.entry.OnChanged = func(text string) {
		p.stale, p.eager = true, false
		p.OnType(strings.TrimSpace(text))
	}
	p.list = widget.NewList(
		func() int { return len(p.items) },
		func() fyne.CanvasObject { return newPickCell() },
		func(i widget.ListItemID, o fyne.CanvasObject) { o.(*pickCell).set(p.items[i], i == p.chosen) },
	)
	p.list.HideSeparators = true
	p.list.OnSelected = func(i widget.ListItemID) {
		p.list.UnselectAll()
		p.choose(i)
		p.pick()
	}
	p.none = paragraph(tr(textNothing), theme.SizeNameCaptionText, colorMuted, false)
	p.box = container.New(&tall{}, p.list)
	shut := widget.NewButtonWithIcon("", theme.CancelIcon(), func() { p.OnClose() })
	shut.Importance = widget.LowImportance
	p.root = container.NewStack(newGround(theme.ColorNameOverlayBackground, 0),
		padded(6, 6, padEdge-4, 8, column(4, container.NewBorder(nil, nil, nil, shut, p.entry), p.box, p.none)))
	p.set(nil, false)
	return p
}

// set shows what there is to choose; asked says that nothing means nothing found.
func (p *picker) set(items []pickItem, asked bool) {
	p.items, p.chosen = items, 0
	p.box.Layout.(*tall).height = float32(min(len(items), p.most)) * (pickHeight + theme.Padding())
	p.box.Hidden = len(items) == 0
	p.none.Hidden = len(items) > 0 || !asked
	p.list.Refresh()
	p.list.ScrollToTop()
	p.root.Refresh()
	if p.OnSize != nil {
		p.OnSize()
	}
	p.stale = len(items) == 0 && !asked
	if p.eager && !p.stale {
		p.pick()
	}
}

func (p *picker) clear() {
	p.entry.SetText("")
	p.set(nil, false)
}

func (p *picker) choose(i int) {
	if i < 0 || i >= len(p.items) || i == p.chosen {
		return
	}
	was := p.chosen
	p.chosen = i
	p.list.RefreshItem(was)
	p.list.RefreshItem(i)
	p.list.ScrollTo(i)
}

// pick chooses what is marked, once it is known.
func (p *picker) pick() {
	p.eager = p.stale
	if !p.stale && p.chosen < len(p.items) {
		p.OnPick(p.chosen)
	}
}

// tall gives its content a height.
type tall struct{ height float32 }

// Layout implements fyne.Layout.
func (t *tall) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		put(o, 0, 0, size.Width, size.Height)
	}
}

// MinSize implements fyne.Layout.
func (t *tall) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(120, t.height) }

// pickEntry is the field of a picker.
type pickEntry struct {
	widget.Entry
	picker *picker
}

// TypedKey implements fyne.Focusable.
func (e *pickEntry) TypedKey(k *fyne.KeyEvent) {
	p := e.picker
	switch k.Name {
	case fyne.KeyUp:
		p.choose(p.chosen - 1)
	case fyne.KeyDown:
		p.choose(p.chosen + 1)
	case fyne.KeyPageUp:
		p.choose(max(p.chosen-p.most, 0))
	case fyne.KeyPageDown:
		p.choose(min(p.chosen+p.most, len(p.items)-1))
	case fyne.KeyReturn, fyne.KeyEnter:
		p.pick()
	case fyne.KeyEscape:
		p.OnClose()
	default:
		e.Entry.TypedKey(k)
	}
}

// TypedShortcut implements fyne.Shortcutable.
func (e *pickEntry) TypedShortcut(s fyne.Shortcut) {
	if e.picker.OnShortcut == nil || !e.picker.OnShortcut(s) {
		e.Entry.TypedShortcut(s)
	}
}

// pickCell draws one item.
type pickCell struct {
	paint
	item   pickItem
	chosen bool
}

func newPickCell() *pickCell {
	c := &pickCell{}
	c.min = fyne.NewSize(120, pickHeight)
	c.place = c.draw
	c.ExtendBaseWidget(c)
	return c
}

func (c *pickCell) set(item pickItem, chosen bool) {
	c.item, c.chosen = item, chosen
	c.Refresh()
}

func (c *pickCell) draw(size fyne.Size) []fyne.CanvasObject {
	var objects []fyne.CanvasObject
	if c.chosen {
		back := canvas.NewRectangle(theme.Color(theme.ColorNameSelection))
		back.CornerRadius = 8
		objects = append(objects, put(back, 0, 0, size.Width, size.Height))
	}
	add := func(t *canvas.Text, x, y float32) float32 {
		m := t.MinSize()
		objects = append(objects, put(t, x, y, m.Width, m.Height))
		return x + m.Width
	}
	const face, left, right = 8, 26, 8
	objects = append(objects, put(canvas.NewCircle(avatarColor(c.item.who)), 9, (size.Height-face)/2, face, face))
	clock := write(newText(textSizeTiny), c.item.when, theme.Color(colorMuted))
	w := clock.MinSize().Width
	add(clock, size.Width-right-w, 7)
	title := newText(textSizeSmall)
	title.TextStyle.Bold = true
	add(write(title, fitLine(c.item.title, size.Width-left-right-w-8, textSizeSmall, true), theme.Color(colorText)), left, 6)

	line := fitLine(c.item.text, size.Width-left-right-12, textSizeSmall, false)
	before, hit, after := line, "", ""
	if c.item.hit != "" {
		if b, a, ok := strings.Cut(line, c.item.hit); ok {
			before, hit, after = b, c.item.hit, a
		}
	}
	x := add(write(newText(textSizeSmall), before, theme.Color(colorMuted)), left, 26)
	bold := newText(textSizeSmall)
	bold.TextStyle.Bold = true
	x = add(write(bold, hit, theme.Color(theme.ColorNamePrimary)), x, 26)
	add(write(newText(textSizeSmall), after, theme.Color(colorMuted)), x, 26)
	return objects
}

func roomItem(r *chat.Room) pickItem {
	text, _ := roomPreview(r)
	item := pickItem{title: visibleLine(r.Name), text: text, who: r.ID}
	if r.Unread > 0 {
		item.when = textOfNew(r.Unread)
	}
	return item
}

// hitItem shows a message that was found by a text, in the words around the
// first of it.
func hitItem(m *chat.Message, text, title string, now time.Time) pickItem {
	const lead = 24 // characters before what was found
	item := pickItem{title: title, who: m.SenderID, when: textOfMoment(m.Time.Local(), now)}
	whole := []rune(visibleLine(m.Text))
	at, length := firstHit(whole, text)
	item.hit = string(whole[at : at+length])
	if from := at - lead; from > 0 {
		whole = append([]rune{'…'}, whole[from:]...)
	}
	item.text = string(whole[:min(len(whole), 200)])
	return item
}

// firstHit finds the first place where a word of text begins, regardless of case.
func firstHit(whole []rune, text string) (at, length int) {
	lower := slices.Clone(whole)
	for i := range lower {
		lower[i] = unicode.ToLower(lower[i])
	}
	at = len(whole)
	for word := range strings.FieldsSeq(text) {
		w := []rune(strings.ToLower(word))
		for i := 0; i+len(w) <= len(lower) && i < at; i++ {
			if slices.Equal(lower[i:i+len(w)], w) {
				at, length = i, len(w)
			}
		}
	}
	if length == 0 {
		return 0, 0
	}
	return at, length
}

// matches says whether every word of text is in name, regardless of case.
func matches(name, text string) bool {
	name = strings.ToLower(name)
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		if !strings.Contains(name, word) {
			return false
		}
	}
	return true
}
