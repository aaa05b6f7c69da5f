// Package p2p connects this node with others. A Network keeps one long-lived,
// ordered stream to every member it can reach, beats on it (PROTOCOL.md, B1),
// finds members through discovery, and carries what replicas say to each other.
//
// It delivers what was said at most once and in order as long as a stream
// lasts, and promises no more: what is lost is pulled later. libp2p stays
// inside; the outside sees devices, rooms and the types of package wire.
package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"tertulia/ordering"
	"tertulia/p2p/discovery"
	"tertulia/p2p/wire"
)

// Limits of a Network.
const (
	maxHeld          = 64   // connections to members that are sought; more are accepted
	maxStrangers     = 64   // long-lived streams with peers that are no members
	maxGuests        = 256  // the same at a bootstrap node
	maxDials         = 16   // dials at a time
	maxRemembered    = 2048 // devices whose shared rooms and signed addresses are kept
	stopGrace        = 700 * time.Millisecond
	recordsEvery     = 100 * time.Millisecond // signed addresses are passed on at most this often
	recordsAgain     = 2 * time.Second        // and again to who does not hear their owner
	eventQueue       = 256                    // identifications not yet looked at
	lostStreamRedial = 50 * time.Millisecond  // or 2 round trips: the one redial before a peer is down
)

// Config says how a Network is to be. Zero values are the defaults.
type Config struct {
	Key      ed25519.PrivateKey // the device's identity; required
	Instance ordering.Instance
	Name     string // node id, told to peers
	Version  string // of the program, told to peers
	Port     int    // of TCP and QUIC; 0: any free ones
	// Listen are multiaddrs that replace the default of all interfaces.
	Listen []string
	// Bootstrap makes the node serve others: relay, DHT, NAT checks.
	Bootstrap     bool
	NoMDNS, NoDHT bool
	// BootstrapAddrs are full multiaddrs with /p2p/. They come from invites, so
	// what cannot be read is left out, and so is what is beyond the limit of 256.
	BootstrapAddrs []string
	Log            *slog.Logger
	Handler        Handler // required
}

// DownReason says why a peer is gone.
type DownReason string

// The reasons.
const (
	Lost DownReason = "lost" // the stream broke or fell silent
	Left DownReason = "left" // it said goodbye
)

// Handler is told what the network brings. Its methods are called for one peer
// one after another and in order (Gossip, AdmitJoin, ServeFetch, ServeKeys,
// ServeFinals, ServeNearby and Refused excepted), for several peers at a time. They must not
// wait for long: a peer's stream stands still meanwhile.
type Handler interface {
	// PeerUp and PeerDown of a device alternate, PeerUp first. A PeerUp after
	// a PeerDown may have another BootID; anything may have been lost between.
	PeerUp(d ordering.DeviceKey, hello wire.Hello)
	PeerDown(d ordering.DeviceKey, reason DownReason)
	// PeerSuspected comes between PeerUp and PeerDown.
	PeerSuspected(d ordering.DeviceKey, suspected bool)
	PeerHears(d ordering.DeviceKey, hears []ordering.DeviceKey)
	// PeerAddrs comes when a member's signed addresses are known or are others
	// than before, whether it is up or not. AddrsOf returns them.
	PeerAddrs(d ordering.DeviceKey)
	// PeerHealth comes when it changes; of a peer that is up, it is DiskOK and
	// not Draining until told otherwise.
	PeerHealth(d ordering.DeviceKey, h Health)
	// SharedRooms comes when the set of rooms is another than the last one of
	// this PeerUp.
	SharedRooms(d ordering.DeviceKey, rooms []ordering.RoomID)
	// Message: the run of a Push and the signature of a Relay are not verified.
	Message(d ordering.DeviceKey, room ordering.RoomID, m ordering.Message)
	// Gossip brings a run that came by way of the device. It is of the room and
	// its signatures hold; whether its author is a member is not judged.
	Gossip(from ordering.DeviceKey, room ordering.RoomID, run ordering.Run)
	AdmitJoin(ctx context.Context, d ordering.DeviceKey, req wire.JoinRequest) wire.JoinReply
	// ServeFetch answers with send, in order. After an error of either, the
	// stream is broken off and the asker sees a failure. It, ServeFinals and
	// ServeKeys are asked only for members, those with whom a room is shared, and those whom
	// AdmitJoin admitted; others are refused as NotMember.
	ServeFetch(ctx context.Context, d ordering.DeviceKey, req wire.FetchRequest, send func(ordering.Run) error) (more bool, err error)
	// ServeFinals answers with send: the entries of the room's final order from
	// index req.After+1 on, without a gap, at most wire.MaxFinals at a time. An
	// error of either is as with ServeFetch.
	ServeFinals(ctx context.Context, d ordering.DeviceKey, req wire.FinalsRequest, send func(first uint64, part []ordering.Listed) error) error
	ServeKeys(ctx context.Context, d ordering.DeviceKey, req wire.KeysRequest) wire.KeysReply
	// ServeNearby answers a device on the same network, member or not.
	ServeNearby(ctx context.Context, d ordering.DeviceKey) wire.NearbyReply
	// Refused counts a frame or gossiped run of the device that was not taken.
	Refused(d ordering.DeviceKey, reason ordering.Reason)
}

// Health is what a node says of its own fitness to lead (PROTOCOL.md, B2).
type Health struct {
	DiskOK   bool
	Draining bool // it is about to leave
}

// PeerState says what is known of a peer's life.
type PeerState string

// The states.
const (
	Connected PeerState = "connected"
	Suspected PeerState = "suspected" // connected, but silent
	Away      PeerState = "away"      // a member without a connection
)

// Peer is another node as this one sees it.
type Peer struct {
	Device   ordering.DeviceKey
	PeerID   string
	Name     string // "" while it was never met
	Version  string
	State    PeerState
	RTT      time.Duration // 0: not measured yet
	Addr     string
	Relayed  bool
	Member   bool
	DiskOK   bool
	Draining bool
	Hears    []ordering.DeviceKey
}

// Stats are counts since the start.
type Stats struct {
	DroppedHints   uint64 // pushes dropped because a peer's queue was full
	DroppedSignals uint64 // signals and relays, likewise
	DroppedGossip  uint64 // runs that could not be published
	UnknownFrames  uint64 // frames of kinds this version does not know
}

// Network is a libp2p host and all that runs on it. Its methods may be called
// at any time and from anywhere, also from the Handler.
type Network struct {
	cfg     Config
	log     *slog.Logger
	self    ordering.DeviceKey
	boot    uint64
	epoch   time.Time // SentNS counts from here
	host    host.Host
	gossip  *gossip
	dht     *discovery.Rendezvous // nil with NoDHT
	dials   chan struct{}         // one token per dial
	gates   gates
	slowest time.Duration // for a fetch to bring fetchLeastBytes or fetchLeastRuns
	idle    time.Duration // for a stranger to bring its request or hello
	started chan struct{}
	kick    chan struct{} // one slot: Run is to look again

	ctx    context.Context // ends when Run is asked to stop
	cancel context.CancelFunc
	wg     sync.WaitGroup

	droppedHints, droppedSignals, droppedGossip, unknownFrames atomic.Uint64
	hearsVersion, healthVersion                                atomic.Uint64

	mu       sync.Mutex
	stopping bool
	links    map[ordering.DeviceKey]*link
	welcomed map[ordering.DeviceKey]bool // admitted by the Handler, not in Members yet
	blamed   map[ordering.DeviceKey]bool // a refusal of theirs was logged
	shares   map[ordering.DeviceKey][]ordering.RoomID
	records  map[ordering.DeviceKey]addrRecord
	found    map[ordering.DeviceKey]time.Time // by mDNS, when last
	untold   bool                             // records or shares changed since the last spreading
	spread   time.Time
	health   Health // healthVersion changes after it
}

// addrRecord is a device's signed address record.
type addrRecord struct {
	seq      uint64
	envelope []byte
}

// New makes a host that listens already. Run must be called once, also when
// there is nothing to run any more: it is Run that closes the host.
func New(cfg Config) (*Network, error) {
	if len(cfg.Key) != ed25519.PrivateKeySize || cfg.Handler == nil {
		return nil, errors.New("p2p: a key and a handler are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Network{
		cfg: cfg, log: cfg.Log, boot: rand.Uint64(), epoch: time.Now(),
		dials: make(chan struct{}, maxDials), started: make(chan struct{}), kick: make(chan struct{}, 1),
		gates: newGates(), links: map[ordering.DeviceKey]*link{}, shares: map[ordering.DeviceKey][]ordering.RoomID{},
		records: map[ordering.DeviceKey]addrRecord{}, health: Health{DiskOK: true}, slowest: fetchWindow, idle: strangerWait,
		welcomed: map[ordering.DeviceKey]bool{}, blamed: map[ordering.DeviceKey]bool{},
		found: map[ordering.DeviceKey]time.Time{},
	}
	copy(n.self[:], cfg.Key.Public().(ed25519.PublicKey))
	n.ctx, n.cancel = context.WithCancel(context.Background())
	bootstraps, left, why := discovery.Readable(cfg.BootstrapAddrs)
	if left > 0 {
		n.log.Warn("bootstrap addresses are left out", "count", left, "first", why)
	}
	if err := n.listen(bootstraps); err != nil {
		n.cancel()
		return nil, err
	}
	for _, b := range bootstraps {
		if d, err := deviceOf(b.ID); err == nil && d != n.self {
			n.link(d).bootstrap = true
		}
	}
	return n, nil
}

// listen makes the host and everything that listens on it.
func (n *Network) listen(bootstraps []peer.AddrInfo) (err error) {
	if n.host, err = newHost(n.cfg, bootstraps); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.host.Close())
		}
	}()
	discovery.Remember(n.host, bootstraps)
	if n.gossip, err = newGossip(n); err != nil {
		return err
	}
	if !n.cfg.NoDHT {
		if n.dht, err = discovery.NewRendezvous(n.host, n.cfg.Bootstrap, bootstraps); err != nil {
			return fmt.Errorf("p2p: %w", err)
		}
	}
	n.host.SetStreamHandler(protocolPeer, n.serve(n.accept))
	n.host.SetStreamHandler(protocolJoin, n.serve(n.serveJoin))
	n.host.SetStreamHandler(protocolFetch, n.serve(n.serveFetch))
	n.host.SetStreamHandler(protocolFinals, n.serve(n.serveFinals))
	if !n.cfg.NoMDNS {
		n.host.SetStreamHandler(protocolNearby, n.serve(n.serveNearby))
	}
	n.host.SetStreamHandler(protocolKeys, n.serve(n.serveKeys))
	return nil
}

// Run keeps the connections until ctx ends. Then it says goodbye, closes the
// host and waits for all goroutines, which takes at most 2 s if the Handler's
// methods return. It returns nil unless the host could not be closed.
func (n *Network) Run(ctx context.Context) error {
	close(n.started)
	stopEvents := n.watchIdentified()
	stopMDNS := n.startMDNS()
	if n.dht != nil {
		if err := n.dht.Start(n.ctx); err != nil {
			n.log.Warn("dht does not start", "err", err)
		}
	}
	tick := time.NewTicker(recordsEvery)
	again := time.NewTicker(recordsAgain)
	defer again.Stop()
	for ctx.Err() == nil {
		n.keepWanted()
		select {
		case <-ctx.Done():
		case <-n.kick:
		case <-again.C:
		}
		n.spreadRecords()
		select { // several changes at once are one round
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	tick.Stop()

	n.mu.Lock()
	n.stopping = true
	n.mu.Unlock()
	n.cancel()
	stopEvents()
	n.sayGoodbye()
	stopMDNS()
	var err error
	if n.dht != nil {
		err = n.dht.Close()
	}
	err = errors.Join(err, n.host.Close())
	n.wg.Wait()
	if err != nil {
		return fmt.Errorf("p2p: close the host: %w", err)
	}
	return nil
}

// sayGoodbye waits until each session has sent its Leaving, for stopGrace at
// most.
func (n *Network) sayGoodbye() {
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	for _, s := range n.sessions() {
		select {
		case <-s.ended:
		case <-grace.C:
			return
		}
	}
}

// spawn runs f in a goroutine that Run waits for, unless Run is ending.
func (n *Network) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopping {
		return false
	}
	n.wg.Go(f)
	return true
}

// serve makes a stream handler of f, which runs in a goroutine that Run waits
// for, once Run has begun, and only for peers whose identity is a device key.
func (n *Network) serve(f func(network.Stream, ordering.DeviceKey)) network.StreamHandler {
	return func(s network.Stream) {
		d, err := deviceOf(s.Conn().RemotePeer())
		if err != nil {
			_ = s.Reset() // nothing to do about a stream that does not even reset
			return
		}
		if !n.spawn(func() { <-n.started; f(s, d) }) {
			_ = s.Reset()
		}
	}
}

func (n *Network) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// startMDNS announces this node on the local network and listens for others.
// A network without multicast is no failure.
func (n *Network) startMDNS() (stop func()) {
	if n.cfg.NoMDNS {
		return func() {}
	}
	stop, err := discovery.StartMDNS(n.host, n.foundNearby)
	if err != nil {
		n.log.Warn("mdns does not start", "err", err)
	}
	return stop
}

// watchIdentified collects the signed addresses of peers as they are identified.
func (n *Network) watchIdentified() (stop func()) {
	sub, err := n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(eventQueue), eventbus.Name("tertulia"))
	if err != nil {
		n.log.Warn("signed addresses are not passed on", "err", err)
		return func() {}
	}
	n.spawn(func() {
		for e := range sub.Out() {
			done := e.(event.EvtPeerIdentificationCompleted)
			if d, err := deviceOf(done.Peer); err == nil && done.SignedPeerRecord != nil {
				n.learn(d, done.SignedPeerRecord)
			}
		}
	})
	return func() {
		if err := sub.Close(); err != nil {
			n.log.Warn("event subscription does not close", "err", err)
		}
	}
}

// Self returns this device's key.
func (n *Network) Self() ordering.DeviceKey { return n.self }

// PeerID returns this device's key as libp2p writes it.
func (n *Network) PeerID() string { return n.host.ID().String() }

// Addrs returns the full multiaddrs under which this node may be reached, those
// of the loopback interface last.
func (n *Network) Addrs() []string {
	return discovery.Full(peer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()})
}

// AddrsOf returns the addresses known of a device, to be given to Remember at
// the next start.
func (n *Network) AddrsOf(d ordering.DeviceKey) []string {
	id, err := idOf(d)
	if err != nil {
		return nil
	}
	return discovery.Full(n.host.Peerstore().PeerInfo(id))
}

// Remember takes in addresses of a device from an earlier run. Addresses that
// cannot be read or belong to another device are left out.
func (n *Network) Remember(d ordering.DeviceKey, addrs []string) {
	id, err := idOf(d)
	if err != nil {
		return
	}
	for _, a := range addrs {
		infos, err := discovery.Infos([]string{a})
		if err == nil && infos[0].ID == id {
			discovery.Remember(n.host, infos)
		}
	}
	n.retry(d)
}

// SetHealth is what heartbeats say of this node. A change is said at once, so
// that peers know of a node that drains before it stops.
func (n *Network) SetHealth(diskOK, draining bool) {
	h := Health{diskOK, draining}
	n.mu.Lock()
	changed := n.health != h
	n.health = h
	n.mu.Unlock()
	if !changed {
		return
	}
	n.healthVersion.Add(1)
	for _, s := range n.sessions() {
		s.out.poke()
	}
}

// Stats returns the counts.
func (n *Network) Stats() Stats {
	return Stats{
		DroppedHints:   n.droppedHints.Load(),
		DroppedSignals: n.droppedSignals.Load(),
		DroppedGossip:  n.droppedGossip.Load(),
		UnknownFrames:  n.unknownFrames.Load(),
	}
}

// Provide tells the DHT that this node is in a room. It is to be repeated every
// few hours.
func (n *Network) Provide(ctx context.Context, room ordering.RoomID) error {
	if n.dht == nil {
		return errNoDHT
	}
	return n.dht.Provide(ctx, room)
}

// FindPeers asks the DHT for devices in a room. Their addresses are remembered,
// so that Join and Members reach them.
func (n *Network) FindPeers(ctx context.Context, room ordering.RoomID) ([]ordering.DeviceKey, error) {
	if n.dht == nil {
		return nil, errNoDHT
	}
	infos, err := n.dht.Find(ctx, room)
	if err != nil {
		return nil, fmt.Errorf("p2p: find peers: %w", err)
	}
	discovery.Remember(n.host, infos)
	var devices []ordering.DeviceKey
	for _, i := range infos {
		if d, err := deviceOf(i.ID); err == nil && d != n.self {
			devices = append(devices, d)
			n.retry(d)
		}
	}
	return devices, nil
}

var errNoDHT = errors.New("p2p: the DHT is switched off")

// CheckAddr returns an error unless addr is a multiaddr of a device as invites
// have it: readable, and without the device's own /p2p/ part at its end.
func CheckAddr(addr string) error {
	if err := discovery.Check(addr); err != nil {
		return fmt.Errorf("p2p: %w", err)
	}
	return nil
}

// PeerIDOf returns the libp2p form of a device key, or "" for bytes that are no
// key.
func PeerIDOf(d ordering.DeviceKey) string {
	id, err := idOf(d)
	if err != nil {
		return ""
	}
	return id.String()
}

func idOf(d ordering.DeviceKey) (peer.ID, error) {
	k, err := crypto.UnmarshalEd25519PublicKey(d[:])
	if err != nil {
		return "", fmt.Errorf("p2p: read a device key: %w", err)
	}
	return peer.IDFromPublicKey(k)
}

func deviceOf(id peer.ID) (d ordering.DeviceKey, err error) {
	k, err := id.ExtractPublicKey()
	if err != nil {
		return d, fmt.Errorf("p2p: peer id: %w", err)
	}
	raw, err := k.Raw()
	if err != nil || k.Type() != crypto.Ed25519 || len(raw) != len(d) {
		return d, errors.New("p2p: a peer's identity is not an Ed25519 key")
	}
	copy(d[:], raw)
	return d, nil
}
