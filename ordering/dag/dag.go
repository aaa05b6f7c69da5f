// Package dag keeps what a replica knows of a room's graph of entries: one
// hash-linked chain per origin, with links to other chains for what an author
// had seen. It decides which runs are taken (PROTOCOL.md L2), parks those whose
// past is missing, and says what to ask for.
//
// Equal sets of accepted entries make equal graphs, whatever the order they
// arrived in. The graph keeps hashes and clocks, never bodies: about 50 bytes an
// entry.
package dag

import (
	"cmp"
	"math"
	"slices"

	"tertulia/ordering"
)

// Limits on runs that wait for their past.
const (
	MaxParkedRuns        = 4096
	MaxParkedBytes       = 16 << 20
	MaxParkedRunsOfPeer  = MaxParkedRuns / 4 // what one peer may make us hold
	MaxParkedBytesOfPeer = MaxParkedBytes / 4
)

// Limits on entries beside the chain that was held first. What another member's
// entry depends on, or the final order names, is taken beyond them.
const (
	MaxForkedOfOrigin = 256
	MaxForked         = 4096 // of a room
)

// Accepted is a run that was taken. The first Skip entries were held already.
type Accepted struct {
	Run  ordering.Verified
	Skip int
	From ordering.DeviceKey // who brought it; the own device for own words
	// Branch is the entry with which the run's branch leaves the chain that was
	// held first; zero for a run of that chain.
	Branch ordering.Hash
}

// Entries returns the entries that are new.
func (a Accepted) Entries() []*ordering.Entry { return a.Run.Run().Entries[a.Skip:] }

// Graph is one room's graph. Its zero value is not usable; see New.
type Graph struct {
	room   ordering.RoomID
	chains map[ordering.Origin][]vertex
	beside map[ordering.Hash]branched // entries of forked origins that are not on their chain
	forks  map[ordering.Origin]*fork
	heads  map[ordering.Hash]head // entries that no other names
	clock  uint64                 // highest ts held
	have   ordering.Vector
	people census

	parked  map[ordering.Hash]*parked // by the run's last entry
	waiting map[ordering.Hash][]*parked
	freed   []*parked // off the shelf, to be judged before Accept returns
	shelf   load
	loads   map[ordering.DeviceKey]load
	refused map[ordering.Reason]uint64
}

type vertex struct {
	hash ordering.Hash
	ts   uint64
	seen *facts // membership entries in its past, itself included
}

// branched is an entry that has another beside it, or follows one that has.
type branched struct {
	vertex
	ref  ordering.Ref
	prev ordering.Hash
	root ordering.Hash // of the first entry of its branch
}

// fork is what is known of an origin with two entries at one place.
type fork struct {
	entries int  // beside its chain
	full    bool // more were refused
}

// head is an entry that no other names.
type head struct {
	ordering.Ref
	ts uint64
}

// load is a number of parked runs and their bytes.
type load struct{ runs, bytes int }

// parked is a run whose past is missing or whose author was removed.
type parked struct {
	run     ordering.Verified
	from    ordering.DeviceKey
	missing []ordering.Ref
	needed  bool // another member's entry depends on it (see held)
}

func (p *parked) last() ordering.Ref { return p.run.Run().Last().Ref() }

// New returns the empty graph of a room. Its genesis entry must be accepted
// before any other.
func New(room ordering.RoomID) *Graph {
	return &Graph{
		room:    room,
		chains:  make(map[ordering.Origin][]vertex),
		beside:  make(map[ordering.Hash]branched),
		forks:   make(map[ordering.Origin]*fork),
		heads:   make(map[ordering.Hash]head),
		have:    make(ordering.Vector),
		people:  newCensus(),
		parked:  make(map[ordering.Hash]*parked),
		waiting: make(map[ordering.Hash][]*parked),
		loads:   make(map[ordering.DeviceKey]load),
		refused: make(map[ordering.Reason]uint64),
	}
}

// Have returns the vector of entries held: of a forked origin, of the branch that
// was held first. The caller does not change it.
func (g *Graph) Have() ordering.Vector { return g.have }

// Clock returns the highest ts held; it is the room's Lamport clock here.
func (g *Graph) Clock() uint64 { return g.clock }

// ClockOf returns the ts of the newest entry of an origin, 0 for none.
func (g *Graph) ClockOf(o ordering.Origin) uint64 {
	if c := g.chains[o]; len(c) > 0 {
		return c[len(c)-1].ts
	}
	return 0
}

// Refused returns the number of refusals by reason.
func (g *Graph) Refused() map[ordering.Reason]uint64 { return g.refused }

// Room returns the room's id.
func (g *Graph) Room() ordering.RoomID { return g.room }

// Holds reports whether the entry is in the graph.
func (g *Graph) Holds(id ordering.EntryID) bool { return id.Seq <= g.have[id.Origin] }

// HashOf returns the hash of an entry held: of a forked origin, of the branch that
// was held first.
func (g *Graph) HashOf(id ordering.EntryID) (ordering.Hash, bool) {
	if id.Seq == 0 || !g.Holds(id) {
		return ordering.Hash{}, false
	}
	return g.chains[id.Origin][id.Seq-1].hash, true
}

// IsMember reports whether the device may write, by all that is known here.
func (g *Graph) IsMember(d ordering.DeviceKey) bool { return g.people.isMember(g.people.all, d) }

// Members returns the devices that may write, by all that is known here, in the
// predicted order of the entries that admitted them.
func (g *Graph) Members() []Member {
	return slices.DeleteFunc(slices.Clone(g.people.known()), func(m Member) bool { return m.Former })
}

// MemberCount returns the number of Members.
func (g *Graph) MemberCount() int {
	n := 0
	for _, m := range g.people.known() {
		if !m.Former {
			n++
		}
	}
	return n
}

// Known returns all devices that were ever admitted, in the same order.
// The caller does not change the list.
func (g *Graph) Known() []Member { return g.people.known() }

// Admissions returns the Admit entries by which a member came in, at most limit: its
// own last, before that the one of who admitted it, and so on. There is none of the creator.
func (g *Graph) Admissions(d ordering.DeviceKey, limit int) []ordering.Ref {
	return g.people.admissions(d, limit)
}

// MembersVersion changes whenever Members or Known may.
func (g *Graph) MembersVersion() int { return len(g.people.list) }

// Creator returns who wrote the genesis entry, zero before it is held.
func (g *Graph) Creator() ordering.Origin { return g.people.creator }

// CheckInvite returns "" if the invite admits a device now, else why not:
// UnknownInvite, Revoked, Expired, UsedUp, Removed or Full.
func (g *Graph) CheckInvite(key ordering.InviteKey, d ordering.DeviceKey, nowMS int64) InviteProblem {
	return g.people.checkInvite(g.people.all, key, d, nowMS)
}

// Parked returns the number of runs that wait for their past.
func (g *Graph) Parked() int { return g.shelf.runs }

// Next fills in the place of the origin's next entry (L1): seq, prev, the heads
// it has not named yet as deps, at most MaxDeps with the highest ts first, and
// ts = 1 + clock.
func (g *Graph) Next(o ordering.Origin) ordering.Entry {
	chain := g.chains[o]
	e := ordering.Entry{Room: g.room, Origin: o, Seq: uint64(len(chain)) + 1, TS: g.clock + 1}
	if len(chain) > 0 {
		e.Prev = chain[len(chain)-1].hash
	}
	var heads []head
	for _, h := range g.heads {
		if h.Origin != o {
			heads = append(heads, h)
		}
	}
	slices.SortFunc(heads, func(a, b head) int {
		return cmp.Or(ordering.Key{TS: b.ts, EntryID: b.EntryID}.Compare(ordering.Key{TS: a.ts, EntryID: a.EntryID}), compareHashes(a.Hash, b.Hash))
	})
	for _, h := range heads {
		named := slices.ContainsFunc(e.Deps, func(d ordering.Ref) bool { return d.Origin == h.Origin }) // one branch at a time
		if !named && len(e.Deps) < ordering.MaxDeps {
			e.Deps = append(e.Deps, h.Ref)
		}
	}
	slices.SortFunc(e.Deps, func(a, b ordering.Ref) int { return a.Origin.Compare(b.Origin) })
	return e
}

// Accept takes a run from a peer and returns what became acceptable by it, in
// causal order: nothing, the run, or the run and others that waited for it. The
// error is a *ordering.Refusal and concerns this run alone; a parked run gives
// neither.
func (g *Graph) Accept(from ordering.DeviceKey, v ordering.Verified) ([]Accepted, error) {
	return g.accept(&parked{run: v, from: from})
}

func (g *Graph) accept(p *parked) ([]Accepted, error) {
	accepted, err := g.take(p)
	if err != nil {
		g.refused[err.Reason]++
		return nil, err
	}
	for i := 0; ; {
		for ; i < len(accepted); i++ {
			g.release(accepted[i])
			if changesRights(accepted[i].Run.Run().Last().Kind) {
				g.review()
			}
		}
		if len(g.freed) == 0 {
			return accepted, nil
		}
		p := g.freed[0]
		g.freed = g.freed[1:]
		more, err := g.take(p)
		if err != nil {
			g.refused[err.Reason]++
		}
		accepted = append(accepted, more...)
	}
}

// Take is Accept for a run that the final order names: its author's removal does
// not hold it back, since every replica takes it.
func (g *Graph) Take(from ordering.DeviceKey, v ordering.Verified) ([]Accepted, error) {
	g.forget(v.Run().Last().Hash())
	return g.accept(&parked{run: v, from: from, needed: true})
}

// Restore adds an entry read back from the own disk, in acceptance order, and
// returns its branch (see Accepted). It was judged when it was written; beside
// says that the disk holds another in its place of the chain.
func (g *Graph) Restore(e *ordering.Entry, beside bool) ordering.Hash {
	root := ordering.Hash{}
	if beside || !g.continues(e) {
		root = g.branch(e)
	}
	g.add(e, root)
	return root
}

// take judges one run: it is added, parked or refused.
func (g *Graph) take(p *parked) ([]Accepted, *ordering.Refusal) {
	from, v := p.from, p.run
	run := v.Run()
	first, o := run.First(), run.Origin()
	chain := g.chains[o]
	if err := g.shape(run); err != nil {
		return nil, err
	}

	skip := 0
	for skip < len(run.Entries) && g.HoldsRef(run.Entries[skip].Ref()) {
		skip++
	}
	if skip == len(run.Entries) {
		return nil, ordering.Refuse(ordering.Duplicate, run.Last().ID())
	}
	if len(g.chains) >= ordering.MaxOrigins && len(chain) == 0 {
		return nil, ordering.Refuse(ordering.TooMany, first.ID())
	}

	missing, err := g.missing(run, skip)
	if err != nil {
		return nil, err
	}
	needed := p.needed || g.neededByOthers(run)
	if len(missing) > 0 {
		return nil, g.park(from, v, missing, needed)
	}
	if err := g.judge(run, skip); err != nil {
		return nil, err
	}
	// Removal: who holds the removal takes what its subject wrote beside it only
	// as a dependency of another member's entry.
	if first.Kind != ordering.KindGenesis && !g.IsMember(o.Device) && !needed {
		return nil, g.park(from, v, nil, false)
	}
	var root ordering.Hash
	if e := run.Entries[skip]; !g.continues(e) {
		if !needed && !g.needs(run) && g.crowded(o, len(run.Entries)-skip) {
			g.forkOf(o).full = true
			return nil, ordering.Refuse(ordering.Fork, e.ID())
		}
		root = g.branch(e)
	}
	for _, e := range run.Entries[skip:] {
		g.forget(e.Hash()) // a shorter run that waited
		g.add(e, root)
	}
	return []Accepted{{Run: v, Skip: skip, From: from, Branch: root}}, nil
}

// shape checks what needs no past.
func (g *Graph) shape(run ordering.Run) *ordering.Refusal {
	for _, e := range run.Entries {
		switch {
		case e.Kind == ordering.KindGenesis:
			if ordering.RoomID(e.Hash()) != g.room || e.Room != (ordering.RoomID{}) || e.Seq != 1 || e.TS != 1 || len(e.Deps) > 0 || len(run.Entries) > 1 {
				return ordering.Refuse(ordering.WrongRoom, e.ID())
			}
		case e.Room != g.room || e.Gen != 0:
			return ordering.Refuse(ordering.WrongRoom, e.ID())
		case !e.Kind.Sealed() && !e.Kind.Known():
			return ordering.Refuse(ordering.BadKind, e.ID())
		case e.Kind == ordering.KindMessage && e.Client == nil:
			return ordering.Refuse(ordering.Malformed, e.ID())
		case changesRights(e.Kind) && len(run.Entries) > 1:
			return ordering.Refuse(ordering.Malformed, e.ID()) // so that rights are constant within a run
		}
	}
	return nil
}

// missing returns the entries that must come first.
func (g *Graph) missing(run ordering.Run, skip int) ([]ordering.Ref, *ordering.Refusal) {
	var refs []ordering.Ref
	first := run.Entries[skip]
	if first.Seq == 1 && first.Prev != (ordering.Hash{}) {
		return nil, ordering.Refuse(ordering.BadChain, first.ID())
	}
	if prev := previous(first); first.Seq > 1 && !g.HoldsRef(prev) {
		refs = append(refs, prev)
	}
	for _, e := range run.Entries[skip:] {
		for _, d := range e.Deps {
			if !g.HoldsRef(d) && !slices.Contains(refs, d) {
				refs = append(refs, d)
			}
		}
	}
	return refs, nil
}

// judge checks ts and entitlement; the past is held.
func (g *Graph) judge(run ordering.Run, skip int) *ordering.Refusal {
	var ts uint64
	var seen *facts
	first := run.Entries[skip]
	if first.Seq > 1 {
		prev, _ := g.find(previous(first))
		ts, seen = prev.ts, prev.seen
	}
	for _, e := range run.Entries[skip:] {
		for _, d := range e.Deps {
			v, _ := g.find(d)
			ts = max(ts, v.ts)
			seen = g.people.union(seen, v.seen)
		}
		ts++
		if e.TS != ts {
			return ordering.Refuse(ordering.WrongTime, e.ID())
		}
		if reason := g.people.judge(seen, e); reason != "" {
			return ordering.Refuse(reason, e.ID())
		}
	}
	return nil
}

// add appends an entry to its chain or, with a root, to a branch beside it.
func (g *Graph) add(e *ordering.Entry, root ordering.Hash) {
	var seen *facts
	if e.Seq > 1 {
		prev, _ := g.find(previous(e))
		seen = prev.seen
		delete(g.heads, e.Prev)
	}
	for _, d := range e.Deps {
		v, _ := g.find(d)
		seen = g.people.union(seen, v.seen)
		delete(g.heads, d.Hash)
	}
	v := vertex{hash: e.Hash(), ts: e.TS, seen: g.people.record(seen, e)}
	if root == (ordering.Hash{}) {
		g.chains[e.Origin] = append(g.chains[e.Origin], v)
		g.have[e.Origin] = e.Seq
	} else {
		g.beside[v.hash] = branched{v, e.Ref(), e.Prev, root}
		g.forkOf(e.Origin).entries++
	}
	g.heads[v.hash] = head{e.Ref(), e.TS}
	g.clock = max(g.clock, e.TS)
}

// Missing returns what a parked run waits for, which its bringer holds: per
// origin everything up to the seq given. It is empty for any other run.
func (g *Graph) Missing(v ordering.Verified) ordering.Vector {
	want := make(ordering.Vector)
	for _, r := range g.Awaits(v) {
		want[r.Origin] = max(want[r.Origin], r.Seq)
	}
	return want
}

// Awaits names the entries for which a parked run waits.
func (g *Graph) Awaits(v ordering.Verified) []ordering.Ref {
	p, ok := g.parked[v.Run().Last().Hash()]
	if !ok {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.missing), g.HoldsRef)
}

// Reach returns how much of each chain is here, the shelf included: what lies
// beyond is worth asking for. It differs from Sync only for removed authors,
// whose runs stay on the shelf until somebody depends on them, and for origins
// with more branches than are kept. The caller does not change it.
func (g *Graph) Reach() ordering.Vector {
	if g.shelf.runs == 0 && len(g.forks) == 0 {
		return g.have
	}
	reach := g.Sync().Clone()
	for _, last := range g.shelved() {
		if !g.IsMember(last.Origin.Device) && g.parked[last.Hash].run.Run().First().Seq <= reach[last.Origin]+1 {
			reach[last.Origin] = max(reach[last.Origin], last.Seq)
		}
	}
	for o, f := range g.forks {
		if f.full {
			reach[o] = math.MaxUint64
		}
	}
	return reach
}

// park keeps a run until its past is here, within the limits.
func (g *Graph) park(from ordering.DeviceKey, v ordering.Verified, missing []ordering.Ref, needed bool) *ordering.Refusal {
	run := v.Run()
	id, size := run.Last().ID(), run.Size()
	if p, ok := g.parked[run.Last().Hash()]; ok {
		p.needed = p.needed || needed
		return ordering.Refuse(ordering.Duplicate, id)
	}
	if l := g.loads[from]; g.shelf.runs >= MaxParkedRuns || l.runs >= MaxParkedRunsOfPeer ||
		g.shelf.bytes+size > MaxParkedBytes || l.bytes+size > MaxParkedBytesOfPeer {
		return ordering.Refuse(ordering.TooMany, id)
	}
	p := &parked{run: v, from: from, missing: missing, needed: needed}
	g.parked[run.Last().Hash()] = p
	g.account(p, 1)
	for _, m := range missing {
		g.waiting[m.Hash] = append(g.waiting[m.Hash], p)
	}
	if needed || g.IsMember(run.Origin().Device) {
		g.need(missing)
	}
	return nil
}

// release takes off the shelf the runs that may have become acceptable by a.
func (g *Graph) release(a Accepted) {
	for _, e := range a.Entries() {
		for _, p := range slices.Clone(g.waiting[e.Hash()]) {
			if !slices.ContainsFunc(p.missing, g.lacks) {
				g.free(p)
			}
		}
	}
}

// shelved returns the parked runs' last entries in a fixed order.
func (g *Graph) shelved() []ordering.Ref {
	refs := make([]ordering.Ref, 0, len(g.parked))
	for _, p := range g.parked {
		refs = append(refs, p.last())
	}
	slices.SortFunc(refs, func(a, b ordering.Ref) int {
		return cmp.Or(ordering.Key{EntryID: a.EntryID}.Compare(ordering.Key{EntryID: b.EntryID}), compareHashes(a.Hash, b.Hash))
	})
	return refs
}

func (g *Graph) free(p *parked) {
	g.forget(p.last().Hash)
	g.freed = append(g.freed, p)
}

// neededByOthers reports whether an entry of another member waits for run.
func (g *Graph) neededByOthers(run ordering.Run) bool {
	for _, e := range run.Entries {
		for _, p := range g.waiting[e.Hash()] {
			if p.needed || p.run.Run().Origin() != run.Origin() && g.IsMember(p.run.Run().Origin().Device) {
				return true
			}
		}
	}
	return false
}

// need marks parked runs that an entry of a member depends on, and frees those
// that nothing but their author's removal held back.
func (g *Graph) need(ids []ordering.Ref) {
	back := g.heldBack()
	for len(back) > 0 && len(ids) > 0 {
		r := ids[0]
		ids = ids[1:]
		for _, p := range back[r.Origin] {
			if p.needed || !holds(p.run.Run(), r) {
				continue
			}
			p.needed = true
			if len(p.missing) == 0 {
				g.free(p)
			}
			ids = append(ids, p.missing...)
		}
	}
}

// heldBack returns the parked runs of authors who are not members and on which
// no member's entry depends, ascending by seq.
func (g *Graph) heldBack() map[ordering.Origin][]*parked {
	member := make(map[ordering.DeviceKey]bool)
	back := make(map[ordering.Origin][]*parked)
	for _, p := range g.parked {
		last := p.last()
		d := last.Origin.Device
		is, known := member[d]
		if !known {
			is = g.IsMember(d)
			member[d] = is
		}
		if !is && !p.needed {
			back[last.Origin] = append(back[last.Origin], p)
		}
	}
	for _, runs := range back {
		slices.SortFunc(runs, func(a, b *parked) int { return cmp.Compare(a.last().Seq, b.last().Seq) })
	}
	return back
}

// review looks at the whole shelf again, after a change of rights: who became a
// member is held back no longer, and neither is what a new member depends on, or
// what a member depends on whose author was removed.
func (g *Graph) review() {
	var ids []ordering.Ref
	for _, last := range g.shelved() {
		p := g.parked[last.Hash]
		if !p.needed && !g.IsMember(last.Origin.Device) {
			continue
		}
		if len(p.missing) == 0 {
			g.free(p)
		}
		ids = append(ids, p.missing...)
	}
	g.need(ids)
}

func (g *Graph) lacks(r ordering.Ref) bool { return !g.HoldsRef(r) }

// forget takes a run off the shelf, if it is there.
func (g *Graph) forget(last ordering.Hash) {
	p, ok := g.parked[last]
	if !ok {
		return
	}
	delete(g.parked, last)
	g.account(p, -1)
	for _, m := range p.missing {
		rest := slices.DeleteFunc(g.waiting[m.Hash], func(q *parked) bool { return q == p })
		if len(rest) == 0 {
			delete(g.waiting, m.Hash)
		} else {
			g.waiting[m.Hash] = rest
		}
	}
}

func (g *Graph) account(p *parked, sign int) {
	size := sign * p.run.Run().Size()
	g.shelf.runs += sign
	g.shelf.bytes += size
	l := g.loads[p.from]
	l.runs += sign
	l.bytes += size
	if l.runs == 0 {
		delete(g.loads, p.from)
	} else {
		g.loads[p.from] = l
	}
}
