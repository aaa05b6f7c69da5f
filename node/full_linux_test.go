package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tertulia/chat"
)

// large is a text that finds no place on a full disk.
var large = strings.Repeat("full ", 12_000)

// smallDisk returns a directory on a file system of its own, and what frees the
// ballast in it. Sizes are in MiB.
func smallDisk(t *testing.T, size, ballast int) (dir string, free func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "ballast")
	if err := os.WriteFile(file, make([]byte, ballast<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
}

// fillDisk says large texts until the disk is full, and returns how many were
// taken.
func (r *rig) fillDisk() int {
	r.t.Helper()
	for sent := range 200 {
		if _, err := r.Send(r.t.Context(), chat.Draft{Room: lobby, Text: fmt.Sprint(sent, large)}); err != nil {
			wantCode(r.t, err, chat.CodeDisk)
			return sent
		}
	}
	r.t.Fatal("the disk never fills")
	return 0
}

func TestAFullDiskStopsWritingAndNotReading(t *testing.T) {
	t.Parallel()
	disk, free := smallDisk(t, 6, 2)
	cfg := loopback(t, "n1")
	cfg.Dir = filepath.Join(disk, "data")
	nodes := gather(t, cfg, loopback(t, "n2"))
	a, b := nodes[0], nodes[1]

	sent := a.fillDisk()
	if n := len(a.history()); n != sent {
		t.Errorf("%d messages can be read, want %d", n, sent)
	}
	v := must(a.View(t.Context()))(t)
	s := must(a.Status(t.Context()))(t)
	if v.Healthy || !strings.HasPrefix(v.Network, "The disk is full") || s.Disk == "ok" {
		t.Errorf("healthy %t, network %q, disk %q", v.Healthy, v.Network, s.Disk)
	}
	// The others go on, and it catches up when there is space.
	b.untilTotal(uint64(sent))
	b.say("can you hear me?")
	_, err := a.Send(t.Context(), chat.Draft{Room: lobby, Text: large})
	wantCode(t, err, chat.CodeDisk)
	free()
	a.until("the disk takes writes", func() bool { return must(a.View(t.Context()))(t).Healthy })
	a.say("yes")
	b.say("good") // comes to one who lacks what was said before it, and so asks
	sameLists(sent+3, a, b)
	if refused := must(b.Status(t.Context()))(t).Refused; refused["fork"] > 0 {
		t.Errorf("what was not kept was spoken: %v", refused)
	}
}
