package ui

import (
	"image/color"
	"math"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
)

// maxGraph is how many members the graph shows; all are in the table.
const maxGraph = 16

// fewMembers have room for all lines and words.
const fewMembers = 8

// graphScale is how large members are drawn; the more, the smaller.
type graphScale struct {
	height float32   // of the graph
	face   float32   // diameter of a member's circle
	box    fyne.Size // that no other member may touch
	lines  int       // of words beside the circle
	thick  float32   // of a line
}

func scaleOf(n int) graphScale {
	s := graphScale{height: 460, face: 26, box: fyne.NewSize(60, 42), lines: 1, thick: 1.5}
	switch {
	case n <= 2:
		s = graphScale{height: 180, face: 46, box: fyne.NewSize(112, 86), lines: 2, thick: 2}
	case n <= 6:
		s = graphScale{height: 330, face: 46, box: fyne.NewSize(112, 86), lines: 2, thick: 2}
	case n <= fewMembers:
		s = graphScale{height: 380, face: 36, box: fyne.NewSize(96, 72), lines: 2, thick: 2}
	}
	// Larger text makes all higher. Names that are too wide are cut.
	words := textHeight(textSizeTiny)
	if s.lines > 1 {
		words += textHeight(textSizeSmall)
	}
	if more := s.face + words - s.box.Height; more > 0 {
		s.height *= (s.box.Height + more) / s.box.Height
		s.box.Height += more
	}
	return s
}

// seat is where a member is drawn.
type seat struct {
	face  fyne.Position // the centre of its circle
	words fyne.Position // the middle of the upper edge of its words
	box   rect
}

type rect struct{ x, y, w, h float32 }

func (r rect) touches(o rect) bool {
	return r.x < o.x+o.w && o.x < r.x+r.w && r.y < o.y+o.h && o.y < r.y+r.h
}

// seats places n members, 1 to maxGraph, on an ellipse within width and the
// scale's height, the first at the top; two stand side by side. Words stand
// outside of the ellipse, where lines do not go.
func seats(n int, width float32) []seat {
	s := scaleOf(n)
	middle := fyne.NewPos(width/2, s.height/2)
	rx, ry := (min(width, 620)-s.box.Width)/2, (s.height-s.box.Height)/2
	first := -math.Pi / 2
	if n == 2 {
		first = math.Pi
		rx = min(rx, 150)
	}
	if n == 1 {
		rx, ry = 0, 0
	}
	out := make([]seat, n)
	wordsHeight := s.box.Height - s.face
	for i := range out {
		sin, cos := math.Sincos(first + 2*math.Pi*float64(i)/float64(n))
		centre := middle.AddXY(rx*float32(cos), ry*float32(sin))
		b := rect{centre.X - s.box.Width/2, centre.Y - s.box.Height/2, s.box.Width, s.box.Height}
		out[i] = seat{face: fyne.NewPos(centre.X, b.y+s.face/2), words: fyne.NewPos(centre.X, b.y+s.face), box: b}
		if n > 2 && sin < -1e-3 {
			out[i].face.Y, out[i].words.Y = b.y+wordsHeight+s.face/2, b.y
		}
	}
	return out
}

// edge of the graph, between two of its seats.
type tie struct {
	from, to int
	label    string // a round trip, "" = not measured
	relayed  bool
	steady   bool // both ends can be reached
	faint    bool // of two others where there are many
}

// labelPlaces finds for each tie with a label where on its line the label's
// middle can stand without touching a member or another label; NaN = nowhere.
func labelPlaces(ties []tie, at []seat, sizes []fyne.Size) []fyne.Position {
	places := make([]fyne.Position, len(ties))
	taken := make([]rect, 0, len(at)+len(ties))
	for i := range at {
		taken = append(taken, at[i].box)
	}
	nowhere := fyne.NewPos(float32(math.NaN()), float32(math.NaN()))
	for i, t := range ties {
		places[i] = nowhere
		if t.label == "" {
			continue
		}
		for _, part := range []float32{0.5, 0.4, 0.6, 0.33, 0.67, 0.27, 0.73} {
			p := along(at[t.from].face, at[t.to].face, part)
			r := rect{p.X - sizes[i].Width/2, p.Y - sizes[i].Height/2, sizes[i].Width, sizes[i].Height}
			if !touchesAny(r, taken) {
				places[i] = p
				taken = append(taken, r)
				break
			}
		}
	}
	return places
}

func touchesAny(r rect, taken []rect) bool {
	for _, o := range taken {
		if r.touches(o) {
			return true
		}
	}
	return false
}

func along(a, b fyne.Position, part float32) fyne.Position {
	return fyne.NewPos(a.X+(b.X-a.X)*part, a.Y+(b.Y-a.Y)*part)
}

// dashes cuts the line from a to b in pieces, with gaps between them.
func dashes(a, b fyne.Position, piece, gap float32) [][2]fyne.Position {
	length := float32(math.Hypot(float64(b.X-a.X), float64(b.Y-a.Y)))
	var out [][2]fyne.Position
	for at := float32(0); at < length; at += piece + gap {
		out = append(out, [2]fyne.Position{along(a, b, at/length), along(a, b, min(at+piece, length)/length)})
	}
	return out
}

// drawn is the members that the graph shows.
func (n *network) drawn() []member { return n.members[:min(len(n.members), maxGraph)] }

// ties are the links between members that the graph shows.
func (n *network) ties() []tie {
	place := make(map[string]int)
	members := n.drawn()
	for i := range members {
		place[members[i].name] = i
	}
	var ties []tie
	for _, l := range n.links {
		from, ok := place[l.A]
		to, found := place[l.B]
		if !ok || !found || from == to {
			continue
		}
		t := tie{from: from, to: to, relayed: l.Relayed, steady: members[from].present() && members[to].present()}
		t.faint = len(members) > fewMembers && !members[from].self && !members[to].self
		if l.RTT > 0 && !t.faint {
			t.label = textOfRTT(l.RTT)
		}
		ties = append(ties, t)
	}
	return ties
}

// drawGraph draws who is connected to whom at x, below what is there.
func drawGraph(s *sketch, n *network, x, width float32) {
	members, ties := n.drawn(), n.ties()
	if len(members) == 0 {
		return
	}
	var g sketch
	at, scale := seats(len(members), width), scaleOf(len(members))
	sizes := make([]fyne.Size, len(ties))
	small := ink{size: textSizeTiny, color: colorMuted}
	slices.SortStableFunc(ties, func(a, b tie) int { // what is faint lies below
		switch {
		case a.faint == b.faint:
			return 0
		case a.faint:
			return -1
		}
		return 1
	})
	for i, t := range ties {
		g.tie(&t, at[t.from].face, at[t.to].face, scale.thick)
		m := small.text(t.label).MinSize()
		sizes[i] = fyne.NewSize(m.Width+8, m.Height)
	}
	for i, p := range labelPlaces(ties, at, sizes) {
		if p.X != p.X { // nowhere
			continue
		}
		ground := canvas.NewRectangle(theme.Color(colorBubble))
		ground.CornerRadius = 4
		g.add(ground, p.X-sizes[i].Width/2, p.Y-sizes[i].Height/2, sizes[i].Width, sizes[i].Height)
		g.word(ties[i].label, small, p.X-sizes[i].Width/2+4, p.Y-sizes[i].Height/2, sizes[i].Width)
	}
	for i := range members {
		g.member(&members[i], at[i], scale)
	}
	for _, o := range g.objects {
		o.Move(o.Position().AddXY(x, s.y))
	}
	s.objects = append(s.objects, g.objects...)
	s.y += scale.height
}

// tie draws a line: dashed where a relay is between.
func (s *sketch) tie(t *tie, a, b fyne.Position, thick float32) {
	c := theme.Color(colorOffline)
	switch {
	case t.faint:
		c = faded(theme.Color(colorMuted))
	case t.steady:
		c = theme.Color(colorOnline)
	}
	pieces := [][2]fyne.Position{{a, b}}
	if t.relayed && !t.faint {
		pieces = dashes(a, b, 7, 5)
	}
	for _, p := range pieces {
		line := canvas.NewLine(c)
		line.StrokeWidth = thick
		line.Position1, line.Position2 = p[0], p[1]
		s.objects = append(s.objects, line)
	}
}

func faded(c color.Color) color.Color {
	r, g, b, _ := c.RGBA()
	return color.NRGBA{R: uint8(r >> 8), G: uint8(g >> 8), B: uint8(b >> 8), A: 0x50}
}

// member draws a circle with an initial, a dot that tells whether it can be
// reached, a crown on who leads, and words.
func (s *sketch) member(m *member, at seat, scale graphScale) {
	half := scale.face / 2
	x, y := at.face.X-half, at.face.Y-half
	ground := theme.Color(colorBubble)
	face, letter := canvas.NewCircle(avatarColor(m.id)), onAvatar
	face.StrokeColor, face.StrokeWidth = ground, 3
	switch {
	case m.self:
		face.StrokeColor = theme.Color(theme.ColorNamePrimary)
	case !m.present():
		face.FillColor = theme.Color(colorDay)
		face.StrokeColor, face.StrokeWidth = theme.Color(colorMuted), 1.5
	}
	s.add(face, x, y, scale.face, scale.face)
	text := write(newText(scale.face*0.38), initials(m.who), letter)
	if !m.present() {
		text.Color = theme.Color(colorDayText)
	}
	text.TextStyle.Bold = true
	z := text.MinSize()
	s.add(text, at.face.X-z.Width/2, at.face.Y-z.Height/2, z.Width, z.Height)

	mark := max(scale.face*0.28, 9)
	state := dot(theme.Color(presenceColor(m)), m.present())
	hole := canvas.NewCircle(ground)
	s.add(hole, x+scale.face-mark-1, y+scale.face-mark-1, mark+4, mark+4)
	s.add(state, x+scale.face-mark+1, y+scale.face-mark+1, mark, mark)
	if m.leader {
		badge := max(scale.face*0.42, 15)
		hole := canvas.NewCircle(ground)
		s.add(hole, x+scale.face-badge*0.7, y-badge*0.3, badge, badge)
		s.add(crown(), x+scale.face-badge*0.7+2.5, y-badge*0.3+3, badge-5, badge-6.5)
	}

	name := ink{size: textSizeSmall, color: theme.ColorNameForeground, bold: m.self || m.leader}
	if scale.lines == 1 {
		name.size = textSizeTiny
	}
	s.centred(visibleLine(m.who), name, at.words.X, at.words.Y, scale.box.Width-2)
	if scale.lines > 1 {
		s.centred(m.graphWords(), ink{size: textSizeTiny, color: colorMuted}, at.words.X, at.words.Y+name.height(), scale.box.Width-2)
	}
}

// graphWords are few: the lines of the graph say the rest.
func (m *member) graphWords() string {
	switch {
	case m.self:
		return tr(textYou)
	case m.present() && m.relayed:
		return tr(textRelayed)
	case m.present():
		return tr(textDirect)
	}
	return m.connection()
}

func (s *sketch) centred(text string, k ink, x, y, width float32) {
	t := k.text(fitLine(text, width, k.size, k.bold))
	m := t.MinSize()
	s.add(t, x-m.Width/2, y, m.Width, m.Height)
}

func presenceColor(m *member) fyne.ThemeColorName {
	if m.present() {
		return colorOnline
	}
	return colorOffline
}

// crown has three points and a band.
func crown() *canvas.ArbitraryPolygon {
	shape := canvas.NewArbitraryPolygon([]fyne.Position{
		{X: 0.08, Y: 1}, {X: 0, Y: 0.16}, {X: 0.27, Y: 0.5}, {X: 0.5, Y: 0},
		{X: 0.73, Y: 0.5}, {X: 1, Y: 0.16}, {X: 0.92, Y: 1},
	}, theme.Color(colorCrown))
	shape.NormalizedPoints = true
	return shape
}

// networkIcon is three members with a line between each two.
var networkIcon = theme.NewThemedResource(fyne.NewStaticResource("network.svg", []byte(
	`<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24"><path fill="#000000" d="`+
		`M12 2a3.2 3.2 0 1 0 0 6.4a3.2 3.2 0 1 0 0-6.4z`+
		`M5 15.4a3.2 3.2 0 1 0 0 6.4a3.2 3.2 0 1 0 0-6.4z`+
		`M19 15.4a3.2 3.2 0 1 0 0 6.4a3.2 3.2 0 1 0 0-6.4z`+
		`M9.8 7.2l1.6 0.8l-4.3 8.6l-1.6-0.8z M14.2 7.2l-1.6 0.8l4.3 8.6l1.6-0.8z M7 17.7h10v1.8h-10z`+
		`"/></svg>`)))
