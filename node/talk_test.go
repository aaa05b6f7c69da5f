package node

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	core "tertulia/ordering/room"
	"tertulia/storage"
)

func TestWhatOneSaysIsWithAllInTheSameOrder(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	sent := nodes[1].say("olá")
	for _, r := range nodes {
		m := r.untilShown(sent.ID)
		if m.Text != "olá" || m.Origin != "n2" || m.Sender != "n2" || m.State != chat.Tentative || m.Mine != (r == nodes[1]) {
			t.Errorf("%s shows %+v", r.NodeID(), m)
		}
	}
	sameLists(1, nodes...)
}

func TestAllSpeakAtOnceAndTheListsAreEqual(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	var wg sync.WaitGroup
	for _, r := range nodes {
		wg.Go(func() { r.sayMany("from "+r.NodeID(), 50) })
	}
	wg.Wait()
	sameLists(150, nodes...)
	hashes := make(map[string]bool)
	for _, r := range nodes {
		s := must(r.Status(t.Context()))(t)
		hashes[s.Rooms[0].TailHash] = true
		if s.Rooms[0].Tentative+s.Rooms[0].FinalIndex < 150 || s.Rooms[0].Parked != 0 {
			t.Errorf("%s: %+v", r.NodeID(), s.Rooms[0])
		}
	}
	if len(hashes) != 1 {
		t.Errorf("tail hashes %v", hashes)
	}
}

func TestTheyTalkOverQUIC(t *testing.T) {
	t.Parallel()
	var cfgs []Config
	for _, name := range []string{"n1", "n2"} {
		cfg := loopback(t, name)
		cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
		cfgs = append(cfgs, cfg)
	}
	nodes := gather(t, cfgs...)
	nodes[0].say("one")
	nodes[1].say("two")
	sameLists(2, nodes...)
	if p := nodes[0].peerList(); len(p) != 1 || !strings.Contains(p[0].Addr, "/quic-v1") {
		t.Errorf("peers %+v", p)
	}
}

func TestAMessageIsRelayedToWhomItsAuthorCannotReach(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	a, b, c := nodes[0], nodes[1], nodes[2]
	b.until("it knows who hears whom", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.peers[a.device()].vital.Hears) == 2 && len(b.peers[c.device()].vital.Hears) == 2
	})
	// What the network would say if the two could not reach each other. It is said
	// again before each message, for the true state may have been under way.
	apart := func() {
		for _, end := range []struct{ at, other *rig }{{a, c}, {c, a}} {
			(*handler)(end.at.Node).SharedRooms(end.other.device(), nil)
			(*handler)(b.Node).PeerHears(end.at.device(), []ordering.DeviceKey{b.device()})
			end.at.net.Topics(nil)
			end.at.until("it has one neighbour", func() bool { return len(end.at.inner().view.Load().connected) == 1 })
		}
	}
	begin := time.Now()
	const count = 5
	for i := range count {
		apart()
		c.untilShown(a.say(fmt.Sprintf("ping %d", i)).ID)
		apart()
		a.untilShown(c.say(fmt.Sprintf("pong %d", i)).ID)
	}
	// Anti-entropy alone would take longer, by far.
	if took := time.Since(begin); took > count*core.DigestInterval/2 {
		t.Errorf("took %v", took)
	}
	sameLists(2*count, nodes...)
}

func TestWhatWasSentIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	r := start(t, loopback(t, "n1"))
	r.create(lobby)
	var mu sync.Mutex
	var sent []string
	enough := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for { // until the node stops
				s, err := r.Send(t.Context(), chat.Draft{Room: lobby, Text: "on and on"})
				if err != nil {
					wantCode(t, err, chat.CodeUnreachable)
					return
				}
				mu.Lock()
				if sent = append(sent, s.ID); len(sent) == 100 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	if _, ok := within(enough); !ok {
		t.Error("cannot send")
	}
	r.stop()
	wg.Wait()
	before := r.PeerID()
	r = r.again()
	if r.PeerID() != before || r.NodeID() != "n1" {
		t.Errorf("it is %s %s now, was n1 %s", r.NodeID(), r.PeerID(), before)
	}
	held := make(map[string]bool)
	for _, m := range r.history() {
		held[m.ID] = true
	}
	for _, id := range sent {
		if !held[id] {
			t.Errorf("%s was sent and is gone", id)
		}
	}
	r.untilShown(r.say("goes on").ID)
}

func TestTheNodeIDOfADirectoryIsFixed(t *testing.T) {
	t.Parallel()
	r := start(t, loopback(t, "n1"))
	r.stop()
	cfg := r.cfg
	cfg.NodeID = "n2"
	_, err := Open(cfg)
	wantCode(t, err, chat.CodeInvalid)
	cfg.NodeID = ""
	if n := start(t, cfg); n.NodeID() != "n1" {
		t.Errorf("node id %q", n.NodeID())
	}
}

func TestACopiedDirectoryWritesAsAnotherInstance(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	a.say("before the copy")
	sameLists(1, a, b)
	a.stop()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(a.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	a = a.again()
	a.say("after the copy")
	sameLists(2, a, b)
	a.stop()

	moveToAnotherMachine(t, copied)
	other := a.again(func(c *Config) { c.Dir = copied })
	if other.id.origin.Device != a.id.origin.Device || other.id.origin.Instance == a.id.origin.Instance {
		t.Errorf("the copy writes as %s, the original as %s", other.id.origin.Tag(), a.id.origin.Tag())
	}
	other.say("from the copy") // at once, before it knows what came after it
	sameWords(3, other, b)
	b.say("answer")
	sameWords(4, other, b)
	for _, r := range []*rig{other, b} {
		if refused := must(r.Status(t.Context()))(t).Refused; refused[string(ordering.Fork)] > 0 {
			t.Errorf("%s refused %v", r.NodeID(), refused)
		}
	}
}

// sameWords waits until both have the same messages. With the only voter gone one
// may know more of them to be final than the other, and list them so.
func sameWords(total int, a, b *rig) {
	a.t.Helper()
	sorted := func(r *rig) []string { return slices.Sorted(slices.Values(r.list())) }
	a.until("both have the same messages", func() bool {
		return len(a.history()) == total && slices.Equal(sorted(a), sorted(b))
	}, a, b)
}

// moveToAnotherMachine makes a directory look as if it came from elsewhere.
func moveToAnotherMachine(t *testing.T, dir string) {
	t.Helper()
	s := must(storage.Open(dir))(t)
	stop := runStore(t, s)
	if err := s.Put(t.Context(), settingMachine, []byte("elsewhere")); err != nil {
		t.Error(err)
	}
	stop()
}

func TestTheSameClientIDAndTextAreOneMessage(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	r := nodes[0]
	d := chat.Draft{Room: lobby, Username: "Ana", Text: "olá", ClientID: "c1"}
	first := must(r.Send(t.Context(), d))(t)
	again := must(r.Send(t.Context(), d))(t)
	if first.Duplicate || !again.Duplicate || again.ID != first.ID || again.ClientID != "c1" {
		t.Errorf("first %+v, again %+v", first, again)
	}
	other := d
	other.Text = "adeus"
	_, err := r.Send(t.Context(), other)
	wantCode(t, err, chat.CodeConflict)
	bob := other
	bob.Username = "Bob"
	if s := must(r.Send(t.Context(), bob))(t); s.Duplicate || s.ID == first.ID {
		t.Errorf("another person's id is theirs: %+v", s)
	}
	sameLists(2, nodes...)
}

func TestRepeatsInOneBatchAreOneMessage(t *testing.T) {
	t.Parallel()
	r := start(t, loopback(t, "n1"))
	r.create(lobby)
	key := must(r.clientKey(t.Context(), "Ana"))(t)
	type answer struct {
		ref       ordering.Ref
		duplicate bool
		err       error
	}
	const count = 40
	answers := make(chan answer, count)
	inRoom(r, func(room *room) bool {
		for i := range count {
			stamp, plain := stamped(key, room.id, room.n.id.origin.Device, "same", ordering.Payload{Name: "Ana", Text: fmt.Sprintf("text %d", i%2)})
			room.say(&saying{kind: ordering.KindMessage, stamp: stamp, plain: plain, reply: func(ref ordering.Ref, duplicate bool, err error) {
				answers <- answer{ref, duplicate, err}
			}})
		}
		return true
	})
	refs := make(map[ordering.Ref]int)
	fresh, conflicts := 0, 0
	for range count {
		a, _ := within(answers)
		switch {
		case a.err != nil:
			wantCode(t, a.err, chat.CodeConflict)
			conflicts++
		case a.duplicate:
			refs[a.ref]++
		default:
			refs[a.ref]++
			fresh++
		}
	}
	if len(refs) != 1 || fresh != 1 || conflicts != count/2 || len(r.history()) != 1 {
		t.Errorf("%d ids, %d first, %d conflicts, %d messages", len(refs), fresh, conflicts, len(r.history()))
	}
}

func TestWhatWasSaidApartComesTogether(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	b.stop()
	a.sayMany("alone", 5)
	a.stop()
	b = b.again()
	b.sayMany("alone too", 5)
	if n := len(b.history()); n != 5 {
		t.Errorf("%d messages while apart", n)
	}
	a = a.again()
	sameLists(10, a, b)
}

func TestTextsUpToTheLimitGoThrough(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	long := strings.Repeat("é", chat.MaxTextBytes/2)
	var wg sync.WaitGroup
	for i := range 6 { // more than one run holds
		wg.Go(func() {
			if _, err := nodes[0].Send(t.Context(), chat.Draft{Room: lobby, Username: strings.Repeat("ñ", chat.MaxNameRunes), Text: long, ClientID: fmt.Sprintf("%064d", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sameLists(6, nodes...)
	if m := nodes[1].history()[5]; m.Text != long || m.Sender != strings.Repeat("ñ", chat.MaxNameRunes) {
		t.Errorf("%d bytes arrived from %q", len(m.Text), m.Sender)
	}
	for what, d := range map[string]chat.Draft{
		"one byte more":  {Text: long + "x"},
		"nothing":        {Text: " \n"},
		"not UTF-8":      {Text: "a\xff"},
		"long client id": {Text: "a", ClientID: strings.Repeat("c", ordering.MaxClientID+1)},
		"long name":      {Text: "a", Username: strings.Repeat("n", chat.MaxNameRunes+1)},
		"control":        {Text: "a", Username: "a\x1b[2J"},
		"bidi control":   {Text: "a", Username: "a\u202eb"},
	} {
		d.Room = lobby
		_, err := nodes[0].Send(t.Context(), d)
		if chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNamesAreNormalisedAndLimited(t *testing.T) {
	t.Parallel()
	r := start(t, loopback(t, "no\u0301"))
	if r.NodeID() != "n\u00f3" {
		t.Errorf("node id %+q", r.NodeID())
	}
	if room := r.create("  cafe\u0301 "); room.Name != "caf\u00e9" {
		t.Errorf("room %+q", room.Name)
	}
	sent := must(r.Send(t.Context(), chat.Draft{Room: "caf\u00e9", Username: "Jose\u0301", Text: "e\u0301"}))(t)
	p := must(r.Page(t.Context(), chat.PageQuery{Room: "caf\u00e9", Around: sent.ID, Limit: 1}))(t)
	if m := p.Messages[0]; m.ID != sent.ID || m.Sender != "Jos\u00e9" || m.Text != "e\u0301" {
		t.Errorf("sender %+q, text %+q; a text stays as it was entered", m.Sender, m.Text)
	}
	for _, name := range []string{"", " ", strings.Repeat("n", chat.MaxNameRunes+1), "a\nb", "a\u2066b", "\xff"} {
		_, err := r.CreateRoom(t.Context(), name, chat.Lamport)
		if chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("room %+q: %v", name, err)
		}
	}
	_, err := r.CreateRoom(t.Context(), "x", "alphabetical")
	wantCode(t, err, chat.CodeInvalid)
	if err := r.SetUsername(t.Context(), "Ze\u0301"); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = r.again()
	if v := must(r.View(t.Context()))(t); v.Username != "Z\u00e9" {
		t.Errorf("username %+q", v.Username)
	}
}

func TestRoomsAreFoundByNameIDAndPrefix(t *testing.T) {
	t.Parallel()
	r := start(t, loopback(t, "n1"))
	one, two := r.create("same"), r.create("same")
	_, err := r.Room(t.Context(), "same")
	wantCode(t, err, chat.CodeAmbiguous)
	if got := r.state(one.ID); got.ID != one.ID {
		t.Errorf("by id: %s", got.ID)
	}
	if got := r.state(strings.ToUpper(two.ID[:12])); got.ID != two.ID {
		t.Errorf("by prefix: %s", got.ID)
	}
	for _, ref := range []string{two.ID[:5], "", "nowhere"} {
		_, err := r.Room(t.Context(), ref)
		wantCode(t, err, chat.CodeNotFound)
	}
}
