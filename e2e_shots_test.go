//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/client"
)

// Pictures of the real window: make shots. They are for people to look at, so
// that nothing is compared here; what cannot be reached fails.

// Limits of a picture.
const (
	shotStart  = 400 * time.Millisecond // until what was asked for has begun to show
	shotAnswer = time.Second            // until the node has answered, on a machine with much to do
	shotPause  = 120 * time.Millisecond // between two looks
	shotLimit  = 4 * time.Second        // for the window to come to rest
	shotAlike  = 1500                   // bytes that a blinking cursor changes
	apartSpell = 6 * time.Second        // a separation that people are told of
)

// form is the shape of a window: its name, its size in pixels, and how many of
// them the toolkit's own are.
type form struct {
	name          string
	width, height int
	scale         int
}

var (
	wide   = form{"1280x800", 1280, 800, 1}
	small  = form{"800x600", 800, 600, 1}
	narrow = form{"narrow", 520, 760, 1}
	double = form{"double", 1600, 1200, 2}
)

// dress is a look and a language.
type dress struct{ look, language string }

func (d dress) String() string { return d.look + "-" + d.language }

var dresses = []dress{{"light", "en"}, {"dark", "en"}, {"light", "pt-BR"}, {"dark", "pt-BR"}}

// studio is where the pictures are made: three nodes that talk, and the
// directory of a fourth, which the window opens.
type studio struct {
	t       *testing.T
	dir     string
	bus     string
	ana     *member
	members []*member // without a window
	clients map[*member]*client.Client
	rooms   map[string]string // name to id
}

func TestShots(t *testing.T) {
	dir := os.Getenv("E2E_SHOTS")
	if dir == "" {
		t.Skip("E2E_SHOTS is not set: run make shots")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &studio{t: t, dir: dir, clients: map[*member]*client.Client{}, rooms: map[string]string{}}
	s.startBus()
	s.furnish()
	for _, d := range dresses {
		t.Run(d.String(), func(t *testing.T) {
			s.welcome(t, d, wide, small, narrow)
			s.talk(t, d, wide, small, narrow)
			s.welcome(t, d, double)
			s.talk(t, d, double)
		})
	}
	t.Run("alone", func(t *testing.T) {
		for _, m := range s.members {
			m.stop()
		}
		for _, d := range dresses {
			s.alone(t, d)
		}
	})
	for _, view := range []string{"name", "start", "room", "network", "settings"} {
		s.sheet(view, "*_"+view+".png", 4)
	}
	for _, d := range dresses {
		s.sheet("others-"+d.String(), d.String()+"_1280x800_other-*.png", 4)
	}
}

// startBus starts a session bus of the test's own.
func (s *studio) startBus() {
	s.bus = "unix:path=" + filepath.Join(s.t.TempDir(), "bus")
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address="+s.bus)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// pace lets members vote soon, so that what they say becomes final soon; and
// they find each other by mDNS, where there is multicast.
var pace = []string{"--leader-stability", "1s", "--leader-hold", "1s", "--no-mdns=false"}

// as returns the client of a node that runs.
func (s *studio) as(m *member) *client.Client {
	c, ok := s.clients[m]
	if !ok {
		var err error
		if c, err = client.Local(m.dir); err != nil {
			s.t.Fatal(err)
		}
		s.clients[m] = c
		s.t.Cleanup(c.Close)
	}
	return c
}

func (s *studio) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// room makes a room of one member's and brings others into it.
func (s *studio) room(name string, order chat.Order, by *member, others ...*member) {
	s.t.Helper()
	ctx := s.t.Context()
	room, err := s.as(by).CreateRoom(ctx, name, order)
	s.must(err)
	s.rooms[name] = room.ID
	invite, err := s.as(by).Invite(ctx, chat.InviteOptions{Room: room.ID})
	s.must(err)
	for _, m := range others {
		_, err := s.as(m).JoinRoom(ctx, invite)
		s.must(err)
		s.until(m, name, func(r *chat.Room) bool { return r.State == chat.Joined && r.Members > 1 })
	}
	s.until(by, name, func(r *chat.Room) bool { return r.Members == 1+len(others) && r.Online == r.Members })
}

// until waits for a state of a room at a member.
func (s *studio) until(m *member, name string, holds func(*chat.Room) bool) {
	s.t.Helper()
	eventually(s.t, name+" at "+m.name, func() bool {
		v, err := s.as(m).View(s.t.Context())
		if err != nil {
			return false
		}
		i := slices.IndexFunc(v.Rooms, func(r chat.Room) bool { return r.ID == s.rooms[name] })
		return i >= 0 && holds(&v.Rooms[i])
	})
}

// say says something and returns its id.
func (s *studio) say(m *member, room, text, replyTo string) string {
	s.t.Helper()
	if replyTo != "" {
		eventually(s.t, replyTo+" at "+m.name, func() bool {
			_, err := s.as(m).Info(s.t.Context(), s.rooms[room], replyTo)
			return err == nil
		})
	}
	people := map[string]string{"ana": "Ana", "n1": "Bruno", "n2": "Clara", "n3": "Émile"}
	sent, err := s.as(m).Send(s.t.Context(), chat.Draft{Room: s.rooms[room], Username: people[m.name], Text: text, ReplyTo: replyTo})
	s.must(err)
	return sent.ID
}

const (
	roomBooks  = "Book circle"
	roomGarden = "Garden club"
	roomChoir  = "Choir of the old town, tenors and basses"
	roomWalk   = "Sunday walk"
)

// furnish starts the nodes and lets them talk, at first together, then in two
// parts, then together again.
func (s *studio) furnish() {
	s.ana = newMember(s.t, "ana")
	n1, n2, n3 := newMember(s.t, "n1"), newMember(s.t, "n2"), newMember(s.t, "n3")
	s.members = []*member{n1, n2, n3}
	for _, m := range append(s.members, s.ana) {
		m.up(pace...)
	}
	for m, name := range map[*member]string{s.ana: "Ana", n1: "Bruno", n2: "Clara", n3: "Émile"} {
		s.must(s.as(m).SetUsername(s.t.Context(), name))
	}
	s.room(roomBooks, chat.Lamport, s.ana, n1, n2, n3)
	s.room(roomGarden, chat.Leader, n2, s.ana, n1, n3)
	s.room(roomChoir, chat.Lamport, n3, s.ana)
	s.room(roomWalk, chat.Lamport, n1, n2)
	s.must(s.as(n1).SetRoomSettings(s.t.Context(), s.rooms[roomWalk], chat.RoomSettings{Nearby: true}))
	s.must(s.as(s.ana).SetRoomSettings(s.t.Context(), s.rooms[roomChoir], chat.RoomSettings{Notify: chat.NotifyNone}))

	s.say(n3, roomChoir, "No rehearsal this week, the hall is being painted.", "")
	s.say(n2, roomGarden, "The tomatoes are in. Who waters on Saturday?", "")
	s.say(s.ana, roomGarden, "I do, and Sunday too.", "")
	s.say(n1, roomGarden, "Then I bring the ladder, the pears are next 🍐", "")
	s.say(n3, roomGarden, "And I have two hands free.", "")
	s.say(n2, roomBooks, "Good evening! Has everybody got a copy of the new one?", "")
	s.say(n3, roomBooks, "I have. It begins slowly, but the harbour is worth the wait.", "")
	s.together(roomBooks, 2)
	s.together(roomGarden, 4)

	for _, m := range s.members {
		m.stop()
	}
	for _, text := range []string{
		"I am on the train, and there is no network in the tunnel.",
		"So I am reading ahead.",
		"The captain was not on board at all!",
	} {
		s.say(s.ana, roomBooks, text, "")
	}
	s.ana.stop()
	for _, m := range s.members {
		m.up(pace...)
	}
	s.until(n1, roomBooks, func(r *chat.Room) bool { return r.Online == 3 })
	s.say(n1, roomBooks, "Where is Ana tonight?", "")
	s.say(n2, roomBooks, "On her way, she said.", "")
	s.together(roomBooks, 4)
	time.Sleep(apartSpell)
	s.ana.up(pace...)
	s.until(s.ana, roomBooks, func(r *chat.Room) bool { return r.Online == 4 && len(r.Merges) == 1 })

	question := s.say(n1, roomBooks, "So who wrote the letter in the end? I have read that page three times.", "")
	s.say(n3, roomBooks, strings.TrimSpace(strings.Repeat("It is told twice, once by the captain and once by the boy, and the two do not agree about the letter. ", 3)), question)
	s.say(s.ana, roomBooks, "Both are right, I think.", question)
	s.say(n2, roomBooks, "There is a map of the harbour here: https://example.org/maps/harbour-1887", "")
	s.say(n1, roomBooks, "I counted the chapters:\n```go\nfor i, c := range book.Chapters {\n    fmt.Println(i+1, c.Title, c.Pages())\n}\n```\nand `c.Pages()` says 12 for the last one.", "")
	s.say(n2, roomBooks, "Of course you did 😄", "")
	s.say(s.ana, roomBooks, "See you on Thursday at eight, the usual table. I bring the second volume 📚", "")
	s.together(roomBooks, 14)
	for _, room := range []string{roomBooks, roomGarden, roomChoir} {
		s.must(s.as(s.ana).MarkRead(s.t.Context(), s.rooms[room], s.lastOf(room)))
	}
	s.ana.stop()
}

// lastOf is the position of the last message of a room at Ana's.
func (s *studio) lastOf(room string) string {
	page, err := s.as(s.ana).Page(s.t.Context(), chat.PageQuery{Room: s.rooms[room], Limit: 1})
	s.must(err)
	return page.Messages[len(page.Messages)-1].Position
}

// together waits until n messages of a room are final at every member that runs.
func (s *studio) together(room string, n uint64) {
	s.t.Helper()
	for _, m := range s.members {
		s.until(m, room, func(r *chat.Room) bool { return r.FinalIndex >= n && r.Total == r.FinalIndex })
	}
}

// window opens one on a directory, as large as the screen allows.
func (s *studio) window(t *testing.T, m *member, d dress, f form, state string) *window {
	t.Helper()
	s.must(os.MkdirAll(m.dir, 0o700))
	s.must(os.WriteFile(filepath.Join(m.dir, "settings.toml"), fmt.Appendf(nil, "look = %q\nlanguage = %q\n", d.look, d.language), 0o600))
	s.must(os.WriteFile(filepath.Join(m.dir, "window.toml"), []byte(state), 0o600))
	w := newWindow(newScreen(t, max(f.width, wide.width), max(f.height, wide.height)), m, s.bus)
	w.env = []string{fmt.Sprintf("FYNE_SCALE=%d", f.scale), "TZ=UTC"}
	w.open(pace...)
	return w
}

// shots takes a picture of a view in each form.
func (s *studio) shots(w *window, d dress, view string, forms ...form) {
	w.screen.t.Helper()
	for _, f := range forms {
		w.shape(f)
		s.shot(w, f, fmt.Sprintf("%s_%s_%s", d, f.name, view))
	}
	w.shape(forms[0])
}

// network opens the page of the open room's network, whose answer takes a while on
// a machine that draws four windows.
func (w *window) network() {
	w.screen.t.Helper()
	w.strike("ctrl+i")
	time.Sleep(3 * shotAnswer)
}

func (w *window) shape(f form) {
	w.screen.t.Helper()
	w.do("windowmove", w.id, "0", "0", "windowsize", w.id, fmt.Sprint(f.width), fmt.Sprint(f.height))
}

// shot takes a picture once nothing moves any more.
func (s *studio) shot(w *window, f form, name string) {
	t := w.screen.t
	t.Helper()
	time.Sleep(shotStart)
	var last []byte
	for deadline := time.Now().Add(shotLimit); ; time.Sleep(shotPause) {
		out, err := exec.Command("import", "-display", w.display, "-window", "root", "-crop", fmt.Sprintf("%dx%d+0+0", f.width, f.height), "-depth", "8", "rgba:-").Output()
		if err != nil || len(out) != 4*f.width*f.height {
			t.Fatalf("import: %v, %d bytes", err, len(out))
		}
		if last != nil && unlike(last, out) < shotAlike || time.Now().After(deadline) {
			last = out
			break
		}
		last = out
	}
	var b bytes.Buffer
	s.must(png.Encode(&b, &image.NRGBA{Pix: last, Stride: 4 * f.width, Rect: image.Rect(0, 0, f.width, f.height)}))
	s.must(os.WriteFile(filepath.Join(s.dir, name+".png"), b.Bytes(), 0o644))
}

// unlike counts the bytes in which a and b differ.
func unlike(a, b []byte) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// strike presses keys one after another.
func (w *window) strike(keys ...string) {
	w.screen.t.Helper()
	for _, k := range keys {
		w.do("key", k)
	}
	time.Sleep(shotPause)
}

// click presses a button of the mouse at a place in the toolkit's own pixels;
// what is negative counts from the right and from below.
func (w *window) click(f form, button, x, y int) {
	w.screen.t.Helper()
	x, y = x*f.scale, y*f.scale
	if x < 0 {
		x += f.width
	}
	if y < 0 {
		y += f.height
	}
	w.do("mousemove", fmt.Sprint(x), fmt.Sprint(y), "click", fmt.Sprint(button))
	time.Sleep(shotPause)
}

// welcome shows the first start, with its two questions.
func (s *studio) welcome(t *testing.T, d dress, forms ...form) {
	t.Helper()
	w := s.window(t, newMember(t, "new"), d, forms[0], "")
	w.shape(forms[0])
	s.shots(w, d, "name", forms...)
	w.do("type", "--delay", "20", "Dora")
	w.strike("Return")
	if nearby(t, w.member) {
		w.painted()
	}
	s.shots(w, d, "start", forms...)
	w.close()
}

// nearby waits a little for a room nearby.
func nearby(t *testing.T, m *member) bool {
	t.Helper()
	c, err := client.Local(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for deadline := time.Now().Add(2 * shotLimit); time.Now().Before(deadline); time.Sleep(shotPause) {
		if list, err := c.Nearby(t.Context()); err == nil && len(list) > 0 {
			time.Sleep(time.Second) // until the window asks
			return true
		}
	}
	t.Log("no room nearby: there is no multicast here")
	return false
}

// talk shows the window of who is in rooms.
func (s *studio) talk(t *testing.T, d dress, forms ...form) {
	t.Helper()
	n1, n2 := s.members[0], s.members[1]
	s.say(n1, roomGarden, "The ladder is in the shed.", "")
	s.say(n2, roomGarden, "Thank you! And the key is where it always is.", "")
	f := forms[0]
	w := s.window(t, s.ana, d, f, fmt.Sprintf("room = %q\n", s.rooms[roomBooks]))
	w.shape(f)
	s.until(s.ana, roomBooks, func(r *chat.Room) bool { return r.Online == 4 })
	s.until(s.ana, roomGarden, func(r *chat.Room) bool { return r.Unread > 0 })
	s.must(s.as(n2).Typing(t.Context(), s.rooms[roomBooks]))
	s.shots(w, d, "room", forms...)
	w.network()
	s.shots(w, d, "network", forms...)
	w.strike("Escape", "ctrl+comma")
	s.shots(w, d, "settings", forms...)
	w.strike("Escape")
	if f == wide {
		s.others(w, d)
	}
	w.close()
}

// others shows what there is beside the main views.
func (s *studio) others(w *window, d dress) {
	other := func(name string) {
		time.Sleep(shotAnswer)
		s.shot(w, wide, fmt.Sprintf("%s_%s_other-%s", d, wide.name, name))
	}
	menu := func(name string, n int) {
		w.click(wide, 1, -26, 30)
		time.Sleep(shotAnswer)
		for range n {
			w.do("key", "Down")
		}
		w.strike("Return")
		other(name)
	}
	sheet := func(name string, do func()) {
		do()
		other(name)
		w.strike("Escape")
	}
	sheet("menu", func() { w.click(wide, 1, -26, 30) })
	menu("about-room", 1)
	w.strike("Tab", "Tab", "Return")
	other("switch")
	w.strike("Escape")
	menu("members", 4)
	w.strike("Escape")
	menu("invite", 5)
	w.strike("Escape")
	sheet("about", func() { w.strike("ctrl+comma", "Return") })
	sheet("join", func() { w.click(wide, 1, 150, -56) })
	sheet("new", func() { w.click(wide, 1, 272, 28) })
	sheet("switcher", func() {
		w.strike("ctrl+k")
		w.do("type", "--delay", "20", "har")
	})
	sheet("search", func() {
		w.strike("ctrl+f")
		w.do("type", "--delay", "20", "harbour")
	})
	w.click(wide, 3, -260, -430)
	other("message-menu")
	w.strike("Down", "Down", "Down", "Down", "Return")
	other("why")
	w.strike("Escape", "Prior")
	other("merge")
	w.strike("Escape", "alt+Up")
	other("unread")
	w.network()
	other("leader-network")
}

// alone shows the room of who cannot reach anybody.
func (s *studio) alone(t *testing.T, d dress) {
	t.Helper()
	w := s.window(t, s.ana, d, wide, fmt.Sprintf("room = %q\n", s.rooms[roomBooks]))
	w.shape(wide)
	w.do("type", "--delay", "20", "Is anybody here?")
	w.strike("Return")
	s.shots(w, d, "other-alone", wide)
	w.network()
	s.shots(w, d, "other-alone-network", wide)
	w.close()
}

// sheet puts pictures together on one.
func (s *studio) sheet(name, pattern string, columns int) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, pattern))
	s.must(err)
	if len(files) == 0 {
		s.t.Errorf("no picture for %s", name)
		return
	}
	args := append([]string{"-label", "%t", "-background", "#888888", "-geometry", "480x360+6+6", "-tile", fmt.Sprintf("%dx", columns)}, files...)
	if out, err := exec.Command("montage", append(args, filepath.Join(s.dir, "sheet-"+name+".png"))...).CombinedOutput(); err != nil {
		s.t.Errorf("montage: %v: %s", err, out)
	}
}
