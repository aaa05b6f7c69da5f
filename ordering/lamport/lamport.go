// Package lamport decides what is final in an epoch that has no leader: a
// hold-back queue in which an entry waits until every member of an agreed view
// has acknowledged past it (Lamport 1978; PROTOCOL.md L3 to L6 and L8).
//
// A member's acknowledgement says what it has on its disk and that all it writes
// later has a higher ts. So once every member's clock has passed an entry,
// nothing that sorts before it can appear; and once every member holds it,
// whoever survives carries it into the next epoch. How one epoch follows another
// is in change.go.
package lamport

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Waits of a view's members.
const (
	AckPause   = 5 * time.Millisecond   // between two acknowledgements, while there is news
	AckRepeat  = time.Second            // between two without news, while something waits (L3)
	AdoptAfter = 200 * time.Millisecond // before what was written outside the view is adopted (L8)
	AdoptStep  = 50 * time.Millisecond  // more for each member of the view of lower rank
)

// Chains tells of the chains that a replica holds: of a forked origin, HashOf of
// the branch that was held first, and At of the one that leads to a tip.
type Chains interface {
	HashOf(ordering.EntryID) (ordering.Hash, bool)
	At(tip ordering.Ref, seq uint64) (ordering.Hash, bool)
}

// Config says whose queue it is.
type Config struct {
	Self   ordering.Origin
	Chains Chains
	Mutant mutant.Mutant
}

// Queue holds what is accepted and not final. Use New.
type Queue struct {
	cfg     Config
	epoch   uint64
	view    []ordering.Origin // of the open epoch, ascending; nil: it is not a Lamport epoch
	opened  time.Time
	adopted time.Time // when this member adopted last

	held    map[ordering.Hash]*entry
	natives []*entry // of the view's members, by key (L5)
	loose   []*entry // of others and of other branches, in acceptance order; some are gone

	have    ordering.Vector // durable
	clock   uint64          // highest ts of it
	pending []mark          // accepted and not durable
	acks    map[ordering.Origin]ordering.Ack
	seal    *Seal // of the open epoch
	said    ordering.Ack
	saidAt  time.Time
	askedAt time.Time
}

// entry is one that waits.
type entry struct {
	*ordering.Entry
	since  time.Time
	named  bool // another entry depends on it
	gone   bool
	beside bool // of another branch than the one that was held first
}

// mark is an entry on its way to the disk.
type mark struct {
	origin  ordering.Origin
	seq, ts uint64
}

// Seal is what a sealed member holds to in its epoch: it must be durable before it
// is said (L9).
type Seal struct {
	Epoch uint64
	Have  []ordering.Tip // of the view's chains
	Clock uint64
}

// New returns a queue for a replica whose disk holds have, with the given highest
// ts.
func New(cfg Config, have ordering.Vector, clock uint64) *Queue {
	return &Queue{
		cfg: cfg, held: make(map[ordering.Hash]*entry), have: have.Clone(), clock: clock,
		acks: make(map[ordering.Origin]ordering.Ack),
	}
}

// Add takes an entry that the graph accepted, in acceptance order; it is durable
// when Persisted says so. Beside says that it is of another branch than the one
// that was held first. An entry read back from disk is Kept instead.
func (q *Queue) Add(e *ordering.Entry, beside bool, now time.Time) {
	m := mark{e.Origin, e.Seq, e.TS}
	if beside {
		m.seq = 0 // its chain is no longer by it
	}
	q.pending = append(q.pending, m)
	q.Kept(e, beside, now)
}

// Kept takes an entry that is durable and not final.
func (q *Queue) Kept(e *ordering.Entry, beside bool, now time.Time) {
	x := &entry{Entry: e.Bare(), since: now, beside: beside}
	q.held[e.Hash()] = x
	for _, d := range e.Deps {
		if on := q.held[d.Hash]; on != nil {
			on.named = true
		}
	}
	if on := q.held[e.Prev]; on != nil {
		on.named = true
	}
	q.sort(x)
}

// sort puts an entry among the natives or the others.
func (q *Queue) sort(x *entry) {
	if x.beside || !slices.Contains(q.view, x.Origin) {
		q.loose = append(q.loose, x)
		return
	}
	i, _ := slices.BinarySearchFunc(q.natives, x.Key(), func(y *entry, k ordering.Key) int { return y.Key().Compare(k) })
	q.natives = slices.Insert(q.natives, i, x)
}

// Pending returns how many entries are accepted and not durable; after they were
// made durable, Persisted takes that number.
func (q *Queue) Pending() int { return len(q.pending) }

// Persisted says that the first n pending entries are durable.
func (q *Queue) Persisted(n int) {
	for _, m := range q.pending[:n] {
		q.have[m.origin] = max(q.have[m.origin], m.seq)
		q.clock = max(q.clock, m.ts)
	}
	q.pending = q.pending[n:]
}

// Durable returns what is on disk here.
func (q *Queue) Durable() ordering.Vector { return q.have }

// Open begins an epoch (L5, L9 step 5). A view of nil is an epoch with a leader.
// Acknowledgements already tagged with it are kept (L3).
func (q *Queue) Open(epoch uint64, view []ordering.Origin, seal *Seal, now time.Time) {
	q.epoch, q.view, q.opened = epoch, view, now
	q.seal = nil
	if seal != nil && seal.Epoch == epoch && len(seal.Have) == len(view) {
		q.seal = seal
	}
	for o, a := range q.acks {
		if a.Epoch < epoch || a.Epoch == epoch && len(a.Have) != len(view) {
			delete(q.acks, o)
		}
	}
	q.said, q.saidAt = ordering.Ack{}, time.Time{}
	all := make([]*entry, 0, len(q.held))
	for _, x := range q.held {
		all = append(all, x)
	}
	slices.SortFunc(all, compareEntries)
	q.natives, q.loose = nil, nil
	for _, x := range all {
		if !x.beside && slices.Contains(view, x.Origin) {
			q.natives = append(q.natives, x)
		} else {
			q.loose = append(q.loose, x)
		}
	}
}

// Emitted drops entries that are in the final list now, or were passed over.
func (q *Queue) Emitted(hashes []ordering.Hash) {
	for _, h := range hashes {
		if x := q.held[h]; x != nil {
			x.gone = true
			delete(q.held, h)
		}
	}
	q.tidy()
}

// Passed drops what waits of an origin up to a seq: another branch is in the final
// list so far.
func (q *Queue) Passed(o ordering.Origin, seq uint64) {
	for h, x := range q.held {
		if x.Origin == o && x.Seq <= seq {
			x.gone = true
			delete(q.held, h)
		}
	}
	q.tidy()
}

func (q *Queue) tidy() {
	gone := func(x *entry) bool { return x.gone }
	q.natives = slices.DeleteFunc(q.natives, gone)
	q.loose = slices.DeleteFunc(q.loose, gone)
}

// Since returns when the first native that waits was accepted; zero: none waits.
func (q *Queue) Since() time.Time {
	if len(q.natives) == 0 {
		return time.Time{}
	}
	return q.natives[0].since
}

// Len returns how many entries wait.
func (q *Queue) Len() int { return len(q.held) }

// content is what this member acknowledges now: its disk, or, once sealed, what it
// held then (L3, L6).
func (q *Queue) content() ordering.Ack {
	if q.seal != nil && q.cfg.Mutant != mutant.NoFreeze {
		return ordering.Ack{Instance: q.cfg.Self.Instance, Epoch: q.epoch, Clock: q.seal.Clock, Have: q.seal.Have, Sealed: true}
	}
	have, clock := q.have, q.clock
	if q.cfg.Mutant == mutant.AckEarly {
		have = have.Clone()
		for _, m := range q.pending {
			have[m.origin], clock = max(have[m.origin], m.seq), max(clock, m.ts)
		}
	}
	return ordering.Ack{Instance: q.cfg.Self.Instance, Epoch: q.epoch, Clock: clock, Have: q.Tips(have), Sealed: q.seal != nil}
}

// Tips returns the ends of the view's chains in a vector.
func (q *Queue) Tips(v ordering.Vector) []ordering.Tip {
	tips := make([]ordering.Tip, len(q.view))
	for i, o := range q.view {
		if h, ok := q.cfg.Chains.HashOf(ordering.EntryID{Origin: o, Seq: v[o]}); ok {
			tips[i] = ordering.TipOf(v[o], h)
		}
	}
	return tips
}

// Member reports whether this replica is in the open epoch's view.
func (q *Queue) Member() bool { return slices.Contains(q.view, q.cfg.Self) }

// Ack returns the acknowledgement that is due now (L3): it has news, or something
// waits and AckRepeat has passed.
func (q *Queue) Ack(now time.Time) (ordering.Ack, bool) {
	due := q.AckDue()
	if due.IsZero() || now.Before(due) {
		return ordering.Ack{}, false
	}
	a := q.content()
	q.said, q.saidAt = a, now
	if a.Ask = q.waits() && !now.Before(q.askedAt.Add(AckRepeat)); a.Ask {
		q.askedAt = now
	}
	return a, true
}

// AckDue returns when Ack has something to say; zero: not before something
// happens.
func (q *Queue) AckDue() time.Time {
	if !q.Member() { // it asks, once what it waits for is late
		if !q.waits() || q.cfg.Mutant == mutant.SilentObserver {
			return time.Time{}
		}
		return later(q.Since(), q.askedAt).Add(AckRepeat)
	}
	if q.saidAt.IsZero() {
		return time.Unix(0, 1) // the first of an epoch, at once
	}
	a := q.content()
	if a.Clock != q.said.Clock || a.Sealed != q.said.Sealed || !slices.Equal(a.Have, q.said.Have) {
		return q.saidAt.Add(AckPause)
	}
	if q.waits() || q.seal != nil {
		return q.saidAt.Add(AckRepeat)
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// waits reports whether something native here is not final.
func (q *Queue) waits() bool { return len(q.natives) > 0 }

// Answer returns what a member of the view says to one that asks.
func (q *Queue) Answer() (ordering.Ack, bool) {
	if !q.Member() {
		return ordering.Ack{}, false
	}
	return q.content(), true
}

// Hear takes an acknowledgement. All that one instance ever says of an epoch is
// the same but grown, so the larger of two numbers is the newer. It reports
// whether the sender asks for ours.
func (q *Queue) Hear(from ordering.Origin, a ordering.Ack) (asks bool) {
	if q.cfg.Mutant == mutant.AnyAck && a.Epoch != q.epoch && len(a.Have) == len(q.view) {
		a.Epoch = q.epoch
	}
	if a.Epoch == q.epoch && !slices.Contains(q.view, from) {
		return a.Ask // it wants to follow
	}
	if a.Epoch < q.epoch || a.Epoch == q.epoch && len(a.Have) != len(q.view) || len(q.acks) >= 4*ordering.MaxView && q.acks[from].Epoch == 0 {
		return false
	}
	old, ok := q.acks[from]
	if ok && old.Epoch > a.Epoch {
		return false
	}
	if ok && old.Epoch == a.Epoch && len(old.Have) == len(a.Have) {
		a.Clock, a.Sealed = max(a.Clock, old.Clock), a.Sealed || old.Sealed
		a.Have = slices.Clone(a.Have)
		for i, t := range old.Have {
			if t.Seq > a.Have[i].Seq {
				a.Have[i] = t
			}
		}
	}
	asks = a.Ask && a.Epoch == q.epoch
	q.acks[from] = a
	return asks
}

// Sealed reports whether any member of the view is known to be sealed (L9).
func (q *Queue) Sealed() bool {
	if q.seal != nil {
		return true
	}
	for _, o := range q.view {
		if a, ok := q.acks[o]; ok && a.Epoch == q.epoch && a.Sealed {
			return true
		}
	}
	return false
}

// Stable returns what has become final in the open epoch, each entry after its
// causal past (L6, L7): what the caller emits, in this order.
func (q *Queue) Stable(have ordering.Vector) []*ordering.Entry {
	if len(q.natives) == 0 {
		return nil
	}
	if q.split() {
		return nil
	}
	acks := make([]ordering.Ack, len(q.view))
	floor := uint64(1<<64 - 1)
	for i, o := range q.view {
		a, ok := q.acks[o]
		if o == q.cfg.Self {
			a, ok = q.content(), true
			if q.cfg.Mutant == mutant.OwnAckMoves && q.seal != nil {
				a.Clock, a.Have = q.clock, q.Tips(q.have)
			}
		}
		if q.cfg.Mutant == mutant.OwnClock && o != q.cfg.Self {
			continue
		}
		if !ok || a.Epoch != q.epoch || a.Have[i].Seq > have[o] && q.cfg.Mutant != mutant.BlindClock {
			return nil
		}
		acks[i], floor = a, min(floor, a.Clock)
	}
	n := 0
	for n < len(q.natives) && q.natives[n].TS <= floor && q.covered(q.natives[n], acks) {
		n++
	}
	return q.past(q.natives[:n])
}

// split reports whether members of the view hold different branches of a chain of
// the view: nothing more becomes final before the view changes.
func (q *Queue) split() bool {
	for _, from := range q.view {
		a, ok := q.acks[from]
		if from == q.cfg.Self || !ok || a.Epoch != q.epoch {
			continue
		}
		for i, t := range a.Have {
			if h, ok := q.cfg.Chains.HashOf(ordering.EntryID{Origin: q.view[i], Seq: t.Seq}); ok && ordering.TipOf(t.Seq, h) != t {
				return true
			}
		}
	}
	return false
}

// covered reports whether all members hold an entry, as part of the chain that is
// held here.
func (q *Queue) covered(x *entry, acks []ordering.Ack) bool {
	if q.cfg.Mutant == mutant.Uncovered || q.cfg.Mutant == mutant.OwnClock {
		return true
	}
	i := slices.Index(q.view, x.Origin)
	for _, a := range acks {
		t := a.Have[i]
		h, ok := q.cfg.Chains.HashOf(ordering.EntryID{Origin: x.Origin, Seq: t.Seq})
		if t.Seq < x.Seq || !ok || ordering.TipOf(t.Seq, h) != t {
			return false
		}
	}
	return true
}

// Cut returns, in their order, the natives up to a cut with their causal past:
// what closing the epoch makes final (L9). The cut is of the view's chains and, of
// a forked one, names the branch.
func (q *Queue) Cut(cut []ordering.Ref) []*ordering.Entry {
	var in []*entry
	for _, r := range cut {
		if !slices.Contains(q.view, r.Origin) {
			continue
		}
		for _, x := range q.held {
			if x.Origin != r.Origin || x.Seq > r.Seq {
				continue
			}
			if h, ok := q.cfg.Chains.At(r, x.Seq); ok && h == x.Hash() {
				in = append(in, x)
			}
		}
	}
	slices.SortFunc(in, compareEntries)
	return q.past(in)
}

// compareEntries orders entries by key, and two branches by hash.
func compareEntries(a, b *entry) int {
	x, y := a.Hash(), b.Hash()
	return cmp.Or(a.Key().Compare(b.Key()), bytes.Compare(x[:], y[:]))
}

// past puts before each entry what it depends on and is not final, by key (L7).
func (q *Queue) past(natives []*entry) []*ordering.Entry {
	var all []*ordering.Entry
	out := make(map[ordering.Hash]bool)
	for _, m := range natives {
		if out[m.Hash()] {
			continue
		}
		out[m.Hash()] = true
		before := []*entry{m}
		for i := 0; i < len(before); i++ {
			x := before[i]
			pull := func(r ordering.Ref) {
				h := r.Hash
				if q.cfg.Mutant == mutant.ForkWins {
					h, _ = q.cfg.Chains.HashOf(r.EntryID)
				}
				if y := q.held[h]; y != nil && !out[h] {
					out[h] = true
					before = append(before, y)
				}
			}
			for _, d := range x.Deps {
				pull(d)
			}
			pull(ordering.Ref{EntryID: ordering.EntryID{Origin: x.Origin, Seq: x.Seq - 1}, Hash: x.Prev})
		}
		slices.SortFunc(before, compareEntries)
		for _, x := range before {
			all = append(all, x.Entry)
		}
	}
	return all
}

// WaitsFor names the members of the view for whom the first entry that is not
// final waits.
func (q *Queue) WaitsFor() []ordering.Origin {
	if len(q.natives) == 0 {
		return nil
	}
	first := q.natives[0]
	i := slices.Index(q.view, first.Origin)
	var missing []ordering.Origin
	for _, o := range q.view {
		a, ok := q.acks[o]
		if o == q.cfg.Self {
			a, ok = q.content(), true
		}
		if !ok || a.Epoch != q.epoch || a.Clock < first.TS || a.Have[i].Seq < first.Seq {
			missing = append(missing, o)
		}
	}
	return missing
}

// AdoptDue returns when this member is to write a NULL entry, so that what members
// outside the view wrote becomes final (L8): nobody of the view has named it, and
// those of lower rank had their time, since it came or this view began. Zero: not.
func (q *Queue) AdoptDue() time.Time {
	rank := slices.Index(q.view, q.cfg.Self)
	if rank < 0 || q.cfg.Mutant == mutant.NoAdoption {
		return time.Time{}
	}
	for _, x := range q.loose {
		if !x.named && !x.gone {
			since := later(later(x.since, q.opened), q.adopted)
			return since.Add(AdoptAfter + time.Duration(rank)*AdoptStep)
		}
	}
	return time.Time{}
}

// Adopted says that this member wrote an entry for AdoptDue: the next waits anew.
func (q *Queue) Adopted(now time.Time) { q.adopted = now }

// Keeps reports whether this disk, with as much of the branches of forked origins,
// has all that this replica said to have in the open epoch.
func (q *Queue) Keeps(said ordering.Acked, branches ordering.Vector) bool {
	if said.Sealed && q.seal == nil || said.Clock > q.clock {
		return false
	}
	for i, o := range q.view {
		if said.Have[i] > max(q.have[o], branches[o]) {
			return false
		}
	}
	return true
}

// SealNow returns what this replica is to make durable and then say in answer to a
// seal of the open epoch; the same as before if it is sealed already. Whoever is
// not in the view answers too.
func (q *Queue) SealNow() *Seal {
	if q.seal == nil {
		q.seal = &Seal{Epoch: q.epoch, Have: q.Tips(q.have), Clock: q.clock}
	}
	return q.seal
}
