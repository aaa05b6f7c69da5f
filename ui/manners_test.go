package ui

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// drawer keeps what the window hands over.
type drawer struct {
	mu       sync.Mutex
	settings Settings
	state    State
}

func (d *drawer) config() Config {
	return Config{
		Settings:     stageSettings(),
		KeepSettings: func(s Settings) { d.mu.Lock(); d.settings = s; d.mu.Unlock() },
		KeepState:    func(s State) { d.mu.Lock(); d.state = s; d.mu.Unlock() },
		Version:      "1.2.3", Commit: "abc", Dir: "/data",
	}
}

func (d *drawer) kept() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

func twoRooms(n *fakeNode) {
	n.view.Username = "Ana"
	n.view.Rooms = []chat.Room{
		{ID: "a", Name: "Book circle", State: chat.Joined, Members: 2, Online: 2},
		{ID: "b", Name: "Garden", State: chat.Joined, Members: 2, Online: 1},
	}
	n.messages["a"], n.messages["b"] = messages(400), messages(3)
}

func TestARestartFindsRoomPlaceDraftAndReply(t *testing.T) {
	n, d := newFakeNode(), &drawer{}
	twoRooms(n)
	s := newStageWith(t, n, d.config())
	s.until("the first room", func() bool { return s.win.shown.room == "a" && len(s.win.list.rows) > 0 })
	s.win.win.Resize(fyne.NewSize(900, 620))
	s.win.startReply(s.win.message("m/399"))
	s.win.composer.SetText("half a thought")
	s.win.list.jump(20)
	at := s.win.list.position()
	if at == (place{}) {
		t.Fatal("the list is not in the history")
	}
	s.win.openRoom("b")
	s.until("the other room", func() bool { return s.win.shown.room == "b" && len(s.win.list.rows) > 0 })
	s.win.composer.SetText("for the garden")
	want := State{Width: 900, Height: 620, Room: "b", Rooms: map[string]RoomState{
		"a": {Draft: "half a thought", ReplyTo: "m/399", Top: at.id, Bottom: at.bottom}, "b": {Draft: "for the garden"},
	}}
	if got := d.kept(); !reflect.DeepEqual(got, want) {
		t.Fatalf("kept %+v, want %+v", got, want)
	}

	config := (&drawer{}).config()
	config.State = d.kept()
	again := newStageWith(t, n, config)
	again.until("the room that was open", func() bool { return again.win.shown.room == "b" && len(again.win.list.rows) > 0 })
	if size := again.win.win.Canvas().Size(); size != fyne.NewSize(900, 620) {
		t.Errorf("the window is %v", size)
	}
	if got := again.win.composer.Text; got != "for the garden" {
		t.Errorf("the composer holds %q", got)
	}
	again.win.openRoom("a")
	again.until("the other room", func() bool { return again.win.shown.room == "a" && len(again.win.list.rows) > 0 })
	again.until("what is answered", func() bool { return again.win.reply.to.name != "" })
	if again.win.composer.Text != "half a thought" || again.win.reply.to.id != "m/399" {
		t.Errorf("the composer holds %q, an answer to %q", again.win.composer.Text, again.win.reply.to.id)
	}
	if got := again.win.list.position(); got.id != at.id || again.win.list.lit != "" {
		t.Errorf("the place is %+v, want %+v; lit %q", got, at, again.win.list.lit)
	}
}

func TestARestartWhereTheMessageAtTheTopIsGoneOpensTheEnd(t *testing.T) {
	n, d := newFakeNode(), &drawer{}
	twoRooms(n)
	config := d.config()
	config.State = State{Room: "a", Rooms: map[string]RoomState{"a": {Top: "gone"}}}
	s := newStageWith(t, n, config)
	s.until("the room", func() bool { return s.win.shown.room == "a" && len(s.win.list.rows) > 0 })
	if !s.win.list.stuck || s.win.notice.root.Visible() {
		t.Errorf("at the end %t, complaint %t", s.win.list.stuck, s.win.notice.root.Visible())
	}
}

// failing is a node that takes no message until it is asked to end.
type failing struct {
	*fakeNode
	gate chan struct{}
}

func (f *failing) Send(ctx context.Context, d chat.Draft) (chat.Sent, error) {
	<-f.gate
	if d.Text == "refused" {
		return chat.Sent{}, chat.Errorf(chat.CodeDisk, "The disk is full.")
	}
	return f.fakeNode.Send(ctx, d)
}

func TestWhatWasSentJustBeforeTheEndIsSentOrKept(t *testing.T) {
	n := &failing{newFakeNode(), make(chan struct{})}
	twoRooms(n.fakeNode)
	d := &drawer{}
	w, err := New(test.NewTempApp(t), n, d.config())
	if err != nil {
		t.Fatal(err)
	}
	posts := make(chan func(), 1024)
	w.loop.post = func(f func()) { posts <- f }
	w.Show()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	(&stage{t: t, win: w, posts: posts}).until("the room", func() bool { return w.shown.room == "a" })
	w.send("first")
	w.send("refused")
	w.send("third")
	w.composer.SetText("half written")
	cancel()
	close(n.gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sent := slices.DeleteFunc(slices.Clone(n.calls), func(c string) bool { return !strings.HasPrefix(c, "send") })
	if len(sent) != 2 || !strings.Contains(sent[0], "first") || !strings.Contains(sent[1], "third") {
		t.Errorf("the node was told %q", sent)
	}
	if got := d.kept().Rooms["a"].Draft; got != "refused\nhalf written" {
		t.Errorf("the draft kept is %q", got)
	}
}

func TestNamesAreFoundAsWords(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       bool
	}{
		{"ana, are you there?", "Ana", true}, {"@Ana", "ana", true}, {"banana", "Ana", false}, {"Anatomy", "Ana", false},
		{"banana for ANA", "ana", true}, {"çana ana_x", "ana", false}, {"João Paulo!", "joão paulo", true}, {"", "ana", false}, {"x", "", false},
		{"Ana\u0301 is another", "ana", false},
	} {
		if got := names(c.text, c.name); got != c.want {
			t.Errorf("names(%q, %q) = %t", c.text, c.name, got)
		}
	}
}

func TestTheStricterOfRoomAndSettingsIsInForce(t *testing.T) {
	for _, c := range []struct {
		room chat.Notify
		all  Alert
		want Alert
	}{
		{chat.NotifyAll, AlertAll, AlertAll}, {chat.NotifyAll, AlertMentions, AlertMentions}, {chat.NotifyAll, AlertNone, AlertNone},
		{chat.NotifyMentions, AlertAll, AlertMentions}, {chat.NotifyMentions, AlertNone, AlertNone}, {chat.NotifyNone, AlertAll, AlertNone},
	} {
		if got := alertOf(c.room, c.all); got != c.want {
			t.Errorf("alertOf(%q, %q) = %q, want %q", c.room, c.all, got, c.want)
		}
	}
}

// earLoop is a loop whose clock and node the test moves by hand.
func earLoop(n *fakeNode) (l *loop, notes *[]Notification, clock *time.Time) {
	now := start
	notes, clock = &[]Notification{}, &now
	l = newLoop(n)
	l.post = func(f func()) {}
	l.now = func() time.Time { return now }
	l.attention.notify = func(n Notification) { *notes = append(*notes, n) }
	l.feed.room = "a"
	return l, notes, clock
}

func (n *fakeNode) arrive(room, sender, text, replyTo string) {
	i := len(n.messages[room])
	m := message(i, sender)
	m.Text, m.ReplyTo, m.Mine = text, replyTo, sender == "Ana"
	n.messages[room] = append(n.messages[room], m)
	n.changeRoom(room, func(r *chat.Room) {
		if !m.Mine {
			r.Unread++
		}
	})
}

func TestOneIsToldOfNewMessagesElsewhereAtMostOnceInAPause(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	n.view.Rooms[1].Unread = 3
	l, notes, clock := earLoop(n)
	look := func() []Notification {
		t.Helper()
		l.view, _ = n.View(t.Context())
		*notes = nil
		l.attend(t.Context())
		return *notes
	}
	if got := look(); len(got) > 0 {
		t.Fatalf("what was there at the start is told: %v", got)
	}
	n.arrive("a", "Bob", "in the open room", "")
	n.arrive("b", "Ana", "said by oneself", "")
	if got := look(); len(got) > 0 {
		t.Fatalf("told of what is before the eyes or said by oneself: %v", got)
	}
	n.arrive("b", "Bob", "hello\nthere", "")
	if got := look(); len(got) != 1 || got[0] != (Notification{"b", "Garden", "Bob: hello there", "Open"}) {
		t.Fatalf("told %v", got)
	}
	n.arrive("b", "Bob", "second", "")
	n.arrive("b", "Carol", "third", "")
	if got := look(); len(got) > 0 {
		t.Fatalf("told again at once: %v", got)
	}
	if got := l.nextNews(); !got.Equal(clock.Add(noticePause)) {
		t.Errorf("to be told at %v", got)
	}
	*clock = clock.Add(noticePause)
	if got := look(); len(got) != 1 || got[0] != (Notification{"b", "Garden (2 new)", "Carol: third", "Open"}) {
		t.Fatalf("told %v", got)
	}
	n.changeRoom("b", func(r *chat.Room) { r.Unread = 0 })
	if got := look(); len(got) != 1 || got[0] != (Notification{Room: "b"}) {
		t.Errorf("what was read is not taken away: %v", got)
	}
	l.seen.Store(false)
	*clock = clock.Add(noticePause)
	n.arrive("a", "Bob", "you are away", "")
	if got := look(); len(got) != 1 || got[0].Text != "Bob: you are away" {
		t.Errorf("not told while the window is not in front: %v", got)
	}
}

func TestARoomThatWantsMentionsTellsOfNamesAndAnswersAlone(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	n.view.Rooms[1].Settings.Notify = chat.NotifyMentions
	l, notes, clock := earLoop(n)
	look := func() int {
		t.Helper()
		l.view, _ = n.View(t.Context())
		*notes = nil
		*clock = clock.Add(noticePause)
		l.attend(t.Context())
		return len(*notes)
	}
	look()
	n.arrive("b", "Bob", "nothing for anybody", "")
	n.arrive("b", "Bob", "an answer to Bob", "m/3")
	if look() != 0 {
		t.Errorf("told of what is no mention: %v", *notes)
	}
	n.arrive("b", "Bob", "Did ana see it?", "")
	if look() != 1 {
		t.Error("not told of the name")
	}
	n.arrive("b", "Ana", "mine", "")
	n.arrive("b", "Bob", "an answer to it", "m/6")
	if look() != 1 {
		t.Error("not told of the answer")
	}
	n.changeRoom("b", func(r *chat.Room) { r.Settings.Notify = chat.NotifyNone })
	n.arrive("b", "Bob", "Ana!", "")
	if look() != 0 {
		t.Errorf("told of a muted room: %v", *notes)
	}
}

func TestNobodyIsToldOfAFirstSync(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	n.changeRoom("b", func(r *chat.Room) { r.State = chat.Joining })
	l, notes, _ := earLoop(n)
	look := func() {
		l.view, _ = n.View(t.Context())
		l.attend(t.Context())
	}
	look()
	for range 40 {
		n.arrive("b", "Bob", "old", "")
		look()
	}
	n.changeRoom("b", func(r *chat.Room) { r.State, r.Progress = chat.Joined, chat.Progress{Have: 5, Want: 9} })
	n.arrive("b", "Bob", "still old", "")
	look()
	n.changeRoom("b", func(r *chat.Room) { r.Progress = chat.Progress{} })
	n.arrive("b", "Bob", "the last of the old", "")
	look()
	if len(*notes) > 0 {
		t.Fatalf("told of history: %v", *notes)
	}
	n.arrive("b", "Bob", "new", "")
	look()
	if len(*notes) != 1 || (*notes)[0].Text != "Bob: new" {
		t.Errorf("told %v", *notes)
	}
}

func TestANarrowWindowShowsOnePaneWithAWayBack(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	s := newStage(t, n)
	s.until("the first room", func() bool { return s.win.shown.room == "a" && len(s.win.list.rows) > 0 })
	side, room := s.win.rooms.root, s.win.panes.room
	visible := func(what string, rooms, open, back bool) {
		t.Helper()
		if side.Visible() != rooms || room.Visible() != open || s.win.back.Visible() != back {
			t.Errorf("%s: rooms %t, room %t, way back %t", what, side.Visible(), room.Visible(), s.win.back.Visible())
		}
	}
	visible("wide", true, true, false)
	s.win.win.Resize(fyne.NewSize(500, 620))
	visible("narrow", false, true, true)
	if w := room.Size().Width; w < 495 {
		t.Errorf("the room is %.0f wide", w)
	}
	test.Tap(s.win.back)
	visible("back", true, false, true)
	if s.win.loop.seen.Load() {
		t.Error("a room that is not in the window counts as read")
	}
	s.win.openRoom("a")
	visible("the same room again", false, true, true)
	if !s.win.loop.seen.Load() || s.win.win.Canvas().Focused() != s.win.composer {
		t.Error("the room is there but not looked at, or cannot be written in")
	}
	s.win.escape()
	visible("escape", true, false, true)
	s.win.win.Resize(fyne.NewSize(800, 600))
	visible("wide again", true, true, false)
	s.win.win.Resize(fyne.NewSize(500, 600))
	s.win.openRoom("b")
	s.until("the other room", func() bool { return s.win.shown.room == "b" })
	visible("another room", false, true, true)
	if !s.win.shortcut(&desktop.CustomShortcut{KeyName: fyne.KeyLeft, Modifier: fyne.KeyModifierAlt}) {
		t.Error("Alt+Left does nothing")
	}
	visible("Alt+Left", true, false, true)
}

func TestSettingsAreInForceAtOnceAndKept(t *testing.T) {
	t.Cleanup(func() {
		setTextSize(TextNormal)
		if err := speak(LanguageEnglish); err != nil {
			t.Error(err)
		}
	})
	n, d := newFakeNode(), &drawer{}
	twoRooms(n)
	s := newStageWith(t, n, d.config())
	s.until("the room", func() bool { return s.win.shown.room == "a" && len(s.win.list.rows) > 0 })
	s.win.composer.SetText("half written")
	s.win.list.jump(20)
	at := s.win.list.position()
	s.win.showSettings()
	pick := func(i int, value string) {
		t.Helper()
		s.selects()[i].SetSelected(value)
	}
	pick(0, "Português (Brasil)")
	s.until("rows in Portuguese", func() bool {
		return slices.ContainsFunc(s.win.list.rows, func(r row) bool { return r.kind == rowDay && strings.Contains(r.text, "novembro") })
	})
	if s.win.composer.PlaceHolder != "Escreva uma mensagem" || s.win.composer.Text != "half written" || s.win.list.position() != at {
		t.Errorf("after the change: %q, %q, at %v, want %v", s.win.composer.PlaceHolder, s.win.composer.Text, s.win.list.position(), at)
	}
	pick(1, "Escuro")
	pick(2, "Maior")
	if textSizeBody != 19 || !dark() {
		t.Errorf("text of %.0f, dark %t", textSizeBody, dark())
	}
	pick(3, "Menções e respostas")
	if *s.win.loop.alert.Load() != AlertMentions {
		t.Errorf("told of %q", *s.win.loop.alert.Load())
	}
	pick(0, "English")
	if s.win.composer.PlaceHolder != "Write a message" {
		t.Errorf("back in English the composer says %q", s.win.composer.PlaceHolder)
	}
	want := Settings{LanguageEnglish, LookDark, TextLargest, AccentTeal, AlertMentions, true}
	if d.settings != want {
		t.Errorf("kept %+v, want %+v", d.settings, want)
	}
}

// selects are those of the sheet that is open.
func (s *stage) selects() (found []*widget.Select) {
	for _, overlay := range s.win.win.Canvas().Overlays().List() {
		for _, o := range test.LaidOutObjects(overlay) {
			if list, ok := o.(*widget.Select); ok {
				found = append(found, list)
			}
		}
	}
	return found
}

func TestTheLanguageIsTheSystemsUnlessOneIsChosen(t *testing.T) {
	test.NewTempApp(t)
	t.Cleanup(func() {
		if err := speak(LanguageEnglish); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		system string
		chosen Language
		want   string
	}{
		{"pt_BR.UTF-8", LanguageSystem, "Entrar"}, {"pt_PT.UTF-8", LanguageSystem, "Entrar"}, {"en_US.UTF-8", LanguageSystem, "Join"},
		{"de_DE.UTF-8", LanguageSystem, "Join"}, {"C", LanguageSystem, "Join"},
		{"en_US.UTF-8", LanguagePortuguese, "Entrar"}, {"pt_BR.UTF-8", LanguageEnglish, "Join"},
		{"C", LanguagePortuguese, "Entrar"}, {"de_DE.UTF-8", LanguagePortuguese, "Entrar"},
		{"en_US.UTF-8", LanguageSystem, "Join"}, {"pt_BR.UTF-8", LanguageSystem, "Entrar"},
	} {
		t.Setenv("LANGUAGE", "")
		t.Setenv("LC_ALL", c.system)
		if err := speak(c.chosen); err != nil {
			t.Fatal(err)
		}
		if got := tr(textJoin); got != c.want {
			t.Errorf("system %s, chosen %s: %q, want %q", c.system, c.chosen, got, c.want)
		}
	}
}

func TestDiagnosticsHaveNothingPrivate(t *testing.T) {
	secrets := []string{"swordfish", "tertulia:invite", "Ana", "Roberto", "Book circle", "12D3KooW", "192.168.1.7", "deadbeefcafe", "/data"}
	n, d := newFakeNode(), &drawer{}
	twoRooms(n)
	n.messages["a"][399].Text = "the word is swordfish, tertulia:invite"
	n.view.Peers = []chat.Peer{{Name: "Roberto", PeerID: "12D3KooWabc", Addr: "/ip4/192.168.1.7", State: chat.PeerConnected, Relayed: true}}
	n.status = chat.Status{
		NodeID: "Ana", PeerID: "12D3KooWself", Addrs: []string{"/ip4/192.168.1.7/tcp/1"}, Peers: n.view.Peers, Uptime: time.Hour,
		Disk: "/data is full: swordfish", Refused: map[string]uint64{"bad signature": 3},
		Rooms: []chat.RoomStatus{{
			Name: "Book circle", ID: "deadbeefcafe", Order: chat.Lamport, State: chat.Joined, Epoch: 4, FinalIndex: 77,
			View: []string{"Ana", "Roberto"}, Leader: "Roberto", WaitingFor: []string{"Roberto"}, Clocks: map[string]uint64{"Roberto": 7},
			OrderHash: strings.Repeat("5f", 32), Replicas: []chat.Replica{{}},
		}},
	}
	s := newStageWith(t, n, d.config())
	s.until("the room", func() bool { return s.win.shown.room == "a" && len(s.win.list.rows) > 0 })
	s.win.composer.SetText("swordfish")
	text := ""
	s.win.diagnose(func(got string, err error) {
		if err != nil {
			t.Error(err)
		}
		text = got
	})
	s.until("diagnostics", func() bool { return text != "" })
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the diagnostics have %q:\n%s", secret, text)
		}
	}
	for _, want := range []string{"1.2.3, abc", "1 connected", "1 relayed", "refused 3: bad signature", "epoch 4", "view of 2", "waits for 1", "final 77", "order hash 5f5f5f5f"} {
		if !strings.Contains(text, want) {
			t.Errorf("the diagnostics lack %q:\n%s", want, text)
		}
	}
}

func TestClosingGoesToTheTrayOnlyWhereThereIsOne(t *testing.T) {
	n, d := newFakeNode(), &drawer{}
	twoRooms(n)
	config := d.config()
	tray := true
	config.HasTray = func() bool { return tray }
	s := newStageWith(t, n, config)
	s.until("the room", func() bool { return s.win.shown.room == "a" })
	s.win.close()
	if !s.win.hidden || s.win.loop.seen.Load() {
		t.Errorf("hidden %t, looked at %t", s.win.hidden, s.win.loop.seen.Load())
	}
	tray = false
	s.win.TrayChanged()
	if s.win.hidden {
		t.Error("the tray went, and the window with it")
	}
}

func TestAnIconSaysWhatItDoesUnderThePointer(t *testing.T) {
	n := newFakeNode()
	twoRooms(n)
	s := newStage(t, n)
	s.until("the room", func() bool { return s.win.shown.room == "a" })
	s.win.win.Resize(fyne.NewSize(500, 600))
	s.win.back.MouseIn(&desktop.MouseEvent{})
	tip := s.win.back.tip
	if tip == nil || !tip.root.Visible() || tip.text.Text != textBack {
		t.Fatal("no tip")
	}
	s.win.back.MouseOut()
	if tip.root.Visible() {
		t.Error("the tip stays")
	}
}

func TestStrangeStatesAreMended(t *testing.T) {
	long := strings.Repeat("x", maxComposerBytes+1)
	s := State{Width: 1, Height: 1e9, Rooms: map[string]RoomState{"a": {Draft: long}}}
	if !s.Mend() || s.Width != 0 || s.Height != 0 || len(s.Rooms["a"].Draft) != maxComposerBytes {
		t.Errorf("mended: %v x %v, %d bytes", s.Width, s.Height, len(s.Rooms["a"].Draft))
	}
	if s.Mend() {
		t.Error("mended twice")
	}
	settings := DefaultSettings()
	if settings.Mend() {
		t.Error("the default needs mending")
	}
	settings.Accent, settings.Look = "plaid", "loud"
	if !settings.Mend() || settings != DefaultSettings() {
		t.Errorf("mended: %+v", settings)
	}
}

// TestSheetsOfTheProgram draws what else there is, with TERTULIA_SHOTS=DIR.
func TestSheetsOfTheProgram(t *testing.T) {
	t.Cleanup(func() {
		if err := speak(LanguageEnglish); err != nil {
			t.Error(err)
		}
		setTextSize(TextNormal)
	})
	for _, c := range []struct {
		name string
		set  Settings
		size fyne.Size
		tray bool
	}{
		{"en-light", Settings{LanguageEnglish, LookLight, TextNormal, AccentTeal, AlertAll, true}, fyne.NewSize(1100, 760), true},
		{"pt-dark", Settings{LanguagePortuguese, LookDark, TextNormal, AccentViolet, AlertMentions, true}, fyne.NewSize(1100, 760), false},
		{"pt-light-large", Settings{LanguagePortuguese, LookLight, TextLargest, AccentRose, AlertMentions, true}, fyne.NewSize(1100, 760), true},
		{"en-dark-narrow", Settings{LanguageEnglish, LookDark, TextNormal, AccentAmber, AlertAll, false}, fyne.NewSize(460, 600), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newFakeNode()
			furnish(n)
			config := (&drawer{}).config()
			config.Settings, config.HasTray = c.set, func() bool { return c.tray }
			config.Dir = "/home/ana/.local/share/tertulia"
			s := newStageWith(t, n, config)
			s.win.win.Resize(c.size)
			s.until("the talk", func() bool { return len(s.win.shown.messages) == len(talk()) })
			if s.win.back.Visible() {
				s.win.back.MouseIn(&desktop.MouseEvent{})
			}
			s.picture("m-" + c.name + "-1-talk")
			s.win.back.MouseOut()
			s.win.showSettings()
			s.picture("m-" + c.name + "-2-settings")
			s.closeSheets()
			s.win.showAbout()
			s.picture("m-" + c.name + "-3-about")
			s.closeSheets()
			s.win.showRooms()
			s.picture("m-" + c.name + "-4-rooms")
			if p := s.win.win.Canvas().Size(); p != c.size {
				t.Errorf("the window grew to %v", p)
			}
		})
	}
}
