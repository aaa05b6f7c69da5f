//go:build e2e

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const sessionConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
</busconfig>`

// Names on the session bus.
const (
	trayName   = "org.kde.StatusNotifierWatcher"
	trayPath   = "/StatusNotifierWatcher"
	notesName  = "org.freedesktop.Notifications"
	notesPath  = "/org/freedesktop/Notifications"
	trayMenu   = "com.canonical.dbusmenu"
	trayMenuAt = "/StatusNotifierItem/menu"
)

// maxHeard is how many calls of a program a sessionBus takes before a test looks.
const maxHeard = 64

// sessionBus is a session bus of the test's own, with a desktop on it that has a
// tray and shows notifications.
type sessionBus struct {
	address string
	conn    *dbus.Conn
	items   chan string // unique names of the programs that came into the tray
	notes   chan string // titles and texts of notifications
	last    string      // of items
}

func newSessionBus(t *testing.T) *sessionBus {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is missing: .ci/packages test installs it")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(sessionConfig, "SOCKET", filepath.Join(dir, "bus"))), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--config-file="+config, "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	beside(t, cmd)
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the bus tells no address: %v", err)
	}
	b := &sessionBus{address: strings.TrimSpace(address), items: make(chan string, maxHeard), notes: make(chan string, maxHeard)}
	if b.conn, err = dbus.Connect(b.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.conn.Close() })
	for name, path := range map[string]dbus.ObjectPath{trayName: trayPath, notesName: notesPath} {
		if err := b.conn.Export(b, path, name); err != nil {
			t.Fatal(err)
		}
		if reply, err := b.conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
			t.Fatalf("%s is not to be had: %v, %v", name, reply, err)
		}
	}
	return b
}

// RegisterStatusNotifierItem is called by a program that has something in the tray.
func (b *sessionBus) RegisterStatusNotifierItem(_ string, sender dbus.Sender) *dbus.Error {
	b.items <- string(sender)
	return nil
}

// GetCapabilities is called by a program that shows notifications, as Notify and
// CloseNotification are.
func (b *sessionBus) GetCapabilities() ([]string, *dbus.Error) {
	return []string{"actions", "body"}, nil
}

// Notify shows a notification.
func (b *sessionBus) Notify(_ string, _ uint32, _, title, text string, _ []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	b.notes <- title + "\n" + text
	return 1, nil
}

// CloseNotification takes one away.
func (b *sessionBus) CloseNotification(uint32) *dbus.Error { return nil }

// told waits for a notification.
func (b *sessionBus) told(t *testing.T, title, text string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case note := <-b.notes:
			if note == title+"\n"+text {
				return
			}
			t.Logf("another notification: %q", note)
		case <-deadline:
			t.Fatalf("no notification of %q", text)
		}
	}
}

// menuItem is what the tray's menu says of an item of it.
type menuItem struct {
	ID       int32
	Words    map[string]dbus.Variant
	Children []dbus.Variant
}

// choose clicks on an item of the menu in the tray.
func (b *sessionBus) choose(t *testing.T, label string) {
	t.Helper()
	if b.last == "" {
		select {
		case b.last = <-b.items:
		case <-time.After(patience):
			t.Fatal("nothing comes into the tray")
		}
	}
	menu := b.conn.Object(b.last, trayMenuAt)
	var id int32
	eventually(t, label+" in the tray", func() bool {
		var revision uint32
		var root menuItem
		if err := menu.Call(trayMenu+".GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &root); err != nil {
			return false
		}
		for _, child := range root.Children {
			var item menuItem
			if child.Store(&item) == nil && item.Words["label"].Value() == label {
				id = item.ID
				return true
			}
		}
		return false
	})
	if err := menu.Call(trayMenu+".Event", 0, id, "clicked", dbus.MakeVariant(int32(0)), uint32(0)).Err; err != nil {
		t.Fatalf("a click on %s: %v", label, err)
	}
}
