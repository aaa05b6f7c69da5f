package room

import (
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
)

// FetchFinals asks a peer for the ids of the final list after an index; the owner
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
	Order   []ordering.EntryID
	Hashes  []ordering.Hash // the order hash at each
	Emitted ordering.Vector // entries up to it that are not in the list took no index
}

// install is a snapshot on its way in.
type install struct {
	from    ordering.DeviceKey
	busy    bool
	snap    control.Snapshot // for which the ids are
	order   []ordering.EntryID
	retryAt time.Time
	done    bool
}

// tryInstall takes the next step towards a snapshot that the log holds back: the
// graph must cover it, then the list of final ids is fetched and checked against
// its order hash (P8).
func (c *Core) tryInstall() {
	o := c.order
	held := o.log.Held()
	if held == nil || o.install.done {
		return
	}
	state, err := linear.ParseState(held.State)
	if err != nil {
		return // whoever makes such a snapshot leads nobody
	}
	if !c.graph.Have().Covers(state.Vector()) {
		c.lack(c.now)
		return
	}
	in := &o.install
	if in.snap.Index != held.Index {
		*in = install{snap: *held, busy: in.busy, from: in.from}
	}
	if uint64(len(in.order)) == state.Index-o.list.Index() {
		c.finishInstall(held, state)
		return
	}
	if in.busy || c.now.Before(in.retryAt) {
		return
	}
	for _, d := range c.Connected() {
		k := c.known[c.instance(d)]
		if k == nil || k.standing == nil || k.standing.FinalIndex < state.Index || k.standing.Diverged {
			continue
		}
		in.from, in.busy = d, true
		c.ready.FetchFinals = &FetchFinals{From: d, After: o.list.Index() + uint64(len(in.order))}
		return
	}
	in.retryAt = c.now.Add(FetchRetry)
}

// FinalsPulled takes ids of the final list that a peer sent; first is the index
// of the first.
func (c *Core) FinalsPulled(now time.Time, from ordering.DeviceKey, first uint64, ids []ordering.EntryID) {
	c.now = now
	o := c.order
	if o == nil || !o.install.busy || o.install.from != from {
		return
	}
	held := o.log.Held()
	if held == nil || first != o.list.Index()+uint64(len(o.install.order))+1 {
		return
	}
	state, err := linear.ParseState(held.State)
	if err != nil {
		return
	}
	room := state.Index - o.list.Index() - uint64(len(o.install.order))
	o.install.order = append(o.install.order, ids[:min(uint64(len(ids)), room)]...)
}

// FinalsEnded says that the fetch of final ids from a peer ended.
func (c *Core) FinalsEnded(now time.Time, from ordering.DeviceKey, err error) {
	c.now = now
	o := c.order
	if o == nil || !o.install.busy || o.install.from != from {
		return
	}
	o.install.busy = false
	if err != nil {
		o.install.retryAt = now.Add(FetchRetry)
	}
}

// finishInstall checks the fetched list and puts it into the Ready.
func (c *Core) finishInstall(held *control.Snapshot, state linear.State) {
	o := c.order
	in := &o.install
	hash := o.list.OrderHash()
	hashes := make([]ordering.Hash, 0, len(in.order))
	for _, id := range in.order {
		h, ok := c.graph.HashOf(id)
		if !ok {
			break
		}
		hash = ordering.NextOrderHash(hash, h)
		hashes = append(hashes, hash)
	}
	if len(hashes) != len(in.order) || hash != state.OrderHash {
		in.order, in.retryAt = nil, c.now.Add(FetchRetry) // somebody sent another list
		return
	}
	c.ready.Install = &Install{
		Saved: o.log.Installed(*held), Mark: state.Mark, First: o.list.Index() + 1,
		Order: in.order, Hashes: hashes, Emitted: state.Vector(),
	}
	in.done = true
}
