//go:build !nogui

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"

	"tertulia/chat"
	"tertulia/desktop"
	"tertulia/node"
	"tertulia/ui"
)

// buildKind tells the two builds of the program apart.
const buildKind = "desktop"

// openWindow shows the window of n, which runs on dir, until it is closed or
// ctx ends, then returns nil. It must be called on the main goroutine. The
// window offers to join by link, unless that is "".
func openWindow(ctx context.Context, n *node.Node, dir, link string) error {
	if cache, err := os.UserCacheDir(); err == nil {
		os.MkdirAll(cache, 0o700) //nolint:errcheck // the toolkit complains in its log and goes on
	}
	starts, err := listenWindow(dir)
	if err != nil {
		return err
	}
	defer starts.remove()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := openDesk(dir)
	defer d.close()
	a := app.NewWithID(desktop.AppID)
	win, err := ui.New(a, n, d.config(a, dir))
	if err != nil {
		return err
	}
	if link != "" {
		win.OpenLink(link)
	}
	var (
		group  sync.WaitGroup
		runErr error
		quit   sync.Once // a second Quit of the toolkit panics
	)
	a.Lifecycle().SetOnStarted(func() {
		group.Go(func() {
			runErr = win.Run(ctx)
			quit.Do(func() { fyne.Do(a.Quit) })
		})
		group.Go(func() {
			err := serveWindow(ctx, starts.listener, func(link string) {
				if link == "" {
					fyne.Do(win.Raise)
					return
				}
				fyne.Do(func() { win.OpenLink(link) })
			})
			if err != nil {
				slog.Warn("window cannot be raised from outside", "error", err)
			}
		})
		if d.bus != nil {
			d.bus.OnOpen = func(room string) { fyne.Do(func() { win.OpenRoom(room) }) }
			d.bus.OnTray = func(bool) { fyne.Do(win.TrayChanged) }
			group.Go(func() { d.bus.Run(ctx) }) //nolint:errcheck // it never fails
		}
	})
	win.Show()
	a.Run()
	quit.Do(func() {})
	cancel()
	group.Wait()
	return runErr
}

// desk is what a window needs of the desktop and of its files.
type desk struct {
	settings ui.Settings
	state    ui.State
	trouble  error

	keepSettings *desktop.Keeper[ui.Settings]
	keepState    *desktop.Keeper[ui.State]
	bus          *desktop.Bus // nil where there is none
	keeping      sync.WaitGroup
	stop         context.CancelFunc
}

// openDesk reads the files of the window in dir and joins the session bus.
func openDesk(dir string) *desk {
	settings, state := filepath.Join(dir, "settings.toml"), filepath.Join(dir, "window.toml")
	d := &desk{
		keepSettings: desktop.NewKeeper[ui.Settings](settings),
		keepState:    desktop.NewKeeper[ui.State](state),
	}
	var settingsErr, stateErr, err error
	d.settings, settingsErr = desktop.Load(settings, ui.DefaultSettings(), (*ui.Settings).Mend)
	d.state, stateErr = desktop.Load(state, ui.State{}, (*ui.State).Mend)
	for _, err := range []error{stateErr, settingsErr} {
		if err != nil {
			slog.Warn("window not as it was", "error", errors.Unwrap(err))
			d.trouble = err
		}
	}
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" {
		if d.bus, err = desktop.Connect(); err != nil {
			slog.Warn("no notifications and no tray", "error", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.keeping.Go(func() { d.keepSettings.Run(ctx) }) //nolint:errcheck // it never fails
	d.keeping.Go(func() { d.keepState.Run(ctx) })    //nolint:errcheck // it never fails
	if settingsErr != nil {
		d.keepSettings.Keep(d.settings) // what was understood
	}
	return d
}

// close writes what is still to be written.
func (d *desk) close() {
	d.stop()
	d.keeping.Wait()
}

func (d *desk) config(a fyne.App, dir string) ui.Config {
	return ui.Config{
		Settings:     d.settings,
		State:        d.state,
		Trouble:      d.trouble,
		KeepSettings: d.keepSettings.Keep,
		KeepState:    d.keepState.Keep,
		Notify:       func(n ui.Notification) { d.notify(a, n) },
		HasTray:      d.hasTray,
		Version:      version,
		Commit:       buildCommit(),
		Dir:          dir,
	}
}

func (d *desk) notify(a fyne.App, n ui.Notification) {
	switch {
	case d.bus != nil:
		d.bus.Notify(desktop.Note{Room: n.Room, Title: n.Title, Text: n.Text, Open: n.Open})
	case n.Text != "" && (runtime.GOOS == "windows" || runtime.GOOS == "darwin"):
		fyne.Do(func() { a.SendNotification(fyne.NewNotification(n.Title, n.Text)) })
	}
}

func (d *desk) hasTray() bool {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return true
	}
	return d.bus != nil && d.bus.HasTray()
}

// mayOpenWindow tells early why there can be no window; the toolkit would panic.
func mayOpenWindow() error {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" {
		return nil
	}
	return chat.Errorf(chat.CodeUnreachable, "There is no X11 display to open a window on.").
		WithHint("Use --headless, or start it from a desktop (with Wayland, XWayland gives the display).")
}
