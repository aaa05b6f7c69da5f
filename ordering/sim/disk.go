package sim

import (
	"maps"
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/dag"
	"tertulia/ordering/linear"
	"tertulia/ordering/room"
)

// disk is what a replica has made durable. Each commit is atomic. The final list
// is not kept itself: a check at every commit makes sure that it is a prefix of
// the canonical one, so that its length says all.
type disk struct {
	runs    []dag.Accepted
	have    ordering.Vector
	clock   uint64 // highest ts
	control control.Saved
	mark    []byte
	seal    []byte
	applied uint64 // control entries in the final list, by the mark
	index   uint64 // finals that are Shown
	emitted map[ordering.Origin]linear.Emitted
	seen    map[ordering.Origin]ordering.Seen

	term, vote uint64 // of the newest promise
	agreed     uint64 // records up to here were compared as committed
	commits    []commitAt
	admitted   map[ordering.DeviceKey]bool // by the final list: false means removed
	epoch      uint64                      // of the newest final
	frozen     bool                        // a checkpoint was committed that differs
	open       uint64                      // epoch, by the mark
	nativeOf   uint64                      // epoch of native
	native     ordering.Key                // of the newest final that is native to its Lamport epoch
}

// commitAt is up to where the log was known to be committed at a time.
type commitAt struct {
	at    time.Duration
	index uint64
}

// committedBefore returns up to where the log was known to be committed then.
func (d *disk) committedBefore(t time.Duration) uint64 {
	for i := len(d.commits) - 1; i >= 0; i-- {
		if d.commits[i].at <= t {
			return d.commits[i].index
		}
	}
	return 0
}

func newDisk() *disk {
	return &disk{have: make(ordering.Vector), emitted: make(map[ordering.Origin]linear.Emitted), seen: make(map[ordering.Origin]ordering.Seen)}
}

// image returns a copy that later commits do not change.
func (d *disk) image() *disk {
	c := *d
	c.runs = slices.Clip(d.runs)
	c.have = d.have.Clone()
	c.control.Log = slices.Clone(d.control.Log)
	c.admitted = maps.Clone(d.admitted)
	c.emitted, c.seen = maps.Clone(d.emitted), maps.Clone(d.seen)
	return &c
}

// saved returns what a new core resumes from.
func (d *disk) saved(c *canon) room.Saved {
	s := room.Saved{Control: d.control, Mark: d.mark, Seal: d.seal}
	s.Control.Log = slices.Clone(d.control.Log)
	for _, o := range slices.SortedFunc(maps.Keys(d.emitted), ordering.Origin.Compare) {
		s.Emitted = append(s.Emitted, d.emitted[o])
	}
	for i := d.index - min(d.index, linear.Window) + 1; i <= d.index; i++ {
		x := &c.order[i-1]
		s.Recent = append(s.Recent, linear.Recent{Index: i, ID: x.id, Stamp: x.stamp, OrderHash: x.order})
	}
	for i := uint64(ordering.CheckpointEvery); i <= d.index; i += ordering.CheckpointEvery {
		s.Kept = append(s.Kept, linear.Kept{Index: i, Hash: c.order[i-1].order})
	}
	for _, o := range slices.SortedFunc(maps.Keys(d.seen), ordering.Origin.Compare) {
		s.Seen = append(s.Seen, d.seen[o])
	}
	return s
}

// Page limits of what a peer reads from a disk at once.
const (
	pageRuns   = 40
	pageFinals = 300
	pageBytes  = 1 << 20
)

// stores reports whether an entry is on the disk.
func (d *disk) stores(h ordering.Hash) bool {
	return slices.ContainsFunc(d.runs, func(a dag.Accepted) bool {
		return slices.ContainsFunc(a.Entries(), func(e *ordering.Entry) bool { return e.Hash() == h })
	})
}

// page returns the runs after the wants, in acceptance order, at most most.
func (d *disk) page(wants []ordering.Want, most int) []ordering.Verified {
	var page []ordering.Verified
	after := make(map[ordering.Origin]uint64, len(wants))
	asked := make(map[ordering.Origin]bool, len(wants))
	for _, w := range wants {
		if w.Tip == (ordering.Tip{}) {
			after[w.Origin], asked[w.Origin] = w.After, true
			continue
		}
		for _, a := range d.runs {
			if slices.ContainsFunc(a.Run.Run().Entries, func(e *ordering.Entry) bool { return e.Origin == w.Origin && ordering.TipOf(e.Seq, e.Hash()) == w.Tip }) {
				page = append(page, a.Run)
				break
			}
		}
	}
	size := 0
	for _, a := range d.runs {
		run := a.Run.Run()
		if o := run.Origin(); !asked[o] || run.Last().Seq <= after[o] {
			continue
		}
		if size += run.Size(); len(page) >= most || size > pageBytes {
			break
		}
		page = append(page, a.Run)
	}
	return page
}

// listed returns the final list after an index, at most most of it.
func (d *disk) listed(c *canon, after uint64, most int) []ordering.Listed {
	var part []ordering.Listed
	for i := after; i < d.index && len(part) < most; i++ {
		part = append(part, ordering.Listed{EntryID: c.order[i].id, Source: c.order[i].source})
	}
	return part
}

// latency is how long the commit takes.
func (n *node) latency() time.Duration {
	d := 300*time.Microsecond + time.Duration(n.dice.Int64N(int64(n.w.plan.fsync)))
	if n.stall > n.w.now {
		d += n.stall - n.w.now
	}
	return d
}

// apply makes what is durable of a Ready so, and looks at it.
func (n *node) apply(r *room.Ready) {
	d, w := n.disk, n.w
	w.stats.Commits++
	for _, a := range r.Persist {
		d.runs = append(d.runs, a)
		run := a.Run.Run()
		w.runs[run.Last().Hash()] = a.Run
		for _, e := range a.Entries() {
			w.canon.written(n, e, a.Branch != ordering.Hash{})
			d.have[e.Origin] = max(d.have[e.Origin], e.Seq)
			d.clock = max(d.clock, e.TS)
		}
	}
	d.control.Apply(r.Control)
	w.canon.logged(n, &r.Control)
	for i := range r.Final {
		w.canon.final(n, &r.Final[i])
	}
	for _, s := range r.Seen {
		d.seen[s.Origin] = s
	}
	if r.Seal != nil {
		d.seal = r.Seal
	}
	if r.Mark != nil {
		d.mark = r.Mark
	}
	if r.Install != nil {
		n.install(r.Install)
	}
	w.canon.committed(n)
	w.canon.epochCommitted(n, r)
}

// install takes up a snapshot: control log, mark and the final list up to there.
func (n *node) install(i *room.Install) {
	d := n.disk
	d.control, d.mark = i.Saved, i.Mark
	d.control.Log = slices.Clone(i.Saved.Log)
	n.w.canon.installed(n, i)
}
