package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"time"

	"tertulia/chat"
	"tertulia/node/invite"
	"tertulia/ordering"
	"tertulia/p2p/wire"
)

// Rooms nearby: a room may be offered to whoever is on the same network. The offer
// is an invite for that device alone, which this node keeps in memory and honours
// itself, so asking writes nothing into the room.

// Limits of offers.
const (
	maxOffers    = 256       // invites kept
	offerLasts   = time.Hour // and how long
	offerUses    = 4         // admissions by one, as a lost answer needs another try
	nearbyLasts  = 3 * time.Second
	nearbyAnswer = 5 * time.Second // for all nodes nearby to answer
)

// offer is an invite that was handed to a device nearby.
type offer struct {
	to    ordering.DeviceKey
	link  invite.Link
	as    ordering.InviteKey // the room's invite by which the device is admitted
	until time.Time
	uses  int
}

// nearby is what was found last.
type nearby struct {
	asking chan struct{} // one place: held while neighbours are asked, and guards the rest
	at     time.Time
	list   []chat.Nearby
}

// Nearby returns the rooms that nodes on the same network offer and this node is
// not in, by name.
func (n *Node) Nearby(ctx context.Context) ([]chat.Nearby, error) {
	select {
	case n.nearby.asking <- struct{}{}:
		defer func() { <-n.nearby.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if time.Since(n.nearby.at) < nearbyLasts {
		return slices.Clone(n.nearby.list), nil
	}
	ctx, cancel := context.WithTimeout(ctx, nearbyAnswer)
	defer cancel()
	var list []chat.Nearby
	for d, reply := range n.net.Nearby(ctx) {
		for _, o := range reply.Offers {
			if r := n.room(o.Room); r != nil && r.view.Load().meta.State == string(chat.Joined) {
				continue
			}
			l, err := invite.Parse(o.Invite, time.Now())
			if err != nil || l.Room != o.Room || len(list) == chat.MaxNearby {
				continue
			}
			list = append(list, chat.Nearby{Room: roomName(o.Name, o.Room), RoomID: o.Room.String(), Node: n.nameOf(d), Invite: l.String()})
		}
	}
	slices.SortFunc(list, func(a, b chat.Nearby) int {
		return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.RoomID, b.RoomID), cmp.Compare(a.Node, b.Node))
	})
	n.nearby.at, n.nearby.list = time.Now(), list
	return slices.Clone(list), nil
}

// ServeNearby answers a device on the same network.
func (h *handler) ServeNearby(ctx context.Context, d ordering.DeviceKey) wire.NearbyReply {
	n := (*Node)(h)
	var reply wire.NearbyReply
	for _, r := range n.rooms.Load().list {
		v := r.view.Load()
		if !v.settings.Nearby || !v.self || v.meta.State != string(chat.Joined) || v.member[d] || len(reply.Offers) == wire.MaxOffers {
			continue
		}
		l, err := n.offer(ctx, d, r)
		if err != nil {
			r.log.Debug("not offered nearby", "error", err)
			continue
		}
		reply.Offers = append(reply.Offers, wire.Offer{Room: r.id, Name: v.meta.Name, Invite: l.String()})
	}
	return reply
}

// offer makes an invite to a room for a device, or finds the one it has.
func (n *Node) offer(ctx context.Context, d ordering.DeviceKey, r *room) (invite.Link, error) {
	standing, err := n.Invite(ctx, chat.InviteOptions{Room: r.id.String()})
	if err != nil {
		return invite.Link{}, err
	}
	now := time.Now()
	l, err := invite.Parse(standing, now)
	if err != nil {
		return l, err
	}
	as := l.PublicKey()
	l.Peers = l.Peers[:1] // this node, which alone knows of the offer
	l.Name = r.view.Load().meta.Name
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, o := range n.offers {
		switch {
		case !now.Before(o.until) || o.uses == 0:
			delete(n.offers, key)
		case o.to == d && o.link.Room == r.id && o.until.Sub(now) > offerLasts/2:
			return o.link, nil
		}
	}
	if len(n.offers) >= maxOffers {
		return l, chat.Errorf(chat.CodeBusy, "This node has made %d offers already.", maxOffers).WithHint("They end within an hour.")
	}
	rand.Read(l.Secret[:])
	l.Expires = time.UnixMilli(now.Add(offerLasts).UnixMilli())
	n.offers[l.PublicKey()] = offer{to: d, link: l, as: as, until: l.Expires, uses: offerUses}
	return l, nil
}

// honoured returns the room's invite by which a device with an offer is admitted,
// or the key itself, where it is no offer.
func (n *Node) honoured(d ordering.DeviceKey, room ordering.RoomID, key ordering.InviteKey) ordering.InviteKey {
	n.mu.Lock()
	defer n.mu.Unlock()
	o, ok := n.offers[key]
	if !ok || o.to != d || o.link.Room != room || o.uses == 0 || !time.Now().Before(o.until) {
		return key
	}
	o.uses--
	n.offers[key] = o
	return o.as
}
