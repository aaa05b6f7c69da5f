package ui

import (
	"image/color"
	"strings"
	"unicode/utf8"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
)

// shape is what a row measures at one width.
type shape struct {
	row    row
	lines  []string
	height float32
	bubble fyne.Size     // of a message
	top    fyne.Position // of the bubble
	inline bool          // the clock stands on the last line of text
	note   string        // what stands before the clock
	quote  float32       // height of the quote above the text, 0 = none
}

// metrics are the heights of one line of each text size.
type metrics struct{ body, small, tiny float32 }

func measureMetrics() metrics {
	h := func(size float32) float32 { return fyne.MeasureText("Ég", size, fyne.TextStyle{}).Height }
	return metrics{body: h(textSizeBody), small: h(textSizeSmall), tiny: h(textSizeTiny)}
}

const (
	clockGap   float32 = 10 // text to clock
	tickWidth  float32 = 15 // the ticks of an own message: one and two take the same room
	quoteInset float32 = 10 // the quote's bar to its text
	bubbleLeft         = padEdge + sizeAvatar + 8
)

// shapeOf measures r in a list of the given width.
func shapeOf(r row, width float32, m metrics) shape {
	s := shape{row: r}
	switch r.kind {
	case rowDay, rowUnread:
		s.lines = []string{r.text}
		s.height = m.tiny + 8 + padGroup + padRow
		return s
	case rowSystem:
		s.lines, _ = wrap(r.text, max(width-4*padEdge, 40), textSizeSmall)
		s.height = float32(len(s.lines))*m.small + padGroup
		return s
	case rowMessage:
	}
	text := r.text
	if r.note != "" {
		text = r.note
	}
	room := min(width-bubbleLeft-padEdge-48, maxBubbleWidth) - 2*padBubbleSide
	room = max(room, 60)
	var widest float32
	s.lines, widest = wrap(text, room, textSizeBody)
	if r.size > 0 {
		more := tr(textShowAll, args{"Size": textOfSize(r.size)})
		s.lines = append(s.lines, more)
		widest = max(widest, textWidth(more, textSizeBody, fyne.TextStyle{}))
	}
	s.note = clockNote(&r)
	clock := clockGap + textWidth(s.note, textSizeTiny, fyne.TextStyle{})
	if r.mine {
		clock += tickWidth + 4
	}
	end := textWidth(s.lines[len(s.lines)-1], textSizeBody, fyne.TextStyle{}) + clock
	s.inline = end <= room
	if s.inline {
		widest = max(widest, end)
	}
	widest = max(widest, clock)
	s.bubble.Height = 2*padBubbleTop + float32(len(s.lines))*m.body
	if !s.inline {
		s.bubble.Height += m.tiny
	}
	if r.first && !r.mine {
		s.bubble.Height += m.small + 2
		widest = max(widest, min(textWidth(r.name, textSizeSmall, fyne.TextStyle{Bold: true}), room))
	}
	if r.quote.id != "" {
		s.quote = 2*m.small + 8
		q := max(textWidth(r.quote.name, textSizeSmall, fyne.TextStyle{Bold: true}), textWidth(r.quote.text, textSizeSmall, fyne.TextStyle{}))
		widest = max(widest, min(q+quoteInset+8, room))
		s.bubble.Height += s.quote + 4
	}
	s.bubble.Width = widest + 2*padBubbleSide
	s.top.Y = padRow
	if r.first {
		s.top.Y = padGroup
	}
	s.top.X = bubbleLeft
	if r.mine {
		s.top.X = width - padEdge - s.bubble.Width
	}
	s.height = s.top.Y + s.bubble.Height
	return s
}

// clockNote is what stands at the end of a message: when it was written, and
// whether it came late.
func clockNote(r *row) string {
	if r.late {
		return tr(textLate) + " · " + r.clock
	}
	return r.clock
}

// quoteTop is where the quote begins, below the upper edge of the row.
func (s *shape) quoteTop(m metrics) float32 {
	y := s.top.Y + padBubbleTop
	if s.row.first && !s.row.mine {
		y += m.small + 2
	}
	return y
}

// rowView draws one row. Views are recycled: bind makes one show another row.
type rowView struct {
	root   *fyne.Container
	ground *canvas.Rectangle
	name   *canvas.Text
	clock  *canvas.Text
	ticks  [2][2]*canvas.Line // each tick is a short and a long stroke
	lit    *canvas.Rectangle  // behind a row that was jumped to
	rule   *canvas.Rectangle  // the unread line
	quote  [2]*canvas.Rectangle
	quoted [2]*canvas.Text
	face   *canvas.Circle
	letter *canvas.Text
	lines  []*canvas.Text

	row   row
	width float32
	look  int  // the list's look this view was bound under
	isLit bool // it was jumped to
}

func newRowView() *rowView {
	v := &rowView{
		root:   bare(),
		ground: canvas.NewRectangle(color.Transparent),
		name:   newText(textSizeSmall),
		clock:  newText(textSizeTiny),
		face:   canvas.NewCircle(color.Transparent),
		letter: newText(15),
	}
	v.name.TextStyle.Bold = true
	v.letter.TextStyle.Bold = true
	v.lit, v.rule = canvas.NewRectangle(color.Transparent), canvas.NewRectangle(color.Transparent)
	v.quoted = [2]*canvas.Text{newText(textSizeSmall), newText(textSizeSmall)}
	v.quoted[0].TextStyle.Bold = true
	for i := range v.ticks {
		v.quote[i] = canvas.NewRectangle(color.Transparent)
		for j := range v.ticks[i] {
			v.ticks[i][j] = canvas.NewLine(color.Black)
			v.ticks[i][j].StrokeWidth = 1.5
		}
	}
	return v
}

// bare is a container that lays nothing out.
func bare(objects ...fyne.CanvasObject) *fyne.Container {
	return &fyne.Container{Objects: objects}
}

func newText(size float32) *canvas.Text {
	t := canvas.NewText("", color.Black)
	t.TextSize = size
	return t
}

// bind makes v show a row measured as s.
func (v *rowView) bind(s shape, width float32, m metrics) {
	v.row, v.width = s.row, width
	v.root.Objects = v.root.Objects[:0]
	v.root.Resize(fyne.NewSize(width, s.height))
	if v.isLit {
		v.lit.FillColor = theme.Color(theme.ColorNameSelection)
		v.lit.Refresh()
		v.show(v.lit, 0, 0, width, s.height+padRow)
	}
	switch s.row.kind {
	case rowDay:
		v.bindDay(s, width, m)
	case rowUnread:
		v.bindUnread(s, width, m)
	case rowSystem:
		v.bindSystem(s, width, m)
	case rowMessage:
		v.bindMessage(s, m)
	}
}

func (v *rowView) bindUnread(s shape, width float32, m metrics) {
	w := textWidth(s.row.text, textSizeTiny, fyne.TextStyle{Bold: true}) + 24
	ink := theme.Color(colorBadge)
	v.rule.FillColor = ink
	v.rule.Refresh()
	v.show(v.rule, padEdge, padGroup+(m.tiny+8)/2-0.5, width-2*padEdge, 1)
	v.fill(v.ground, ink, m.tiny+8, false, false)
	v.ground.Shadow = canvas.Shadow{}
	v.show(v.ground, (width-w)/2, padGroup, w, m.tiny+8)
	t := v.line(0, s.row.text, textSizeTiny, theme.Color(theme.ColorNameForegroundOnPrimary))
	t.TextStyle = fyne.TextStyle{Bold: true}
	v.show(t, (width-w)/2+12, padGroup+4, w-24, m.tiny)
}

func (v *rowView) bindDay(s shape, width float32, m metrics) {
	w := textWidth(s.row.text, textSizeTiny, fyne.TextStyle{Bold: true}) + 24
	v.fill(v.ground, theme.Color(colorDay), m.tiny+8, false, false)
	v.ground.Shadow = canvas.Shadow{}
	v.show(v.ground, (width-w)/2, padGroup, w, m.tiny+8)
	t := v.line(0, s.row.text, textSizeTiny, theme.Color(colorDayText))
	t.TextStyle = fyne.TextStyle{Bold: true}
	v.show(t, (width-w)/2+12, padGroup+4, w-24, m.tiny)
}

func (v *rowView) bindSystem(s shape, width float32, m metrics) {
	for i, text := range s.lines {
		t := v.line(i, text, textSizeSmall, theme.Color(colorMuted))
		w := textWidth(text, textSizeSmall, fyne.TextStyle{})
		v.show(t, (width-w)/2, padGroup/2+float32(i)*m.small, w, m.small)
	}
}

func (v *rowView) bindMessage(s shape, m metrics) {
	r := &s.row
	v.fill(v.ground, theme.Color(bubbleColor(r)), 2*radiusBubble, r.last && !r.mine, r.last && r.mine)
	ink := colorText
	v.ground.Shadow = canvas.Shadow{Color: theme.Color(colorShade), BlurRadius: 2, Offset: fyne.NewPos(0, 1)}
	if r.tent() {
		ink, v.ground.Shadow = colorTentative, canvas.Shadow{}
	}
	if r.note != "" {
		ink = colorTentative
	}
	v.show(v.ground, s.top.X, s.top.Y, s.bubble.Width, s.bubble.Height)

	x, y := s.top.X+padBubbleSide, s.top.Y+padBubbleTop
	if r.first && !r.mine {
		v.name.Text, v.name.Color = fitLine(r.name, s.bubble.Width-2*padBubbleSide, textSizeSmall, true), authorColor(r.who)
		v.name.Refresh()
		v.show(v.name, x, y, s.bubble.Width-2*padBubbleSide, m.small)
		y += m.small + 2
	}
	if s.quote > 0 {
		v.bindQuote(s, x, y, m)
		y += s.quote + 4
	}
	for i, text := range s.lines {
		c := theme.Color(ink)
		if r.size > 0 && i == len(s.lines)-1 {
			c = theme.Color(theme.ColorNameHyperlink)
		}
		t := v.line(i, text, textSizeBody, c)
		t.TextStyle = fyne.TextStyle{Italic: r.note != ""}
		v.show(t, x, y, s.bubble.Width-2*padBubbleSide, m.body)
		y += m.body
	}
	v.bindClock(s, m)
	if r.last && !r.mine {
		v.bindFace(s)
	}
}

func bubbleColor(r *row) fyne.ThemeColorName {
	switch {
	case r.mine && r.tent():
		return colorBubbleMineTail
	case r.mine:
		return colorBubbleMine
	case r.tent():
		return colorBubbleTail
	}
	return colorBubble
}

func (v *rowView) bindQuote(s shape, x, y float32, m metrics) {
	q := &s.row.quote
	width := s.bubble.Width - 2*padBubbleSide
	ink := color.Color(authorColor(q.who))
	if q.who == "" {
		ink = theme.Color(colorMuted)
	}
	v.quote[0].FillColor, v.quote[1].FillColor = theme.Color(theme.ColorNameHover), ink
	v.quote[0].CornerRadius, v.quote[1].CornerRadius = radiusCorner, 1.5
	v.show(v.quote[0], x, y, width, s.quote)
	v.show(v.quote[1], x, y, 3, s.quote)
	for i, text := range []string{q.name, q.text} {
		t := v.quoted[i]
		t.Text, t.Color = fitLine(text, width-quoteInset-4, textSizeSmall, i == 0), theme.Color(colorText)
		if i == 0 {
			t.Color = ink
		}
		t.Refresh()
		v.quote[i].Refresh()
		v.show(t, x+quoteInset, y+4+float32(i)*m.small, width-quoteInset, m.small)
	}
}

func (v *rowView) bindClock(s shape, m metrics) {
	muted := theme.Color(colorClock)
	w := textWidth(s.note, textSizeTiny, fyne.TextStyle{})
	right := s.top.X + s.bubble.Width - padBubbleSide + 2
	y := s.top.Y + s.bubble.Height - m.tiny - padBubbleTop + 3
	if s.row.mine {
		right -= tickWidth + 4
	}
	v.clock.Text, v.clock.Color = s.note, muted
	v.clock.Refresh()
	v.show(v.clock, right-w, y, w, m.tiny)
	switch s.row.stand {
	case standingSaved:
		v.tick(0, right+9, y+m.tiny/2, muted)
	case standingDone:
		ink := theme.Color(theme.ColorNamePrimary)
		v.tick(0, right+4, y+m.tiny/2, ink)
		v.tick(1, right+9, y+m.tiny/2, ink)
	case standingFinal, standingTail:
	}
}

// tick draws a check mark around (x, y).
func (v *rowView) tick(i int, x, y float32, ink color.Color) {
	short, long := v.ticks[i][0], v.ticks[i][1]
	foot := fyne.NewPos(x+3, y+3.5)
	short.Position1, short.Position2 = fyne.NewPos(x, y+0.5), foot
	long.Position1, long.Position2 = foot, fyne.NewPos(x+9, y-3.5)
	for _, stroke := range v.ticks[i] {
		stroke.StrokeColor = ink
		stroke.Refresh()
		v.root.Objects = append(v.root.Objects, stroke)
	}
}

func (v *rowView) bindFace(s shape) {
	v.face.FillColor = avatarColor(s.row.who)
	v.face.Refresh()
	y := s.height - sizeAvatar
	v.show(v.face, padEdge, y, sizeAvatar, sizeAvatar)
	v.letter.Text, v.letter.Color = initials(s.row.name), onAvatar
	v.letter.Refresh()
	size := v.letter.MinSize()
	v.show(v.letter, padEdge+(sizeAvatar-size.Width)/2, y+(sizeAvatar-size.Height)/2, size.Width, size.Height)
}

// fill rounds r; a corner that points at the author stays sharp.
func (v *rowView) fill(r *canvas.Rectangle, c color.Color, diameter float32, left, right bool) {
	r.FillColor = c
	r.CornerRadius = diameter / 2
	r.BottomLeftCornerRadius, r.BottomRightCornerRadius = 0, 0
	if left {
		r.BottomLeftCornerRadius = radiusCorner
	}
	if right {
		r.BottomRightCornerRadius = radiusCorner
	}
	r.Refresh()
}

func (v *rowView) line(i int, text string, size float32, c color.Color) *canvas.Text {
	for len(v.lines) <= i {
		v.lines = append(v.lines, newText(size))
	}
	t := v.lines[i]
	t.Text, t.TextSize, t.Color, t.TextStyle = text, size, c, fyne.TextStyle{}
	t.Refresh()
	return t
}

func (v *rowView) show(o fyne.CanvasObject, x, y, w, h float32) {
	o.Resize(fyne.NewSize(w, h))
	o.Move(fyne.NewPos(x, y))
	v.root.Objects = append(v.root.Objects, o)
}

// fitLine cuts s to width, with an ellipsis where something is missing.
func fitLine(s string, width, size float32, bold bool) string {
	style := fyne.TextStyle{Bold: bold}
	if textWidth(s, size, style) <= width {
		return s
	}
	width -= textWidth("…", size, style) + 2
	n := fit(s, width, size)
	for n > 0 && textWidth(s[:n], size, style) > width { // bold is wider than what fit measures
		_, last := utf8.DecodeLastRuneInString(s[:n])
		n -= last
	}
	return strings.TrimRight(s[:n], " ") + "…"
}
