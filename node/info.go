package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/p2p"
	"tertulia/storage"
)

// Limits of what is told of one message.
const (
	maxParents  = 20
	parentBytes = 120 // of a parent's text
)

// Info tells all that this node knows of one message.
func (n *Node) Info(ctx context.Context, ref, id string) (chat.Info, error) {
	r, err := n.find(ref)
	if err != nil {
		return chat.Info{}, err
	}
	row, err := n.row(ctx, r, id)
	if err != nil {
		return chat.Info{}, err
	}
	v := r.view.Load()
	info := chat.Info{Message: n.messageOf(r, row), Seq: row.ID.Seq, Verified: true}
	if row.Final.Leader != (ordering.Origin{}) {
		info.Term = row.Final.Term
	}
	members, err := n.Members(ctx, r.id.String())
	if err != nil {
		return info, err
	}
	peerID := p2p.PeerIDOf(row.ID.Origin.Device)
	info.Author = chat.Member{Name: info.Message.Origin, PeerID: peerID, Fingerprint: row.ID.Origin.Device.Fingerprint(), State: chat.PeerLeft}
	if i := slices.IndexFunc(members, func(m chat.Member) bool { return m.PeerID == peerID }); i >= 0 {
		info.Author = members[i]
	}
	e, arrived, err := n.store.Entry(ctx, r.id, row.ID)
	switch {
	case errors.Is(err, storage.ErrNotFound): // a preview: the room is being joined
	case err != nil:
		return info, err
	default:
		info.Arrived = arrived
		if info.Parents, err = n.parents(ctx, r, e); err != nil {
			return info, err
		}
	}
	holds, err := ask(ctx, r, func() map[ordering.DeviceKey]bool {
		holds := make(map[ordering.DeviceKey]bool)
		for d := range v.member {
			holds[d] = r.core.Holds(d, row.ID)
		}
		return holds
	})
	if err != nil {
		return info, err
	}
	for d, has := range holds {
		if has {
			info.Holders = append(info.Holders, v.names[d])
		} else {
			info.Missing = append(info.Missing, v.names[d])
		}
	}
	slices.Sort(info.Holders)
	slices.Sort(info.Missing)
	info.Readers = readersOf(v, info.Message)
	return info, nil
}

// parents tells what the author of an entry had seen last: what it names, then
// what it wrote itself before.
func (n *Node) parents(ctx context.Context, r *room, e *ordering.Entry) ([]chat.Parent, error) {
	var ids []ordering.EntryID
	for _, d := range e.Deps {
		ids = append(ids, d.EntryID)
	}
	if e.Seq > 1 {
		ids = append(ids, ordering.EntryID{Origin: e.Origin, Seq: e.Seq - 1})
	}
	var list []chat.Parent
	for _, id := range ids[:min(len(ids), maxParents)] {
		p := chat.Parent{ID: id.String(), Name: r.nameOf(id.Origin)}
		row, err := n.store.Find(ctx, r.id, ordering.OriginTag(id.Origin), id.Seq)
		switch {
		case err == nil && row.Kind == ordering.KindMessage:
			p.Text = beginning(row.Line.Text)
		case err != nil && !errors.Is(err, storage.ErrNotFound):
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// beginning cuts a text to parentBytes, at a character.
func beginning(s string) string {
	if len(s) <= parentBytes {
		return s
	}
	s = s[:parentBytes]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// links lists who is connected to whom: this node's own connections, and those
// that its peers tell of in their heartbeats.
func (n *Node) links(v *roomView) []chat.Link {
	all := make(map[[2]string]chat.Link)
	add := func(a, b ordering.DeviceKey, link chat.Link) {
		if !v.member[a] || !v.member[b] || a == b {
			return
		}
		link.A, link.B = v.names[a], v.names[b]
		if link.A > link.B {
			link.A, link.B = link.B, link.A
		}
		key := [2]string{link.A, link.B}
		if old, known := all[key]; !known || old.RTT == 0 && link.RTT > 0 {
			all[key] = link
		}
	}
	self := n.id.origin.Device
	for _, p := range n.net.Peers() {
		if p.State != p2p.Connected {
			continue
		}
		add(self, p.Device, chat.Link{RTT: p.RTT, Relayed: p.Relayed})
		for _, d := range p.Hears {
			if d != self {
				add(p.Device, d, chat.Link{})
			}
		}
	}
	list := make([]chat.Link, 0, len(all))
	for _, l := range all {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b chat.Link) int { return cmp.Or(strings.Compare(a.A, b.A), strings.Compare(a.B, b.B)) })
	return list
}

// SetRoomSettings replaces what this node alone keeps of a room.
func (n *Node) SetRoomSettings(ctx context.Context, ref string, s chat.RoomSettings) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	switch s.Notify {
	case chat.NotifyAll, chat.NotifyMentions, chat.NotifyNone:
	default:
		return chat.Errorf(chat.CodeInvalid, "There is no way to notify called %q.", s.Notify).WithHint("It is mentions, none, or nothing for all.")
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	kept, err := ask(ctx, r, func() error {
		if err := n.store.Put(ctx, settingRoom+r.id.String(), b); err != nil {
			return err
		}
		r.settings = s
		r.people.again(time.Now())
		r.show()
		return nil
	})
	return errors.Join(err, kept)
}
