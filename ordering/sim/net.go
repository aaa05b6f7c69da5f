package sim

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/room"
)

// Times of the network and of the failure detector (B1).
const (
	beatEvery    = 100 * time.Millisecond // heartbeats
	suspectLeast = 300 * time.Millisecond // silence before suspicion
	suspectMost  = 400 * time.Millisecond
	resetLeast   = 60 * time.Millisecond // the same after a process died and its host says so
	resetMost    = 90 * time.Millisecond
	hangUpAfter  = time.Second // suspicion before a session is given up
	dialMost     = 200 * time.Millisecond
	fetchTimeout = time.Second
	heldMost     = 512 // messages a jammed link holds
)

// link is one direction between two nodes.
type link struct {
	i, j   int
	cuts   int // faults that cut it now
	jams   int // faults that hold it up now
	delay  time.Duration
	jitter time.Duration
	slow   time.Duration // added by a fault
	loss   float64
	double float64
	unruly bool // messages overtake one another
	last   time.Duration
	held   []func()
	clear  bool // the sender runs, and nothing holds up what it sends
	passes bool // heartbeats get through
}

// side is what one node thinks of another.
type side struct {
	session   uint64 // 0: not connected
	suspected bool
	since     time.Duration // of suspected, or of the session
	lasted    time.Duration // how long it had been heard before it was suspected last
	vital     room.Vital    // as last heard
	watch     int           // version of the suspicion under way
}

func (w *World) newLink(i, j int, r *rand.Rand) *link {
	l := &link{i: i, j: j}
	l.delay = 200*time.Microsecond + time.Duration(r.Int64N(int64(w.plan.delay)))
	l.jitter = time.Duration(r.Int64N(int64(l.delay) + 1))
	return l
}

func (l *link) open() bool { return l.cuts == 0 && l.jams == 0 }

// flight is how long a message takes.
func (w *World) flight(l *link) time.Duration {
	d := l.delay + l.slow
	if l.jitter > 0 {
		d += time.Duration(w.net.Int64N(int64(l.jitter)))
	}
	return d
}

// send puts a message on its way to a peer.
func (n *node) send(m room.Envelope) {
	w := n.w
	to := w.find(m.To)
	if to == nil || to == n {
		w.failf(n.i, "U14", "sends to nobody: %s", w.describe(m.Msg))
		return
	}
	w.stats.Messages++
	w.canon.said(n, m.Msg)
	s, l := n.sides[to.i].session, w.links[n.i][to.i]
	if w.tracing() {
		fate := ""
		if s == 0 {
			fate = " (not connected)"
		}
		w.note(n.i, "  -> n%d %s%s", to.i, w.describe(m.Msg), fate)
	}
	if s == 0 {
		return
	}
	m.Msg = n.equivocate(to, m.Msg)
	copies := 1
	if l.loss > 0 && w.net.Float64() < l.loss {
		return
	}
	if l.double > 0 && w.net.Float64() < l.double {
		copies = 2
	}
	if sig, ok := m.Msg.(ordering.Signal); ok { // as it comes from the wire
		back, err := ordering.DecodeSignal(ordering.EncodeSignal(sig))
		if err != nil {
			w.failf(n.i, "U14", "says what is no signal: %s: %v", w.describe(m.Msg), err)
			return
		}
		m.Msg = back
	}
	for range copies {
		w.carry(l, func() { to.hear(n, s, m.Msg) })
	}
	w.linger(n, to, m.Msg)
}

// carry moves something over a link, in order unless the link is unruly.
func (w *World) carry(l *link, arrive func()) {
	if !l.open() {
		if (l.jams > 0 || w.plan.stream) && len(l.held) < heldMost {
			l.held = append(l.held, arrive)
		}
		return
	}
	at := w.now + w.flight(l)
	if !l.unruly {
		at = max(at, l.last)
		l.last = at
	}
	w.after(at-w.now, arrive)
}

// hear hands a message to the process, unless its session is over.
func (n *node) hear(from *node, session uint64, m ordering.Message) {
	w := n.w
	if n.sides[from.i].session != session {
		return
	}
	n.input("hear", func() {
		if n.core == nil || n.sides[from.i].session != session {
			return
		}
		if w.tracing() {
			w.note(n.i, "<- n%d %s", from.i, w.describe(m))
		}
		if p, ok := m.(*ordering.Push); ok {
			n.receive(from.self.Device, p.Run)
			return
		}
		n.heed(from, m)
	})
}

// heed hands a signal to the core. A refusal of what an honest peer says is a
// defect, but for the words of those who are no members any more.
func (n *node) heed(from *node, m ordering.Message) {
	err := n.core.Hear(n.clock(), from.self.Device, m)
	if err == nil {
		return
	}
	n.w.note(n.i, "refuses %s: %v", n.w.describe(m), err)
	n.w.stats.Refused++
	var refusal *ordering.Refusal
	renewed := n.instance > 0 || n.w.faults.Has(Wipe) || n.w.faults.Has(OldImage) || n.w.faults.Has(Fork) // some still speak to the old instance
	if !renewed && errors.As(err, &refusal) && (refusal.Reason == ordering.Malformed || refusal.Reason == ordering.Oversize || refusal.Reason == ordering.BadSignature) {
		n.w.failf(n.i, "U8", "refuses what an honest replica says: %s: %v", n.w.describe(m), err)
	}
}

// receive takes a run that came live. It was verified when it was written.
func (n *node) receive(from ordering.DeviceKey, r ordering.Run) {
	v, ok := n.w.runs[r.Last().Hash()]
	if !ok {
		n.w.failf(n.i, "U3", "%s comes from nowhere", n.w.id(r.Last().ID()))
		return
	}
	n.expect(n.core.Receive(n.clock(), from, v))
}

// expect allows what honest replicas may answer one another.
func (n *node) expect(err error) {
	var refusal *ordering.Refusal
	if err == nil || errors.As(err, &refusal) && slices.Contains(n.w.tolerated(), refusal.Reason) {
		return
	}
	n.w.failf(n.i, "U8", "refuses an honest run: %v", err)
}

func (w *World) tolerated() []ordering.Reason {
	if w.faults.Has(OldImage) || w.faults.Has(Fork) { // a chain may have two branches
		return []ordering.Reason{ordering.Duplicate, ordering.Fork}
	}
	return []ordering.Reason{ordering.Duplicate}
}

// refresh looks whether heartbeats from i get to j, and lets j's detector take
// note. They travel in a session: who has hung up beats no more.
func (w *World) refresh(i, j int) {
	if i == j {
		return
	}
	l := w.links[i][j]
	from, to := w.nodes[i], w.nodes[j]
	clear := from.runs() && l.open()
	if clear && !l.clear {
		w.consider(i, j)
	}
	l.clear = clear
	s := from.sides[j].session
	passes := clear && s != 0 && (to.sides[i].session == s || to.sides[i].session == 0)
	if passes == l.passes {
		return
	}
	l.passes = passes
	w.moved = true
	if passes {
		from.changed()
		to.regain(from, w.flight(l)+time.Duration(w.net.Int64N(int64(beatEvery))))
		return
	}
	least, most := suspectLeast, suspectMost
	reset := from.state == dead && l.open() && w.links[j][i].open()
	if reset {
		least, most = resetLeast, resetMost
	}
	to.miss(from, least+time.Duration(w.net.Int64N(int64(most-least))), reset)
}

// refreshAll looks at all links from and to a node.
func (w *World) refreshAll(i int) {
	for j := range w.nodes {
		w.refresh(i, j)
		w.refresh(j, i)
	}
}

// miss lets n suspect a peer after a silence, and hang up later.
func (n *node) miss(peer *node, after time.Duration, reset bool) {
	w, s := n.w, &n.sides[peer.i]
	s.watch++
	watch, life := s.watch, n.life
	stale := func() bool { return n.life != life || s.watch != watch || !n.runs() }
	w.after(after, func() {
		if stale() || s.session == 0 {
			return
		}
		n.suspect(peer, true)
		wait := hangUpAfter
		if reset {
			wait = 10 * time.Millisecond
		}
		w.after(wait, func() {
			if !stale() && s.session != 0 {
				n.hangUp(peer)
			}
		})
	})
}

// regain ends a suspicion when heartbeats are heard again.
func (n *node) regain(peer *node, after time.Duration) {
	s := &n.sides[peer.i]
	s.watch++
	watch, life := s.watch, n.life
	n.w.after(after, func() {
		if n.life == life && s.watch == watch && s.suspected && s.session != 0 {
			n.suspect(peer, false)
		}
	})
}

// suspect tells the core, and with the next heartbeat the others.
func (n *node) suspect(peer *node, yes bool) {
	s := &n.sides[peer.i]
	if s.suspected == yes {
		return
	}
	if yes {
		s.lasted = n.w.now - s.since
	}
	s.suspected, s.since = yes, n.w.now
	n.w.moved = true
	n.w.note(n.i, "suspects n%d: %t", peer.i, yes)
	n.observe(peer)
	n.changed()
}

// observe tells the core what is known of a connected peer.
func (n *node) observe(peer *node) {
	n.input("observe", func() {
		s := &n.sides[peer.i]
		if n.core == nil || s.session == 0 {
			return
		}
		v := s.vital
		v.Suspected = s.suspected
		n.core.Observe(n.clock(), peer.self.Device, v)
	})
}

// hangUp ends n's side of the session; the peer learns it if it can.
func (n *node) hangUp(peer *node) {
	w := n.w
	session := n.sides[peer.i].session
	n.lose(peer)
	if w.links[n.i][peer.i].open() {
		w.after(w.flight(w.links[n.i][peer.i]), func() {
			if peer.sides[n.i].session == session && peer.runs() {
				peer.lose(n)
			}
		})
	}
	w.consider(n.i, peer.i)
}

// lose ends n's side of the session with peer.
func (n *node) lose(peer *node) {
	s := &n.sides[peer.i]
	if s.session == 0 {
		return
	}
	s.session, s.suspected, s.vital = 0, false, room.Vital{}
	n.w.moved = true
	s.watch++
	n.w.note(n.i, "disconnected from n%d", peer.i)
	device := peer.self.Device
	n.input("disconnect", func() {
		if n.core != nil {
			n.core.Disconnect(n.clock(), device)
		}
	})
	n.changed()
	n.w.consider(n.i, peer.i)
}

// consider lets one of two nodes dial the other soon.
func (w *World) consider(i, j int) {
	a, b := w.nodes[min(i, j)], w.nodes[max(i, j)]
	if a.dialing[b.i] {
		return
	}
	a.dialing[b.i] = true
	w.after(5*time.Millisecond+time.Duration(w.net.Int64N(int64(dialMost))), func() {
		a.dialing[b.i] = false
		w.dial(a, b)
	})
}

func (w *World) dial(a, b *node) {
	there, back := w.links[a.i][b.i], w.links[b.i][a.i]
	sa, sb := &a.sides[b.i], &b.sides[a.i]
	if !a.runs() || !b.runs() || !there.open() || !back.open() || !a.knows(b) || !b.knows(a) {
		return
	}
	if sa.session != 0 && sa.session == sb.session {
		return
	}
	a.lose(b)
	b.lose(a)
	w.sess++
	session := w.sess
	a.meet(b, session)
	w.after(w.flight(there), func() {
		if sa.session != session || !b.runs() {
			return
		}
		if sb.session == 0 {
			b.meet(a, session)
		}
	})
}

// meet opens n's side of a session.
func (n *node) meet(peer *node, session uint64) {
	w, s := n.w, &n.sides[peer.i]
	s.session, s.suspected, s.since = session, false, w.now
	w.moved = true
	s.vital = room.Vital{DiskOK: true, RTT: w.links[n.i][peer.i].delay + w.links[peer.i][n.i].delay}
	w.note(n.i, "connected with n%d", peer.i)
	w.refresh(n.i, peer.i)
	w.refresh(peer.i, n.i)
	n.input("connect", func() {
		if n.core != nil && s.session == session {
			n.core.Connect(n.clock(), peer.self.Device)
		}
	})
	n.observe(peer)
	n.changed()
	peer.changed()
	if !w.links[peer.i][n.i].passes {
		n.miss(peer, suspectMost, false)
	}
}

// changed lets n tell its peers with the next heartbeat how it fares.
func (n *node) changed() {
	if n.beating {
		return
	}
	n.beating = true
	life := n.life
	n.w.after(beatEvery-(n.w.now+n.phase)%beatEvery, func() {
		if n.life != life {
			return
		}
		n.beating = false
		if n.runs() {
			n.beat()
		}
	})
}

func (n *node) beat() {
	w := n.w
	v := room.Vital{DiskOK: n.diskOK(), Draining: n.draining}
	for j := range w.nodes {
		if s := &n.sides[j]; s.session != 0 && !s.suspected {
			v.Hears = append(v.Hears, w.nodes[j].self.Device)
		}
	}
	for j, peer := range w.nodes {
		s, l := n.sides[j].session, w.links[n.i][j]
		if s == 0 || !l.passes {
			continue
		}
		v := v
		v.RTT = l.delay + w.links[j][n.i].delay
		w.after(w.flight(l), func() {
			if peer.sides[n.i].session == s && peer.runs() {
				peer.sides[n.i].vital = v
				peer.observe(n)
			}
		})
	}
}

// serve answers a fetch from the other's disk, a page at a time.
func (n *node) serve(f room.Fetch) {
	w, peer := n.w, n.w.find(f.From)
	w.note(n.i, "  fetch from n%d", peer.i)
	n.ask(peer, func() func() {
		page := peer.disk.page(f.Wants, 1+w.net.IntN(pageRuns))
		return func() {
			w.note(n.i, "fetched %d runs from n%d", len(page), peer.i)
			for _, v := range page {
				n.expect(n.core.Pulled(n.clock(), f.From, v))
			}
			n.core.Fetched(n.clock(), f.From, nil)
		}
	}, func(err error) { n.core.Fetched(n.clock(), f.From, err) })
}

// serveFinals answers a wish for a part of the final list.
func (n *node) serveFinals(f room.FetchFinals) {
	w, peer := n.w, n.w.find(f.From)
	w.note(n.i, "  fetch finals after %d from n%d", f.After, peer.i)
	n.ask(peer, func() func() {
		part := peer.disk.listed(w.canon, f.After, 1+w.net.IntN(pageFinals))
		return func() {
			if len(part) > 0 {
				n.core.FinalsPulled(n.clock(), f.From, f.After+1, part)
			}
			n.core.FinalsEnded(n.clock(), f.From, nil)
		}
	}, func(err error) { n.core.FinalsEnded(n.clock(), f.From, err) })
}

var errTimeout = errors.New("sim: timed out")

// ask makes a round trip to a peer, which reads its disk on the way.
func (n *node) ask(peer *node, read func() func(), failed func(error)) {
	w, life, session := n.w, n.life, n.sides[peer.i].session
	there, back := w.links[n.i][peer.i], w.links[peer.i][n.i]
	end := func(d time.Duration, f func()) {
		w.after(d, func() {
			n.input("answer", func() {
				if n.life == life && n.core != nil {
					f()
				}
			})
		})
	}
	fail := func() { end(fetchTimeout, func() { failed(errTimeout) }) }
	reach := func() bool {
		lost := there.loss > 0 && w.net.Float64() < there.loss
		return n.life == life && session != 0 && n.sides[peer.i].session == session && peer.sides[n.i].session == session &&
			peer.runs() && there.open() && back.open() && !lost
	}
	w.after(w.flight(there), func() {
		if !reach() {
			fail()
			return
		}
		f := read()
		w.after(w.flight(back), func() {
			if !reach() {
				fail()
				return
			}
			end(0, f)
		})
	})
}

func (w *World) find(d ordering.DeviceKey) *node {
	for _, n := range w.nodes {
		if n.self.Device == d {
			return n
		}
	}
	return nil
}

// release lets go what an opened link held up, in a burst.
func (w *World) release(l *link) {
	if !l.open() {
		return
	}
	held := l.held
	l.held = nil
	for _, f := range held {
		w.carry(l, f)
	}
}

// cut and mend change what holds a link up, and let the detectors take note.
func (w *World) cut(i, j int) {
	w.links[i][j].cuts++
	w.refresh(i, j)
}

func (w *World) mend(i, j int) {
	l := w.links[i][j]
	if l.cuts > 0 {
		l.cuts--
	}
	w.release(l)
	w.refresh(i, j)
}

func (w *World) jam(i, j int) {
	w.links[i][j].jams++
	w.refresh(i, j)
}

func (w *World) unjam(i, j int) {
	l := w.links[i][j]
	if l.jams > 0 {
		l.jams--
	}
	w.release(l)
	w.refresh(i, j)
}

// publish spreads a hint as gossip does: to some of those it can reach.
func (n *node) publish(r ordering.Run) {
	w := n.w
	for _, to := range w.nodes {
		if to == n || to.core == nil || !w.reaches(n.i, to.i) || w.net.IntN(3) == 0 {
			continue
		}
		w.after(w.flight(w.links[n.i][to.i]), func() {
			to.input("gossip", func() {
				if to.core != nil {
					to.receive(n.self.Device, r)
				}
			})
		})
	}
}

// reaches reports whether what i sends may get to j by way of others.
func (w *World) reaches(i, j int) bool {
	return w.reach(i)&(1<<j) != 0
}

// reach returns the set of nodes that i's heartbeats could get to if all passed
// them on.
func (w *World) reach(i int) uint32 {
	seen, next := uint32(1<<i), []int{i}
	for len(next) > 0 {
		k := next[0]
		next = next[1:]
		for j := range w.nodes {
			if seen&(1<<j) == 0 && w.links[k][j].passes && w.nodes[j].runs() {
				seen |= 1 << j
				next = append(next, j)
			}
		}
	}
	return seen
}
