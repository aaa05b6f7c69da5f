package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"tertulia/ordering"
	"tertulia/p2p/wire"
)

// stranger is a host without our code, connected to a node.
func stranger(t *testing.T, seed byte, to *node) (host.Host, ordering.DeviceKey) {
	t.Helper()
	h, err := newHost(Config{Key: testKey(seed), Listen: onTCP, Log: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Connect(ctx, peer.AddrInfo{ID: to.host.ID(), Addrs: to.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	d, err := deviceOf(h.ID())
	if err != nil {
		t.Fatal(err)
	}
	return h, d
}

// idle opens a stream on which a frame begins and does not go on.
func idle(t *testing.T, h host.Host, to *node, id protocol.ID) network.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := h.NewStream(ctx, to.host.ID(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte{100}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (g *gate) busy() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

// crowd has strangers take all the places of a gate that they can get, for good.
func crowd(t *testing.T, a *node, id protocol.ID, g *gate) {
	t.Helper()
	const peers, each = 16, joinsInWindow // more streams than there are places
	var refused atomic.Int64
	for seed := range byte(peers) {
		h, _ := stranger(t, 100+seed, a)
		for range each {
			s := idle(t, h, a, id)
			go func() {
				_, _ = s.Read(make([]byte, 1)) // ends with the stream
				refused.Add(1)
			}()
		}
	}
	deadline := time.After(patience)
	for g.busy()+int(refused.Load()) < peers*each {
		select {
		case <-deadline:
			t.Fatalf("%d streams are served, %d refused", g.busy(), refused.Load())
		case <-time.After(time.Millisecond):
		}
	}
}

func TestStrangersLeavePlacesForMembersWhoJoin(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.idle = time.Hour
	a.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply {
		return wire.JoinReply{Refused: wire.RefusedUsedUp}
	}
	a.Members([]ordering.DeviceKey{b.Self()})
	crowd(t, a, protocolJoin, a.gates.join)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, _, err := b.Join(ctx, a.Addrs(), nil, func(ordering.DeviceKey) wire.JoinRequest { return wire.JoinRequest{Name: "n2"} })
	if err != nil || reply.Refused != wire.RefusedUsedUp {
		t.Errorf("a member is answered %+v, %v", reply, err)
	}
}

func TestStrangersLeavePlacesForMembersWhoConnect(t *testing.T) {
	a := start(t, 1)
	a.idle = time.Hour
	a.Members([]ordering.DeviceKey{ordering.DeviceKey(testKey(2).Public().(ed25519.PublicKey))})
	crowd(t, a, protocolPeer, a.gates.hello)
	fake, _, _ := mute(t, a) // has one try
	fake.Close()
}

func TestGateKeepsAPlaceForEachMember(t *testing.T) {
	g := newGate()
	who := func(i int) (d ordering.DeviceKey) {
		binary.BigEndian.PutUint32(d[:], uint32(i))
		return d
	}
	fill := func(from, peers int, known bool) (served int, release []func()) {
		for i := range peers {
			for range totalStreams {
				if r, ok := g.enter(who(from+i), known); ok {
					served++
					release = append(release, r)
				}
			}
		}
		return served, release
	}
	strangers, out := fill(0, 100, false)
	if strangers != strangerStreams {
		t.Errorf("%d streams of strangers are served, want %d", strangers, strangerStreams)
	}
	if one, _ := fill(1000, 1, true); one != perPeerStreams {
		t.Errorf("%d streams of one member are served, want %d", one, perPeerStreams)
	}
	fill(2000, 20, true)
	if late, _ := fill(3000, 1, true); late != 1 {
		t.Errorf("%d streams of a member that comes last are served, want its one", late)
	}
	for _, r := range out {
		r()
	}
	if g.strangers != 0 || len(g.in) != 22 {
		t.Errorf("%d strangers, %d peers after all strangers are gone", g.strangers, len(g.in))
	}
}

func TestStrangersRequestsAreNotRead(t *testing.T) {
	for _, id := range []protocol.ID{protocolFetch, protocolFinals, protocolKeys} {
		a := start(t, 1)
		h, d := stranger(t, 2, a)
		s := idle(t, h, a, id)
		if got := a.await(t, "refused", d); got != ordering.NotMember {
			t.Errorf("%s: refused as %v, want not-member", id, got)
		}
		ended(t, s)
	}
}

// ended waits until a node has broken a stream off.
func ended(t *testing.T, s network.Stream) {
	t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, network.ErrReset) {
		t.Errorf("the stream ends with %v, want a reset", err)
	}
}

func TestStrangersHaveLittleTimeForARequest(t *testing.T) {
	a := start(t, 1)
	a.idle = 200 * time.Millisecond
	h, _ := stranger(t, 2, a)
	for _, id := range []protocol.ID{protocolJoin, protocolPeer} {
		began := time.Now()
		ended(t, idle(t, h, a, id))
		if took := time.Since(began); took > helloWait-time.Second {
			t.Errorf("%s: an idle stream is kept for %v", id, took)
		}
	}
}

func TestWhoWasAdmittedMayAskAtOnce(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply {
		return wire.JoinReply{Genesis: testRun(1, 1, 10)}
	}
	a.answer = func(context.Context, wire.FetchRequest, func(ordering.Run) error) (bool, error) { return true, nil }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b.Remember(a.Self(), a.Addrs())
	fetch := func() (bool, error) {
		return b.Fetch(ctx, a.Self(), wire.FetchRequest{}, func(ordering.Run) error { return nil })
	}
	if _, err := fetch(); err == nil {
		t.Error("a stranger is answered")
	}
	if _, _, err := b.Join(ctx, a.Addrs(), nil, func(ordering.DeviceKey) wire.JoinRequest { return wire.JoinRequest{Name: "n2"} }); err != nil {
		t.Fatal(err)
	}
	if more, err := fetch(); !more || err != nil {
		t.Errorf("who was admitted is answered %v, %v", more, err)
	}
	a.Members([]ordering.DeviceKey{b.Self()})
	a.Members(nil)
	if _, err := fetch(); err == nil {
		t.Error("who is no member any more is answered")
	}
}

// refusals counts what a Handler is told of one device until it is down.
func (s *scribe) refusals(t *testing.T, d ordering.DeviceKey) (count int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case c := <-s.calls:
			if c.who == d && c.what == "down" {
				return count
			}
			if c.who == d && c.what == "refused" {
				count++
			}
		case <-timeout:
			t.Fatal("the peer stays up")
		}
	}
}

func TestStreamOfBadFramesEnds(t *testing.T) {
	misplaced, err := wire.Encode(&wire.FetchEnd{})
	if err != nil {
		t.Fatal(err)
	}
	misplaced = append(binary.AppendUvarint(nil, uint64(len(misplaced))), misplaced...)
	for name, frame := range map[string][]byte{"malformed": {3, 0xff, 0xff, 0xff}, "misplaced": misplaced} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			a := start(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			fake, d, s := mute(t, a)
			defer fake.Close()
			if _, err := s.Write(bytes.Repeat(frame, 3*maxRefusals)); err != nil {
				t.Fatal(err)
			}
			if got := a.refusals(t, d); got != maxRefusals+1 {
				t.Errorf("%d frames were refused, want %d", got, maxRefusals+1)
			}
			if err := a.stop(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(log.String(), "refused what a peer sent"); got != 1 {
				t.Errorf("%d lines of the log, want 1:\n%s", got, log.String())
			}
		})
	}
}

// heckler gossips bytes as they are.
type heckler struct {
	*pubsub.Topic
	device ordering.DeviceKey
}

func newHeckler(t *testing.T, seed byte, to *node) heckler {
	t.Helper()
	h, d := stranger(t, seed, to)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { s := sha256.Sum256(m.GetData()); return string(s[:]) }))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := ps.Join(topicOf(testRoom))
	if err != nil {
		t.Fatal(err)
	}
	events, err := topic.EventHandler()
	if err != nil {
		t.Fatal(err)
	}
	soon, done := context.WithTimeout(ctx, patience)
	defer done()
	if _, err := events.NextPeerEvent(soon); err != nil {
		t.Fatalf("the node gossips in no such room: %v", err)
	}
	return heckler{topic, d}
}

func (h heckler) say(t *testing.T, b []byte) {
	t.Helper()
	if err := h.Publish(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

func TestForgedGossipIsNotPassedOn(t *testing.T) {
	a, b := pair(t)
	a.Topics([]ordering.RoomID{testRoom})
	b.Topics([]ordering.RoomID{testRoom})
	x, y := newHeckler(t, 3, a), newHeckler(t, 4, a)

	// Good runs until the mesh has formed.
	timeout := time.After(patience)
	seq, formed := uint64(0), false
	for !formed {
		seq++
		x.say(t, testRun(3, seq, 10).Bytes())
		select {
		case c := <-b.calls:
			formed = c.what == "gossip"
		case <-time.After(100 * time.Millisecond):
		case <-timeout:
			t.Fatal("the gossip does not arrive")
		}
	}

	forged := testRun(3, 1_000_000, 10)
	forged.Sig[0] ^= 1
	elsewhere := ordering.Seal(ordering.Entry{Room: ordering.RoomID{1}, Origin: forged.Origin(), Seq: 1, TS: 1, Kind: ordering.KindNull})
	x.say(t, forged.Bytes())
	if got := a.await(t, "refused", x.device); got != ordering.BadSignature {
		t.Errorf("refused as %v, want bad-signature", got)
	}
	y.say(t, forged.Bytes()) // the same again costs nothing
	y.say(t, ordering.SignRun(testKey(3), elsewhere).Run().Bytes())
	if got := a.await(t, "refused", y.device); got != ordering.WrongRoom {
		t.Errorf("refused as %v, want wrong-room", got)
	}
	last := testRun(3, 2_000_000, 10)
	x.say(t, last.Bytes())
	for {
		select {
		case c := <-b.calls:
			if c.what == "refused" {
				t.Errorf("a passed on what b refuses as %v", c.value)
			}
			if c.what != "gossip" {
				continue
			}
			run := c.value.(ordering.Run)
			if _, err := ordering.VerifyRun(run); err != nil || run.First().Room != testRoom {
				t.Errorf("b is given a run of %s: %v", run.First().Room, err)
			}
			if slices.Equal(run.Bytes(), last.Bytes()) {
				return
			}
		case <-timeout:
			t.Fatal("the last run does not arrive")
		}
	}
}
