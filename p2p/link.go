package p2p

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"tertulia/ordering"
	"tertulia/p2p/discovery"
	"tertulia/p2p/wire"
)

// Redialling a wanted peer: at once, then after a pause that doubles. An
// attempt that hangs, because its packets go nowhere, is given up and made anew,
// for a restarted peer answers only what is sent after its start.
const (
	redialFirst   = 100 * time.Millisecond
	redialMost    = 5 * time.Second
	redialTired   = 30 * time.Second // after tiredAfter without success
	tiredAfter    = 5 * time.Minute
	attemptShort  = 500 * time.Millisecond // the first quickAttempts
	attemptLong   = 10 * time.Second
	quickAttempts = 4
	helloWait     = 5 * time.Second  // for a peer's hello; strangers have strangerWait
	lookupEvery   = 8                // failed attempts between two DHT lookups
	lookupWait    = 10 * time.Second // for one DHT lookup
	maxNearby     = 16               // strangers on the local network that are dialled
)

// memberTag protects a connection from being closed as one too many.
const memberTag = "member"

// link is all there is about one peer. Its fields are guarded by Network.mu
// unless said otherwise.
type link struct {
	device    ordering.DeviceKey
	id        peer.ID
	member    bool
	bootstrap bool
	nearby    bool     // a stranger dialled on the local network
	kept      bool     // a keeper runs
	cur       *session // the one stream; may not have said hello yet
	last      wire.Hello
	kick      chan struct{} // one slot: the keeper is to try at once
	abort     func()        // gives up the keeper's attempt; nil: there is none

	// deliver is held while the Handler is told something of this peer, so
	// that it hears of it in order.
	deliver sync.Mutex
	told    *session // guarded by deliver: the session that PeerUp announced
}

func (l *link) wanted() bool { return l.member || l.bootstrap }

// link returns the link of a device and makes one where there is none. mu is
// held, or n is not shared yet.
func (n *Network) link(d ordering.DeviceKey) *link {
	l := n.links[d]
	if l == nil {
		l = &link{device: d, kick: make(chan struct{}, 1)}
		l.id, _ = idOf(d) // a device key that is no point on the curve is never reached
		n.links[d] = l
	}
	return l
}

// forget drops a link nobody needs. mu is held.
func (n *Network) forget(l *link) {
	if !l.wanted() && l.cur == nil && !l.kept && n.links[l.device] == l {
		delete(n.links, l.device)
	}
}

// Members says with whom this node is to stay connected. It replaces what was
// said before. All are dialled until maxHeld are connected.
func (n *Network) Members(members []ordering.DeviceKey) {
	n.setMembers(members)
	select {
	case <-n.started:
		n.keepWanted()
	default: // Run begins with it
	}
}

func (n *Network) setMembers(members []ordering.DeviceKey) {
	known := map[ordering.DeviceKey]addrRecord{} // of those who were no members
	n.mu.Lock()
	want := map[ordering.DeviceKey]bool{}
	for _, d := range members {
		if d != n.self {
			want[d] = true
		}
	}
	for d, l := range n.links {
		if l.member && !want[d] {
			l.member = false
			n.hearsVersion.Add(1)
			n.host.ConnManager().Unprotect(l.id, memberTag)
			l.poke()
			n.forget(l)
		}
	}
	for d := range want {
		l := n.link(d)
		if l.id == "" {
			n.forget(l)
			continue
		}
		delete(n.welcomed, d)
		if !l.member {
			l.member = true
			n.hearsVersion.Add(1)
			n.host.ConnManager().Protect(l.id, memberTag)
			if r, ok := n.records[d]; ok {
				known[d] = r
			}
		}
	}
	n.mu.Unlock()
	for d, r := range known {
		if e, _, err := discovery.Unpack(r.envelope); err == nil {
			n.hold(d, e)
		}
	}
}

// keepWanted starts a keeper for each wanted peer that has none.
func (n *Network) keepWanted() {
	n.mu.Lock()
	var start []*link
	for _, l := range n.links {
		if l.wanted() && !l.kept && l.id != "" {
			l.kept = true
			start = append(start, l)
		}
	}
	n.mu.Unlock()
	for _, l := range start {
		n.spawn(func() { n.keep(l) })
	}
}

// keep dials a wanted peer again whenever there is no session with it.
func (n *Network) keep(l *link) {
	defer func() {
		n.mu.Lock()
		l.kept = false
		n.forget(l)
		n.mu.Unlock()
		l.settle(n)
		n.wake() // it may be wanted again by now
	}()
	fails, since := 0, time.Now()
	for {
		n.mu.Lock()
		cur, wanted, held := l.cur, l.wanted(), n.held()
		n.mu.Unlock()
		if !wanted || n.ctx.Err() != nil {
			return
		}
		if cur != nil {
			select {
			case <-cur.ended:
			case <-n.ctx.Done():
				return
			}
			continue
		}
		if lost := l.lost(); lost != nil {
			fails, since = 0, time.Now()
			n.reopen(l, lost)
			continue
		}
		if held < maxHeld {
			if n.attempt(l, fails) == nil {
				continue
			}
			fails++
		}
		n.rest(l, fails, since)
	}
}

// reopen is B1's one redial after a stream broke: when it comes soon enough,
// nobody needs to suspect the peer.
func (n *Network) reopen(l *link, lost *session) {
	if lost.reason() != Left {
		ctx, cancel := context.WithTimeout(n.ctx, max(lostStreamRedial, 2*lost.roundTrip()))
		err := n.open(ctx, l)
		cancel()
		if err != nil {
			n.log.Debug("peer lost", "peer", l.id, "err", err)
		}
	}
	l.settle(n)
}

// attempt dials a peer, unless it comes by itself meanwhile: then the keeper is
// to watch over that session, and not to hang in a dial while it breaks.
func (n *Network) attempt(l *link, fails int) error {
	abort, end := context.WithCancel(n.ctx)
	defer end()
	n.mu.Lock()
	taken := l.cur != nil
	l.abort = end
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		l.abort = nil
		n.mu.Unlock()
	}()
	if taken {
		return nil
	}
	wait := attemptShort
	if fails >= quickAttempts {
		wait = attemptLong
	}
	if n.dht != nil && fails%lookupEvery == lookupEvery-1 {
		n.lookup(abort, l)
	}
	ctx, cancel := context.WithTimeout(abort, wait)
	defer cancel()
	err := n.open(ctx, l)
	if err != nil {
		n.log.Debug("peer not reached", "peer", l.id, "fails", fails, "err", err)
	}
	return err
}

// lookup asks the DHT where a peer is.
func (n *Network) lookup(ctx context.Context, l *link) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	info, err := n.dht.FindPeer(ctx, l.id)
	if err != nil {
		return // known nowhere: the usual case for a peer that is off
	}
	discovery.Remember(n.host, []peer.AddrInfo{info})
}

// rest waits before the next attempt.
func (n *Network) rest(l *link, fails int, since time.Time) {
	pause := min(redialFirst<<min(max(fails-1, 0), 10), redialMost)
	if time.Since(since) > tiredAfter {
		pause = redialTired
	}
	pause += time.Duration(rand.Int64N(int64(pause / 4))) // so that two do not dial in step for ever
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.kick:
	case <-n.ctx.Done():
	}
}

// retry makes a resting keeper try at once.
func (n *Network) retry(d ordering.DeviceKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[d]; l != nil {
		l.poke()
	}
}

func (l *link) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// held counts the members connected. mu is held.
func (n *Network) held() int {
	held := 0
	for _, l := range n.links {
		if l.member && l.cur != nil {
			held++
		}
	}
	return held
}

// errTaken: there is a session already.
var errTaken = errors.New("p2p: connected by another stream")

// open dials a peer and opens the stream. It returns when hello was exchanged,
// which may also have happened on a stream of the peer.
func (n *Network) open(ctx context.Context, l *link) error {
	select {
	case n.dials <- struct{}{}:
		defer func() { <-n.dials }()
	case <-ctx.Done():
		return ctx.Err()
	}
	stream, err := n.dial(ctx, l.id, protocolPeer)
	if err != nil {
		return err
	}
	s := n.newSession(l, stream, true)
	if !n.claim(s, wire.Hello{}) {
		_ = stream.Reset()
		return errTaken
	}
	if !n.spawn(func() { s.run() }) {
		s.abandon()
		return errors.New("p2p: stopping")
	}
	timer := time.NewTimer(helloWait)
	defer timer.Stop()
	select {
	case <-s.up:
		return nil
	case <-s.ended:
		return fmt.Errorf("p2p: %s broke off the stream", l.id)
	case <-timer.C:
	case <-ctx.Done():
	}
	s.cancel()
	return fmt.Errorf("p2p: %s does not say hello", l.id)
}

// dial connects, if need be, and opens a stream.
func (n *Network) dial(ctx context.Context, id peer.ID, protocol protocol.ID) (network.Stream, error) {
	ctx = network.WithAllowLimitedConn(ctx, string(protocol))
	clearBackoff(n.host, id)
	if err := n.host.Connect(ctx, peer.AddrInfo{ID: id}); err != nil {
		return nil, fmt.Errorf("p2p: connect to %s: %w", id, err)
	}
	s, err := n.host.NewStream(ctx, id, protocol)
	if err != nil {
		return nil, fmt.Errorf("p2p: open a stream to %s: %w", id, err)
	}
	return s, nil
}

// accept takes in a stream that a peer opened.
func (n *Network) accept(stream network.Stream, d ordering.DeviceKey) {
	known, wait := n.knows(d), helloWait
	if !known {
		wait = n.idle
	}
	release, ok := n.gates.hello.enter(d, known)
	if !ok {
		_ = stream.Reset()
		return
	}
	hello, reader, err := readHello(stream, wait)
	release()
	if err != nil {
		n.refuse(d, err)
		_ = stream.Reset()
		return
	}
	n.mu.Lock()
	l := n.link(d)
	room := l.wanted() || l.cur != nil || n.strangers() < n.strangerLimit()
	n.mu.Unlock()
	s := n.newSession(l, stream, false)
	s.hello, s.reader = hello, reader
	if !room || !n.claim(s, *hello) {
		_ = stream.Reset()
		n.mu.Lock()
		n.forget(l)
		n.mu.Unlock()
		return
	}
	l.poke()
	s.run()
}

func (n *Network) strangerLimit() int {
	if n.cfg.Bootstrap {
		return maxGuests
	}
	return maxStrangers
}

// knows reports whether a peer has places of its own: it is a member, a
// bootstrap node, or shares a room with this node.
func (n *Network) knows(d ordering.DeviceKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[d]
	return l != nil && l.wanted() || len(n.shares[d]) > 0 || n.welcomed[d]
}

// mayAsk reports whether a peer may ask for runs and keys at all.
func (n *Network) mayAsk(d ordering.DeviceKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[d]
	return l != nil && l.member || len(n.shares[d]) > 0 || n.welcomed[d]
}

// welcome lets a device that was just admitted ask before Members names it.
func (n *Network) welcome(d ordering.DeviceKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[d]; (l == nil || !l.member) && len(n.welcomed) < maxRemembered {
		n.welcomed[d] = true
	}
}

// strangers counts the sessions with peers that are not wanted. mu is held.
func (n *Network) strangers() int {
	count := 0
	for _, l := range n.links {
		if !l.wanted() && l.cur != nil {
			count++
		}
	}
	return count
}

// claim makes s the session of its link and reports whether it may. Both sides
// may open a stream at once; then both keep the one that the smaller key
// opened. A peer that restarted has another boot id, and its new stream wins
// over what is left of the old.
func (n *Network) claim(s *session, hello wire.Hello) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, old := s.link, s.link.cur
	if n.stopping || n.links[l.device] != l && n.links[l.device] != nil {
		return false
	}
	n.links[l.device] = l
	if old == nil {
		l.cur = s
		if !s.opened && l.abort != nil {
			l.abort()
		}
		return true
	}
	if s.opened {
		return false
	}
	first, restarted := old.bootID()
	restarted = restarted && first != hello.BootID
	if !restarted && old.opened && bytes.Compare(n.self[:], l.device[:]) < 0 {
		return false
	}
	l.cur = s
	old.cancel()
	if restarted {
		for _, c := range n.host.Network().ConnsToPeer(l.id) {
			if c != s.stream.Conn() {
				n.spawnLocked(func() { _ = c.Close() }) // dead already at its other end
			}
		}
	}
	return true
}

// spawnLocked is spawn for callers that hold mu and know that Run is not ending.
func (n *Network) spawnLocked(f func()) { n.wg.Go(f) }

// release ends s's claim.
func (n *Network) release(s *session) {
	n.mu.Lock()
	l := s.link
	if l.cur == s {
		l.cur = nil
	}
	wanted := l.wanted() && l.kept
	n.forget(l)
	n.hearsVersion.Add(1)
	n.mu.Unlock()
	close(s.ended)
	if !wanted || s.reason() == Left {
		l.settle(n)
	}
}

// lost returns the session that ended without the Handler knowing it, or nil.
func (l *link) lost() *session {
	l.deliver.Lock()
	defer l.deliver.Unlock()
	if s := l.told; s != nil && s.over() {
		return s
	}
	return nil
}

// settle tells the Handler that a peer is down, if the session it was told of
// has ended.
func (l *link) settle(n *Network) {
	l.deliver.Lock()
	defer l.deliver.Unlock()
	if s := l.told; s != nil && s.over() {
		l.told = nil
		n.cfg.Handler.PeerDown(l.device, s.reason())
	}
}

// Send says something to a peer in a room. It never blocks and says nothing to
// a peer that is not up. Signals and relays overtake what else waits. Of what
// waits for a slow peer, the last Digest and Have of a room are kept, and the
// oldest pushes and signals are dropped, a Raft or Standing before others.
func (n *Network) Send(to ordering.DeviceKey, room ordering.RoomID, m ordering.Message) {
	if s := n.session(to); s != nil {
		gone := s.out.put(&wire.Room{Room: room, Msg: m})
		n.droppedHints.Add(uint64(gone.hints))
		n.droppedSignals.Add(uint64(gone.signals))
	}
}

// Share says which rooms this node believes to share with a device, connected
// or not. Addresses are passed on between devices that share a room.
func (n *Network) Share(with ordering.DeviceKey, rooms []ordering.RoomID) {
	rooms = slices.Clone(rooms[:min(len(rooms), wire.MaxRooms)])
	slices.SortFunc(rooms, func(a, b ordering.RoomID) int { return bytes.Compare(a[:], b[:]) })
	n.mu.Lock()
	if len(rooms) == 0 {
		delete(n.shares, with)
	} else if _, ok := n.shares[with]; ok || len(n.shares) < maxRemembered {
		n.shares[with] = rooms
	}
	n.untold = true
	n.mu.Unlock()
	if s := n.session(with); s != nil {
		s.out.share(rooms)
	}
	n.wake()
}

// session returns the greeted session with a device, or nil.
func (n *Network) session(d ordering.DeviceKey) *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[d]; l != nil && l.cur != nil && l.cur.greeted() {
		return l.cur
	}
	return nil
}

func (n *Network) sessions() []*session {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*session
	for _, l := range n.links {
		if l.cur != nil {
			all = append(all, l.cur)
		}
	}
	return all
}

// RTT returns the round trip to a device that is up, or 0 while it is unknown.
func (n *Network) RTT(d ordering.DeviceKey) time.Duration {
	if s := n.session(d); s != nil {
		return s.roundTrip()
	}
	return 0
}

// hears lists whom this node hears, for its heartbeats.
func (n *Network) hears() []ordering.DeviceKey {
	n.mu.Lock()
	defer n.mu.Unlock()
	var hears []ordering.DeviceKey
	for d, l := range n.links {
		if l.member && l.cur != nil && l.cur.greeted() && !l.cur.isSuspected() && len(hears) < wire.MaxHears {
			hears = append(hears, d)
		}
	}
	slices.SortFunc(hears, func(a, b ordering.DeviceKey) int { return bytes.Compare(a[:], b[:]) })
	return hears
}

// Peers lists the members, connected or not, and the others that are connected,
// by name.
func (n *Network) Peers() []Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	peers := []Peer{}
	for d, l := range n.links {
		p := Peer{Device: d, PeerID: l.id.String(), State: Away, Member: l.member, Name: l.last.Name, Version: l.last.Version}
		switch s := l.cur; {
		case s != nil && s.greeted():
			s.describe(&p)
		case !l.member:
			continue
		}
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), bytes.Compare(a.Device[:], b.Device[:]))
	})
	return peers
}

// foundNearby is told of each node on the local network. A wanted peer is
// redialled; of two strangers, the one with the smaller key dials, once.
func (n *Network) foundNearby(info peer.AddrInfo) {
	d, err := deviceOf(info.ID)
	if err != nil || d == n.self {
		return
	}
	discovery.Remember(n.host, []peer.AddrInfo{info})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noteFound(d, time.Now())
	l := n.links[d]
	if l != nil && (l.cur != nil || l.nearby) {
		return
	}
	if l != nil && l.wanted() {
		l.poke()
		return
	}
	if bytes.Compare(n.self[:], d[:]) > 0 || n.nearby() >= maxNearby || n.stopping {
		return
	}
	l = n.link(d)
	l.nearby = true
	n.spawnLocked(func() { n.greetNearby(l) })
}

func (n *Network) greetNearby(l *link) {
	ctx, cancel := context.WithTimeout(n.ctx, attemptLong)
	defer cancel()
	if err := n.open(ctx, l); err != nil {
		n.log.Debug("neighbour not reached", "peer", l.id, "err", err)
		n.mu.Lock()
		defer n.mu.Unlock()
		l.nearby = false
		n.forget(l)
	}
}

// nearby counts the strangers dialled on the local network. mu is held.
func (n *Network) nearby() int {
	count := 0
	for _, l := range n.links {
		if l.nearby && !l.wanted() {
			count++
		}
	}
	return count
}

// remoteAddr describes where a stream leads.
func remoteAddr(s network.Stream) (addr string, relayed bool) {
	a := s.Conn().RemoteMultiaddr()
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return a.String(), err == nil
}
