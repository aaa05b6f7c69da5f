//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tertulia/client"
)

// screen is an X server of the test's own.
type screen struct {
	t       *testing.T
	display string
}

func newScreen(t *testing.T, width, height int) *screen {
	t.Helper()
	for _, tool := range []string{"Xvfb", "xdotool", "import"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: .ci/packages test installs it", tool)
		}
	}
	number, told, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", fmt.Sprintf("%dx%dx24", width, height), "+extension", "GLX", "+render", "-noreset", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{told}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		number.Close()
	})
	b := make([]byte, 16)
	number.SetReadDeadline(time.Now().Add(patience))
	n, err := number.Read(b)
	if err != nil {
		t.Fatalf("Xvfb tells no display: %v", err)
	}
	return &screen{t, ":" + strings.TrimSpace(string(b[:n]))}
}

func (s *screen) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(cleanEnv(), "DISPLAY="+s.display)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s *screen) do(args ...string) string {
	s.t.Helper()
	out, err := s.run("xdotool", args...)
	if err != nil {
		s.t.Fatalf("xdotool %v: %v: %s", args, err, out)
	}
	return out
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
	cmd *exec.Cmd
	env []string // beyond that of every window
	log bytes.Buffer
	id  string
}

// openWindow starts the desktop program on w's directory and waits for its
// window.
func (w *window) open(args ...string) {
	w.screen.t.Helper()
	t := w.screen.t
	home := filepath.Join(filepath.Dir(w.dir), "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	w.cmd = exec.Command(built(t, "E2E_DESKTOP"), append([]string{"--data", w.dir, "--node-id", w.name, "--listen", w.addr, "--no-mdns", "--no-dht"}, args...)...)
	w.cmd.Env = append(cleanEnv(), "DISPLAY="+w.display, "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_RUNTIME_DIR="+home,
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent") // or a bus of its own would be started, and stay
	w.cmd.Env = append(w.cmd.Env, w.env...)
	w.log.Reset()
	w.cmd.Stdout, w.cmd.Stderr = &w.log, &w.log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a window", func() bool {
		out, err := w.run("xdotool", "search", "--onlyvisible", "--name", "Tertulia")
		if err == nil && out != "" {
			lines := strings.Fields(out)
			w.id = lines[len(lines)-1]
		}
		return w.id != ""
	})
	w.do("windowsize", "--sync", w.id, "1100", "760")
	w.do("windowfocus", w.id)
}

// close asks the program to end, as a desktop does at log-out.
func (w *window) close() {
	w.screen.t.Helper()
	t := w.screen.t
	w.cmd.Process.Signal(os.Interrupt)
	done := make(chan error, 1)
	go func() { done <- w.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the window ended with %v: %s", err, lastLines(w.log.String(), 10))
		}
	case <-time.After(patience):
		w.cmd.Process.Kill()
		t.Errorf("the window does not end")
	}
	if strings.Contains(w.log.String(), "Error in Fyne call thread") {
		t.Errorf("a widget was called off the UI's goroutine:\n%s", w.log.String())
	}
	w.id = ""
}

// painted waits until the window shows something.
func (w *window) painted() {
	w.screen.t.Helper()
	eventually(w.screen.t, "a painted window", func() bool {
		colours, err := w.run("sh", "-c", "import -window "+w.id+" -format %k info:")
		n, _ := strconv.Atoi(colours)
		return err == nil && n > 50
	})
}

// introduce answers the first start's question.
func (w *window) introduce(name string) {
	w.screen.t.Helper()
	t := w.screen.t
	w.painted()
	w.picture("1-name")
	node, err := client.Local(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	w.do("type", "--delay", "20", name)
	w.do("key", "Return")
	eventually(t, "the name at the node", func() bool {
		v, err := node.View(t.Context())
		return err == nil && v.Username == name
	})
}

// compose types into the composer of the open room.
func (w *window) compose(text string) {
	w.screen.t.Helper()
	time.Sleep(time.Second) // for the room to be painted
	w.do("mousemove", "--window", w.id, "600", "732", "click", "1")
	w.do("type", "--delay", "20", text)
}

// picture keeps what the window shows, in E2E_PICTURES if that is set.
func (w *window) picture(name string) {
	dir := os.Getenv("E2E_PICTURES")
	if dir == "" {
		return
	}
	if out, err := w.run("import", "-window", w.id, filepath.Join(dir, name+".png")); err != nil {
		w.screen.t.Errorf("import: %v: %s", err, out)
	}
}

func TestAMessageTypedIntoTheWindowIsReadOnAnotherNode(t *testing.T) {
	s := newScreen(t, 1280, 900)
	other := newMember(t, "n1")
	invite := other.up("--bootstrap").Invite
	w := &window{screen: s, member: newMember(t, "ana")}
	w.open("--join", invite)
	t.Cleanup(func() { w.cmd.Process.Kill() })

	// The first start asks for a name, with the cursor in the field.
	eventually(t, "the room", func() bool { return strings.Contains(w.command("rooms"), "2 of 2 online") })
	w.introduce("Ana")
	w.compose("typed into the window")
	w.picture("2-typing")
	w.do("key", "shift+Return")
	w.do("type", "--delay", "20", "on two lines")
	w.do("key", "Return")
	eventually(t, "the message at the other node", func() bool {
		_, texts := other.history()
		return texts["typed into the window\non two lines"] == 1
	})
	if out := other.command("history", "--tentative"); !strings.Contains(out, "Ana: typed into the window") {
		t.Errorf("the sender is not Ana: %s", out)
	}

	// And back: what the other node says is in the window's node.
	c := other.chat("Bruno")
	fmt.Fprintln(c.stdin, "read in the window")
	c.stdin.Close()
	if status := c.wait(); status != 0 {
		t.Fatalf("chat ended with %d", status)
	}
	eventually(t, "the answer at the window's node", func() bool {
		_, texts := w.history()
		return texts["read in the window"] == 1
	})
	w.picture("3-answer")
	w.close()

	// Everything is still there after a restart, and the name is not asked for
	// again: typing goes into the composer.
	w.open()
	w.painted()
	w.compose("back again")
	w.do("key", "Return")
	eventually(t, "the message after the restart", func() bool {
		_, texts := other.history()
		return texts["back again"] == 1 && texts["typed into the window\non two lines"] == 1
	})
	w.picture("4-restarted")
	w.close()
}

// From the double click to a conversation: a name, and the click on a link that
// somebody sent. The room nearby is in the pictures of make shots.
func TestTheFirstMinuteTakesANameAndALink(t *testing.T) {
	s := newScreen(t, 1280, 900)
	other := newMember(t, "n1")
	invite := other.up("--bootstrap").Invite
	w := &window{screen: s, member: newMember(t, "ana")}
	began := time.Now()
	w.open(invite) // as a desktop does when a link is clicked
	t.Cleanup(func() { w.cmd.Process.Kill() })
	w.introduce("Ana")
	// The invite is filled in, and the cursor on its button: Enter joins.
	eventually(t, "the room", func() bool {
		w.do("key", "Return")
		return strings.Contains(w.command("rooms"), "2 of 2 online")
	})
	w.picture("first-minute")
	// What is typed before the window shows the room goes nowhere.
	eventually(t, "the message at the other node", func() bool {
		w.compose("Good morning")
		w.do("key", "Return")
		_, texts := other.history()
		return texts["Good morning"] > 0
	})
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the first minute took %s", took)
	} else {
		t.Logf("from the start to a message on the other node: %s", took.Round(100*time.Millisecond))
	}
	w.close()
}
