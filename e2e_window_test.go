//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/client"
	"tertulia/desktop"
	"tertulia/ui"
)

// The window end to end: the real desktop program on an X server of the test's
// own, driven by keys alone, beside real nodes. What the window did is read from
// the nodes and, of what only a window knows, from the file in which it keeps how
// it looks. Pictures only tell when something has opened; they are kept with
// go test -artifacts, the last one of a window that failed too.

const toolPatience = 20 * time.Second // for what a person's hand or eye would do at once

const (
	caretPixels = 400   // at most so many pixels change while nothing happens: the cursor blinks
	codePixels  = 10000 // at least, of a QR code
	openPixels  = 100   // one of so many pixels changes at least when a sheet, menu or page opens
)

// screen is an X server of the test's own.
type screen struct {
	t       *testing.T
	display string
	managed bool // it has a window manager
}

func newScreen(t *testing.T, width, height int) *screen {
	t.Helper()
	for _, tool := range []string{"Xvfb", "openbox", "xdotool", "xprop", "import"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: .ci/packages test installs it", tool)
		}
	}
	number, told, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { number.Close() }) // not before: the server may write once more
	server := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", fmt.Sprintf("%dx%dx24", width, height), "+extension", "GLX", "+render", "-noreset", "-nolisten", "tcp")
	server.ExtraFiles = []*os.File{told}
	beside(t, server)
	told.Close()
	b := make([]byte, 16)
	number.SetReadDeadline(time.Now().Add(patience))
	n, err := number.Read(b)
	if err != nil {
		t.Fatalf("Xvfb tells no display: %v", err)
	}
	return &screen{t: t, display: ":" + strings.TrimSpace(string(b[:n]))}
}

// newDesktop is a screen of 1280x900 with a window manager.
func newDesktop(t *testing.T) *screen {
	t.Helper()
	s := newScreen(t, 1280, 900)
	s.managed = true
	manager := exec.Command("openbox")
	manager.Env = append(cleanEnv(), "DISPLAY="+s.display, "HOME="+t.TempDir(), "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent")
	beside(t, manager)
	eventually(t, "a window manager", func() bool {
		out, err := s.run("xprop", "-root", "_NET_SUPPORTING_WM_CHECK")
		return err == nil && strings.Contains(out, "window id")
	})
	s.do("mousemove", "1279", "899") // where no window is
	return s
}

// beside starts a program that is killed at the end of the test.
func beside(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// tool runs a program that looks at the screen and returns what it writes. Some
// would wait for ever for a window that is gone.
func (s *screen) tool(name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(cleanEnv(), "DISPLAY="+s.display)
	return cmd.Output()
}

func (s *screen) run(name string, args ...string) (string, error) {
	out, err := s.tool(name, args...)
	return strings.TrimSpace(string(out)), err
}

func (s *screen) do(args ...string) string {
	s.t.Helper()
	out, err := s.run("xdotool", args...)
	if err != nil {
		s.t.Fatalf("xdotool %v: %v", args, err)
	}
	return out
}

func (s *screen) keys(keys ...string) {
	s.t.Helper()
	s.do(append([]string{"key", "--delay", "20"}, keys...)...)
}

func (s *screen) write(text string) {
	s.t.Helper()
	s.do("type", "--delay", "20", text)
}

// eventually repeats check until it holds.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// window is the desktop program on a screen.
type window struct {
	*screen
	*member
	bus  string   // address of its session bus, "" = none
	env  []string // beyond that of every window
	home string
	node *client.Client
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	log  bytes.Buffer
	id   string
}

func newWindow(s *screen, m *member, bus string) *window {
	w := &window{screen: s, member: m, bus: bus, home: s.t.TempDir()}
	s.t.Cleanup(func() {
		if w.cmd == nil {
			return
		}
		if s.t.Failed() && w.visible() != "" {
			w.picture("failed")
		}
		w.cmd.Process.Kill()
		<-w.done // the log is whole then
		if s.t.Failed() {
			s.t.Logf("the window's log:\n%s", lastLines(w.log.String(), 20))
		}
	})
	return w
}

// start returns the desktop program as it is started on w's directory.
func (w *window) start(args ...string) *exec.Cmd {
	bus := w.bus
	if bus == "" {
		bus = "unix:path=/nonexistent" // or one would be started, and stay
	}
	cmd := w.inside(built(w.screen.t, "E2E_DESKTOP"), append([]string{"--data", w.dir, "--node-id", w.name, "--listen", w.addr, "--no-mdns", "--no-dht"}, args...)...)
	cmd.Env = append(cleanEnv(), "DISPLAY="+w.display, "HOME="+w.home, "XDG_CONFIG_HOME="+w.home, "XDG_DATA_HOME="+w.home,
		"XDG_CACHE_HOME="+w.home, "XDG_RUNTIME_DIR="+w.home, "DBUS_SESSION_BUS_ADDRESS="+bus)
	cmd.Env = append(cmd.Env, w.env...)
	return cmd
}

// open starts the program and waits for its window.
func (w *window) open(args ...string) {
	w.screen.t.Helper()
	t := w.screen.t
	w.log.Reset()
	cmd, done := w.start(args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = &w.log, &w.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.cmd, w.done, w.id = cmd, done, ""
	go func() {
		defer close(done)
		cmd.Wait()
	}()
	eventually(t, "a window", func() bool {
		w.id = w.visible()
		return w.id != ""
	})
	var err error
	if w.node, err = client.Local(w.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.node.Close)
	if w.managed {
		w.do("windowactivate", "--sync", w.id)
	} else {
		w.do("windowfocus", w.id)
	}
	w.painted()
}

// painted waits until the window shows something.
func (w *window) painted() {
	w.screen.t.Helper()
	eventually(w.screen.t, "a painted window", func() bool {
		colours, err := w.run("import", "-window", w.id, "-format", "%k", "info:")
		n, _ := strconv.Atoi(colours)
		return err == nil && n > 50
	})
}

// close asks the program to end, as a desktop does at log-out.
func (w *window) close() {
	w.screen.t.Helper()
	w.cmd.Process.Signal(os.Interrupt)
	w.ends()
}

// visible returns the window that is on the screen, "" when none is.
func (w *window) visible() string {
	out, err := w.run("xdotool", "search", "--onlyvisible", "--name", "^Tertulia$")
	if lines := strings.Fields(out); err == nil && len(lines) > 0 {
		return lines[len(lines)-1]
	}
	return ""
}

// ends waits until the program has ended, as it should.
func (w *window) ends() {
	w.screen.t.Helper()
	t := w.screen.t
	select {
	case <-w.done:
	case <-time.After(patience):
		t.Fatal("the window does not end")
	}
	if status := w.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("the window ended with %d", status)
	}
	if strings.Contains(w.log.String(), "Error in Fyne call thread") {
		t.Errorf("a widget was called off the UI's goroutine:\n%s", w.log.String())
	}
}

// grab returns the pixels of the window, three bytes each; nil while there are
// none.
func (w *window) grab() []byte {
	out, err := w.tool("import", "-window", w.id, "-depth", "8", "rgb:-")
	if err != nil {
		return nil
	}
	return out
}

// differ counts the pixels in which two pictures differ; all do when their sizes
// do.
func differ(a, b []byte) (n int) {
	if len(a) != len(b) || len(a) == 0 {
		return max(len(a), len(b), 1<<20) / 3
	}
	for i := 0; i < len(a); i += 3 {
		if a[i] != b[i] || a[i+1] != b[i+1] || a[i+2] != b[i+2] {
			n++
		}
	}
	return n
}

// black counts the pixels that are wholly black, as those of a QR code alone are.
func black(picture []byte) (n int) {
	for p := range slices.Chunk(picture, 3) {
		if p[0]|p[1]|p[2] == 0 {
			n++
		}
	}
	return n
}

// still waits until the window shows the same twice, and returns that.
func (w *window) still() []byte {
	w.screen.t.Helper()
	last := w.grab()
	eventually(w.screen.t, "a window that does not move", func() bool {
		now := w.grab()
		same := differ(last, now) <= caretPixels
		last = now
		return same
	})
	return last
}

// opens does what opens or closes something large in the window, and waits until
// that is there.
func (w *window) opens(what string, act func()) {
	w.screen.t.Helper()
	before := w.still()
	act()
	eventually(w.screen.t, what, func() bool { return differ(before, w.grab()) > len(before)/3/openPixels })
	w.still()
}

// picture keeps what the window shows.
func (w *window) picture(name string) {
	w.run("import", "-window", w.id, filepath.Join(w.screen.t.ArtifactDir(), name+".png"))
}

// state is how the window says it looks; it says so twice a second.
func (w *window) state() ui.State {
	s, err := desktop.Load(filepath.Join(w.dir, "window.toml"), ui.State{}, (*ui.State).Mend)
	if err != nil {
		w.screen.t.Fatal(err)
	}
	return s
}

// room returns a room of the window's node by its name.
func (w *window) room(name string) (chat.Room, bool) {
	v, err := w.node.View(w.screen.t.Context())
	if err != nil {
		return chat.Room{}, false
	}
	i := slices.IndexFunc(v.Rooms, func(r chat.Room) bool { return r.Name == name })
	if i < 0 {
		return chat.Room{}, false
	}
	return v.Rooms[i], true
}

// shows waits until a room is open in the window.
func (w *window) shows(name string) {
	w.screen.t.Helper()
	eventually(w.screen.t, "the window shows "+name, func() bool {
		r, ok := w.room(name)
		return ok && w.state().Room == r.ID
	})
}

// composes waits until something is in the composer of the open room.
func (w *window) composes(text string) {
	w.screen.t.Helper()
	eventually(w.screen.t, fmt.Sprintf("%q in the composer", text), func() bool {
		s := w.state()
		return s.Rooms[s.Room].Draft == text
	})
}

// introduce answers the first start's question; the cursor is in the field.
func (w *window) introduce(name string) {
	w.screen.t.Helper()
	w.write(name)
	w.picture("name")
	w.opens("what comes after the name", func() { w.keys("Return") })
	eventually(w.screen.t, "the name at the node", func() bool {
		v, err := w.node.View(w.screen.t.Context())
		return err == nil && v.Username == name
	})
}

// back presses Shift+Tab so many times. From the composer that leads over the list
// of messages to the buttons of the header: more, search, network, invite.
func (w *window) back(times int) {
	w.screen.t.Helper()
	w.keys(slices.Repeat([]string{"shift+Tab"}, times)...)
}

// forth leads back to the composer.
func (w *window) forth(times int) {
	w.screen.t.Helper()
	w.keys(slices.Repeat([]string{"Tab"}, times)...)
}

// has waits until a member holds a text once, and returns its line.
func (m *member) has(room, text string) line { return m.holds(room, text, "--tentative") }

// settles waits until a text is final at a member, once.
func (m *member) settles(room, text string) line { return m.holds(room, text) }

func (m *member) holds(room, text string, args ...string) (found line) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("%q at %s", text, m.name), func() bool {
		n := 0
		for _, l := range m.listed(append(args, "--room", room)...) {
			if l.Event == "message" && l.Text == text {
				found = l
				n++
			}
		}
		return n == 1
	})
	return found
}

// stands waits until something is so of a room at every member.
func stands(t *testing.T, what, room string, members []*member, so func(standing) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		for _, m := range members {
			rooms := m.standings()
			i := slices.IndexFunc(rooms, func(s standing) bool { return s.Name == room })
			if i < 0 || !so(rooms[i]) {
				return false
			}
		}
		return true
	})
}

// From the double click to a conversation: a name, and the click on a link that
// somebody sent. The room nearby is in the pictures of make shots.
func TestTheFirstMinuteTakesANameAndALink(t *testing.T) {
	other := newMember(t, "n1")
	invite := other.up("--bootstrap").Invite
	w := newWindow(newDesktop(t), newMember(t, "ana"), "")
	began := time.Now()
	w.open(invite) // as a desktop does when a link is clicked
	w.introduce("Ana")
	w.keys("Return") // the invite is filled in, and the cursor on its button
	w.shows("lobby")
	w.write("Good morning")
	eventually(t, "a message that is sent", func() bool {
		if s := w.state(); s.Rooms[s.Room].Draft != "" {
			w.keys("Return") // while the room is being joined, the text comes back
		}
		return slices.ContainsFunc(w.listed("--tentative", "--room", "lobby"), func(l line) bool { return l.Text == "Good morning" })
	})
	other.has("lobby", "Good morning")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the first minute took %s", took)
	} else {
		t.Logf("from the start to a message on the other node: %s", took.Round(100*time.Millisecond))
	}
	w.close()
}

func TestAPersonLivesADayInTheWindow(t *testing.T) {
	bus := newSessionBus(t)
	w := newWindow(newDesktop(t), newMember(t, "ana"), bus.address)
	n1, n2 := newMember(t, "n1"), newMember(t, "n2")
	all := []*member{w.member, n1, n2}

	// The first start asks for a name, then for a first conversation.
	w.open(quick...)
	w.introduce("Ana")
	w.write("Garden")
	w.keys("Return")
	w.shows("Garden")

	// The invite is copied from its sheet, and pasted.
	w.opens("the invite", func() {
		w.back(5)
		w.keys("Return")
	})
	eventually(t, "a code for cameras", func() bool { return black(w.grab()) > codePixels })
	w.picture("invite")
	w.keys("Return", "Escape")
	w.forth(5)
	w.keys("ctrl+v")
	var invite string
	eventually(t, "an invite in the composer", func() bool {
		s := w.state()
		invite = s.Rooms[s.Room].Draft
		return strings.HasPrefix(invite, "tertulia:")
	})
	w.keys("ctrl+a", "BackSpace")
	w.composes("")
	lobby := n1.up(append([]string{"--bootstrap", "--join", invite}, quick...)...).Invite
	n2.up(append([]string{"--join", invite}, quick...)...)
	eventually(t, "all in the garden", func() bool {
		r, ok := w.room("Garden")
		return ok && r.Members == 3 && r.Online == 3
	})

	// An invite that is clicked is offered by the window that runs already.
	w.opens("an offer to join", func() {
		if out, err := w.start(lobby).CombinedOutput(); err != nil {
			t.Fatalf("the second start: %v: %s", err, out)
		}
	})
	w.picture("join")
	w.keys("Return")
	w.shows("lobby")
	w.write("hello, square")
	w.keys("Return")
	if l := n1.has("lobby", "hello, square"); l.Sender != "Ana" {
		t.Errorf("the sender is %q, not Ana", l.Sender)
	}
	eventually(t, "nobody else in the lobby", func() bool {
		r, ok := w.room("lobby")
		return ok && r.Members == 2
	})

	// Another room, by a part of its name.
	w.opens("the switcher", func() { w.keys("ctrl+k") })
	w.write("gard")
	w.keys("Return")
	w.shows("Garden")

	// To and fro, with receipts both ways.
	w.write("typed into the window")
	w.keys("shift+Return")
	w.write("on two lines")
	w.picture("typing")
	w.keys("Return")
	const first = "typed into the window\non two lines"
	n1.has("Garden", first)
	bruno := n1.chat("Bruno", "--room", "Garden", "--follow")
	bruno.expect("attached", 1, event("attached"))
	fmt.Fprintln(bruno.stdin, "read in the window")
	answer := bruno.expect("a final answer", 1, func(l line) bool { return l.State == "final" && l.Text == "read in the window" })
	w.has("Garden", "read in the window")
	bruno.expect("Ana's receipt", 1, func(l line) bool { return l.Event == "read" && l.Reader == "Ana" && l.UpTo >= answer.Index })
	said := n1.has("Garden", first)
	fmt.Fprintln(bruno.stdin, "/read "+said.ID)
	eventually(t, "Bruno's receipt", func() bool {
		list, err := w.node.Confirmations(t.Context(), "Garden", "Ana", said.ID)
		return err == nil && len(list) == 1 && slices.ContainsFunc(list[0].Readers, func(p chat.Person) bool { return p.Name == "Bruno" })
	})
	w.picture("read")

	// What was said long ago is found and jumped to.
	const many = 60
	fmt.Fprintln(bruno.stdin, "a cornflower among the wheat")
	for i := range many {
		fmt.Fprintf(bruno.stdin, "wheat %d\n", i)
	}
	w.has("Garden", "wheat "+strconv.Itoa(many-1))
	stands(t, "all of it is final", "Garden", all, func(s standing) bool { return s.Tentative == 0 })
	w.opens("the search", func() { w.keys("ctrl+f") })
	w.opens("what was found", func() { w.write("cornfl") })
	w.picture("search")
	w.keys("Return")
	hit := w.has("Garden", "a cornflower among the wheat")
	eventually(t, "the message in view", func() bool {
		s := w.state()
		top := s.Rooms[s.Room].Top
		lines := w.listed("--room", "Garden")
		i := slices.IndexFunc(lines, func(l line) bool { return l.ID == top })
		return i >= 0 && lines[i].Index <= hit.Index && lines[i].Index+many/2 > hit.Index
	})
	w.picture("jump")
	w.keys("Escape", "Escape", "Escape") // the search, its mark, the look at history
	eventually(t, "the end in view", func() bool {
		s := w.state()
		return s.Rooms[s.Room].Top == ""
	})

	// The order is switched in the sheet about the room: more, the first of its
	// menu, and from the sheet's button back over offer, receipts, notices.
	plain := w.still()
	w.opens("the menu", func() {
		w.back(2)
		w.keys("Return")
	})
	w.opens("about the room", func() { w.keys("Down", "Return") })
	w.opens("what a switch means", func() {
		w.back(4)
		w.keys("Return")
	})
	w.picture("switch")
	w.keys("Tab", "Return")
	// A sheet dims all there is below it.
	eventually(t, "the sheet closes", func() bool { return differ(plain, w.grab()) < len(plain)/3/2 })
	w.forth(2)
	stands(t, "n2 leads three voters", "Garden", all, func(s standing) bool {
		return s.Ordering == "leader" && s.Leader == "n2" && len(s.Voters) == 3
	})

	// The leader dies amid a sentence.
	w.write("half of it was typed,")
	n2.kill()
	w.write(" and then the other half")
	w.keys("Return")
	const halves = "half of it was typed, and then the other half"
	for _, m := range all[:2] {
		if l := m.settles("Garden", halves); l.Leader == "n2" {
			t.Errorf("at %s one who was dead ordered it", m.name)
		}
	}
	n2.up(quick...)
	n2.has("Garden", halves)

	// Closed, it stays in the tray and tells of what comes; its menu brings it back.
	w.keys("alt+F4")
	eventually(t, "no window", func() bool { return w.visible() == "" })
	fmt.Fprintln(bruno.stdin, "who is there")
	bus.told(t, "Garden", "Bruno: who is there")
	missed := bruno.expect("what was missed", 1, func(l line) bool { return l.State == "final" && l.Text == "who is there" })
	receipt := func(l line) bool { return l.Event == "read" && l.Reader == "Ana" && l.UpTo >= missed.Index }
	w.has("Garden", "who is there")
	if bruno.count(receipt) > 0 {
		t.Error("what came while the window was closed was said to be read")
	}
	bus.choose(t, "Open")
	eventually(t, "the window again", func() bool { return w.visible() == w.id })
	bruno.expect("the receipt of who looks again", 1, receipt)

	// A restart leaves the draft, the room and the size as they were.
	w.do("windowactivate", "--sync", w.id, "windowsize", w.id, "940", "640")
	w.write("here I am") // which ends what is new
	w.keys("Return")
	n1.has("Garden", "here I am")
	w.write("begun before the restart")
	w.composes("begun before the restart")
	eventually(t, "the size is kept", func() bool { s := w.state(); return s.Width == 940 && s.Height == 640 })
	before := w.still()
	bus.choose(t, "Quit")
	w.ends()
	w.bus = "" // without a tray from here on
	w.open(quick...)
	eventually(t, "the window as it was", func() bool {
		now := w.grab()
		return len(now) == len(before) && differ(before, now) < len(before)/3/openPixels
	})
	w.picture("restarted")
	w.write(", ended after it")
	w.keys("Return")
	n1.has("Garden", "begun before the restart, ended after it")

	// All hold the same.
	stands(t, "everything is final", "Garden", all, func(s standing) bool { return s.Tentative == 0 && s.Diverged == 0 })
	eventually(t, "the same history everywhere", func() bool {
		want := n1.listed("--room", "Garden")
		return slices.Equal(want, n2.listed("--room", "Garden")) && slices.Equal(want, w.listed("--room", "Garden"))
	})

	// Without a tray, closing ends it.
	w.keys("alt+F4")
	w.ends()
}

// street is a network of two houses with a cable between them.
type street struct {
	t      *testing.T
	houses [2]string // network namespaces
}

func newStreet(t *testing.T) *street {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("pulling a cable needs root and ip, which .ci/packages test installs")
	}
	s := &street{t: t}
	for i := range s.houses {
		s.houses[i] = fmt.Sprintf("tertulia-%d-%d", os.Getpid(), i)
		if out, err := exec.Command("ip", "netns", "add", s.houses[i]).CombinedOutput(); err != nil {
			t.Skipf("this machine gives no network of its own: %s", out)
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "del", s.houses[i]).Run() })
	}
	s.ip("-n", s.houses[0], "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", s.houses[1])
	for i, house := range s.houses {
		s.ip("-n", house, "address", "add", fmt.Sprintf("10.76.0.%d/24", i+1), "dev", "cable")
		s.ip("-n", house, "link", "set", "lo", "up")
		s.ip("-n", house, "link", "set", "cable", "up")
	}
	return s
}

func (s *street) ip(args ...string) {
	s.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		s.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// member is a new node in a house.
func (s *street) member(name string, house int) *member {
	m := newMember(s.t, name)
	m.addr = fmt.Sprintf("/ip4/10.76.0.%d/tcp/4001", house+1)
	m.within = []string{"ip", "netns", "exec", s.houses[house]}
	return m
}

func TestAfterAPartitionTheWindowTellsWhatWasSaidApart(t *testing.T) {
	street := newStreet(t)
	n1 := street.member("n1", 0)
	w := newWindow(newDesktop(t), street.member("ana", 1), "")
	both := []*member{n1, w.member}
	w.open("--join", n1.up("--bootstrap").Invite)
	w.introduce("Ana")
	w.shows("lobby")
	bruno := n1.chat("Bruno", "--follow")
	bruno.expect("attached", 1, event("attached"))
	say := func(text string) {
		w.write(text)
		w.keys("Return")
		w.has("lobby", text)
	}
	say("together")
	n1.has("lobby", "together")
	stands(t, "nobody is waited for", "lobby", both, func(s standing) bool { return s.Tentative == 0 && len(s.WaitingFor) == 0 })

	street.ip("-n", street.houses[0], "link", "set", "cable", "down")
	parted := time.Now()
	for _, m := range both {
		eventually(t, m.name+" misses the other", func() bool { return strings.Contains(m.command("rooms"), "1 of 2 online") })
	}
	const each = 3
	for i := range each {
		say(fmt.Sprintf("Ana alone %d", i))
		fmt.Fprintf(bruno.stdin, "Bruno alone %d\n", i)
		n1.has("lobby", fmt.Sprintf("Bruno alone %d", i))
	}
	eventually(t, "the window says whom it waits for", func() bool {
		r, ok := w.room("lobby")
		return ok && slices.Equal(r.WaitsFor, []string{"n1"})
	})
	w.still()
	w.picture("apart")
	const shown = 6 * time.Second // after which a line below is known to come from apart
	said := time.Now()
	eventually(t, "a while", func() bool { return time.Since(said) > shown })
	if s := w.standings()[0]; s.Tentative < each { // n1, who votes alone, goes on without the window
		t.Errorf("%d messages are tentative in the window while parted, want %d or more", s.Tentative, each)
	}

	street.ip("-n", street.houses[0], "link", "set", "cable", "up")
	stands(t, "together again, all is final", "lobby", both, func(s standing) bool { return s.Tentative == 0 && len(s.WaitingFor) == 0 && s.Diverged == 0 })
	var merge chat.Merge
	eventually(t, "the banner", func() bool {
		r, ok := w.room("lobby")
		if !ok || len(r.Merges) != 1 {
			return false
		}
		merge = r.Merges[0]
		return true
	})
	if merge.Count != each || merge.From.Before(parted.Add(-time.Minute)) || merge.To.Before(said) {
		t.Errorf("the banner tells of %d messages from %s to %s; parted at %s", merge.Count, merge.From, merge.To, parted)
	}
	lines := n1.listed("--room", "lobby")
	if !slices.Equal(lines, w.listed("--room", "lobby")) {
		t.Error("the two hold other histories")
	}
	i := slices.IndexFunc(lines, func(l line) bool { return l.ID == merge.Before })
	if i < 0 || !strings.HasPrefix(lines[i].Text, "Bruno alone") {
		t.Errorf("the banner stands above %d", i)
	}
	w.still()
	w.picture("merged")
	w.keys("alt+F4")
	w.ends()
}
