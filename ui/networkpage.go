package ui

import (
	"context"
	"slices"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// networkPage shows a room's network in the place of its messages. It takes
// the keys that scroll.
type networkPage struct {
	widget.BaseWidget
	OnClose    func()
	OnShortcut func(fyne.Shortcut) bool // as composer.OnShortcut

	root   *fyne.Container
	title  *widget.RichText
	board  *board
	scroll *container.Scroll
	net    *network // nil until the node answered
}

func newNetworkPage() *networkPage {
	p := &networkPage{}
	p.title = paragraph("", theme.SizeNameSubHeadingText, theme.ColorNameForeground, true)
	p.title.Wrapping = fyne.TextWrapOff
	p.title.Truncation = fyne.TextTruncateEllipsis
	back := widget.NewButtonWithIcon("", theme.NavigateBackIcon(), func() { p.OnClose() })
	back.Importance = widget.LowImportance
	head := container.NewStack(newGround(theme.ColorNameHeaderBackground, 0),
		container.NewBorder(nil, widget.NewSeparator(), nil, nil,
			padded(5, 4, 8, 8, container.New(atLeast(52), container.NewBorder(nil, nil, container.NewCenter(back), nil,
				container.NewVBox(layout.NewSpacer(), p.title, layout.NewSpacer()))))))
	p.board = newBoard(func(s *sketch) { drawNetwork(s, p.net, time.Now()) })
	p.scroll = container.NewVScroll(p.board)
	p.root = container.New(pageLayout{p.board}, newGround(theme.ColorNameBackground, 0), head, p.scroll)
	p.ExtendBaseWidget(p)
	return p
}

// set shows n, or that it is being asked for.
func (p *networkPage) set(room string, n *network) {
	title := tr(textNetwork) + " · " + visibleLine(room)
	if segment := p.title.Segments[0].(*widget.TextSegment); segment.Text != title {
		segment.Text = title
		p.title.Refresh()
	}
	p.net = n
	p.board.Refresh()
	p.scroll.Refresh()
}

// CreateRenderer implements fyne.Widget.
func (p *networkPage) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(p.root) }

// FocusGained implements fyne.Focusable.
func (p *networkPage) FocusGained() {}

// FocusLost implements fyne.Focusable.
func (p *networkPage) FocusLost() {}

// TypedRune implements fyne.Focusable.
func (p *networkPage) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (p *networkPage) TypedKey(e *fyne.KeyEvent) {
	const step = 40
	page := p.scroll.Size().Height - step
	by := func(dy float32) { p.scroll.ScrollToOffset(p.scroll.Offset.AddXY(0, dy)) }
	switch e.Name {
	case fyne.KeyEscape:
		p.OnClose()
	case fyne.KeyUp:
		by(-step)
	case fyne.KeyDown:
		by(step)
	case fyne.KeyPageUp:
		by(-page)
	case fyne.KeyPageDown, fyne.KeySpace:
		by(page)
	case fyne.KeyHome:
		p.scroll.ScrollToTop()
	case fyne.KeyEnd:
		p.scroll.ScrollToBottom()
	}
}

// TypedShortcut implements fyne.Shortcutable.
func (p *networkPage) TypedShortcut(s fyne.Shortcut) { p.OnShortcut(s) }

// pageLayout puts its second object at the top, the third below it and the
// first behind both. What the third scrolls is as high as its width makes it.
type pageLayout struct{ board *board }

// Layout implements fyne.Layout.
func (l pageLayout) Layout(o []fyne.CanvasObject, size fyne.Size) {
	top := o[1].MinSize().Height
	l.board.sketch(size.Width)
	put(o[0], 0, 0, size.Width, size.Height)
	put(o[1], 0, 0, size.Width, top)
	put(o[2], 0, top, size.Width, max(size.Height-top, 0))
}

// MinSize implements fyne.Layout.
func (l pageLayout) MinSize(o []fyne.CanvasObject) fyne.Size {
	return o[1].MinSize().Add(fyne.NewSize(0, 100))
}

// atLeast is a height that its content fills or exceeds.
type atLeast float32

// Layout implements fyne.Layout.
func (atLeast) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		put(o, 0, 0, size.Width, size.Height)
	}
}

// MinSize implements fyne.Layout.
func (h atLeast) MinSize(objects []fyne.CanvasObject) fyne.Size {
	size := fyne.NewSize(0, float32(h))
	for _, o := range objects {
		size = size.Max(o.MinSize())
	}
	return size
}

const (
	maxNetworkWidth  float32 = 1040
	wideNetworkWidth float32 = 720 // from here on the graph has words beside it
	padNetwork       float32 = 20
)

// drawNetwork draws all that is known of a room's network; words come first.
func drawNetwork(s *sketch, n *network, now time.Time) {
	width := min(s.width-2*padNetwork, maxNetworkWidth)
	x := (s.width - width) / 2
	s.y = padNetwork
	if n == nil {
		s.prose(tr(textNotKnownYet), ink{size: textSizeBody, color: colorMuted}, x, width)
		return
	}
	how, means, tone := n.words()
	const mark = 12
	head := ink{size: textSizeHeading + 3, color: theme.ColorNameForeground, bold: true}
	s.add(dot(theme.Color(tone), tone == colorOnline), x, s.y+(head.height()-mark)/2+1, mark, mark)
	s.prose(how, head, x+mark+12, width-mark-12)
	s.y += 2
	s.prose(means, ink{size: textSizeBody, color: colorTentative}, x+mark+12, width-mark-12)
	s.y += 16
	a := n.agreement()
	if alarm := a.alarm(); alarm != "" {
		s.card(colorAlarm, x, width, func(x, width float32) {
			s.prose(alarm, ink{size: textSizeBody, color: colorAlarmText, bold: true}, x, width)
			s.prose(tr(textVerify), ink{size: textSizeSmall, color: colorAlarmText}, x, width)
		})
		s.y += 12
	}
	if width >= wideNetworkWidth {
		const gap = 12
		left := (width - gap) * 0.58
		s.beside(x, left, gap, width-gap-left,
			func(x, width float32) { s.graph(n, x, width) },
			func(x, width float32) { s.orderFacts(n, &a, x, width) })
	} else {
		s.card(colorBubble, x, width, func(x, width float32) { s.graph(n, x, width) })
		s.y += 12
		s.card(colorBubble, x, width, func(x, width float32) { s.orderFacts(n, &a, x, width) })
	}
	s.y += 12
	s.card(colorBubble, x, width, func(x, width float32) { s.memberTable(n, x, width) })
	s.y += 12
	s.card(colorBubble, x, width, func(x, width float32) { s.turns(n, now, x, width) })
	s.y += padNetwork
}

// beside draws two cards side by side, equally high.
func (s *sketch) beside(x, left, gap, right float32, first, second func(x, width float32)) {
	top := s.y
	one := len(s.objects)
	s.card(colorBubble, x, left, first)
	bottom := s.y
	s.y = top
	two := len(s.objects)
	s.card(colorBubble, x+left+gap, right, second)
	s.y = max(s.y, bottom)
	for i, width := range map[int]float32{one: left, two: right} {
		s.objects[i].Resize(fyne.NewSize(width, s.y-top))
	}
}

// graph draws the members and what its lines mean.
func (s *sketch) graph(n *network, x, width float32) {
	drawGraph(s, n, x, width)
	small := ink{size: textSizeTiny, color: colorMuted}
	if more := len(n.members); more > maxGraph {
		s.y += 4
		s.centred(tr(textMoreMembers, args{"Count": count(uint64(more))}), small, x+width/2, s.y, width)
		s.y += small.height()
	}
	var shown []legend
	for _, t := range n.ties() {
		l := legend{t, textDirect}
		if t.relayed {
			l.text = textRelayed
		}
		if !slices.ContainsFunc(shown, func(o legend) bool { return o.text == l.text }) {
			shown = append(shown, l)
		}
	}
	if len(shown) == 0 {
		return
	}
	s.y += 10
	for _, l := range shown {
		l.tie.steady, l.tie.faint = true, false
		s.tie(&l.tie, fyne.NewPos(x, s.y+small.height()/2), fyne.NewPos(x+26, s.y+small.height()/2), 2)
		x += 32 + s.word(tr(l.text), small, x+32, s.y, width) + 18
	}
	s.y += small.height()
}

// legend is a kind of line and what it means.
type legend struct {
	tie  tie
	text string
}

// orderFacts says whether all have the same order, who leads, and what waits.
func (s *sketch) orderFacts(n *network, a *agreement, x, width float32) {
	const hashDigits = 16
	label := ink{size: textSizeTiny, color: colorMuted}
	value := ink{size: textSizeBody, color: theme.ColorNameForeground}
	tell := func(what, words string, k ink) {
		s.prose(what, label, x, width)
		s.prose(words, k, x, width)
		s.y += 12
	}
	agreed := value
	agreed.bold = true
	if a.at > 0 {
		agreed.color = theme.ColorNameError
	}
	tell(tr(textEveryOrder), a.text(), agreed)
	tell(tr(textFinalList), tr(textFinalUpTo, args{"Index": count(n.status.FinalIndex), "Hash": cut(n.status.OrderHash, hashDigits)}), value)
	tell(tr(textWhyLeader), n.leads(), value)
	epoch := count(n.status.Epoch) + ": " + orderName(n.status.Order)
	if len(n.status.View) > 0 {
		epoch += ", " + tr(textTurnWith, args{"Names": textOfNames(n.who.names(n.status.View))})
	}
	tell(tr(textWhyEpoch), epoch, value)
	tell(tr(textHeldBack), n.held(), value)
	s.y -= 12
}

// tableColumn is a column of the table of members; its figures end at the right.
type tableColumn struct {
	title string
	width float32
	right bool
	text  func(m *member) string
}

// columns is all but the first column, which has the names. Where the page is
// narrow, connections stand below the names.
func (n *network) columns(narrow bool) []tableColumn {
	figures, state, connection := 8*textSizeSmall, 17*textSizeSmall, 17*textSizeSmall
	if narrow {
		figures, state = 5.5*textSizeSmall, 8*textSizeSmall
	}
	columns := []tableColumn{
		{tr(textClock), figures, true, func(m *member) string { return count(m.clock) }},
		{tr(textFinalColumn), figures, true, func(m *member) string {
			if m.replica == nil {
				return "–"
			}
			return count(m.replica.FinalIndex)
		}},
		{tr(textOrderColumn), state, false, func(m *member) string {
			text := n.standing(m).text()
			if m.replica != nil && !narrow {
				text += ", " + cut(m.replica.OrderHash, 8)
			}
			return text
		}},
	}
	if narrow {
		return columns
	}
	return append([]tableColumn{{tr(textConnection), connection, false, (*member).connection}}, columns...)
}

// memberTable draws a line for each member.
func (s *sketch) memberTable(n *network, x, width float32) {
	const gap = 20
	narrow := width < wideNetworkWidth-60
	columns := n.columns(narrow)
	name := width
	for _, c := range columns {
		name -= c.width
	}
	cells := func(text func(c *tableColumn) (string, ink), y float32) {
		at := x + name
		for i := range columns {
			c := &columns[i]
			words, k := text(c)
			room, shift := c.width-gap, float32(0)
			words = fitLine(words, room, k.size, k.bold)
			if c.right {
				shift = room - textWidth(words, k.size, fyne.TextStyle{Bold: k.bold})
			}
			s.word(words, k, at+shift, y, room+1)
			at += c.width
		}
	}
	title := ink{size: textSizeTiny, color: colorMuted}
	s.word(tr(textMember), title, x, s.y, name-gap)
	cells(func(c *tableColumn) (string, ink) { return c.title, title }, s.y)
	s.y += title.height() + 4
	high := textHeight(textSizeSmall) + 14
	if narrow {
		high += textHeight(textSizeTiny)
	}
	for i := range n.members {
		m := &n.members[i]
		s.add(canvas.NewRectangle(theme.Color(theme.ColorNameSeparator)), x, s.y, width, 1)
		s.memberName(m, narrow, x, name-gap, high)
		k := ink{size: textSizeSmall, color: theme.ColorNameForeground}
		cells(func(c *tableColumn) (string, ink) {
			if c.title == tr(textOrderColumn) && n.standing(m) == standsApart {
				return c.text(m), ink{size: textSizeSmall, color: theme.ColorNameError, bold: true}
			}
			return c.text(m), k
		}, s.y+(high-k.height())/2)
		s.y += high
	}
	s.y -= 6
}

// memberName draws a dot, the leader's crown and the name, with the connection
// below it where there is no other place.
func (s *sketch) memberName(m *member, withConnection bool, x, width, high float32) {
	const mark = 9
	k := ink{size: textSizeSmall, color: theme.ColorNameForeground, bold: m.self}
	small := ink{size: textSizeTiny, color: colorMuted}
	s.add(dot(theme.Color(presenceColor(m)), m.present()), x, s.y+(high-mark)/2+0.5, mark, mark)
	left, y := x+mark+8, s.y+(high-k.height())/2
	if withConnection {
		y = s.y + (high-k.height()-small.height())/2
		s.word(m.connection(), small, left, y+k.height(), width-mark-8)
	}
	room := width - mark - 8
	if m.leader {
		s.add(crown(), left, y+(k.height()-10)/2, 14, 10)
		left, room = left+19, room-19
	}
	s.word(visibleLine(m.both), k, left, y, room)
}

// turns draws elections and epochs on a line of time, the newest first.
func (s *sketch) turns(n *network, now time.Time, x, width float32) {
	turns := n.status.Turns
	const mark, gap = 9, 10
	clock := 9.8 * textSizeSmall
	s.prose(tr(textSince), ink{size: textSizeTiny, color: colorMuted}, x, width)
	s.y += 6
	k := ink{size: textSizeSmall, color: theme.ColorNameForeground}
	if len(turns) == 0 {
		s.prose(tr(textNoTurns), k, x, width)
		return
	}
	for i, t := range slices.Backward(turns[max(len(turns)-chat.MaxTurns, 0):]) {
		top := s.y
		s.word(textOfTurn(t.Time, now), ink{size: textSizeSmall, color: colorMuted}, x, s.y, clock-gap)
		left := x + clock
		thread := canvas.NewRectangle(theme.Color(colorMuted))
		s.objects = append(s.objects, thread)
		bead := canvas.NewCircle(theme.Color(theme.ColorNamePrimary))
		if t.Type == chat.EventLeader && t.Leader == "" {
			bead.FillColor = theme.Color(colorOffline)
		}
		s.add(bead, left, s.y+(k.height()-mark)/2, mark, mark)
		s.prose(turnText(&t, n.who), k, left+mark+gap, width-clock-mark-gap)
		if reason := turnReason(&t); reason != "" {
			s.prose(reason, ink{size: textSizeTiny, color: colorMuted}, left+mark+gap, width-clock-mark-gap)
		}
		s.y += 8
		if i > 0 {
			put(thread, left+mark/2, top+k.height()/2, 1, s.y-top)
		}
	}
	s.y -= 8
}

// openNetwork shows the open room's network, or its messages again.
func (w *Window) openNetwork() {
	room, ok := w.shown.openRoom()
	if !ok || !w.main.Visible() {
		return
	}
	if w.network.Visible() {
		w.closeNetwork()
		return
	}
	w.closeFinder()
	w.network.set(room.Name, nil)
	w.chat.Hide()
	w.network.Show()
	w.win.Canvas().Focus(w.network)
	w.loop.watch.look(room.ID)
}

func (w *Window) closeNetwork() {
	if !w.network.Visible() {
		return
	}
	w.loop.watch.look("")
	w.network.Hide()
	w.chat.Show()
	w.win.Canvas().Focus(w.composer)
}

// seen shows what the node said of a room's network.
func (w *Window) seen(g *glance, err error) {
	room, ok := w.shown.openRoom()
	switch {
	case !w.network.Visible() || !ok || g.room != room.ID:
	case err != nil:
		w.notice.fail(err)
	default:
		w.network.set(room.Name, newNetwork(&room, &g.status, g.members, w.writers(room.ID)))
	}
}

// glance is what the node says of a room's network.
type glance struct {
	room    string
	status  chat.Status
	members []chat.Member
}

func (l *loop) glanceAt(ctx context.Context, room string) (*glance, error) {
	g := &glance{room: room}
	var err error
	if g.status, err = l.node.Status(ctx); err != nil {
		return g, err
	}
	g.members, err = l.node.Members(ctx, room)
	return g, err
}
