//go:build !nogui

package main

import (
	"context"
	"os"
	"runtime"
	"sync"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"

	"tertulia/chat"
	"tertulia/node"
	"tertulia/ui"
)

// buildKind tells the two builds of the program apart.
const buildKind = "desktop"

// openWindow shows the window of n until it is closed or ctx ends, then
// returns nil. It must be called on the main goroutine.
func openWindow(ctx context.Context, n *node.Node) error {
	if cache, err := os.UserCacheDir(); err == nil {
		os.MkdirAll(cache, 0o700) //nolint:errcheck // the toolkit complains in its log and goes on
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := app.NewWithID("io.tertulia.Tertulia")
	win, err := ui.New(a, n)
	if err != nil {
		return err
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
	})
	win.Show()
	a.Run()
	quit.Do(func() {})
	cancel()
	group.Wait()
	return runErr
}

// mayOpenWindow tells early why there can be no window; the toolkit would panic.
func mayOpenWindow() error {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" {
		return nil
	}
	return chat.Errorf(chat.CodeUnreachable, "There is no X11 display to open a window on.").
		WithHint("Use --headless, or start it from a desktop (with Wayland, XWayland gives the display).")
}
