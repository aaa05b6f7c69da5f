package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"tertulia/chat"
)

const (
	maxSocketPathBytes = 100     // of a unix socket; some systems take 103
	minTokenBytes      = 16      // of an API token
	maxTokenBytes      = 4 << 10 // of its file
)

// socket is a listener, the API's or the window's, and the files that lead to it.
type socket struct {
	listener net.Listener
	address  string   // as DIR/api and DIR/window have it: unix:PATH, or host and port
	files    []string // removed with the socket, in this order
}

// listenAPI listens on address, or on a unix socket in dir when it is empty,
// and writes where to dir/api. The caller holds the lock of dir: a socket that
// is there already is a dead node's.
func listenAPI(dir, address, tokenFile string) (*socket, error) {
	s := &socket{}
	var err error
	if address == "" {
		err = s.listenUnix(dir)
	} else {
		err = s.listenTCP(address)
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	text := s.address + "\n"
	if tokenFile != "" && address != "" {
		absolute, err := filepath.Abs(tokenFile)
		if err != nil {
			s.remove()
			return nil, fmt.Errorf("find %s: %w", tokenFile, err)
		}
		text += absolute + "\n"
	}
	if err := s.announce(filepath.Join(dir, "api"), text); err != nil {
		return nil, err
	}
	return s, nil
}

// announce writes to the file name how the socket is found.
func (s *socket) announce(name, text string) error {
	s.files = append([]string{name}, s.files...)
	if err := writeAtomically(name, text); err != nil {
		s.remove()
		return &chat.Error{Code: chat.CodeDisk, Message: fmt.Sprintf("%s cannot be written.", name), Err: err}
	}
	return nil
}

func (s *socket) listenTCP(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return &chat.Error{Code: chat.CodeUnreachable, Message: fmt.Sprintf("The API cannot listen on %s.", address), Hint: "Name another address with --api.", Err: err}
	}
	s.listener, s.address = l, l.Addr().String()
	return nil
}

func (s *socket) listenUnix(dir string) error {
	err := s.listenPrivate(dir, "api.sock")
	if e, ok := errors.AsType[*chat.Error](err); ok && e.Hint == "" {
		return e.WithHint("Name an address with --api, as 127.0.0.1:0.")
	}
	return err
}

// listenPrivate listens on a unix socket in dir that is its owner's alone, or
// elsewhere when the path is too long for one.
func (s *socket) listenPrivate(dir, name string) error {
	path := filepath.Join(dir, name)
	if len(path) > maxSocketPathBytes {
		private, err := os.MkdirTemp("", "tertulia-") // mode 0700
		if err != nil {
			return &chat.Error{Code: chat.CodeDisk, Message: fmt.Sprintf("There is no place for the socket %s.", name), Err: err}
		}
		path = filepath.Join(private, name)
		s.files = []string{path, private}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return &chat.Error{Code: chat.CodeDisk, Message: fmt.Sprintf("%s is in the way of a socket.", path), Err: err}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return &chat.Error{Code: chat.CodeDisk, Message: fmt.Sprintf("Nothing can listen on %s.", path), Err: err}
	}
	s.listener, s.address = l, "unix:"+path
	if err := os.Chmod(path, 0o600); err != nil {
		return &chat.Error{Code: chat.CodeDisk, Message: fmt.Sprintf("%s cannot be made private.", path), Err: err}
	}
	return nil
}

// remove closes the listener, which removes its socket, and the other files.
func (s *socket) remove() {
	if s.listener != nil {
		s.listener.Close()
	}
	for _, name := range s.files {
		os.Remove(name)
	}
}

// writeAtomically leaves the old text or the new one, never a part.
func writeAtomically(name, text string) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".api-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// guard decides who may call the API on an address. A unix socket has its
// file's mode and needs none.
type guard struct {
	tcp   bool
	token string
}

// newGuard refuses an address that others can reach when there is no token.
func newGuard(address, tokenFile string) (guard, error) {
	if address == "" {
		return guard{}, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return guard{}, &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("--api has no address %q.", address), Hint: "An address is host and port, as 127.0.0.1:8080.", Err: err}
	}
	if tokenFile == "" {
		if !loopback(host) {
			return guard{}, chat.Errorf(chat.CodeInvalid, "The API is not served on %s without a token: others could reach it.", address).
				WithHint("Use 127.0.0.1, or name a file with a token: --api-token-file FILE")
		}
		return guard{tcp: true}, nil
	}
	info, err := os.Stat(tokenFile)
	if err != nil || info.Size() > maxTokenBytes {
		return guard{}, &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("The token cannot be read from %s.", tokenFile), Err: err}
	}
	text, err := os.ReadFile(tokenFile)
	if err != nil {
		return guard{}, &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("The token cannot be read from %s.", tokenFile), Err: err}
	}
	token := strings.TrimSpace(string(text))
	if len(token) < minTokenBytes {
		return guard{}, chat.Errorf(chat.CodeInvalid, "The token in %s is shorter than %d bytes.", tokenFile, minTokenBytes).
			WithHint("Make one with: head -c 32 /dev/urandom | base64")
	}
	return guard{tcp: true, token: token}, nil
}

// wrap lets through to next what the guard allows. On a loopback address
// without a token it keeps out web pages of other origins, also those that
// reach the address under a name of their own.
func (g guard) wrap(next http.Handler) http.Handler {
	if !g.tcp {
		return next
	}
	next = http.NewCrossOriginProtection().Handler(next)
	want := sha256.Sum256([]byte("Bearer " + g.token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.token == "" {
			host, _, err := net.SplitHostPort(r.Host)
			if err != nil {
				host = r.Host
			}
			if !loopback(strings.Trim(host, "[]")) {
				http.Error(w, "the API answers to localhost only", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the API wants a token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
