package ui

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

// talk is a room as people use it.
func talk() []chat.Message {
	says := []struct{ who, text string }{
		{"Bob", "Morning! Did anybody bring the second volume?"},
		{"Bob", "I only have the first, and the shop was closed."},
		{"Ana", "I have it here. Shall we start with the chapter about the harbour? It explains half of what comes later."},
		{"Carla", "Yes please.\nAnd somebody has to explain the ending to me."},
		{"Émile", strings.Repeat("It is a long story, and it is told twice; once by the captain and once by the boy. ", 4)},
		{"Ana", "Both are right."},
		{"Ana", "See you at eight then, the usual table."},
		{"Bob", "👍 https://example.org/a/very/long/link/that/does/not/break/anywhere/but/has/to/fit/in/here/anyway"},
		{"Carla", ""},
		{"Dan", "Hello everybody"},
		{"Ana", "Welcome, Dan!"},
	}
	now := time.Now().Truncate(24 * time.Hour).Add(-3 * time.Hour)
	out := make([]chat.Message, 0, len(says)+2)
	for i, s := range says {
		m := message(i, s.who)
		m.Text, m.Mine = s.text, s.who == "Ana"
		m.Time = now.Add(time.Duration(i) * 100 * time.Second)
		if i > 5 {
			m.Time = m.Time.Add(24 * time.Hour)
		}
		if i < 7 {
			finalize(&m, uint64(i)+1)
			m.Epoch, m.Lamport, m.Origin = 1, uint64(20+i), "n1"
			m.Hash = strings.Repeat("5f", 32)
			m.Late = i == 3
		}
		if i == 2 {
			m.ReplyTo = "m/0"
		}
		m.Unreadable = s.text == ""
		if s.who == "Dan" && i == 9 {
			joined := m
			joined.Kind, joined.ID, joined.Position = chat.KindJoined, "joined", m.Position[:13]+"-"
			out = append(out, joined)
		}
		out = append(out, m)
	}
	return out
}

func furnish(n *fakeNode) {
	n.view.Username = "Ana"
	n.view.Peers = []chat.Peer{{Name: "n2", State: chat.PeerConnected}}
	n.view.Rooms = []chat.Room{
		{ID: "a", Name: "Book circle", Order: chat.Lamport, State: chat.Joined, Members: 4, Online: 3},
		{ID: "b", Name: "Garden", Order: chat.Leader, State: chat.Joined, Members: 2, Online: 1, Unread: 3, FirstUnread: "m/37"},
		{ID: "c", Name: "Sunday walk", Order: chat.Lamport, State: chat.Joining, Progress: chat.Progress{Have: 1200, Want: 10000}},
		{ID: "d", Name: "Old invite", Order: chat.Lamport, State: chat.Failed, Reason: "the invite ran out"},
		{ID: "e", Name: "émigrés", Order: chat.Lamport, State: chat.Joined, Members: 1, Online: 1},
	}
	n.messages["a"] = talk()
	n.info = aboutMessage()
	n.status = aboutNetwork()
	n.members = circle()
	n.messages["b"] = messages(40)
	n.messages["e"] = rich()
	at := n.messages["e"][2].Time
	n.view.Rooms[4].Merges = []chat.Merge{{From: at.Add(-20 * time.Minute), To: at.Add(-3 * time.Minute), Before: "m/2", Count: 23}}
	n.view.Rooms[4].Readers = []chat.Reader{{Person: chat.Person{Name: "Bob", ID: "id-Bob"}, UpTo: 3}}
	n.view.Rooms[4].Members = 4
}

type fixedVariant struct {
	fyne.Theme
	variant fyne.ThemeVariant
}

func (f fixedVariant) Color(name fyne.ThemeColorName, _ fyne.ThemeVariant) color.Color {
	return f.Theme.Color(name, f.variant)
}

// TestPictures draws the window, light and dark. With TERTULIA_SHOTS=DIR it
// leaves the pictures there.
func TestPictures(t *testing.T) {
	for name, variant := range map[string]fyne.ThemeVariant{"light": theme.VariantLight, "dark": theme.VariantDark} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNode()
			s := newStage(t, n)
			s.win.app.Settings().SetTheme(fixedVariant{NewTheme(), variant})
			s.until("the name's step", s.win.onboarding.root.Visible)
			s.picture(name + "-1-name")
			n.view.Username = "Ana"
			n.signal()
			s.until("the room's step", s.win.onboarding.starting.Visible)
			s.picture(name + "-2-start")
			furnish(n)
			n.signal()
			s.until("the talk", func() bool { return len(s.win.shown.messages) == len(talk()) })
			s.picture(name + "-3-talk")
			s.win.notice.say("Not sent yet.", "It goes out when a peer is back.")
			s.win.composer.SetText("A first line\nand a second one that somebody is still writing, so that the composer has to grow a little and wrap this text")
			s.picture(name + "-4-notice")
			s.win.notice.hide()
			s.win.askNewRoom()
			s.picture(name + "-5-new")
			s.closeSheets()
			s.win.showInvite(*s.room("a"))
			s.until("the invite", s.sheetOpen)
			s.picture(name + "-6-invite")
			s.closeSheets()
			s.win.showMembers(*s.room("a"))
			s.until("the members", s.sheetOpen)
			s.picture(name + "-7-members")
			s.closeSheets()
			s.win.openRoom("b")
			s.until("the other room", func() bool { return s.win.shown.room == "b" && len(s.win.shown.messages) > 0 })
			s.win.list.scrollBy(700)
			s.picture(name + "-8-history")
			s.win.openRoom("c")
			s.until("the third room", func() bool { return s.win.shown.room == "c" })
			s.picture(name + "-9-joining")
			s.pictureLooks(name)
		})
	}
}

// rich is a room with everything a message can hold.
func rich() []chat.Message {
	says := []struct{ who, text string }{
		{"Bob", "The nightly build failed on `arm64` again, see `relay_test.go:118` and https://example.org/runs/4711 (there)."},
		{"Bob", "This is the place:\n```go\nfunc skew(d time.Duration) error {\n    if d > maxSkew {\n        return ErrSkew\n    }\n    return nil\n}\n```\nIt compares *after* the clock moved."},
		{"Ana", "Looking 👀 It is the clock, I think: `Tick` is told the time twice"},
		{"Воb", "I am Bob, of course. Join here: tertulia:abcdefghijklmnopqrstuvwxyz234567"},
		{"Ana", "```\nmake run && echo a very long line of code that does not fit on one line of a bubble, however wide the window is\n```"},
		{"Carla", strings.Repeat("A long tale. ", 500)},
		{"Ana", "Saved, and nobody else has it."},
		{"Ana", "Two of four have this one 🎉🎉"},
	}
	now := time.Now().Truncate(24 * time.Hour).Add(-3 * time.Hour)
	out := make([]chat.Message, len(says))
	for i, s := range says {
		m := message(i, s.who)
		m.Text, m.Mine, m.Time, m.Received = s.text, s.who == "Ana", now.Add(time.Duration(i)*time.Minute), 1
		if i < 6 {
			finalize(&m, uint64(i)+1)
			m.Received = 4
		}
		out[i] = m
	}
	out[7].Received = 2
	return out
}

// pictureLooks draws what one gets to see by looking closer.
func (s *stage) pictureLooks(name string) {
	n := s.win.loop.node.(*fakeNode)
	n.mu.Lock()
	n.view.Rooms[0].WaitsFor = []string{"carla-desk", "dan~7k3qv2mx"}
	n.mu.Unlock()
	s.win.openRoom("a")
	s.until("the first room", func() bool { return s.win.shown.room == "a" && len(s.win.shown.messages) > 0 })
	s.win.goTo("m/2")
	s.until("the message", func() bool { return s.win.list.lit == "m/2" })
	s.win.startReply(s.win.message("m/3"))
	s.picture(name + "-a-reply")
	s.win.openFinder()
	test.Type(s.win.finder.entry, "the")
	s.until("hits", func() bool { return len(s.win.finder.items) > 2 })
	s.picture(name + "-b-search")
	s.win.escape()
	s.win.openSwitcher()
	s.picture(name + "-c-switch")
	s.closeSheets()
	s.win.showWhy(s.win.message("m/3"))
	s.until("the sheet", func() bool { return len(s.win.win.Canvas().Overlays().List()) > 0 })
	s.picture(name + "-d-why")
	s.closeSheets()
	s.win.showRoom(*s.room("a"))
	s.until("the room's sheet", s.sheetOpen)
	s.picture(name + "-e-room")
	s.closeSheets()
	n.mu.Lock()
	n.view.Rooms[1].Unread = 3
	n.mu.Unlock()
	s.pictureNetwork(name)
	s.win.openRoom("b")
	s.until("the other room", func() bool { return s.win.shown.room == "b" && len(s.win.shown.messages) > 0 })
	s.win.list.scrollBy(60)
	s.win.list.MouseMoved(&desktop.MouseEvent{PointEvent: fyne.PointEvent{Position: foot(s.win.list, s.win.list.last-2)}})
	if !s.win.list.tip.root.Visible() {
		s.t.Error("no tip over a message's foot")
	}
	s.picture(name + "-f-unread")
	s.win.openRoom("e")
	s.until("the last room", func() bool { return s.win.shown.room == "e" && len(s.win.shown.messages) > 0 })
	s.picture(name + "-g-end")
	s.win.list.jump(0)
	s.win.list.MouseMoved(&desktop.MouseEvent{PointEvent: fyne.PointEvent{Position: foot(s.win.list, 4)}})
	s.picture(name + "-h-rich")
	s.win.list.tip.hide()
	s.win.askDay(dayOf(s.win.shown.messages[0].Time))
	s.picture(name + "-i-day")
	s.closeSheets()
	s.win.composer.SetText(strings.Repeat("word ", (maxComposerBytes-300)/5))
	s.win.list.follow()
	s.picture(name + "-j-counter")
}

// pictureNetwork draws the network of a room that waits, of one that is well in
// the smallest window, and of one whose replicas differ.
func (s *stage) pictureNetwork(name string) {
	n := s.win.loop.node.(*fakeNode)
	show := func(picture string, change func()) {
		n.mu.Lock()
		change()
		n.mu.Unlock()
		s.win.closeNetwork()
		s.win.openNetwork()
		s.until("the network", func() bool {
			seen := s.win.network.net
			return seen != nil && reflect.DeepEqual(seen.status, n.status.Rooms[0])
		})
		s.picture(name + picture)
	}
	s.win.win.Resize(fyne.NewSize(1280, 800))
	show("-g-network", func() {})
	s.win.network.scroll.ScrollToBottom()
	s.picture(name + "-g-network-end")
	s.win.win.Resize(fyne.NewSize(800, 600))
	show("-h-network-small", func() {})
	s.win.network.scroll.ScrollToOffset(fyne.NewPos(0, 500))
	s.picture(name + "-h-network-small-middle")
	s.win.win.Resize(fyne.NewSize(1280, 800))
	show("-i-network-alarm", func() {
		n.status = aboutNetwork()
		n.status.Rooms[0].Replicas[2].OrderHash = strings.Repeat("0b", 32)
	})
	show("-j-network-many", func() { n.status, n.members = crowd(12) })
	s.win.win.Resize(fyne.NewSize(1100, 760))
	s.win.closeNetwork()
}

// foot is a point on the clock of row i.
func foot(l *messageList, i int) fyne.Position {
	y := l.offset
	for j := l.anchor; j <= i; j++ {
		y += l.height(j)
	}
	s := l.shape(i)
	return fyne.NewPos(s.top.X+s.bubble.Width-padBubbleSide-4, y-padBubbleTop)
}

func (s *stage) sheetOpen() bool { return s.win.win.Canvas().Overlays().Top() != nil }

// closeSheets does as a person does.
func (s *stage) closeSheets() {
	s.t.Helper()
	for i := 0; s.sheetOpen(); i++ {
		if i > 3 {
			s.t.Fatal("Escape closes nothing")
		}
		s.escape()
	}
}

// escape presses Escape where the cursor is.
func (s *stage) escape() {
	c := s.win.win.Canvas()
	if f := c.Focused(); f != nil {
		press(f, fyne.KeyEscape)
		return
	}
	c.OnTypedKey()(&fyne.KeyEvent{Name: fyne.KeyEscape})
}

// room is one of the rooms that are shown.
func (s *stage) room(id string) *chat.Room {
	for i := range s.win.shown.view.Rooms {
		if s.win.shown.view.Rooms[i].ID == id {
			return &s.win.shown.view.Rooms[i]
		}
	}
	s.t.Fatalf("no room %q is shown", id)
	return nil
}

// picture fails when nothing is drawn.
func (s *stage) picture(name string) {
	s.t.Helper()
	if known(s.t, s.win.win.Content()) == 0 {
		s.t.Errorf("%s: nothing of our own is drawn", name)
	}
	img := s.win.win.Canvas().Capture()
	seen := map[any]bool{}
	for y := 0; y < img.Bounds().Dy(); y += 3 {
		for x := 0; x < img.Bounds().Dx(); x += 3 {
			seen[img.At(x, y)] = true
		}
	}
	if len(seen) < 20 {
		s.t.Errorf("%s: only %d colours are drawn", name, len(seen))
	}
	savePicture(s.t, name, img)
}

func savePicture(t *testing.T, name string, img image.Image) {
	t.Helper()
	dir := os.Getenv("TERTULIA_SHOTS")
	if dir == "" {
		return
	}
	f, err := os.Create(filepath.Join(dir, name+".png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

func TestIconCanBeDrawn(t *testing.T) {
	test.NewTempApp(t)
	picture := canvas.NewImageFromResource(appIcon())
	win := test.NewTempWindow(t, picture)
	win.SetPadded(false)
	win.Resize(fyne.NewSize(512, 512))
	img := win.Canvas().Capture()
	savePicture(t, "icon", img)
	if r, g, b, _ := img.At(256, 172).RGBA(); r>>8 != 0xd9 || g>>8 != 0x67 || b>>8 != 0x3d {
		t.Errorf("the uppermost head is drawn in %x %x %x", r>>8, g>>8, b>>8)
	}
}
