// Package desktop is what the program needs of the desktop around its window:
// files that keep how it looked, and on Linux the session bus, for
// notifications and to know whether there is a tray. It knows nothing of the
// window itself.
package desktop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"

	"tertulia/chat"
)

const (
	maxFileBytes = 4 << 20                // of a file that Load reads
	keepPause    = 500 * time.Millisecond // between two writes of a Keeper
)

// Load reads the TOML file name over the value start and returns the outcome;
// no such file is no trouble. mend puts right what no field may be and tells
// whether it had to. A file that is not understood, wholly or in part, is kept
// as name with .broken after it; the error, a *chat.Error, then says so, and
// what was understood is returned with it.
func Load[T any](name string, start T, mend func(*T) bool) (T, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return start, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return start, unreadable(name, err)
	}
	if info.Size() > maxFileBytes {
		return start, setAside(name, fmt.Errorf("desktop: %s has more than %d bytes", name, maxFileBytes))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return start, unreadable(name, err)
	}
	v := start
	meta, err := toml.Decode(string(text), &v)
	if err != nil {
		return start, setAside(name, fmt.Errorf("desktop: read %s: %w", name, err))
	}
	mended := mend(&v)
	if strange := meta.Undecoded(); len(strange) > 0 {
		return v, setAside(name, fmt.Errorf("desktop: %s has %s, which nothing here is called", name, strange[0]))
	}
	if mended {
		return v, setAside(name, fmt.Errorf("desktop: %s has values that nothing here can be", name))
	}
	return v, nil
}

func unreadable(name string, err error) error {
	return &chat.Error{Code: chat.CodeDisk, Message: fmt.Sprintf("%s cannot be read.", name), Hint: "The window starts as if it were new.", Err: err}
}

func setAside(name string, why error) error {
	aside := name + ".broken"
	if err := os.Rename(name, aside); err != nil {
		return unreadable(name, errors.Join(why, err))
	}
	return &chat.Error{
		Code: chat.CodeInvalid, Message: fmt.Sprintf("%s was not understood.", name),
		Hint: fmt.Sprintf("It is kept as %s, and what could not be read is as in a new window.", aside), Err: why,
	}
}

// Save writes v as TOML to the file name, which only its owner can read. After
// a power cut it has the old content or the new, never a part.
func Save(name string, v any) error {
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(v); err != nil {
		return fmt.Errorf("desktop: write %s: %w", name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("desktop: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("desktop: write %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("desktop: %w", err)
	}
	if d, err := os.Open(filepath.Dir(name)); err == nil {
		d.Sync() //nolint:errcheck // not every system can; the file itself is safe
		d.Close()
	}
	return nil
}

// Keeper writes the newest of the values it is given to a file.
type Keeper[T any] struct {
	name   string
	newest chan T
}

// NewKeeper returns a keeper of the file name, which writes while it runs.
func NewKeeper[T any](name string) *Keeper[T] {
	return &Keeper[T]{name: name, newest: make(chan T, 1)}
}

// Keep has v written soon; a value that still waits is forgotten. It never
// blocks. One goroutine at a time may call it.
func (k *Keeper[T]) Keep(v T) {
	select {
	case <-k.newest:
	default:
	}
	k.newest <- v
}

// Run writes until ctx ends, then what is still to be written, and returns nil.
// What cannot be written is in the log; the next value is tried again.
func (k *Keeper[T]) Run(ctx context.Context) error {
	for {
		select {
		case v := <-k.newest:
			k.write(v)
		case <-ctx.Done():
			select {
			case v := <-k.newest:
				k.write(v)
			default:
			}
			return nil
		}
		pause := time.NewTimer(keepPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

func (k *Keeper[T]) write(v T) {
	if err := Save(k.name, v); err != nil {
		slog.Warn("window not kept", "file", k.name, "error", err)
	}
}
