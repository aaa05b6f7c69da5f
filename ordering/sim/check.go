package sim

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/dag"
	"tertulia/ordering/linear"
	"tertulia/ordering/room"
)

// Bounds of what is checked over time.
const (
	stepDown    = 2 * time.Second         // P-9
	stepGrace   = 500 * time.Millisecond  // and what timers and drift add
	steadyReign = 1500 * time.Millisecond // a leader heard so long by a quorum is not to be deposed (P-8)

	lagMost      = 2500 * time.Millisecond // a voter that is to take over may be so far behind
	handOverMost = 5 * time.Second         // from when a leader hands over until another leads
)

// canon is the one history of which every replica shows a part. Whoever is first
// to make something final or committed writes it; all others are compared.
type canon struct {
	order   []slot
	fates   map[ordering.EntryID]fate
	wrote   map[ordering.Hash]*ordering.Entry
	places  map[ordering.EntryID]ordering.Hash // of wrote: as first stored by anybody
	lost    map[ordering.Hash]bool             // passed over for another branch
	emitted map[ordering.EntryID]ordering.Hash
	stamps  map[linear.Digest]ordering.EntryID // of shown messages
	log     map[uint64]*record                 // committed, by index
	held    map[place]*record                  // ever durable anywhere, by index and term
	leaders map[uint64]*node                   // by term
	epochs  map[uint64]string
	confs   []confAt // ascending by index
	origins map[ordering.Origin]int
	reign   reign
	epochal epochal
}

// slot is a place in the canonical final list.
type slot struct {
	id     ordering.EntryID
	hash   ordering.Hash
	order  ordering.Hash
	stamp  linear.Digest
	source ordering.Source
}

type fate struct {
	fate  linear.Fate
	index uint64
	late  bool
}

type place struct{ index, term uint64 }

// record is a record of the control log with those on whose disks it ever was.
type record struct {
	place
	kind control.RecordKind
	data []byte
	on   uint64 // a bit for each origin
}

// conf is who has a seat.
type conf struct{ voters, outgoing, learners []ordering.Origin }

type confAt struct {
	index uint64
	conf
}

// reign is who leads, and since when a quorum has heard it without a break.
type reign struct {
	of    *node
	term  uint64
	since time.Duration // -1: it is not heard now
}

func newCanon() *canon {
	return &canon{
		fates: make(map[ordering.EntryID]fate), wrote: make(map[ordering.Hash]*ordering.Entry), places: make(map[ordering.EntryID]ordering.Hash),
		lost: make(map[ordering.Hash]bool), emitted: make(map[ordering.EntryID]ordering.Hash),
		stamps: make(map[linear.Digest]ordering.EntryID), log: make(map[uint64]*record), held: make(map[place]*record),
		leaders: make(map[uint64]*node), epochs: make(map[uint64]string), origins: make(map[ordering.Origin]int),
		reign: reign{since: -1}, epochal: newEpochal(),
	}
}

func (c *canon) bit(o ordering.Origin) uint64 {
	i, ok := c.origins[o]
	if !ok {
		i = len(c.origins)
		c.origins[o] = i
	}
	return 1 << (i & 63)
}

// written checks an entry that n has made durable.
func (c *canon) written(n *node, e *ordering.Entry, beside bool) {
	w := n.w
	c.wrote[e.Hash()] = e
	first, known := c.places[e.ID()]
	switch {
	case !known:
		c.places[e.ID()] = e.Hash()
	case first != e.Hash() && !w.mayFork(e.Origin):
		w.failf(n.i, "U12", "%s has two hashes", w.id(e.ID()))
	}
	if beside && !w.mayFork(e.Origin) {
		w.failf(n.i, "U12", "%s lies beside its chain", w.id(e.ID()))
	}
	c.stored(n, e)
	if e.Seq != n.disk.have[e.Origin]+1 && !w.mayFork(e.Origin) {
		w.failf(n.i, "U4", "%s is stored after seq %d", w.id(e.ID()), n.disk.have[e.Origin])
	}
	ts := uint64(0)
	for _, d := range e.Deps {
		if n.disk.have[d.Origin] < d.Seq {
			w.failf(n.i, "U5", "%s is stored before %s", w.id(e.ID()), w.id(d.EntryID))
			return
		}
		if dep := c.wrote[d.Hash]; dep != nil {
			ts = max(ts, dep.TS)
		}
	}
	if prev := c.wrote[e.Prev]; prev != nil {
		ts = max(ts, prev.TS)
	}
	if e.TS != ts+1 {
		w.failf(n.i, "L-2", "%s has ts %d, not %d", w.id(e.ID()), e.TS, ts+1)
	}
}

// logged checks what became durable of the control log.
func (c *canon) logged(n *node, s *control.Save) {
	w, d := n.w, n.disk
	if len(s.Append) > 0 && s.Append[0].Index <= d.agreed {
		w.failf(n.i, "P-2", "record %d was committed and is overwritten", s.Append[0].Index)
	}
	mine := c.bit(n.self)
	for i := range s.Append {
		r := &s.Append[i]
		at := place{r.Index, r.Term}
		x := c.held[at]
		if x == nil {
			x = &record{place: at, kind: r.Kind, data: r.Data}
			c.held[at] = x
			c.opens(n, r)
		} else if x.kind != r.Kind || !bytes.Equal(x.data, r.Data) {
			w.failf(n.i, "P-2", "record %d of term %d differs between two logs", r.Index, r.Term)
		}
		x.on |= mine
		if batchBy(r) == n.self {
			c.proposed(n, r)
		}
	}
	if s.Conf != nil {
		c.seated(w, s.RaftApplied, decodeConf(s.Conf))
	}
	if h := s.Hard; h != nil {
		if h.Term < d.term || h.Term == d.term && d.vote != 0 && h.Vote != d.vote {
			w.failf(n.i, "P-1", "votes twice: term %d vote %x after term %d vote %x", h.Term, h.Vote, d.term, d.vote)
		}
		d.term, d.vote = h.Term, h.Vote
	}
	if commit := d.control.Hard.Commit; commit > d.agreed {
		d.commits = append(d.commits, commitAt{w.now, commit})
	}
	log := d.control.Log
	if len(log) == 0 {
		d.agreed = max(d.agreed, d.control.Hard.Commit)
		return
	}
	for i := max(d.agreed+1, log[0].Index); i <= d.control.Hard.Commit; i++ {
		k := i - log[0].Index
		if k >= uint64(len(log)) {
			w.failf(n.i, "P-2", "commit %d is beyond the log", d.control.Hard.Commit)
			return
		}
		c.agree(n, place{i, log[k].Term})
	}
	d.agreed = max(d.agreed, d.control.Hard.Commit)
}

// proposed checks that a leader's own batch follows a committed record of its
// term (P6).
func (c *canon) proposed(n *node, r *control.Record) {
	log := n.disk.control.Log
	for i := range log {
		if log[i].Term == r.Term {
			if log[i].Index > n.disk.control.Hard.Commit {
				n.w.failf(n.i, "P-2", "proposes record %d before one of its term %d is committed", r.Index, r.Term)
			}
			return
		}
	}
}

// batchBy returns who proposed the batch in a record; zero if it is none.
func batchBy(r *control.Record) (o ordering.Origin) {
	const head = 2 + 8 // version, kind, epoch
	if r.Kind == control.KindNormal && len(r.Data) >= head+ordering.OriginSize && r.Data[1] == 2 {
		copy(o.Device[:], r.Data[head:])
		copy(o.Instance[:], r.Data[head+ordering.DeviceSize:])
	}
	return o
}

// agree checks a record that n takes for committed.
func (c *canon) agree(n *node, at place) {
	w := n.w
	x := c.held[at]
	if x == nil {
		return // it came with the founding or a snapshot
	}
	if y := c.log[at.index]; y != nil {
		if y.term != at.term {
			w.failf(n.i, "P-3", "record %d is committed with term %d here and %d elsewhere", at.index, at.term, y.term)
		}
		return
	}
	if x.kind == control.KindNormal && len(x.data) > 1 && x.data[1] == 3 {
		if m, err := ordering.DecodeCommand(x.data); err == nil {
			c.checkpoint(n, m.(*ordering.Checkpoint))
		}
	}
	c.log[at.index] = x
	if !c.quorum(x) {
		w.failf(n.i, "P-4", "record %d of term %d is committed, but is on the disks of %s alone", at.index, at.term, c.holders(w, x))
	}
}

// checkpoint compares a committed order hash with the canonical one. From one
// that differs on nothing may become final anywhere.
func (c *canon) checkpoint(n *node, m *ordering.Checkpoint) {
	if m.Index <= uint64(len(c.order)) && c.order[m.Index-1].order == m.Hash {
		return
	}
	for _, x := range n.w.nodes {
		x.disk.frozen = true
	}
}

// quorum reports whether a majority of the voters has had the record on disk. A
// leader may have applied a change of seats a little later than it committed
// what follows.
func (c *canon) quorum(x *record) bool {
	k, _ := slices.BinarySearchFunc(c.confs, x.index, func(a confAt, i uint64) int { return cmp.Compare(a.index, i) })
	for _, a := range c.confs[max(0, k-2):min(len(c.confs), k+1)] {
		has := func(list []ordering.Origin) bool {
			n := 0
			for _, o := range list {
				if x.on&c.bit(o) != 0 {
					n++
				}
			}
			return len(list) == 0 || 2*n > len(list)
		}
		if has(a.voters) && has(a.outgoing) {
			return true
		}
	}
	return false
}

func (c *canon) holders(w *World, x *record) string {
	var on []ordering.Origin
	for o := range c.origins {
		if x.on&c.bit(o) != 0 {
			on = append(on, o)
		}
	}
	slices.SortFunc(on, ordering.Origin.Compare)
	return w.whoAll(on)
}

// seated notes who has seats from an index on.
func (c *canon) seated(w *World, index uint64, f conf) {
	k, known := slices.BinarySearchFunc(c.confs, index, func(a confAt, i uint64) int { return cmp.Compare(a.index, i) })
	if known {
		if !c.confs[k].equal(f) {
			w.failf(-1, "P-3", "the seats at %d differ between two replicas", index)
		}
		return
	}
	if k > 0 && c.confs[k-1].equal(f) {
		return // the same seats as of a later index
	}
	c.confs = slices.Insert(c.confs, k, confAt{index, f})
	w.note(-1, "seats at %d: voters %s outgoing %s learners %s", index, w.whoAll(f.voters), w.whoAll(f.outgoing), w.whoAll(f.learners))
}

func (f conf) equal(g conf) bool {
	return slices.Equal(f.voters, g.voters) && slices.Equal(f.outgoing, g.outgoing) && slices.Equal(f.learners, g.learners)
}

// newest returns the last k configurations.
func (c *canon) newest(k int) []conf {
	var list []conf
	for _, a := range c.confs[max(0, len(c.confs)-k):] {
		list = append(list, a.conf)
	}
	return list
}

// decodeConf reads the seats as the control log stores them: a version byte and
// three counted lists.
func decodeConf(b []byte) (f conf) {
	if len(b) == 0 {
		return f
	}
	b = b[1:]
	for _, list := range []*[]ordering.Origin{&f.voters, &f.outgoing, &f.learners} {
		n := int(b[0])
		b = b[1:]
		for range n {
			var o ordering.Origin
			copy(o.Device[:], b)
			copy(o.Instance[:], b[ordering.DeviceSize:])
			*list = append(*list, o)
			b = b[ordering.OriginSize:]
		}
	}
	return f
}

// final checks an entry that n has made final.
func (c *canon) final(n *node, f *linear.Final) {
	w, d := n.w, n.disk
	e := c.wrote[f.Hash]
	last := d.emitted[f.ID.Origin]
	if f.Fate == linear.Lost {
		c.lost[f.Hash] = true
		if c.emitted[f.ID] == f.Hash || !w.mayFork(f.ID.Origin) {
			w.failf(n.i, "U1", "%s is passed over", w.id(f.ID))
		}
		return
	}
	switch {
	case e == nil || e.ID() != f.ID:
		w.failf(n.i, "U3", "%s is final, and nobody wrote it", w.id(f.ID))
		return
	case c.lost[f.Hash]:
		w.failf(n.i, "U1", "%s is final here and passed over elsewhere", w.id(f.ID))
	case last.Hash != e.Prev && e.Seq == last.Seq+1:
		w.failf(n.i, "U3", "%s is final, and follows another branch", w.id(f.ID))
	case w.mayFork(f.ID.Origin) && !d.stores(f.Hash):
		w.failf(n.i, "U7", "%s is final, and on disk is another branch", w.id(f.ID))
	case d.have[f.ID.Origin] < f.ID.Seq:
		w.failf(n.i, "U7", "%s is final and not on disk", w.id(f.ID))
	case f.ID.Seq <= last.Seq:
		w.failf(n.i, "P-5", "%s is emitted again", w.id(f.ID))
	case f.ID.Seq != last.Seq+1:
		w.failf(n.i, "U4", "%s is emitted after seq %d", w.id(f.ID), last.Seq)
	}
	for _, dep := range e.Deps {
		if d.emitted[dep.Origin].Seq < dep.Seq && !c.lost[dep.Hash] {
			w.failf(n.i, "U5", "%s is emitted before %s", w.id(f.ID), w.id(dep.EntryID))
		}
	}
	d.emitted[f.ID.Origin] = linear.Emitted{Origin: f.ID.Origin, Seq: f.ID.Seq, Hash: f.Hash}
	c.counts(n, f, e)
	if f.Fate == linear.Shown {
		c.shown(n, f, e)
	}
	if first, known := c.emitted[f.ID]; known && first != f.Hash {
		w.failf(n.i, "U1", "%s is final here with one branch and elsewhere with another", w.id(f.ID))
	}
	c.emitted[f.ID] = f.Hash
	is := fate{f.Fate, f.Index, f.Late}
	if was, known := c.fates[f.ID]; known && was != is {
		w.failf(n.i, "U1", "%s has the fate %v here and %v elsewhere", w.id(f.ID), is, was)
	}
	c.fates[f.ID] = is
}

// counts checks that what an author wrote counts if and only if it was admitted
// before in the final order, and not removed.
func (c *canon) counts(n *node, f *linear.Final, e *ordering.Entry) {
	w := n.w
	void, known := c.rights(n.disk, e)
	if known && void != (f.Fate == linear.Void) {
		w.failf(n.i, "U1", "%s has the fate %d; void would be %t", w.id(f.ID), f.Fate, void)
	}
	if f.Epoch < n.disk.epoch {
		w.failf(n.i, "U1", "%s is of epoch %d, behind one of %d", w.id(f.ID), f.Epoch, n.disk.epoch)
	}
	n.disk.epoch = f.Epoch
	if n.disk.frozen {
		w.failf(n.i, "U6", "%s is final after a checkpoint that differs", w.id(f.ID))
	}
}

// rights says whether an entry is void, and lets it take effect if it is not. It
// does not know after a snapshot that nobody else is as far as.
func (c *canon) rights(d *disk, e *ordering.Entry) (void, known bool) {
	switch {
	case e.Kind == ordering.KindGenesis:
		d.admitted = map[ordering.DeviceKey]bool{e.Origin.Device: true}
		return false, true
	case d.admitted == nil:
		return false, false
	case !d.admitted[e.Origin.Device]:
		return true, true
	}
	switch e.Kind {
	case ordering.KindAdmit:
		if a, err := ordering.DecodeAdmit(e.Body); err == nil {
			if is, known := d.admitted[a.Device]; !known || is {
				d.admitted[a.Device] = true
			}
		}
	case ordering.KindRemove:
		if a, err := ordering.DecodeRemove(e.Body); err == nil {
			d.admitted[a.Device] = false
		}
	case ordering.KindGenesis, ordering.KindInvite, ordering.KindRevoke, ordering.KindLeave, ordering.KindKey, ordering.KindNull,
		ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed, ordering.KindSwitch, ordering.KindTitle:
	}
	return false, true
}

// shown checks the next line of the final list.
func (c *canon) shown(n *node, f *linear.Final, e *ordering.Entry) {
	w, d := n.w, n.disk
	if f.Index != d.index+1 {
		w.failf(n.i, "U6", "%s takes index %d after %d", w.id(f.ID), f.Index, d.index)
		return
	}
	d.index = f.Index
	if f.Index <= uint64(len(c.order)) {
		s := &c.order[f.Index-1]
		if s.id != f.ID || s.hash != f.Hash {
			w.failf(n.i, "U1", "index %d is %s here and %s elsewhere", f.Index, w.id(f.ID), w.id(s.id))
		} else if s.order != f.OrderHash {
			w.failf(n.i, "U6", "the order hash at %d differs", f.Index)
		} else if s.source != f.Source {
			w.failf(n.i, "U1", "index %d is of %+v here and of %+v elsewhere", f.Index, f.Source, s.source)
		}
		return
	}
	if _, twice := c.fates[f.ID]; twice {
		w.failf(n.i, "U2", "%s is shown a second time, at %d", w.id(f.ID), f.Index)
	}
	before := ordering.Hash(w.room)
	if f.Index > 1 {
		before = c.order[f.Index-2].order
	}
	if h := ordering.Hash(sha256.Sum256(append(before[:], f.Hash[:]...))); h != f.OrderHash {
		w.failf(n.i, "U6", "the order hash at %d is not that of the list", f.Index)
	}
	stamp := linear.DigestOf(e.Client)
	if e.Client != nil {
		if of, twice := c.stamps[stamp]; twice {
			w.failf(n.i, "U2", "%s shows the message of %s again", w.id(f.ID), w.id(of))
		}
		c.stamps[stamp] = f.ID
	}
	c.order = append(c.order, slot{id: f.ID, hash: f.Hash, order: f.OrderHash, stamp: stamp, source: f.Source})
}

// committed checks a commit as a whole.
func (c *canon) committed(n *node) {
	w, d := n.w, n.disk
	if len(d.mark) == 0 {
		return
	}
	s, err := linear.ParseState(append(slices.Clip(d.mark), 0, 0)) // a mark is a state without chains
	if err != nil {
		w.failf(n.i, "U7", "the mark on disk is not one: %v", err)
		return
	}
	if s.Index != d.index || d.index > 0 && s.OrderHash != c.order[d.index-1].order {
		w.failf(n.i, "U6", "the mark says %d finals where %d are on disk", s.Index, d.index)
	}
	if s.Applied < d.applied {
		w.failf(n.i, "U6", "the final list goes back from record %d to %d", d.applied, s.Applied)
	}
	if s.Applied > d.control.Hard.Commit {
		w.failf(n.i, "P-4", "record %d is in the final list, and only %d are committed", s.Applied, d.control.Hard.Commit)
	}
	d.applied = s.Applied
	d.control.LinApplied = max(s.Applied, 1) // the founding stands for the first record
	what := fmt.Sprintf("%d %s", s.Epoch.Mode, w.whoAll(s.Epoch.View))
	if was, known := c.epochs[s.Epoch.N]; known && was != what {
		w.failf(n.i, "U11", "epoch %d is %s here and %s elsewhere", s.Epoch.N, what, was)
	}
	c.epochs[s.Epoch.N] = what
}

// installed checks and takes up what a snapshot brings.
func (c *canon) installed(n *node, in *room.Install) {
	w, d := n.w, n.disk
	if in.First != d.index+1 {
		w.failf(n.i, "U6", "a snapshot brings finals from %d on where there are %d", in.First, d.index)
		return
	}
	for i, l := range in.Order {
		at := in.First + uint64(i)
		if at > uint64(len(c.order)) || c.order[at-1].id != l.EntryID || c.order[at-1].hash != in.Entries[i] || c.order[at-1].order != in.Hashes[i] || c.order[at-1].source != l.Source {
			w.failf(n.i, "U1", "a snapshot says that index %d is %s, of %+v", at, w.id(l.EntryID), l.Source)
			return
		}
	}
	d.index += uint64(len(in.Order))
	for _, x := range in.Emitted {
		o, seq := x.Origin, x.Seq
		if seq < d.emitted[o].Seq {
			w.failf(n.i, "U6", "a snapshot takes %s back from %d to %d", w.who(o), d.emitted[o].Seq, seq)
		}
		e := c.wrote[x.Hash]
		if e == nil || d.have[o] < seq {
			w.failf(n.i, "U7", "a snapshot with %s/%d is installed before that is here", w.who(o), seq)
			return
		}
		d.emitted[o] = linear.Emitted{Origin: o, Seq: seq, Hash: e.Hash()}
	}
	d.admitted = nil
	for _, m := range w.nodes { // the same as of whoever made the snapshot
		if m.disk.applied == in.Saved.LinApplied && m.disk.admitted != nil && m.disk.emittedAs(in.Emitted) {
			d.admitted = maps.Clone(m.disk.admitted)
		}
	}
	mine := c.bit(n.self)
	for i, x := range c.log {
		if i <= in.Saved.Snapshot.Index {
			x.on |= mine
		}
	}
	h := in.Saved.Hard
	if h.Term < d.term || h.Term == d.term && d.vote != 0 && h.Vote != d.vote {
		w.failf(n.i, "P-1", "a snapshot makes it forget its vote in term %d", d.term)
	}
	d.term, d.vote, d.agreed = h.Term, h.Vote, max(d.agreed, h.Commit)
	w.stats.Installs++
}

// resumed checks that a core that was made of a disk shows what the disk does.
func (c *canon) resumed(n *node) {
	o := n.core.Order()
	if o.FinalIndex != n.disk.index {
		n.w.failf(n.i, "U6", "%d finals after a restart, %d before", o.FinalIndex, n.disk.index)
	}
	if len(n.disk.runs) > 0 && n.core.Graph().Sync().Hash() != n.disk.have.Hash() {
		n.w.failf(n.i, "U7", "the graph is another after a restart")
	}
	n.leading = false
}

// ended says that a core is no more.
func (c *canon) ended(n *node) {
	n.leading, n.lostAt = false, -1
	n.w.moved = true
}

// event takes what the core tells people.
func (c *canon) event(n *node, e room.Event) {
	w := n.w
	switch e.Kind {
	case room.LeaderChanged:
		w.note(n.i, "leader of term %d: %s", e.Term, w.who(e.Leader))
	case room.EpochOpened:
		w.note(n.i, "epoch %d with %s", e.Epoch, w.whoAll(e.View))
	case room.Diverged:
		w.failf(n.i, "U6", "says that replicas differ at %d", e.Index)
	case room.Forked:
		w.note(n.i, "%s has forked", w.who(e.Origin))
		if !w.mayFork(e.Origin) {
			w.failf(n.i, "U12", "says that %s has forked", w.who(e.Origin))
		}
	case room.SetBack:
		if !n.setback && !w.forger(n.self) {
			w.failf(n.i, "U12", "takes itself for set back, and is not")
		}
		n.setback = false
	}
}

// look reads who leads, after something may have changed.
func (c *canon) look(n *node) {
	w := n.w
	o := n.core.Order()
	if p := n.core.Graph().Parked(); p > dag.MaxParkedRuns {
		w.failf(n.i, "U14", "%d runs are parked", p)
	}
	if o.Transferring != n.choice {
		n.choice = o.Transferring
		if to := w.find(n.choice.Device); to != nil && to.self == n.choice {
			c.chooses(n, to)
		}
	}
	n.ailing, n.looked = n.unfit, w.now
	if o.Leading == n.leading && (!o.Leading || o.Term == n.term) {
		return
	}
	n.leading, n.term = o.Leading, o.Term
	w.note(n.i, "leads: %t, term %d", n.leading, n.term)
	if n.leading {
		if other := c.leaders[o.Term]; other != nil && other != n {
			w.failf(n.i, "P-1", "leads term %d, and so does n%d", o.Term, other.i)
		}
		if c.leaders[o.Term] == nil {
			w.stats.Leaders++
			w.deposed(n, o.Term)
		}
		c.leaders[o.Term] = n
	}
	w.moved = true
}

// said checks that n speaks of nothing that a crash could undo.
func (c *canon) said(n *node, m ordering.Message) {
	w, d := n.w, n.disk
	switch m := m.(type) {
	case *ordering.Push:
		if last := m.Run.Last(); d.have[last.Origin] < last.Seq {
			w.failf(n.i, "U12", "pushes %s before it is on disk", w.id(last.ID()))
		}
	case *ordering.Have:
		if !d.have.Covers(m.Vector) {
			w.failf(n.i, "U12", "says that it holds what is not on its disk: %s", w.vector(m.Vector))
		}
	case *ordering.Standing:
		switch {
		case m.FinalIndex > d.index || m.Applied > d.applied:
			w.failf(n.i, "U6", "speaks of final %d, record %d with %d, %d on disk", m.FinalIndex, m.Applied, d.index, d.applied)
		case m.FinalIndex > 0 && m.OrderHash != c.order[m.FinalIndex-1].order:
			w.failf(n.i, "U6", "speaks of another order hash at %d", m.FinalIndex)
		case m.Term > d.control.Hard.Term || m.Commit > d.control.Hard.Commit || d.behind(m.LastTerm, m.LastIndex):
			w.failf(n.i, "P-2", "speaks of term %d, commit %d, last %d@%d with %+v, %d on disk", m.Term, m.Commit, m.LastIndex, m.LastTerm, d.control.Hard, d.last())
		case m.Clock > d.clock:
			w.failf(n.i, "L-2", "speaks of clock %d with %d on disk", m.Clock, d.clock)
		}
	case *ordering.Raft:
		c.saidRaft(n, m.Data)
	case *ordering.Relay:
		if s, err := ordering.DecodeSignal(m.Data); err == nil && m.From == n.self.Device {
			c.said(n, s)
		}
	case *ordering.Ack:
		c.acked(n, m)
	case *ordering.SealOK:
		c.saidSealed(n, m)
	case *ordering.CutHave:
		c.saidHolds(n, m.Epoch, m.Have)
	case *ordering.Digest, *ordering.Bully, *ordering.SealAsk, *ordering.CutWant:
	}
}

// saidRaft checks a consensus message: what it promises is on disk (P7).
func (c *canon) saidRaft(n *node, b []byte) {
	w, d := n.w, n.disk
	kind, term, number, refused := raftPromise(b)
	switch kind {
	case raftAppResp:
		// One commit may take a leader's records and those of a later leader in their
		// place. It may still acknowledge the former: the later leader was elected
		// without its vote, by a majority that had not taken them.
		if !refused && number > d.last() && term >= d.term {
			w.failf(n.i, "P-4", "says that it holds record %d with %d on disk", number, d.last())
		}
	case raftVoteResp:
		if !refused && (d.term < term || d.term == term && d.vote == 0) { // a later term makes it void
			w.failf(n.i, "P-1", "votes in term %d with term %d, vote %x on disk", term, d.term, d.vote)
		}
	case raftTimeoutNow:
		n.gaveUp = w.now
	}
}

// chooses checks that a leader begins to hand over to a higher voter only when it
// has heard that for T_hold, and that is caught up (B8, P-6). One that leaves does
// not wait.
func (c *canon) chooses(n, to *node) {
	w := n.w
	if n.ailing || n.leaving || to.rank(n) < 0 {
		return
	}
	side := &n.sides[to.i]
	heard := w.now - side.since
	if side.suspected && side.since >= n.looked { // it chose before that
		heard = side.lasted
	}
	stuck := max(n.stall, n.stuckTo())
	heldUp := stuck > 0 && w.now-stuck < w.hold() // by its disk: it hears late who went and came
	if least := w.hold() - w.hold()/20; heard < least && !heldUp {
		w.failf(n.i, "P-6", "hands over to n%d, which it hears again for %s, less than the hold of %s", to.i, heard, w.hold())
	}
	if n.thawed > 0 && n.thawed > w.now-lagMost {
		return // what it committed before could not go out yet
	}
	if had := n.disk.committedBefore(w.now - lagMost); to.disk.last() < had {
		w.failf(n.i, "P-6", "hands over to n%d, which holds %d records where %d were committed %s ago", to.i, to.disk.last(), had, lagMost)
	}
}

func (d *disk) last() uint64 {
	if n := len(d.control.Log); n > 0 {
		return d.control.Log[n-1].Index
	}
	return d.control.Snapshot.Index
}

// behind reports whether the log on the disk is less up to date than one that ends so
// (Raft 5.4.1). What is said of a log stays true when the commit it waited for has a
// later leader's records replace the end of that log: this one is no less up to date.
func (d *disk) behind(term, index uint64) bool {
	own := lastTerm(d)
	return term > own || term == own && index > d.last()
}

// watchQuorum looks, when links or leaders changed, at who has lost its quorum
// (P-9) and whether the leader is heard by one (P-8).
func (w *World) watchQuorum() {
	for _, n := range w.nodes {
		if !n.leading || !n.runs() || w.quorumOf(n) {
			n.lostAt = -1
			continue
		}
		if n.lostAt < 0 {
			n.lostAt = w.now
			w.after(stepDown+stepGrace+w.plan.lazy, func() { w.steppedDown(n, n.lostAt) })
		}
	}
	r := &w.canon.reign
	switch {
	case r.of == nil || !r.of.leading || r.of.term != r.term || !r.of.runs() || !w.heard(r.of):
		r.since = -1
	case r.since < 0:
		r.since = w.now
	}
}

// steppedDown checks P-9 for a leader that lost its quorum then.
func (w *World) steppedDown(n *node, then time.Duration) {
	if n.lostAt != then || then < 0 || !n.leading || !n.runs() {
		return
	}
	if w.now-then < stepDown+stepGrace+w.plan.lazy {
		return // an older look
	}
	if n.busy || n.stall > w.now-stepDown {
		w.after(stepDown, func() { w.steppedDown(n, then) }) // its disk holds it up
		return
	}
	w.failf(n.i, "P-9", "still leads term %d, %s after it lost its quorum", n.term, w.now-then)
}

// quorumOf reports whether a majority of the voters can be reached by n and reach
// it, perhaps by way of others.
func (w *World) quorumOf(n *node) bool {
	f := decodeConf(n.disk.control.Conf)
	out := w.reach(n.i)
	has := func(list []ordering.Origin) bool {
		k := 0
		for _, o := range list {
			if m := w.find(o.Device); m != nil && m.self == o && out&(1<<m.i) != 0 && w.reaches(m.i, n.i) {
				k++
			}
		}
		return len(list) == 0 || 2*k > len(list)
	}
	return has(f.voters) && has(f.outgoing)
}

// heard reports whether a majority of the voters hears n, and n them.
func (w *World) heard(n *node) bool {
	f := decodeConf(n.disk.control.Conf)
	has := func(list []ordering.Origin) bool {
		k := 0
		for _, o := range list {
			m := w.find(o.Device)
			if m == nil || m.self != o {
				continue
			}
			a, b := &n.sides[m.i], &m.sides[n.i]
			if m == n || m.runs() && m.core != nil && a.session != 0 && a.session == b.session && !a.suspected && !b.suspected &&
				w.links[m.i][n.i].passes && w.links[n.i][m.i].passes {
				k++
			}
		}
		return len(list) == 0 || 2*k > len(list)
	}
	return has(f.voters) && has(f.outgoing)
}

// deposed checks, when a node begins to lead, that it took the place of a leader
// that was dead, unheard, about to leave, or that gave it up (P-8).
func (w *World) deposed(n *node, term uint64) {
	r := &w.canon.reign
	old, since := r.of, r.since
	*r = reign{of: n, term: term, since: -1}
	if old == nil || old == n || since < 0 || w.now-max(since, old.stuckTo()) < steadyReign || old.handedOver(w.now) {
		return // one whose disk is stuck says nothing
	}
	w.failf(n.i, "P-8", "leads term %d, though a quorum has heard n%d lead for %s", term, old.i, w.now-since)
}

// lacks says what keeps the nodes from agreeing on everything they hold: "" for
// nothing.
func (w *World) lacks(nodes []*node) string {
	want := make(ordering.Vector)
	for _, n := range nodes {
		if !n.runs() || n.core == nil {
			return fmt.Sprintf("n%d has no core", n.i)
		}
		for o, seq := range n.disk.have {
			if w.forger(o) {
				continue // of one branch
			}
			if m := w.find(o.Device); m != nil && !m.leaving {
				want[o] = max(want[o], seq)
			}
		}
	}
	for _, n := range nodes {
		for _, o := range want.Origins() {
			if n.disk.emitted[o].Seq < want[o] {
				return fmt.Sprintf("n%d has made %s final up to %d of %d (holds %d)%s", n.i, w.who(o), n.disk.emitted[o].Seq, want[o], n.disk.have[o], w.standings())
			}
		}
		if n.disk.index != nodes[0].disk.index || len(n.disk.emitted) != len(nodes[0].disk.emitted) {
			return fmt.Sprintf("n%d has %d finals, n%d has %d%s", n.i, n.disk.index, nodes[0].i, nodes[0].disk.index, w.standings())
		}
	}
	return ""
}

// standings says where everybody is, for a failure's text.
func (w *World) standings() string {
	var b strings.Builder
	for _, n := range w.nodes {
		fmt.Fprintf(&b, "\n  n%d %s state %d, holds %s, finals %d", n.i, n.name(), n.state, w.vector(n.disk.have), n.disk.index)
		if n.core == nil {
			b.WriteString(", no core")
			continue
		}
		o := n.core.Order()
		f := decodeConf(n.disk.control.Conf)
		fmt.Fprintf(&b, ", term %d leader %s leading %t applied %d commit %d last %d voters %s outgoing %s learners %s",
			o.Term, w.who(o.Leader), o.Leading, o.Applied, n.disk.control.Hard.Commit, n.disk.last(), w.whoAll(f.voters), w.whoAll(f.outgoing), w.whoAll(f.learners))
		var with []string
		for j := range w.nodes {
			if s := n.sides[j]; s.session != 0 {
				mark := ""
				if s.suspected {
					mark = "?"
				}
				with = append(with, fmt.Sprintf("n%d%s", j, mark))
			}
		}
		fmt.Fprintf(&b, " connected %v", with)
	}
	return b.String()
}

// settled checks what must hold of healed replicas that agree: everybody shows
// the whole canonical list (U7), and equal disks make equal graphs (U9).
func (c *canon) settled(w *World, nodes []*node) {
	for _, n := range nodes {
		if n.disk.index != uint64(len(c.order)) {
			w.failf(n.i, "U7", "%d finals were shown, and %d are left", len(c.order), n.disk.index)
		}
		a, b := n.core.Graph(), nodes[0].core.Graph()
		if a.Sync().Hash() == b.Sync().Hash() && !w.faults.Has(Fork) && a.Clock() != b.Clock() {
			w.failf(n.i, "U9", "equal entries, and clocks %d and %d", a.Clock(), b.Clock())
		}
	}
}

// uncrowned says why the highest voter does not lead: "" when it does, as all
// know.
func (w *World) uncrowned(nodes []*node) string {
	confs := w.canon.newest(1)
	if len(confs) == 0 {
		return "nobody votes"
	}
	var crown *node
	for _, o := range confs[0].voters {
		m := w.find(o.Device)
		if m == nil || m.self != o || m.leaving || !slices.Contains(nodes, m) {
			continue
		}
		if crown == nil || m.rank(crown) > 0 {
			crown = m
		}
	}
	if crown == nil {
		return "no voter is left"
	}
	for _, n := range nodes {
		if n.core == nil {
			return fmt.Sprintf("n%d has no core", n.i)
		}
		if o := n.core.Order(); o.Leader != crown.self {
			return fmt.Sprintf("n%d follows %s, not n%d, which is %s%s", n.i, w.who(o.Leader), crown.i, crown.name(), w.standings())
		}
	}
	return ""
}

// crownBound is how long the highest voter may take to lead: it waits for seats to
// be settled and T_hold, which grows with every flap up to 10 minutes.
func (w *World) crownBound() time.Duration {
	d := 5*time.Second + w.hold() + 2*w.stable()
	if w.trouble() {
		d = 11 * time.Minute
	}
	return d
}

// trouble reports whether this world's faults may have made voters flap.
func (w *World) trouble() bool {
	return w.shaken || w.faults&^Faults(0).With(Walls, Repeat, Join, Double, Unruly, Stall) != 0
}
