package ui

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// top is the upper edge of a row in view; it fails when there is none.
func (s *stage) top(key string) float32 {
	s.t.Helper()
	l := s.win.list
	y := l.offset
	for i := l.anchor; i < l.last; i++ {
		if l.rows[i].key == key {
			return y
		}
		y += l.height(i)
	}
	s.t.Fatalf("%s is not in view", key)
	return 0
}

func near(a, b float32) bool { return a-b < 2 && b-a < 2 }

func TestARoomOpensAtItsFirstUnreadMessage(t *testing.T) {
	n := newFakeNode()
	lobby(n, 1000)
	n.view.Rooms[0].Unread, n.view.Rooms[0].FirstUnread = 400, "m/600"
	s := newStage(t, n)
	s.until("the unread line", func() bool { return s.win.list.last > 0 })
	l := s.win.list
	if y := s.top(unreadKey); !near(y, l.Size().Height/3) || l.stuck {
		t.Errorf("the unread line is at %.1f of %.1f", y, l.Size().Height)
	}
	if i := slices.IndexFunc(l.rows, func(r row) bool { return r.kind == rowUnread }); l.rows[i+1].key != "m/600" {
		t.Errorf("it is above %s", l.rows[i+1].key)
	}
	if len(n.said("read")) > 0 {
		t.Error("what nobody saw is marked as read")
	}
	s.elsewhere(n)
	if y := s.top(unreadKey); !near(y, l.Size().Height/3) {
		t.Errorf("after a change the unread line is at %.1f", y)
	}
}

func TestARoomWithoutItsFirstUnreadMessageOpensAtItsEnd(t *testing.T) {
	n := newFakeNode()
	lobby(n, 50)
	n.view.Rooms[0].Unread, n.view.Rooms[0].FirstUnread = 4, "m/gone"
	s := newStage(t, n)
	s.until("the end", func() bool { return s.win.list.stuck && s.win.list.last == len(s.win.list.rows) && s.win.list.last > 0 })
}

func TestARoomOpensWhereItWasLeft(t *testing.T) {
	n := newFakeNode()
	furnish(n)
	n.messages["a"] = messages(1000)
	n.view.Rooms[1].FirstUnread = ""
	s := newStage(t, n)
	in := func(room string) func() bool {
		return func() bool { return s.win.shown.room == room && len(s.win.list.rows) > 0 }
	}
	s.until("the first room", in("a"))
	s.win.goTo("m/300")
	s.until("the past", func() bool { return s.win.list.lit == "m/300" })
	s.win.list.scrollBy(77)
	at := s.top("m/300")
	s.win.openRoom("b")
	s.until("the other room", in("b"))
	if !s.win.list.stuck {
		t.Error("a room that was never read does not open at its end")
	}
	s.win.openRoom("a")
	s.until("the first room again", in("a"))
	if now := s.top("m/300"); !near(now, at) || s.win.list.lit != "" {
		t.Errorf("m/300 was left at %.1f and is at %.1f, lit %q", at, now, s.win.list.lit)
	}
}

func TestADayIsGoneTo(t *testing.T) {
	n := newFakeNode()
	lobby(n, 2000)
	s := newStage(t, n)
	s.until("a page", func() bool { return len(s.win.shown.messages) == pageMessages })
	l := s.win.list
	day := l.rows[0].day
	l.jump(0)
	test.TapAt(l, fyne.NewPos(l.Size().Width/2, l.offset+padGroup+6))
	if len(s.win.win.Canvas().Overlays().List()) == 0 {
		t.Fatal("a click on a day asks for none")
	}
	s.closeSheets()
	var chosen string
	c := newCalendar(start, start.AddDate(0, 0, 3), nil)
	first := slices.IndexFunc(n.messages["lobby"], func(m chat.Message) bool { return dayOf(m.Time) > dayOf(start) })
	want := n.messages["lobby"][first]
	c.choose = func(at time.Time) {
		chosen = dayOf(at)
		s.win.goToPage(chat.PageQuery{At: at})
	}
	press := func(text string) {
		for _, o := range c.days.Objects {
			if b, ok := o.(*widget.Button); ok && b.Text == text {
				test.Tap(b)
			}
		}
	}
	press(fmt.Sprint(start.Day() + 4)) // in the future
	if chosen != "" {
		t.Errorf("a day that has not come, %s, can be chosen", chosen)
	}
	press(fmt.Sprint(want.Time.Day()))
	if chosen != dayOf(want.Time) {
		t.Fatalf("chose %q, want %s", chosen, dayOf(want.Time))
	}
	s.until("the day", func() bool { return l.rows[l.anchor].day == chosen })
	if y := s.top("day/" + want.ID); !near(y, padList) || chosen == day {
		t.Errorf("the day is at %.1f", y)
	}
}

func TestKeysAndTheBarReachAllOfARoom(t *testing.T) {
	n := newFakeNode()
	lobby(n, 5000)
	for i := range 4990 {
		finalize(&n.messages["lobby"][i], uint64(i)+1)
	}
	n.view.Rooms[0].Total, n.view.Rooms[0].FinalIndex = 5000, 4990
	s := newStage(t, n)
	s.until("a page", func() bool { return len(s.win.shown.messages) == pageMessages })
	l := s.win.list
	l.TypedKey(&fyne.KeyEvent{Name: fyne.KeyHome})
	s.until("the beginning", func() bool { return l.anchor == 0 && l.rows[0].key == "day/m/0" })
	if at := l.bar.Position().Y; at != 0 {
		t.Errorf("at the beginning the bar is at %.1f", at)
	}
	half := fyne.NewPos(l.Size().Width-4, l.Size().Height/2)
	l.Dragged(&fyne.DragEvent{PointEvent: fyne.PointEvent{Position: half}})
	l.DragEnd()
	s.until("the middle", func() bool { return l.before > 2400 && l.before < 2600 })
	if d := l.bar.Position().Y + l.bar.Size().Height/2 - half.Y; d > 20 || d < -20 {
		t.Errorf("in the middle the bar is off by %.1f", d)
	}
	l.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEnd})
	s.until("the end", func() bool { return l.stuck && l.rows[len(l.rows)-1].key == "m/4999" })
	if end := l.bar.Position().Y + l.bar.Size().Height; !near(end, l.Size().Height) {
		t.Errorf("at the end the bar ends at %.1f of %.1f", end, l.Size().Height)
	}
}

func TestWritingIsToldAndCounted(t *testing.T) {
	n := newFakeNode()
	lobby(n, 3)
	s := newStage(t, n)
	s.until("three messages", func() bool { return len(s.win.shown.messages) == 3 })
	if len(n.said("typing")) != 0 {
		t.Error("nobody writes yet")
	}
	test.Type(s.win.composer, "hi")
	s.until("the node to know", func() bool { return slices.Contains(n.said("typing"), "typing lobby") })
	if s.win.left.root.Visible() {
		t.Error("two letters are counted")
	}
	s.win.composer.SetText(strings.Repeat("x", maxComposerBytes-1))
	if !s.win.left.root.Visible() || s.win.left.text.Text != "1 byte left" {
		t.Errorf("near the limit the counter says %q", s.win.left.text.Text)
	}
	s.win.composer.SetText("")
	if s.win.left.root.Visible() {
		t.Error("an empty composer is counted")
	}
}

func TestALinkToARoomAsksWhetherToJoin(t *testing.T) {
	n := newFakeNode()
	lobby(n, 3)
	s := newStage(t, n)
	s.until("three messages", func() bool { return len(s.win.shown.messages) == 3 })
	s.win.openLink("Tertulia:abcdefgh")
	if len(n.said("join")) != 0 || len(s.win.win.Canvas().Overlays().List()) != 1 {
		t.Fatal("a link joins without asking")
	}
}
