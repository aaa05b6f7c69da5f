package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"tertulia/chat"
	"tertulia/ordering"
)

// Rooms without a leader, and the switch of a room's order, with real nodes, disks
// and sockets.

// round starts nodes that share a lobby without a leader, and waits until all are in
// its view.
func round(t testing.TB, names ...string) []*rig {
	t.Helper()
	var cfgs []Config
	for _, name := range names {
		cfgs = append(cfgs, hurried(t, name))
	}
	nodes := gather(t, cfgs...)
	t.Cleanup(func() {
		for _, r := range nodes {
			if t.Failed() {
				t.Logf("%s: %+v", r.NodeID(), r.inner().view.Load().order)
			}
		}
	})
	untilViewed(nodes, nodes)
	return nodes
}

// untilViewed waits until at all nodes the view of the open epoch is who, and nobody
// else.
func untilViewed(nodes, who []*rig) {
	for _, r := range nodes {
		r.t.Helper()
		r.until("the view is complete", func() bool {
			view := r.inner().view.Load().order.View
			for _, o := range who {
				if !slices.Contains(view, o.inner().view.Load().origin) {
					return false
				}
			}
			return len(view) == len(who)
		}, nodes...)
	}
}

func (r *rig) status() chat.RoomStatus {
	r.t.Helper()
	return must(r.Status(r.t.Context()))(r.t).Rooms[0]
}

func TestALoneCreatorNeedsNobodyToFinalise(t *testing.T) {
	t.Parallel()
	r := start(t, hurried(t, "n1"))
	r.create(lobby)
	m := r.untilFinal(r.say("to myself").ID)
	if m.Leader != "" || m.Hash == "" || m.Late || m.Position >= chat.BeforeTentative {
		t.Errorf("%+v", m)
	}
	sameFinals(1, r)
}

func TestWithoutALeaderAllWriteAtOnceAndAllFinalsAreEqual(t *testing.T) {
	t.Parallel()
	nodes := round(t, "n1", "n2", "n3")
	list := allWriteAtOnce(nodes...)
	for _, m := range list {
		if m.Leader != "" || m.Late {
			t.Errorf("%+v", m)
		}
	}
	last := list[len(list)-1]
	for _, r := range nodes {
		r.until("all tell the same of all", func() bool {
			s := r.status()
			if s.Order != chat.Lamport || !slices.Equal(s.View, []string{"n1", "n2", "n3"}) || len(s.WaitingFor) > 0 || s.Tentative > 0 || len(s.Replicas) != len(nodes) {
				return false
			}
			for _, p := range s.Replicas {
				if p.FinalIndex != last.Index || p.OrderHash != last.Hash {
					return false
				}
			}
			// Clocks converge: a member's is the highest ts that it holds.
			return s.Clocks["n1"] >= last.Lamport && s.Clocks["n1"] == s.Clocks["n2"] && s.Clocks["n1"] == s.Clocks["n3"]
		}, nodes...)
	}
}

func TestFinalsWithoutALeaderOutliveARestart(t *testing.T) {
	t.Parallel()
	nodes := round(t, "n1", "n2", "n3")
	for _, r := range nodes {
		r.sayMany(r.NodeID(), 20)
	}
	want := sameFinals(60, nodes...)
	for _, r := range nodes {
		r.stop()
	}
	for i, r := range nodes {
		r = r.again()
		if got := r.finals(); len(got) < len(want) || !slices.EqualFunc(got[:len(want)], want, func(a, b chat.Message) bool { return asFinal(a) == asFinal(b) }) {
			t.Errorf("%s has %d finals, had %d", r.NodeID(), len(got), len(want))
		}
		nodes[i] = r
	}
	nodes[1].say("and on")
	sameFinals(61, nodes...)
}

func TestWhoWritesAloneStandsAtTheBottomMarkedLate(t *testing.T) {
	t.Parallel()
	nodes := round(t, "n1", "n2", "n3")
	a, b, c := nodes[0], nodes[1], nodes[2]
	untilLed(nodes...) // three vote, so two can go on without the third
	a.say("together")
	sameFinals(1, nodes...)
	a.stop()
	b.stop()
	c.until("it is alone", func() bool { return len(c.inner().view.Load().connected) == 0 })
	const alone, others = 40, 60
	ids := c.sayMany("alone", alone)
	c.until("it says whom it waits for", func() bool {
		s := c.status()
		return slices.Equal(s.WaitingFor, []string{"n1", "n2"}) && s.Tentative >= alone
	}, nodes...)
	if w := c.state(lobby).Waiting; !strings.Contains(w, "n1 and n2") {
		t.Errorf("it says %q", w)
	}
	before := c.finals()
	c.stop()

	a, b = a.again(), b.again()
	untilViewed([]*rig{a, b}, []*rig{a, b})
	a.sayMany("meanwhile", others)
	a.until("the others went on", func() bool { return len(a.history()) == others+1 && a.inner().view.Load().order.Tentative == 0 })
	c = c.again()
	list := sameFinals(1+alone+others, a, b, c)
	if !slices.EqualFunc(list[:len(before)], before, func(a, b chat.Message) bool { return asFinal(a) == asFinal(b) }) {
		t.Error("what was final has moved")
	}
	first := slices.IndexFunc(list, func(m chat.Message) bool { return slices.Contains(ids, m.ID) })
	for i, m := range list {
		mine, text := slices.Contains(ids, m.ID), m.Kind == chat.KindText
		if mine != (i >= first && i < first+alone) || mine && !m.Late || !mine && text && i > first {
			t.Errorf("%d: %+v", i, m)
		}
	}
}

// orders are the lines of a list that say that the order was switched.
func orders(list []chat.Message) (lines []chat.Message) {
	for _, m := range list {
		if m.Kind == chat.KindOrdering {
			lines = append(lines, m)
		}
	}
	return lines
}

func (r *rig) switchTo(order chat.Order) {
	r.t.Helper()
	if err := r.SwitchOrder(r.t.Context(), lobby, order); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) untilOrder(order chat.Order) {
	r.t.Helper()
	r.until(fmt.Sprintf("the order is %s", order), func() bool { return r.state(lobby).Order == order && r.status().Order == order })
}

func TestTheOrderIsSwitchedThereAndBackWhileAllWrite(t *testing.T) {
	t.Parallel()
	nodes := round(t, "n1", "n2", "n3")
	events := nodes[1].Events(t.Context())
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	said := make([]int, len(nodes))
	var wg sync.WaitGroup
	for i, r := range nodes {
		wg.Go(func() {
			for ; ctx.Err() == nil; said[i]++ {
				r.say(fmt.Sprintf("%s goes on %d", r.NodeID(), said[i]))
			}
		})
	}
	for _, order := range []chat.Order{chat.Leader, chat.Lamport, chat.Leader, chat.Lamport} {
		nodes[0].switchTo(order)
		nodes[0].switchTo(order) // is on its way
		for _, r := range nodes {
			r.untilOrder(order)
			was := r.state(lobby).FinalIndex
			r.until("finals go on", func() bool { return r.state(lobby).FinalIndex > was+20 })
		}
		for e := range events {
			if e.Type == chat.EventEpoch && e.Order == order {
				break
			}
		}
	}
	enough()
	wg.Wait()
	list := sameFinals(said[0]+said[1]+said[2], nodes...)
	var texts []string
	for _, m := range orders(list) {
		texts = append(texts, m.Text)
		if m.Index == 0 || m.Hash == "" || m.Origin != "n1" || m.Sender != "" || m.SenderID != "" || m.Unreadable {
			t.Errorf("%+v", m)
		}
	}
	const to = "the order of this room is now "
	if want := []string{to + "Leader", to + "Lamport", to + "Leader", to + "Lamport"}; !slices.Equal(slices.Compact(texts), want) {
		t.Errorf("got %q, want %q", texts, want)
	}
	for i := 1; i < len(list); i++ {
		if list[i].Epoch < list[i-1].Epoch {
			t.Errorf("final %d is of epoch %d and comes after one of %d", list[i].Index, list[i].Epoch, list[i-1].Epoch)
		}
	}
}

func TestOnlyTheCreatorSwitchesTheOrder(t *testing.T) {
	t.Parallel()
	nodes := round(t, "n1", "n2")
	err := nodes[1].SwitchOrder(t.Context(), lobby, chat.Leader)
	wantCode(t, err, chat.CodeForbidden)
	if !strings.Contains(inWords(err), "n1") {
		t.Errorf("no word of who can: %v", err)
	}
	wantCode(t, nodes[0].SwitchOrder(t.Context(), lobby, "bully"), chat.CodeInvalid)
	wantCode(t, nodes[0].SwitchOrder(t.Context(), "nowhere", chat.Leader), chat.CodeNotFound)
	nodes[0].switchTo(chat.Lamport)
	nodes[0].say("nothing was said")
	if list := sameFinals(1, nodes...); len(orders(list)) > 0 {
		t.Errorf("%+v", orders(list))
	}
}

func TestASwitchOutlivesARestart(t *testing.T) {
	t.Parallel()
	r := start(t, hurried(t, "n1"))
	r.create(lobby)
	r.switchTo(chat.Leader)
	r.untilOrder(chat.Leader)
	r.stop()
	r = r.again()
	r.untilOrder(chat.Leader)
	r.switchTo(chat.Leader)
	if m := r.untilFinal(r.say("led by myself").ID); m.Leader != "n1" {
		t.Errorf("%+v", m)
	}
	r.switchTo(chat.Lamport)
	r.untilOrder(chat.Lamport)
	if m := r.untilFinal(r.say("led by nobody").ID); m.Leader != "" {
		t.Errorf("%+v", m)
	}
	if lines := orders(sameFinals(2, r)); len(lines) != 2 {
		t.Errorf("%+v", lines)
	}
}

// A line that says so is read by whoever joins later, who has no key of the past.
func TestWhoJoinsLaterReadsThatTheOrderWasSwitched(t *testing.T) {
	t.Parallel()
	nodes := round(t, "n1", "n2")
	nodes[0].switchTo(chat.Leader)
	nodes[1].untilOrder(chat.Leader)
	late := start(t, hurried(t, "n3"))
	late.join(nodes[1].invite(chat.InviteOptions{}))
	late.untilOrder(chat.Leader)
	nodes[0].say("welcome")
	if lines := orders(sameFinals(1, append(nodes, late)...)); len(lines) != 1 || lines[0].Unreadable {
		t.Errorf("%+v", lines)
	}
}

func TestASwitchIsPlainOnTheWire(t *testing.T) {
	for kind, want := range map[ordering.Kind]bool{ordering.KindMessage: true, ordering.KindRenamed: true, 200: true, ordering.KindSwitch: false, ordering.KindKey: false} {
		if encrypted(kind) != want {
			t.Errorf("kind %d: encrypted is %t", kind, !want)
		}
	}
}
