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

// Limits of the message list.
const (
	maxShapes   = 2000 // rows whose measure is kept
	maxViews    = 120  // row views kept for reuse
	nearEndRows = 25   // so close to an end of the loaded rows, more are asked for
)

// messageList shows rows of unknown height, of which only those in view are
// measured and drawn. It keeps the row at the top of the view and where its
// upper edge is; all else follows from these two. While stuck to the end it
// follows new rows; while history is read nothing moves, whatever is added
// before, between or after the rows in view.
type messageList struct {
	widget.BaseWidget

	// OnOlder and OnNewer ask for rows beyond the loaded ones, at most once
	// until the next setRows.
	OnOlder, OnNewer func()
	// OnStuck is called when the list begins or ceases to follow the end.
	OnStuck func(stuck bool)
	// OnView is called with the keys of the messages in view, topmost first.
	OnView func(keys []string)
	// OnMenu is called for a right click on a message; link is the address
	// under the pointer, "" when there is none.
	OnMenu func(key, link string, at fyne.Position)
	// OnLink is called for a click on an address, OnDay for one on a day, as
	// dayOf writes it.
	OnLink func(link string)
	OnDay  func(day string)
	// OnQuote is called with the key of an answered message whose quote was
	// clicked.
	OnQuote func(key string)
	// OnHome and OnEnd ask for the ends of the room where they are not loaded.
	OnHome, OnEnd func()
	// OnSeek asks for the rows around the message number n of the room, 0 first,
	// to which the bar was dragged; at most once until the next setRows, and
	// once more when the bar is let go.
	OnSeek func(n uint64)
	// OnEscape is called for the Escape key.
	OnEscape func()
	// OnFocus is called when the list was clicked.
	OnFocus func()

	rows         []row
	older, newer bool   // there is more beyond the loaded rows
	before, all  uint64 // messages of the room before the loaded ones, and in all; 0 = not told
	messages     int    // among rows
	askedOlder   bool
	askedNewer   bool
	askedSeek    bool
	unfolded     map[string]bool // long messages shown in full, by key

	anchor int     // index of the first row in view
	offset float32 // of its upper edge below the upper edge of the view
	stuck  bool

	shapes  map[string]shape
	metrics metrics
	look    int // counts changes of theme

	views   map[string]*rowView // in view, by row key
	spare   []*rowView
	content *fyne.Container
	bar     *canvas.Rectangle
	barDrag bool
	seek    uint64 // where the bar was dragged to beyond the loaded rows, counted from 1; 0 = nowhere
	cursor  desktop.Cursor
	tip     *tip
	lit     string // key of the row that was jumped to
	last    int    // index after the last row in view
}

func newMessageList() *messageList {
	l := &messageList{
		stuck:   true,
		shapes:  map[string]shape{},
		views:   map[string]*rowView{},
		content: bare(),
		bar:     canvas.NewRectangle(color.Transparent),
		tip:     newTip(),
		cursor:  desktop.DefaultCursor,
	}
	l.bar.CornerRadius = 3
	l.ExtendBaseWidget(l)
	return l
}

// setRows replaces the rows. The message at the top of the view stays where it
// is, unless the list is stuck to the end. If that message has become final
// with this change, and so may have moved, one in view that has not stays
// instead.
func (l *messageList) setRows(rows []row, older, newer bool) {
	view := l.reference()
	l.rows, l.older, l.newer = rows, older, newer
	l.askedOlder, l.askedNewer, l.askedSeek = false, false, false
	l.count()
	if newer {
		l.setStuck(false)
	}
	if !l.stuck {
		if i, e := steady(rows, view); i >= 0 {
			l.anchor, l.offset = i, e.bottom-l.shape(i).height
		}
	}
	l.tip.hide()
	l.settle()
}

// count counts the messages among the rows, and forgets of those that are gone
// that they were unfolded.
func (l *messageList) count() {
	unfolded := map[string]bool{}
	l.messages = 0
	for i := range l.rows {
		if r := &l.rows[i]; r.isMessage() {
			l.messages++
			if l.unfolded[r.key] {
				unfolded[r.key] = true
			}
		}
	}
	l.unfolded = unfolded
}

// edge is where the lower edge of a message in view is. The lower edge is what
// must not move: a row's upper part grows and shrinks with the rows before it.
type edge struct {
	key    string
	tent   bool
	bottom float32
}

// reference lists the messages in view, topmost first.
func (l *messageList) reference() []edge {
	var edges []edge
	y := l.offset
	for i := l.anchor; i < l.last && i < len(l.rows); i++ {
		y += l.shape(i).height
		if r := &l.rows[i]; r.isMessage() && y > 0 {
			edges = append(edges, edge{key: r.key, tent: r.tent(), bottom: y})
		}
	}
	return edges
}

// steady finds in rows the first of the messages in view that is as final as
// it was; when all became final, the first. The index is -1 when none is there.
func steady(rows []row, view []edge) (int, edge) {
	at := make(map[string]int, len(rows))
	for i := range rows {
		at[rows[i].key] = i
	}
	first, which := -1, edge{}
	for _, e := range view {
		i, ok := at[e.key]
		if ok && rows[i].tent() == e.tent {
			return i, e
		}
		if ok && first < 0 {
			first, which = i, e
		}
	}
	return first, which
}

// clear empties the list for another room, of which it is to follow the end or
// not.
func (l *messageList) clear(stuck bool) {
	l.rows, l.anchor, l.offset, l.last, l.lit = nil, 0, 0, 0, ""
	l.before, l.all, l.seek = 0, 0, 0
	l.count()
	l.tip.hide()
	l.setStuck(stuck)
	l.settle()
}

// follow goes to the end and stays there.
func (l *messageList) follow() {
	l.lit = ""
	l.setStuck(true)
	l.settle()
}

func (l *messageList) scrollBy(dy float32) {
	l.tip.hide()
	limit := 2 * l.Size().Height
	l.offset += min(max(dy, -limit), limit)
	if dy > 0 {
		l.stuck = false
	}
	was := l.stuck
	l.settle()
	if l.stuck != was || dy > 0 {
		l.tellStuck()
	}
}

// jump puts row i at the top of the view.
func (l *messageList) jump(i int) {
	l.stuck = false
	l.anchor, l.offset = i, padList
	l.settle()
	l.tellStuck()
}

// show lights the message key up, a third down the view.
func (l *messageList) show(key string) {
	if l.put(key, func(int) float32 { return l.Size().Height / 3 }) {
		l.lit = key
		l.settle()
	}
}

// put brings the row key to where its upper edge is to be; false when there is
// no such row.
func (l *messageList) put(key string, top func(i int) float32) bool {
	i := slices.IndexFunc(l.rows, func(r row) bool { return r.key == key })
	if i < 0 {
		return false
	}
	l.stuck = false
	l.anchor, l.offset = i, top(i)
	l.settle()
	l.tellStuck()
	return true
}

// place is where the view of a room stands: the lower edge of a message below
// the upper edge of the view. The zero place is the end of the room.
type place struct {
	id     string
	bottom float32
}

// position is the place of the view.
func (l *messageList) position() place {
	if edges := l.reference(); !l.stuck && len(edges) > 0 {
		return place{edges[0].key, edges[0].bottom}
	}
	return place{}
}

// aim says where the list is to go.
type aim struct {
	kind   aimKind
	key    string  // of a message
	bottom float32 // aimPlace
}

type aimKind int

const (
	aimMessage aimKind = iota // light the message up
	aimUnread                 // to the unread line
	aimTop                    // the message begins the view, below its day
	aimPlace                  // to a place
	aimEnd                    // to the newest message, and follow
)

// goTo brings the view to where a says.
func (l *messageList) goTo(a aim) {
	switch a.kind {
	case aimMessage:
		l.show(a.key)
	case aimUnread:
		l.put(unreadKey, func(int) float32 { return l.Size().Height / 3 })
	case aimTop:
		l.put(a.key, func(i int) float32 {
			y := padList
			for ; i > 0 && !l.rows[i-1].isMessage(); i-- {
				y += l.height(i - 1)
			}
			return y
		})
	case aimPlace:
		l.put(a.key, func(i int) float32 { return a.bottom - l.height(i) })
	case aimEnd:
		l.follow()
	}
}

// unfold shows the long message in row i, whose upper edge is at y, in full or
// folded. What is above the text that comes or goes stays; on folding, what is
// below it.
func (l *messageList) unfold(i int, y float32) {
	key := l.rows[i].key
	bottom := y + l.height(i)
	folds := l.unfolded[key]
	if l.unfolded[key] = !folds; folds {
		delete(l.unfolded, key)
	}
	delete(l.shapes, key)
	l.stuck = false
	l.anchor, l.offset = i, y
	if folds {
		l.offset = bottom - l.height(i)
	}
	l.settle()
	l.tellStuck()
}

// unlight takes the light off the message that was jumped to; false when there
// was none.
func (l *messageList) unlight() bool {
	if l.lit == "" {
		return false
	}
	l.lit = ""
	l.settle()
	return true
}

func (l *messageList) setStuck(stuck bool) {
	if l.stuck != stuck {
		l.stuck = stuck
		l.tellStuck()
	}
}

func (l *messageList) tellStuck() {
	if l.OnStuck != nil {
		l.OnStuck(l.stuck)
	}
}

// shape measures row i, or finds what was measured before.
func (l *messageList) shape(i int) shape {
	r := l.rows[i]
	s, ok := l.shapes[r.key]
	if ok && s.row == r && (s.fold == "" || s.open == l.unfolded[r.key]) {
		return s
	}
	if len(l.shapes) >= maxShapes {
		clear(l.shapes)
	}
	s = shapeOf(r, l.Size().Width, l.metrics, l.unfolded[r.key])
	l.shapes[r.key] = s
	return s
}

func (l *messageList) height(i int) float32 { return l.shape(i).height }

// settle finds the rows in view from anchor and offset, corrects both at the
// ends, and draws.
func (l *messageList) settle() {
	n, view := len(l.rows), l.Size().Height
	if n == 0 || view <= 0 || l.Size().Width <= 0 {
		l.draw(0, 0, 0)
		return
	}
	if l.metrics == (metrics{}) {
		l.metrics = measureMetrics()
	}
	l.anchor = min(max(l.anchor, 0), n-1)
	if l.stuck {
		l.anchor = n - 1
		l.offset = view - padList - l.height(n-1)
	}
	top, y := l.up(l.anchor, l.offset)
	if top == 0 && y > padList {
		y = padList
	}
	for top < n-1 && y+l.height(top) <= 0 {
		y += l.height(top)
		top++
	}
	end, bottom := l.down(top, y, view)
	if end == n && bottom < view-padList {
		y += view - padList - bottom
		bottom = view - padList
		top, y = l.up(top, y)
	}
	l.anchor, l.offset, l.last = top, y, end
	if end == n && !l.newer && bottom <= view-padList+0.5 {
		l.stuck = true
	}
	l.draw(top, end, y)
	l.tellView()
	l.askForMore()
}

// up walks from row i, whose upper edge is at y, to the first row in view.
func (l *messageList) up(i int, y float32) (int, float32) {
	for i > 0 && y > 0 {
		i--
		y -= l.height(i)
	}
	return i, y
}

// down walks from row i, whose upper edge is at y, to behind the last row in view.
func (l *messageList) down(i int, y, view float32) (int, float32) {
	for i < len(l.rows) && y < view {
		y += l.height(i)
		i++
	}
	return i, y
}

func (l *messageList) tellView() {
	if l.OnView == nil {
		return
	}
	keys := make([]string, 0, l.last-l.anchor)
	for i := l.anchor; i < l.last; i++ {
		if l.rows[i].isMessage() {
			keys = append(keys, l.rows[i].key)
		}
	}
	if len(keys) > 0 {
		l.OnView(keys)
	}
}

func (l *messageList) askForMore() {
	if l.older && !l.askedOlder && l.anchor < nearEndRows && l.OnOlder != nil {
		l.askedOlder = true
		l.OnOlder()
	}
	if l.newer && !l.askedNewer && l.last > len(l.rows)-nearEndRows && l.OnNewer != nil {
		l.askedNewer = true
		l.OnNewer()
	}
}

// draw shows rows top to end, the first at y.
func (l *messageList) draw(top, end int, y float32) {
	wanted := make(map[string]bool, end-top)
	for i := top; i < end; i++ {
		wanted[l.rows[i].key] = true
	}
	for key, v := range l.views {
		if !wanted[key] {
			delete(l.views, key)
			if len(l.spare) < maxViews {
				l.spare = append(l.spare, v)
			}
		}
	}
	width := l.Size().Width
	objects := make([]fyne.CanvasObject, 0, end-top)
	for i := top; i < end; i++ {
		s := l.shape(i)
		v := l.views[s.row.key]
		if v == nil {
			v = l.take()
			l.views[s.row.key] = v
		}
		view := area{-y, l.Size().Height - y}
		isLit := s.row.key == l.lit
		if v.row != s.row || v.open != s.open || v.width != width || v.look != l.look || v.isLit != isLit || !v.shows(&s, l.metrics, view) {
			v.isLit = isLit
			v.bind(s, width, l.metrics, view)
			v.look = l.look
		}
		v.root.Move(fyne.NewPos(0, y))
		objects = append(objects, v.root)
		y += s.height
	}
	l.content.Objects = objects
	l.drawBar(top, end)
}

func (l *messageList) take() *rowView {
	if n := len(l.spare); n > 0 {
		v := l.spare[n-1]
		l.spare = l.spare[:n-1]
		v.row = row{}
		return v
	}
	return newRowView()
}

// drawBar shows where in the room the view is. Its refresh also makes the
// toolkit paint: changing a container's objects alone does not.
func (l *messageList) drawBar(top, end int) {
	view := l.Size().Height
	perRow := float64(l.messages) / float64(max(len(l.rows), 1))
	all := max(float64(l.all), float64(l.before)+float64(l.messages))
	shown := float64(end-top) * perRow
	hidden := all - shown
	l.bar.FillColor = theme.Color(theme.ColorNameScrollBar)
	if hidden < 1 || end-top >= len(l.rows) && !l.older && !l.newer {
		l.bar.FillColor = color.Transparent
	}
	length := max(view*float32(shown/max(all, 1)), 28)
	share := float32(0)
	if hidden >= 1 {
		share = float32(min((float64(l.before)+float64(top)*perRow)/hidden, 1))
	}
	if l.seek > 0 {
		share = float32(float64(l.seek-1) / all)
	}
	if l.stuck {
		share = 1
	}
	l.bar.Resize(fyne.NewSize(6, length))
	l.bar.Move(fyne.NewPos(l.Size().Width-8, (view-length)*share))
	l.bar.Refresh()
}

// Scrolled implements fyne.Scrollable.
func (l *messageList) Scrolled(e *fyne.ScrollEvent) { l.scrollBy(e.Scrolled.DY) }

// Dragged implements fyne.Draggable: the bar follows the pointer, through all
// of the room.
func (l *messageList) Dragged(e *fyne.DragEvent) {
	const barWidth = 16
	if len(l.rows) == 0 || !l.barDrag && e.Position.X < l.Size().Width-barWidth {
		return
	}
	l.barDrag = true
	share := min(max(float64(e.Position.Y/max(l.Size().Height, 1)), 0), 1)
	if share == 1 && !l.newer {
		l.seek = 0
		l.follow()
		return
	}
	all := max(l.all, l.before+uint64(l.messages))
	n := min(uint64(share*float64(all)), max(all, 1)-1)
	if n >= l.before && n < l.before+uint64(l.messages) {
		l.seek = 0
		l.jump(int(float64(n-l.before) / float64(l.messages) * float64(len(l.rows))))
		return
	}
	l.seek = n + 1
	l.drawBar(l.anchor, l.last)
	if !l.askedSeek && l.OnSeek != nil {
		l.askedSeek = true
		l.OnSeek(n)
	}
}

// DragEnd implements fyne.Draggable.
func (l *messageList) DragEnd() {
	l.barDrag = false
	if l.seek > 0 && l.OnSeek != nil {
		l.OnSeek(l.seek - 1)
	}
	l.seek = 0
}

// spot is what is to be clicked at a place of the list.
type spot int

const (
	spotNone spot = iota
	spotLink
	spotQuote
	spotFold
	spotDay
)

// spotAt finds it, in row i, whose upper edge is at y; i is -1 where there is
// no row.
func (l *messageList) spotAt(at fyne.Position) (what spot, link string, i int, y float32) {
	i, y = l.rowAt(at.Y)
	if i < 0 {
		return spotNone, "", i, y
	}
	s := l.shape(i)
	in := at.SubtractXY(0, y)
	if s.row.kind == rowDay {
		if w := pillWidth(s.row.text); in.Y >= padGroup && in.X >= (l.Size().Width-w)/2 && in.X <= (l.Size().Width+w)/2 {
			what = spotDay
		}
		return what, "", i, y
	}
	if s.row.kind != rowMessage || in.X < s.top.X || in.X > s.top.X+s.bubble.Width {
		return spotNone, "", i, y
	}
	quote, text := s.quoteTop(l.metrics), s.textTop(l.metrics)
	switch {
	case s.quote > 0 && in.Y >= quote && in.Y < quote+s.quote:
		what = spotQuote
	case s.fold != "" && in.Y >= text+s.text:
		what = spotFold
	default:
		if link = s.linkAt(in, l.metrics); link != "" {
			what = spotLink
		}
	}
	return what, link, i, y
}

// Tapped implements fyne.Tappable.
func (l *messageList) Tapped(e *fyne.PointEvent) {
	if l.OnFocus != nil {
		l.OnFocus()
	}
	tell := func(to func(string), what string) {
		if to != nil {
			to(what)
		}
	}
	switch what, link, i, y := l.spotAt(e.Position); what {
	case spotLink:
		tell(l.OnLink, link)
	case spotQuote:
		tell(l.OnQuote, l.rows[i].quote.id)
	case spotDay:
		tell(l.OnDay, l.rows[i].day)
	case spotFold:
		l.unfold(i, y)
	case spotNone:
	}
}

// TappedSecondary implements fyne.SecondaryTappable.
func (l *messageList) TappedSecondary(e *fyne.PointEvent) {
	l.tip.hide()
	_, link, i, _ := l.spotAt(e.Position)
	if i >= 0 && l.rows[i].isMessage() && l.OnMenu != nil {
		l.OnMenu(l.rows[i].key, link, e.AbsolutePosition)
	}
}

// Cursor implements desktop.Cursorable.
func (l *messageList) Cursor() desktop.Cursor { return l.cursor }

// rowAt finds the row at a height of the view, and where its upper edge is; -1
// when there is none.
func (l *messageList) rowAt(at float32) (int, float32) {
	y := l.offset
	for i := l.anchor; i < l.last; i++ {
		h := l.height(i)
		if at >= y && at < y+h {
			return i, y
		}
		y += h
	}
	return -1, 0
}

// MouseIn implements desktop.Hoverable.
func (l *messageList) MouseIn(e *desktop.MouseEvent) { l.MouseMoved(e) }

// MouseMoved implements desktop.Hoverable: over the foot of a message a tip
// says where it stands.
func (l *messageList) MouseMoved(e *desktop.MouseEvent) {
	what, _, i, y := l.spotAt(e.Position)
	l.cursor = desktop.DefaultCursor
	if what != spotNone {
		l.cursor = desktop.PointerCursor
	}
	if i < 0 || l.rows[i].kind != rowMessage {
		l.tip.hide()
		return
	}
	s := l.shape(i)
	right, foot := s.top.X+s.bubble.Width, y+s.height
	left := right - padBubbleSide - textWidth(s.note, textSizeTiny, fyne.TextStyle{}) - tickWidth
	if e.Position.X < left || e.Position.X > right || e.Position.Y < foot-l.metrics.tiny-padBubbleTop {
		l.tip.hide()
		return
	}
	l.tip.show(fitLine(standingText(&s.row), l.Size().Width-24, textSizeSmall, false), fyne.NewPos(right, foot), l.Size())
}

// MouseOut implements desktop.Hoverable.
func (l *messageList) MouseOut() { l.tip.hide() }

// FocusGained implements fyne.Focusable.
func (l *messageList) FocusGained() {}

// FocusLost implements fyne.Focusable.
func (l *messageList) FocusLost() {}

// TypedRune implements fyne.Focusable.
func (l *messageList) TypedRune(rune) {}

// TypedKey implements fyne.Focusable: keys move the view.
func (l *messageList) TypedKey(e *fyne.KeyEvent) {
	const line = 40
	page := l.Size().Height - line
	switch e.Name {
	case fyne.KeyUp:
		l.scrollBy(line)
	case fyne.KeyDown:
		l.scrollBy(-line)
	case fyne.KeyPageUp:
		l.scrollBy(page)
	case fyne.KeyPageDown:
		l.scrollBy(-page)
	case fyne.KeyHome:
		if l.older && l.OnHome != nil {
			l.OnHome()
			return
		}
		l.jump(0)
	case fyne.KeyEnd:
		if !l.newer {
			l.follow()
			return
		}
		if l.OnEnd != nil {
			l.OnEnd()
			return
		}
		l.jump(len(l.rows) - 1)
	case fyne.KeyEscape:
		if l.OnEscape != nil {
			l.OnEscape()
		}
	}
}

// CreateRenderer implements fyne.Widget.
func (l *messageList) CreateRenderer() fyne.WidgetRenderer { return &listRenderer{list: l} }

type listRenderer struct {
	list *messageList
	size fyne.Size
}

func (r *listRenderer) Layout(size fyne.Size) {
	l := r.list
	l.content.Resize(size)
	if size.Width != r.size.Width && len(l.rows) > 0 && r.size.Width > 0 && l.anchor < len(l.rows) {
		// The first row in view keeps the share of it that is above the view.
		before := l.shape(l.anchor).height
		clear(l.shapes)
		if before > 0 {
			l.offset *= l.height(l.anchor) / before
		}
	}
	r.size = size
	l.settle()
}

func (r *listRenderer) MinSize() fyne.Size { return fyne.NewSize(200, 80) }

func (r *listRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.list.content, r.list.bar, r.list.tip.root}
}

// Refresh is called when the theme changes: everything is measured and drawn anew.
func (r *listRenderer) Refresh() {
	l := r.list
	l.look++
	l.metrics = metrics{}
	clear(l.shapes)
	l.settle()
}

func (r *listRenderer) Destroy() {}
