package node

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"strings"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	core "tertulia/ordering/room"
	"tertulia/p2p"
	"tertulia/p2p/wire"
	"tertulia/storage"
)

// fetchBytes is what one fetch is answered with at most; the peer asks again.
const fetchBytes = 8 << 20

// peer is a connected node.
type peer struct {
	session uint64 // a new one each time it connects
	name    string
	rooms   map[ordering.RoomID]bool // those it says to share with us
	vital   core.Vital
	shown   int // Admit entries by which it would be listened to
}

// sharing returns the connected peers that say to share a room.
func (n *Node) sharing(id ordering.RoomID) map[ordering.DeviceKey]peer {
	return n.peersWhere(func(p peer) bool { return p.rooms[id] })
}

// unaware returns the connected peers that told which rooms they share, and did not
// name this one.
func (n *Node) unaware(id ordering.RoomID) map[ordering.DeviceKey]peer {
	return n.peersWhere(func(p peer) bool { return p.rooms != nil && !p.rooms[id] })
}

func (n *Node) peersWhere(match func(peer) bool) map[ordering.DeviceKey]peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	found := make(map[ordering.DeviceKey]peer)
	for d, p := range n.peers {
		if match(p) {
			found[d] = p
		}
	}
	return found
}

// membersChanged tells the network whom to stay connected with, and each peer
// which rooms we believe to share with it.
func (n *Node) membersChanged() {
	if n.net == nil {
		return // still loading
	}
	n.telling.Lock()
	defer n.telling.Unlock()
	var topics []ordering.RoomID
	var members []ordering.DeviceKey
	listed := map[ordering.DeviceKey]bool{n.id.origin.Device: true}
	for _, r := range n.rooms.Load().list {
		v := r.view.Load()
		if v.meta.State != string(chat.Joined) && v.meta.State != string(chat.Joining) {
			continue
		}
		topics = append(topics, r.id)
		for _, m := range v.members {
			if !m.Former && !listed[m.Device] {
				listed[m.Device] = true
				members = append(members, m.Device)
			}
		}
		if via := v.meta.Via; via != (ordering.DeviceKey{}) && !listed[via] && v.meta.State == string(chat.Joining) {
			listed[via] = true
			members = append(members, via)
		}
	}
	n.net.Members(members)
	n.net.Topics(topics)

	n.mu.Lock()
	devices := make([]ordering.DeviceKey, 0, len(n.peers))
	for d := range n.peers {
		devices = append(devices, d)
	}
	n.mu.Unlock()
	for _, d := range devices {
		n.shareLocked(d)
	}
	n.reconcileAll()
}

// share tells a peer which rooms we believe to share with it.
func (n *Node) share(d ordering.DeviceKey) {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.shareLocked(d)
}

// shareLocked is share for callers that hold telling.
func (n *Node) shareLocked(d ordering.DeviceKey) {
	var rooms []ordering.RoomID
	for _, r := range n.rooms.Load().list {
		if r.view.Load().eligible(d) {
			rooms = append(rooms, r.id)
		}
	}
	n.net.Share(d, rooms)
}

// reconcileAll has every room look again at whom it shares with.
func (n *Node) reconcileAll() {
	for _, r := range n.rooms.Load().list {
		select {
		case r.again <- struct{}{}:
		default:
		}
	}
}

// nameOf returns a device's name as far as it is known. What a stranger calls
// itself does not pass for a member's name.
func (n *Node) nameOf(d ordering.DeviceKey) string {
	n.mu.Lock()
	said := n.peers[d].name
	n.mu.Unlock()
	name := said
	for _, r := range n.rooms.Load().list {
		for member, known := range r.view.Load().names {
			if member == d {
				return known
			}
			if known == said {
				name = said + "~" + ordering.Origin{Device: d}.Tag()
			}
		}
	}
	if name == "" {
		return "~" + ordering.Origin{Device: d}.Tag()
	}
	return name
}

// handler is what the network tells a node. Its methods run on the network's
// goroutines, in order for one peer.
type handler Node

func (h *handler) PeerUp(d ordering.DeviceKey, hello wire.Hello) {
	n := (*Node)(h)
	n.mu.Lock()
	n.sessions++
	name, err := cleanName("The node id", hello.Name)
	if err != nil {
		name = "" // shown by its tag
	}
	n.peers[d] = peer{session: n.sessions, name: name, vital: core.Vital{DiskOK: true}}
	n.mu.Unlock()
	n.share(d)
	n.emit(chat.Event{Type: chat.EventPeer, NodeID: n.nameOf(d), State: string(chat.PeerConnected)})
	n.notify()
}

// PeerAddrs notes where a member listens, for the next start.
func (h *handler) PeerAddrs(d ordering.DeviceKey) {
	n := (*Node)(h)
	n.goFor(func(ctx context.Context) {
		name, addrs := n.nameOf(d), n.net.AddrsOf(d)
		if len(addrs) == 0 {
			return
		}
		if err := n.store.SavePeer(ctx, d, name, addrs, time.Now().UnixMilli()); err != nil {
			n.log.Warn("could not keep a peer's addresses", "peer", name, "error", err)
		}
	})
}

func (h *handler) PeerDown(d ordering.DeviceKey, reason p2p.DownReason) {
	n := (*Node)(h)
	name := n.nameOf(d)
	n.mu.Lock()
	delete(n.peers, d)
	n.mu.Unlock()
	n.reconcileAll()
	n.emit(chat.Event{Type: chat.EventPeer, NodeID: name, State: string(chat.PeerLeft)})
	n.log.Debug("peer down", "peer", name, "reason", reason)
	n.notify()
}

func (h *handler) PeerSuspected(d ordering.DeviceKey, suspected bool) {
	n := (*Node)(h)
	state := chat.PeerConnected
	if suspected {
		state = chat.PeerSuspected
	}
	n.observe(d, func(v *core.Vital) { v.Suspected = suspected })
	n.emit(chat.Event{Type: chat.EventPeer, NodeID: n.nameOf(d), State: string(state)})
	n.notify()
}

func (h *handler) PeerHears(d ordering.DeviceKey, hears []ordering.DeviceKey) {
	(*Node)(h).observe(d, func(v *core.Vital) { v.Hears = hears })
}

func (h *handler) PeerHealth(d ordering.DeviceKey, health p2p.Health) {
	(*Node)(h).observe(d, func(v *core.Vital) { v.DiskOK, v.Draining = health.DiskOK, health.Draining })
}

// observe notes what the failure detector found, and tells the rooms.
func (n *Node) observe(d ordering.DeviceKey, change func(*core.Vital)) {
	rtt := n.net.RTT(d)
	n.mu.Lock()
	p, ok := n.peers[d]
	if ok {
		change(&p.vital)
		p.vital.RTT = rtt
		n.peers[d] = p
	}
	n.mu.Unlock()
	if !ok {
		return
	}
	for _, r := range n.rooms.Load().list {
		if r.view.Load().eligible(d) {
			r.hint(func() { r.core.Observe(time.Now(), d, p.vital) })
		}
	}
}

func (h *handler) SharedRooms(d ordering.DeviceKey, rooms []ordering.RoomID) {
	n := (*Node)(h)
	set := make(map[ordering.RoomID]bool, len(rooms))
	for _, id := range rooms {
		set[id] = true
	}
	n.mu.Lock()
	p, ok := n.peers[d]
	if ok {
		p.rooms = set
		n.peers[d] = p
	}
	n.mu.Unlock()
	if ok {
		n.reconcileAll()
	}
}

func (h *handler) Message(d ordering.DeviceKey, id ordering.RoomID, m ordering.Message) {
	n := (*Node)(h)
	r := n.room(id)
	if r == nil || !r.view.Load().eligible(d) {
		if push, ok := m.(*ordering.Push); r == nil || !ok || !h.meet(d, r, push.Run) {
			n.count(ordering.NotMember)
		}
		return
	}
	switch m := m.(type) {
	case *ordering.Push:
		v, err := r.verify(m.Run)
		if err != nil {
			r.refused(err)
			return
		}
		r.received(d, v)
	case *ordering.Ephemeral:
		r.heard(d, m)
	case *ordering.Digest, *ordering.Have, *ordering.Relay, ordering.Signal:
		r.hint(func() {
			if r.broken {
				return
			}
			r.reconcile()
			r.refused(r.core.Hear(time.Now(), d, m))
		})
	}
}

func (h *handler) Gossip(from ordering.DeviceKey, id ordering.RoomID, run ordering.Run) {
	n := (*Node)(h)
	r := n.room(id)
	if r == nil || !r.view.Load().member[run.Origin().Device] {
		return // a hint; what matters comes by anti-entropy
	}
	v, err := r.verify(run)
	if err != nil {
		r.refused(err)
		return
	}
	r.received(from, v)
}

func (h *handler) Refused(d ordering.DeviceKey, reason ordering.Reason) {
	n := (*Node)(h)
	n.count(reason)
	n.log.Debug("refused a frame", "peer", n.nameOf(d), "reason", string(reason))
}

// AdmitJoin answers a device that asks to become a member. The invite's key must
// have signed who asks, and whom.
func (h *handler) AdmitJoin(ctx context.Context, d ordering.DeviceKey, req wire.JoinRequest) wire.JoinReply {
	n := (*Node)(h)
	r := n.room(req.Room)
	name, err := cleanName("The node id", req.Name)
	switch {
	case r == nil || r.view.Load().meta.State != string(chat.Joined) || !r.view.Load().self:
		return wire.JoinReply{Refused: wire.RefusedNotMember}
	case err != nil || req.Origin.Device != d || !ed25519.Verify(req.Invite[:], joinProof(req, n.id.origin.Device), req.Proof[:]):
		return wire.JoinReply{Refused: wire.RefusedUnknownInvite}
	}
	answer := make(chan wire.JoinReply, 1)
	err = r.post(ctx, func() { r.admit(d, n.honoured(d, req.Room, req.Invite), name, answer) })
	if err == nil {
		var reply wire.JoinReply
		if reply, err = await(ctx, r, answer); err == nil {
			return reply
		}
	}
	return wire.JoinReply{Refused: wire.RefusedNotMember}
}

// joinProof is what the holder of an invite signs.
func joinProof(req wire.JoinRequest, admitter ordering.DeviceKey) []byte {
	b := []byte("tertulia join v1\x00")
	b = append(b, req.Room[:]...)
	b = append(b, admitter[:]...)
	b = append(b, req.Origin.Bytes()...)
	b = binary.BigEndian.AppendUint64(b, uint64(req.TimeMS))
	return append(b, req.Name...)
}

// admit writes the Admit entry, unless the device is a member already, and
// answers when it is durable.
func (r *room) admit(d ordering.DeviceKey, invite ordering.InviteKey, name string, answer chan<- wire.JoinReply) {
	if r.broken {
		answer <- wire.JoinReply{Refused: wire.RefusedNotMember}
		return
	}
	g := r.core.Graph()
	if !g.IsMember(d) {
		if problem := g.CheckInvite(invite, d, time.Now().UnixMilli()); problem != "" {
			answer <- wire.JoinReply{Refused: string(problem)}
			return
		}
		a := ordering.Admit{Device: d, Invite: invite, Name: name}
		r.say(&saying{kind: ordering.KindAdmit, body: a.Encode(), reply: func(_ ordering.Ref, _ bool, err error) {
			if err != nil {
				answer <- wire.JoinReply{Refused: wire.RefusedNotMember}
				return
			}
			r.show() // or what it asks for at once would be refused
			r.welcome(answer)
		}})
		return
	}
	r.welcome(answer)
}

// welcome answers a new member with where the room begins, how far it goes, and
// its keys.
func (r *room) welcome(answer chan<- wire.JoinReply) {
	reply := wire.JoinReply{Heads: r.core.Graph().Have().Clone()}
	for run, err := range r.n.store.Runs(r.ctx, r.id, []ordering.Want{{Origin: r.core.Graph().Creator()}}, 1) {
		if err == nil {
			reply.Genesis = run
		}
		break
	}
	if len(reply.Genesis.Entries) == 0 {
		answer <- wire.JoinReply{Refused: wire.RefusedNotMember}
		return
	}
	reply.Keys = r.newestKeys()
	answer <- reply
}

// ServeFetch answers from the disk alone: what a peer gets is durable.
func (h *handler) ServeFetch(ctx context.Context, d ordering.DeviceKey, req wire.FetchRequest, send func(ordering.Run) error) (more bool, err error) {
	n := (*Node)(h)
	r := n.room(req.Room)
	if r == nil || !r.view.Load().member[d] {
		n.count(ordering.NotMember)
		return false, nil
	}
	if req.Newest > 0 {
		runs, err := n.store.Newest(ctx, req.Room, min(req.Newest, previewSize))
		if err != nil {
			return false, err
		}
		for _, run := range runs {
			if err := send(run); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	sent := 0
	for run, err := range n.store.Runs(ctx, req.Room, req.Wants, fetchBytes) {
		if err != nil {
			return false, err
		}
		if err := send(run); err != nil {
			return false, err
		}
		sent += run.Size()
	}
	return sent >= fetchBytes, nil
}

// ServeFinals answers with the final list, from the disk alone.
func (h *handler) ServeFinals(ctx context.Context, d ordering.DeviceKey, req wire.FinalsRequest, send func(first uint64, part []ordering.Listed) error) error {
	n := (*Node)(h)
	r := n.room(req.Room)
	if r == nil || !r.view.Load().member[d] {
		n.count(ordering.NotMember)
		return nil
	}
	for after := req.After; ; {
		part, err := n.store.Listed(ctx, req.Room, after, storage.MaxListed)
		if err != nil || len(part) == 0 {
			return err
		}
		if err := send(after+1, part); err != nil {
			return err
		}
		after += uint64(len(part))
	}
}

func (h *handler) ServeKeys(_ context.Context, d ordering.DeviceKey, req wire.KeysRequest) wire.KeysReply {
	n := (*Node)(h)
	r := n.room(req.Room)
	if r == nil || !r.view.Load().member[d] {
		n.count(ordering.NotMember)
		return wire.KeysReply{}
	}
	var reply wire.KeysReply
	for _, id := range req.IDs {
		if k, ok := r.ring.get(id); ok {
			reply.Keys = append(reply.Keys, wire.RoomKey{ID: id, Key: k})
		}
	}
	return reply
}

// bootstraps returns the addresses named in the invites that this node was
// started with or joined by.
func (n *Node) bootstraps() []string {
	var addrs []string
	links := append([]string(nil), n.cfg.Join...)
	for _, r := range n.rooms.Load().list {
		links = append(links, r.meta.Invite)
	}
	for _, s := range links {
		addrs = append(addrs, addrsOf(s)...)
	}
	return addrs
}

// withoutPeer cuts the peer's id off a multiaddr.
func withoutPeer(addr string) string {
	before, _, _ := strings.Cut(addr, "/p2p/")
	return before
}

// compile-time check of what the network asks for.
var _ p2p.Handler = (*handler)(nil)
