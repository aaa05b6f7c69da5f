package ui

import (
	"fmt"
	"image"
	"image/color"
	"slices"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
	"rsc.io/qr"

	"tertulia/chat"
)

// inRooms is a window that shows the rooms of furnish.
func inRooms(t *testing.T) (*fakeNode, *stage) {
	t.Helper()
	n := newFakeNode()
	furnish(n)
	n.members = threeMembers()
	s := newStage(t, n)
	s.until("the first room", func() bool { return s.win.shown.room == "a" })
	return n, s
}

// words is what the sheet on top says.
func (s *stage) words() string {
	var out []string
	for _, t := range onTop[*widget.RichText](s) {
		out = append(out, t.String())
	}
	return strings.Join(out, "\n")
}

func (s *stage) press(text string) {
	s.t.Helper()
	b := s.button(text)
	if b == nil || b.Disabled() {
		s.t.Fatalf("no button %q to press", text)
	}
	test.Tap(b)
}

func (s *stage) said(n *fakeNode, prefix string, want ...string) {
	s.t.Helper()
	s.until(prefix, func() bool { return slices.Equal(n.said(prefix), want) })
}

func TestOnlyWhoStartedARoomIsOfferedToChangeIt(t *testing.T) {
	for _, rules := range []bool{true, false} {
		t.Run(fmt.Sprint(rules), func(t *testing.T) {
			n, s := inRooms(t)
			n.members[0].Creator, n.members[1].Creator = rules, !rules
			room := *s.room("a")
			labels := []string{}
			for _, item := range s.win.roomMenuItems(room, rules) {
				labels = append(labels, item.Label)
			}
			if slices.Contains(labels, textRename) != rules || !slices.Contains(labels, textLeave) {
				t.Errorf("menu = %q", labels)
			}
			s.win.showRoom(room)
			s.until("the room's sheet", s.sheetOpen)
			if (s.button(textRename) != nil) != rules || (s.button(textSwitch) != nil) != rules {
				t.Errorf("to rename: %v, to switch: %v", s.button(textRename), s.button(textSwitch))
			}
			if strings.Contains(s.words(), "Only n2") == rules {
				t.Errorf("the sheet says %q", s.words())
			}
			s.closeSheets()
			s.win.showMembers(room)
			s.until("the members", s.sheetOpen)
			bins := 0
			for _, b := range onTop[*button](s) {
				if b.Icon != nil && b.Icon.Name() == theme.DeleteIcon().Name() {
					bins++
				}
			}
			if want := map[bool]int{true: 2, false: 0}[rules]; bins != want {
				t.Errorf("%d members can be removed, want %d", bins, want)
			}
			s.closeSheets()
			s.win.askLeave(room)
			s.until("the question", s.sheetOpen)
			if strings.Contains(s.words(), "nobody can rename it") != rules {
				t.Errorf("the sheet says %q", s.words())
			}
		})
	}
}

func TestTheOrderIsSwitchedAfterAnExplanation(t *testing.T) {
	n, s := inRooms(t)
	s.win.showRoom(*s.room("a"))
	s.until("the room's sheet", s.sheetOpen)
	s.press(textSwitch)
	for _, want := range []string{textLamportAbout, textLeaderAbout, textSwitchAbout} {
		if !strings.Contains(s.words(), want) {
			t.Errorf("the sheet does not say %q", want)
		}
	}
	if s.win.win.Canvas().Focused() != s.button(textCancel) {
		t.Error("Enter alone switches the order")
	}
	s.press("Switch to “Elected leader”")
	s.said(n, "switch", "switch a leader")
	s.until("the sheet's end", func() bool { return !s.sheetOpen() })
	s.until("the other mark", func() bool { return s.win.header.room.Order == chat.Leader })
}

func TestARoomIsRenamedLeftAndRidOfAMember(t *testing.T) {
	n, s := inRooms(t)
	s.win.askRename(*s.room("a"))
	name, ok := s.win.win.Canvas().Focused().(*entry)
	if !ok || name.SelectedText() != "Book circle" {
		t.Fatal("the name is not there to be typed over")
	}
	test.Type(name, "Evening circle")
	press(name, fyne.KeyReturn)
	s.said(n, "rename", "rename a Evening circle")
	s.until("the name", func() bool { return !s.sheetOpen() && s.win.header.room.Name == "Evening circle" })

	s.win.showMembers(*s.room("a"))
	s.until("the members", s.sheetOpen)
	bins := slices.DeleteFunc(onTop[*button](s), func(b *button) bool { return b.Icon == nil || b.Icon.Name() != theme.DeleteIcon().Name() })
	test.Tap(bins[1])
	if !strings.Contains(s.words(), "n3 will no longer be able") {
		t.Fatalf("the sheet says %q", s.words())
	}
	s.press(textRemove)
	s.said(n, "remove", "remove a peer-n3")
	s.until("two members", func() bool { return len(onTop[*card](s)) == 2 })
	s.closeSheets()

	s.win.askLeave(*s.room("a"))
	s.until("the question", s.sheetOpen)
	s.escape()
	if s.sheetOpen() || len(n.said("leave")) != 0 {
		t.Fatal("Escape does not leave it at that")
	}
	s.win.askLeave(*s.room("a"))
	s.until("the question", s.sheetOpen)
	s.press(textLeaveConfirm)
	s.said(n, "leave", "leave a")
	s.until("another room", func() bool { return s.win.shown.room == "b" && !s.sheetOpen() })
}

func TestFingerprintsAreShownInGroupsAndCopied(t *testing.T) {
	n, s := inRooms(t)
	s.win.showMembers(*s.room("a"))
	s.until("the members", s.sheetOpen)
	cards := onTop[*card](s)
	if len(cards) != 3 || cards[1].below != n.members[1].Fingerprint || !cards[1].mono {
		t.Fatalf("the second card shows %q", cards[1].below)
	}
	for i, want := range []string{"this computer, started the conversation", "connected", "does not answer"} {
		if cards[i].note != want {
			t.Errorf("of %s it says %q, want %q", cards[i].title, cards[i].note, want)
		}
	}
	copies := slices.DeleteFunc(onTop[*button](s), func(b *button) bool { return b.Icon == nil || b.Icon.Name() != theme.ContentCopyIcon().Name() })
	test.Tap(copies[1])
	if got := s.win.app.Clipboard().Content(); got != n.members[1].Fingerprint {
		t.Errorf("copied %q", got)
	}
}

func TestAnInviteIsMadeAnewWhenItsLimitsChange(t *testing.T) {
	n, s := inRooms(t)
	n.link = someInvite(time.Time{})
	s.win.showInvite(*s.room("a"))
	s.until("a link", func() bool { return s.button(textCopyLink) != nil && !s.button(textCopyLink).Disabled() })
	choices := onTop[*choice](s)
	press(choices[0], fyne.KeyLeft) // from always to a week
	s.until("a second link", func() bool { return len(n.said("invite")) == 2 && !s.button(textCopyLink).Disabled() })
	test.TapAt(choices[1], fyne.NewPos(5, 5)) // once
	s.said(n, "invite", "invite a 0s 0", "invite a 168h0m0s 0", "invite a 168h0m0s 1")
	s.until("a third link", func() bool { return !s.button(textCopyLink).Disabled() })
	press(choices[1], fyne.KeyReturn)
	if got := s.win.app.Clipboard().Content(); got != n.link {
		t.Errorf("Enter copied %q", got)
	}
	link := onTop[*widget.Label](s)[0]
	if link.Text != n.link {
		t.Errorf("the link is shown as %q", link.Text)
	}
	n.mu.Lock()
	n.fail = chat.Errorf(chat.CodeDisk, "The disk is full.")
	n.mu.Unlock()
	press(choices[1], fyne.KeyRight)
	s.until("the refusal", func() bool { return strings.Contains(s.words(), "The disk is full.") })
	if link.Text != "" || !s.button(textCopyLink).Disabled() {
		t.Error("a link with other limits than those that are shown can be copied")
	}
}

func TestACodeIsBlackOnWhiteWithItsQuietZoneAtAnySize(t *testing.T) {
	test.NewTempApp(t)
	link := longInvite()
	p := newQRPicture()
	if !p.set(link) {
		t.Fatal("no code for a long link")
	}
	code, err := qr.Encode(strings.ToUpper(link), qr.L)
	if err != nil {
		t.Fatal(err)
	}
	black := func(img image.Image, x, y int) bool { return img.At(x, y) == color.Color(color.Black) }
	for _, side := range []int{280, 281, 413, 560, 840} {
		img := p.draw(side, side+7)
		module := side / (code.Size + 8)
		left, top := (side-module*code.Size)/2, (side+7-module*code.Size)/2
		if left < 4*module || top < 4*module {
			t.Errorf("at %d the quiet zone is %d by %d pixels, modules of %d", side, left, top, module)
		}
		for y := range side + 7 {
			for x := range side {
				mx, my := (x-left+module)/module-1, (y-top+module)/module-1
				if want := code.Black(mx, my); black(img, x, y) != want {
					t.Fatalf("at %d the pixel %d, %d is black: %v", side, x, y, !want)
				}
			}
		}
	}
	if p.set("tertulia:" + strings.Repeat("a", 5000)); p.code != nil {
		t.Error("a code for what no code can hold")
	}
}

func TestAnInviteIsReadWhileItIsTyped(t *testing.T) {
	n, s := inRooms(t)
	s.win.askJoin("")
	field := s.win.win.Canvas().Focused().(*entry)
	now := s.win.loop.now()
	until := now.Add(time.Minute)
	for _, c := range []struct {
		typed, want string
		valid       bool
	}{
		{"nonsense", textInviteWrong, false},
		{someInvite(time.Time{})[:60], textInviteWrong, false},
		{someInvite(now.Add(-400 * 24 * time.Hour)), "has not been valid since", false},
		{"  " + strings.ToUpper(someInvite(time.Time{})) + "\n", "An invite to “Book circle”.", true},
		{someInvite(until), "valid until " + textOfTime(until, now), true},
	} {
		field.SetText(c.typed)
		if !strings.Contains(s.words(), c.want) {
			t.Errorf("of %.20q the sheet says %q, want %q", c.typed, s.words(), c.want)
		}
		if s.button(textJoin).Disabled() == c.valid {
			t.Errorf("of %.20q one can join: %v", c.typed, !c.valid)
		}
		if press(field, fyne.KeyReturn); !c.valid && len(n.said("join")) > 0 {
			t.Fatalf("joined by %.20q", c.typed)
		}
		if c.valid {
			break
		}
	}
	s.said(n, "join", "join "+strings.ToUpper(someInvite(time.Time{})))
}

func TestALinkFromOutsideNeverJoinsByItself(t *testing.T) {
	n := newFakeNode()
	s := newStage(t, n)
	link := someInvite(time.Time{})
	s.win.OpenInvite(link) // before anything is shown
	s.until("the name's step", s.win.onboarding.root.Visible)
	test.Type(s.win.onboarding.name, "Ana")
	press(s.win.onboarding.name, fyne.KeyReturn)
	s.until("the room's step", func() bool { return s.win.onboarding.starting.Visible() && !s.win.onboarding.busy })
	if s.win.onboarding.invite.link != link || s.win.win.Canvas().Focused() != s.win.onboarding.join {
		t.Fatal("the invite is not there to be taken by one key")
	}
	if got := n.said("join"); len(got) != 0 {
		t.Fatalf("calls = %q", got)
	}
	n.hold = make(chan struct{}) // the room may be seen before the call returns
	press(s.win.onboarding.join, fyne.KeyReturn)
	s.said(n, "join", "join "+link)
	s.until("the room", s.win.main.Visible)
	if s.sheetOpen() || s.win.win.Canvas().Focused() != s.win.composer {
		t.Error("an invite that was taken is offered again")
	}
	close(n.hold)
	s.until("the answer", func() bool { return !s.win.onboarding.busy })
	if s.sheetOpen() {
		t.Error("an invite that was taken is offered after all")
	}
	s.win.OpenInvite(link) // while it runs
	if !s.sheetOpen() || s.win.win.Canvas().Focused() != s.button(textJoin) || len(n.said("join")) != 1 {
		t.Error("the invite is not offered in a sheet")
	}
}

func TestALinkFromOutsideWaitsForTheRooms(t *testing.T) {
	n := newFakeNode()
	furnish(n)
	s := newStage(t, n)
	s.win.OpenInvite(someInvite(time.Time{}))
	s.until("the offer", func() bool { return s.button(textJoin) != nil && !s.button(textJoin).Disabled() })
	s.closeSheets()
	s.elsewhere(n)
	if s.sheetOpen() || len(n.said("join")) != 0 {
		t.Error("an invite that was waved away is back")
	}
}

func TestRoomsNearbyAreJoinedByOneClick(t *testing.T) {
	n := newFakeNode()
	n.view.Username = "Ana"
	s := newStage(t, n)
	o := s.win.onboarding
	s.until("the room's step", o.starting.Visible)
	if o.near.root.Visible() {
		t.Error("a list of nothing is shown")
	}
	n.mu.Lock()
	n.nearby = []chat.Nearby{{Room: "Book\u202ecircle", RoomID: "near", Node: "bob", Invite: "tertulia:near"}}
	n.mu.Unlock()
	s.until("the room nearby", func() bool { return o.near.root.Visible() && len(o.near.buttons) == 1 })
	test.Tap(o.near.buttons[0])
	s.said(n, "join", "join tertulia:near")
	s.until("the room", s.win.main.Visible)

	n.mu.Lock()
	n.nearby = append(manyNearby(), chat.Nearby{Room: "ours", RoomID: "id-tertulia:near", Invite: "w"})
	n.mu.Unlock()
	s.win.askJoin("")
	s.until("the rooms nearby", func() bool { return len(onTop[*card](s)) == 4 })
	for _, c := range onTop[*card](s) {
		if c.title == "ours" {
			t.Error("a room that one is in is offered")
		}
	}
	test.Tap(slices.DeleteFunc(onTop[*button](s), func(b *button) bool { return b.Text != textJoin })[2])
	s.said(n, "join", "join tertulia:near", "join y")
	s.until("the sheet's end", func() bool { return !s.sheetOpen() })
}

func TestARoomCanBeOfferedNearbyFromItsFirstMoment(t *testing.T) {
	n, s := inRooms(t)
	s.win.askNewRoom()
	name := s.win.win.Canvas().Focused().(*entry)
	test.Type(name, "Friday")
	press(onTop[*choice](s)[0], fyne.KeyRight)
	if !strings.Contains(s.words(), textLeaderAbout) {
		t.Error("the trade-off of the order is not told")
	}
	offer := onTop[*toggle](s)[0]
	offer.TypedKey(&fyne.KeyEvent{Name: fyne.KeySpace})
	offer.TypedRune(' ')
	if !offer.Checked {
		t.Fatal("the space bar does not tick")
	}
	press(offer, fyne.KeyReturn)
	s.said(n, "create", "create Friday leader")
	s.said(n, "settings", "settings id-Friday {Notify: HideRead:false Nearby:true}")
}

func TestSettingsAreSavedOneAfterTheOther(t *testing.T) {
	n, s := inRooms(t)
	s.win.showRoom(*s.room("a"))
	s.until("the room's sheet", s.sheetOpen)
	notify, toggles := onTop[*choice](s)[0], onTop[*toggle](s)
	press(notify, fyne.KeyRight, fyne.KeyRight) // past mentions, while that is being saved
	test.Tap(toggles[0])
	last := "settings a {Notify:none HideRead:true Nearby:false}"
	s.until("the last of them", func() bool {
		said := n.said("settings")
		return len(said) > 0 && said[len(said)-1] == last
	})
	if got := n.said("settings"); len(got) != 2 || got[0] != "settings a {Notify:mentions HideRead:false Nearby:false}" {
		t.Errorf("saved %q", got)
	}
	s.until("the settings", func() bool { return s.room("a").Settings.HideRead })
	n.mu.Lock()
	n.fail = chat.Errorf(chat.CodeDisk, "The disk is full.")
	n.mu.Unlock()
	test.Tap(toggles[1])
	s.until("the refusal", func() bool { return strings.Contains(s.words(), "The disk is full.") })
	if toggles[1].Checked || toggles[0].Checked || notify.chosen != 2 {
		t.Error("the sheet shows what was not saved")
	}
}

func TestTheMenuOfARoomMutesIt(t *testing.T) {
	n, s := inRooms(t)
	room := *s.room("b")
	items := s.win.roomMenuItems(room, false)
	i := slices.IndexFunc(items, func(m *fyne.MenuItem) bool { return m.Label == textMenuMute })
	if items[i].Checked || !items[i-2].Checked {
		t.Error("the menu does not show that all is told")
	}
	items[i].Action()
	s.said(n, "settings", "settings b {Notify:none HideRead:false Nearby:false}")
	s.until("the mark", func() bool { return s.room("b").Settings.Notify == chat.NotifyNone })
	marks := func(id string) (names []string) {
		c := newRoomCell(nil)
		c.room = *s.room(id)
		for _, o := range c.draw(fyne.NewSize(290, 60)) {
			if img, ok := o.(*canvas.Image); ok {
				names = append(names, img.Resource.Name())
			}
		}
		return names
	}
	if a, b := marks("a"), marks("b"); len(a) != 1 || len(b) != 2 || !strings.Contains(a[0], "lamport") || !strings.Contains(b[0], "leader") || !strings.Contains(b[1], "muted") {
		t.Errorf("the marks are %q and %q", a, b)
	}
}

func TestWhoIsWritingStandsInPlaceOfThePreview(t *testing.T) {
	n, s := inRooms(t)
	for _, c := range []struct {
		people []chat.Person
		want   string
	}{
		{nil, "You: Welcome, Dan!"},
		{[]chat.Person{{Name: "Bob\u202e"}}, `Bob\u202e is writing…`},
		{[]chat.Person{{Name: "Bob"}, {Name: "Ana"}}, "Bob and Ana are writing…"},
		{[]chat.Person{{Name: "Bob"}, {Name: "Ana"}, {Name: "Dan"}}, "3 people are writing…"},
	} {
		r := *s.room("a")
		r.Typing = c.people
		if got, _ := roomPreview(&r); got != c.want {
			t.Errorf("of %v the list says %q, want %q", c.people, got, c.want)
		}
	}
	n.mu.Lock()
	n.view.Rooms[0].Typing = []chat.Person{{Name: "Bob"}}
	n.mu.Unlock()
	n.signal()
	s.until("the header's line", func() bool {
		return slices.ContainsFunc(s.win.header.place(fyne.NewSize(600, 52)), func(o fyne.CanvasObject) bool {
			t, ok := o.(*canvas.Text)
			return ok && t.Text == "Bob is writing…"
		})
	})
}

func TestEscapeClosesTheSheetOnTopWhereverTheCursorIs(t *testing.T) {
	_, s := inRooms(t)
	c := s.win.win.Canvas()
	open := func() { s.win.askNewRoom() }
	const fields = 5 // name, order, offer, cancel, start
	next := c.(interface{ FocusNext() }).FocusNext
	open()
	first := c.Focused()
	for i := range fields {
		if next(); (c.Focused() == first) != (i == fields-1) {
			t.Fatalf("after %d steps the focus is on %T", i+1, c.Focused())
		}
	}
	s.closeSheets()
	for i := range fields {
		open()
		for range i {
			next()
		}
		s.escape()
		if s.sheetOpen() {
			t.Fatalf("Escape does nothing in %T", c.Focused())
		}
	}
	open()
	c.Unfocus()
	s.escape()
	if s.sheetOpen() {
		t.Fatal("Escape does nothing without a focus")
	}
	s.win.showMembers(*s.room("a"))
	s.until("the members", s.sheetOpen)
	s.win.askRemove(*s.room("a"), threeMembers()[1], &sheet{})
	s.escape()
	if !s.sheetOpen() || !strings.Contains(s.words(), textMembersAbout) {
		t.Fatal("Escape closed more than the sheet on top")
	}
	s.escape()
	if s.sheetOpen() || c.Focused() != s.win.composer {
		t.Error("the cursor is not back in the composer")
	}
}

func TestWhatIsTypedAfterAClickIsWrittenInTheOpenRoom(t *testing.T) {
	_, s := inRooms(t)
	c := s.win.win.Canvas()
	c.Unfocus() // as the toolkit does when a button is pressed
	c.OnTypedRune()('h')
	if c.Focused() != s.win.composer || s.win.composer.Text != "h" {
		t.Errorf("the composer holds %q", s.win.composer.Text)
	}
	c.Unfocus()
	s.win.askNewRoom()
	c.OnTypedRune()('x')
	s.closeSheets()
	if s.win.composer.Text != "h" {
		t.Errorf("under a sheet the composer took %q", s.win.composer.Text)
	}
	s.win.openNetwork()
	c.Unfocus()
	c.OnTypedRune()('x')
	if s.win.composer.Text != "h" {
		t.Errorf("under the network page the composer took %q", s.win.composer.Text)
	}
}

// A toolkit that finds a new picture paints again, and lays out what has new
// objects: a widget that made them anew each time would be painted for ever.
func TestARoomInTheListIsDrawnAnewOnlyWhenItChanges(t *testing.T) {
	test.NewTempApp(t)
	cell := newRoomCell(nil)
	cell.Resize(fyne.NewSize(280, 60))
	cell.set(chat.Room{ID: "r", Name: "lobby", State: chat.Joined}, false)
	r := test.WidgetRenderer(cell)
	was := r.Objects()
	r.Layout(cell.Size())
	if now := r.Objects(); !slices.Equal(now, was) {
		t.Error("laid out at the size it has, it is another")
	}
	cell.set(chat.Room{ID: "r", Name: "foyer", State: chat.Joined}, false)
	if slices.Equal(r.Objects(), was) {
		t.Error("it has another name and is not drawn anew")
	}
	was = r.Objects()
	cell.Resize(fyne.NewSize(200, 60))
	if slices.Equal(r.Objects(), was) {
		t.Error("it has another size and is not drawn anew")
	}
}
