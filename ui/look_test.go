package ui

import (
	"slices"
	"strings"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"
)

func (s *stage) key(name fyne.KeyName, modifier fyne.KeyModifier) {
	s.win.composer.TypedShortcut(&desktop.CustomShortcut{KeyName: name, Modifier: modifier})
}

// elsewhere changes something outside the open room and waits until it is shown.
func (s *stage) elsewhere(n *fakeNode) {
	n.mu.Lock()
	n.view.Network = "Connected to 7 others"
	n.mu.Unlock()
	n.signal()
	s.until("the change", func() bool { return s.win.shown.view.Network == "Connected to 7 others" })
}

func press(e fyne.Focusable, names ...fyne.KeyName) {
	for _, n := range names {
		e.TypedKey(&fyne.KeyEvent{Name: n})
	}
}

func TestAReplyNamesItsMessageAndAClickOnTheQuoteGoesThere(t *testing.T) {
	n := newFakeNode()
	lobby(n, 2000)
	s := newStage(t, n)
	s.until("a page", func() bool { return len(s.win.shown.messages) == pageMessages })
	s.win.startReply(s.win.message("m/1990"))
	if !s.win.reply.root.Visible() || s.win.win.Canvas().Focused() != s.win.composer {
		t.Fatal("an answer does not begin in the composer, below what is answered")
	}
	test.Type(s.win.composer, "quite so")
	press(s.win.composer, fyne.KeyReturn)
	s.until("the answer", func() bool { return s.win.shown.messages[len(s.win.shown.messages)-1].ReplyTo == "m/1990" })
	if s.win.reply.root.Visible() {
		t.Error("the answer is sent, and still being written")
	}
	// An answer to a message that is not held.
	n.mu.Lock()
	far := message(2001, "Bob")
	far.ReplyTo = "m/77"
	n.messages["lobby"] = append(n.messages["lobby"], far)
	n.mu.Unlock()
	n.signal()
	s.until("the quote", func() bool { return s.win.shown.rows[len(s.win.shown.rows)-1].quote.id == "m/77" })
	l := s.win.list
	last := l.rows[len(l.rows)-1]
	if want := visibleLine(cut(message(77, "").Text, 160)); last.quote.text != want {
		t.Errorf("quote = %q, want %q", last.quote.text, want)
	}
	i := len(l.rows) - 1
	y := float32(0)
	for _, e := range l.reference() {
		if e.key == last.key {
			y = e.bottom - l.height(i)
		}
	}
	shape := l.shape(i)
	l.Tapped(&fyne.PointEvent{Position: fyne.NewPos(shape.top.X+20, y+shape.quoteTop(l.metrics)+4)})
	s.until("the origin", func() bool { return l.lit == "m/77" })
	if e := l.reference(); l.stuck || !slices.ContainsFunc(e, func(e edge) bool { return e.key == "m/77" }) {
		t.Error("the answered message is not in view")
	}
	s.elsewhere(n) // does not take the reader away
	if l.lit != "m/77" || l.stuck {
		t.Error("the reader was taken away")
	}
	press(s.win.composer, fyne.KeyEscape, fyne.KeyEscape)
	s.until("the newest", func() bool { return l.stuck && l.rows[len(l.rows)-1].key == far.ID })
}

func TestEscapeTakesBackOneThingAtATime(t *testing.T) {
	n := newFakeNode()
	lobby(n, 5)
	s := newStage(t, n)
	s.until("five messages", func() bool { return len(s.win.shown.messages) == 5 })
	s.win.startReply(s.win.message("m/1"))
	s.key(fyne.KeyF, fyne.KeyModifierShortcutDefault)
	if !s.win.finder.root.Visible() {
		t.Fatal("Ctrl+F does not search")
	}
	press(s.win.finder.entry, fyne.KeyEscape)
	if s.win.finder.root.Visible() || !s.win.reply.root.Visible() {
		t.Fatal("Escape leaves the search alone")
	}
	press(s.win.composer, fyne.KeyEscape)
	if s.win.reply.root.Visible() {
		t.Error("Escape does not leave the answer")
	}
}

func TestSearchFindsAsOneTypesAndGoesToTheMessage(t *testing.T) {
	n := newFakeNode()
	lobby(n, 1000)
	n.messages["lobby"][120].Text = "Where is the Lighthouse keeper?"
	n.messages["lobby"][700].Text = "the lighthouse, again"
	s := newStage(t, n)
	s.until("a page", func() bool { return len(s.win.shown.messages) == pageMessages })
	s.win.openFinder()
	test.Type(s.win.finder.entry, "lighth")
	s.until("two hits", func() bool { return len(s.win.finder.items) == 2 })
	if item := s.win.finder.items[1]; item.hit != "Lighth" || item.text != n.messages["lobby"][120].Text {
		t.Errorf("hit %q in %q", item.hit, item.text)
	}
	press(s.win.finder.entry, fyne.KeyDown, fyne.KeyReturn)
	s.until("the older hit", func() bool { return s.win.list.lit == "m/120" })
	press(s.win.finder.entry, fyne.KeyUp, fyne.KeyReturn)
	s.until("the newer hit", func() bool { return s.win.list.lit == "m/700" })
	press(s.win.finder.entry, fyne.KeyDown, fyne.KeyReturn)
	s.until("the older hit again", func() bool { return s.win.list.lit == "m/120" })
	test.Type(s.win.finder.entry, "ouse")
	press(s.win.finder.entry, fyne.KeyReturn) // before there is an answer
	s.until("what is found first", func() bool { return s.win.list.lit == "m/700" })
	test.Type(s.win.finder.entry, " tower")
	s.until("nothing", func() bool { return len(s.win.finder.items) == 0 && s.win.finder.none.Visible() })
}

func TestAFoundWordStandsInItsSurroundings(t *testing.T) {
	m := message(1, "Bob")
	m.Text = strings.Repeat("before ", 20) + "ÁRVORE\nand after"
	item := hitItem(&m, "árv", "Bob", start)
	if item.hit != "ÁRV" || !strings.HasPrefix(item.text, "…") || !strings.Contains(item.text, "before ÁRVORE and after") {
		t.Errorf("hit %q in %q", item.hit, item.text)
	}
	if item := hitItem(&m, "nowhere", "Bob", start); item.hit != "" || !strings.HasPrefix(item.text, "before") {
		t.Errorf("no hit is shown as %q in %q", item.hit, item.text)
	}
}

func TestKeysGoFromRoomToRoom(t *testing.T) {
	n := newFakeNode()
	furnish(n)
	s := newStage(t, n)
	in := func(room string) func() bool { return func() bool { return s.win.shown.room == room } }
	s.until("the first room", in("a"))
	s.key(fyne.KeyDown, fyne.KeyModifierAlt)
	s.until("the second room", in("b"))
	s.key(fyne.KeyUp, fyne.KeyModifierAlt)
	s.until("the first room", in("a"))
	s.key(fyne.KeyUp, fyne.KeyModifierAlt) // there is none above
	s.key(fyne.KeyK, fyne.KeyModifierShortcutDefault)
	e, ok := s.win.win.Canvas().Focused().(*pickEntry)
	if !ok {
		t.Fatal("Ctrl+K does not offer rooms")
	}
	test.Type(e, "WALK")
	if len(e.picker.items) != 1 || e.picker.items[0].title != "Sunday walk" {
		t.Fatalf("rooms offered for WALK: %v", e.picker.items)
	}
	press(e, fyne.KeyReturn)
	s.until("the third room", in("c"))
	s.key(fyne.KeyK, fyne.KeyModifierShortcutDefault)
	e = s.win.win.Canvas().Focused().(*pickEntry)
	test.Type(e, "harbour")
	s.until("what was said elsewhere", func() bool { return len(e.picker.items) == 1 })
	press(e, fyne.KeyReturn)
	s.until("the message in the first room", func() bool { return s.win.shown.room == "a" && s.win.list.lit == "m/2" })
}

func TestTheUnreadLineStandsWhereReadingEnded(t *testing.T) {
	n := newFakeNode()
	furnish(n) // room b has 40 messages, 3 of them unread
	for i := range n.messages["b"] {
		n.messages["b"][i].Mine = false
	}
	s := newStage(t, n)
	line := func() string {
		for i, r := range s.win.shown.rows {
			if r.kind == rowUnread {
				return s.win.shown.rows[i+1].key
			}
		}
		return ""
	}
	say := func(i int) {
		n.mu.Lock()
		n.messages["b"] = append(n.messages["b"], message(i, "Bob"))
		n.mu.Unlock()
		n.signal()
		s.until("a message", func() bool { return s.win.message(message(i, "").ID) != nil })
	}
	s.until("the first room", func() bool { return s.win.shown.room == "a" })
	s.win.openRoom("b")
	s.until("the other room", func() bool { return s.win.shown.room == "b" && len(s.win.shown.messages) == 40 })
	if got := line(); got != "m/37" {
		t.Errorf("the line is above %q, want m/37", got)
	}
	say(40)
	if got := line(); got != "m/37" || s.win.newest.Visible() {
		t.Errorf("what is seen to come has the line above %q, want m/37 still", got)
	}
	s.win.list.scrollBy(900)
	n.mu.Lock()
	n.view.Rooms[1].Unread = 1
	n.mu.Unlock()
	say(41)
	if got := line(); got != "m/41" {
		t.Errorf("what came while history was read has the line above %q, want m/41", got)
	}
	if !s.win.newest.Visible() || s.win.newest.Text != "1 new" {
		t.Errorf("the way to the newest says %q", s.win.newest.Text)
	}
	s.win.send("seen")
	s.until("no line", func() bool { return line() == "" && s.win.list.stuck })
}

func TestReadingIsToldAgainWhenLinesSettle(t *testing.T) {
	n := newFakeNode()
	lobby(n, 5)
	s := newStage(t, n)
	s.until("the mark in the tail", func() bool { return slices.Equal(n.said("read"), []string{"read lobby 01000000000040"}) })
	n.mu.Lock()
	for i := range n.messages["lobby"] {
		finalize(&n.messages["lobby"][i], uint64(i)+1)
	}
	n.mu.Unlock()
	n.signal()
	s.until("the mark among the final", func() bool { return slices.Contains(n.said("read"), "read lobby 000000000000000005") })
	s.elsewhere(n)
	if got := n.said("read"); len(got) != 2 {
		t.Errorf("told %q; nothing changed after the second", got)
	}
}

func TestARoomSaysWhomItWaitsFor(t *testing.T) {
	n := newFakeNode()
	lobby(n, 5)
	n.view.Rooms[0].Waiting = "Waiting for Bob.\u202e"
	s := newStage(t, n)
	s.until("the strip", s.win.waiting.root.Visible)
	if got := s.win.waiting.text.String(); got != `Waiting for Bob.\u202e` {
		t.Errorf("strip = %q", got)
	}
	n.mu.Lock()
	n.view.Rooms[0].Waiting = ""
	n.mu.Unlock()
	n.signal()
	s.until("no strip", func() bool { return !s.win.waiting.root.Visible() })
}

func TestADraftIsGoneOnWithAtItsEnd(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	s := newStage(t, n)
	s.until("the first room", func() bool { return s.win.shown.room == "a" })
	test.Type(s.win.composer, "half a thought")
	s.key(fyne.KeyDown, fyne.KeyModifierAlt)
	s.until("the other room", func() bool { return s.win.shown.room == "b" })
	s.key(fyne.KeyUp, fyne.KeyModifierAlt)
	s.until("the first room again", func() bool { return s.win.shown.room == "a" })
	test.Type(s.win.composer, ", the other half")
	if got := s.win.composer.Text; got != "half a thought, the other half" {
		t.Errorf("the composer holds %q", got)
	}
}

func TestTheKeyboardLeavesTheComposerAndComesBackFromASheet(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	s := newStage(t, n)
	s.until("the room", func() bool { return s.win.shown.room == "a" })
	c := s.win.win.Canvas()
	if s.win.composer.AcceptsTab() {
		t.Error("Tab does not lead out of the composer")
	}
	c.Focus(s.win.header.invite)
	press(s.win.header.invite, fyne.KeyReturn)
	s.until("the invite", func() bool { return c.Overlays().Top() != nil })
	press(c.Focused(), fyne.KeyEscape)
	if c.Overlays().Top() != nil || c.Focused() != s.win.header.invite {
		t.Errorf("the cursor is in %T after the sheet", c.Focused())
	}
}

func TestWhatIsTypedAfterAClickGoesIntoTheComposer(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	s := newStage(t, n)
	s.until("the room", func() bool { return s.win.shown.room == "a" })
	c := s.win.win.Canvas()
	test.Tap(s.win.header.invite)
	s.until("the invite", func() bool { return c.Overlays().Top() != nil })
	c.Unfocus()
	c.OnTypedRune()('x')
	if s.win.composer.Text != "" {
		t.Error("what is typed into a sheet goes into the composer below it")
	}
	c.OnTypedKey()(&fyne.KeyEvent{Name: fyne.KeyEscape})
	if c.Focused() != nil {
		t.Fatalf("the cursor is in %T after a click", c.Focused())
	}
	c.OnTypedRune()('y')
	if s.win.composer.Text != "y" || c.Focused() != s.win.composer {
		t.Errorf("the composer holds %q, the cursor is in %T", s.win.composer.Text, c.Focused())
	}
}
