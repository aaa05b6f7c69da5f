package schema

import (
	"time"

	pb "tertulia/api/tertulia/v1"
	"tertulia/chat"
)

// Reader returns r as the service sends it.
func Reader(r chat.Reader) *pb.Reader { return &pb.Reader{Person: person(r.Person), UpTo: r.UpTo} }

// ChatReader is the inverse of Reader.
func ChatReader(r *pb.Reader) chat.Reader {
	return chat.Reader{Person: chatPerson(r.GetPerson()), UpTo: r.GetUpTo()}
}

// Readers and ChatReaders turn whole lists.
func Readers(rs []chat.Reader) []*pb.Reader { return each(rs, Reader) }

// ChatReaders is the inverse of Readers.
func ChatReaders(rs []*pb.Reader) []chat.Reader { return each(rs, ChatReader) }

func person(p chat.Person) *pb.Person { return &pb.Person{Name: p.Name, Id: p.ID} }

func chatPerson(p *pb.Person) chat.Person { return chat.Person{Name: p.GetName(), ID: p.GetId()} }

// RoomSettings returns s as the service sends it.
func RoomSettings(s chat.RoomSettings) *pb.RoomSettings {
	return &pb.RoomSettings{Notify: string(s.Notify), HideRead: s.HideRead, Nearby: s.Nearby}
}

// ChatRoomSettings is the inverse of RoomSettings.
func ChatRoomSettings(s *pb.RoomSettings) chat.RoomSettings {
	return chat.RoomSettings{Notify: chat.Notify(s.GetNotify()), HideRead: s.GetHideRead(), Nearby: s.GetNearby()}
}

func merge(m chat.Merge) *pb.Merge {
	return &pb.Merge{FromUnixMs: UnixMS(m.From), ToUnixMs: UnixMS(m.To), Before: m.Before, Count: int64(m.Count)}
}

func chatMerge(m *pb.Merge) chat.Merge {
	return chat.Merge{From: ChatTime(m.GetFromUnixMs()), To: ChatTime(m.GetToUnixMs()), Before: m.GetBefore(), Count: int(m.GetCount())}
}

func link(l chat.Link) *pb.Link {
	return &pb.Link{A: l.A, B: l.B, RttNs: int64(l.RTT), Relayed: l.Relayed}
}

func chatLink(l *pb.Link) chat.Link {
	return chat.Link{A: l.GetA(), B: l.GetB(), RTT: time.Duration(l.GetRttNs()), Relayed: l.GetRelayed()}
}

func turn(t chat.Turn) *pb.Turn {
	return &pb.Turn{
		TimeUnixMs: UnixMS(t.Time), Type: string(t.Type), Term: t.Term, Leader: t.Leader,
		Epoch: t.Epoch, Ordering: string(t.Order), View: t.View, Reason: t.Reason,
	}
}

func chatTurn(t *pb.Turn) chat.Turn {
	return chat.Turn{
		Time: ChatTime(t.GetTimeUnixMs()), Type: chat.EventType(t.GetType()), Term: t.GetTerm(), Leader: t.GetLeader(),
		Epoch: t.GetEpoch(), Order: chat.Order(t.GetOrdering()), View: t.GetView(), Reason: t.GetReason(),
	}
}

// Confirmations returns cs as the service sends them.
func Confirmations(cs []chat.Confirmation) []*pb.Confirmation {
	return each(cs, func(c chat.Confirmation) *pb.Confirmation {
		return &pb.Confirmation{Message: Message(c.Message), Readers: each(c.Readers, person)}
	})
}

// ChatConfirmations is the inverse of Confirmations.
func ChatConfirmations(cs []*pb.Confirmation) []chat.Confirmation {
	return each(cs, func(c *pb.Confirmation) chat.Confirmation {
		return chat.Confirmation{Message: ChatMessage(c.GetMessage()), Readers: each(c.GetReaders(), chatPerson)}
	})
}

// Info returns i as the service sends it.
func Info(i chat.Info) *pb.InfoResponse {
	return &pb.InfoResponse{
		Message: Message(i.Message),
		Author:  member(i.Author),
		Parents: each(i.Parents, func(p chat.Parent) *pb.Parent {
			return &pb.Parent{Id: p.ID, Name: p.Name, Text: p.Text}
		}),
		ArrivedUnixMs: UnixMS(i.Arrived),
		Holders:       i.Holders,
		Missing:       i.Missing,
		Readers:       each(i.Readers, person),
		Verified:      i.Verified,
		Seq:           i.Seq,
		Term:          i.Term,
	}
}

// ChatInfo is the inverse of Info.
func ChatInfo(i *pb.InfoResponse) chat.Info {
	return chat.Info{
		Message: ChatMessage(i.GetMessage()),
		Author:  chatMember(i.GetAuthor()),
		Parents: each(i.GetParents(), func(p *pb.Parent) chat.Parent {
			return chat.Parent{ID: p.GetId(), Name: p.GetName(), Text: p.GetText()}
		}),
		Arrived:  ChatTime(i.GetArrivedUnixMs()),
		Holders:  i.GetHolders(),
		Missing:  i.GetMissing(),
		Readers:  each(i.GetReaders(), chatPerson),
		Verified: i.GetVerified(),
		Seq:      i.GetSeq(),
		Term:     i.GetTerm(),
	}
}

// Nearby returns rooms as the service sends them.
func Nearby(rs []chat.Nearby) []*pb.NearbyRoom {
	return each(rs, func(r chat.Nearby) *pb.NearbyRoom {
		return &pb.NearbyRoom{Room: r.Room, RoomId: r.RoomID, Node: r.Node, Invite: r.Invite}
	})
}

// ChatNearby is the inverse of Nearby.
func ChatNearby(rs []*pb.NearbyRoom) []chat.Nearby {
	return each(rs, func(r *pb.NearbyRoom) chat.Nearby {
		return chat.Nearby{Room: r.GetRoom(), RoomID: r.GetRoomId(), Node: r.GetNode(), Invite: r.GetInvite()}
	})
}
