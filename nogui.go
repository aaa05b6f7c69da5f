//go:build nogui

package main

import (
	"context"

	"tertulia/chat"
	"tertulia/node"
)

// buildKind tells the two builds of the program apart.
const buildKind = "headless"

// mayOpenWindow refuses: this build has no window.
func mayOpenWindow() error {
	return chat.Errorf(chat.CodeLater, "This build has no window.").
		WithHint("Use the desktop build (bin/tertulia), or start with --headless.")
}

func openWindow(context.Context, *node.Node, string, string) error { return mayOpenWindow() }
