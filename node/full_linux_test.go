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

func TestAFullDiskStopsWritingAndNotReading(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := loopback(t, "n1")
	cfg.Dir = filepath.Join(disk, "data")
	nodes := gather(t, cfg, loopback(t, "n2"))
	a, b := nodes[0], nodes[1]

	text := strings.Repeat("full ", 12_000)
	sent := 0
	var err error
	for ; err == nil; sent++ {
		if sent > 200 {
			t.Fatal("the disk never fills")
		}
		_, err = a.Send(t.Context(), chat.Draft{Room: lobby, Text: fmt.Sprint(sent, text)})
	}
	sent--
	wantCode(t, err, chat.CodeDisk)
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
	_, err = a.Send(t.Context(), chat.Draft{Room: lobby, Text: text})
	wantCode(t, err, chat.CodeDisk)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	a.until("the disk takes writes", func() bool { return must(a.View(t.Context()))(t).Healthy })
	a.say("yes")
	b.say("good") // comes to one who lacks what was said before it, and so asks
	sameLists(sent+3, a, b)
	if refused := must(b.Status(t.Context()))(t).Refused; refused["fork"] > 0 {
		t.Errorf("what was not kept was spoken: %v", refused)
	}
}
