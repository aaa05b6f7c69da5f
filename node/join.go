package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"tertulia/chat"
	"tertulia/node/invite"
	"tertulia/ordering"
	"tertulia/ordering/dag"
	core "tertulia/ordering/room"
	"tertulia/p2p"
	"tertulia/p2p/wire"
	"tertulia/storage"
)

// Waits of joining and seeking.
const (
	joinTimeout = 15 * time.Second // one round over an invite's addresses
	joinAgain   = 500 * time.Millisecond
	joinUnknown = 2 * time.Minute  // for an invite to reach the members that do not know it
	joinSlowest = 15 * time.Second // between rounds, after doubling
	seekOften   = 30 * time.Second // while a room has nobody reachable
	seekRarely  = 5 * time.Minute
	seekTimeout = 20 * time.Second
	joinStall   = 30 * time.Second // without progress, after which joining looks for another way
)

// CreateRoom makes a room with this device as its only member.
func (n *Node) CreateRoom(ctx context.Context, name string, order chat.Order) (chat.Room, error) {
	n.entering.Lock()
	defer n.entering.Unlock()
	name, err := cleanName("The room's name", name)
	if err != nil {
		return chat.Room{}, err
	}
	mode, ok := modeOf(order)
	if !ok {
		return chat.Room{}, chat.Errorf(chat.CodeInvalid, "There is no order %q.", order).WithHint("A room's order is lamport or leader.")
	}
	if len(n.rooms.Load().list) >= maxRooms {
		return chat.Room{}, chat.Errorf(chat.CodeBusy, "This node keeps %d rooms already.", maxRooms).WithHint("Leave one first.")
	}
	link := invite.Link{}
	rand.Read(link.Secret[:])
	g := ordering.Genesis{Name: name, Mode: mode, NodeName: n.id.nodeID, Invite: link.PublicKey()}
	rand.Read(g.Salt[:])
	n.renewing.Lock()
	defer n.renewing.Unlock()
	run := core.Found(n.origin(), n.id.key, g, time.Now())
	id := ordering.RoomID(run.Run().First().Hash())
	key := newRoomKey()
	meta := storage.Room{ID: id, Name: name, State: string(chat.Joined), Mode: mode}
	w := &storage.Write{
		Room: id, Meta: &meta,
		Entries: []storage.Entry{{Entry: run.Run().First(), Run: 1, Sig: run.Run().Sig}},
		Keys:    []storage.RoomKey{{ID: key.id(), Key: key}},
		Put:     map[string][]byte{settingInvite + id.String(): link.Secret[:]},
	}
	if err := n.store.Commit(ctx, w); err != nil {
		return chat.Room{}, err
	}
	r := newRoom(n, meta)
	if err := r.load(ctx); err != nil {
		return chat.Room{}, err
	}
	return n.open(r)
}

// open adds a room to those that run.
func (n *Node) open(r *room) (chat.Room, error) {
	r.show()
	n.register(r)
	n.startRoom(r)
	n.membersChanged()
	m := r.view.Load().meta
	n.emit(chat.Event{Type: chat.EventRoom, Room: m.Name, RoomID: r.id.String(), State: m.State, Reason: m.Reason})
	n.notify()
	return n.roomOf(context.Background(), r)
}

// JoinRoom takes an invite. The room is listed at once as Joining, and goes on
// asking until a member admits this device or the invite is refused. Of a room
// that this device is in, it returns the room.
func (n *Node) JoinRoom(ctx context.Context, link string) (chat.Room, error) {
	n.entering.Lock()
	defer n.entering.Unlock()
	l, err := invite.Parse(link, time.Now())
	if r := n.room(l.Room); r != nil && l.Name != "" {
		m := r.view.Load().meta
		if m.State == string(chat.Joined) || m.State == string(chat.Joining) && (err != nil || m.Invite == l.String()) {
			return n.roomOf(ctx, r)
		}
	}
	if err != nil {
		return chat.Room{}, err
	}
	for _, p := range l.Peers {
		for _, a := range p.Addrs {
			if p2p.CheckAddr(a) != nil {
				return chat.Room{}, chat.Errorf(chat.CodeInvalid, "This invite names an address that cannot be read: %q.", a).WithHint("Ask for a new one.")
			}
		}
	}
	if len(l.Peers) == 0 {
		return chat.Room{}, chat.Errorf(chat.CodeInvalid, "This invite names nobody to ask.").WithHint("Ask for a new one from a node that is on the network.")
	}
	meta := storage.Room{ID: l.Room, Name: roomName(l.Name, l.Room), State: string(chat.Joining), Invite: l.String(), Mode: ordering.Lamport}
	if r := n.room(l.Room); r != nil { // left or failed before, or asking with another invite
		asking := false
		saved, err := ask(ctx, r, func() error {
			if asking = r.asking(); !asking && r.meta.State == string(chat.Joining) {
				return nil // admitted already
			}
			meta.Mode = r.meta.Mode
			r.meta = meta
			err := r.saveMeta()
			r.show()
			return err
		})
		if err := errors.Join(err, saved); err != nil {
			return chat.Room{}, err
		}
		if !asking {
			n.goFor(r.askToJoin)
		}
		return n.roomOf(ctx, r)
	}
	if len(n.rooms.Load().list) >= maxRooms {
		return chat.Room{}, chat.Errorf(chat.CodeBusy, "This node keeps %d rooms already.", maxRooms).WithHint("Leave one first.")
	}
	if err := n.store.Commit(ctx, &storage.Write{Room: l.Room, Meta: &meta}); err != nil {
		return chat.Room{}, err
	}
	r := newRoom(n, meta)
	if err := r.load(ctx); err != nil {
		return chat.Room{}, err
	}
	return n.open(r)
}

// asking reports whether this device still waits to be admitted. The room's
// goroutine alone calls it.
func (r *room) asking() bool {
	return r.meta.State == string(chat.Joining) && r.meta.Via == (ordering.DeviceKey{})
}

// askToJoin asks the members that the invite names until one admits this device
// or refuses, or the room is left.
func (r *room) askToJoin(ctx context.Context) {
	pause, unknown := joinAgain, time.Time{}
	for {
		m := r.view.Load().meta
		if m.State != string(chat.Joining) || m.Via != (ordering.DeviceKey{}) {
			return
		}
		l, err := invite.Parse(m.Invite, time.Now())
		if err != nil {
			r.giveUp(ctx, err)
			return
		}
		reply, via, err := r.askOnce(ctx, l)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.log.Debug("nobody to ask", "error", err)
			r.wait(ctx, "None of the members that the invite names can be reached. It goes on as soon as one can.")
		case reply.Refused == wire.RefusedNotMember:
			r.wait(ctx, "Whoever can be reached is not in the room any more. It goes on as soon as a member can be reached.")
		case reply.Refused == wire.RefusedUnknownInvite: // it may not have reached them yet
			if unknown.IsZero() {
				unknown = time.Now().Add(joinUnknown)
			} else if time.Now().After(unknown) {
				r.giveUp(ctx, refusalInWords(reply.Refused))
				return
			}
			r.wait(ctx, "The members that can be reached do not know this invite. It goes on as soon as they do.")
		case reply.Refused != "":
			r.giveUp(ctx, refusalInWords(reply.Refused))
			return
		default:
			if err := r.admitted(ctx, reply, via); err != nil && ctx.Err() == nil {
				r.giveUp(ctx, err)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, joinSlowest)
	}
}

// askOnce goes once over the addresses of an invite, and of those who share the
// room with this device already.
func (r *room) askOnce(ctx context.Context, l invite.Link) (wire.JoinReply, ordering.DeviceKey, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	var addrs []string
	for _, p := range l.Peers {
		for _, a := range p.Addrs {
			addrs = append(addrs, a+"/p2p/"+p2p.PeerIDOf(p.Device))
		}
	}
	for d := range r.n.sharing(r.id) { // for them this device is a member
		addrs = append(addrs, r.n.net.AddrsOf(d)...)
	}
	return r.n.net.Join(ctx, addrs, nil, func(admitter ordering.DeviceKey) wire.JoinRequest {
		req := wire.JoinRequest{Room: l.Room, Invite: l.PublicKey(), Origin: r.n.origin(), Name: r.n.id.nodeID, TimeMS: time.Now().UnixMilli()}
		copy(req.Proof[:], ed25519.Sign(l.Key(), joinProof(req, admitter)))
		return req
	})
}

func refusalInWords(refused string) error {
	e := chat.Errorf(chat.CodeExpired, "The invite was refused (%s).", refused)
	switch refused {
	case wire.RefusedExpired:
		e = chat.Errorf(chat.CodeExpired, "The invite has expired.")
	case wire.RefusedRevoked:
		e = chat.Errorf(chat.CodeExpired, "The invite was withdrawn.")
	case wire.RefusedUsedUp:
		e = chat.Errorf(chat.CodeExpired, "The invite was used as often as it allows.")
	case wire.RefusedUnknownInvite:
		e = chat.Errorf(chat.CodeForbidden, "The members that can be reached do not know this invite.")
	case string(dag.TooOften):
		e = chat.Errorf(chat.CodeForbidden, "This device left the room too often to come back.")
	case wire.RefusedRemoved:
		e = chat.Errorf(chat.CodeForbidden, "This device was removed from the room.")
	case wire.RefusedFull:
		e = chat.Errorf(chat.CodeBusy, "The room has as many members as it can.")
	}
	return e.WithHint("Ask a member for a new invite.")
}

// wait says what joining waits for.
func (r *room) wait(ctx context.Context, why string) {
	r.post(ctx, func() { //nolint:errcheck // stopping
		if r.asking() {
			r.meta.Reason = why
		}
	})
}

// giveUp ends joining with a reason.
func (r *room) giveUp(ctx context.Context, err error) {
	r.post(ctx, func() { //nolint:errcheck // stopping
		if !r.asking() {
			return
		}
		r.meta.State, r.meta.Reason = string(chat.Failed), inWords(err)
		if err := r.saveMeta(); err != nil {
			r.log.Warn("could not store that joining failed", "error", err)
		}
		r.n.emit(chat.Event{Type: chat.EventRoom, Room: r.meta.Name, RoomID: r.id.String(), State: r.meta.State, Reason: r.meta.Reason})
	})
}

// admitted begins to fetch the room: its genesis, its keys, then from the newest
// page for the eye to everything.
func (r *room) admitted(ctx context.Context, reply wire.JoinReply, via ordering.DeviceKey) error {
	genesis, err := ordering.VerifyRun(reply.Genesis)
	if err != nil || ordering.RoomID(genesis.Run().First().Hash()) != r.id {
		return chat.Errorf(chat.CodeForbidden, "The member that answered does not have this room.").WithHint("Ask another member for an invite.")
	}
	g, err := ordering.DecodeGenesis(genesis.Run().First().Body)
	if err != nil {
		return chat.Errorf(chat.CodeInvalid, "The room was made by a newer version.").WithHint("Update Tertulia and join again.")
	}
	saved, err := ask(ctx, r, func() error {
		if !r.asking() {
			return nil
		}
		m := r.meta
		m.Name, m.Mode, m.Via, m.Target, m.Reason = roomName(g.Name, r.id), g.Mode, via, reply.Heads, ""
		w := &storage.Write{Room: r.id, Meta: &m}
		for _, k := range reply.Keys {
			if roomKey(k.Key).id() == k.ID {
				w.Keys = append(w.Keys, storage.RoomKey{ID: k.ID, Key: k.Key})
			}
		}
		if err := r.n.store.Commit(ctx, w); err != nil {
			return err
		}
		r.meta = m
		for _, k := range w.Keys {
			r.addKey(roomKey(k.Key))
		}
		if !r.core.Graph().Holds(genesis.Run().First().ID()) {
			r.refused(r.core.Receive(time.Now(), via, genesis))
		}
		r.show()
		r.n.membersChanged()
		r.reconcile()
		return nil
	})
	if err != nil {
		return err
	}
	if saved != nil {
		return saved
	}
	r.preview(ctx, via)
	return nil
}

// pursueJoining ends joining when everything up to the heads shown at admission
// is here, and looks for another way when nothing comes any more: heads can be
// invented, and who admitted can be gone.
func (r *room) pursueJoining(now time.Time) {
	if r.meta.State != string(chat.Joining) || r.asking() {
		r.stallAt = time.Time{}
		return
	}
	g := r.core.Graph()
	member := g.IsMember(r.n.id.origin.Device)
	if member && g.Have().Covers(r.meta.Target) {
		r.arrive()
		return
	}
	if r.stallAt.IsZero() {
		r.stallAt = now.Add(joinStall)
		return
	}
	if now.Before(r.stallAt) {
		return
	}
	r.stallAt = time.Time{}
	if member && len(r.peers) > 0 {
		r.log.Warn("joined without some entries that the admitting member named: nobody has them", "via", r.n.nameOf(r.meta.Via))
		r.arrive()
		return
	}
	r.meta.Via = ordering.DeviceKey{}
	r.n.membersChanged()
	r.n.goFor(r.askToJoin)
}

// arrive ends joining: everything up to the heads shown at admission is here.
func (r *room) arrive() {
	r.meta.State, r.meta.Target, r.meta.Reason = string(chat.Joined), nil, ""
	if err := r.saveMeta(); err != nil {
		r.log.Warn("could not store that the room is joined", "error", err)
	}
	if err := r.n.store.ClearPreview(r.ctx, r.id); err != nil {
		r.log.Warn("could not clear the preview", "error", err)
	}
	r.n.emit(chat.Event{Type: chat.EventRoom, Room: r.meta.Name, RoomID: r.id.String(), State: string(chat.Joined)})
	r.salvage()
}

// preview fetches the newest page, to be read while the rest comes. It is not
// taken into the graph.
func (r *room) preview(ctx context.Context, via ordering.DeviceKey) {
	var entries []storage.Entry
	_, err := r.n.net.Fetch(ctx, via, wire.FetchRequest{Room: r.id, Newest: previewSize}, func(run ordering.Run) error {
		v, err := r.verify(run)
		if err != nil || len(entries) > previewSize+ordering.MaxRunEntries {
			return fmt.Errorf("node: preview: %w", err)
		}
		for i, e := range run.Entries {
			if e.Kind.Sealed() && e.Room == r.id {
				entries = append(entries, storage.Entry{Entry: e, Line: previewLine(e, v.Plain[i])})
			}
		}
		return nil
	})
	if err != nil {
		r.log.Debug("no preview", "error", err)
		return
	}
	r.post(ctx, func() { //nolint:errcheck // stopping
		if r.meta.State != string(chat.Joining) {
			return
		}
		if err := r.n.store.Preview(ctx, r.id, entries); err != nil {
			r.log.Warn("could not keep the preview", "error", err)
		}
	})
}

// previewLine reads an entry for display alone.
func previewLine(e *ordering.Entry, plain []byte) *storage.Line {
	if !encrypted(e.Kind) {
		return plainLine(e)
	}
	l := &storage.Line{}
	if e.Client != nil {
		l.SenderKey = e.Client.Key
	}
	if p, err := ordering.DecodePayload(plain); err == nil {
		l.Sender, l.Text, l.ReplyTo, l.Readable = p.Name, p.Text, p.ReplyTo, true
	}
	return l
}

// Invite returns a link to a room. Without limits it is always the same link;
// with a limit a new one is written into the room.
func (n *Node) Invite(ctx context.Context, o chat.InviteOptions) (string, error) {
	r, err := n.find(o.Room)
	if err != nil {
		return "", err
	}
	v := r.view.Load()
	if v.meta.State != string(chat.Joined) || !v.self {
		return "", chat.Errorf(chat.CodeBusy, "%s is not joined yet.", v.meta.Name).WithHint("Wait until its history is here.")
	}
	if o.Expires < 0 || o.Uses < 0 || o.Uses > 1<<31-1 {
		return "", chat.Errorf(chat.CodeInvalid, "An invite's limits are above zero.").WithHint("Leave a limit out for none.")
	}
	l := invite.Link{Room: r.id, Name: v.meta.Name}
	setting := settingInvite + r.id.String()
	limited := o.Expires > 0 || o.Uses > 0
	seed, err := n.store.Get(ctx, setting)
	if err != nil {
		return "", err
	}
	if !limited && len(seed) == len(l.Secret) {
		copy(l.Secret[:], seed)
	} else {
		rand.Read(l.Secret[:])
		if o.Expires > 0 {
			l.Expires = time.UnixMilli(time.Now().Add(o.Expires).UnixMilli())
		}
		if err := r.writeInvite(ctx, l, o.Uses); err != nil {
			return "", err
		}
		if !limited {
			if err := n.store.Put(ctx, setting, l.Secret[:]); err != nil {
				return "", err
			}
		}
	}
	l.Peers = n.inviters(v)
	return l.String(), nil
}

func (r *room) writeInvite(ctx context.Context, l invite.Link, uses int) error {
	body := ordering.Invite{Key: l.PublicKey(), Uses: uint32(uses)}
	if !l.Expires.IsZero() {
		body.ExpiresMS = l.Expires.UnixMilli()
	}
	_, _, err := r.sayAndWait(ctx, &saying{kind: ordering.KindInvite, body: body.Encode()})
	return err
}

// sayAndWait says entries together and waits until they are durable; it tells
// of the last.
func (r *room) sayAndWait(ctx context.Context, says ...*saying) (ordering.Ref, bool, error) {
	type said struct {
		ref       ordering.Ref
		duplicate bool
		err       error
	}
	answer := make(chan said, 1)
	for _, s := range says {
		s.reply = func(ordering.Ref, bool, error) {} // the last one's outcome is that of all
	}
	says[len(says)-1].reply = func(ref ordering.Ref, duplicate bool, err error) { answer <- said{ref, duplicate, err} }
	if err := r.post(ctx, func() { r.sayings = append(r.sayings, says...) }); err != nil {
		return ordering.Ref{}, false, err
	}
	a, err := await(ctx, r, answer)
	if err != nil {
		return ordering.Ref{}, false, err
	}
	return a.ref, a.duplicate, a.err
}

// inviters names this node and other members that are connected, with where
// they listen.
func (n *Node) inviters(v *roomView) []invite.Peer {
	peers := []invite.Peer{{Device: n.id.origin.Device, Addrs: worthTelling(n.net.Addrs())}}
	for _, d := range v.connected {
		if addrs := worthTelling(n.net.AddrsOf(d)); len(addrs) > 0 && len(peers) < invite.MaxPeers {
			peers = append(peers, invite.Peer{Device: d, Addrs: addrs})
		}
	}
	return peers
}

// worthTelling returns addresses as an invite has them: without the peer's id,
// and those of the loopback interface only where there are no others.
func worthTelling(addrs []string) []string {
	var near, far []string
	for _, a := range addrs {
		a = withoutPeer(a)
		if strings.HasPrefix(a, "/ip4/127.") || strings.HasPrefix(a, "/ip6/::1/") {
			near = append(near, a)
		} else {
			far = append(far, a)
		}
	}
	if len(far) == 0 {
		return near
	}
	return far
}

// addrsOf returns the full multiaddrs that an invite names; none if it cannot be
// read.
func addrsOf(link string) []string {
	l, _ := invite.Parse(link, time.Time{}) // an expired one still names addresses
	var addrs []string
	for _, p := range l.Peers {
		for _, a := range p.Addrs {
			addrs = append(addrs, a+"/p2p/"+p2p.PeerIDOf(p.Device))
		}
	}
	return addrs
}

// LeaveRoom writes that this device leaves. The room is no longer listed; what
// was said stays on this disk, and the members are told as long as one is
// reachable.
func (n *Node) LeaveRoom(ctx context.Context, ref string) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	if v := r.view.Load(); v.self && v.meta.State == string(chat.Joined) {
		if err := r.handOver(ctx, func() bool { return r.core.MayLeave() }); err != nil {
			return err
		}
		if _, _, err := r.sayAndWait(ctx, &saying{kind: ordering.KindLeave}); err != nil {
			return err
		}
		if err := r.handOver(ctx, func() bool { return !r.core.HasSeat(n.id.origin.Device) }); err != nil {
			return err
		}
	}
	left, err := ask(ctx, r, func() error {
		r.meta.State, r.meta.Invite, r.meta.Reason = stateLeft, "", ""
		err := r.saveMeta()
		r.show()
		return err
	})
	if err == nil {
		err = left
	}
	n.membersChanged()
	return err
}

// handOver lets others take over what this device does for the order of the room,
// until done says so or handoverWait is over: then they must go on without it.
func (r *room) handOver(ctx context.Context, done func() bool) error {
	ticker := time.NewTicker(handoverLook)
	defer ticker.Stop()
	until := time.Now().Add(handoverWait)
	for {
		ok, err := ask(ctx, r, func() bool {
			r.core.Health(time.Now(), r.n.diskOK(), true)
			return done()
		})
		if err != nil || ok || time.Now().After(until) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// RemoveMember ends a device's membership for good and hands the others a new
// room key. Only the room's creator can. The member is named by name or peer id.
func (n *Node) RemoveMember(ctx context.Context, ref, member string) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	v := r.view.Load()
	var found []dag.Member
	creator := false
	for _, m := range v.members {
		if !m.Former && (v.names[m.Device] == member || p2p.PeerIDOf(m.Device) == member) {
			found = append(found, m)
		}
		creator = creator || m.Creator && m.Device == n.id.origin.Device
	}
	switch {
	case len(found) > 1:
		return chat.Errorf(chat.CodeAmbiguous, "%q stands for %d members of %s.", member, len(found), v.meta.Name).WithHint("Name the member by its peer id: `tertulia members --json`.")
	case len(found) == 0:
		return chat.Errorf(chat.CodeNotFound, "%s has no member %q.", v.meta.Name, member).WithHint("`tertulia members` lists them.")
	case !creator:
		return chat.Errorf(chat.CodeForbidden, "Only the member that made %s can remove others.", v.meta.Name)
	case found[0].Device == n.id.origin.Device:
		return chat.Errorf(chat.CodeInvalid, "This is your own device.").WithHint("To go, use `tertulia rooms leave`.")
	}
	answer := make(chan error, 1)
	err = r.post(ctx, func() {
		r.say(&saying{kind: ordering.KindRemove, body: ordering.Remove{Device: found[0].Device}.Encode(), reply: func(_ ordering.Ref, _ bool, err error) {
			if err == nil {
				r.rekey()
			}
			answer <- err
		}})
	})
	if err != nil {
		return err
	}
	removed, err := await(ctx, r, answer)
	return errors.Join(err, removed)
}

// seek looks for the members of each room through the rendezvous, often while
// nobody is reachable.
func (n *Node) seek(ctx context.Context) error {
	if n.cfg.NoDHT {
		return nil
	}
	wait := seekOften
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = seekRarely
		for _, r := range n.rooms.Load().list {
			v := r.view.Load()
			if v.meta.State != string(chat.Joined) || len(v.members) < 2 && len(n.net.Peers()) == 0 {
				continue
			}
			lookup, cancel := context.WithTimeout(ctx, seekTimeout)
			if len(v.connected) == 0 {
				wait = seekOften
				if _, err := n.net.FindPeers(lookup, r.id); err != nil {
					r.log.Debug("rendezvous finds nobody", "error", err)
				}
			}
			if err := n.net.Provide(lookup, r.id); err != nil {
				r.log.Debug("rendezvous not offered", "error", err)
			}
			cancel()
		}
	}
}
