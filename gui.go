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
	if !haveDisplay() {
		return chat.Errorf(chat.CodeInvalid, "There is no display to open a window on.").WithHint("Use --headless.")
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

// haveDisplay is false where the toolkit could only panic.
func haveDisplay() bool {
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" ||
		os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}
