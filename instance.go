package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tertulia/chat"
)

// Of one window for each data directory: DIR/window says where its socket is.
const (
	windowFile     = "window"
	maxRaiseBytes  = 8 << 10                // of what a second start says, and of DIR/window
	raiseWait      = 2 * time.Second        // for the other end of the socket
	raisePatience  = 3 * time.Second        // for a window that is about to open
	raiseRetryTime = 100 * time.Millisecond // between two looks for it
)

// raised is what the window answers.
const raised = "raised\n"

// listenWindow listens for other starts on dir. The caller holds the lock of dir.
func listenWindow(dir string) (*socket, error) {
	s := &socket{}
	if err := s.listenPrivate(dir, windowFile+".sock"); err != nil {
		s.remove()
		return nil, err
	}
	if err := s.announce(filepath.Join(dir, windowFile), s.address+"\n"); err != nil {
		return nil, err
	}
	return s, nil
}

// serveWindow calls raise, with a link or "", whenever the program is started
// again, until ctx ends; then it returns nil.
func serveWindow(ctx context.Context, l net.Listener, raise func(link string)) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("listen for other starts: %w", err)
		}
		if link, err := hearStart(conn); err == nil {
			raise(link)
		}
		conn.Close()
	}
}

// hearStart reads what another start says and answers it.
func hearStart(conn net.Conn) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(raiseWait)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxRaiseBytes)).ReadString('\n')
	if err != nil {
		return "", err
	}
	link := strings.TrimSuffix(line, "\n")
	if link != "" && !strings.HasPrefix(link, "tertulia:") {
		return "", errors.New("not a link")
	}
	_, err = io.WriteString(conn, raised)
	return link, err
}

// raiseWindow has the window that runs on dir come to the front and offer to
// join by link, unless that is "". It tells whether there is such a window.
func raiseWindow(ctx context.Context, dir, link string) (bool, error) {
	if len(link) >= maxRaiseBytes || strings.ContainsAny(link, "\r\n") {
		return false, chat.Errorf(chat.CodeInvalid, "The link is no invite.")
	}
	path, ok := windowPath(dir)
	if !ok {
		return false, nil
	}
	dialer := net.Dialer{Timeout: raiseWait}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return false, nil // left behind by a window that is gone
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(raiseWait)); err != nil {
		return false, nil // the window is just closing
	}
	if _, err := io.WriteString(conn, link+"\n"); err != nil {
		return false, nil // the window is just closing
	}
	answer := make([]byte, len(raised))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != raised {
		return false, nil // the window is just closing
	}
	return true, nil
}

// windowPath reads where the socket of the window on dir is.
func windowPath(dir string) (string, bool) {
	f, err := os.Open(filepath.Join(dir, windowFile))
	if err != nil {
		return "", false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRaiseBytes))
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(strings.TrimSpace(string(text)), "unix:")
}

// awaitWindow is for a start that found dir taken by one that was a little
// faster and has no window yet. It tells whether that came to be and was raised.
func awaitWindow(ctx context.Context, dir, link string) bool {
	ctx, cancel := context.WithTimeout(ctx, raisePatience)
	defer cancel()
	again := time.NewTicker(raiseRetryTime)
	defer again.Stop()
	for {
		if ok, err := raiseWindow(ctx, dir, link); ok || err != nil {
			return ok
		}
		select {
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
}
