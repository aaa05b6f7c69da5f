package room

import (
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
)

// FetchFinals asks a peer for the final list after an index; the owner
// reports with FinalsPulled and FinalsEnded.
type FetchFinals struct {
	From  ordering.DeviceKey
	After uint64
}

// Install replaces the control log by a snapshot, with the final list up to it
// (P8).
type Install struct {
	Saved   control.Saved
	Mark    []byte
	First   uint64 // index of Order[0]
	Order   []ordering.Listed
	Entries []ordering.Hash  // the hash of each entry
	Hashes  []ordering.Hash  // the order hash at each
	Emitted []linear.Emitted // entries up to there that are not in the list took no index
}

// install is a snapshot on its way in.
type install struct {
	from    ordering.DeviceKey
	busy    bool
	snap    control.Snapshot // for which the list is
	state   linear.State
	base    uint64 // index after which order begins
	order   []ordering.Listed
	got     bool
	failed  ordering.DeviceKey // brought nothing last
	retryAt time.Time
	done    bool
}

// tryInstall takes the next step towards a snapshot that the log holds back: the
// graph must cover it, then the final list is fetched and checked against its
// order hash and its source hash (P8).
func (c *Core) tryInstall() {
	o := c.order
	held := o.log.Held()
	in := &o.install
	if held == nil {
		return
	}
	if in.snap.Index != held.Index || in.snap.Term != held.Term || in.base != o.list.Index() {
		state, err := linear.ParseState(held.State)
		*in = install{snap: *held, state: state, base: o.list.Index(), busy: in.busy, from: in.from}
		if err != nil || state.Index < in.base {
			// Nobody leads who makes such a snapshot, or the list here went on in
			// the open epoch: a newer one will do.
			in.done = true
		}
	}
	if in.done {
		return
	}
	switch {
	case c.now.Before(in.retryAt):
	case !c.holdsChains(in.state.Emitted):
		in.retryAt = c.now.Add(FetchRetry)
		c.lack(c.now)
	case uint64(len(in.order)) == in.state.Index-in.base:
		c.finishInstall()
	case !in.busy:
		c.fetchOrder()
	}
}

// tip names the entry up to which a chain was emitted.
func tip(e linear.Emitted) ordering.Ref {
	return ordering.Ref{EntryID: ordering.EntryID{Origin: e.Origin, Seq: e.Seq}, Hash: e.Hash}
}

// holdsChains reports whether all is held up to where chains were emitted; what is
// lacking of another branch is sought.
func (c *Core) holdsChains(emitted []linear.Emitted) bool {
	all := true
	for _, e := range emitted {
		if !c.graph.HoldsRef(tip(e)) {
			all = false
			if e.Seq <= c.graph.Sync()[e.Origin] {
				c.seekTip(e.Origin, ordering.TipOf(e.Seq, e.Hash))
			}
		}
	}
	return all
}

// fetchOrder asks a peer for the part of the list that is lacking, another one than failed
// last if there is one.
func (c *Core) fetchOrder() {
	in := &c.order.install
	var from ordering.DeviceKey
	found := false
	for _, d := range c.Connected() {
		k := c.known[c.instance(d)]
		if k == nil || k.standing == nil || k.standing.FinalIndex < in.state.Index || k.standing.Diverged {
			continue
		}
		if !found || from == in.failed {
			from, found = d, true
		}
	}
	if !found {
		in.retryAt = c.now.Add(FetchRetry)
		return
	}
	in.from, in.busy, in.got = from, true, false
	c.ready.FetchFinals = &FetchFinals{From: from, After: in.base + uint64(len(in.order))}
}

// FinalsPulled takes a part of the final list that a peer sent; first is the index
// of the first.
func (c *Core) FinalsPulled(now time.Time, from ordering.DeviceKey, first uint64, part []ordering.Listed) {
	c.now = now
	if c.order == nil {
		return
	}
	in := &c.order.install
	have, want := in.base+uint64(len(in.order)), in.state.Index
	if !in.busy || in.from != from || first != have+1 || have >= want {
		return
	}
	in.order = append(in.order, part[:min(uint64(len(part)), want-have)]...)
	in.got = true
}

// FinalsEnded says that the fetch of finals from a peer ended.
func (c *Core) FinalsEnded(now time.Time, from ordering.DeviceKey, err error) {
	c.now = now
	if c.order == nil {
		return
	}
	in := &c.order.install
	if !in.busy || in.from != from {
		return
	}
	in.busy = false
	if err != nil || !in.got {
		in.retryAt, in.failed = now.Add(FetchRetry), from
	}
}

// finishInstall checks the fetched list and puts it into the Ready. A quorum
// vouches for the snapshot, and the snapshot's hashes for every entry, its place and
// its source: a peer that sends another list brings nothing but a repeated fetch.
func (c *Core) finishInstall() {
	o := c.order
	in := &o.install
	state := in.state
	hash, sources := o.list.OrderHash(), o.list.SourceHash()
	hashes, entries := make([]ordering.Hash, 0, len(in.order)), make([]ordering.Hash, 0, len(in.order))
	tips := make(map[ordering.Origin]ordering.Ref, len(state.Emitted))
	for _, e := range state.Emitted {
		tips[e.Origin] = tip(e)
	}
	for _, f := range in.order {
		h, ok := c.graph.At(tips[f.Origin], f.Seq)
		if !ok {
			break
		}
		hash = ordering.NextOrderHash(hash, h)
		hashes, entries = append(hashes, hash), append(entries, h)
		sources = ordering.NextSourceHash(sources, f.Source)
	}
	if len(hashes) != len(in.order) || hash != state.OrderHash || sources != state.SourceHash {
		in.order, in.retryAt, in.failed = nil, c.now.Add(FetchRetry), in.from // it sent another list
		return
	}
	c.ready.Install = &Install{
		Saved: o.log.Installed(in.snap), Mark: state.Mark, First: in.base + 1,
		Order: in.order, Entries: entries, Hashes: hashes, Emitted: state.Emitted,
	}
	in.done = true
}
