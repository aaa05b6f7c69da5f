package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASecondStartRaisesTheFirstWindowAndHandsOverItsLink(t *testing.T) {
	for name, dir := range map[string]string{
		"short": t.TempDir(), "long": filepath.Join(t.TempDir(), strings.Repeat("long", 30)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if ok, err := raiseWindow(t.Context(), dir, ""); ok || err != nil {
				t.Fatalf("a window where there is none: %t, %v", ok, err)
			}
			s, err := listenWindow(dir)
			if err != nil {
				t.Fatal(err)
			}
			path, _ := windowPath(dir)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the socket is not its owner's alone: %v, %v", info, err)
			}
			links := make(chan string, 8)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- serveWindow(ctx, s.listener, func(link string) { links <- link }) }()
			for _, link := range []string{"", "tertulia:abc"} {
				if ok, err := raiseWindow(t.Context(), dir, link); !ok || err != nil {
					t.Fatalf("not raised: %t, %v", ok, err)
				}
				if got := <-links; got != link {
					t.Errorf("handed over %q, want %q", got, link)
				}
			}
			if !awaitWindow(t.Context(), dir, "") {
				t.Error("a window that is there is waited for in vain")
			}
			<-links

			// What is no start is not heard, and the next one is.
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("http://elsewhere\n")); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if ok, _ := raiseWindow(t.Context(), dir, "tertulia:next"); !ok || <-links != "tertulia:next" {
				t.Error("strange words end the listening")
			}
			if _, err := raiseWindow(t.Context(), dir, "tertulia:"+strings.Repeat("x", maxRaiseBytes)); err == nil {
				t.Error("a link without end is handed over")
			}

			cancel()
			if err := <-done; err != nil {
				t.Errorf("serveWindow = %v", err)
			}
			s.remove()
			if ok, err := raiseWindow(t.Context(), dir, ""); ok || err != nil {
				t.Errorf("a window that is gone is raised: %t, %v", ok, err)
			}
		})
	}
}

func TestASocketLeftBehindIsNoWindow(t *testing.T) {
	dir := t.TempDir()
	s, err := listenWindow(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.listener.(*net.UnixListener).SetUnlinkOnClose(false)
	s.listener.Close()
	if ok, err := raiseWindow(t.Context(), dir, ""); ok || err != nil {
		t.Errorf("raised %t, %v", ok, err)
	}
	again, err := listenWindow(dir)
	if err != nil {
		t.Fatalf("what is left behind is in the way: %v", err)
	}
	again.remove()
}
