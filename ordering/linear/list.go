// Package linear makes the final list of a room: the committed commands of the
// control log, in their order, say which entry comes next (PROTOCOL.md L5, L7,
// P2, P4). Equal logs make equal lists on every replica, across restarts, and
// nothing is ever inserted above what the list has.
//
// A List keeps no final itself. Apply returns what became final; the owner makes
// it durable together with Mark and hands both back to Resume.
package linear

import (
	"maps"
	"slices"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Limits of a list.
const (
	Window     = 65_536              // newest indexes among which a repeat is recognised (L7)
	MaxVoids   = 1024                // entries of losing branches that are known by hash
	HashWindow = 4096                // newest indexes whose order hashes are kept
	MaxDevices = ordering.MaxOrigins // admitted or removed; an admission beyond has no effect
)

// Fate is what became of an entry that was emitted.
type Fate uint8

// The fates. Only Shown takes an index and is hashed.
const (
	Shown  Fate = 1 // what people say
	Silent Fate = 2 // what steers membership and keys
	Repeat Fate = 3 // consumed: a client handed the same message in before (L7)
	Void   Fate = 4 // its author was removed, or never validly admitted
	Lost   Fate = 5 // of a branch of its author's chain that another branch had beaten (a fork); emits nothing
)

// Final is an emitted entry. Its chain and all it depends on were emitted
// before.
type Final struct {
	ID        ordering.EntryID
	Hash      ordering.Hash // of the entry
	Fate      Fate
	Index     uint64        // its place, 1 first; 0 unless Shown
	OrderHash ordering.Hash // at Index; zero unless Shown
	Stamp     Digest        // of a Shown entry that a client handed in
	ordering.Source
	Of ordering.EntryID // the final that a Repeat repeats
}

// Applied is what a record did to the list.
type Applied struct {
	Finals []Final
	// Skipped: the record was a batch of another epoch, or had an entry whose
	// past was not emitted. Its leader proposes again what is not final.
	Skipped bool
	// Opened: the record was an Epoch and took effect.
	Opened bool
}

// Epoch is the part of the control log that is open now.
type Epoch struct {
	N    uint64
	Mode ordering.Mode
	View []ordering.Origin // ascending; not to be changed
}

// Config says of which room the list is.
type Config struct {
	Room   ordering.RoomID
	Mutant mutant.Mutant
}

// List is the state after some prefix of the control log. Use New or Resume.
type List struct {
	cfg      Config
	applied  uint64 // index of the newest record seen
	lastTerm uint64 // of the newest batch since the start; nobody but a mutant looks
	epoch    Epoch
	wish     ordering.Mode // the order that people asked for last; 0: none

	index   uint64        // of the newest Shown
	order   ordering.Hash // order hash there
	sources ordering.Hash // source hash there
	trail   trail
	chains  map[ordering.Origin]*chain
	emitted ordering.Vector // the same seqs, to be handed out
	window  window
	rights  rights
	voids   map[ordering.Hash]ordering.EntryID // Lost, and further on than their chain is emitted
	flooded map[ordering.Origin]bool           // origins with more of these than MaxVoids leaves room for: nothing waits for them

	closed summit // highest keys shown in closed epochs
	open   summit // and in the open one

	ahead      *ordering.Checkpoint // not reached yet; the lowest of those
	frozen     bool
	divergedAt uint64
}

// chain is how far an origin's chain was emitted.
type chain struct {
	origin ordering.Origin
	seq    uint64
	hash   ordering.Hash // of the entry there
}

// New returns the empty list of a room in epoch 0, whose view is the creator.
func New(cfg Config, mode ordering.Mode, creator ordering.Origin) *List {
	l := blank(cfg)
	l.epoch = Epoch{Mode: mode, View: []ordering.Origin{creator}}
	l.order = ordering.Hash(cfg.Room)
	l.rights.creator = creator.Device
	l.rights.admitted[creator.Device] = true
	return l
}

func blank(cfg Config) *List {
	return &List{
		cfg:     cfg,
		chains:  make(map[ordering.Origin]*chain),
		emitted: make(ordering.Vector),
		rights:  newRights(),
		window:  newWindow(),
		trail:   newTrail(),
		voids:   make(map[ordering.Hash]ordering.EntryID),
		flooded: make(map[ordering.Origin]bool),
	}
}

// Epoch returns the open epoch.
func (l *List) Epoch() Epoch { return l.epoch }

// Index returns the newest index, 0 for an empty list.
func (l *List) Index() uint64 { return l.index }

// OrderHash returns the order hash at Index; at 0 it is the room's id.
func (l *List) OrderHash() ordering.Hash { return l.order }

// SourceHash returns the source hash at Index; at 0 it is zero.
func (l *List) SourceHash() ordering.Hash { return l.sources }

// Emitted says how far each chain was emitted. The caller does not change it; it
// changes with Apply.
func (l *List) Emitted() ordering.Vector { return l.emitted }

// Applied returns the index of the newest record that was applied.
func (l *List) Applied() uint64 { return l.applied }

// Diverged reports at which index this list was found to differ from another
// replica's. From then on it is frozen.
func (l *List) Diverged() (at uint64, yes bool) { return l.divergedAt, l.frozen }

// HashAt returns the order hash at an index if it is kept: at 0, at the newest
// HashWindow indexes and at multiples of ordering.CheckpointEvery.
func (l *List) HashAt(i uint64) (ordering.Hash, bool) {
	if i == 0 {
		return ordering.Hash(l.cfg.Room), true
	}
	return l.trail.at(i)
}

// Compare takes another replica's order hash at an index. If it differs from the
// own one, where that is kept, the list freezes.
func (l *List) Compare(i uint64, h ordering.Hash) {
	own, kept := l.HashAt(i)
	if !kept || own == h || l.frozen || l.cfg.Mutant == mutant.IgnoreCheckpoint {
		return
	}
	l.frozen, l.divergedAt = true, i
}

// Apply takes the record of the control log at an index, ascending; nil is a
// record without a command. A record at or below Applied does nothing, and so
// does any on a frozen list, whose Applied stays. The runs of a batch were
// verified.
func (l *List) Apply(index, term uint64, c ordering.Command) Applied {
	again := index <= l.applied
	if l.frozen || again && l.cfg.Mutant != mutant.ApplyAgain {
		return Applied{}
	}
	var a Applied
	switch c := c.(type) {
	case nil:
	case *ordering.Batch:
		a = l.sequence(c, term, again)
	case *ordering.Epoch:
		a.Opened = l.reopen(c)
	case *ordering.Checkpoint:
		l.check(c)
	}
	if !l.frozen {
		l.applied = max(l.applied, index)
	}
	return a
}

// reopen closes the open epoch and opens the next, unless another did so first.
func (l *List) reopen(c *ordering.Epoch) bool {
	if c.Base != l.epoch.N && l.cfg.Mutant != mutant.AnyBase {
		return false
	}
	l.closed.merge(l.open)
	l.open = summit{}
	l.epoch = Epoch{N: c.N, Mode: c.Mode, View: c.View}
	return true
}

// Wish returns the order that people asked for, as far as it is final, if it is
// not the one of the open epoch; else 0.
func (l *List) Wish() ordering.Mode {
	if l.wish == l.epoch.Mode {
		return 0
	}
	return l.wish
}

// Finalize emits entries of the open Lamport epoch, each after all it depends on
// (L6, L7). What is emitted already is passed over, and so is the losing branch of
// a fork.
func (l *List) Finalize(entries []*ordering.Entry) []Final {
	if l.frozen || l.epoch.Mode != ordering.Lamport {
		return nil
	}
	finals := make([]Final, 0, len(entries))
	for _, e := range entries {
		to, by := l.chain(e.Origin), ordering.Source{Epoch: l.epoch.N}
		switch l.stand(e, to, false) {
		case next:
			finals = append(finals, l.out(e, to, by))
		case beside:
			finals = append(finals, l.lose(e, by))
		case behind, beyond:
		}
		if l.frozen {
			break
		}
	}
	return finals
}

// check compares a checkpoint, now or once the list is there.
func (l *List) check(c *ordering.Checkpoint) {
	if c.Index <= l.index {
		l.Compare(c.Index, c.Hash)
	} else if l.ahead == nil || c.Index < l.ahead.Index {
		l.ahead = c
	}
}

// sequence emits the items of a batch (P2).
func (l *List) sequence(c *ordering.Batch, term uint64, again bool) (a Applied) {
	if (c.Epoch != l.epoch.N || l.epoch.Mode != ordering.Leader) && l.cfg.Mutant != mutant.AnyEpoch {
		return Applied{Skipped: true}
	}
	if l.cfg.Mutant == mutant.RestartIndex && l.lastTerm != 0 && l.lastTerm != term {
		l.index = 0
	}
	l.lastTerm = term
	items := 0
	for _, run := range c.Runs {
		items += len(run.Entries)
	}
	a.Finals = make([]Final, 0, items)
	by := ordering.Source{Epoch: c.Epoch, Term: term, Leader: c.Leader}
	for _, run := range c.Runs {
		for _, e := range run.Entries {
			to := l.chain(e.Origin)
			stand := l.stand(e, to, again)
			if l.frozen {
				return a
			}
			switch stand {
			case next:
				a.Finals = append(a.Finals, l.out(e, to, by))
			case beside:
				a.Finals = append(a.Finals, l.lose(e, by))
			case beyond:
				a.Skipped = true
			case behind:
			}
		}
	}
	return a
}

// standing is where an entry stands to what was emitted.
type standing uint8

const (
	next   standing = iota // its whole past is emitted
	behind                 // it is emitted itself
	beyond                 // a part of its past is not emitted
	beside                 // never to be emitted
)

func (l *List) stand(e *ordering.Entry, to *chain, again bool) standing {
	m := l.cfg.Mutant
	_, follows := l.voids[e.Prev]
	switch {
	case e.Seq <= to.seq:
		if again || m == mutant.EmitTwice {
			return next
		}
		return behind
	case follows || l.flooded[e.Origin] && e.Seq > to.seq+1:
		return beside
	case e.Seq > to.seq+1:
		if m == mutant.DeliverGaps {
			return next
		}
		return beyond
	case e.Prev != to.hash && m != mutant.AnyBranch:
		return beside
	case to.seq == 0 && len(l.emitted) >= ordering.MaxOrigins:
		return beside
	}
	for _, d := range e.Deps {
		if !l.Settled(d) && m != mutant.IgnoreDeps {
			return beyond
		}
	}
	return next
}

// Settled reports whether what depends on an entry needs to wait for it no longer:
// its chain is emitted so far, if by way of another branch, or it is Lost.
func (l *List) Settled(r ordering.Ref) bool {
	_, void := l.voids[r.Hash]
	return void || l.flooded[r.Origin] || l.emitted[r.Origin] >= r.Seq
}

// Passed reports whether an entry was emitted, or is Lost: nothing becomes of it any
// more.
func (l *List) Passed(e *ordering.Entry) bool {
	_, void := l.voids[e.Hash()]
	return void || e.Seq <= l.emitted[e.Origin] || l.flooded[e.Origin] && l.stand(e, l.chain(e.Origin), false) == beside
}

// lose passes an entry over for good.
func (l *List) lose(e *ordering.Entry, by ordering.Source) Final {
	if l.voids[e.Hash()] = e.ID(); len(l.voids) > MaxVoids {
		l.flooded[e.Origin] = true
	}
	if l.flooded[e.Origin] {
		maps.DeleteFunc(l.voids, func(_ ordering.Hash, id ordering.EntryID) bool { return id.Origin == e.Origin })
	}
	return Final{ID: e.ID(), Hash: e.Hash(), Fate: Lost, Source: by}
}

// chain returns how far an origin's chain was emitted; it is kept only once
// something is.
func (l *List) chain(o ordering.Origin) *chain {
	if c, ok := l.chains[o]; ok {
		return c
	}
	return &chain{origin: o}
}

// out emits an entry; by says what emits it.
func (l *List) out(e *ordering.Entry, to *chain, by ordering.Source) Final {
	f := Final{ID: e.ID(), Hash: e.Hash(), Source: by}
	if to.seq == 0 {
		l.chains[e.Origin] = to
	}
	if e.Seq > to.seq { // always, but for a mutant
		to.seq, to.hash = e.Seq, e.Hash()
		l.emitted[e.Origin] = e.Seq
		maps.DeleteFunc(l.voids, func(_ ordering.Hash, id ordering.EntryID) bool { return id == e.ID() })
	}

	void := l.rights.void(e.Origin.Device) && l.cfg.Mutant != mutant.KeepRemoved
	if s, err := ordering.DecodeSwitch(e.Body); e.Kind == ordering.KindSwitch && err == nil && !void && e.Origin.Device == l.rights.creator {
		l.wish = s.Mode
	}
	if !void || l.cfg.Mutant == mutant.VoidActs {
		l.rights.act(e)
	}
	switch {
	case void:
		f.Fate = Void
		return f
	case !e.Kind.Sealed():
		f.Fate = Silent
		return f
	}
	f.Stamp = DigestOf(e.Client)
	if of, repeat := l.window.find(f.Stamp); repeat && l.cfg.Mutant != mutant.ShowRepeats {
		f.Fate, f.Of, f.Stamp = Repeat, of, Digest{}
		return f
	}
	l.index++
	l.order = ordering.NextOrderHash(l.order, e.Hash())
	f.Fate, f.Index, f.OrderHash = Shown, l.index, l.order
	f.Late = e.Key().Compare(l.closed.beside(e.Origin)) < 0 ||
		l.away(e.Origin) && e.Key().Compare(l.open.beside(e.Origin)) < 0 // L8
	l.sources = ordering.NextSourceHash(l.sources, f.Source)
	l.open.add(e.Key())
	l.window.add(shown{index: l.index, stamp: f.Stamp, chain: to, seq: e.Seq})
	l.trail.add(l.index, l.order)
	if l.ahead != nil && l.ahead.Index <= l.index {
		l.Compare(l.ahead.Index, l.ahead.Hash)
		l.ahead = nil
	}
	return f
}

// away reports whether an origin is not in the view although there is room for it:
// then it was not reachable when the epoch began.
func (l *List) away(o ordering.Origin) bool {
	return len(l.epoch.View) < ordering.MaxView && !slices.Contains(l.epoch.View, o)
}

// summit is the highest key of all and the highest of any other origin; zero
// keys stand for none.
type summit [2]ordering.Key

func (s *summit) add(k ordering.Key) {
	switch {
	case k.Origin == s[0].Origin:
		if k.Compare(s[0]) > 0 {
			s[0] = k
		}
	case k.Compare(s[0]) > 0:
		s[0], s[1] = k, s[0]
	case k.Compare(s[1]) > 0:
		s[1] = k
	}
}

func (s *summit) merge(t summit) {
	for _, k := range t {
		if k != (ordering.Key{}) {
			s.add(k)
		}
	}
}

// beside returns the highest key of an origin other than o.
func (s *summit) beside(o ordering.Origin) ordering.Key {
	if s[0].Origin == o {
		return s[1]
	}
	return s[0]
}
