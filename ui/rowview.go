package ui

import (
	"image/color"
	"sort"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

// Limits of what is shown of a long message before it is unfolded.
const (
	foldBytes = 4096
	foldLines = 30 // a message of more is folded,
	foldShown = 24 // to so many
)

// shape is what a row measures at one width.
type shape struct {
	row    row
	open   bool     // the message is long, and unfolded
	words  []string // lines of a row that is no spoken message
	lines  []line   // of a message
	text   float32  // height of the lines
	blocks []area   // upper and lower edges of the blocks of code, in the text
	fold   string   // what unfolds the message or folds it, "" = it is short
	height float32
	bubble fyne.Size     // of a message; of a merge, of its ground
	top    fyne.Position // of the bubble
	inline bool          // the clock stands on the last line of text
	note   string        // what stands before the clock
	quote  float32       // height of the quote above the text, 0 = none
}

// area is a stretch of a height.
type area struct{ top, bottom float32 }

// metrics are the heights of one line of each text size, and its base line.
type metrics struct {
	body, small, tiny, code float32
	base                    float32 // of a line of a message
	rule                    *ruler
}

func measureMetrics() metrics {
	h := func(size float32) float32 { return fyne.MeasureText("Ég", size, fyne.TextStyle{}).Height }
	m := metrics{body: h(textSizeBody), small: h(textSizeSmall), tiny: h(textSizeTiny), rule: newRuler(textSizeBody)}
	_, m.base = fyne.CurrentApp().Driver().RenderedTextSize("Ég", textSizeBody, fyne.TextStyle{}, nil)
	m.code = max(fyne.MeasureText("Ég", textSizeBody, styleOf(mannerBlock)).Height, m.body-2)
	return m
}

const (
	clockGap   float32 = 10 // text to clock
	tickWidth  float32 = 20 // the ticks of an own message, however many
	quoteInset float32 = 10 // the quote's bar to its text
	mergeInset float32 = 14 // the ground of a merge's words to these
	bubbleLeft         = padEdge + sizeAvatar + 8
)

// shapeOf measures r in a list of the given width; open unfolds it.
func shapeOf(r row, width float32, m metrics, open bool) shape {
	s := shape{row: r}
	switch r.kind {
	case rowDay, rowUnread:
		s.words = []string{r.text}
		s.height = m.tiny + 8 + padGroup + padRow
		return s
	case rowSystem:
		s.words, _ = wrap(r.text, max(width-4*padEdge, 40), textSizeSmall)
		s.height = float32(len(s.words))*m.small + padGroup
		return s
	case rowMerge:
		room := min(width-2*padEdge, maxBubbleWidth) - 2*mergeInset
		var widest float32
		s.words, widest = wrap(r.text, max(room, 40), textSizeSmall)
		s.bubble = fyne.NewSize(widest+2*mergeInset, float32(len(s.words))*m.small+12)
		s.top = fyne.NewPos((width-s.bubble.Width)/2, padGroup)
		s.height = s.top.Y + s.bubble.Height + padRow
		return s
	case rowMessage:
	}
	room := min(width-bubbleLeft-padEdge-48, maxBubbleWidth) - 2*padBubbleSide
	room = max(room, 60)
	widest := s.layText(room, m, open)
	s.note = clockNote(&r)
	clock := clockGap + textWidth(s.note, textSizeTiny, fyne.TextStyle{})
	if r.mine {
		clock += tickWidth + 4
	}
	last := &s.lines[len(s.lines)-1]
	end := last.width + clock
	if s.fold != "" {
		end = textWidth(s.fold, textSizeSmall, fyne.TextStyle{}) + clock
	}
	s.inline = end <= room && (s.fold != "" || !last.block)
	if s.inline {
		widest = max(widest, end)
	}
	widest = max(widest, clock)
	s.bubble.Height = 2*padBubbleTop + s.text
	if s.fold != "" {
		s.bubble.Height += m.body
	}
	if !s.inline {
		s.bubble.Height += m.tiny
	}
	if r.first && !r.mine {
		s.bubble.Height += m.small + 2
		name := textWidth(r.name, textSizeSmall, fyne.TextStyle{Bold: true})
		if r.tag != "" {
			name += tagGap + textWidth(r.tag, textSizeTiny, fyne.TextStyle{})
		}
		widest = max(widest, min(name, room))
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

const tagGap float32 = 6 // name to the tag after it

// layText breaks the message into lines, folds it where it is long, and returns
// the width of the widest.
func (s *shape) layText(room float32, m metrics, open bool) (widest float32) {
	r := &s.row
	spans := []span{{text: r.note}}
	long := false
	if r.note == "" {
		long = len(r.body) > foldBytes
		text := r.body
		if long && !open {
			text = cut(text, foldBytes)
		}
		text = cut(visible(text), chat.MaxTextBytes) // escapes take more room than what they stand for
		if long && !open {
			text = closeFence(text)
		}
		spans = spansOf(text)
	}
	s.lines, _ = m.rule.flow(spans, room)
	long = long || len(s.lines) > foldLines
	switch {
	case long && open:
		s.open, s.fold = true, tr(textFold)
	case long:
		s.lines = s.lines[:min(len(s.lines), foldShown)]
		s.fold = tr(textShowAll, args{"Size": textOfSize(len(r.body))})
	}
	var y float32
	for i := range s.lines {
		l := &s.lines[i]
		widest = max(widest, l.width)
		if !l.block {
			l.y = y
			y += m.body
			continue
		}
		if l.first || len(s.blocks) == 0 {
			if i > 0 {
				y += blockGap
			}
			s.blocks = append(s.blocks, area{top: y})
			y += blockPad
		}
		l.y = y
		y += m.code
		if s.blocks[len(s.blocks)-1].bottom = y + blockPad; l.last || i == len(s.lines)-1 {
			y += blockPad + blockGap
		}
	}
	s.text = y
	if s.fold != "" {
		widest = max(widest, textWidth(s.fold, textSizeSmall, fyne.TextStyle{}))
	}
	return widest
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

// textTop is where the lines of a message begin, below the upper edge of the row.
func (s *shape) textTop(m metrics) float32 {
	y := s.quoteTop(m)
	if s.quote > 0 {
		y += s.quote + 4
	}
	return y
}

// linesBetween are the lines, from the first up to before the second, that
// meet a stretch of the text's height.
func (s *shape) linesBetween(from, to float32) (int, int) {
	first := sort.Search(len(s.lines), func(i int) bool { return s.lines[i].y > from })
	last := sort.Search(len(s.lines), func(i int) bool { return s.lines[i].y > to })
	return max(first-1, 0), last
}

// linkAt is the address at a place in the row, "" when there is none.
func (s *shape) linkAt(at fyne.Position, m metrics) string {
	x, y := at.X-s.top.X-padBubbleSide, at.Y-s.textTop(m)
	if s.row.kind != rowMessage || y < 0 || y >= s.text {
		return ""
	}
	from, to := s.linesBetween(y, y)
	for i := from; i < to; i++ {
		for j := range s.lines[i].runs {
			if r := &s.lines[i].runs[j]; r.link != "" && x >= r.x && x < r.x+r.width && y < s.lines[i].y+m.body {
				return r.link
			}
		}
	}
	return ""
}

// rowView draws one row. Views are recycled: bind makes one show another row.
type rowView struct {
	root   *fyne.Container
	ground *canvas.Rectangle
	name   *canvas.Text
	tag    *canvas.Text
	clock  *canvas.Text
	ticks  [2][2]*canvas.Line // each tick is a short and a long stroke
	read   *canvas.Circle     // after the ticks of a message that was read
	lit    *canvas.Rectangle  // behind a row that was jumped to
	rule   *canvas.Rectangle  // the unread line
	quote  [2]*canvas.Rectangle
	quoted [2]*canvas.Text
	face   *canvas.Circle
	letter *canvas.Text
	texts  []*canvas.Text
	codes  []*canvas.Rectangle // behind code
	used   struct{ texts, codes int }

	row      row
	open     bool
	width    float32
	look     int  // the list's look this view was bound under
	isLit    bool // it was jumped to
	from, to int  // the lines that are bound
}

func newRowView() *rowView {
	v := &rowView{
		root:   bare(),
		ground: canvas.NewRectangle(color.Transparent),
		name:   newText(textSizeSmall),
		tag:    newText(textSizeTiny),
		clock:  newText(textSizeTiny),
		read:   canvas.NewCircle(color.Transparent),
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

// spareLines are bound beyond those in view, so that not every step of a wheel
// binds a long message anew.
const spareLines = 20

// bind makes v show a row measured as s, of which the stretch in view is given.
func (v *rowView) bind(s shape, width float32, m metrics, view area) {
	v.row, v.open, v.width = s.row, s.open, width
	v.used.texts, v.used.codes = 0, 0
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
		v.bindWords(s, width, padGroup/2, m, colorMuted)
	case rowMerge:
		v.fill(v.ground, theme.Color(colorNotice), 2*radiusBubble, false, false)
		v.ground.Shadow = canvas.Shadow{}
		v.show(v.ground, s.top.X, s.top.Y, s.bubble.Width, s.bubble.Height)
		v.bindWords(s, width, s.top.Y+6, m, colorNoticeText)
	case rowMessage:
		text := s.textTop(m)
		v.from, v.to = s.linesBetween(view.top-text, view.bottom-text)
		v.from, v.to = max(v.from-spareLines, 0), min(v.to+spareLines, len(s.lines))
		v.bindMessage(s, m)
	}
}

// shows says that what is in view of the row is bound.
func (v *rowView) shows(s *shape, m metrics, view area) bool {
	if s.row.kind != rowMessage {
		return true
	}
	text := s.textTop(m)
	from, to := s.linesBetween(view.top-text, view.bottom-text)
	return from >= v.from && to <= v.to
}

func (v *rowView) bindUnread(s shape, width float32, m metrics) {
	ink := theme.Color(colorBadge)
	v.rule.FillColor = ink
	v.rule.Refresh()
	v.show(v.rule, padEdge, padGroup+(m.tiny+8)/2-0.5, width-2*padEdge, 1)
	v.bindPill(s, width, m, ink, theme.Color(theme.ColorNameForegroundOnPrimary))
}

func (v *rowView) bindDay(s shape, width float32, m metrics) {
	v.bindPill(s, width, m, theme.Color(colorDay), theme.Color(colorDayText))
}

// bindPill draws the row's words in the middle, on a round ground.
func (v *rowView) bindPill(s shape, width float32, m metrics, ground, ink color.Color) {
	w := pillWidth(s.row.text)
	v.fill(v.ground, ground, m.tiny+8, false, false)
	v.ground.Shadow = canvas.Shadow{}
	v.show(v.ground, (width-w)/2, padGroup, w, m.tiny+8)
	t := v.word(s.row.text, textSizeTiny, ink, fyne.TextStyle{Bold: true})
	v.show(t, (width-w)/2+12, padGroup+4, w-24, m.tiny)
}

func pillWidth(text string) float32 {
	return textWidth(text, textSizeTiny, fyne.TextStyle{Bold: true}) + 24
}

// bindWords draws the row's words in the middle.
func (v *rowView) bindWords(s shape, width, y float32, m metrics, ink fyne.ThemeColorName) {
	for i, text := range s.words {
		t := v.word(text, textSizeSmall, theme.Color(ink), fyne.TextStyle{})
		w := textWidth(text, textSizeSmall, fyne.TextStyle{})
		v.show(t, (width-w)/2, y+float32(i)*m.small, w, m.small)
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
		v.bindName(s, x, y, m)
	}
	if s.quote > 0 {
		v.bindQuote(s, x, s.quoteTop(m), m)
	}
	y = s.textTop(m)
	v.bindBlocks(s, x, y)
	for i := v.from; i < v.to; i++ {
		v.bindLine(&s, i, x, y, m, theme.Color(ink))
	}
	if s.fold != "" {
		t := v.word(s.fold, textSizeSmall, theme.Color(theme.ColorNameHyperlink), fyne.TextStyle{})
		v.show(t, x, y+s.text+m.body-m.small-1, s.bubble.Width-2*padBubbleSide, m.small)
	}
	v.bindClock(s, m)
	if r.last && !r.mine {
		v.bindFace(s)
	}
}

func (v *rowView) bindName(s shape, x, y float32, m metrics) {
	r := &s.row
	room := s.bubble.Width - 2*padBubbleSide
	tag := textWidth(r.tag, textSizeTiny, fyne.TextStyle{})
	if r.tag != "" {
		room -= tag + tagGap
	}
	write(v.name, fitLine(r.name, room, textSizeSmall, true), authorColor(r.who)).Refresh()
	v.show(v.name, x, y, room, m.small)
	if r.tag != "" {
		write(v.tag, r.tag, theme.Color(colorClock)).Refresh()
		x += textWidth(v.name.Text, textSizeSmall, fyne.TextStyle{Bold: true}) + tagGap
		v.show(v.tag, x, y+m.small-m.tiny-1, tag, m.tiny)
	}
}

// bindBlocks draws the grounds of the blocks of code behind the bound lines.
func (v *rowView) bindBlocks(s shape, x, y float32) {
	for _, b := range s.blocks {
		if v.from == v.to || b.bottom < s.lines[v.from].y || b.top > s.lines[v.to-1].y {
			continue
		}
		v.show(v.code(), x, y+b.top, s.bubble.Width-2*padBubbleSide, b.bottom-b.top)
	}
}

// bindLine draws line i of a message whose text begins at (x, y).
func (v *rowView) bindLine(s *shape, i int, x, y float32, m metrics, ink color.Color) {
	l := &s.lines[i]
	height, base := m.body, m.base
	if l.block {
		height, base = m.code, l.runs[0].base
	}
	for j := range l.runs {
		r := &l.runs[j]
		c := ink
		switch r.manner {
		case mannerCode:
			v.show(v.code(), x+r.x-codePad, y+l.y, r.width+2*codePad, height)
		case mannerLink:
			c = theme.Color(theme.ColorNameHyperlink)
		case mannerPlain, mannerBlock:
		}
		style := styleOf(r.manner)
		style.Italic = s.row.note != ""
		t := v.word(r.text, textSizeBody, c, style)
		v.show(t, x+r.x, y+l.y+base-r.base, r.width, height)
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
	y += m.tiny / 2
	switch s.row.stand {
	case standingSaved:
		v.tick(0, right+9, y, muted)
	case standingReceived:
		v.tick(0, right+4, y, muted)
		v.tick(1, right+9, y, muted)
	case standingDone, standingRead:
		ink := theme.Color(theme.ColorNamePrimary)
		v.tick(0, right+4, y, ink)
		v.tick(1, right+9, y, ink)
		if s.row.stand == standingRead {
			v.read.FillColor = ink
			v.read.Refresh()
			v.show(v.read, right+20, y-2, 4, 4)
		}
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

func (v *rowView) word(text string, size float32, c color.Color, style fyne.TextStyle) *canvas.Text {
	if v.used.texts == len(v.texts) {
		v.texts = append(v.texts, newText(size))
	}
	t := v.texts[v.used.texts]
	v.used.texts++
	t.Text, t.TextSize, t.Color, t.TextStyle = text, size, c, style
	t.Refresh()
	return t
}

// code is a ground for code.
func (v *rowView) code() *canvas.Rectangle {
	if v.used.codes == len(v.codes) {
		v.codes = append(v.codes, canvas.NewRectangle(color.Transparent))
	}
	r := v.codes[v.used.codes]
	v.used.codes++
	r.FillColor, r.CornerRadius = theme.Color(theme.ColorNameHover), radiusCorner
	r.Refresh()
	return r
}

func (v *rowView) show(o fyne.CanvasObject, x, y, w, h float32) {
	o.Resize(fyne.NewSize(w, h))
	o.Move(fyne.NewPos(x, y))
	v.root.Objects = append(v.root.Objects, o)
}

// fitLine cuts s to width, with an ellipsis where something is missing.
func fitLine(s string, width, size float32, bold bool) string {
	style := fyne.TextStyle{Bold: bold}
	if s == "" || textWidth(s, size, style) <= width {
		return s
	}
	ends := make([]int, 0, len(s))
	for i := range s {
		ends = append(ends, i)
	}
	n := sort.Search(len(ends), func(i int) bool { return textWidth(s[:ends[i]]+"…", size, style) > width })
	return strings.TrimRight(s[:ends[max(n-1, 0)]], " ") + "…"
}
