package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
	"tertulia/ordering/room"
)

// Ordering says how the room of a world is ordered.
type Ordering uint8

// The orderings.
const (
	Led        Ordering = iota // by a leader
	Leaderless                 // by all members of a view
	Mixed                      // by turns: its creator switches while faults strike
)

var orderingNames = [...]string{"leader", "lamport", "mixed"}

// String returns the ordering's name.
func (o Ordering) String() string { return orderingNames[o] }

// ParseOrdering reads what String wrote.
func ParseOrdering(s string) (Ordering, error) {
	i := slices.Index(orderingNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("sim: no ordering is called %q", s)
	}
	return Ordering(i), nil
}

// OrderingOf returns the ordering that a seed chooses where nothing else does.
func OrderingOf(seed uint64) Ordering {
	return Ordering(dice(seed, ofOrdering).IntN(len(orderingNames)))
}

// The purposes of chance of worlds that are not led alone.
const (
	ofOrdering = 2000 + iota
	ofEpochs
)

// epochs is what besets a world's Lamport epochs, besides its faults.
type epochs struct {
	dice     *rand.Rand
	begins   ordering.Mode
	switches int     // in the second act, at most
	linger   float64 // how many of the messages about an epoch come once more, late
	ambush   float64 // at how many steps of a view change whoever takes it dies
	era      int     // when this is on
}

// The delays of a message that lingers.
const (
	lingerLeast = 20 * time.Millisecond
	lingerMost  = 4 * time.Second
)

// chooseOrdering settles how the room is ordered, and what besets its epochs. A
// world that is led draws nothing.
func (w *World) chooseOrdering() {
	e := &w.epochs
	e.begins, e.era = ordering.Leader, -1
	if w.opt.Ordering == Led {
		return
	}
	r := dice(w.opt.Seed, ofEpochs)
	e.dice, e.begins = r, ordering.Lamport
	if w.opt.Ordering == Mixed {
		e.switches = 1 + r.IntN(6)
		if r.IntN(3) == 0 {
			e.begins = ordering.Leader
		}
	}
	if r.IntN(2) == 0 {
		e.linger = r.Float64() / 4
	}
	if r.IntN(2) == 0 {
		e.ambush = r.Float64() / 5
	}
	if r.IntN(4) > 0 && w.plan.waits != (room.Waits{}) { // many views
		w.plan.waits.Evict = within(r, 50*time.Millisecond, time.Second)
		w.plan.waits.Readmit = within(r, 50*time.Millisecond, w.plan.waits.Stable)
	}
	w.plan.says *= 1 + r.IntN(3)
}

// planEpochs begins what besets the epochs in the second act.
func (w *World) planEpochs() {
	e := &w.epochs
	if w.opt.Ordering == Led {
		return
	}
	e.era = w.era
	for range e.switches {
		mode := ordering.Mode(1 + e.dice.IntN(2))
		w.during(time.Duration(e.dice.Int64N(int64(w.plan.safety))), func() { w.switchTo(mode) })
	}
}

// besets reports whether the epochs are beset now.
func (w *World) besets() bool { return w.opt.Ordering != Led && w.epochs.era == w.era }

// switchTo has the creator ask for another order.
func (w *World) switchTo(mode ordering.Mode) {
	w.creator().say("switch", room.Draft{Kind: ordering.KindSwitch, Body: ordering.Switch{Mode: mode}.Encode()})
}

// linger lets a message about an epoch come once more, late, perhaps in another
// session.
func (w *World) linger(from, to *node, m ordering.Message) {
	e := &w.epochs
	if !w.besets() || e.linger == 0 || !aboutEpoch(m) || e.dice.Float64() > e.linger {
		return
	}
	instance, receiver := from.instance, to.instance
	w.during(within(e.dice, lingerLeast, lingerMost), func() {
		if from.instance != instance {
			return
		}
		to.input("late", func() {
			if to.core != nil && to.instance == receiver {
				if w.tracing() {
					w.note(to.i, "<- n%d late: %s", from.i, w.describe(m))
				}
				to.heed(from, m)
			}
		})
	})
}

func aboutEpoch(m ordering.Message) bool {
	switch m.(type) {
	case *ordering.Ack, *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
		return true
	}
	return false
}

// ambush arms the death of a process at a step of a view change: what its commit
// or message is about.
func (n *node) ambush(r *room.Ready) {
	w := n.w
	e := &w.epochs
	if !w.besets() || e.ambush == 0 || !steps(r) || e.dice.Float64() > e.ambush {
		return
	}
	w.shaken = true
	back := within(e.dice, 10*time.Millisecond, 3*time.Second)
	if e.dice.IntN(4) == 0 {
		w.during(time.Duration(e.dice.Int64N(int64(5*time.Millisecond))), n.freeze)
		w.during(back, n.thaw)
		return
	}
	at := []boundary{duringCommit, afterCommit, betweenSends, beforeAdvance}
	n.doom, n.doomIn, n.back = at[e.dice.IntN(len(at))], 1, back
	if n.doom == betweenSends {
		n.doomIn += e.dice.IntN(3)
	}
}

// speakEarly is the mistake of an owner that acknowledges before the commit, which
// no core can make (L3): it says all at once.
func (n *node) speakEarly(r *room.Ready) {
	if n.w.opt.Mutant != mutant.AckEarly || !r.Durable() {
		return
	}
	for _, m := range r.Send {
		if _, ack := m.Msg.(*ordering.Ack); ack {
			n.send(m)
		}
	}
}

// steps reports whether a Ready has a step of a view change in it.
func steps(r *room.Ready) bool {
	if r.Seal != nil {
		return true
	}
	for i := range r.Control.Append {
		if epochOf(r.Control.Append[i].Data) != nil {
			return true
		}
	}
	for _, m := range r.Send {
		if _, ack := m.Msg.(*ordering.Ack); !ack && aboutEpoch(m.Msg) {
			return true
		}
	}
	return false
}

// epochOf reads a record that opens an epoch, nil if it is none.
func epochOf(data []byte) *ordering.Epoch {
	if len(data) < 2 || data[1] != 1 {
		return nil
	}
	c, err := ordering.DecodeCommand(data)
	if err != nil {
		return nil
	}
	e, _ := c.(*ordering.Epoch)
	return e
}

// meets reports whether the nodes include a member of every view that is open or
// may be yet: without one the epoch cannot be closed (L9).
func (w *World) meets(nodes []*node) bool {
	if w.opt.Ordering == Led {
		return true
	}
	open := uint64(0)
	for n := range w.canon.epochal.views {
		open = max(open, n)
	}
	met := func(e view) bool {
		return e.mode == ordering.Leader || slices.ContainsFunc(nodes, func(n *node) bool { return slices.Contains(e.members, n.self) })
	}
	if e, known := w.canon.epochal.views[open]; known && !met(e) {
		return false
	}
	for _, x := range w.canon.held {
		if e := epochOf(x.data); e != nil && e.N > open && !met(view{e.Mode, e.View}) {
			return false
		}
	}
	return true
}

// unswitched says who does not have the order that was asked for last: "" for
// nobody.
func (w *World) unswitched(nodes []*node) string {
	want := w.epochs.begins
	for i := range w.canon.order {
		e := w.canon.wrote[w.canon.order[i].hash]
		if s, err := ordering.DecodeSwitch(e.Body); e.Kind == ordering.KindSwitch && err == nil {
			want = s.Mode
		}
	}
	for _, n := range nodes {
		if n.core == nil {
			return fmt.Sprintf("n%d has no core", n.i)
		}
		if o := n.core.Order(); o.Mode != want {
			return fmt.Sprintf("n%d is in mode %d, not %d, in epoch %d%s", n.i, o.Mode, want, o.Epoch, w.standings())
		}
	}
	return ""
}

// switched is the part of the last act in which the room must have the order that
// was asked for last.
func (w *World) switched(all []*node) {
	if w.opt.Ordering != Mixed || w.fail != nil {
		return
	}
	bound := 30*time.Second + 2*w.stable()
	if !w.run(bound, func() bool { return w.unswitched(all) == "" && w.lacks(all) == "" }) && w.fail == nil {
		w.failf(-1, "U8", "after %s: %s%s", bound, w.unswitched(all), w.lacks(all))
	}
}

// describeEpochal says a message about an epoch in a few words.
func (w *World) describeEpochal(m ordering.Message) string {
	switch m := m.(type) {
	case *ordering.Ack:
		s := fmt.Sprintf("ack epoch=%d clock=%d have=%s", m.Epoch, m.Clock, describeTips(m.Have))
		if m.Sealed {
			s += " sealed"
		}
		if m.Ask {
			s += " ask"
		}
		return s
	case *ordering.SealAsk:
		return fmt.Sprintf("SEAL epoch=%d term=%d", m.Epoch, m.Term)
	case *ordering.SealOK:
		return fmt.Sprintf("SEALOK epoch=%d term=%d have=%s", m.Epoch, m.Term, describeTips(m.Have))
	case *ordering.CutWant:
		return fmt.Sprintf("CUTWANT epoch=%d term=%d cut=%s", m.Epoch, m.Term, describeTips(m.Cut))
	case *ordering.CutHave:
		return fmt.Sprintf("CUTHAVE epoch=%d term=%d have=%s", m.Epoch, m.Term, describeTips(m.Have))
	}
	return "?"
}

func describeTips(tips []ordering.Tip) string {
	var s []string
	for _, t := range tips {
		s = append(s, fmt.Sprint(t.Seq))
	}
	return "[" + strings.Join(s, " ") + "]"
}

// describeEpoch says what an epoch's record says besides its number.
func (w *World) describeEpoch(e *ordering.Epoch) string {
	s := ""
	if e.Mode == ordering.Lamport {
		s = " lamport"
	}
	if len(e.Cut) > 0 {
		var cut []string
		for _, r := range e.Cut {
			cut = append(cut, w.id(r.EntryID))
		}
		s += " cut " + strings.Join(cut, " ")
	}
	return s
}

// switchOrder has the creator ask for another order: switch lamport.
func (s *script) switchOrder(args []string) error {
	mode, err := modeOf(strings.Join(args, " "))
	if err == nil {
		s.w.switchTo(mode)
	}
	return err
}

// modeOf reads a mode's name.
func modeOf(name string) (ordering.Mode, error) {
	for _, m := range []ordering.Mode{ordering.Lamport, ordering.Leader} {
		if modeNames[m] == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%q is neither lamport nor leader", name)
}

var modeNames = map[ordering.Mode]string{ordering.Lamport: "lamport", ordering.Leader: "leader"}

// isEpoch is a condition: epoch 3, epoch lamport: all that run are in that epoch,
// or one of that order.
func (s *script) isEpoch(args []string) (holds, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("want a number, lamport or leader")
	}
	return func() string {
		for _, n := range s.up() {
			o := n.core.Order()
			is := modeNames[o.Mode]
			if args[0] != is && args[0] != fmt.Sprint(o.Epoch) {
				return fmt.Sprintf("%s is in epoch %d, %s", n.title(), o.Epoch, is)
			}
		}
		return ""
	}, nil
}
