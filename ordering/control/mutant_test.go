package control

import (
	"testing"

	"tertulia/ordering/mutant"
)

// Every mistake that the simulator hunts makes a difference here.
func TestMutantsDoOtherwise(t *testing.T) {
	// lead returns a leader of three with five commands committed, of which the
	// leader's linearizer has applied all.
	lead := func(m mutant.Mutant) (*cluster, []*replica) {
		c := newCluster(t, 1)
		c.mutant = m
		three := c.voters(3)
		c.elect(three[0])
		for n := uint64(1); n <= 5; n++ {
			three[0].log.Propose(command(n))
		}
		c.run()
		c.tick(1)
		return c, three
	}
	for _, k := range []struct {
		m    mutant.Mutant
		does func(m mutant.Mutant) bool // whether the rule is broken
	}{
		{mutant.SnapshotAhead, func(m mutant.Mutant) bool {
			_, three := lead(m)
			three[0].lin--
			s, ok := three[0].log.snapshot()
			return !ok || s.Index != three[0].lin
		}},
		{mutant.SnapshotBehind, func(m mutant.Mutant) bool {
			_, three := lead(m)
			s, ok := three[0].log.snapshot()
			return !ok || s.Index != three[0].lin
		}},
		{mutant.SnapshotOldConf, func(m mutant.Mutant) bool {
			c, three := lead(m)
			three[0].log.ProposeChange(Change{Learn: members(4)})
			c.run()
			three[0].lin--
			_, ok := three[0].log.snapshot()
			return ok
		}},
		{mutant.CompactUnapplied, func(m mutant.Mutant) bool {
			_, three := lead(m)
			l := three[0].log
			l.lin, three[0].lin = 4, 4
			l.Compact(7)
			rd, _ := l.Ready()
			return rd.Save.CompactTo != 3
		}},
		{mutant.FeedUncommitted, func(m mutant.Mutant) bool {
			c, three := lead(m)
			c.cut[three[1].self], c.cut[three[2].self] = true, true
			three[0].log.Propose(command(6))
			c.run()
			return fed(three[0].log, three[0].log.Status().Commit) != nil
		}},
		{mutant.FedIsFollowing, func(m mutant.Mutant) bool {
			c, three := lead(m)
			other := c.add(member(9), Saved{})
			for range 2 {
				other.log.Step(three[1].self.Device, fed(three[1].log, other.log.Status().Commit))
				c.drain(other)
				three[0].log.Propose(command(7))
				c.run()
				c.tick(1)
			}
			return other.log.Status().Leader == three[1].self
		}},
		{mutant.AckUncommitted, func(m mutant.Mutant) bool {
			c, three := lead(m)
			c.cut[three[0].self] = true
			three[0].log.Propose(command(6))
			c.drain(three[0]) // its words lie in the queue
			delete(c.cut, three[0].self)
			for _, p := range c.queue {
				if p.to == three[1].self {
					three[1].log.Step(p.from, p.data)
				}
			}
			c.queue = nil
			c.drain(three[1])
			e, ok := three[1].log.Ack()
			if !ok {
				t.Fatal("nobody to acknowledge to")
			}
			read, err := decodeMessage(three[0].log.cfg, three[1].self.Device, e.Data)
			if err != nil {
				t.Fatal(err)
			}
			return read.GetIndex() > three[1].log.Status().Commit
		}},
		{mutant.InstallAtOnce, func(m mutant.Mutant) bool {
			c, three := lead(m)
			blank := Saved{}
			r := &replica{self: member(9), disk: blank}
			c.open(r)
			r.log.Step(three[0].self.Device, fed(three[0].log, 0))
			rd, ok := r.log.Ready()
			return r.log.Held() == nil && ok && rd.Save.Snapshot != nil
		}},
		{mutant.CountUnapplied, func(m mutant.Mutant) bool {
			_, three := lead(m)
			return three[0].log.ProposeChange(Change{Learn: members(4)}) && three[0].log.ProposeChange(Change{Learn: members(5)})
		}},
	} {
		if k.does(mutant.None) {
			t.Errorf("%s: the program does it too", k.m)
		}
		if !k.does(k.m) {
			t.Errorf("%s: makes no difference", k.m)
		}
	}
}
