package ui

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"tertulia/chat"
)

func (n *fakeNode) said(prefix string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, c := range n.calls {
		if strings.HasPrefix(c, prefix) {
			out = append(out, c)
		}
	}
	return out
}

func TestOnboardingAsksForNameThenRoomAndOpensIt(t *testing.T) {
	n := newFakeNode()
	s := newStage(t, n)
	o := s.win.onboarding
	s.until("the name's step", o.root.Visible)
	if !o.naming.Visible() || o.starting.Visible() || s.win.main.Visible() {
		t.Fatal("a node without a name must ask for it alone")
	}
	if s.win.win.Canvas().Focused() != o.name {
		t.Error("the cursor is not in the name's field")
	}
	test.Tap(o.next)
	if !s.win.notice.root.Visible() {
		t.Error("an empty name was not refused")
	}
	test.Type(o.name, " Ana ")
	test.Tap(o.next)
	s.until("the room's step", o.starting.Visible)
	s.until("buttons that work again", func() bool { return !o.create.Disabled() })
	if s.win.win.Canvas().Focused() != o.room {
		t.Error("the cursor is not in the room's field")
	}
	test.Type(o.room, "Friday")
	test.Tap(o.create)
	s.until("the room", func() bool { return s.win.main.Visible() && s.win.header.room.Name == "Friday" })
	if got, want := n.said(""), []string{"name Ana", "create Friday lamport"}; !slices.Equal(got, want) {
		t.Errorf("calls = %q, want %q", got, want)
	}
}

func TestANodeThatHasARoomAlreadyAsksForTheNameAlone(t *testing.T) {
	n := newFakeNode()
	n.view.Rooms = []chat.Room{{ID: "r1", Name: "lobby", State: chat.Joined, Members: 1}}
	s := newStage(t, n)
	o := s.win.onboarding
	s.until("the name's step", o.root.Visible)
	test.Type(o.name, "Ana")
	test.Tap(o.next)
	s.until("the room", s.win.main.Visible)
	if s.win.win.Canvas().Focused() != s.win.composer {
		t.Error("the cursor is not in the composer")
	}
}

func TestJoiningByInviteShowsProgressAndKeepsWhatIsWritten(t *testing.T) {
	n := newFakeNode()
	n.view.Username = "Ana"
	s := newStage(t, n)
	o := s.win.onboarding
	s.until("the room's step", o.starting.Visible)
	n.fail = chat.Errorf(chat.CodeExpired, "This invite ran out.").WithHint("Ask for another one.")
	test.Type(o.invite.entry, someInvite(time.Time{}))
	test.Tap(o.join)
	s.until("the refusal", s.win.notice.root.Visible)
	if got := s.win.notice.text.String(); got != "This invite ran out. Ask for another one." {
		t.Errorf("notice = %q", got)
	}
	n.fail = nil
	test.Tap(o.join)
	s.until("the room", s.win.main.Visible)
	if got, want := roomState(&s.win.header.room), "Fetching history 1,200 of 10,000"; got != want {
		t.Errorf("header = %q, want %q", got, want)
	}
	n.mu.Lock()
	n.fail = chat.Errorf(chat.CodeBusy, "lobby is not joined yet.")
	n.mu.Unlock()
	test.Type(s.win.composer, "hello")
	s.win.composer.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	s.until("the refusal", s.win.notice.root.Visible)
	if got := s.win.composer.Text; got != "hello" {
		t.Errorf("what was written while the room was being joined became %q", got)
	}
}

func lobby(n *fakeNode, count int) {
	n.view.Username = "Ana"
	n.view.Rooms = []chat.Room{{ID: "lobby", Name: "lobby", Order: chat.Lamport, State: chat.Joined, Members: 3, Online: 2}}
	n.messages["lobby"] = messages(count)
}

func TestSentMessageIsShownAndReadIsMarked(t *testing.T) {
	n := newFakeNode()
	lobby(n, 5)
	s := newStage(t, n)
	s.until("five messages", func() bool { return len(s.win.shown.messages) == 5 })
	if got, want := roomState(&s.win.header.room), "3 members, 2 online"; got != want {
		t.Errorf("header = %q, want %q", got, want)
	}
	test.Type(s.win.composer, "hello")
	s.win.composer.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	s.until("the message", func() bool { return len(s.win.shown.messages) == 6 })
	if got, want := n.said("send"), []string{"send hello"}; !slices.Equal(got, want) {
		t.Errorf("calls = %q, want %q", got, want)
	}
	last := s.win.shown.messages[5]
	s.until("read mark", func() bool { return slices.Contains(n.said("read"), "read lobby "+last.Position) })
}

func TestMessageThatCouldNotBeSentReturnsToItsAuthor(t *testing.T) {
	n := newFakeNode()
	lobby(n, 5)
	s := newStage(t, n)
	s.until("five messages", func() bool { return len(s.win.shown.messages) == 5 })
	n.mu.Lock()
	n.fail = chat.Errorf(chat.CodeDisk, "The disk is full.").WithHint("Free some space.")
	n.mu.Unlock()
	test.Type(s.win.composer, "hello")
	s.win.composer.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEnter})
	s.until("the refusal", s.win.notice.root.Visible)
	if s.win.composer.Text != "hello" {
		t.Errorf("composer = %q, want what was written", s.win.composer.Text)
	}
}

func TestWhatIsBeingWrittenStaysWithItsRoom(t *testing.T) {
	n := newFakeNode()
	furnish(n)
	s := newStage(t, n)
	s.until("the first room", func() bool { return s.win.shown.room == "a" })
	test.Type(s.win.composer, "for a")
	s.win.openRoom("b")
	s.until("the other room", func() bool { return s.win.shown.room == "b" })
	if s.win.composer.Text != "" {
		t.Errorf("room b's composer holds %q", s.win.composer.Text)
	}
	s.win.openRoom("a")
	s.until("the first room again", func() bool { return s.win.shown.room == "a" })
	if s.win.composer.Text != "for a" {
		t.Errorf("room a's composer holds %q, want what was written", s.win.composer.Text)
	}
}

func TestHistoryLoadsByPageWhileItIsRead(t *testing.T) {
	n := newFakeNode()
	lobby(n, 2000)
	s := newStage(t, n)
	s.until("a page", func() bool { return len(s.win.shown.messages) == pageMessages })
	list := s.win.list
	for list.rows[0].key != "day/m/0" {
		before := s.win.shown.messages[0].ID
		list.jump(0)
		s.until("an older page", func() bool { return s.win.shown.messages[0].ID != before })
		if len(s.win.shown.messages) > feedMessages {
			t.Fatalf("%d messages held, limit %d", len(s.win.shown.messages), feedMessages)
		}
	}
	if !s.win.newest.Visible() {
		t.Error("no button to the newest messages")
	}
	test.Tap(s.win.newest)
	s.until("the newest", func() bool { return list.stuck && list.rows[len(list.rows)-1].key == "m/1999" })
}

// What is drawn must not depend on how changes were bundled.
func TestReloadFollowsInsertionsInTheHeldStretch(t *testing.T) {
	ctx := context.Background()
	n := newFakeNode()
	n.messages["r"] = messages(50)
	f := feed{node: n}
	if _, err := f.open(ctx, "r", ""); err != nil {
		t.Fatal(err)
	}
	ids := func() (out []string) {
		for _, m := range f.messages {
			out = append(out, m.ID)
		}
		return out
	}
	for i, position := range []string{"01000000000485", "01000000000005", "00", "01000000009999"} {
		late := message(100+i, "Dan")
		late.Position = position
		n.messages["r"] = append(n.messages["r"], late)
		slices.SortFunc(n.messages["r"], func(a, b chat.Message) int { return strings.Compare(a.Position, b.Position) })
		n.messages["r"][10].Text = "changed " + position
		if err := f.reload(ctx, i%2 == 0, []string{"m/49"}); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, m := range n.messages["r"] {
			want = append(want, m.ID)
		}
		if !slices.Equal(ids(), want) {
			t.Errorf("after an insertion at %s:\n got %v\nwant %v", position, ids(), want)
		}
		if f.messages[10].Text != "changed "+position {
			t.Error("a changed message was not read again")
		}
	}
}

func TestReaderOfHistoryKeepsTheStretchWhenTooMuchIsNew(t *testing.T) {
	ctx := context.Background()
	n := newFakeNode()
	n.messages["r"] = messages(3000)[:200]
	f := feed{node: n}
	if _, err := f.open(ctx, "r", ""); err != nil {
		t.Fatal(err)
	}
	n.messages["r"] = messages(3000)
	if err := f.reload(ctx, false, []string{"m/120", "m/121"}); err != nil {
		t.Fatal(err)
	}
	if f.index("m/120") < 0 || f.index("m/160") < 0 || !f.newer || !f.older {
		t.Errorf("reading: held from %s on, older %v, newer %v", f.messages[0].ID, f.older, f.newer)
	}
	if err := f.reload(ctx, true, nil); err != nil {
		t.Fatal(err)
	}
	if got := f.messages[len(f.messages)-1].ID; got != "m/2999" || f.newer {
		t.Errorf("following: last %s, newer %v; want m/2999, false", got, f.newer)
	}
}

func TestComposerSendsOnEnterAndBreaksOnShiftEnter(t *testing.T) {
	test.NewTempApp(t)
	c := newComposer()
	var sent []string
	tooLong := 0
	c.OnSend = func(s string) { sent = append(sent, s) }
	c.OnTooLong = func() { tooLong++ }
	win := test.NewTempWindow(t, c)
	win.Resize(fyne.NewSize(400, 200))
	var held fyne.KeyModifier
	c.modifiers = func() fyne.KeyModifier { return held }
	enter := &fyne.KeyEvent{Name: fyne.KeyReturn}
	c.TypedKey(enter)
	test.Type(c, "one")
	held = fyne.KeyModifierShift
	c.TypedKey(enter)
	test.Type(c, "two")
	if len(sent) != 0 || c.Text != "one\ntwo" {
		t.Fatalf("after Shift+Enter: sent %q, text %q", sent, c.Text)
	}
	if c.rows != 2 {
		t.Errorf("composer shows %d lines, want 2", c.rows)
	}
	held = 0
	c.TypedKey(enter)
	if !slices.Equal(sent, []string{"one\ntwo"}) || c.Text != "" || c.rows != 1 {
		t.Errorf("after Enter: sent %q, text %q, %d lines", sent, c.Text, c.rows)
	}
	c.SetText(strings.Repeat("é", maxComposerBytes))
	if len(c.Text) != maxComposerBytes || tooLong == 0 {
		t.Errorf("text of %d bytes, told %d times; want %d bytes, told", len(c.Text), tooLong, maxComposerBytes)
	}
}

func TestTextCannotPassForWhatItIsNot(t *testing.T) {
	for in, want := range map[string]string{
		"plain":          "plain",
		"a\nb":           "a\nb",
		"a\x1b[31mb":     `a\u001b[31mb`,
		"evil\u202etxt":  `evil\u202etxt`,
		"line\u2028line": `line\u2028line`,
	} {
		if got := visible(in); got != want {
			t.Errorf("visible(%q) = %q, want %q", in, got, want)
		}
	}
	if got := visibleLine("Bob\nAlice"); got != "Bob Alice" {
		t.Errorf("a name of two lines is shown as %q", got)
	}
	if got := initials("  émile"); got != "É" {
		t.Errorf("initials = %q, want É", got)
	}
	m := message(1, "Bob")
	m.Unreadable = true
	if got := rowOf(&m).note; got != "Not readable yet: its key has not arrived." {
		t.Errorf("unreadable is shown as %q", got)
	}
	m.Unreadable, m.Kind = false, chat.KindUnknown
	if got := rowOf(&m).note; got != "Needs a newer version." {
		t.Errorf("unknown is shown as %q", got)
	}
}

func TestWrapLosesNothingAndStaysWithinTheWidth(t *testing.T) {
	test.NewTempApp(t)
	for _, text := range []string{
		"", "one", "one two three four five six seven eight nine ten", "a\n\nb", "  indented text stays where it is put, more or less",
		strings.Repeat("x", 5000), strings.Repeat("é", 300) + " end", strings.Repeat("i", 3000), "日本語のとても長い文章" + strings.Repeat("字", 200),
	} {
		lines, widest := wrap(text, 200, textSizeBody)
		if widest > 200.5 {
			t.Errorf("widest line of %.20q is %.1f", text, widest)
		}
		squeeze := strings.NewReplacer(" ", "", "\n", "")
		if got, want := squeeze.Replace(strings.Join(lines, "")), squeeze.Replace(text); got != want {
			t.Errorf("wrap(%.20q) lost text", text)
		}
	}
}
