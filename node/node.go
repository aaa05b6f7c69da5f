// Package node is one node of Tertulia: it composes the rooms' cores with the
// disk and the network, and offers people what package chat speaks of.
//
// A message's way: a client hands in a draft; Send stamps it and posts it to its
// room's goroutine; the core writes the entry; the storage makes it durable; the
// network pushes it; the view is published and whoever watches reads the new
// page. At another node the network verifies the run on the peer's goroutine,
// posts it to the room, and from there the way is the same.
package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tertulia/chat"
	"tertulia/ordering"
	core "tertulia/ordering/room"
	"tertulia/p2p"
	"tertulia/storage"
)

// Limits of a node.
const (
	maxRooms   = 256
	maxClients = 1024 // usernames of one profile
	eventsKept = 256  // events a slow reader may lag behind
)

// stateLeft is a room that this device left: kept, but not listed.
const stateLeft = "left"

// Config says how a node is run. Zero values are sensible but for Dir.
type Config struct {
	Dir           string        // data directory, made when absent
	NodeID        string        // "": the host's name, at the first start
	Priority      int           // comes before the node id in the rank by which leaders are chosen
	Stability     time.Duration // up so long, a member may vote in a room with a leader; 0: 10 s
	Hold          time.Duration // up so long, a higher rank takes over from the leader; 0: 10 s
	Port          int           // TCP and QUIC; 0: any
	Listen        []string      // multiaddrs; empty: all interfaces on Port
	Bootstrap     bool          // serves as bootstrap and relay, and keeps a lobby
	Ordering      chat.Order
	Join          []string // invites
	NoMDNS, NoDHT bool
	Keep          core.Keep // of each room's control log, behind what is final; zero fields mean the defaults
	Version       string
	Log           *slog.Logger // nil: none

}

// Node is a node. Use Open, then Run.
type Node struct {
	cfg     Config
	log     *slog.Logger
	id      identity
	store   *storage.Store
	net     *p2p.Network
	started time.Time
	ctx     context.Context // of Run: ends the rooms and what goFor started
	ready   chan struct{}
	lobby   string         // written before ready is closed
	tasks   sync.WaitGroup // what goFor started

	disk     errgroup.Group // the committer, from Open on
	stopDisk func()

	instance atomic.Pointer[ordering.Instance] // of the directory
	renewing sync.Mutex                        // held while another is drawn, or a room is made under it

	rooms     atomic.Pointer[registry]
	runRooms  chan *room // made or joined while running
	refusals  [len(reasons)]atomic.Uint64
	diskState atomic.Pointer[chat.Error]
	mended    atomic.Pointer[time.Time] // since when the disk takes writes again; nil: it is steady, or takes none
	draining  atomic.Bool               // about to leave
	watchers  watchers

	// telling is held from looking at the rooms until the network was told of
	// them, so that what it was told last is the newest. It comes before mu.
	telling sync.Mutex

	entering sync.Mutex // held while a room is made or joined, one at a time
	naming   sync.Mutex // held while a client key is made, across its commit
	mu       sync.Mutex // guards what follows; never held across a post or a wait
	peers    map[ordering.DeviceKey]peer
	sessions uint64
	stopping bool // no more tasks
	clients  map[string]ed25519.PrivateKey
	username string
	joined   map[joinedKey]bool
	offers   map[ordering.InviteKey]offer

	nearby nearby
}

// registry is an immutable map of the rooms.
type registry struct {
	list []*room // in the order they were made
}

// Open locks the data directory and reads what is in it. The error is a
// *chat.Error where there is something a person can do.
func Open(cfg Config) (*Node, error) {
	ctx := context.Background()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Ordering == "" {
		cfg.Ordering = chat.Lamport
	}
	store, err := storage.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, store: store, ctx: ctx,
		log:      cfg.Log.With("pkg", "room"),
		ready:    make(chan struct{}),
		runRooms: make(chan *room, maxRooms),
		peers:    make(map[ordering.DeviceKey]peer),
		clients:  make(map[string]ed25519.PrivateKey),
		joined:   make(map[joinedKey]bool),
		offers:   make(map[ordering.InviteKey]offer),
		nearby:   nearby{asking: make(chan struct{}, 1)},
		watchers: watchers{changes: make(map[chan struct{}]struct{}), events: make(map[chan chat.Event]struct{})},
	}
	// A first start writes, so the committer runs from now on.
	diskCtx, stop := context.WithCancel(ctx)
	n.stopDisk = stop
	n.disk.Go(func() error { return store.Run(diskCtx) })
	if err := n.load(ctx); err != nil {
		return nil, errors.Join(err, n.closeDisk())
	}
	return n, nil
}

// closeDisk ends the committer and releases the directory.
func (n *Node) closeDisk() error {
	n.stopDisk()
	return errors.Join(n.disk.Wait(), n.store.Close())
}

// load reads identity and rooms, and opens the network.
func (n *Node) load(ctx context.Context) error {
	var err error
	if n.id, err = loadIdentity(ctx, n.cfg.Dir, n.cfg.NodeID, n.store); err != nil {
		return err
	}
	n.instance.Store(&n.id.origin.Instance)
	name, err := n.store.Get(ctx, settingUsername)
	if err != nil {
		return err
	}
	n.username = string(name)
	seeds, err := n.store.Settings(ctx, settingClient)
	if err != nil {
		return err
	}
	for key, seed := range seeds {
		if len(seed) == ed25519.SeedSize {
			n.clients[strings.TrimPrefix(key, settingClient)] = ed25519.NewKeyFromSeed(seed)
		}
	}
	n.rooms.Store(&registry{})
	metas, err := n.store.Rooms(ctx)
	if err != nil {
		return err
	}
	for _, m := range metas {
		r := newRoom(n, m)
		if err := r.load(ctx); err != nil {
			return err
		}
		r.seams.restored()
		r.show()
		n.register(r)
	}
	n.net, err = p2p.New(p2p.Config{
		Key: n.id.key, Instance: n.id.origin.Instance, Name: n.id.nodeID, Version: n.cfg.Version,
		Port: n.cfg.Port, Listen: n.cfg.Listen, Bootstrap: n.cfg.Bootstrap,
		NoMDNS: n.cfg.NoMDNS, NoDHT: n.cfg.NoDHT, BootstrapAddrs: n.bootstraps(),
		Log: n.cfg.Log.With("pkg", "p2p"), Handler: (*handler)(n),
	})
	return err
}

// Run runs the node until ctx ends, then says goodbye and closes the storage. It
// is called once after each Open.
func (n *Node) Run(ctx context.Context) error {
	n.started = time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	netCtx, stopNet := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNet()

	rooms, roomsCtx := errgroup.WithContext(ctx)
	n.ctx = roomsCtx // before the network, whose handler starts tasks
	var network errgroup.Group
	network.Go(func() error { return n.net.Run(netCtx) })
	rooms.Go(func() error { return n.superviseRooms(roomsCtx, rooms) })
	rooms.Go(func() error { return n.seek(roomsCtx) })
	rooms.Go(func() error { return n.watchClocks(roomsCtx) })

	err := n.greet(roomsCtx)
	if err == nil {
		close(n.ready)
		<-roomsCtx.Done()
	}
	n.draining.Store(true)
	n.tellHealth()
	stop()
	// Rooms first, so that their last words go out; then the network; then the
	// disk, which holds all of it.
	err = errors.Join(err, rooms.Wait())
	stopNet()
	n.mu.Lock()
	n.stopping = true
	n.mu.Unlock()
	n.tasks.Wait()
	err = errors.Join(err, network.Wait())
	err = errors.Join(err, n.closeDisk())
	n.watchers.close()
	return err
}

// superviseRooms runs each room, those of the disk and those that come.
func (n *Node) superviseRooms(ctx context.Context, g *errgroup.Group) error {
	for {
		select {
		case r := <-n.runRooms:
			g.Go(func() error { return r.run(ctx) })
		case <-ctx.Done():
			return nil
		}
	}
}

// greet does what a start asks for: known peers, the lobby, the invites.
func (n *Node) greet(ctx context.Context) error {
	peers, err := n.store.Peers(ctx)
	if err != nil {
		return err
	}
	for _, p := range peers {
		n.net.Remember(p.Device, p.Addrs)
	}
	for _, r := range n.rooms.Load().list {
		n.startRoom(r)
	}
	n.membersChanged()
	if n.cfg.Bootstrap {
		if err := n.keepLobby(ctx); err != nil {
			return err
		}
	}
	for _, link := range n.cfg.Join {
		if _, err := n.JoinRoom(ctx, link); err != nil {
			return err
		}
	}
	return nil
}

// keepLobby creates the room a bootstrap node offers, unless it has one.
func (n *Node) keepLobby(ctx context.Context) error {
	for _, r := range n.rooms.Load().list {
		v := r.view.Load()
		if v.meta.Name != chat.DefaultRoom || v.meta.State == stateLeft {
			continue
		}
		if orderOf(v.mode()) != n.cfg.Ordering {
			n.log.Warn("the lobby has another order; to change it: tertulia rooms switch lobby --ordering "+string(n.cfg.Ordering),
				"ordering", string(orderOf(v.mode())))
		}
		n.lobby = r.id.String()
		return nil
	}
	room, err := n.CreateRoom(ctx, chat.DefaultRoom, n.cfg.Ordering)
	n.lobby = room.ID
	return err
}

// Lobby returns the id of the room that a bootstrap node keeps, once Ready is
// closed; "" at other nodes.
func (n *Node) Lobby() string { return n.lobby }

// startRoom hands a room to its goroutine and, if it is still to be admitted,
// starts asking.
func (n *Node) startRoom(r *room) {
	if r.started.Swap(true) {
		return // a room has one goroutine
	}
	n.runRooms <- r // has place for all rooms there may be
	if m := r.view.Load().meta; m.State == string(chat.Joining) && m.Via == (ordering.DeviceKey{}) {
		n.goFor(r.askToJoin)
	}
}

// goFor runs a task that ends with the node; Run waits for it.
func (n *Node) goFor(task func(context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.stopping {
		n.tasks.Go(func() { task(n.ctx) })
	}
}

// register adds a room to the registry.
func (n *Node) register(r *room) {
	for {
		old := n.rooms.Load()
		list := append(append([]*room(nil), old.list...), r)
		if n.rooms.CompareAndSwap(old, &registry{list}) {
			return
		}
	}
}

// room returns the room with an id, or nil.
func (n *Node) room(id ordering.RoomID) *room {
	for _, r := range n.rooms.Load().list {
		if r.id == id {
			return r
		}
	}
	return nil
}

// Ready is closed when listeners answer.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// NodeID returns the name fixed at the first start.
func (n *Node) NodeID() string { return n.id.nodeID }

// PeerID returns the libp2p peer id.
func (n *Node) PeerID() string { return n.net.PeerID() }

// Addrs returns the multiaddrs under which this node may be reached.
func (n *Node) Addrs() []string { return n.net.Addrs() }

// setDisk notes whether the disk takes writes; nil means that it does.
func (n *Node) setDisk(err error) {
	defer n.tellHealth()
	if err == nil {
		if now := time.Now(); n.diskState.Swap(nil) != nil {
			n.mended.Store(&now)
		}
		return
	}
	n.mended.Store(nil)
	e, ok := errors.AsType[*chat.Error](err)
	if !ok {
		e = &chat.Error{Code: chat.CodeDisk, Message: "The disk takes no writes", Hint: "Free some space or check the disk; the node goes on by itself.", Err: err}
	}
	n.diskState.Store(e)
}

// diskSteady is how long a disk that failed must have taken writes before peers and
// rooms are told so: one at the edge would else change who leads with every try. People
// may write at once.
const diskSteady = 3 * time.Second

// diskOK is disk_ok of PROTOCOL.md B1.
func (n *Node) diskOK() bool { return n.diskState.Load() == nil && n.mended.Load() == nil }

// steady notes that the disk is steady, once it is.
func (n *Node) steady(now time.Time) {
	if since := n.mended.Load(); since != nil && now.Sub(*since) >= diskSteady && n.mended.CompareAndSwap(since, nil) {
		n.tellHealth()
	}
}

// tellHealth tells peers and rooms whether this node can lead.
func (n *Node) tellHealth() {
	n.net.SetHealth(n.diskOK(), n.draining.Load())
	for _, r := range n.rooms.Load().list {
		r.hint(func() { r.core.Health(time.Now(), n.diskOK(), n.draining.Load()) })
	}
}

// The jump of the wall clock against the monotonic one by which a sleep of the
// machine is known (PROTOCOL.md B10).
const (
	sleepLook = time.Second
	sleepJump = 2 * time.Second
)

// watchClocks tells the rooms when the machine slept, and when the disk is steady.
func (n *Node) watchClocks(ctx context.Context) error {
	ticker := time.NewTicker(sleepLook)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		n.steady(now)
		if wall := now.Round(0).Sub(last.Round(0)); (wall - now.Sub(last)).Abs() > sleepJump {
			n.log.Info("the machine slept or its clock was set", "wall", wall, "monotonic", now.Sub(last))
			for _, r := range n.rooms.Load().list {
				r.hint(func() { r.core.Woke(time.Now()) })
			}
		}
		last = now
	}
}

// diskError says why nothing can be written now.
func (n *Node) diskError() error {
	if e := n.diskState.Load(); e != nil {
		return e
	}
	return chat.Errorf(chat.CodeDisk, "The disk takes no writes.").WithHint("Try again in a moment.")
}

func orderOf(m ordering.Mode) chat.Order {
	if m == ordering.Leader {
		return chat.Leader
	}
	return chat.Lamport
}

func modeOf(o chat.Order) (ordering.Mode, bool) {
	switch o {
	case chat.Lamport:
		return ordering.Lamport, true
	case chat.Leader:
		return ordering.Leader, true
	}
	return 0, false
}
