package node

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/p2p"
	"tertulia/p2p/wire"
)

// keyInUse is the id of the room key that a node would seal with now.
func (r *rig) keyInUse() ordering.KeyID {
	r.t.Helper()
	return inRoom(r, func(room *room) ordering.KeyID {
		k, _ := room.currentKey()
		return k.id()
	})
}

// holdsKey reports whether a node holds a room key.
func (r *rig) holdsKey(id ordering.KeyID) bool {
	_, ok := r.inner().ring.get(id)
	return ok
}

// goneFor checks that who left gets nothing of what those who stay say after it.
func goneFor(t *testing.T, old ordering.KeyID, gone *rig, stay ...*rig) {
	t.Helper()
	for _, r := range stay {
		r.until("there is a new room key", func() bool { return r.keyInUse() != old })
	}
	sent := stay[0].say("after")
	for _, r := range stay {
		if m := r.untilShown(sent.ID); m.Text != "after" || m.Unreadable {
			t.Errorf("%s shows %+v", r.NodeID(), m)
		}
	}
	key := stay[0].keyInUse()
	if gone.holdsKey(key) {
		t.Error("who is gone has the new key")
	}
	// Asked openly, a member gives nothing either.
	lobbyID := gone.inner().id
	var got int
	_, err := gone.net.Fetch(t.Context(), stay[0].device(), wire.FetchRequest{Room: lobbyID}, func(ordering.Run) error { got++; return nil })
	keys, err2 := gone.net.Keys(t.Context(), stay[0].device(), wire.KeysRequest{Room: lobbyID, IDs: []ordering.KeyID{key}})
	if got > 0 || len(keys.Keys) > 0 {
		t.Errorf("%d runs (%v) and %d keys (%v) for who is gone", got, err, len(keys.Keys), err2)
	}
	id := inRoom(stay[0], func(r *room) ordering.EntryID {
		return ordering.EntryID{Origin: r.n.id.origin, Seq: r.core.NextSeq() - 1}
	})
	if inRoom(gone, func(r *room) bool { return r.core.Graph().Holds(id) }) {
		t.Error("who is gone received what was said after it")
	}
}

func TestWhoLeavesGetsNothingMore(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	a, b, c := nodes[0], nodes[1], nodes[2]
	c.say("before")
	sameLists(1, nodes...)
	old := a.keyInUse()
	if err := c.LeaveRoom(t.Context(), lobby); err != nil {
		t.Fatal(err)
	}
	if rooms := must(c.Rooms(t.Context()))(t); len(rooms) != 0 {
		t.Errorf("still listed: %+v", rooms)
	}
	for _, r := range []*rig{a, b} {
		r.until("one left", func() bool { return r.state(lobby).Members == 2 })
	}
	goneFor(t, old, c, a, b)
	_, err := c.Send(t.Context(), chat.Draft{Room: c.inner().id.String(), Text: "still here?"})
	wantCode(t, err, chat.CodeNotFound)

	back := must(c.JoinRoom(t.Context(), a.invite(chat.InviteOptions{})))(t)
	if back.State == chat.Failed {
		t.Errorf("back as %+v", back)
	}
	c.untilState(lobby, chat.Joined)
	c.say("back")
	sameLists(3, nodes...)
	for _, m := range c.history() {
		if m.Unreadable {
			t.Errorf("unreadable: %+v", m)
		}
	}
}

func TestWhoIsRemovedGetsNothingMore(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	a, b, c := nodes[0], nodes[1], nodes[2]
	c.say("before")
	sameLists(1, nodes...)
	old := a.keyInUse()
	remove := ordering.Remove{Device: c.device()}
	if _, _, err := a.inner().sayAndWait(t.Context(), &saying{kind: ordering.KindRemove, body: remove.Encode()}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*rig{a, b} {
		r.until("one is removed", func() bool { return r.state(lobby).Members == 2 })
	}
	c.until("it knows", func() bool { return c.state(lobby).Waiting == "This device is no longer a member." })
	goneFor(t, old, c, a, b)
	_, err := c.Send(t.Context(), chat.Draft{Room: lobby, Text: "still here?"})
	wantCode(t, err, chat.CodeForbidden)
	if n := len(c.history()); n != 1 {
		t.Errorf("%d messages are left to read, want 1", n)
	}
}

func TestANewKeyIsOwedAcrossARestart(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	old := a.keyInUse()
	b.stop()
	// The room's goroutine stops before the new key's time has come.
	remove := ordering.Remove{Device: b.device()}
	if _, _, err := a.inner().sayAndWait(t.Context(), &saying{kind: ordering.KindRemove, body: remove.Encode()}); err != nil {
		t.Fatal(err)
	}
	a.stop()
	a = a.again()
	a.until("there is a new room key", func() bool { return a.keyInUse() != old })
}

func TestAnEntryWithoutItsKeyIsUnreadableUntilTheKeyComes(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	ring := &a.inner().ring
	hidden := ring.all()
	// A key that only its author is given, and cannot pass on for now.
	hide := func() ordering.KeyID {
		g := must(grant(newRoomKey(), []ordering.DeviceKey{a.device()}))(t)
		if _, _, err := a.inner().sayAndWait(t.Context(), &saying{kind: ordering.KindKey, body: g.Encode()}); err != nil {
			t.Fatal(err)
		}
		a.until("it has the key", func() bool { return a.holdsKey(g.ID) })
		return g.ID
	}
	without := func(id ordering.KeyID) {
		inRoom(a, func(*room) bool {
			hidden = ring.all()
			less := make(map[ordering.KeyID]roomKey)
			for k, v := range hidden {
				if k != id {
					less[k] = v
				}
			}
			ring.keys.Store(&less)
			return true
		})
	}
	giveBack := func() { inRoom(a, func(*room) bool { ring.keys.Store(&hidden); return true }) }
	unreadable := func(id string) func() bool {
		return func() bool {
			i := slices.IndexFunc(b.history(), func(m chat.Message) bool { return m.ID == id })
			return i >= 0 && b.history()[i].Unreadable && b.history()[i].Text == ""
		}
	}

	// The message comes while nobody has the key, and the key a little later.
	id := hide()
	key, _ := ring.get(id)
	without(id)
	sent := inRoom(a, func(r *room) ordering.EntryID { // sealed before the key was hidden
		stamp, plain := stamped(must(a.clientKey(t.Context(), "Ana"))(t), r.id, a.device(), "c1", ordering.Payload{Name: "Ana", Text: "secret"})
		e := r.core.Graph().Next(r.n.id.origin)
		e.Kind, e.Client = ordering.KindMessage, stamp
		e.Body = key.seal(plain, place(r.id, 0, e.ID(), e.Kind))
		v := ordering.SignRun(r.n.id.key, ordering.Seal(e))
		v.Plain[0] = plain
		r.refused(r.core.Receive(time.Now(), r.n.id.origin.Device, v))
		return e.ID()
	}).String()
	b.until("it is there, not readable", unreadable(sent))
	giveBack()
	inRoom(b, func(r *room) bool { r.keysAt = time.Now(); return true }) // else it asks a little later
	b.until("the key came", func() bool { return b.holdsKey(id) })
	b.until("it is readable", func() bool { return !unreadable(sent)() })
	if m := b.untilShown(sent); m.Text != "secret" || m.Sender != "Ana" {
		t.Errorf("shown as %+v", m)
	}
	hits := must(b.Search(t.Context(), chat.SearchQuery{Text: "secret"}))(t)
	if len(hits) != 1 || hits[0].ID != sent {
		t.Errorf("search finds %+v", hits)
	}

	// Where the author can pass the key on, it is asked for at once.
	hide()
	sent = a.say("second secret").ID
	b.untilShown(sent)
	b.until("it is readable", func() bool { return !unreadable(sent)() })
}

func TestAfterARestartMissingKeysAreAskedForAgain(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	a.stop() // so that nobody can answer
	g := must(grant(newRoomKey(), []ordering.DeviceKey{a.device()}))(t)
	if _, _, err := b.inner().sayAndWait(t.Context(), &saying{kind: ordering.KindKey, body: g.Encode()}); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b = b.again()
	if b.holdsKey(g.ID) {
		t.Fatal("a key for another was opened")
	}
	a = a.again()
	a.until("it has its key", func() bool { return a.holdsKey(g.ID) })
	b.until("it has been given the key", func() bool { return b.holdsKey(g.ID) })
}

// stranger is a device that is in no room. It lets all that it is told pass by.
type stranger struct {
	net *p2p.Network
	up  chan ordering.DeviceKey
}

func (s *stranger) PeerUp(d ordering.DeviceKey, _ wire.Hello)   { s.up <- d }
func (s *stranger) PeerDown(ordering.DeviceKey, p2p.DownReason) {}
func (s *stranger) PeerSuspected(ordering.DeviceKey, bool)      {}
func (s *stranger) PeerAddrs(ordering.DeviceKey)                {}
func (s *stranger) PeerHealth(ordering.DeviceKey, p2p.Health)   {}
func (s *stranger) ServeFinals(context.Context, ordering.DeviceKey, wire.FinalsRequest, func(uint64, []ordering.Listed) error) error {
	return nil
}
func (s *stranger) PeerHears(ordering.DeviceKey, []ordering.DeviceKey)            {}
func (s *stranger) SharedRooms(ordering.DeviceKey, []ordering.RoomID)             {}
func (s *stranger) Message(ordering.DeviceKey, ordering.RoomID, ordering.Message) {}
func (s *stranger) Gossip(ordering.DeviceKey, ordering.RoomID, ordering.Run)      {}
func (s *stranger) Refused(ordering.DeviceKey, ordering.Reason)                   {}
func (s *stranger) AdmitJoin(context.Context, ordering.DeviceKey, wire.JoinRequest) wire.JoinReply {
	return wire.JoinReply{Refused: wire.RefusedNotMember}
}
func (s *stranger) ServeFetch(context.Context, ordering.DeviceKey, wire.FetchRequest, func(ordering.Run) error) (bool, error) {
	return false, nil
}
func (s *stranger) ServeNearby(context.Context, ordering.DeviceKey) wire.NearbyReply {
	return wire.NearbyReply{}
}

func (s *stranger) ServeKeys(context.Context, ordering.DeviceKey, wire.KeysRequest) wire.KeysReply {
	return wire.KeysReply{}
}

func TestAStrangerIsGivenNothingAndCounted(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	a.say("not for strangers")
	key, device := testDevice(99)
	s := &stranger{up: make(chan ordering.DeviceKey, 8)}
	s.net = must(p2p.New(p2p.Config{Key: key, Name: "stranger", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NoMDNS: true, NoDHT: true, Handler: s}))(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.net.Run(ctx) }()
	defer func() {
		stop()
		if err, _ := within(done); err != nil {
			t.Error(err)
		}
	}()
	s.net.Remember(a.device(), a.Addrs())
	s.net.Members([]ordering.DeviceKey{a.device()})
	if _, ok := within(s.up); !ok {
		t.Fatal("not connected")
	}
	lobbyID := a.inner().id
	held := func() uint64 { return inRoom(a, func(r *room) uint64 { return r.core.Graph().Have().Count() }) }
	before := held()
	refused := func() uint64 { return must(a.Status(t.Context()))(t).Refused[string(ordering.NotMember)] }

	if more, err := s.net.Fetch(t.Context(), a.device(), wire.FetchRequest{Room: lobbyID, Newest: 10}, func(ordering.Run) error { return errors.New("a run") }); more || err != nil && strings.Contains(err.Error(), "a run") {
		t.Errorf("fetch: %t, %v", more, err)
	}
	if more, err := s.net.Fetch(t.Context(), a.device(), wire.FetchRequest{Room: lobbyID, Wants: []ordering.Want{{Origin: a.id.origin}}}, func(ordering.Run) error { return errors.New("a run") }); more || err != nil && strings.Contains(err.Error(), "a run") {
		t.Errorf("fetch: %t, %v", more, err)
	}
	if k, err := s.net.Keys(t.Context(), a.device(), wire.KeysRequest{Room: lobbyID, IDs: []ordering.KeyID{a.keyInUse()}}); len(k.Keys) > 0 {
		t.Errorf("keys: %v, %v", k, err)
	}
	counted(t, "3", func() bool { return refused() == 3 })

	// A push into the room, then a goodbye, which comes after it on the stream.
	events := a.Events(t.Context())
	e := ordering.Entry{Room: lobbyID, Origin: ordering.Origin{Device: device}, Seq: 1, TS: 1, Kind: ordering.KindNull}
	s.net.Share(a.device(), []ordering.RoomID{lobbyID})
	s.net.Send(a.device(), lobbyID, &ordering.Digest{Hash: ordering.Hash{1}, Count: 1})
	s.net.Send(a.device(), lobbyID, &ordering.Push{Run: ordering.SignRun(key, ordering.Seal(e)).Run()})
	stop()
	for e := range events {
		if e.Type == chat.EventPeer && e.State == string(chat.PeerLeft) {
			break
		}
	}
	counted(t, "5", func() bool { return refused() == 5 })
	if after := held(); after != before {
		t.Errorf("%d entries became %d", before, after)
	}
	if c := inRoom(a, func(r *room) int { return len(r.core.Connected()) }); c != 0 {
		t.Errorf("%d strangers share the room", c)
	}
}

func TestBrokenFramesAreCounted(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	h := must(libp2p.New(libp2p.NoListenAddrs))(t)
	defer h.Close()
	at := must(libp2ppeer.AddrInfoFromString(a.Addrs()[0]))(t)
	if err := h.Connect(t.Context(), *at); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/tertulia/peer/1", "/tertulia/join/1", "/tertulia/fetch/1", "/tertulia/keys/1"} {
		for _, frame := range [][]byte{{3, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0x7f}} { // no protobuf; 256 MiB
			s, err := h.NewStream(t.Context(), at.ID, protocol.ID(name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(frame); err != nil {
				t.Error(err)
			}
			if n, err := s.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Errorf("%s answers %d bytes, %v", name, n, err)
			}
		}
	}
	// Fetches and keys are for members: of a stranger's, not a byte is read.
	counted(t, "2 malformed, 2 oversize, 4 not-member", func() bool {
		refused := must(a.Status(t.Context()))(t).Refused
		return refused[string(ordering.Malformed)] == 2 && refused[string(ordering.Oversize)] == 2 && refused[string(ordering.NotMember)] == 4
	})
}

// counted waits for a count, which no change announces.
func counted(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never counted %s", what)
		}
	}
}

func TestAMembersForgeriesAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	next := inRoom(b, func(r *room) ordering.Entry { return r.core.Graph().Next(r.n.id.origin) })
	next.Kind = ordering.KindNull
	good := ordering.SignRun(b.id.key, ordering.Seal(next)).Run()
	unsigned := good
	unsigned.Sig[0] ^= 1
	wrongTime := next
	wrongTime.TS += 1000
	before := a.inner().view.Load().entries
	for want, run := range map[ordering.Reason]ordering.Run{
		ordering.BadSignature: unsigned,
		ordering.WrongTime:    ordering.SignRun(b.id.key, ordering.Seal(wrongTime)).Run(),
	} {
		(*handler)(a.Node).Message(b.device(), a.inner().id, &ordering.Push{Run: run})
		counted(t, string(want), func() bool { return must(a.Status(t.Context()))(t).Refused[string(want)] == 1 })
	}
	if after := a.inner().view.Load().entries; after != before {
		t.Errorf("%d entries became %d", before, after)
	}
	if !bytes.Equal(good.Bytes()[:3], unsigned.Bytes()[:3]) {
		t.Error("the forgery is not of the run's shape")
	}

	// One that waited for its past is counted when that comes.
	early := next
	early.Seq, early.Prev, early.TS, early.Deps = next.Seq+1, good.Last().Hash(), next.TS+1000, nil
	for _, run := range []ordering.Run{ordering.SignRun(b.id.key, ordering.Seal(early)).Run(), good} {
		(*handler)(a.Node).Message(b.device(), a.inner().id, &ordering.Push{Run: run})
	}
	counted(t, "the one that waited", func() bool {
		return must(a.Status(t.Context()))(t).Refused[string(ordering.WrongTime)] == 2
	})
	a.say("goes on")
	sameLists(1, a, b)
}

func TestTwoOfOneNameAreToldApart(t *testing.T) {
	t.Parallel()
	nodes := party(t, "same", "same")
	for _, r := range nodes {
		var names []string
		for _, m := range must(r.Members(t.Context(), lobby))(t) {
			names = append(names, m.Name)
		}
		if len(names) != 2 || names[0] == names[1] || len(names[0]) != len("same~12345678") || names[0][:5] != "same~" {
			t.Errorf("members %q", names)
		}
	}
}
