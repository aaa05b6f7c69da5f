package dag

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"tertulia/ordering"
)

// scene is a room in which people write, each on a graph of their own.
type scene struct {
	t       testing.TB
	genesis ordering.Verified
	id      ordering.RoomID
	open    ordering.InviteKey // of the genesis, without limits
}

// author is a device in one instance with its own replica.
type author struct {
	*scene
	key    ed25519.PrivateKey
	origin ordering.Origin
	g      *Graph
	log    []ordering.Verified // accepted, in order
	held   map[ordering.Hash]bool
}

// newScene returns a room and its creator.
func newScene(t testing.TB) (*scene, *author) {
	s := &scene{t: t, open: ordering.InviteKey{1}}
	creator := s.author(1)
	genesis := ordering.Genesis{Name: "room", Mode: ordering.Lamport, NodeName: "node-1", Invite: s.open}
	s.genesis = ordering.SignRun(creator.key, ordering.Seal(ordering.Entry{
		Origin: creator.origin, Seq: 1, TS: 1, Kind: ordering.KindGenesis, Body: genesis.Encode(),
	}))
	s.id = ordering.RoomID(s.genesis.Run().Last().Hash())
	creator.g = New(s.id)
	creator.hear(s.genesis)
	return s, creator
}

// author returns the author whose key is made of b, on an empty graph.
func (s *scene) author(b byte) *author { return s.instance(b, 1) }

func (s *scene) instance(b, instance byte) *author {
	a := &author{scene: s, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize)), g: New(s.id), held: make(map[ordering.Hash]bool)}
	copy(a.origin.Device[:], a.key.Public().(ed25519.PublicKey))
	a.origin.Instance[0] = instance
	return a
}

// trio returns a room whose creator admitted two others; all hold the same.
func trio(t testing.TB) (s *scene, ana, bob, eva *author) {
	s, ana = newScene(t)
	bob, eva = s.author(2), s.author(3)
	ana.admit(bob)
	ana.admit(eva)
	bob.hear(ana.log...)
	eva.hear(ana.log...)
	return s, ana, bob, eva
}

// take hands a run to the author's graph.
func (a *author) take(from ordering.DeviceKey, v ordering.Verified) error {
	accepted, err := a.g.Accept(from, v)
	for _, x := range accepted {
		a.log = append(a.log, x.Run)
		for _, e := range x.Entries() {
			if a.held[e.Hash()] {
				a.t.Fatalf("%s accepted twice", e.ID())
			}
			a.held[e.Hash()] = true
		}
	}
	return err
}

// hear takes runs, all of which must be accepted, parked or held.
func (a *author) hear(runs ...ordering.Verified) {
	a.t.Helper()
	for _, v := range runs {
		if err := a.take(v.Run().Origin().Device, v); err != nil && reason(err) != ordering.Duplicate {
			a.t.Fatal(err)
		}
	}
}

// sign makes a run of entries that need not be right.
func (a *author) sign(entries ...ordering.Entry) ordering.Verified {
	var sealed []*ordering.Entry
	for i, e := range entries {
		if i > 0 {
			p := sealed[i-1]
			e.Origin, e.Seq, e.Prev, e.TS, e.Room = p.Origin, p.Seq+1, p.Hash(), max(e.TS, p.TS+1), p.Room
		}
		sealed = append(sealed, ordering.Seal(e))
	}
	return ordering.SignRun(a.key, sealed...)
}

// next is the author's next entry, of a kind that people say.
func (a *author) next() ordering.Entry {
	e := a.g.Next(a.origin)
	e.Kind = ordering.KindJoined
	return e
}

// draft makes, but does not accept, a run of n entries.
func (a *author) draft(n int) ordering.Verified {
	entries := []ordering.Entry{a.next()}
	for len(entries) < n {
		entries = append(entries, ordering.Entry{Kind: ordering.KindJoined})
	}
	return a.sign(entries...)
}

func (a *author) say(n int) ordering.Verified {
	a.t.Helper()
	v := a.draft(n)
	a.hear(v)
	return v
}

// acting makes, but does not accept, a membership entry.
func (a *author) acting(kind ordering.Kind, body []byte) ordering.Verified {
	e := a.g.Next(a.origin)
	e.Kind, e.Body = kind, body
	return a.sign(e)
}

func (a *author) act(kind ordering.Kind, body []byte) ordering.Verified {
	a.t.Helper()
	v := a.acting(kind, body)
	a.hear(v)
	return v
}

func (a *author) admitBy(invite ordering.InviteKey, b *author) ordering.Verified {
	return a.acting(ordering.KindAdmit, ordering.Admit{Device: b.origin.Device, Invite: invite, Name: "node"}.Encode())
}

func (a *author) admit(b *author) ordering.Verified {
	a.t.Helper()
	v := a.admitBy(a.open, b)
	a.hear(v)
	return v
}

func (a *author) remove(b *author) ordering.Verified {
	a.t.Helper()
	return a.act(ordering.KindRemove, ordering.Remove{Device: b.origin.Device}.Encode())
}

func reason(err error) ordering.Reason {
	var r *ordering.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func last(v ordering.Verified) *ordering.Entry { return v.Run().Last() }

func (a *author) holds(v ordering.Verified) bool { return a.g.HoldsRef(last(v).Ref()) }

// sound checks what must be true of a graph whatever it was given.
func (a *author) sound() {
	a.t.Helper()
	g := a.g
	by := make(map[ordering.Hash]*ordering.Entry)
	named := make(map[ordering.Hash]bool)
	var clock uint64
	for _, v := range a.log {
		for _, e := range v.Run().Entries {
			if by[e.Hash()] != nil {
				continue // the part of the run that was held
			}
			var ts uint64
			refs := slices.Clone(e.Deps)
			if e.Seq > 1 {
				refs = append(refs, ordering.Ref{EntryID: ordering.EntryID{Origin: e.Origin, Seq: e.Seq - 1}, Hash: e.Prev})
			}
			for _, r := range refs {
				d := by[r.Hash]
				if d == nil || d.Ref() != r {
					a.t.Fatalf("%s was accepted before %s", e.ID(), r.EntryID)
				}
				ts, named[r.Hash] = max(ts, d.TS), true
			}
			if e.TS != ts+1 {
				a.t.Fatalf("%s has ts %d, its past %d", e.ID(), e.TS, ts)
			}
			clock = max(clock, e.TS)
			by[e.Hash()] = e
			if h, ok := g.At(e.Ref(), e.Seq); !ok || h != e.Hash() {
				a.t.Fatalf("%s is not on its branch", e.ID())
			}
			if h, ok := g.At(e.Ref(), e.Seq-1); e.Seq > 1 && (!ok || h != e.Prev) {
				a.t.Fatalf("%s is not on the branch of the one before it", e.ID())
			}
		}
	}
	if n := g.have.Count() + uint64(len(g.beside)); n != uint64(len(by)) || g.clock != clock {
		a.t.Fatalf("%d entries and clock %d, want %d and %d", n, g.clock, len(by), clock)
	}
	for o, chain := range g.chains {
		if g.have[o] != uint64(len(chain)) {
			a.t.Fatalf("a chain of %d, have %d", len(chain), g.have[o])
		}
	}
	for id := range by {
		if _, head := g.heads[id]; head == named[id] {
			a.t.Fatalf("%s: head %t, named %t", id, head, named[id])
		}
	}
	if len(g.heads)+len(named) != len(by) {
		a.t.Fatalf("%d heads and %d named of %d", len(g.heads), len(named), len(by))
	}
	a.shelfSound()
}

// shelfSound checks the books of what is parked.
func (a *author) shelfSound() {
	a.t.Helper()
	g := a.g
	var all load
	loads := make(map[ordering.DeviceKey]load)
	waits := 0
	for id, p := range g.parked {
		size := p.run.Run().Size()
		l := loads[p.from]
		loads[p.from] = load{l.runs + 1, l.bytes + size}
		all = load{all.runs + 1, all.bytes + size}
		if id != p.last().Hash || g.HoldsRef(p.last()) {
			a.t.Fatalf("%s is parked and held", id)
		}
		for _, m := range p.missing {
			waits++
			if !slices.Contains(g.waiting[m.Hash], p) {
				a.t.Fatalf("%s does not wait for %s", id, m)
			}
		}
		if !slices.ContainsFunc(p.missing, g.lacks) && (len(p.missing) > 0 || p.needed || g.IsMember(p.last().Origin.Device)) {
			a.t.Fatalf("nothing holds %s back", id)
		}
		if p.needed || g.IsMember(p.last().Origin.Device) {
			for _, m := range p.missing {
				for _, q := range g.parked {
					if holds(q.run.Run(), m) && !q.needed && !g.IsMember(m.Origin.Device) {
						a.t.Fatalf("%s does not know that %s needs it", q.last(), id)
					}
				}
			}
		}
	}
	for m, ps := range g.waiting {
		waits -= len(ps)
		if len(ps) == 0 {
			a.t.Fatalf("nobody waits for %s", m)
		}
	}
	if waits != 0 || len(g.freed) != 0 || all != g.shelf || len(loads) != len(g.loads) {
		a.t.Fatalf("books: %d waits, %d freed, shelf %v %v, %d and %d peers", waits, len(g.freed), all, g.shelf, len(loads), len(g.loads))
	}
	for d, l := range loads {
		if g.loads[d] != l || l.runs > MaxParkedRunsOfPeer || l.bytes > MaxParkedBytesOfPeer {
			a.t.Fatalf("a peer's load is %v, booked %v", l, g.loads[d])
		}
	}
	if all.runs > MaxParkedRuns || all.bytes > MaxParkedBytes {
		a.t.Fatalf("the shelf has %v", all)
	}
}
