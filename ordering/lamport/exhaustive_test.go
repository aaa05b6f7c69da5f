package lamport

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/linear"
	"tertulia/ordering/mutant"
)

// This file tries every schedule of a small room: queues, view changes and final
// lists as they run in the program, under an owner that does no more than make
// durable, send and apply. Messages are lost, late and reordered; members crash.
// Package room searches with its whole core; here are the views and leaders that no
// such room can be brought into: a view of one member, two leaders at once.

// mostStates bounds a search; a scene that needs more is too large, and fails.
const mostStates = 5_000_000

// stage is what happens in a search at most.
type stage struct {
	writers []ordering.Origin   // each writes once
	leaders []ordering.Origin   // each may change the view once, in a term of its own
	next    []ordering.Origin   // the view that they want
	view    []ordering.Origin   // of the first epoch
	crashes int                 // of all together
	mutant  mutant.Mutant       // a mistake that is made
	violate func(string, *room) // called with what must not be
}

// room is one state of a search. Entries, acknowledgements and seals never change,
// so that states share them.
type room struct {
	*stage
	books   books
	people  map[ordering.Origin]*person
	changes map[ordering.Origin]*Change
	pending []*ordering.Epoch // proposed and not committed
	log     []*ordering.Epoch
	crashed int
	path    *step
}

// step is how a state was reached.
type step struct {
	what   string
	before *step
}

func (s *step) String() string {
	if s == nil {
		return "nothing"
	}
	if s.before == nil {
		return s.what
	}
	return s.before.String() + ", " + s.what
}

// person is a member with its disk.
type person struct {
	*keeper
	list    *linear.List
	wal     []*ordering.Entry // accepted, in order; the last Pending are not durable
	finals  []linear.Final
	mark    []byte
	seal    *Seal // durable
	applied int   // records of the log
	said    map[uint64]ordering.Ack
	known   string // its key, once asked for
}

func newRoom(s *stage) *room {
	r := &room{stage: s, books: books{}, people: make(map[ordering.Origin]*person), changes: make(map[ordering.Origin]*Change)}
	r.log = []*ordering.Epoch{{N: 1, Base: 0, Mode: ordering.Lamport, View: s.view}}
	for _, o := range all {
		p := &person{said: make(map[uint64]ordering.Ack)}
		p.keeper = &keeper{books: books{}, have: make(ordering.Vector)}
		p.Queue = New(Config{Self: o, Chains: p.keeper, Mutant: s.mutant}, make(ordering.Vector), 0)
		p.list = linear.New(linear.Config{Mutant: s.mutant}, ordering.Lamport, ann)
		p.keep(nil)
		r.people[o] = p
		r.learn(p)
	}
	return r
}

// keep makes what became final durable.
func (p *person) keep(finals []linear.Final) {
	p.finals = append(slices.Clip(p.finals), finals...)
	p.mark = p.list.Mark()
}

// resumed is the list as it comes back from disk.
func (p *person) resumed(m mutant.Mutant) *linear.List {
	var emitted []linear.Emitted
	var recent []linear.Recent
	for o, seq := range p.list.Emitted() {
		h, _ := p.HashOf(ordering.EntryID{Origin: o, Seq: seq})
		emitted = append(emitted, linear.Emitted{Origin: o, Seq: seq, Hash: h})
	}
	for _, f := range p.finals {
		if f.Fate == linear.Shown {
			recent = append(recent, linear.Recent{Index: f.Index, ID: f.ID, OrderHash: f.OrderHash})
		}
	}
	l, err := linear.Resume(linear.Config{Mutant: m}, p.mark, emitted, recent, nil)
	if err != nil {
		panic(err)
	}
	return l
}

// clone returns a state of its own, which shares members until they are touched.
func (r *room) clone() *room {
	c := *r
	c.books, c.people = maps.Clone(r.books), maps.Clone(r.people)
	c.changes = make(map[ordering.Origin]*Change, len(r.changes))
	for o, ch := range r.changes {
		d := *ch
		d.sealed, d.holding = maps.Clone(ch.sealed), maps.Clone(ch.holding)
		c.changes[o] = &d
	}
	c.pending, c.log = slices.Clone(r.pending), slices.Clip(r.log)
	return &c
}

// touch returns a member that this state alone has.
func (r *room) touch(o ordering.Origin) *person {
	p := r.people[o]
	c := *p
	c.known = ""
	c.keeper = &keeper{books: maps.Clone(p.books), have: p.have.Clone()}
	q := *p.Queue
	q.cfg.Chains = c.keeper
	q.held, q.natives, q.loose = make(map[ordering.Hash]*entry, len(q.held)), nil, nil
	copied := make(map[*entry]*entry, len(q.held))
	for id, x := range p.Queue.held {
		y := *x
		q.held[id], copied[x] = &y, &y
	}
	for _, x := range p.natives {
		q.natives = append(q.natives, copied[x])
	}
	for _, x := range p.loose {
		q.loose = append(q.loose, copied[x])
	}
	q.have, q.pending, q.acks = p.Queue.have.Clone(), slices.Clone(p.pending), maps.Clone(p.acks)
	c.Queue = &q
	c.list = c.resumed(r.mutant)
	c.wal, c.said = slices.Clip(p.wal), maps.Clone(p.said)
	r.people[o] = &c
	return &c
}

// key is equal exactly for states that behave alike.
func (r *room) key() string {
	var b []byte
	for _, o := range all {
		p := r.people[o]
		if p.known == "" {
			p.known = string(p.key())
		}
		b = append(b, p.known...)
		if ch := r.changes[o]; ch != nil {
			b = append(b, 'c', bit(ch.Proposed))
			for _, q := range all {
				b = appendTips(b, ch.sealed[q])
			}
		}
	}
	for _, list := range [][]*ordering.Epoch{r.pending, r.log} {
		b = append(b, '|')
		for _, e := range list {
			b = append(b, byte(e.N), byte(len(e.View)))
			for _, c := range e.Cut {
				b = append(b, c.Origin.Device[0], byte(c.Seq))
			}
		}
	}
	h := sha256.Sum256(append(b, byte(r.crashed)))
	return string(h[:16])
}

// key is what a member has on disk and in mind.
func (p *person) key() []byte {
	b := []byte{'|', byte(p.applied), byte(p.Pending()), bit(p.seal != nil)}
	for _, e := range p.wal {
		h := e.Hash()
		b = append(b, h[:8]...)
	}
	if p.seal != nil {
		b = appendTips(append(b, byte(p.seal.Clock)), p.seal.Have)
	}
	b = append(b, 'f')
	for _, f := range p.finals {
		b = append(b, f.ID.Origin.Device[0], byte(f.ID.Seq), byte(f.Epoch))
	}
	for _, q := range all {
		b = append(b, 'a')
		b = appendAck(b, p.acks[q])
	}
	for e := range uint64(mostEpochs) {
		b = append(b, 's')
		b = appendAck(b, p.said[e+1])
	}
	return b
}

// mostEpochs is how many epochs a search opens at most.
const mostEpochs = 3

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendAck(b []byte, a ordering.Ack) []byte {
	return appendTips(append(b, byte(a.Epoch), byte(a.Clock), bit(a.Sealed)), a.Have)
}

func appendTips(b []byte, tips []ordering.Tip) []byte {
	b = append(b, byte(len(tips)))
	for _, t := range tips {
		b = append(b, byte(t.Seq))
	}
	return b
}

// settle makes final at a member what is stable, says what is news, and checks.
func (r *room) settle(p *person) {
	stable := p.Stable(p.have)
	view := p.list.Epoch().View
	for _, e := range stable {
		for _, o := range view {
			if slices.Contains(view, e.Origin) && r.people[o].Durable()[e.Origin] < e.Seq {
				r.violate(fmt.Sprintf("L-6: %s is final and not on every disk", name(e.Origin, e.Seq)), r)
			}
		}
	}
	r.finalize(p, stable)
	now := p.saidAt.Add(AckPause) // not so late that it repeats itself
	if p.saidAt.IsZero() {
		now = start
	}
	if a, says := p.Ack(now); says {
		p.said[a.Epoch] = a
	}
}

func (r *room) finalize(p *person, entries []*ordering.Entry) {
	if len(entries) == 0 {
		return
	}
	p.keep(p.list.Finalize(entries))
	hashes := make([]ordering.Hash, len(entries))
	for i, e := range entries {
		hashes[i] = e.Hash()
	}
	p.Emitted(hashes)
	for _, q := range r.people { // U1
		for i := range min(len(p.finals), len(q.finals)) {
			if p.finals[i].ID != q.finals[i].ID {
				r.violate("U1: two final lists differ", r)
				return
			}
		}
	}
	r.cutCovers()
}

// cutCovers checks L-4: the cut of an epoch has every native that anybody made
// final in it.
func (r *room) cutCovers() {
	closed := make(map[uint64]*ordering.Epoch)
	for _, e := range r.log[1:] {
		if closed[e.Base] == nil {
			closed[e.Base] = e
		}
	}
	view := r.log[0].View
	for e := uint64(1); closed[e] != nil; e++ {
		for _, p := range r.people {
			for _, f := range p.finals {
				in := slices.ContainsFunc(closed[e].Cut, func(c ordering.Ref) bool { return c.Origin == f.ID.Origin && c.Seq >= f.ID.Seq })
				if f.Epoch == e && slices.Contains(view, f.ID.Origin) && !in {
					r.violate(fmt.Sprintf("L-4: %s is final and not in the cut", name(f.ID.Origin, f.ID.Seq)), r)
				}
			}
		}
		view = closed[e].View
	}
}

// learn applies the next record of the log, if what it cuts at is here.
func (r *room) learn(p *person) bool {
	if p.applied == len(r.log) {
		return false
	}
	e := r.log[p.applied]
	if e.Base == p.list.Epoch().N {
		for _, c := range e.Cut {
			if p.have[c.Origin] < c.Seq {
				return false
			}
		}
		r.finalize(p, p.Cut(e.Cut))
	}
	p.applied++
	if p.list.Apply(uint64(p.applied), 1, e).Opened {
		p.Open(e.N, e.View, nil, start)
		delete(r.changes, p.cfg.Self)
	}
	p.keep(nil)
	r.settle(p)
	return true
}

// write has a member write its entry, upon all it holds.
func (r *room) write(p *person) {
	var deps []string
	for _, o := range all {
		if o != p.cfg.Self && p.have[o] > 0 {
			deps = append(deps, name(o, p.have[o]))
		}
	}
	r.accept(p, r.books[r.books.write(p.cfg.Self, deps...)])
}

// accept has a member take an entry. What another wrote is durable with the same
// step: before that, it is as if it had not come.
func (r *room) accept(p *person, e *ordering.Entry) {
	p.wal = append(p.wal, e)
	p.books[name(e.Origin, e.Seq)] = e
	p.have[e.Origin] = e.Seq
	p.Add(e, false, start)
	if e.Origin != p.cfg.Self && r.mutant != mutant.AckEarly {
		p.Persisted(p.Pending())
	}
	r.settle(p)
}

// durable reports whether an entry is on anybody's disk.
func (r *room) durable(e *ordering.Entry) bool {
	for _, p := range r.people {
		if p.Durable()[e.Origin] >= e.Seq {
			return true
		}
	}
	return false
}

// seal has a member seal, durably.
func (r *room) seal(p *person) *Seal {
	s := *p.SealNow()
	p.seal = &s
	r.settle(p)
	return &s
}

// crash leaves a member its disk alone. What nobody has on disk was never written.
func (r *room) crash(p *person) {
	r.crashed++
	self := p.cfg.Self
	lost := p.wal[len(p.wal)-p.Pending():]
	p.wal = p.wal[:len(p.wal)-p.Pending()]
	for _, e := range lost {
		if e.Origin == self {
			delete(r.books, name(self, e.Seq))
		}
		delete(p.books, name(e.Origin, e.Seq))
	}
	delete(r.changes, self)
	p.list = p.resumed(r.mutant)
	p.have = p.Durable().Clone()
	clock := uint64(0)
	for _, e := range p.wal {
		clock = max(clock, e.TS)
	}
	p.Queue = New(p.cfg, p.have, clock)
	for _, e := range p.wal {
		if e.Seq > p.list.Emitted()[e.Origin] {
			p.Kept(e, false, start)
		}
	}
	if r.mutant == mutant.ForgetSeal {
		p.seal = nil
	}
	p.Open(p.list.Epoch().N, p.list.Epoch().View, p.seal, start)
	r.settle(p)
}

// propose has a leader propose the epoch that follows, if it may.
func (r *room) propose(p *person, ch *Change) bool {
	cut, enough := ch.Union(at(1_000_000))
	if !enough || ch.Proposed {
		return false
	}
	for _, o := range all { // CutHave
		ch.Holds(o, p.Tips(r.people[o].Durable()), start)
	}
	if ch.mutant != mutant.LonelyCut && (!ch.Copied(cut) || !ch.HeldBy(p.cfg.Self, cut)) {
		return false
	}
	e := &ordering.Epoch{N: ch.Epoch + 1, Base: ch.Epoch, Mode: ch.Mode, View: ch.Want}
	for i, t := range cut {
		if o := ch.View[i]; t.Seq > 0 {
			e.Cut = append(e.Cut, r.books[name(o, t.Seq)].Ref())
		}
	}
	ch.Proposed = true
	r.pending = append(r.pending, e)
	return true
}

// steps calls do for each step that may come next, with what it is called and what
// it does to a state; it reports whether it did something.
func (r *room) steps(do func(what string, act func(*room) bool)) {
	for _, o := range all {
		p := r.people[o]
		who := name(o, 0)[:1]
		if slices.Contains(r.writers, o) && p.have[o] == 0 {
			do(who+" writes", func(r *room) bool { r.write(r.touch(o)); return true })
		}
		for _, x := range all {
			e := r.books[name(x, 1)]
			if e == nil || p.have[x] > 0 || !r.durable(e) || slices.ContainsFunc(e.Deps, func(d ordering.Ref) bool { return p.have[d.Origin] < d.Seq }) {
				continue
			}
			do(who+" accepts "+name(x, 1), func(r *room) bool { r.accept(r.touch(o), e); return true })
		}
		if p.Pending() > 0 {
			do(who+" syncs", func(r *room) bool {
				q := r.touch(o)
				q.Persisted(q.Pending())
				r.settle(q)
				return true
			})
		}
		for _, x := range all {
			for epoch, a := range r.people[x].said {
				if x == o || epoch < p.epoch || slices.Equal(p.acks[x].Have, a.Have) && p.acks[x].Epoch == epoch && p.acks[x].Sealed == a.Sealed {
					continue
				}
				do(fmt.Sprint(who, " hears ", name(x, 0)[:1], " of ", epoch), func(r *room) bool {
					q := r.touch(o)
					q.Hear(x, a)
					r.settle(q)
					return true
				})
			}
		}
		if p.applied < len(r.log) {
			do(who+" learns", func(r *room) bool { return r.learn(r.touch(o)) })
		}
		if r.crashed < r.crashes {
			do(who+" crashes", func(r *room) bool { r.crash(r.touch(o)); return true })
		}
		for term, l := range r.leaders {
			ch := r.changes[l]
			if ch != nil && ch.Epoch == p.epoch && ch.sealed[o] == nil {
				do(fmt.Sprint(who, " seals for ", term), func(r *room) bool {
					r.changes[l].SealedBy(o, r.seal(r.touch(o)).Have, start)
					return true
				})
			}
			if ch != nil && l == o && !ch.Proposed {
				do(who+" proposes", func(r *room) bool { return r.propose(r.people[o], r.changes[o]) })
			}
			if ch == nil && l == o && p.epoch == 1 && len(r.log) == 1 && p.seal == nil {
				do(who+" begins", func(r *room) bool {
					p := r.touch(o)
					ch := NewChange(Change{Epoch: 1, Term: uint64(term + 1), View: r.view, Mode: ordering.Lamport, Want: r.next}, o, all, r.mutant)
					r.changes[o] = ch
					ch.SealedBy(o, r.seal(p).Have, start)
					return true
				})
			}
		}
	}
	for i := range r.pending {
		do(fmt.Sprint("the log commits ", i), func(r *room) bool {
			r.log = append(r.log, r.pending[i])
			r.pending = slices.Delete(r.pending, i, i+1)
			r.cutCovers()
			return true
		})
	}
}

// search tries every schedule, breadth first, until one violates. It returns how
// many states there are, and how many finals the longest list had.
func search(s *stage) (states, longest int, found string) {
	s.violate = func(what string, r *room) {
		if found == "" {
			found = what + " after: " + r.path.String()
		}
	}
	first := newRoom(s)
	seen := map[string]bool{first.key(): true}
	queue := []*room{first}
	for len(queue) > 0 && found == "" && len(seen) < mostStates {
		r := queue[0]
		queue[0], queue = nil, queue[1:]
		r.steps(func(what string, act func(*room) bool) {
			c := r.clone()
			c.path = &step{what, r.path}
			if !act(c) {
				return
			}
			if k := c.key(); !seen[k] {
				seen[k] = true
				queue = append(queue, c)
				for _, p := range c.people {
					longest = max(longest, len(p.finals))
				}
			}
		})
	}
	return len(seen), longest, found
}

// roomy trades memory for speed while a test runs.
func roomy(t *testing.T) {
	before := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(before) })
}

var wide = flag.Bool("wide", false, "search also the rooms that take minutes")

func TestNoScheduleOfASmallRoomBreaksTheOrder(t *testing.T) {
	roomy(t)
	for _, s := range []struct {
		what string
		wide bool
		stage
	}{
		{"two leaders, a sole member", false, stage{writers: []ordering.Origin{bob}, leaders: []ordering.Origin{ann, bob}, next: all, view: all[1:2]}},
		{"a sole member crashes", false, stage{writers: []ordering.Origin{cat}, leaders: []ordering.Origin{ann}, next: all, view: all[2:], crashes: 1}},
		{"two write, two are left", true, stage{writers: all[:2], leaders: []ordering.Origin{cat}, next: all[:2], view: all[:2]}},
		{"two leaders", true, stage{writers: []ordering.Origin{cat}, leaders: all[:2], next: all, view: all}},
	} {
		t.Run(s.what, func(t *testing.T) {
			if s.wide && !*wide || testing.Short() && s.crashes == 0 {
				t.Skip("takes long")
			}
			t.Parallel()
			states, longest, found := search(&s.stage)
			t.Logf("%d states, %d finals in the longest list", states, longest)
			if found != "" || states >= mostStates || longest < len(s.writers) {
				t.Error(found)
			}
		})
	}
}

func TestTheSearchFindsEveryMistakeItIsMeantFor(t *testing.T) {
	roomy(t)
	for m, s := range map[mutant.Mutant]stage{
		mutant.NoViewMember: {writers: []ordering.Origin{cat}, leaders: []ordering.Origin{ann}, next: all,
			view: []ordering.Origin{cat}},
		mutant.AnyAck: {writers: []ordering.Origin{cat}, leaders: []ordering.Origin{ann}, next: all},
	} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			s.mutant = m
			if s.view == nil {
				s.view = all
			}
			states, _, found := search(&s)
			if found == "" {
				t.Fatalf("not found in %d states", states)
			}
			t.Logf("%d states; %s", states, found)
		})
	}
}
