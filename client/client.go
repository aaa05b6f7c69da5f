// Package client reaches a node over its service: the same calls as on the
// node itself, on any connection that a dial function gives.
package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"

	"tertulia/api/schema"
	pb "tertulia/api/tertulia/v1"
	"tertulia/api/tertulia/v1/tertuliav1connect"
	"tertulia/chat"
)

// Limits of a client.
const (
	maxResponseBytes = 160 << 20              // one response: chat.MaxPage messages of chat.MaxTextBytes, and what is around them
	eventQueue       = 256                    // events that wait for a slow reader; then the oldest is dropped
	minRedial        = 100 * time.Millisecond // pause before a broken stream is opened again; doubles
	maxRedial        = 2 * time.Second        // longest such pause
	pingAfter        = 15 * time.Second       // of silence on the connection
	pingTimeout      = 15 * time.Second       // for the answer to a ping
	maxAddrBytes     = 4096                   // the file DIR/api
)

// Client is a node at the other end of a connection. All calls are safe to
// make at once, and each returns a *chat.Error when the node refuses or does
// not answer. A broken connection is dialled again by the next call.
type Client struct {
	service   tertuliav1connect.ChatServiceClient
	transport *http.Transport
}

// New returns the client of whatever answers on dial's connections.
func New(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return newClient(dial, "")
}

// newClient sends token, when there is one, with every call.
func newClient(dial func(ctx context.Context) (net.Conn, error), token string) *Client {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:   &protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		HTTP2:       &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	var round http.RoundTripper = transport
	if token != "" {
		round = bearer{token, transport}
	}
	return &Client{
		// The name is not looked up: dial decides where calls go.
		service:   tertuliav1connect.NewChatServiceClient(&http.Client{Transport: round}, "http://localhost", connect.WithReadMaxBytes(maxResponseBytes)),
		transport: transport,
	}
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}

// Local returns the client of the node that runs on the data directory dir.
// The node has written the address of its API to DIR/api: `unix:` and a path,
// or host and port; a second line, where there is one, names the file with the
// token. When nothing answers there, the error has CodeUnreachable.
func Local(dir string) (*Client, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		address, _, err := readAddress(dir)
		if err != nil {
			return nil, noNode(dir, err)
		}
		network := "tcp"
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			network, address = "unix", path
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, noNode(dir, err)
		}
		return conn, nil
	}
	conn, err := dial(context.Background())
	if err != nil {
		return nil, err
	}
	conn.Close()
	_, tokenFile, err := readAddress(dir)
	if err != nil {
		return nil, noNode(dir, err)
	}
	if tokenFile == "" {
		return New(dial), nil
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeForbidden, Message: "The node's token cannot be read.", Hint: "Its file is " + tokenFile + ".", Err: err}
	}
	return newClient(dial, strings.TrimSpace(string(token))), nil
}

func readAddress(dir string) (address, tokenFile string, err error) {
	name := filepath.Join(dir, "api")
	info, err := os.Stat(name)
	if err != nil {
		return "", "", err
	}
	if info.Size() > maxAddrBytes {
		return "", "", fmt.Errorf("client: %s has %d bytes, more than an address", name, info.Size())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", "", err
	}
	address, tokenFile, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
	return address, tokenFile, nil
}

func noNode(dir string, cause error) error {
	return &chat.Error{
		Code:    chat.CodeUnreachable,
		Message: fmt.Sprintf("No node runs on %s.", dir),
		Hint:    "Start one with: tertulia --headless --data " + dir,
		Err:     cause,
	}
}

// Close drops idle connections. Streams end with their contexts.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// call makes one unary call.
func call[Req, Resp any](ctx context.Context, method func(context.Context, *connect.Request[Req]) (*connect.Response[Resp], error), req *Req) (*Resp, error) {
	resp, err := method(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, failure(ctx, err)
	}
	return resp.Msg, nil
}

// failure tells the caller's own end of a call from the node's refusal.
func failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return schema.ChatError(err)
}

// View returns what a window shows of the node.
func (c *Client) View(ctx context.Context) (chat.View, error) {
	resp, err := call(ctx, c.service.View, &pb.ViewRequest{})
	return schema.ChatView(resp), err
}

// Page reads a stretch of a room in predicted order.
func (c *Client) Page(ctx context.Context, q chat.PageQuery) (chat.Page, error) {
	resp, err := call(ctx, c.service.Page, &pb.PageRequest{
		Room:   q.Room,
		Before: []byte(q.Before),
		After:  []byte(q.After),
		Around: q.Around,
		Limit:  int64(q.Limit),

		AtUnixMs: schema.UnixMS(q.At),
	})
	return chat.Page{
		Messages: schema.ChatMessages(resp.GetMessages()),
		Older:    resp.GetOlder(),
		Newer:    resp.GetNewer(),
		Total:    resp.GetTotal(),
	}, err
}

// Since reads up to limit messages stored after arrival, in arrival order.
func (c *Client) Since(ctx context.Context, room string, arrival uint64, limit int) ([]chat.Message, error) {
	resp, err := call(ctx, c.service.Since, &pb.SinceRequest{Room: room, Arrival: arrival, Limit: int64(limit)})
	return schema.ChatMessages(resp.GetMessages()), err
}

// Finals reads up to limit final messages of indexes above after, in index
// order.
func (c *Client) Finals(ctx context.Context, room string, after uint64, limit int) ([]chat.Message, error) {
	resp, err := call(ctx, c.service.Finals, &pb.FinalsRequest{Room: room, After: after, Limit: int64(limit)})
	return schema.ChatMessages(resp.GetMessages()), err
}

// Room finds a room by name, id or unique prefix of an id.
func (c *Client) Room(ctx context.Context, ref string) (chat.Room, error) {
	resp, err := call(ctx, c.service.Room, &pb.RoomRequest{Room: ref})
	return schema.ChatRoom(resp.GetRoom()), err
}

// Rooms lists the node's rooms.
func (c *Client) Rooms(ctx context.Context) ([]chat.Room, error) {
	resp, err := call(ctx, c.service.Rooms, &pb.RoomsRequest{})
	return schema.ChatRooms(resp.GetRooms()), err
}

// CreateRoom makes a room.
func (c *Client) CreateRoom(ctx context.Context, name string, order chat.Order) (chat.Room, error) {
	resp, err := call(ctx, c.service.CreateRoom, &pb.CreateRoomRequest{Name: name, Ordering: string(order)})
	return schema.ChatRoom(resp.GetRoom()), err
}

// JoinRoom takes an invite; the room is listed at once.
func (c *Client) JoinRoom(ctx context.Context, invite string) (chat.Room, error) {
	resp, err := call(ctx, c.service.JoinRoom, &pb.JoinRoomRequest{Invite: invite})
	return schema.ChatRoom(resp.GetRoom()), err
}

// LeaveRoom leaves a room for good.
func (c *Client) LeaveRoom(ctx context.Context, room string) error {
	_, err := call(ctx, c.service.LeaveRoom, &pb.LeaveRoomRequest{Room: room})
	return err
}

// RemoveMember ends a device's membership; it is named by name or peer id.
func (c *Client) RemoveMember(ctx context.Context, room, member string) error {
	_, err := call(ctx, c.service.RemoveMember, &pb.RemoveMemberRequest{Room: room, Member: member})
	return err
}

// SwitchOrder gives a room another order.
func (c *Client) SwitchOrder(ctx context.Context, room string, order chat.Order) error {
	_, err := call(ctx, c.service.SwitchRoom, &pb.SwitchRoomRequest{Room: room, Ordering: string(order)})
	return err
}

// Invite makes an invite to a room.
func (c *Client) Invite(ctx context.Context, o chat.InviteOptions) (string, error) {
	resp, err := call(ctx, c.service.Invite, &pb.InviteRequest{Room: o.Room, ExpiresMs: o.Expires.Milliseconds(), Uses: int64(o.Uses)})
	return resp.GetInvite(), err
}

// Members lists the devices that may write in a room.
func (c *Client) Members(ctx context.Context, room string) ([]chat.Member, error) {
	resp, err := call(ctx, c.service.Members, &pb.MembersRequest{Room: room})
	return schema.ChatMembers(resp.GetMembers()), err
}

// Send returns once the node has the message on its disk.
func (c *Client) Send(ctx context.Context, d chat.Draft) (chat.Sent, error) {
	resp, err := call(ctx, c.service.SendMessage, &pb.SendMessageRequest{
		Room:     d.Room,
		Username: d.Username,
		Text:     d.Text,
		ReplyTo:  d.ReplyTo,
		ClientId: d.ClientID,
	})
	return chat.Sent{ID: resp.GetId(), ClientID: resp.GetClientId(), Duplicate: resp.GetDuplicate()}, err
}

// JoinUser says that a person takes part in a room.
func (c *Client) JoinUser(ctx context.Context, room, username string) error {
	_, err := call(ctx, c.service.JoinUser, &pb.JoinUserRequest{Room: room, Username: username})
	return err
}

// LeaveUser says that a person takes no part any more.
func (c *Client) LeaveUser(ctx context.Context, room, username string) error {
	_, err := call(ctx, c.service.LeaveUser, &pb.LeaveUserRequest{Room: room, Username: username})
	return err
}

// SetUsername chooses the name of the node's profile.
func (c *Client) SetUsername(ctx context.Context, name string) error {
	_, err := call(ctx, c.service.SetUsername, &pb.SetUsernameRequest{Username: name})
	return err
}

// MarkRead moves the mark up to which the profile has read a room.
func (c *Client) MarkRead(ctx context.Context, room, position string) error {
	_, err := call(ctx, c.service.MarkRead, &pb.MarkReadRequest{Room: room, Position: []byte(position)})
	return err
}

// ConfirmRead says that a person has read a room up to a final message.
func (c *Client) ConfirmRead(ctx context.Context, room, username, id string) error {
	_, err := call(ctx, c.service.ConfirmRead, &pb.ConfirmReadRequest{Room: room, Username: username, Id: id})
	return err
}

// Confirmations tells who has read a message or, without an id, each of the newest
// final messages of a person, oldest first.
func (c *Client) Confirmations(ctx context.Context, room, username, id string) ([]chat.Confirmation, error) {
	resp, err := call(ctx, c.service.Confirmations, &pb.ConfirmationsRequest{Room: room, Username: username, Id: id})
	return schema.ChatConfirmations(resp.GetConfirmations()), err
}

// Readers tells how far persons have read a room, by name.
func (c *Client) Readers(ctx context.Context, room string) ([]chat.Reader, error) {
	resp, err := call(ctx, c.service.Readers, &pb.ReadersRequest{Room: room})
	return schema.ChatReaders(resp.GetReaders()), err
}

// Info tells all that the node knows of one message.
func (c *Client) Info(ctx context.Context, room, id string) (chat.Info, error) {
	resp, err := call(ctx, c.service.Info, &pb.InfoRequest{Room: room, Id: id})
	return schema.ChatInfo(resp), err
}

// RenameRoom gives a room another name; its creator's node alone can.
func (c *Client) RenameRoom(ctx context.Context, room, name string) error {
	_, err := call(ctx, c.service.RenameRoom, &pb.RenameRoomRequest{Room: room, Name: name})
	return err
}

// SetRoomSettings replaces what the node alone keeps of a room.
func (c *Client) SetRoomSettings(ctx context.Context, room string, s chat.RoomSettings) error {
	_, err := call(ctx, c.service.SetRoomSettings, &pb.SetRoomSettingsRequest{Room: room, Settings: schema.RoomSettings(s)})
	return err
}

// Typing says that the profile's person is writing just now.
func (c *Client) Typing(ctx context.Context, room string) error {
	_, err := call(ctx, c.service.Typing, &pb.TypingRequest{Room: room})
	return err
}

// Nearby returns the rooms that nodes on the same network offer.
func (c *Client) Nearby(ctx context.Context) ([]chat.Nearby, error) {
	resp, err := call(ctx, c.service.Nearby, &pb.NearbyRequest{})
	return schema.ChatNearby(resp.GetRooms()), err
}

// Search finds messages that have all words of the query.
func (c *Client) Search(ctx context.Context, q chat.SearchQuery) ([]chat.Message, error) {
	resp, err := call(ctx, c.service.Search, &pb.SearchRequest{Text: q.Text, Room: q.Room, Limit: int64(q.Limit)})
	return schema.ChatMessages(resp.GetMessages()), err
}

// Status returns what `tertulia status` tells.
func (c *Client) Status(ctx context.Context) (chat.Status, error) {
	resp, err := call(ctx, c.service.Status, &pb.StatusRequest{})
	return schema.ChatStatus(resp), err
}

// HistoryQuery asks for final messages of a room.
type HistoryQuery struct {
	Room      string
	From      uint64 // first index wanted; 0 = the first there is
	Limit     uint64 // indexes; 0 = all
	Tentative bool   // append the tentative tail in predicted order
}

// History calls each for every message of q, oldest first, and stops at its
// first error.
func (c *Client) History(ctx context.Context, q HistoryQuery, each func(chat.Message) error) error {
	req := &pb.HistoryRequest{Room: q.Room, From: q.From, Limit: q.Limit, Tentative: q.Tentative}
	for {
		resp, err := call(ctx, c.service.History, req)
		if err != nil {
			return err
		}
		for _, m := range resp.GetMessages() {
			if err := each(schema.ChatMessage(m)); err != nil {
				return err
			}
		}
		if len(resp.GetNextPageToken()) == 0 {
			return nil
		}
		req.PageToken = resp.GetNextPageToken()
	}
}

// Changes ticks after every change of the node's view or messages, and when
// the connection to it breaks or is back. The channel holds one tick and is
// closed when ctx ends.
func (c *Client) Changes(ctx context.Context) <-chan struct{} {
	ticks := make(chan struct{}, 1)
	tick := func() {
		select {
		case ticks <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(ticks)
		follow(ctx, c.service.Changes, &pb.ChangesRequest{}, func(*pb.ChangesResponse) { tick() }, tick)
	}()
	return ticks
}

// Events tells what happens at the node. A slow reader loses the oldest; the
// channel is closed when ctx ends.
func (c *Client) Events(ctx context.Context) <-chan chat.Event {
	events := make(chan chat.Event, eventQueue)
	go func() {
		defer close(events)
		follow(ctx, c.service.Events, &pb.EventsRequest{}, func(e *pb.EventsResponse) {
			for {
				select {
				case events <- schema.ChatEvent(e):
					return
				default:
				}
				select {
				case <-events:
				default:
				}
			}
		}, func() {})
	}()
	return events
}

// follow reads a stream, opening it again whenever it breaks, until ctx ends.
func follow[Req, Resp any](ctx context.Context, open func(context.Context, *connect.Request[Req]) (*connect.ServerStreamForClient[Resp], error), req *Req, each func(*Resp), broken func()) {
	pause := minRedial
	for ctx.Err() == nil {
		if stream, err := open(ctx, connect.NewRequest(req)); err == nil {
			for stream.Receive() {
				pause = minRedial
				each(stream.Msg())
			}
			stream.Close()
		}
		broken()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRedial)
	}
}
