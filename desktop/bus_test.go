package desktop

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const patience = 20 * time.Second // for what another process does

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
</busconfig>`

// startBus starts a session bus of the test's own and makes it the session's.
func startBus(t *testing.T) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is missing: .ci/packages test installs it")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(busConfig, "SOCKET", filepath.Join(dir, "bus"))), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config-file="+config, "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the bus tells no address: %v", err)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", strings.TrimSpace(address))
}

// shown is what a notification server was asked to show.
type shown struct {
	replaces    uint32
	title, text string
	actions     []string
}

// fakeServer is a notification server: it writes down what it is asked.
type fakeServer struct {
	conn   *dbus.Conn
	shown  chan shown
	closed chan uint32
	next   uint32
}

func (f *fakeServer) GetCapabilities() ([]string, *dbus.Error) {
	return []string{"actions", "body", "body-markup"}, nil
}

func (f *fakeServer) Notify(_ string, replaces uint32, _, title, text string, actions []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	id := replaces
	if id == 0 {
		f.next++
		id = f.next
	}
	f.shown <- shown{replaces, title, text, actions}
	return id, nil
}

func (f *fakeServer) CloseNotification(id uint32) *dbus.Error {
	f.closed <- id
	return nil
}

func join(t *testing.T, name string) *dbus.Conn {
	t.Helper()
	conn, err := dbus.Connect(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("%s is not to be had: %v, %v", name, reply, err)
	}
	return conn
}

func next[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("never came: %s", what)
		panic("unreachable")
	}
}

func TestANotificationIsShownReplacedClickedAndTakenAway(t *testing.T) {
	startBus(t)
	server := &fakeServer{conn: join(t, notifyName), shown: make(chan shown, 8), closed: make(chan uint32, 8)}
	if err := server.conn.Export(server, notifyPath, notifyName); err != nil {
		t.Fatal(err)
	}
	b, err := Connect()
	if err != nil || b == nil {
		t.Fatalf("Connect = %v, %v", b, err)
	}
	opened := make(chan string, 8)
	b.OnOpen = func(room string) { opened <- room }
	run(t, b)

	b.Notify(Note{Room: "r1", Title: "Books", Text: "Bob: 1 < 2 & <b>so on</b>", Open: "Open"})
	got := next(t, "the notification", server.shown)
	if got.replaces != 0 || got.title != "Books" || got.text != "Bob: 1 &lt; 2 &amp; &lt;b&gt;so on&lt;/b&gt;" {
		t.Errorf("shown %+v", got)
	}
	if strings.Join(got.actions, " ") != "default Open" {
		t.Errorf("a click does nothing: %v", got.actions)
	}
	b.Notify(Note{Room: "r2", Title: "Garden", Text: "Eve: hello", Open: "Open"})
	next(t, "the other room's", server.shown)
	b.Notify(Note{Room: "r1", Title: "Books", Text: "Bob: more", Open: "Open"})
	if got := next(t, "the newer", server.shown); got.replaces != 1 {
		t.Errorf("the newer replaces %d, want 1", got.replaces)
	}

	emit := func(signal string, body ...any) {
		if err := server.conn.Emit(notifyPath, notifyName+"."+signal, body...); err != nil {
			t.Fatal(err)
		}
	}
	emit("ActionInvoked", uint32(77), "default") // another program's
	emit("ActionInvoked", uint32(2), "default")
	if room := next(t, "the click", opened); room != "r2" {
		t.Errorf("the click opens %q, want r2", room)
	}
	emit("NotificationClosed", uint32(2), uint32(2))
	emit("ActionInvoked", uint32(1), "default") // those before it have been heard then
	next(t, "the second click", opened)

	b.Notify(Note{Room: "r2"}) // gone already
	b.Notify(Note{Room: "r1"})
	if id := next(t, "the end", server.closed); id != 1 {
		t.Errorf("closed %d, want 1", id)
	}
}

func TestATrayIsSeenToComeAndGo(t *testing.T) {
	startBus(t)
	b, err := Connect()
	if err != nil || b == nil {
		t.Fatalf("Connect = %v, %v", b, err)
	}
	if b.HasTray() {
		t.Error("a tray where there is none")
	}
	trays := make(chan bool, 8)
	b.OnTray = func(has bool) { trays <- has }
	run(t, b)
	conn := join(t, watcherName)
	if !next(t, "the tray", trays) || !b.HasTray() {
		t.Error("the tray that came is not seen")
	}
	other, err := Connect()
	if err != nil || other == nil || !other.HasTray() {
		t.Errorf("the tray that is there is not seen: %v", err)
	}
	run(t, other)
	conn.Close()
	if next(t, "the tray's end", trays) || b.HasTray() {
		t.Error("the tray that went is still seen")
	}
}

func TestWithoutASessionBusNothingIsStarted(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if b, err := Connect(); b != nil || err != nil {
		t.Errorf("Connect = %v, %v", b, err)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
	if b, err := Connect(); b != nil || err == nil {
		t.Errorf("Connect to no bus = %v, %v", b, err)
	}
}

func run(t *testing.T, b *Bus) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
