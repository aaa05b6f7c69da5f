// Package schema turns the values of package chat into messages of the
// service and back. Server and client use the same functions, so that a value
// comes out as it went in: times keep their milliseconds, everything else is
// kept whole.
package schema

import (
	"time"

	pb "tertulia/api/tertulia/v1"
	"tertulia/chat"
)

// Message returns m as the service sends it.
func Message(m chat.Message) *pb.Message {
	return &pb.Message{
		Id:         m.ID,
		Room:       m.Room,
		RoomId:     m.RoomID,
		Kind:       string(m.Kind),
		Origin:     m.Origin,
		Sender:     m.Sender,
		SenderId:   m.SenderID,
		Text:       m.Text,
		ReplyTo:    m.ReplyTo,
		State:      string(m.State),
		Index:      m.Index,
		OrderHash:  m.Hash,
		Epoch:      m.Epoch,
		LeaderId:   m.Leader,
		Late:       m.Late,
		LamportTs:  m.Lamport,
		TimeUnixMs: UnixMS(m.Time),
		ClientId:   m.ClientID,
		Mine:       m.Mine,
		Unreadable: m.Unreadable,
		Position:   []byte(m.Position),
		Arrival:    m.Arrival,
		Received:   int64(m.Received),
	}
}

// ChatMessage is the inverse of Message.
func ChatMessage(m *pb.Message) chat.Message {
	return chat.Message{
		ID:         m.GetId(),
		Room:       m.GetRoom(),
		RoomID:     m.GetRoomId(),
		Kind:       chat.Kind(m.GetKind()),
		Origin:     m.GetOrigin(),
		Sender:     m.GetSender(),
		SenderID:   m.GetSenderId(),
		Text:       m.GetText(),
		ReplyTo:    m.GetReplyTo(),
		State:      chat.State(m.GetState()),
		Index:      m.GetIndex(),
		Hash:       m.GetOrderHash(),
		Epoch:      m.GetEpoch(),
		Leader:     m.GetLeaderId(),
		Late:       m.GetLate(),
		Lamport:    m.GetLamportTs(),
		Time:       ChatTime(m.GetTimeUnixMs()),
		ClientID:   m.GetClientId(),
		Mine:       m.GetMine(),
		Unreadable: m.GetUnreadable(),
		Position:   string(m.GetPosition()),
		Arrival:    m.GetArrival(),
		Received:   int(m.GetReceived()),
	}
}

// Messages and ChatMessages turn whole lists.
func Messages(ms []chat.Message) []*pb.Message { return each(ms, Message) }

// ChatMessages is the inverse of Messages.
func ChatMessages(ms []*pb.Message) []chat.Message { return each(ms, ChatMessage) }

// Room returns r as the service sends it.
func Room(r chat.Room) *pb.RoomInfo {
	info := &pb.RoomInfo{
		Id:         r.ID,
		Name:       r.Name,
		Ordering:   string(r.Order),
		State:      string(r.State),
		Reason:     r.Reason,
		Progress:   &pb.Progress{Have: r.Progress.Have, Want: r.Progress.Want},
		Members:    int64(r.Members),
		Online:     int64(r.Online),
		Unread:     int64(r.Unread),
		Total:      r.Total,
		FinalIndex: r.FinalIndex,
		Waiting:    r.Waiting,

		WaitsFor:    r.WaitsFor,
		FirstUnread: r.FirstUnread,
		Readers:     Readers(r.Readers),
		Typing:      each(r.Typing, person),
		Settings:    RoomSettings(r.Settings),
		Merges:      each(r.Merges, merge),
		Forked:      r.Forked,
	}
	if r.Last != nil {
		info.Last = Message(*r.Last)
	}
	return info
}

// ChatRoom is the inverse of Room.
func ChatRoom(r *pb.RoomInfo) chat.Room {
	room := chat.Room{
		ID:         r.GetId(),
		Name:       r.GetName(),
		Order:      chat.Order(r.GetOrdering()),
		State:      chat.RoomState(r.GetState()),
		Reason:     r.GetReason(),
		Progress:   chat.Progress{Have: r.GetProgress().GetHave(), Want: r.GetProgress().GetWant()},
		Members:    int(r.GetMembers()),
		Online:     int(r.GetOnline()),
		Unread:     int(r.GetUnread()),
		Total:      r.GetTotal(),
		FinalIndex: r.GetFinalIndex(),
		Waiting:    r.GetWaiting(),

		WaitsFor:    r.GetWaitsFor(),
		FirstUnread: r.GetFirstUnread(),
		Readers:     ChatReaders(r.GetReaders()),
		Typing:      each(r.GetTyping(), chatPerson),
		Settings:    ChatRoomSettings(r.GetSettings()),
		Merges:      each(r.GetMerges(), chatMerge),
		Forked:      r.GetForked(),
	}
	if r.GetLast() != nil {
		last := ChatMessage(r.GetLast())
		room.Last = &last
	}
	return room
}

// Rooms and ChatRooms turn whole lists.
func Rooms(rs []chat.Room) []*pb.RoomInfo { return each(rs, Room) }

// ChatRooms is the inverse of Rooms.
func ChatRooms(rs []*pb.RoomInfo) []chat.Room { return each(rs, ChatRoom) }

// Members returns ms as the service sends them.
func Members(ms []chat.Member) []*pb.Member {
	return each(ms, member)
}

func member(m chat.Member) *pb.Member {
	return &pb.Member{
		Name:        m.Name,
		PeerId:      m.PeerID,
		Fingerprint: m.Fingerprint,
		Creator:     m.Creator,
		Self:        m.Self,
		State:       string(m.State),
	}
}

// ChatMembers is the inverse of Members.
func ChatMembers(ms []*pb.Member) []chat.Member {
	return each(ms, chatMember)
}

func chatMember(m *pb.Member) chat.Member {
	return chat.Member{
		Name:        m.GetName(),
		PeerID:      m.GetPeerId(),
		Fingerprint: m.GetFingerprint(),
		Creator:     m.GetCreator(),
		Self:        m.GetSelf(),
		State:       chat.PeerState(m.GetState()),
	}
}

// View returns v as the service sends it.
func View(v chat.View) *pb.ViewResponse {
	return &pb.ViewResponse{
		NodeId:   v.NodeID,
		PeerId:   v.PeerID,
		Username: v.Username,
		Rooms:    Rooms(v.Rooms),
		Peers:    each(v.Peers, peer),
		Network:  v.Network,
		Healthy:  v.Healthy,
	}
}

// ChatView is the inverse of View.
func ChatView(v *pb.ViewResponse) chat.View {
	return chat.View{
		NodeID:   v.GetNodeId(),
		PeerID:   v.GetPeerId(),
		Username: v.GetUsername(),
		Rooms:    ChatRooms(v.GetRooms()),
		Peers:    each(v.GetPeers(), chatPeer),
		Network:  v.GetNetwork(),
		Healthy:  v.GetHealthy(),
	}
}

// Status returns s as the service sends it.
func Status(s chat.Status) *pb.StatusResponse {
	return &pb.StatusResponse{
		NodeId:   s.NodeID,
		PeerId:   s.PeerID,
		Version:  s.Version,
		UptimeMs: s.Uptime.Milliseconds(),
		Addrs:    s.Addrs,
		Peers:    each(s.Peers, peer),
		Rooms:    each(s.Rooms, roomStatus),
		Refused:  s.Refused,
		Disk:     s.Disk,
	}
}

// ChatStatus is the inverse of Status.
func ChatStatus(s *pb.StatusResponse) chat.Status {
	return chat.Status{
		NodeID:  s.GetNodeId(),
		PeerID:  s.GetPeerId(),
		Version: s.GetVersion(),
		Uptime:  time.Duration(s.GetUptimeMs()) * time.Millisecond,
		Addrs:   s.GetAddrs(),
		Peers:   each(s.GetPeers(), chatPeer),
		Rooms:   each(s.GetRooms(), chatRoomStatus),
		Refused: s.GetRefused(),
		Disk:    s.GetDisk(),
	}
}

// Event returns e as the service sends it.
func Event(e chat.Event) *pb.EventsResponse {
	return &pb.EventsResponse{
		Type:     string(e.Type),
		NodeId:   e.NodeID,
		State:    e.State,
		Room:     e.Room,
		RoomId:   e.RoomID,
		Reason:   e.Reason,
		Term:     e.Term,
		Leader:   e.Leader,
		Epoch:    e.Epoch,
		Ordering: string(e.Order),
		View:     e.View,
	}
}

// ChatEvent is the inverse of Event.
func ChatEvent(e *pb.EventsResponse) chat.Event {
	return chat.Event{
		Type:   chat.EventType(e.GetType()),
		NodeID: e.GetNodeId(),
		State:  e.GetState(),
		Room:   e.GetRoom(),
		RoomID: e.GetRoomId(),
		Reason: e.GetReason(),
		Term:   e.GetTerm(),
		Leader: e.GetLeader(),
		Epoch:  e.GetEpoch(),
		Order:  chat.Order(e.GetOrdering()),
		View:   e.GetView(),
	}
}

func peer(p chat.Peer) *pb.Peer {
	return &pb.Peer{
		Name:    p.Name,
		PeerId:  p.PeerID,
		State:   string(p.State),
		RttNs:   int64(p.RTT),
		Addr:    p.Addr,
		Relayed: p.Relayed,
	}
}

func chatPeer(p *pb.Peer) chat.Peer {
	return chat.Peer{
		Name:    p.GetName(),
		PeerID:  p.GetPeerId(),
		State:   chat.PeerState(p.GetState()),
		RTT:     time.Duration(p.GetRttNs()),
		Addr:    p.GetAddr(),
		Relayed: p.GetRelayed(),
	}
}

func roomStatus(r chat.RoomStatus) *pb.RoomStatus {
	return &pb.RoomStatus{
		Name:       r.Name,
		Id:         r.ID,
		Ordering:   string(r.Order),
		State:      string(r.State),
		Epoch:      r.Epoch,
		View:       r.View,
		Leader:     r.Leader,
		Term:       r.Term,
		Voters:     r.Voters,
		FinalIndex: r.FinalIndex,
		OrderHash:  r.OrderHash,
		Tentative:  r.Tentative,
		WaitingFor: r.WaitingFor,
		Clocks:     r.Clocks,
		Replicas: each(r.Replicas, func(r chat.Replica) *pb.Replica {
			return &pb.Replica{NodeId: r.NodeID, FinalIndex: r.FinalIndex, OrderHash: r.OrderHash, Diverged: r.Diverged}
		}),
		TailHash: r.TailHash,
		Parked:   int64(r.Parked),
		Diverged: r.Diverged,
		Forked:   r.Forked,
		Links:    each(r.Links, link),
		Turns:    each(r.Turns, turn),
	}
}

func chatRoomStatus(r *pb.RoomStatus) chat.RoomStatus {
	return chat.RoomStatus{
		Name:       r.GetName(),
		ID:         r.GetId(),
		Order:      chat.Order(r.GetOrdering()),
		State:      chat.RoomState(r.GetState()),
		Epoch:      r.GetEpoch(),
		View:       r.GetView(),
		Leader:     r.GetLeader(),
		Term:       r.GetTerm(),
		Voters:     r.GetVoters(),
		FinalIndex: r.GetFinalIndex(),
		OrderHash:  r.GetOrderHash(),
		Tentative:  r.GetTentative(),
		WaitingFor: r.GetWaitingFor(),
		Clocks:     r.GetClocks(),
		Replicas: each(r.GetReplicas(), func(r *pb.Replica) chat.Replica {
			return chat.Replica{NodeID: r.GetNodeId(), FinalIndex: r.GetFinalIndex(), OrderHash: r.GetOrderHash(), Diverged: r.GetDiverged()}
		}),
		TailHash: r.GetTailHash(),
		Parked:   int(r.GetParked()),
		Diverged: r.GetDiverged(),
		Forked:   r.GetForked(),
		Links:    each(r.GetLinks(), chatLink),
		Turns:    each(r.GetTurns(), chatTurn),
	}
}

// each keeps nil for an empty list, as the wire does.
func each[A, B any](list []A, turn func(A) B) []B {
	if len(list) == 0 {
		return nil
	}
	turned := make([]B, len(list))
	for i, a := range list {
		turned[i] = turn(a)
	}
	return turned
}

// UnixMS returns a time as the service sends it.
func UnixMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// ChatTime is the inverse of UnixMS.
func ChatTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
