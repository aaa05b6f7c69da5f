package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	core "tertulia/ordering/room"
)

// The leader mode with real nodes, disks and sockets.

// hurried is a node on the loopback interface that waits a second where others
// wait ten.
func hurried(t testing.TB, name string) Config {
	cfg := loopback(t, name)
	cfg.Stability, cfg.Hold = time.Second, time.Second
	return cfg
}

// court starts nodes, the lowest rank first, that share a lobby with a leader, and
// waits until they have one for good.
func court(t testing.TB, names ...string) (nodes []*rig, leader *rig) {
	t.Helper()
	var cfgs []Config
	for _, name := range names {
		cfgs = append(cfgs, hurried(t, name))
	}
	return courtOf(t, cfgs...)
}

func courtOf(t testing.TB, cfgs ...Config) (nodes []*rig, leader *rig) {
	t.Helper()
	t.Cleanup(func() {
		for _, r := range nodes {
			if t.Failed() {
				t.Logf("%s: %+v", r.NodeID(), r.inner().view.Load().order)
			}
		}
	})
	nodes = append(nodes, start(t, cfgs[0]))
	must(nodes[0].CreateRoom(t.Context(), lobby, chat.Leader))(t)
	link := nodes[0].invite(chat.InviteOptions{})
	for _, cfg := range cfgs[1:] {
		r := start(t, cfg)
		r.join(link)
		nodes = append(nodes, r)
	}
	allConnected(nodes...)
	return nodes, untilLed(nodes...)
}

// untilLed waits until there are as many voters among the nodes as there may be,
// and the highest of them leads all nodes; these come by rank.
func untilLed(nodes ...*rig) (leader *rig) {
	want := map[bool]int{true: 5, false: 3}[len(nodes) >= 5]
	for _, r := range nodes {
		r.t.Helper()
		r.until("the highest voter leads", func() bool {
			o := r.inner().view.Load().order
			voters := 0
			for _, v := range nodes {
				if slices.Contains(o.Voters, v.id.origin) {
					voters, leader = voters+1, v
				}
			}
			return voters == want && len(o.Voters) == want && len(o.Outgoing) == 0 && o.Leader == leader.id.origin
		}, nodes...)
	}
	return leader
}

// votes reports whether a node has a vote, as it knows itself.
func (r *rig) votes() bool {
	return slices.Contains(r.inner().view.Load().order.Voters, r.id.origin)
}

// finals returns all final lines.
func (r *rig) finals() []chat.Message {
	r.t.Helper()
	var all []chat.Message
	for {
		more := must(r.Finals(r.t.Context(), lobby, uint64(len(all)), chat.MaxPage))(r.t)
		if all = append(all, more...); len(more) < chat.MaxPage {
			return all
		}
	}
}

// asFinal is what all nodes agree on about a final line. Who got it with a
// snapshot does not know its epoch and leader.
func asFinal(m chat.Message) string {
	return fmt.Sprintf("%d %s %s %s %s; epoch %d, leader %q, late %t", m.Index, m.ID, m.Hash, m.Sender, m.Text, m.Epoch, m.Leader, m.Late)
}

// untilFinal waits until a message is final, and returns it.
func (r *rig) untilFinal(id string) (m chat.Message) {
	r.t.Helper()
	r.until("it is final", func() bool {
		list := r.finals()
		i := slices.IndexFunc(list, func(m chat.Message) bool { return m.ID == id })
		if i >= 0 {
			m = list[i]
		}
		return i >= 0
	})
	return m
}

// sameFinals waits until as many messages are final at all nodes, and nothing is
// tentative; it compares the lists and returns one.
func sameFinals(texts int, nodes ...*rig) []chat.Message {
	lists := make([][]chat.Message, len(nodes))
	for i, r := range nodes {
		r.t.Helper()
		r.until(fmt.Sprintf("%d messages are final and nothing is tentative", texts), func() bool {
			order := r.inner().view.Load().order
			if order.Tentative > 0 || order.FinalIndex < uint64(texts) {
				return false
			}
			lists[i] = r.finals()
			n := 0
			for _, m := range lists[i] {
				if m.Kind == chat.KindText {
					n++
				}
			}
			if n > texts {
				r.t.Fatalf("%s has %d messages, want %d", r.NodeID(), n, texts)
			}
			return n == texts && len(lists[i]) >= len(lists[0])
		}, nodes...)
	}
	first := nodes[0]
	for i, r := range nodes {
		for k, m := range lists[i] {
			if m.Index != uint64(k+1) || m.State != chat.Final {
				first.t.Fatalf("%s: final line %d has the index %d and is %s", r.NodeID(), k+1, m.Index, m.State)
			}
			if k < len(lists[0]) && asFinal(m) != asFinal(lists[0][k]) {
				first.t.Fatalf("final line %d\n%s: %s\n%s: %s", k+1, r.NodeID(), asFinal(m), first.NodeID(), asFinal(lists[0][k]))
			}
		}
		if len(lists[i]) != len(lists[0]) {
			first.t.Fatalf("%s has %d final lines, %s has %d", r.NodeID(), len(lists[i]), first.NodeID(), len(lists[0]))
		}
		if shown := r.lines(); !slices.EqualFunc(shown, lists[i], func(a, b chat.Message) bool { return a.ID == b.ID }) {
			first.t.Fatalf("%s shows %d lines, of which %d are final", r.NodeID(), len(shown), len(lists[i]))
		}
	}
	return lists[0]
}

// reading follows the finals of a node.
type reading struct {
	r       *rig
	changes <-chan struct{}
	last    uint64
}

// read begins after an index.
func (r *rig) read(ctx context.Context, after uint64) *reading {
	return &reading{r, r.Changes(ctx), after}
}

// next waits for the next finals. It fails the test when they have a gap, and
// returns none when the node or the context ended.
func (f *reading) next(ctx context.Context) []chat.Message {
	for {
		list, err := f.r.Finals(ctx, lobby, f.last, chat.MaxPage)
		if err != nil {
			return nil
		}
		for _, m := range list {
			if f.last++; m.Index != f.last {
				f.r.t.Errorf("%s: final %d comes after %d", f.r.NodeID(), m.Index, f.last-1)
				return nil
			}
		}
		if len(list) > 0 {
			return list
		}
		if _, open := <-f.changes; !open {
			return nil
		}
	}
}

func TestALoneCreatorFinalisesAlone(t *testing.T) {
	t.Parallel()
	r := start(t, hurried(t, "n1"))
	must(r.CreateRoom(t.Context(), lobby, chat.Leader))(t)
	m := r.untilFinal(r.say("to myself").ID)
	if m.Leader != "n1" || m.Hash == "" || m.Position >= chat.BeforeTentative {
		t.Errorf("%+v", m)
	}
	sameFinals(1, r)
}

// allWriteAtOnce has every node say 50 texts while another reader of each follows
// what becomes final, and returns the finals, which are the same everywhere.
func allWriteAtOnce(nodes ...*rig) []chat.Message {
	t := nodes[0].t
	t.Helper()
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const each = 50
	for _, r := range nodes {
		wg.Go(func() { r.sayMany("from "+r.NodeID(), each) })
		wg.Go(func() {
			texts := 0
			for f := r.read(ctx, 0); texts < each*len(nodes); {
				list := f.next(ctx)
				if list == nil {
					t.Errorf("%s: %d finals, then none", r.NodeID(), f.last)
					return
				}
				for _, m := range list {
					if m.Kind == chat.KindText {
						texts++
					}
				}
			}
		})
	}
	wg.Wait()
	return sameFinals(each*len(nodes), nodes...)
}

// Not in parallel: on a machine that stalls, another may lead for a while.
func TestTheHighestNumberLeadsAndAllFinalsAreEqual(t *testing.T) {
	nodes, _ := court(t, "n2", "n9", "n10") // as strings, n10 would be the lowest
	list := allWriteAtOnce(nodes...)
	for _, m := range list {
		if m.Leader != "n10" || m.Late {
			t.Errorf("%+v", m)
		}
	}
	for _, r := range nodes {
		s := must(r.Status(t.Context()))(t).Rooms[0]
		if s.Leader != "n10" || s.OrderHash != list[len(list)-1].Hash || s.FinalIndex != uint64(len(list)) || s.Tentative != 0 || s.Diverged != 0 {
			t.Errorf("%s: %+v", r.NodeID(), s)
		}
	}
}

func TestAMessageHandedToTwoNodesAppearsOnce(t *testing.T) {
	t.Parallel()
	nodes, _ := court(t, "n1", "n2", "n3")
	a := nodes[0]
	key := must(a.clientKey(t.Context(), "Ana"))(t)
	d := chat.Draft{Room: lobby, Username: "Ana", Text: "only once", ClientID: "c1"}
	// It is handed to n1, which reaches nobody and stops, and then to n2, which
	// knows nothing of that.
	for _, r := range nodes[1:] {
		r.stop()
	}
	a.until("nobody is connected", func() bool { return len(a.inner().view.Load().connected) == 0 })
	first := must(a.Send(t.Context(), d))(t)
	if again := must(a.Send(t.Context(), d))(t); !again.Duplicate || again.ID != first.ID {
		t.Errorf("a repeat at the same node: %+v, want %+v", again, first)
	}
	a.stop()
	b, c := nodes[1].again(), nodes[2].again()
	b.mu.Lock()
	b.clients["Ana"] = key
	b.mu.Unlock()
	second := must(b.Send(t.Context(), d))(t)
	if second.Duplicate || second.ID == first.ID {
		t.Fatalf("handed in at n2: %+v", second)
	}
	b.untilFinal(second.ID)
	a = a.again()
	allConnected(a, b, c)
	for _, r := range []*rig{a, b, c} {
		r.until("n1 has both", func() bool {
			return inRoom(r, func(room *room) uint64 { return room.core.Graph().Have()[a.id.origin] }) >= seqOf(t, first.ID)
		})
	}
	last := a.say("and on").ID
	for _, r := range []*rig{a, b, c} {
		r.untilFinal(last)
	}
	list := sameFinals(2, a, b, c)
	if slices.ContainsFunc(list, func(m chat.Message) bool { return m.ID == first.ID }) {
		t.Errorf("the repeat %s is in the list", first.ID)
	}
	// Who asks for the loser is shown the winner.
	for _, r := range []*rig{a, b, c} {
		p := must(r.Page(t.Context(), chat.PageQuery{Room: lobby, Around: first.ID, Limit: 3}))(t)
		if !slices.ContainsFunc(p.Messages, func(m chat.Message) bool { return m.ID == second.ID }) {
			t.Errorf("%s: around %s are %+v", r.NodeID(), first.ID, p.Messages)
		}
	}
}

func seqOf(t testing.TB, id string) uint64 {
	t.Helper()
	_, seq, err := ordering.ParseEntryID(id)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// A fourth member has no seat, so it is fed what is committed.
func TestWhoJoinsLaterGetsAllFinals(t *testing.T) {
	t.Parallel()
	nodes, _ := court(t, "n2", "n3", "n4")
	nodes[0].sayMany("early", 200)
	sameFinals(200, nodes...)
	late := start(t, hurried(t, "n1"))
	late.join(nodes[1].invite(chat.InviteOptions{}))
	late.say("late")
	sameFinals(201, append(nodes, late)...)
	if o := late.inner().view.Load().order; late.votes() || o.Leader != nodes[2].id.origin {
		t.Errorf("%+v", o)
	}
}

// The control log is compacted: who joins then gets a snapshot and the final list,
// with all that the others say of it.
func TestWhoJoinsBehindTheLogGetsAllFinals(t *testing.T) {
	t.Parallel()
	var cfgs []Config
	for _, name := range []string{"n2", "n3", "n4"} {
		cfg := hurried(t, name)
		cfg.Keep = core.Keep{Records: 24, Behind: 4}
		cfgs = append(cfgs, cfg)
	}
	nodes, _ := courtOf(t, cfgs...)
	a, b, c := nodes[0], nodes[1], nodes[2]
	a.say("together")
	sameFinals(1, nodes...)
	a.stop()
	b.stop()
	c.until("it is alone", func() bool { return len(c.inner().view.Load().connected) == 0 })
	c.say("alone")
	c.stop()
	a, b = a.again(), b.again()
	untilViewed([]*rig{a, b}, []*rig{a, b})
	const meanwhile = 10 // more than were said alone, so those stand above them
	a.sayMany("meanwhile", meanwhile)
	sameFinals(1+meanwhile, a, b)
	c = c.again()
	nodes = []*rig{a, b, c}
	untilLed(nodes...)
	said := 2 + meanwhile
	sameFinals(said, nodes...)
	snapshot := func(r *rig) uint64 {
		saved, _, err := r.store.Control(t.Context(), r.inner().id)
		if err != nil {
			t.Fatal(err)
		}
		return saved.Snapshot.Index
	}
	for begin := snapshot(c); snapshot(c) == begin; said++ {
		if said > 200 {
			t.Fatal("the control log is never compacted")
		}
		c.untilNewestFinal(c.say(fmt.Sprint(said)).ID)
	}
	sameFinals(said, nodes...)
	begin := snapshot(c)
	late := start(t, hurried(t, "n1"))
	late.join(b.invite(chat.InviteOptions{}))
	late.say("late")
	list := sameFinals(said+1, append(nodes, late)...)
	if snapshot(late) < begin {
		t.Error("it came by the log alone")
	}
	leaders, lates := map[string]bool{}, map[bool]bool{}
	for _, m := range list {
		leaders[m.Leader], lates[m.Late] = true, true
	}
	if len(leaders) < 2 || len(lates) < 2 {
		t.Errorf("all was sequenced by %v, late %v: what was installed tells nothing", leaders, lates)
	}
	// What was installed is there after a restart.
	late.stop()
	late = late.again()
	a.say("later")
	sameFinals(said+2, append(nodes, late)...)
}

// untilNewestFinal waits until a message is final, the newest that it is.
func (r *rig) untilNewestFinal(id string) {
	r.t.Helper()
	r.until("it is final", func() bool {
		p := must(r.Page(r.t.Context(), chat.PageQuery{Room: lobby, Limit: 1}))(r.t)
		return len(p.Messages) == 1 && p.Messages[0].ID == id && p.Messages[0].State == chat.Final
	})
}

func TestAMemberWithoutAVoteSeesAndSaysFinals(t *testing.T) {
	t.Parallel()
	nodes, leader := court(t, "n1", "n2", "n3", "n4", "n5", "n6")
	without := nodes[slices.IndexFunc(nodes, func(r *rig) bool { return !r.votes() })]
	for i := range 5 {
		m := without.untilFinal(without.say(fmt.Sprint("unseated ", i)).ID)
		if m.Leader != leader.NodeID() {
			t.Errorf("%+v", m)
		}
	}
	nodes[0].sayMany("seated", 20)
	sameFinals(25, nodes...)
}

func TestFinalsOutliveARestart(t *testing.T) {
	t.Parallel()
	nodes, _ := court(t, "n1", "n2", "n3")
	for _, r := range nodes {
		r.sayMany(r.NodeID(), 20)
	}
	want := sameFinals(60, nodes...)
	for _, r := range nodes {
		r.stop()
	}
	for i, r := range nodes { // each is alone at first
		before := r.inner().view.Load().order
		r = r.again()
		after := r.inner().view.Load().order
		if got := r.finals(); !slices.EqualFunc(got, want, func(a, b chat.Message) bool { return asFinal(a) == asFinal(b) }) {
			t.Errorf("%s has %d finals, had %d", r.NodeID(), len(got), len(want))
		}
		if after.FinalIndex != before.FinalIndex || after.OrderHash != before.OrderHash || after.Term < before.Term || after.Epoch < before.Epoch {
			t.Errorf("%s: %+v, was %+v", r.NodeID(), after, before)
		}
		nodes[i] = r
	}
	untilLed(nodes...)
	nodes[1].say("and on")
	sameFinals(61, nodes...)
}

func TestALeaderThatStopsHandsOver(t *testing.T) {
	t.Parallel()
	nodes, leader := court(t, "n1", "n2", "n3")
	a, b := nodes[0], nodes[1]
	a.say("hello")
	sameFinals(1, nodes...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	writing, enough := context.WithCancel(ctx)
	defer enough()
	said := 1
	var wg sync.WaitGroup
	wg.Go(func() {
		for writing.Err() == nil {
			a.say(fmt.Sprint("on and on ", said))
			said++
		}
	})
	f := b.read(ctx, b.state(lobby).FinalIndex)
	for range 10 {
		f.next(ctx)
	}
	// The pause in which nothing became final, and when n2 took over.
	begin, last := time.Now(), time.Now()
	var pause, over time.Duration
	wg.Go(leader.stop)
	for after := 0; after < 10; {
		list := f.next(ctx)
		if list == nil {
			t.Fatal("nothing becomes final any more")
		}
		now := time.Now()
		pause = max(pause, now.Sub(last))
		if last = now; list[0].Leader == "n2" {
			if over == 0 {
				over = now.Sub(begin)
			}
			after++
		}
	}
	enough()
	wg.Wait()
	t.Logf("n2 finalised %d ms after n3 was asked to stop; the longest pause was %d ms", over.Milliseconds(), pause.Milliseconds())
	if pause > handoverWait { // who goes without handing over waits at least as long
		t.Errorf("nothing became final for %v", pause)
	}
	sameFinals(said, a, b)
	leader = leader.again()
	untilLed(a, b, leader)
	sameFinals(said, a, b, leader)
}

// remove removes a member from the lobby.
func (r *rig) remove(who *rig) {
	r.t.Helper()
	remove := ordering.Remove{Device: who.device()}
	if _, _, err := r.inner().sayAndWait(r.t.Context(), &saying{kind: ordering.KindRemove, body: remove.Encode()}); err != nil {
		r.t.Fatal(err)
	}
}

func TestALeaderThatIsRemovedLeadsNoMore(t *testing.T) {
	t.Parallel()
	nodes, leader := court(t, "n1", "n2", "n3", "n4")
	rest := slices.DeleteFunc(slices.Clone(nodes), func(r *rig) bool { return r == leader })
	for _, r := range nodes {
		r.say("hello from " + r.NodeID())
	}
	sameFinals(4, nodes...)
	rest[0].remove(leader)
	next := untilLed(rest...)
	for _, r := range rest {
		r.say("without it, says " + r.NodeID())
	}
	list := sameFinals(7, rest...)
	for _, m := range list[len(list)-3:] {
		if m.Leader != next.NodeID() {
			t.Errorf("%+v", m)
		}
	}
	if n := len(leader.history()); n != 4 {
		t.Errorf("who was removed has %d messages, want 4", n)
	}
}

func TestAVoterThatIsRemovedVotesNoMore(t *testing.T) {
	t.Parallel()
	nodes, leader := court(t, "n1", "n2", "n3", "n4")
	i := 1 + slices.IndexFunc(nodes[1:], func(r *rig) bool { return r != leader && r.votes() })
	gone, rest := nodes[i], slices.Delete(slices.Clone(nodes), i, i+1)
	nodes[0].remove(gone)
	untilLed(rest...)
	gone.stop()
	for _, r := range rest {
		r.say("says " + r.NodeID())
	}
	sameFinals(3, rest...)
}
