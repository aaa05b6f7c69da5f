package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"

	"tertulia/ordering"
	"tertulia/p2p/discovery"
	"tertulia/p2p/wire"
)

const patience = 20 * time.Second // for what must happen, on a busy machine

var testRoom = ordering.RoomID{42}

// said is one call of a Handler.
type said struct {
	what  string
	who   ordering.DeviceKey
	value any
}

// scribe is a Handler that writes down what it is told.
type scribe struct {
	calls   chan said
	answer  func(ctx context.Context, req wire.FetchRequest, send func(ordering.Run) error) (bool, error)
	finals  func(req wire.FinalsRequest, send func(uint64, []ordering.Listed) error) error
	admit   func(d ordering.DeviceKey, req wire.JoinRequest) wire.JoinReply
	message func(d ordering.DeviceKey, room ordering.RoomID, m ordering.Message) // instead of writing it down
}

func newScribe() *scribe { return &scribe{calls: make(chan said, 100_000)} }

func (s *scribe) PeerUp(d ordering.DeviceKey, h wire.Hello) { s.calls <- said{"up", d, h} }
func (s *scribe) PeerDown(d ordering.DeviceKey, r DownReason) {
	s.calls <- said{"down", d, r}
}
func (s *scribe) PeerSuspected(d ordering.DeviceKey, b bool) { s.calls <- said{"suspected", d, b} }
func (s *scribe) PeerHears(d ordering.DeviceKey, h []ordering.DeviceKey) {
	s.calls <- said{"hears", d, h}
}
func (s *scribe) PeerAddrs(d ordering.DeviceKey)            { s.calls <- said{"addrs", d, nil} }
func (s *scribe) PeerHealth(d ordering.DeviceKey, h Health) { s.calls <- said{"health", d, h} }
func (s *scribe) SharedRooms(d ordering.DeviceKey, r []ordering.RoomID) {
	s.calls <- said{"shared", d, r}
}
func (s *scribe) Message(d ordering.DeviceKey, room ordering.RoomID, m ordering.Message) {
	if s.message != nil {
		s.message(d, room, m)
		return
	}
	s.calls <- said{"message", d, m}
}
func (s *scribe) Gossip(d ordering.DeviceKey, _ ordering.RoomID, r ordering.Run) {
	s.calls <- said{"gossip", d, r}
}
func (s *scribe) AdmitJoin(_ context.Context, d ordering.DeviceKey, req wire.JoinRequest) wire.JoinReply {
	return s.admit(d, req)
}
func (s *scribe) ServeFetch(ctx context.Context, _ ordering.DeviceKey, req wire.FetchRequest, send func(ordering.Run) error) (bool, error) {
	return s.answer(ctx, req, send)
}
func (s *scribe) ServeFinals(_ context.Context, _ ordering.DeviceKey, req wire.FinalsRequest, send func(uint64, []ordering.Listed) error) error {
	return s.finals(req, send)
}
func (s *scribe) ServeKeys(_ context.Context, _ ordering.DeviceKey, req wire.KeysRequest) wire.KeysReply {
	var r wire.KeysReply
	for _, id := range req.IDs {
		r.Keys = append(r.Keys, wire.RoomKey{ID: id, Key: [32]byte{id[0]}})
	}
	return r
}
func (s *scribe) ServeNearby(_ context.Context, d ordering.DeviceKey) wire.NearbyReply {
	return wire.NearbyReply{Offers: []wire.Offer{{Room: testRoom, Name: "for " + PeerIDOf(d), Invite: "tertulia:"}}}
}
func (s *scribe) Refused(d ordering.DeviceKey, r ordering.Reason) { s.calls <- said{"refused", d, r} }

// await returns the next call of a kind about a device and forgets those before.
func (s *scribe) await(t testing.TB, what string, who ordering.DeviceKey) any {
	t.Helper()
	_, value := s.next(t, who, what)
	return value
}

// next is await for several kinds.
func (s *scribe) next(t testing.TB, who ordering.DeviceKey, kinds ...string) (what string, value any) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case c := <-s.calls:
			if c.who == who && slices.Contains(kinds, c.what) {
				return c.what, c.value
			}
		case <-timeout.C:
			t.Fatalf("nobody was told %q", kinds)
		}
	}
}

// node is a Network under test.
type node struct {
	*Network
	*scribe
	cfg  Config
	stop func() error
}

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

var (
	onTCP  = []string{"/ip4/127.0.0.1/tcp/0"}
	onQUIC = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	onBoth = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
)

// start runs a node of the given seed until the test ends.
func start(t testing.TB, seed byte, change ...func(*Config)) *node {
	t.Helper()
	h := newScribe()
	cfg := Config{
		Key: testKey(seed), Instance: ordering.Instance{seed}, Name: fmt.Sprintf("n%d", seed), Version: "test",
		Listen: onBoth, NoMDNS: true, NoDHT: true, Handler: h, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	if os.Getenv("P2P_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", cfg.Name)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	x := &node{Network: n, scribe: h, cfg: cfg}
	var stopped bool
	x.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("Run does not return")
		}
	}
	t.Cleanup(func() {
		if err := x.stop(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// befriend makes nodes members of one room that know the first one's addresses.
func befriend(nodes ...*node) {
	for i, x := range nodes {
		var others []ordering.DeviceKey
		for j, y := range nodes {
			if i != j {
				x.Remember(y.Self(), y.Addrs())
				others = append(others, y.Self())
			}
		}
		x.Members(others)
	}
}

func pair(t testing.TB, change ...func(*Config)) (a, b *node) {
	t.Helper()
	a, b = start(t, 1, change...), start(t, 2, change...)
	befriend(a, b)
	a.await(t, "up", b.Self())
	b.await(t, "up", a.Self())
	return a, b
}

// testRun is the seq-th entry of a seed's chain, which is not linked: p2p looks
// at the shape alone.
func testRun(seed byte, seq uint64, body int) ordering.Run {
	key := testKey(seed)
	o := ordering.Origin{Device: ordering.DeviceKey(key.Public().(ed25519.PublicKey))}
	e := ordering.Seal(ordering.Entry{Room: testRoom, Origin: o, Seq: seq, TS: seq, Kind: ordering.KindMessage, Body: make([]byte, body)})
	return ordering.SignRun(key, e).Run()
}

func TestHelloGoesBothWays(t *testing.T) {
	for name, listen := range map[string][]string{"tcp": onTCP, "quic": onQUIC, "both": onBoth} {
		t.Run(name, func(t *testing.T) {
			a := start(t, 1, func(c *Config) { c.Listen = listen })
			b := start(t, 2, func(c *Config) { c.Listen = listen })
			befriend(a, b)
			for _, x := range [][2]*node{{a, b}, {b, a}} {
				h := x[0].await(t, "up", x[1].Self()).(wire.Hello)
				want := wire.Hello{BootID: x[1].boot, Instance: x[1].cfg.Instance, Name: x[1].cfg.Name, Version: "test"}
				if h != want {
					t.Errorf("hello = %+v, want %+v", h, want)
				}
			}
		})
	}
}

func TestOneSidedMembershipConnects(t *testing.T) {
	for _, seeds := range [][2]byte{{1, 2}, {2, 1}} { // whichever key is the smaller
		a, b := start(t, seeds[0]), start(t, seeds[1])
		a.Remember(b.Self(), b.Addrs())
		a.Members([]ordering.DeviceKey{b.Self()})
		a.await(t, "up", b.Self())
		b.await(t, "up", a.Self())
	}
}

func TestMessagesArriveInOrder(t *testing.T) {
	a, b := pair(t)
	const count = 1000
	for i := range uint64(count) {
		a.Send(b.Self(), testRoom, &ordering.Push{Run: testRun(1, i+1, 100)})
	}
	for i := range uint64(count) {
		if got := b.await(t, "message", a.Self()).(*ordering.Push).Run.First().Seq; got != i+1 {
			t.Fatalf("message %d arrives as number %d", got, i+1)
		}
	}
}

func TestSharedRoomsAndHearsAreTold(t *testing.T) {
	a, b := pair(t)
	rooms := []ordering.RoomID{{1}, {2}}
	a.Share(b.Self(), rooms)
	if got := b.await(t, "shared", a.Self()); !reflect.DeepEqual(got, rooms) {
		t.Errorf("shared rooms = %v, want %v", got, rooms)
	}
	for {
		if got := a.await(t, "hears", b.Self()).([]ordering.DeviceKey); slices.Contains(got, a.Self()) {
			break
		}
	}
}

func TestSharedRoomsAreToldWhenTheyChange(t *testing.T) {
	a, b := pair(t)
	one, two := []ordering.RoomID{{1}, {2}}, []ordering.RoomID{{2}, {3}}
	var told []any
	for i, rooms := range [][]ordering.RoomID{one, one, two, two, nil, nil, one} {
		a.Share(b.Self(), rooms)
		a.Send(b.Self(), testRoom, &ordering.Digest{Count: uint64(i)}) // comes after it
		for heard := false; !heard; {
			select {
			case c := <-b.calls:
				if c.what == "shared" {
					told = append(told, c.value)
				}
				heard = c.what == "message"
			case <-time.After(patience):
				t.Fatal("the message does not come")
			}
		}
	}
	if want := []any{one, two, []ordering.RoomID{}, one}; !reflect.DeepEqual(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestRoundTripIsMeasured(t *testing.T) {
	a, b := pair(t)
	deadline := time.After(patience)
	for {
		p := a.Peers()
		if len(p) == 1 && p[0].RTT > 0 {
			if p[0].Device != b.Self() || a.RTT(b.Self()) == 0 || a.RTT(a.Self()) != 0 || p[0].State != Connected || p[0].Name != "n2" || p[0].RTT > time.Second {
				t.Errorf("peer = %+v", p[0])
			}
			return
		}
		select {
		case <-deadline:
			t.Fatal("no round trip was measured")
		case <-a.calls: // each heartbeat with news wakes us; so does the peer's hears
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestFullQueueDropsTheOldestPushAndKeepsControl(t *testing.T) {
	o := newOutbox()
	have := &wire.Room{Room: testRoom, Msg: &ordering.Have{Vector: ordering.Vector{{}: 1}, Answer: true}}
	digest := &wire.Room{Room: testRoom, Msg: &ordering.Digest{Count: 1}}
	o.put(have)
	o.put(digest)
	dropped := 0
	for i := range uint64(maxQueuedHints + 3) {
		dropped += o.put(&wire.Room{Room: testRoom, Msg: &ordering.Push{Run: testRun(1, i+1, 1)}}).hints
	}
	if dropped != 3 {
		t.Errorf("dropped %d, want 3", dropped)
	}
	if o.take() != wire.Frame(have) || o.take() != wire.Frame(digest) {
		t.Error("a Have or Digest was dropped")
	}
	for want := uint64(4); want <= maxQueuedHints+3; want++ {
		f := o.take().(*wire.Room)
		if got := f.Msg.(*ordering.Push).Run.First().Seq; got != want {
			t.Fatalf("push %d is next, want %d", got, want)
		}
	}
	if o.take() != nil || o.bytes != 0 || len(o.control) != 0 {
		t.Error("the emptied queue is not empty")
	}
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	o := newOutbox()
	dropped := 0
	for i := range uint64(200) {
		dropped += o.put(&wire.Room{Room: testRoom, Msg: &ordering.Push{Run: testRun(1, i+1, ordering.MaxBody)}}).hints
	}
	if o.bytes > maxQueuedBytes || dropped == 0 || o.hints.Len()+dropped != 200 {
		t.Errorf("%d bytes wait, %d dropped, %d kept", o.bytes, dropped, o.hints.Len())
	}
}

func TestLaterHaveReplacesTheEarlierAndKeepsItsQuestion(t *testing.T) {
	o := newOutbox()
	v := ordering.Vector{{}: 2}
	o.put(&wire.Room{Room: testRoom, Msg: &ordering.Have{Vector: ordering.Vector{{}: 1}, Answer: true}})
	o.put(&wire.Room{Room: testRoom, Msg: &ordering.Have{Vector: v}})
	got := o.take().(*wire.Room).Msg
	if want := (&ordering.Have{Vector: v, Answer: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("have = %+v, want %+v", got, want)
	}
	if o.take() != nil {
		t.Error("two Haves of a room wait")
	}
}

func TestSlowPeerLosesHintsAndNobodyElseDoes(t *testing.T) {
	hold := make(chan struct{})
	a, slow, quick := start(t, 1), start(t, 2), start(t, 3)
	slow.scribe.message = func(ordering.DeviceKey, ordering.RoomID, ordering.Message) { <-hold }
	defer close(hold)
	befriend(a, slow)
	a.await(t, "up", slow.Self())
	quick.Remember(a.Self(), a.Addrs())
	quick.Members([]ordering.DeviceKey{a.Self()})
	a.await(t, "up", quick.Self())
	const count = 400
	for i := range uint64(count) {
		r := testRun(1, i+1, ordering.MaxBody)
		a.Send(slow.Self(), testRoom, &ordering.Push{Run: r})
		a.Send(quick.Self(), testRoom, &ordering.Push{Run: r})
		if got := quick.await(t, "message", a.Self()).(*ordering.Push).Run.First().Seq; got != i+1 {
			t.Fatalf("the quick peer gets %d, want %d", got, i+1)
		}
	}
	if a.Stats().DroppedHints == 0 {
		t.Error("nothing was dropped though the slow peer takes nothing")
	}
}

// listeningAddrs returns a node's listen addresses with the ports it got.
func listeningAddrs(n *node) []string {
	var addrs []string
	for _, a := range n.host.Network().ListenAddresses() {
		addrs = append(addrs, a.String())
	}
	return addrs
}

// kill closes a node's sockets as the kernel would, without a goodbye.
func (x *node) kill() error {
	x.Network.mu.Lock()
	x.Network.stopping = true
	x.Network.mu.Unlock()
	err := x.host.Close()
	return errors.Join(err, x.stop())
}

func TestKilledPeerIsDownAndUpAgainAfterItsRestart(t *testing.T) {
	for name, listen := range map[string][]string{"tcp": onTCP, "quic": onQUIC, "both": onBoth} {
		t.Run(name, func(t *testing.T) {
			a := start(t, 1, func(c *Config) { c.Listen = listen })
			b := start(t, 2, func(c *Config) { c.Listen = listen })
			befriend(a, b)
			first := a.await(t, "up", b.Self()).(wire.Hello)
			b.await(t, "up", a.Self())
			fixed := listeningAddrs(b)
			if err := b.kill(); err != nil {
				t.Log(err)
			}
			if got := a.await(t, "down", b.Self()); got != Lost {
				t.Errorf("down because %v, want lost", got)
			}
			b2 := start(t, 2, func(c *Config) { c.Listen = fixed })
			began := time.Now()
			second := a.await(t, "up", b2.Self()).(wire.Hello)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("connected %v after the restart", took)
			} else {
				t.Logf("connected %v after the restart", took)
			}
			if first.BootID == second.BootID {
				t.Error("the boot id did not change")
			}
		})
	}
}

func TestGoodbyeIsTold(t *testing.T) {
	a, b := pair(t)
	began := time.Now()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if got := a.await(t, "down", b.Self()); got != Left {
		t.Errorf("down because %v, want left", got)
	}
}

func TestSilentPeerIsSuspectedThenDown(t *testing.T) {
	a := start(t, 1)
	fake, d, _ := mute(t, a)
	defer fake.Close()
	began := time.Now()
	if got := a.await(t, "suspected", d); got != true {
		t.Errorf("suspected = %v", got)
	}
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("suspected after %v already", took)
	}
	if got := a.await(t, "down", d); got != Lost {
		t.Errorf("down because %v, want lost", got)
	}
}

func TestSilentPeerIsSuspectedAlsoWhileTheWriterWaits(t *testing.T) {
	a := start(t, 1)
	fake, d, _ := mute(t, a)
	defer fake.Close()
	for i := range uint64(maxQueuedHints) {
		a.Send(d, testRoom, &ordering.Push{Run: testRun(1, i+1, 10_000)})
	}
	began := time.Now()
	a.await(t, "suspected", d)
	a.await(t, "down", d)
	if took := time.Since(began); took > writeWait-time.Second {
		t.Errorf("down after %v, when the writer gave up", took)
	}
}

// TestLossOfAPeerThatCameByItselfIsToldThoughADialHangs: the peer was away for
// so long that a dial may hang for attemptLong.
func TestLossOfAPeerThatCameByItselfIsToldThoughADialHangs(t *testing.T) {
	hole, err := net.Listen("tcp4", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	a := start(t, 1)
	d := ordering.DeviceKey(testKey(2).Public().(ed25519.PublicKey))
	port := hole.Addr().(*net.TCPAddr).Port
	a.Remember(d, []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", port, PeerIDOf(d))})
	a.Network.mu.Lock()
	l := a.link(d)
	a.Network.mu.Unlock()
	result := make(chan error, 1)
	go func() { result <- a.attempt(l, quickAttempts) }()
	if _, err := hole.Accept(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	fake, _, _ := mute(t, a)
	defer fake.Close()
	if err := <-result; err == nil {
		t.Error("the dial that hangs brought a connection")
	}
	if took := time.Since(began); took > attemptLong/2 {
		t.Errorf("the dial went on for %v though the peer had come", took)
	}
}

// mute connects a peer that says hello, beats once and falls silent.
func mute(t *testing.T, to *node) (host.Host, ordering.DeviceKey, network.Stream) {
	t.Helper()
	fake, err := newHost(Config{Key: testKey(2), Listen: onTCP, Log: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := fake.Connect(ctx, peer.AddrInfo{ID: to.host.ID(), Addrs: to.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	s, err := fake.NewStream(ctx, to.host.ID(), protocolPeer)
	if err != nil {
		t.Fatal(err)
	}
	w := wire.NewWriter(s)
	if err := errors.Join(w.Write(&wire.Hello{BootID: 1, Name: "mute"}), w.Write(&wire.Heartbeat{Counter: 1}), w.Flush()); err != nil {
		t.Fatal(err)
	}
	d, err := deviceOf(fake.ID())
	if err != nil {
		t.Fatal(err)
	}
	to.await(t, "up", d)
	return fake, d, s
}

func TestOversizeFrameEndsTheStreamAndIsRefused(t *testing.T) {
	a := start(t, 1)
	fake, d, s := mute(t, a)
	defer fake.Close()
	if _, err := s.Write([]byte{0xff, 0xff, 0xff, 0x7f}); err != nil {
		t.Fatal(err)
	}
	if got := a.await(t, "refused", d); got != ordering.Oversize {
		t.Errorf("refused as %v, want oversize", got)
	}
	if err := s.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, network.ErrReset) {
		t.Errorf("the stream ends with %v, want a reset", err)
	}
	a.await(t, "down", d)
}

func TestJoinBringsTheAnswerOfWhoIsReached(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	reply := wire.JoinReply{Genesis: testRun(1, 1, 10), Heads: ordering.Vector{{}: 3}, Keys: []wire.RoomKey{{ID: ordering.KeyID{1}}}}
	var asked wire.JoinRequest
	a.admit = func(d ordering.DeviceKey, req wire.JoinRequest) wire.JoinReply {
		if d != b.Self() {
			t.Error("another device asks")
		}
		asked = req
		return reply
	}
	dead := "/ip4/127.0.0.1/tcp/1/p2p/" + PeerIDOf(ordering.DeviceKey(testKey(9).Public().(ed25519.PublicKey)))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := wire.JoinRequest{Room: testRoom, Name: "n2", TimeMS: 5, Proof: [64]byte{1}}
	got, from, err := b.Join(ctx, append([]string{dead}, a.Addrs()...), nil, func(admitter ordering.DeviceKey) wire.JoinRequest {
		want := want
		want.Origin.Device = admitter
		return want
	})
	if err != nil {
		t.Fatal(err)
	}
	want.Origin.Device = a.Self()
	if asked != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	if from != a.Self() || !reflect.DeepEqual(got, reply) {
		t.Errorf("reply %+v from %v", got, from)
	}
}

func TestJoinBringsARefusal(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	a.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply {
		return wire.JoinReply{Refused: wire.RefusedUsedUp}
	}
	req := func(ordering.DeviceKey) wire.JoinRequest { return wire.JoinRequest{Name: "n2"} }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, _, err := b.Join(ctx, a.Addrs(), nil, req)
	if err != nil || got.Refused != wire.RefusedUsedUp {
		t.Errorf("refused = %q, %v", got.Refused, err)
	}
	for range joinsInWindow {
		if _, _, err = b.Join(ctx, a.Addrs(), nil, req); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("a peer may ask without end")
	}
}

func TestJoinGoesOnAfterARefusal(t *testing.T) {
	refuses, admits, b := start(t, 1), start(t, 3), start(t, 2)
	asked := make(chan struct{})
	refuses.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply {
		close(asked)
		return wire.JoinReply{Refused: wire.RefusedExpired}
	}
	want := wire.JoinReply{Genesis: testRun(1, 1, 10), Heads: ordering.Vector{{}: 3}, Keys: []wire.RoomKey{{}}}
	admits.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply { return want }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, from, err := b.Join(ctx, append(refuses.Addrs(), admits.Addrs()...), nil, func(admitter ordering.DeviceKey) wire.JoinRequest {
		if admitter == admits.Self() {
			<-asked
		}
		return wire.JoinRequest{Name: "n2"}
	})
	if err != nil || from != admits.Self() || !reflect.DeepEqual(got, want) {
		t.Errorf("reply %+v from %v, %v", got, from, err)
	}
}

func TestJoinBringsTheRefusalThatSaysMost(t *testing.T) {
	b := start(t, 2)
	var addrs []string
	for i, refused := range []string{wire.RefusedNotMember, wire.RefusedRevoked, wire.RefusedUnknownInvite} {
		x := start(t, byte(10+i))
		x.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply { return wire.JoinReply{Refused: refused} }
		addrs = append(addrs, x.Addrs()...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, _, err := b.Join(ctx, addrs, nil, func(ordering.DeviceKey) wire.JoinRequest { return wire.JoinRequest{Name: "n2"} })
	if want := (wire.JoinReply{Refused: wire.RefusedRevoked, Answered: 3}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("reply %+v, %v, want %+v", got, err, want)
	}
}

func TestRefusalsAreRanked(t *testing.T) {
	order := []string{
		wire.RefusedRemoved, wire.RefusedExpired, wire.RefusedRevoked, wire.RefusedUsedUp, wire.RefusedFull,
		wire.RefusedUnknownInvite, "of a later version", wire.RefusedNotMember,
	}
	if !slices.IsSortedFunc(order, func(a, b string) int { return tells(b) - tells(a) }) {
		t.Errorf("%v are not in order", order)
	}
}

func TestJoinEndsWithItsContextAndTellsWhatItHeard(t *testing.T) {
	refuses, hangs, b := start(t, 1), start(t, 3), start(t, 2)
	hold, refused := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	refuses.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply {
		close(refused)
		return wire.JoinReply{Refused: wire.RefusedNotMember}
	}
	hangs.admit = func(ordering.DeviceKey, wire.JoinRequest) wire.JoinReply {
		cancel()
		<-hold
		return wire.JoinReply{}
	}
	defer close(hold)
	got, from, err := b.Join(ctx, append(refuses.Addrs(), hangs.Addrs()...), nil, func(admitter ordering.DeviceKey) wire.JoinRequest {
		if admitter == hangs.Self() {
			<-refused
		}
		return wire.JoinRequest{Name: "n2"}
	})
	if err != nil || from != refuses.Self() || got.Refused != wire.RefusedNotMember || got.Answered != 1 {
		t.Errorf("reply %+v from %v, %v", got, from, err)
	}
}

func TestJoinOfNobodyFails(t *testing.T) {
	b := start(t, 2)
	dead := "/ip4/127.0.0.1/tcp/1/p2p/" + PeerIDOf(ordering.DeviceKey(testKey(9).Public().(ed25519.PublicKey)))
	req := func(ordering.DeviceKey) wire.JoinRequest { return wire.JoinRequest{Name: "n2"} }
	for _, addrs := range [][]string{nil, {dead}, {"nonsense"}} {
		if _, _, err := b.Join(context.Background(), addrs, nil, req); err == nil {
			t.Errorf("joined at %v", addrs)
		}
	}
}

func TestFetchStreamsRunsInOrderInBoundedMemory(t *testing.T) {
	a, b := pair(t)
	const count, body, window = 10_000, 10_000, 32 << 20 // bytes on the way
	run := testRun(1, 1, body)                           // again and again: p2p does not verify
	var sent atomic.Int64
	a.answer = func(_ context.Context, _ wire.FetchRequest, send func(ordering.Run) error) (bool, error) {
		for range count {
			if err := send(run); err != nil {
				return false, err
			}
			sent.Add(1)
		}
		return true, nil
	}
	got, ahead := int64(0), int64(0)
	more, err := b.Fetch(context.Background(), a.Self(), wire.FetchRequest{Room: testRoom}, func(r ordering.Run) error {
		got++
		ahead = max(ahead, sent.Load()-got)
		if r.Last().Hash() != run.Last().Hash() {
			return errors.New("another run")
		}
		return nil
	})
	if err != nil || got != count || !more {
		t.Errorf("%d runs, more = %v, %v", got, more, err)
	}
	if ahead*body > window {
		t.Errorf("the sender was %d runs ahead", ahead)
	}
}

func TestFetchEndsWithItsContextAndWithItsConsumer(t *testing.T) {
	a, b := pair(t)
	ended := make(chan error, 2)
	a.answer = func(_ context.Context, _ wire.FetchRequest, send func(ordering.Run) error) (bool, error) {
		for {
			if err := send(testRun(1, 1, 1000)); err != nil {
				ended <- err
				return false, err
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := b.Fetch(ctx, a.Self(), wire.FetchRequest{}, func(ordering.Run) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("fetch ends with %v, want cancelled", err)
	}
	<-ended
	full := errors.New("disk full")
	if _, err := b.Fetch(context.Background(), a.Self(), wire.FetchRequest{}, func(ordering.Run) error { return full }); !errors.Is(err, full) {
		t.Errorf("fetch ends with %v, want the consumer's error", err)
	}
	<-ended
}

func TestFetchThatDripsEnds(t *testing.T) {
	b := start(t, 2)
	b.slowest = 300 * time.Millisecond
	fake, d := stranger(t, 1, b)
	fake.SetStreamHandler(protocolFetch, func(s network.Stream) {
		w := wire.NewWriter(s)
		for range time.Tick(20 * time.Millisecond) { // 15 runs in the window
			if errors.Join(w.Write(&wire.FetchRun{Run: testRun(1, 1, 100)}), w.Flush()) != nil {
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got := 0
	_, err := b.Fetch(ctx, d, wire.FetchRequest{}, func(ordering.Run) error { got++; return nil })
	if !errors.Is(err, errSlow) || got == 0 {
		t.Errorf("after %d runs the fetch ends with %v, want too slow", got, err)
	}
}

func TestPaceAsksForBytesOrRuns(t *testing.T) {
	for _, x := range []struct {
		name       string
		runs, size int // in each window
		slow       bool
	}{
		{"many small", fetchLeastRuns, 1, false},
		{"few large", 2, fetchLeastBytes / 2, false},
		{"few small", fetchLeastRuns - 1, 100, true},
		{"nothing", 0, 0, true},
	} {
		p := pace{window: fetchWindow}
		for range 3 {
			p.wait(fetchWindow - time.Nanosecond)
			for range x.runs {
				p.came(x.size)
			}
		}
		if got := p.left() == 0; got != x.slow {
			t.Errorf("%s: too slow = %v", x.name, got)
		}
	}
}

func TestKeysAreAnswered(t *testing.T) {
	a, b := pair(t)
	got, err := b.Keys(context.Background(), a.Self(), wire.KeysRequest{Room: testRoom, IDs: []ordering.KeyID{{7}}})
	want := wire.KeysReply{Keys: []wire.RoomKey{{ID: ordering.KeyID{7}, Key: [32]byte{7}}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("keys = %v, %v", got, err)
	}
}

func TestGossipReachesWhoIsNotConnectedToTheAuthor(t *testing.T) {
	a, b, c := start(t, 1), start(t, 2), start(t, 3)
	befriend(a, b)
	befriend(b, c)
	b.Members([]ordering.DeviceKey{a.Self(), c.Self()})
	a.await(t, "up", b.Self())
	c.await(t, "up", b.Self())
	for _, x := range []*node{a, b, c} {
		x.Topics([]ordering.RoomID{testRoom})
	}
	timeout := time.After(patience)
	for seq := uint64(1); ; seq++ { // what is published before the mesh forms is lost
		run := testRun(1, seq, 10)
		a.Publish(testRoom, run)
		select {
		case x := <-c.calls:
			if x.what == "gossip" {
				if x.who != b.Self() {
					t.Error("the gossip came from another than the node between")
				}
				if _, err := ordering.VerifyRun(x.value.(ordering.Run)); err != nil {
					t.Error(err)
				}
				return
			}
		case <-time.After(100 * time.Millisecond):
		case <-timeout:
			t.Fatal("the gossip does not arrive")
		}
	}
}

func TestMembersPassOnAddresses(t *testing.T) {
	a, b, c := start(t, 1), start(t, 2), start(t, 3)
	all := []*node{a, b, c}
	for _, x := range all { // everybody knows who is a member, and where b is
		var others []ordering.DeviceKey
		for _, y := range all {
			if x != y {
				others = append(others, y.Self())
				x.Share(y.Self(), []ordering.RoomID{testRoom})
			}
		}
		if x != b {
			x.Remember(b.Self(), b.Addrs())
		}
		x.Members(others)
	}
	c.await(t, "up", a.Self())
}

// Who came by itself is known by what it said as it came, and no longer than some
// minutes after it went, unless it is a member.
func TestAMembersAddressesStayKnownWhileItIsAway(t *testing.T) {
	a, b, c := start(t, 1), start(t, 2), start(t, 3)
	for _, x := range []*node{a, c} {
		x.Remember(b.Self(), b.Addrs())
		x.Members([]ordering.DeviceKey{b.Self()})
		b.await(t, "up", x.Self())
	}
	b.Members([]ordering.DeviceKey{a.Self()})
	b.await(t, "addrs", a.Self())
	for _, x := range []*node{a, c} {
		id, err := idOf(x.Self())
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); len(b.AddrsOf(x.Self())) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("it is never identified")
			}
		}
		for _, passing := range []time.Duration{peerstore.ConnectedAddrTTL, peerstore.RecentlyConnectedAddrTTL} {
			b.host.Peerstore().UpdateAddrs(id, passing, 0)
		}
	}
	if got := b.AddrsOf(a.Self()); len(got) != len(a.Addrs()) {
		t.Errorf("the member's are %v", got)
	}
	if got := b.AddrsOf(c.Self()); len(got) > 0 {
		t.Errorf("the stranger's are %v", got)
	}
}

func TestAddressesArePassedOnOnlyInsideARoom(t *testing.T) {
	a, b, c := start(t, 1), start(t, 2), start(t, 3)
	befriend(a, b)
	a.await(t, "up", b.Self())
	b.await(t, "up", a.Self())
	befriend(b, c)
	b.await(t, "up", c.Self())
	b.Members([]ordering.DeviceKey{a.Self(), c.Self()})
	c.Members([]ordering.DeviceKey{a.Self(), b.Self()}) // c would like to know where a is
	b.Share(a.Self(), []ordering.RoomID{{1}})
	b.Share(c.Self(), []ordering.RoomID{{2}})
	b.spreadRecords()
	b.Send(c.Self(), testRoom, &ordering.Digest{}) // comes after what was spread
	c.await(t, "message", b.Self())
	if got := c.AddrsOf(a.Self()); len(got) > 0 {
		t.Errorf("c was told %v", got)
	}
	b.Share(c.Self(), []ordering.RoomID{{1}, {2}})
	c.await(t, "up", a.Self())
}

func TestAnAddressToldTooEarlyIsToldAgain(t *testing.T) {
	a, b, c := start(t, 1), start(t, 2), start(t, 3)
	befriend(a, b)
	a.await(t, "up", b.Self())
	b.await(t, "up", a.Self())
	befriend(b, c)
	b.await(t, "up", c.Self())
	b.Members([]ordering.DeviceKey{a.Self(), c.Self()})
	b.Share(a.Self(), []ordering.RoomID{{1}})
	b.Share(c.Self(), []ordering.RoomID{{1}})
	b.spreadRecords()
	b.Send(c.Self(), testRoom, &ordering.Digest{}) // comes after what was spread
	c.await(t, "message", b.Self())
	// Only now does c hear that a is a member.
	c.Members([]ordering.DeviceKey{a.Self(), b.Self()})
	c.await(t, "up", a.Self())
}

func TestDHTBringsMembersTogether(t *testing.T) {
	boot := start(t, 1, func(c *Config) { c.NoDHT, c.Bootstrap = false, true })
	dht := func(c *Config) { c.NoDHT, c.BootstrapAddrs = false, boot.Addrs() }
	a, b := start(t, 2, dht), start(t, 3, dht)
	a.await(t, "up", boot.Self())
	b.await(t, "up", boot.Self())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ctx.Err() == nil { // until the routing tables are filled
		if err := a.Provide(ctx, testRoom); err != nil {
			continue
		}
		found, err := b.FindPeers(ctx, testRoom)
		if err == nil && slices.Contains(found, a.Self()) {
			break
		}
	}
	b.Members([]ordering.DeviceKey{a.Self()})
	b.await(t, "up", a.Self())
}

func TestNeighboursMeetByMDNS(t *testing.T) {
	nearby := func(c *Config) { c.NoMDNS = false }
	a, b := start(t, 1, nearby), start(t, 2, nearby)
	// What mDNS would report, whether or not there is multicast here: both
	// find each other, and only one dials.
	a.foundNearby(peer.AddrInfo{ID: b.host.ID(), Addrs: b.host.Addrs()})
	b.foundNearby(peer.AddrInfo{ID: a.host.ID(), Addrs: a.host.Addrs()})
	a.await(t, "up", b.Self())
	b.await(t, "up", a.Self())
}

func TestNeighboursTellWhatTheyOffer(t *testing.T) {
	nearby := func(c *Config) { c.NoMDNS = false }
	a, b, off := start(t, 1, nearby), start(t, 2, nearby), start(t, 3)
	for _, x := range []*node{b, off} {
		a.foundNearby(peer.AddrInfo{ID: x.host.ID(), Addrs: x.host.Addrs()})
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	replies := a.Nearby(ctx)
	if got := replies[b.Self()].Offers; len(got) != 1 || got[0].Name != "for "+a.PeerID() {
		t.Errorf("a neighbour offers %+v", got)
	}
	if r, asked := replies[off.Self()]; asked {
		t.Errorf("who takes no part offers %+v", r)
	}
	if r := off.Nearby(ctx); r != nil {
		t.Errorf("who takes no part asks and hears %v", r)
	}
}

func TestWhatIsToldOfPeopleGoesLastAndIsBounded(t *testing.T) {
	o := newOutbox()
	for i := range maxQueuedEphemera + 2 {
		gone := o.put(&wire.Room{Room: testRoom, Msg: &ordering.Ephemeral{Typing: &ordering.Typing{Name: fmt.Sprint(i)}}})
		if want := max(0, i-maxQueuedEphemera+1); gone.hints != min(want, 1) {
			t.Errorf("the %dth drops %d", i, gone.hints)
		}
	}
	o.put(&wire.Room{Room: testRoom, Msg: &ordering.Push{Run: testRun(1, 1, 1)}})
	if _, push := o.take().(*wire.Room).Msg.(*ordering.Push); !push {
		t.Error("a push waits behind what is told of people")
	}
	for i := range maxQueuedEphemera {
		m, ok := o.take().(*wire.Room).Msg.(*ordering.Ephemeral)
		if !ok || m.Typing.Name != fmt.Sprint(i+2) {
			t.Fatalf("the %dth is %+v", i, m)
		}
	}
	if f := o.take(); f != nil {
		t.Errorf("%T is left", f)
	}
}

func TestUnreadableBootstrapAddressesAreLeftOut(t *testing.T) {
	var log bytes.Buffer
	addrs := []string{"nonsense", "", "/ip4/127.0.0.1/tcp/1"}
	for i := range discovery.MaxAddrs + 10 {
		key := ed25519.NewKeyFromSeed(binary.BigEndian.AppendUint64(make([]byte, ed25519.SeedSize-8), uint64(i)))
		addrs = append(addrs, "/ip4/127.0.0.1/tcp/1/p2p/"+PeerIDOf(ordering.DeviceKey(key.Public().(ed25519.PublicKey))))
	}
	a := start(t, 1, func(c *Config) {
		c.BootstrapAddrs, c.Log = addrs, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	a.Network.mu.Lock()
	bootstraps := 0
	for _, l := range a.links {
		if l.bootstrap {
			bootstraps++
		}
	}
	a.Network.mu.Unlock()
	if bootstraps != discovery.MaxAddrs {
		t.Errorf("%d bootstrap nodes are sought, want %d", bootstraps, discovery.MaxAddrs)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if s := log.String(); !strings.Contains(s, "count=13") || !strings.Contains(s, "nonsense") {
		t.Errorf("the log does not say what is left out: %s", s)
	}
}

func TestAddressesOfInvitesAreChecked(t *testing.T) {
	id := "/p2p/" + PeerIDOf(ordering.DeviceKey(testKey(1).Public().(ed25519.PublicKey)))
	for _, good := range []string{"/ip4/192.0.2.1/tcp/1", "/ip6/::1/udp/1/quic-v1", "/dns4/example.org/tcp/1", "/ip4/192.0.2.1/tcp/1" + id + "/p2p-circuit"} {
		if err := CheckAddr(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
		if _, err := discovery.Infos([]string{good + id}); err != nil {
			t.Errorf("%q passes, but with a peer's id: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "nonsense", "192.0.2.1:1", "/ip4/192.0.2.1/tcp/70000", "/ip4/192.0.2.1/tcp/1" + id, "/ip4/192.0.2.1/tcp"} {
		if err := CheckAddr(bad); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}

func TestHealthMayBeSetBeforeRun(t *testing.T) {
	b := start(t, 2)
	n, err := New(Config{Key: testKey(1), Name: "n1", Listen: onTCP, NoMDNS: true, NoDHT: true, Handler: newScribe()})
	if err != nil {
		t.Fatal(err)
	}
	n.SetHealth(false, true)
	n.Remember(b.Self(), b.Addrs())
	n.Members([]ordering.DeviceKey{b.Self()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	deadline := time.After(patience)
	for {
		n.SetHealth(false, true) // while heartbeats read it
		if p := b.Peers(); len(p) == 1 && !p[0].DiskOK && p[0].Draining {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("b knows %+v", b.Peers())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestTakenPortIsAnError(t *testing.T) {
	a := start(t, 1)
	_, err := New(Config{Key: testKey(2), Listen: listeningAddrs(a), NoMDNS: true, NoDHT: true, Handler: newScribe()})
	if err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("err = %v", err)
	}
}

func TestPeerIDsAndDevicesConvert(t *testing.T) {
	d := ordering.DeviceKey(testKey(1).Public().(ed25519.PublicKey))
	id, err := peer.Decode(PeerIDOf(d))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := deviceOf(id); err != nil || got != d {
		t.Errorf("%v, %v", got, err)
	}
}

func TestLoopbackAddressesComeLast(t *testing.T) {
	a := start(t, 1, func(c *Config) { c.Listen = nil })
	addrs := a.Addrs()
	isLoopback := func(a string) bool { return strings.HasPrefix(a, "/ip4/127.") || strings.HasPrefix(a, "/ip6/::1/") }
	first := slices.IndexFunc(addrs, isLoopback)
	if first < 0 {
		t.Fatalf("no loopback address in %v", addrs)
	}
	for _, a := range addrs[first:] {
		if !isLoopback(a) {
			t.Errorf("%s comes after a loopback address", a)
		}
	}
}

func TestTCPIsDialledFirstOnPrivateNetworks(t *testing.T) {
	q, tcp := ma.StringCast("/ip4/192.168.1.2/udp/1/quic-v1"), ma.StringCast("/ip4/192.168.1.2/tcp/1")
	for _, r := range rankDials([]ma.Multiaddr{q, tcp}) {
		if want := map[string]time.Duration{q.String(): quicHandicap, tcp.String(): 0}[r.Addr.String()]; r.Delay != want {
			t.Errorf("%s is dialled after %v, want %v", r.Addr, r.Delay, want)
		}
	}
}

func TestRunLeavesNoGoroutines(t *testing.T) {
	a, b := pair(t, func(c *Config) { c.NoDHT = false })
	befriend(a, b)
	a.Topics([]ordering.RoomID{testRoom})
	for _, x := range []*node{a, b} {
		if err := x.stop(); err != nil {
			t.Fatal(err)
		}
	}
	// Run has waited for ours; libp2p's own need not be done yet.
	for _, g := range strings.Split(stacks(), "\n\n") {
		if strings.Contains(g, "tertulia/p2p.") && !strings.Contains(g, "testing.tRunner") {
			t.Errorf("left behind:\n%s", g)
		}
	}
}

func stacks() string {
	b := make([]byte, 4<<20)
	return string(b[:runtime.Stack(b, true)])
}
