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

func TestALeaderWithAFullDiskLeadsNoMore(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	full := hurried(t, "n3")
	full.Dir = filepath.Join(disk, "data")
	nodes, leader := courtOf(t, hurried(t, "n1"), hurried(t, "n2"), full)
	a, b := nodes[0], nodes[1]

	text := strings.Repeat("full ", 12_000)
	sent := 0
	var err error
	for ; err == nil; sent++ {
		if sent > 200 {
			t.Fatal("the disk never fills")
		}
		_, err = leader.Send(t.Context(), chat.Draft{Room: lobby, Text: fmt.Sprint(sent, text)})
	}
	sent--
	wantCode(t, err, chat.CodeDisk)
	for _, r := range []*rig{a, b} {
		r.until("n2 leads", func() bool { return r.inner().view.Load().order.Leader == b.id.origin }, nodes...)
	}
	if m := a.untilFinal(a.say("can it be final?").ID); m.Leader != "n2" {
		t.Errorf("%+v", m)
	}
	sameFinals(sent+1, a, b)
	_, err = leader.Send(t.Context(), chat.Draft{Room: lobby, Text: text})
	wantCode(t, err, chat.CodeDisk)

	// When there is space again it catches up and leads once more.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	leader.until("the disk takes writes", func() bool { return must(leader.View(t.Context()))(t).Healthy })
	leader.say("yes")
	untilLed(nodes...)
	sameFinals(sent+2, nodes...)
}
