// Package apitest is a node in memory for tests of the service and of what
// uses it: rooms that hold messages, nothing else.
package apitest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tertulia/api"
	"tertulia/chat"
)

// Start is the time of the first message; each later one is a second later.
var Start = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

// Node is a node whose messages are put in by Put and Send. Its exported
// fields are set before it is served.
type Node struct {
	Peer    string
	Devices []chat.Member
	Told    chat.Status
	Shown   chat.View
	Script  []chat.Event // what Events tells
	// OnPage is called before each Page, so that a test can change the room in
	// the middle of a walk.
	OnPage func()
	// OnSend may refuse a draft.
	OnSend func(chat.Draft) error

	mu      sync.Mutex
	rooms   []*room
	calls   []string
	waiters map[chan struct{}]bool
}

type room struct {
	chat.Room
	messages []chat.Message // by position
	arrivals uint64
	seen     map[string]chat.Message // by client id
}

// New returns a node with the room `lobby`.
func New() *Node {
	n := &Node{Peer: "12D3KooWtest", waiters: make(map[chan struct{}]bool)}
	n.AddRoom(chat.DefaultRoom, chat.Joined)
	return n
}

// AddRoom adds a room, or sets the state of the one with that name.
func (n *Node) AddRoom(name string, state chat.RoomState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rooms {
		if r.Name == name {
			r.State = state
			n.tick()
			return
		}
	}
	// The id begins with the number: prefixes differ.
	id := fmt.Sprintf("%06x%058x", 0xabc000+len(n.rooms), 0)
	n.rooms = append(n.rooms, &room{Room: chat.Room{ID: id, Name: name, Order: chat.Lamport, State: state}, seen: make(map[string]chat.Message)})
	n.tick()
}

// Put stores m in a room at m.Position; what m leaves empty is made up.
func (n *Node) Put(roomName string, m chat.Message) chat.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.find(roomName)
	if err != nil {
		panic(err)
	}
	return n.put(r, m)
}

func (n *Node) put(r *room, m chat.Message) chat.Message {
	r.arrivals++
	m.Arrival = r.arrivals
	if m.Position == "" {
		m.Position = fmt.Sprintf("p%08d", r.arrivals)
	}
	if m.ID == "" {
		m.ID = fmt.Sprintf("n1/%d", r.arrivals)
	}
	m.Room, m.RoomID = r.Name, r.ID
	if m.Kind == "" {
		m.Kind = chat.KindText
	}
	if m.State == "" {
		m.State = chat.Tentative
	}
	if m.Origin == "" {
		m.Origin = "n1"
	}
	m.Lamport = r.arrivals
	m.Time = Start.Add(time.Duration(r.arrivals) * time.Second)
	at, _ := slices.BinarySearchFunc(r.messages, m, func(a, b chat.Message) int { return strings.Compare(a.Position, b.Position) })
	r.messages = slices.Insert(r.messages, at, m)
	n.tick()
	return m
}

func (n *Node) tick() {
	for w := range n.waiters {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func (n *Node) find(ref string) (*room, error) {
	var found []*room
	for _, r := range n.rooms {
		if r.Name == ref || r.ID == ref || len(ref) >= 6 && strings.HasPrefix(r.ID, ref) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return nil, chat.Errorf(chat.CodeNotFound, "There is no room %s.", ref).WithHint("tertulia rooms lists them.")
	case 1:
		return found[0], nil
	}
	return nil, chat.Errorf(chat.CodeAmbiguous, "Several rooms are called %s.", ref)
}

func (n *Node) called(format string, args ...any) {
	n.calls = append(n.calls, fmt.Sprintf(format, args...))
}

// Calls returns the calls that changed something, oldest first.
func (n *Node) Calls() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.calls)
}

func (n *Node) View(context.Context) (chat.View, error) {
	v := n.Shown
	v.NodeID, v.PeerID = "n1", n.Peer
	return v, nil
}

func (n *Node) Changes(ctx context.Context) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	ticks := make(chan struct{}, 1)
	n.waiters[ticks] = true
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.waiters, ticks)
		close(ticks)
	})
	return ticks
}

func (n *Node) Page(_ context.Context, q chat.PageQuery) (chat.Page, error) {
	if n.OnPage != nil {
		n.OnPage()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.find(q.Room)
	if err != nil {
		return chat.Page{}, err
	}
	limit := q.Limit
	if limit == 0 {
		limit = 100
	}
	begin, end := max(len(r.messages)-limit, 0), len(r.messages)
	if q.After != "" {
		begin = 0
		for begin < len(r.messages) && r.messages[begin].Position <= q.After {
			begin++
		}
		end = min(begin+limit, len(r.messages))
	}
	return chat.Page{
		Messages: slices.Clone(r.messages[begin:end]),
		Older:    begin > 0,
		Newer:    end < len(r.messages),
		Total:    uint64(len(r.messages)),
	}, nil
}

func (n *Node) Since(_ context.Context, ref string, arrival uint64, limit int) ([]chat.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	later := slices.DeleteFunc(slices.Clone(r.messages), func(m chat.Message) bool { return m.Arrival <= arrival })
	slices.SortFunc(later, func(a, b chat.Message) int { return int(a.Arrival) - int(b.Arrival) })
	return later[:min(limit, len(later))], nil
}

func (n *Node) Room(_ context.Context, ref string) (chat.Room, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.find(ref)
	if err != nil {
		return chat.Room{}, err
	}
	return r.Room, nil
}

func (n *Node) Rooms(context.Context) ([]chat.Room, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var rooms []chat.Room
	for _, r := range n.rooms {
		rooms = append(rooms, r.Room)
	}
	return rooms, nil
}

func (n *Node) CreateRoom(ctx context.Context, name string, order chat.Order) (chat.Room, error) {
	n.AddRoom(name, chat.Joined)
	room, err := n.Room(ctx, name)
	room.Order = order
	return room, err
}

func (n *Node) JoinRoom(ctx context.Context, invite string) (chat.Room, error) {
	n.AddRoom(invite, chat.Joining)
	return n.Room(ctx, invite)
}

func (n *Node) note(format string, args ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.called(format, args...)
	return nil
}

func (n *Node) LeaveRoom(_ context.Context, room string) error { return n.note("leave room %s", room) }

func (n *Node) RemoveMember(_ context.Context, room, member string) error {
	return n.note("remove %s from %s", member, room)
}

func (n *Node) Invite(_ context.Context, o chat.InviteOptions) (string, error) {
	return fmt.Sprintf("tertulia:%s:%s:%d", o.Room, o.Expires, o.Uses), nil
}

func (n *Node) Members(_ context.Context, room string) ([]chat.Member, error) {
	return n.Devices, nil
}

func (n *Node) Send(_ context.Context, d chat.Draft) (chat.Sent, error) {
	if n.OnSend != nil {
		if err := n.OnSend(d); err != nil {
			return chat.Sent{}, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.find(d.Room)
	if err != nil {
		return chat.Sent{}, err
	}
	if m, ok := r.seen[d.ClientID]; ok {
		if m.Text != d.Text {
			return chat.Sent{}, chat.Errorf(chat.CodeConflict, "This client_id was used for another text.")
		}
		return chat.Sent{ID: m.ID, ClientID: d.ClientID, Duplicate: true}, nil
	}
	m := n.put(r, chat.Message{Sender: d.Username, Text: d.Text, ReplyTo: d.ReplyTo, ClientID: d.ClientID, Mine: true})
	r.seen[d.ClientID] = m
	return chat.Sent{ID: m.ID, ClientID: d.ClientID}, nil
}

func (n *Node) JoinUser(_ context.Context, room, username string) error {
	return n.note("join user %s", username)
}

func (n *Node) LeaveUser(_ context.Context, room, username string) error {
	return n.note("leave user %s", username)
}

func (n *Node) SetUsername(_ context.Context, name string) error { return n.note("username %s", name) }

func (n *Node) MarkRead(_ context.Context, room, position string) error {
	return n.note("read %s %s", room, position)
}

func (n *Node) Search(_ context.Context, q chat.SearchQuery) ([]chat.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []chat.Message
	for _, r := range n.rooms {
		for _, m := range r.messages {
			if strings.Contains(m.Text, q.Text) {
				found = append(found, m)
			}
		}
	}
	return found, nil
}

func (n *Node) Status(context.Context) (chat.Status, error) { return n.Told, nil }

func (n *Node) Events(ctx context.Context) <-chan chat.Event {
	events := make(chan chat.Event, len(n.Script))
	for _, e := range n.Script {
		events <- e
	}
	context.AfterFunc(ctx, func() { close(events) })
	return events
}

// Server serves a node on a unix socket and can die and come back.
type Server struct {
	t    testing.TB
	node api.Node
	path string
	stop context.CancelFunc
	done chan error
}

// Serve serves n until the test ends.
func Serve(t testing.TB, n api.Node) *Server {
	s := &Server{t: t, node: n, path: filepath.Join(t.TempDir(), "s")}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start serves again after Stop.
func (s *Server) Start() {
	l, err := net.Listen("unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.done = stop, make(chan error, 1)
	go func() { s.done <- api.Serve(ctx, l, api.NewHandler(s.node, slog.New(slog.DiscardHandler))) }()
}

// Stop ends the server as a node does that is asked to stop.
func (s *Server) Stop() {
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	if err := <-s.done; err != nil {
		s.t.Error(err)
	}
}

// Address is where the server listens, as DIR/api has it.
func (s *Server) Address() string { return "unix:" + s.path }

// Dial connects to the server.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", s.path)
}
