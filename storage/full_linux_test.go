package storage

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAFullDiskFailsVisiblyAndRecovers(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, s)
	room := testRoom(1)
	acked := fillUp(t, s, room)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	a := newAuthor(9, room)
	commit(t, s, room, a.say(100_000, "there is space"))
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(restored(t, s, room)); got != acked+1 {
		t.Errorf("%d entries, want %d", got, acked+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
