package linear

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

var (
	seed   = flag.Int64("seed", 0, "replay the one world of this seed")
	worlds = flag.Int64("worlds", 150, "how many worlds to try")
)

// record is a record of the control log.
type record struct {
	index, term uint64
	command     ordering.Command
}

// world is a room and its control log, in which everything goes wrong that may.
type world struct {
	*scene
	log     []record
	entries map[ordering.Hash]*ordering.Entry
}

// newWorld has people write, admit, remove, repeat and fork at random, and
// leaders propose some of it, often twice, too early or in a closed epoch. In the
// end all that is left is proposed in causal order.
func newWorld(r *rand.Rand) *world {
	s, genesis := newScene()
	w := &world{scene: s, entries: make(map[ordering.Hash]*ordering.Entry)}
	written := []*ordering.Entry{genesis} // extends causality
	origins := []ordering.Origin{s.creator}
	for b := byte(2); b < 7; b++ {
		o := origin(b)
		if b == 6 { // the second device in another instance
			o = origin(2)
			o.Instance[0] = 2
		} else if r.Intn(4) > 0 {
			written = append(written, s.admit(s.creator, o, genesis))
		}
		origins = append(origins, o)
	}
	view := []ordering.Origin{s.creator}
	epoch, term, index := uint64(0), uint64(1), uint64(0)
	propose := func(runs ...ordering.Run) {
		in := epoch
		if r.Intn(12) == 0 {
			in -= min(in, 1)
		}
		w.append(&index, term, &ordering.Batch{Epoch: in, Leader: origins[r.Intn(len(origins))], Runs: runs})
	}
	for range 30 + r.Intn(120) {
		switch n := r.Intn(100); {
		case n < 60:
			written = append(written, w.words(r, origins[r.Intn(len(origins))], written))
		case n < 64: // a fork
			if old := written[r.Intn(len(written))]; old.Seq > 1 {
				for _, prev := range written {
					if prev.Hash() == old.Prev {
						written = append(written, s.after(prev, ordering.Entry{Kind: 41}))
						break
					}
				}
			}
		case n < 90:
			from := r.Intn(len(written))
			some := slices.Clone(written[from:min(len(written), from+1+r.Intn(12))])
			if r.Intn(3) == 0 {
				r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
			}
			propose(grouped(some)...)
		case n < 93:
			w.append(&index, term, nil)
		case n < 96:
			e := &ordering.Epoch{Base: epoch - min(epoch, uint64(r.Intn(3)/2)), Mode: ordering.Leader, View: view}
			if e.N = e.Base + 1; e.Base == epoch {
				epoch++
			}
			w.append(&index, term, e)
		default:
			term++
		}
	}
	for len(written) > 0 {
		n := min(len(written), 20)
		w.append(&index, term, &ordering.Batch{Epoch: epoch, Leader: s.creator, Runs: grouped(written[:n])})
		for _, e := range written[:n] {
			w.entries[e.Hash()] = e
		}
		written = written[n:]
	}
	return w
}

func (w *world) append(index *uint64, term uint64, c ordering.Command) {
	*index++
	w.log = append(w.log, record{*index, term, c})
}

// words makes an origin's next entry.
func (w *world) words(r *rand.Rand, o ordering.Origin, written []*ordering.Entry) *ordering.Entry {
	var deps []*ordering.Entry
	for range r.Intn(3) {
		d := written[r.Intn(len(written))]
		if !slices.ContainsFunc(deps, func(e *ordering.Entry) bool { return e.Origin == d.Origin }) {
			deps = append(deps, d)
		}
	}
	whom := origin(byte(2 + r.Intn(4)))
	switch n := r.Intn(40); {
	case n < 2:
		return w.remove(o, whom, deps...)
	case n < 5:
		return w.admit(o, whom, deps...)
	case n < 7:
		return w.write(o, ordering.Entry{Kind: ordering.KindNull}, deps...)
	case n < 9:
		return w.write(o, ordering.Entry{Kind: 40}, deps...)
	}
	return w.write(o, ordering.Entry{Kind: ordering.KindMessage, Client: stamp(byte(r.Intn(2)), byte(r.Intn(25)))}, deps...)
}

// grouped makes runs of what follows one another.
func grouped(entries []*ordering.Entry) (runs []ordering.Run) {
	for _, e := range entries {
		if n := len(runs) - 1; n >= 0 && runs[n].Last().Hash() == e.Prev {
			runs[n].Entries = append(runs[n].Entries, e)
		} else {
			runs = append(runs, ordering.Run{Entries: []*ordering.Entry{e}})
		}
	}
	return runs
}

// reference is the final list by the words of the protocol, with no thought for
// speed: every question is answered by reading all that was emitted so far.
func (w *world) reference() (list []Final) {
	type emission struct {
		e *ordering.Entry
		f Final
	}
	var all []emission
	lost := make(map[ordering.Hash]bool)
	emitted := func(o ordering.Origin) (n uint64, h ordering.Hash) {
		for _, x := range all {
			if x.e.Origin == o {
				n, h = x.e.Seq, x.e.Hash()
			}
		}
		return n, h
	}
	standing := func(d ordering.DeviceKey) bool {
		in := d == w.creator.Device
		for _, x := range all {
			if x.f.Fate != Silent {
				continue
			}
			a, _ := ordering.DecodeAdmit(x.e.Body)
			in = in || x.e.Kind == ordering.KindAdmit && a.Device == d
			m, _ := ordering.DecodeRemove(x.e.Body)
			if x.e.Kind == ordering.KindRemove && m.Device == d && x.e.Origin.Device == w.creator.Device {
				return false
			}
		}
		return in
	}
	epoch, index, order := uint64(0), uint64(0), ordering.Hash(w.room)
	view := []ordering.Origin{w.creator}
	for _, rec := range w.log {
		if c, ok := rec.command.(*ordering.Epoch); ok && c.Base == epoch {
			epoch, view = c.N, c.View
		}
		b, ok := rec.command.(*ordering.Batch)
		if !ok || b.Epoch != epoch {
			continue
		}
		for _, run := range b.Runs {
			for _, e := range run.Entries {
				n, h := emitted(e.Origin)
				if e.Seq > n && (lost[e.Prev] || e.Seq == n+1 && e.Prev != h) {
					lost[e.Hash()] = true
					list = append(list, Final{ID: e.ID(), Hash: e.Hash(), Fate: Lost, Source: ordering.Source{Epoch: epoch, Term: rec.term, Leader: b.Leader}})
					continue
				}
				ready := e.Seq == n+1
				for _, d := range e.Deps {
					m, _ := emitted(d.Origin)
					ready = ready && (m >= d.Seq || lost[d.Hash])
				}
				if !ready {
					continue
				}
				f := Final{ID: e.ID(), Hash: e.Hash(), Fate: Shown, Source: ordering.Source{Epoch: epoch, Term: rec.term, Leader: b.Leader}}
				switch {
				case !standing(e.Origin.Device):
					f.Fate = Void
				case e.Kind < 16:
					f.Fate = Silent
				}
				for _, x := range all {
					if f.Fate != Shown || x.f.Fate != Shown {
						continue
					}
					if e.Client != nil && x.e.Client != nil && *e.Client == *x.e.Client {
						f.Fate, f.Of = Repeat, x.e.ID()
					}
				}
				if f.Fate == Shown {
					index++
					order = sha256.Sum256(append(order[:], hashOf(e)...))
					f.Index, f.OrderHash, f.Stamp = index, order, DigestOf(e.Client)
					for _, x := range all {
						away := !slices.Contains(view, e.Origin)
						f.Late = f.Late || x.f.Fate == Shown && (x.f.Epoch < epoch || away) && x.e.Origin != e.Origin && e.Key().Compare(x.e.Key()) < 0
					}
				}
				all = append(all, emission{e, f})
				list = append(list, f)
			}
		}
	}
	return list
}

// invariants checks what section 4 says of any list: U2, U4, U5 and P-5.
func (w *world) invariants(list []Final) error {
	emitted := make(ordering.Vector)
	index := uint64(0)
	lost := make(map[ordering.Hash]bool)
	for _, f := range list {
		if f.Fate == Lost {
			lost[f.Hash] = true
			continue
		}
		e := w.entries[f.Hash]
		if e == nil || e.ID() != f.ID {
			return fmt.Errorf("U3: %s is not what was written", f.ID)
		}
		if e.Seq != emitted[e.Origin]+1 {
			return fmt.Errorf("U4: %s is emitted after %d", f.ID, emitted[e.Origin])
		}
		for _, d := range e.Deps {
			if emitted[d.Origin] < d.Seq && !lost[d.Hash] {
				return fmt.Errorf("U5: %s is emitted before %s", f.ID, d.EntryID)
			}
		}
		emitted[e.Origin] = e.Seq
		if f.Fate == Shown {
			if index++; f.Index != index {
				return fmt.Errorf("U1: index %d comes after %d", f.Index, index-1)
			}
		}
	}
	return nil
}

// play has three replicas apply the log: one at a stretch, one that restarts
// from its disk after every record, and one that begins anew from every
// snapshot. To all, old records are delivered again.
func (w *world) play(r *rand.Rand, m mutant.Mutant) error {
	steady, restarting := newReplica(Config{Mutant: m}, w.scene), newReplica(Config{Mutant: m}, w.scene)
	for i, rec := range w.log {
		a, b := steady.apply(rec.term, rec.command), restarting.apply(rec.term, rec.command)
		if !reflect.DeepEqual(a, b) {
			return fmt.Errorf("record %d: %+v in one replica, %+v in another", rec.index, a, b)
		}
		old := w.log[r.Intn(i+1)]
		if again := steady.Apply(old.index, old.term, old.command); !reflect.DeepEqual(again, Applied{}) {
			return fmt.Errorf("record %d did something again: %+v", old.index, again)
		}
		if err := restarting.restart(); err != nil {
			return err
		}
		state := steady.State()
		if !bytes.Equal(state, restarting.State()) {
			return fmt.Errorf("record %d: the states differ", rec.index)
		}
		s, err := ParseState(state)
		if err != nil {
			return err
		}
		_, recent, kept := steady.disk()
		l, err := Resume(steady.cfg, s.Mark, s.Emitted, recent, kept)
		if err != nil {
			return err
		}
		if !bytes.Equal(state, l.State()) || !reflect.DeepEqual(s.Vector(), l.Emitted()) {
			return fmt.Errorf("record %d: the state reads as another", rec.index)
		}
	}
	if err := w.invariants(steady.finals); err != nil {
		return err
	}
	if want := w.reference(); !reflect.DeepEqual(steady.finals, want) {
		return fmt.Errorf("the list is\n%v, want\n%v", steady.finals, want)
	}
	return nil
}

func TestListsAreWhatTheProtocolSays(t *testing.T) {
	from, to := int64(1), *worlds+1
	if *seed != 0 {
		from, to = *seed, *seed+1
	}
	var fate [6]int
	for n := from; n < to; n++ {
		r := rand.New(rand.NewSource(n))
		w := newWorld(r)
		if err := w.play(r, mutant.None); err != nil {
			t.Fatalf("%v\nreplay: go test -tags ci ./ordering/linear -run '%s$' -seed=%d", err, t.Name(), n)
		}
		for _, f := range w.reference() {
			fate[f.Fate]++
		}
	}
	t.Logf("shown %d, silent %d, repeats %d, void %d, lost %d", fate[Shown], fate[Silent], fate[Repeat], fate[Void], fate[Lost])
	if *seed == 0 && slices.Contains(fate[1:], 0) {
		t.Fatal("a fate never came up")
	}
}

func TestEveryMistakeIsFound(t *testing.T) {
	for _, m := range []mutant.Mutant{
		mutant.DeliverGaps, mutant.IgnoreDeps, mutant.AnyBranch, mutant.AnyEpoch, mutant.AnyBase, mutant.EmitTwice, mutant.ApplyAgain,
		mutant.RestartIndex, mutant.ShowRepeats, mutant.ForgetWindow, mutant.KeepRemoved, mutant.VoidActs,
	} {
		t.Run(string(m), func(t *testing.T) {
			for n := int64(1); n <= 200; n++ {
				r := rand.New(rand.NewSource(n))
				if err := newWorld(r).play(r, m); err != nil {
					t.Logf("found in world %d: %.80s", n, err)
					return
				}
			}
			t.Fatal("not found in 200 worlds")
		})
	}
}

func TestIgnoredCheckpointsAreFound(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.None, mutant.IgnoreCheckpoint} {
		s, r := filled(t, 300)
		r.cfg.Mutant = m
		if err := r.restart(); err != nil {
			t.Fatal(err)
		}
		r.apply(1, &ordering.Checkpoint{Index: 256})
		r.apply(1, batch(0, s.say(bob)))
		if went := r.Index() == 301; went != (m == mutant.IgnoreCheckpoint) {
			t.Fatalf("mutant %q: went on %t", m, went)
		}
	}
}
