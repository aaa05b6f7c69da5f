package ui

import (
	"strings"
	"unicode/utf8"

	"fyne.io/fyne/v2"
)

// Sizes of code in a message.
const (
	codePad   float32 = 3 // code to the edge of its ground, within a line
	blockPad  float32 = 7 // the same, of a block
	blockGap  float32 = 3 // block to the text around it
	maxRuled          = 4096
	wideSlack float32 = 1 // by which a line may exceed its room: kerning
)

// line is one drawn line of text.
type line struct {
	runs  []run
	width float32
	block bool    // of a block of code
	first bool    // first of its block
	last  bool    // last of it
	y     float32 // of its upper edge, below that of the text
}

// run is a stretch of a line that is drawn at once.
type run struct {
	text   string
	manner manner
	link   string // the whole address, where the run is of a link
	x      float32
	width  float32
	base   float32 // upper edge to base line
}

func (l *line) text() string {
	var b strings.Builder
	for i := range l.runs {
		b.WriteString(l.runs[i].text)
	}
	return strings.TrimRight(b.String(), " ")
}

// ruler breaks text of one size into lines. It breaks them by the widths of
// single characters, which it learns, and measures only what it made: measuring
// a word at a time takes long for long texts.
type ruler struct {
	size  float32
	ascii [2][utf8.RuneSelf]float32 // of plain text, and of code
	other [2]map[rune]float32
}

func newRuler(size float32) *ruler {
	return &ruler{size: size, other: [2]map[rune]float32{{}, {}}}
}

func styleOf(m manner) fyne.TextStyle {
	return fyne.TextStyle{Monospace: m == mannerCode || m == mannerBlock}
}

// advance is about how far r moves the text on.
func (u *ruler) advance(r rune, style fyne.TextStyle) float32 {
	kind := 0
	if style.Monospace {
		kind = 1
	}
	if r < utf8.RuneSelf {
		w := &u.ascii[kind][r]
		if *w == 0 {
			*w = textWidth(string(r), u.size, style)
		}
		return *w
	}
	known := u.other[kind]
	w, ok := known[r]
	if !ok {
		if len(known) >= maxRuled {
			clear(known)
		}
		w = textWidth(string(r), u.size, style)
		known[r] = w
	}
	return w
}

// rough is about the width of s, or something beyond limit.
func (u *ruler) rough(s string, style fyne.TextStyle, limit float32) (w float32) {
	for _, r := range s {
		if w += u.advance(r, style); w > limit {
			break
		}
	}
	return w
}

// fit returns how many bytes of s fit in width, at least one character. No mark
// is parted from its letter.
func (u *ruler) fit(s string, width float32, style fyne.TextStyle) int {
	n := len(s)
	var w float32
	for i, r := range s {
		if w += u.advance(r, style); w > width && i > 0 {
			n = i
			break
		}
	}
	for n > 0 && textWidth(s[:n], u.size, style) > width+wideSlack {
		n = lastStart(s[:n])
	}
	whole := n
	for n > 0 && n < len(s) && joinsOn(s[:n], s[n:]) {
		n = lastStart(s[:n])
	}
	if n == 0 {
		n = whole
	}
	if n == 0 && s != "" {
		_, n = utf8.DecodeRuneInString(s)
	}
	return n
}

// lastStart is where the last character of s begins.
func lastStart(s string) int {
	_, n := utf8.DecodeLastRuneInString(s)
	return len(s) - n
}

// joinsOn says that after goes on with the last character of before.
func joinsOn(before, after string) bool {
	const joiner = '\u200d'
	next, _ := utf8.DecodeRuneInString(after)
	last, _ := utf8.DecodeLastRuneInString(before)
	return next == joiner || last == joiner || isMark(next)
}

// flow breaks spans into lines no wider than room, and returns the width of the
// widest.
func (u *ruler) flow(spans []span, room float32) (lines []line, widest float32) {
	f := flow{ruler: u, room: room}
	for _, s := range spans {
		if s.manner == mannerBlock {
			f.block(s.text)
			continue
		}
		f.add(s)
	}
	if f.open || len(f.lines) == 0 {
		f.end()
	}
	return f.lines, f.widest
}

// flow is text on its way into lines.
type flow struct {
	ruler  *ruler
	room   float32
	lines  []line
	widest float32

	runs []run // of the line being filled
	used float32
	open bool // the line is to be shown, even if it is empty
}

// end closes the line being filled.
func (f *flow) end() {
	f.close(line{runs: f.runs})
	f.runs, f.used, f.open = nil, 0, false
}

// close measures l and takes it in.
func (f *flow) close(l line) {
	for i := range l.runs {
		r := &l.runs[i]
		pad := padOf(r.manner)
		size, base := fyne.CurrentApp().Driver().RenderedTextSize(r.text, f.ruler.size, styleOf(r.manner), nil)
		r.x, r.width, r.base = l.width+pad, size.Width, base
		l.width += r.width + 2*pad
	}
	f.widest = max(f.widest, l.width)
	f.lines = append(f.lines, l)
}

// padOf is what code has on both sides.
func padOf(m manner) float32 {
	switch m {
	case mannerCode:
		return codePad
	case mannerBlock:
		return blockPad
	case mannerPlain, mannerLink:
	}
	return 0
}

// add lays out s, which is no block.
func (f *flow) add(s span) {
	for text := s.text; ; {
		paragraph, rest, more := strings.Cut(text, "\n")
		f.open = true
		f.fill(s, paragraph)
		if !more {
			return
		}
		f.end()
		text = rest
	}
}

// fill adds a text of s that has no line breaks.
func (f *flow) fill(s span, text string) {
	style, pads := styleOf(s.manner), 2*padOf(s.manner)
	begin := 0 // of what the line has taken in, and is not in runs yet
	f.used += pads
	next := func(at int) {
		f.put(s, text[begin:at])
		f.end()
		f.open, f.used = true, pads
	}
	for at := 0; at < len(text); {
		word := at + len(text[at:]) - len(strings.TrimLeft(text[at:], " "))
		to := len(text)
		if n := strings.IndexByte(text[word:], ' '); n >= 0 {
			to = word + n
		}
		w := f.ruler.rough(text[at:to], style, f.room)
		switch {
		case f.used+w <= f.room:
			f.used += w
			at = to
		case at > begin || len(f.runs) > 0:
			next(at)
			begin, at = word, word
		case word == len(text): // spaces alone
			begin, at = word, word
		default:
			begin = word
			at = word + f.ruler.fit(text[word:to], f.room-pads, style)
			f.used = f.room
		}
	}
	f.put(s, text[begin:])
}

// put adds text to the line being filled.
func (f *flow) put(s span, text string) {
	if text == "" {
		return
	}
	r := run{text: text, manner: s.manner}
	if s.manner == mannerLink {
		r.link = s.text
	}
	f.runs = append(f.runs, r)
}

// block adds lines of code.
func (f *flow) block(code string) {
	if f.open {
		f.end()
	}
	from := len(f.lines)
	for text := range strings.SplitSeq(code, "\n") {
		for more := true; more; {
			n := f.ruler.fit(text, f.room-2*blockPad, styleOf(mannerBlock))
			f.close(line{runs: []run{{text: text[:n], manner: mannerBlock}}, block: true})
			text = text[n:]
			more = text != ""
		}
	}
	f.lines[from].first, f.lines[len(f.lines)-1].last = true, true
}
