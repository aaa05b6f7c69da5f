package node

import (
	"path/filepath"
	"testing"

	"tertulia/chat"
)

func TestALeaderWithAFullDiskLeadsNoMore(t *testing.T) {
	t.Parallel()
	disk, free := smallDisk(t, 8, 3)
	full := hurried(t, "n3")
	full.Dir = filepath.Join(disk, "data")
	nodes, leader := courtOf(t, hurried(t, "n1"), hurried(t, "n2"), full)
	a, b := nodes[0], nodes[1]

	sent := leader.fillDisk()
	for _, r := range []*rig{a, b} {
		r.until("n2 leads", func() bool { return r.inner().view.Load().order.Leader == b.id.origin }, nodes...)
	}
	if m := a.untilFinal(a.say("can it be final?").ID); m.Leader != "n2" {
		t.Errorf("%+v", m)
	}
	sameFinals(sent+1, a, b)
	_, err := leader.Send(t.Context(), chat.Draft{Room: lobby, Text: large})
	wantCode(t, err, chat.CodeDisk)

	// When there is space again it catches up and leads once more.
	free()
	leader.until("the disk takes writes", func() bool { return must(leader.View(t.Context()))(t).Healthy })
	leader.say("yes")
	untilLed(nodes...)
	sameFinals(sent+2, nodes...)
}
