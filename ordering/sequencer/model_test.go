package sequencer

import (
	"flag"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/linear"
	"tertulia/ordering/mutant"
)

var (
	seed   = flag.Int64("seed", 0, "replay the one world of this seed")
	worlds = flag.Int64("worlds", 60, "how many worlds to try")
)

// world has replicas with a queue and a list each, and one log that loses what
// its leader has not committed when another takes over.
type world struct {
	r        *rand.Rand
	m        mutant.Mutant
	now      time.Time
	nodes    []*node
	leader   int
	term     uint64
	log      []ordering.Command // committed
	inFlight []*ordering.Batch
	written  map[ordering.Origin][]*ordering.Entry
	runs     []ordering.Run // in causal order
}

type node struct {
	o       ordering.Origin
	q       *Queue
	l       *linear.List
	held    ordering.Vector
	applied int
}

func newWorld(r *rand.Rand, m mutant.Mutant) *world {
	w := &world{r: r, m: m, now: start, term: 1, written: make(map[ordering.Origin][]*ordering.Entry)}
	for i := range 3 {
		o := origin(byte(i + 1))
		w.nodes = append(w.nodes, &node{o: o, q: New(Config{Self: o, Mutant: m}),
			l: linear.New(linear.Config{}, ordering.Leader, origin(1)), held: make(ordering.Vector)})
	}
	w.nodes[0].q.Lead()
	return w
}

// write has a node say a run that depends on what it holds; the others hear it
// later.
func (w *world) write(n *node) {
	var r ordering.Run
	for range 1 + w.r.Intn(4) {
		chain := w.written[n.o]
		e := ordering.Entry{Origin: n.o, Seq: uint64(len(chain)) + 1, TS: 1, Kind: 40, Body: make([]byte, w.r.Intn(8_000))}
		if len(chain) > 0 {
			e.Prev = chain[len(chain)-1].Hash()
		}
		for _, o := range n.held.Origins() {
			if s := n.held[o]; o != n.o && w.r.Intn(2) == 0 {
				e.Deps = append(e.Deps, w.written[o][s-1].Ref())
			}
		}
		x := ordering.Seal(e)
		w.written[n.o] = append(chain, x)
		r.Entries = append(r.Entries, x)
	}
	w.runs = append(w.runs, r)
	w.take(n, r)
}

// take accepts a run if its past is held.
func (w *world) take(n *node, r ordering.Run) {
	if r.First().Seq != n.held[r.Origin()]+1 {
		return
	}
	for _, e := range r.Entries {
		for _, d := range e.Deps {
			if n.held[d.Origin] < d.Seq {
				return
			}
		}
	}
	n.held[r.Origin()] = r.Last().Seq
	n.q.Add(r, w.now)
}

// lead has the leader propose what it has.
func (w *world) lead() {
	n := w.nodes[w.leader]
	for {
		b, ok := n.q.Next(w.now, n.l.Epoch().N)
		if wants := n.q.Missing(); len(wants) > 0 {
			n.q.Loaded(w.load(wants))
			continue
		}
		if !ok {
			return
		}
		if w.r.Intn(5) == 0 {
			n.q.Dropped(b, w.now)
			return
		}
		if _, err := ordering.DecodeCommand(ordering.EncodeCommand(b)); err != nil {
			panic(err) // over a limit
		}
		w.inFlight = append(w.inFlight, b)
		n.q.Proposed(b)
	}
}

func (w *world) load(wants []ordering.Want) (runs []ordering.Run) {
	for _, r := range w.runs {
		if slices.ContainsFunc(wants, func(x ordering.Want) bool { return x.Origin == r.Origin() && x.After < r.First().Seq }) {
			runs = append(runs, r)
		}
	}
	return runs
}

// apply has a node apply the next committed record, whose runs it then holds.
func (w *world) apply(n *node) {
	if n.applied == len(w.log) {
		return
	}
	c := w.log[n.applied]
	n.applied++
	if b, ok := c.(*ordering.Batch); ok {
		for _, r := range b.Runs {
			w.take(n, r)
		}
	}
	a := n.l.Apply(uint64(n.applied), w.term, c)
	n.q.Emitted(n.l.Emitted())
	if n != w.nodes[w.leader] {
		return
	}
	if b, ok := c.(*ordering.Batch); ok && b.Leader == n.o {
		if a.Skipped {
			n.q.Reset()
		}
		n.q.Settled()
	}
	if a.Opened {
		n.q.Reset()
	}
}

// step lets one thing happen.
func (w *world) step(faults bool) {
	n := w.nodes[w.r.Intn(len(w.nodes))]
	switch w.r.Intn(8) {
	case 0:
		if faults {
			w.write(n)
		}
	case 1, 2: // hearsay, which may be lost
		if faults && len(w.runs) > 0 {
			w.take(n, w.runs[w.r.Intn(len(w.runs))])
		}
	case 3:
		w.lead()
	case 4:
		if len(w.inFlight) > 0 {
			w.log = append(w.log, w.inFlight[0])
			w.inFlight = w.inFlight[1:]
		}
	case 5:
		w.apply(n)
	case 6: // followers offer the leader what is not sequenced
		w.now = w.now.Add(time.Duration(w.r.Intn(400)) * ms)
		if n == w.nodes[w.leader] {
			return
		}
		runs := n.q.Overdue(w.now)
		if wants := n.q.Missing(); len(wants) > 0 {
			n.q.Loaded(w.load(wants))
		}
		for _, r := range runs {
			w.take(w.nodes[w.leader], r)
		}
	case 7:
		if !faults || w.r.Intn(4) > 0 {
			return
		}
		switch w.r.Intn(3) {
		case 0: // another leads: what is in flight is lost, the rest applied first
			w.leader = w.r.Intn(len(w.nodes))
			w.term++
			w.inFlight = nil
			for l := w.nodes[w.leader]; l.applied < len(w.log); {
				w.apply(l)
			}
			w.nodes[w.leader].q.Lead()
		case 1: // a new epoch, behind what is in flight
			l := w.nodes[w.leader]
			if len(w.inFlight) == 0 {
				for l.applied < len(w.log) {
					w.apply(l)
				}
				at := l.l.Epoch().N
				w.log = append(w.log, &ordering.Epoch{N: at + 1, Base: at, Mode: ordering.Leader, View: []ordering.Origin{l.o}})
			}
		case 2: // a follower restarts: the bodies are on disk
			if n != w.nodes[w.leader] {
				n.q = New(Config{Self: n.o, Mutant: w.m})
				for _, r := range w.runs {
					if r.Last().Seq <= n.held[r.Origin()] && r.Last().Seq > n.l.Emitted()[r.Origin()] {
						n.q.Known(r.Last().Ref(), r.First().Seq, w.now)
					}
				}
			}
		}
	}
}

// sound checks the limits of a queue and its books.
func (w *world) sound(n *node) error {
	q := n.q
	bodies, gone := 0, 0
	for _, r := range q.runs {
		bodies += r.size
		if r.gone {
			gone++
		}
	}
	chained := 0
	for _, c := range q.chains {
		chained += len(c)
	}
	if bodies != q.bodies || gone != q.gone || chained != q.Len() || q.inFlight > InFlight || len(q.offers) > 2*len(q.runs)+2 {
		return fmt.Errorf("books: %d and %d bytes, %d and %d gone, %d and %d runs, %d in flight, %d offers of %d",
			bodies, q.bodies, gone, q.gone, chained, q.Len(), q.inFlight, len(q.offers), len(q.runs))
	}
	return nil
}

// settled reports whether everything is final everywhere.
func (w *world) settled() bool {
	for _, n := range w.nodes {
		for o, chain := range w.written {
			if n.l.Emitted()[o] < uint64(len(chain)) {
				return false
			}
		}
	}
	return true
}

// play lets things go wrong for a while and then wants everything final (U8).
func (w *world) play() error {
	const faulty, patient = 600, 20_000 // steps
	for i := 0; i < faulty || i < patient && !w.settled(); i++ {
		w.step(i < faulty)
		for _, n := range w.nodes {
			if err := w.sound(n); err != nil {
				return err
			}
		}
	}
	for _, n := range w.nodes {
		for o, chain := range w.written {
			if got := n.l.Emitted()[o]; got != uint64(len(chain)) {
				return fmt.Errorf("U8: %d of %d entries of %d are final", got, len(chain), o.Device[0])
			}
		}
		if n.l.OrderHash() != w.nodes[0].l.OrderHash() || n.q.Len() != 0 {
			return fmt.Errorf("the lists differ, or %d runs are left", n.q.Len())
		}
	}
	return nil
}

func TestEverythingBecomesFinal(t *testing.T) {
	from, to := int64(1), *worlds+1
	if *seed != 0 {
		from, to = *seed, *seed+1
	}
	for n := from; n < to; n++ {
		if err := newWorld(rand.New(rand.NewSource(n)), mutant.None).play(); err != nil {
			t.Fatalf("%v\nreplay: go test -tags ci ./ordering/sequencer -run '%s$' -seed=%d", err, t.Name(), n)
		}
	}
}

func TestEveryMistakeLosesAnEntry(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.ForwardAndForget, mutant.KeepProposed, mutant.LostTail} {
		t.Run(string(m), func(t *testing.T) {
			for n := int64(1); n <= 200; n++ {
				if err := newWorld(rand.New(rand.NewSource(n)), m).play(); err != nil {
					t.Logf("found in world %d: %v", n, err)
					return
				}
			}
			t.Fatal("not found in 200 worlds")
		})
	}
}
