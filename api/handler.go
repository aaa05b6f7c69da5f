// Package api serves a node to its clients: bots, the terminal, the commands
// and attached windows. The service is described in
// api/tertulia/v1/tertulia.proto; Connect speaks it as gRPC, gRPC-Web and
// HTTP with JSON on one port.
//
// A stream holds no queue of its own. A client that reads slowly reads later:
// its stream asks the node's storage for what comes next only when the last
// message has been taken.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"tertulia/api/schema"
	pb "tertulia/api/tertulia/v1"
	"tertulia/api/tertulia/v1/tertuliav1connect"
	"tertulia/chat"
)

// Limits on what clients may ask for.
const (
	maxRequestBytes = 1 << 20 // one request; a message of chat.MaxTextBytes fits six times over, as JSON escapes may need
	maxStreams      = 256     // streams open at once, of all clients together
)

// Node is what the service needs of a node.
type Node interface {
	View(ctx context.Context) (chat.View, error)
	Changes(ctx context.Context) <-chan struct{}
	Page(ctx context.Context, q chat.PageQuery) (chat.Page, error)
	Since(ctx context.Context, room string, arrival uint64, limit int) ([]chat.Message, error)
	Finals(ctx context.Context, room string, after uint64, limit int) ([]chat.Message, error)
	Room(ctx context.Context, ref string) (chat.Room, error)
	Rooms(ctx context.Context) ([]chat.Room, error)
	CreateRoom(ctx context.Context, name string, order chat.Order) (chat.Room, error)
	JoinRoom(ctx context.Context, invite string) (chat.Room, error)
	LeaveRoom(ctx context.Context, room string) error
	RemoveMember(ctx context.Context, room, member string) error // by name or peer id
	SwitchOrder(ctx context.Context, room string, order chat.Order) error
	Invite(ctx context.Context, o chat.InviteOptions) (string, error)
	Members(ctx context.Context, room string) ([]chat.Member, error)
	Send(ctx context.Context, d chat.Draft) (chat.Sent, error)
	JoinUser(ctx context.Context, room, username string) error
	LeaveUser(ctx context.Context, room, username string) error
	SetUsername(ctx context.Context, name string) error
	MarkRead(ctx context.Context, room, position string) error
	ConfirmRead(ctx context.Context, room, username, id string) error
	Confirmations(ctx context.Context, room, username, id string) ([]chat.Confirmation, error)
	Readers(ctx context.Context, room string) ([]chat.Reader, error)
	Info(ctx context.Context, room, id string) (chat.Info, error)
	RenameRoom(ctx context.Context, room, name string) error
	SetRoomSettings(ctx context.Context, room string, s chat.RoomSettings) error
	Typing(ctx context.Context, room string) error
	Nearby(ctx context.Context) ([]chat.Nearby, error)
	Search(ctx context.Context, q chat.SearchQuery) ([]chat.Message, error)
	Status(ctx context.Context) (chat.Status, error)
	Events(ctx context.Context) <-chan chat.Event
}

// NewHandler returns the service of n. Errors that are the node's own fault
// are written to log.
func NewHandler(n Node, log *slog.Logger) http.Handler {
	s := &service{node: n, log: log, streams: make(chan struct{}, maxStreams)}
	mux := http.NewServeMux()
	mux.Handle(tertuliav1connect.NewChatServiceHandler(s, connect.WithReadMaxBytes(maxRequestBytes)))
	return mux
}

type service struct {
	node    Node
	log     *slog.Logger
	streams chan struct{} // one token for each open stream
}

// answer ends a call: with resp, or with err as clients may see it.
func answer[T any](s *service, call string, resp *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, s.told(call, err)
	}
	return connect.NewResponse(resp), nil
}

func (s *service) told(call string, err error) error {
	if chat.CodeOf(err) == chat.CodeInternal && !errors.Is(err, context.Canceled) {
		s.log.Error("call failed", "call", call, "err", err)
	}
	return schema.Error(err)
}

// roomRef applies the default room.
func roomRef(ref string) string {
	if ref == "" {
		return chat.DefaultRoom
	}
	return ref
}

func (s *service) JoinUser(ctx context.Context, req *connect.Request[pb.JoinUserRequest]) (*connect.Response[pb.JoinUserResponse], error) {
	err := s.node.JoinUser(ctx, roomRef(req.Msg.GetRoom()), req.Msg.GetUsername())
	return answer(s, "JoinUser", &pb.JoinUserResponse{}, err)
}

func (s *service) LeaveUser(ctx context.Context, req *connect.Request[pb.LeaveUserRequest]) (*connect.Response[pb.LeaveUserResponse], error) {
	err := s.node.LeaveUser(ctx, roomRef(req.Msg.GetRoom()), req.Msg.GetUsername())
	return answer(s, "LeaveUser", &pb.LeaveUserResponse{}, err)
}

func (s *service) SendMessage(ctx context.Context, req *connect.Request[pb.SendMessageRequest]) (*connect.Response[pb.SendMessageResponse], error) {
	sent, err := s.node.Send(ctx, chat.Draft{
		Room:     roomRef(req.Msg.GetRoom()),
		Username: req.Msg.GetUsername(),
		Text:     req.Msg.GetText(),
		ReplyTo:  req.Msg.GetReplyTo(),
		ClientID: req.Msg.GetClientId(),
	})
	return answer(s, "SendMessage", &pb.SendMessageResponse{Id: sent.ID, ClientId: sent.ClientID, Duplicate: sent.Duplicate}, err)
}

func (s *service) ConfirmRead(ctx context.Context, req *connect.Request[pb.ConfirmReadRequest]) (*connect.Response[pb.ConfirmReadResponse], error) {
	err := s.node.ConfirmRead(ctx, roomRef(req.Msg.GetRoom()), req.Msg.GetUsername(), req.Msg.GetId())
	return answer(s, "ConfirmRead", &pb.ConfirmReadResponse{}, err)
}

func (s *service) Confirmations(ctx context.Context, req *connect.Request[pb.ConfirmationsRequest]) (*connect.Response[pb.ConfirmationsResponse], error) {
	list, err := s.node.Confirmations(ctx, roomRef(req.Msg.GetRoom()), req.Msg.GetUsername(), req.Msg.GetId())
	return answer(s, "Confirmations", &pb.ConfirmationsResponse{Confirmations: schema.Confirmations(list)}, err)
}

func (s *service) Readers(ctx context.Context, req *connect.Request[pb.ReadersRequest]) (*connect.Response[pb.ReadersResponse], error) {
	readers, err := s.node.Readers(ctx, roomRef(req.Msg.GetRoom()))
	return answer(s, "Readers", &pb.ReadersResponse{Readers: schema.Readers(readers)}, err)
}

func (s *service) Info(ctx context.Context, req *connect.Request[pb.InfoRequest]) (*connect.Response[pb.InfoResponse], error) {
	info, err := s.node.Info(ctx, roomRef(req.Msg.GetRoom()), req.Msg.GetId())
	return answer(s, "Info", schema.Info(info), err)
}

// RenameRoom has no default room: nobody renames a room by leaving a field out.
func (s *service) RenameRoom(ctx context.Context, req *connect.Request[pb.RenameRoomRequest]) (*connect.Response[pb.RenameRoomResponse], error) {
	if req.Msg.GetRoom() == "" {
		return answer[pb.RenameRoomResponse](s, "RenameRoom", nil, chat.Errorf(chat.CodeInvalid, "RenameRoom needs a room."))
	}
	return answer(s, "RenameRoom", &pb.RenameRoomResponse{}, s.node.RenameRoom(ctx, req.Msg.GetRoom(), req.Msg.GetName()))
}

func (s *service) SetRoomSettings(ctx context.Context, req *connect.Request[pb.SetRoomSettingsRequest]) (*connect.Response[pb.SetRoomSettingsResponse], error) {
	err := s.node.SetRoomSettings(ctx, roomRef(req.Msg.GetRoom()), schema.ChatRoomSettings(req.Msg.GetSettings()))
	return answer(s, "SetRoomSettings", &pb.SetRoomSettingsResponse{}, err)
}

func (s *service) Typing(ctx context.Context, req *connect.Request[pb.TypingRequest]) (*connect.Response[pb.TypingResponse], error) {
	return answer(s, "Typing", &pb.TypingResponse{}, s.node.Typing(ctx, roomRef(req.Msg.GetRoom())))
}

func (s *service) Nearby(ctx context.Context, _ *connect.Request[pb.NearbyRequest]) (*connect.Response[pb.NearbyResponse], error) {
	list, err := s.node.Nearby(ctx)
	return answer(s, "Nearby", &pb.NearbyResponse{Rooms: schema.Nearby(list)}, err)
}

func (s *service) History(ctx context.Context, req *connect.Request[pb.HistoryRequest]) (*connect.Response[pb.HistoryResponse], error) {
	resp, err := history(ctx, s.node, req.Msg)
	return answer(s, "History", resp, err)
}

func (s *service) Search(ctx context.Context, req *connect.Request[pb.SearchRequest]) (*connect.Response[pb.SearchResponse], error) {
	found, err := s.node.Search(ctx, chat.SearchQuery{Text: req.Msg.GetText(), Room: req.Msg.GetRoom(), Limit: int(req.Msg.GetLimit())})
	return answer(s, "Search", &pb.SearchResponse{Messages: schema.Messages(found)}, err)
}

func (s *service) Members(ctx context.Context, req *connect.Request[pb.MembersRequest]) (*connect.Response[pb.MembersResponse], error) {
	members, err := s.node.Members(ctx, roomRef(req.Msg.GetRoom()))
	return answer(s, "Members", &pb.MembersResponse{Members: schema.Members(members)}, err)
}

func (s *service) Rooms(ctx context.Context, _ *connect.Request[pb.RoomsRequest]) (*connect.Response[pb.RoomsResponse], error) {
	rooms, err := s.node.Rooms(ctx)
	return answer(s, "Rooms", &pb.RoomsResponse{Rooms: schema.Rooms(rooms)}, err)
}

func (s *service) Room(ctx context.Context, req *connect.Request[pb.RoomRequest]) (*connect.Response[pb.RoomResponse], error) {
	room, err := s.node.Room(ctx, roomRef(req.Msg.GetRoom()))
	return answer(s, "Room", &pb.RoomResponse{Room: schema.Room(room)}, err)
}

func (s *service) CreateRoom(ctx context.Context, req *connect.Request[pb.CreateRoomRequest]) (*connect.Response[pb.CreateRoomResponse], error) {
	order := chat.Order(req.Msg.GetOrdering())
	if order == "" {
		order = chat.Lamport
	}
	room, err := s.node.CreateRoom(ctx, req.Msg.GetName(), order)
	return answer(s, "CreateRoom", &pb.CreateRoomResponse{Room: schema.Room(room)}, err)
}

func (s *service) JoinRoom(ctx context.Context, req *connect.Request[pb.JoinRoomRequest]) (*connect.Response[pb.JoinRoomResponse], error) {
	room, err := s.node.JoinRoom(ctx, req.Msg.GetInvite())
	return answer(s, "JoinRoom", &pb.JoinRoomResponse{Room: schema.Room(room)}, err)
}

// LeaveRoom has no default room: nobody leaves a room by leaving a field out.
func (s *service) LeaveRoom(ctx context.Context, req *connect.Request[pb.LeaveRoomRequest]) (*connect.Response[pb.LeaveRoomResponse], error) {
	if req.Msg.GetRoom() == "" {
		return answer[pb.LeaveRoomResponse](s, "LeaveRoom", nil, chat.Errorf(chat.CodeInvalid, "LeaveRoom needs a room."))
	}
	return answer(s, "LeaveRoom", &pb.LeaveRoomResponse{}, s.node.LeaveRoom(ctx, req.Msg.GetRoom()))
}

// RemoveMember has no default room either.
func (s *service) RemoveMember(ctx context.Context, req *connect.Request[pb.RemoveMemberRequest]) (*connect.Response[pb.RemoveMemberResponse], error) {
	if req.Msg.GetRoom() == "" || req.Msg.GetMember() == "" {
		return answer[pb.RemoveMemberResponse](s, "RemoveMember", nil, chat.Errorf(chat.CodeInvalid, "RemoveMember needs a room and a member."))
	}
	return answer(s, "RemoveMember", &pb.RemoveMemberResponse{}, s.node.RemoveMember(ctx, req.Msg.GetRoom(), req.Msg.GetMember()))
}

// SwitchRoom has no default room either.
func (s *service) SwitchRoom(ctx context.Context, req *connect.Request[pb.SwitchRoomRequest]) (*connect.Response[pb.SwitchRoomResponse], error) {
	if req.Msg.GetRoom() == "" {
		return answer[pb.SwitchRoomResponse](s, "SwitchRoom", nil, chat.Errorf(chat.CodeInvalid, "SwitchRoom needs a room."))
	}
	err := s.node.SwitchOrder(ctx, req.Msg.GetRoom(), chat.Order(req.Msg.GetOrdering()))
	return answer(s, "SwitchRoom", &pb.SwitchRoomResponse{}, err)
}

func (s *service) Invite(ctx context.Context, req *connect.Request[pb.InviteRequest]) (*connect.Response[pb.InviteResponse], error) {
	invite, err := s.node.Invite(ctx, chat.InviteOptions{
		Room:    roomRef(req.Msg.GetRoom()),
		Expires: time.Duration(req.Msg.GetExpiresMs()) * time.Millisecond,
		Uses:    int(req.Msg.GetUses()),
	})
	return answer(s, "Invite", &pb.InviteResponse{Invite: invite}, err)
}

func (s *service) Status(ctx context.Context, _ *connect.Request[pb.StatusRequest]) (*connect.Response[pb.StatusResponse], error) {
	status, err := s.node.Status(ctx)
	return answer(s, "Status", schema.Status(status), err)
}

func (s *service) View(ctx context.Context, _ *connect.Request[pb.ViewRequest]) (*connect.Response[pb.ViewResponse], error) {
	view, err := s.node.View(ctx)
	return answer(s, "View", schema.View(view), err)
}

func (s *service) Page(ctx context.Context, req *connect.Request[pb.PageRequest]) (*connect.Response[pb.PageResponse], error) {
	page, err := s.node.Page(ctx, chat.PageQuery{
		Room:   roomRef(req.Msg.GetRoom()),
		Before: string(req.Msg.GetBefore()),
		After:  string(req.Msg.GetAfter()),
		Around: req.Msg.GetAround(),
		At:     schema.ChatTime(req.Msg.GetAtUnixMs()),
		Limit:  int(req.Msg.GetLimit()),
	})
	return answer(s, "Page", &pb.PageResponse{
		Messages: schema.Messages(page.Messages),
		Older:    page.Older,
		Newer:    page.Newer,
		Total:    page.Total,
	}, err)
}

func (s *service) Since(ctx context.Context, req *connect.Request[pb.SinceRequest]) (*connect.Response[pb.SinceResponse], error) {
	messages, err := s.node.Since(ctx, roomRef(req.Msg.GetRoom()), req.Msg.GetArrival(), int(req.Msg.GetLimit()))
	return answer(s, "Since", &pb.SinceResponse{Messages: schema.Messages(messages)}, err)
}

func (s *service) Finals(ctx context.Context, req *connect.Request[pb.FinalsRequest]) (*connect.Response[pb.FinalsResponse], error) {
	messages, err := s.node.Finals(ctx, roomRef(req.Msg.GetRoom()), req.Msg.GetAfter(), int(req.Msg.GetLimit()))
	return answer(s, "Finals", &pb.FinalsResponse{Messages: schema.Messages(messages)}, err)
}

func (s *service) SetUsername(ctx context.Context, req *connect.Request[pb.SetUsernameRequest]) (*connect.Response[pb.SetUsernameResponse], error) {
	return answer(s, "SetUsername", &pb.SetUsernameResponse{}, s.node.SetUsername(ctx, req.Msg.GetUsername()))
}

func (s *service) MarkRead(ctx context.Context, req *connect.Request[pb.MarkReadRequest]) (*connect.Response[pb.MarkReadResponse], error) {
	err := s.node.MarkRead(ctx, roomRef(req.Msg.GetRoom()), string(req.Msg.GetPosition()))
	return answer(s, "MarkRead", &pb.MarkReadResponse{}, err)
}

// open takes one of the maxStreams places, or refuses.
func (s *service) open() (release func(), err error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		return nil, chat.Errorf(chat.CodeBusy, "The node serves %d streams already.", maxStreams).WithHint("Close a client and try again.")
	}
}

func (s *service) Changes(ctx context.Context, _ *connect.Request[pb.ChangesRequest], stream *connect.ServerStream[pb.ChangesResponse]) error {
	release, err := s.open()
	if err != nil {
		return s.told("Changes", err)
	}
	defer release()
	changes := s.node.Changes(ctx)
	for open := true; open; _, open = <-changes {
		if err := stream.Send(&pb.ChangesResponse{}); err != nil {
			return err
		}
	}
	return s.told("Changes", ended(ctx))
}

func (s *service) Events(ctx context.Context, _ *connect.Request[pb.EventsRequest], stream *connect.ServerStream[pb.EventsResponse]) error {
	release, err := s.open()
	if err != nil {
		return s.told("Events", err)
	}
	defer release()
	for event := range s.node.Events(ctx) {
		if err := stream.Send(schema.Event(event)); err != nil {
			return err
		}
	}
	return s.told("Events", ended(ctx))
}

func (s *service) Messages(ctx context.Context, req *connect.Request[pb.MessagesRequest], stream *connect.ServerStream[pb.MessagesResponse]) error {
	release, err := s.open()
	if err != nil {
		return s.told("Messages", err)
	}
	defer release()
	return s.told("Messages", deliver(ctx, s.node, req.Msg, stream.Send))
}

// ended says why a stream of the node is over: the caller went, or the node
// stops.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errStopping
}

var errStopping = chat.Errorf(chat.CodeUnreachable, "The node is stopping.")
