package desktop

import (
	"context"
	"fmt"
	"html"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	maxNotes = 32              // notifications waiting to be handed over
	callWait = 2 * time.Second // for an answer from the session bus
)

// AppID names the program, and so its .desktop file, to the desktop.
const AppID = "io.tertulia.Tertulia"

// Names on the session bus.
const (
	notifyName  = "org.freedesktop.Notifications"
	notifyPath  = "/org/freedesktop/Notifications"
	watcherName = "org.kde.StatusNotifierWatcher"
	busName     = "org.freedesktop.DBus"
)

// Note is a notification about a room; a newer one takes its place.
type Note struct {
	Room  string // id
	Title string
	Text  string // "" takes the room's notification away
	Open  string // what the action is called that opens the room
}

// Bus is the session bus of a Linux desktop.
type Bus struct {
	// OnOpen is called with the room of a notification that was clicked.
	OnOpen func(room string)
	// OnTray is called when a tray comes or goes.
	OnTray func(bool)

	conn  *dbus.Conn
	notes chan Note
	tray  atomic.Bool

	// Run's goroutine owns these.
	ids    map[string]uint32 // notifications by room
	markup bool              // the texts of notifications are HTML
	asked  bool              // markup is known
}

// Connect joins the session bus; nil and no error where there is none. Its
// callbacks are to be set before Run.
func Connect() (*Bus, error) {
	address := busAddress()
	if address == "" {
		return nil, nil
	}
	conn, err := dbus.Connect(address)
	if err != nil {
		return nil, fmt.Errorf("desktop: join the session bus: %w", err)
	}
	b := &Bus{OnOpen: func(string) {}, OnTray: func(bool) {}, conn: conn, notes: make(chan Note, maxNotes), ids: map[string]uint32{}}
	if err := b.watch(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("desktop: watch the session bus: %w", err)
	}
	return b, nil
}

// busAddress finds the session bus, and starts none where there is none.
func busAddress() string {
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		return address
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, "bus")
	if info, err := os.Stat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
		return ""
	}
	return "unix:path=" + path
}

// watch asks for the signals that Run serves, and whether there is a tray now.
func (b *Bus) watch() error {
	ctx, cancel := context.WithTimeout(context.Background(), callWait)
	defer cancel()
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchInterface(notifyName), dbus.WithMatchObjectPath(notifyPath)},
		{dbus.WithMatchInterface(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, watcherName)},
	} {
		if err := b.conn.AddMatchSignalContext(ctx, match...); err != nil {
			return err
		}
	}
	var has bool
	if err := b.conn.BusObject().CallWithContext(ctx, busName+".NameHasOwner", 0, watcherName).Store(&has); err != nil {
		return err
	}
	b.tray.Store(has)
	return nil
}

// HasTray tells whether the desktop has a tray to close the window to.
func (b *Bus) HasTray() bool { return b.tray.Load() }

// Notify shows n, or takes the room's notification away. It never blocks; when
// too many wait, n is dropped.
func (b *Bus) Notify(n Note) {
	select {
	case b.notes <- n:
	default:
	}
}

// Run serves until ctx ends or the bus is gone, then returns nil.
func (b *Bus) Run(ctx context.Context) error {
	defer b.conn.Close()
	signals := make(chan *dbus.Signal, maxNotes)
	b.conn.Signal(signals)
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-b.notes:
			if err := b.show(ctx, n); err != nil && ctx.Err() == nil {
				slog.Warn("notification not shown", "error", err)
			}
		case s, ok := <-signals:
			if !ok {
				<-ctx.Done()
				return nil
			}
			b.hear(s)
		}
	}
}

func (b *Bus) show(ctx context.Context, n Note) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	object := b.conn.Object(notifyName, notifyPath)
	id := b.ids[n.Room]
	if n.Text == "" {
		if id == 0 {
			return nil
		}
		delete(b.ids, n.Room)
		return object.CallWithContext(ctx, notifyName+".CloseNotification", 0, id).Err
	}
	text := n.Text
	if b.takesMarkup(ctx) {
		text = html.EscapeString(text)
	}
	hints := map[string]dbus.Variant{
		"desktop-entry": dbus.MakeVariant(AppID),
		"category":      dbus.MakeVariant("im.received"),
	}
	const asTheDesktopLikes = int32(-1) // how long it stays
	call := object.CallWithContext(ctx, notifyName+".Notify", 0,
		"Tertulia", id, AppID, n.Title, text, []string{"default", n.Open}, hints, asTheDesktopLikes)
	if err := call.Store(&id); err != nil {
		return err
	}
	b.ids[n.Room] = id
	return nil
}

// takesMarkup asks once what the notification server makes of its texts.
func (b *Bus) takesMarkup(ctx context.Context) bool {
	if !b.asked {
		var can []string
		err := b.conn.Object(notifyName, notifyPath).CallWithContext(ctx, notifyName+".GetCapabilities", 0).Store(&can)
		b.asked = err == nil
		b.markup = slices.Contains(can, "body-markup")
	}
	return b.markup
}

// hear serves a signal; those of other programs' notifications are not ours.
func (b *Bus) hear(s *dbus.Signal) {
	switch s.Name {
	case busName + ".NameOwnerChanged":
		var name, before, after string
		if err := dbus.Store(s.Body, &name, &before, &after); err == nil && name == watcherName {
			b.tray.Store(after != "")
			b.OnTray(after != "")
		}
	case notifyName + ".ActionInvoked":
		var id uint32
		var action string
		if err := dbus.Store(s.Body, &id, &action); err == nil && action == "default" {
			if room, ok := b.roomOf(id); ok {
				b.OnOpen(room)
			}
		}
	case notifyName + ".NotificationClosed":
		var id, reason uint32
		if err := dbus.Store(s.Body, &id, &reason); err == nil {
			if room, ok := b.roomOf(id); ok {
				delete(b.ids, room)
			}
		}
	}
}

func (b *Bus) roomOf(id uint32) (string, bool) {
	for room, i := range b.ids {
		if i == id {
			return room, true
		}
	}
	return "", false
}
