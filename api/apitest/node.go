// Package apitest is a node in memory for tests of the service and of what
// uses it: rooms that hold messages, which become final when a test says so.
package apitest

import (
	"cmp"
	"context"
	"encoding/hex"
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

// Node is a node whose messages are put in by Put and Send, and become final by
// Finalise. Its exported fields are set before it is served.
type Node struct {
	Name    string // "n1"
	Peer    string
	Devices []chat.Member
	Told    chat.Status
	Shown   chat.View
	Script  []chat.Event // what Events tells
	Known   chat.Info
	Near    []chat.Nearby
	Receipt []chat.Confirmation
	// OnPage and OnFinals are called before each Page and Finals, so that a test
	// can change the room in the middle of a stream.
	OnPage, OnFinals func()
	// OnSend may refuse a draft.
	OnSend func(chat.Draft) error

	mu      sync.Mutex
	rooms   []*room
	calls   []string
	read    int
	readers []chat.Reader
	waiters map[chan struct{}]bool
}

type room struct {
	chat.Room
	shown    []*line                 // by position
	arrivals []*line                 // by arrival
	finals   []*line                 // by index
	seen     map[string]chat.Message // by client id
}

// line is a message as it stands now.
type line struct {
	chat.Message
	hidden bool // a repeat
}

func byPosition(l *line, position string) int { return strings.Compare(l.Position, position) }

// New returns a node with the room `lobby`.
func New() *Node {
	n := &Node{Name: "n1", Peer: "12D3KooWtest", waiters: make(map[chan struct{}]bool)}
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

// Put stores m in a room; what m leaves empty is made up. m.Position only says
// where it stands among the tentative ones. A message that is put in as final
// takes the next index.
func (n *Node) Put(roomName string, m chat.Message) chat.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.put(n.must(roomName), m)
}

func (n *Node) must(roomName string) *room {
	r, err := n.find(roomName)
	if err != nil {
		panic(err)
	}
	return r
}

func (n *Node) put(r *room, m chat.Message) chat.Message {
	m.Arrival = uint64(len(r.arrivals) + 1)
	m.Position = chat.BeforeTentative + hex.EncodeToString([]byte(cmp.Or(m.Position, fmt.Sprintf("p%08d", m.Arrival))))
	if m.ID == "" {
		m.ID = fmt.Sprintf("%s/%d", n.Name, m.Arrival)
	}
	m.Room, m.RoomID = r.Name, r.ID
	if m.Kind == "" {
		m.Kind = chat.KindText
	}
	if m.Origin == "" {
		m.Origin = n.Name
	}
	m.Lamport = m.Arrival
	m.Time = Start.Add(time.Duration(m.Arrival) * time.Second)
	final := m.State == chat.Final
	m.State = chat.Tentative
	l := &line{Message: m}
	l.hidden = slices.ContainsFunc(r.finals, l.repeats)
	r.arrivals = append(r.arrivals, l)
	if !l.hidden {
		r.show(l)
	}
	if final {
		r.finalise(l)
	}
	n.tick()
	return l.Message
}

func (r *room) show(l *line) {
	at, _ := slices.BinarySearchFunc(r.shown, l.Position, byPosition)
	r.shown = slices.Insert(r.shown, at, l)
}

func (r *room) hide(l *line) {
	if at, ok := slices.BinarySearchFunc(r.shown, l.Position, byPosition); ok {
		r.shown = slices.Delete(r.shown, at, at+1)
	}
}

// repeats reports whether l and o say the same, of the same client.
func (l *line) repeats(o *line) bool {
	return l.ClientID != "" && l.ClientID == o.ClientID && l.SenderID == o.SenderID && l.Text == o.Text
}

// finalise gives l the next index and hides its repeats.
func (r *room) finalise(l *line) {
	if l.hidden {
		return
	}
	r.hide(l)
	l.State = chat.Final
	l.Index = uint64(len(r.finals) + 1)
	l.Hash = cmp.Or(l.Hash, fmt.Sprintf("%064x", l.Index))
	l.Position = fmt.Sprintf("%s%016x", chat.BeforeAll, l.Index)
	r.finals = append(r.finals, l)
	r.FinalIndex = l.Index
	r.show(l)
	if l.ClientID == "" {
		return
	}
	for _, o := range r.arrivals {
		if o != l && !o.hidden && o.repeats(l) {
			o.hidden = true
			r.hide(o)
		}
	}
}

// Finalise makes messages final, in this order. One of which a repeat is final
// already takes no index.
func (n *Node) Finalise(roomName string, ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.must(roomName)
	for _, id := range ids {
		at := slices.IndexFunc(r.arrivals, func(l *line) bool { return l.ID == id })
		r.finalise(r.arrivals[at])
	}
	n.tick()
}

// Skip drops an index from the final list, as no node should.
func (n *Node) Skip(roomName string, index uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.must(roomName)
	r.finals = slices.DeleteFunc(r.finals, func(l *line) bool { return l.Index == index })
	n.tick()
}

// Read returns how many messages were handed out by Page, Since and Finals.
func (n *Node) Read() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.read
}

// hand returns lines as they stand now.
func (n *Node) hand(lines []*line) []chat.Message {
	n.read += len(lines)
	list := make([]chat.Message, len(lines))
	for i, l := range lines {
		list[i] = l.Message
	}
	return list
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
	v.NodeID, v.PeerID = n.Name, n.Peer
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
	begin, end := max(len(r.shown)-limit, 0), len(r.shown)
	switch {
	case q.After != "":
		var at bool
		if begin, at = slices.BinarySearchFunc(r.shown, q.After, byPosition); at {
			begin++
		}
		end = min(begin+limit, len(r.shown))
	case q.Around != "":
		begin, err = r.around(q.Around, limit)
		if err != nil {
			return chat.Page{}, err
		}
		end = min(begin+limit, len(r.shown))
	}
	return chat.Page{
		Messages: n.hand(r.shown[begin:end]),
		Older:    begin > 0,
		Newer:    end < len(r.shown),
		Total:    uint64(len(r.shown)),
	}, nil
}

// around finds where a page with the message id in its middle begins.
func (r *room) around(id string, limit int) (int, error) {
	at := slices.IndexFunc(r.arrivals, func(l *line) bool { return l.ID == id })
	if at < 0 {
		return 0, chat.Errorf(chat.CodeNotFound, "There is no message %q.", id)
	}
	l := r.arrivals[at]
	if l.hidden {
		l = r.finals[slices.IndexFunc(r.finals, l.repeats)]
	}
	place, _ := slices.BinarySearchFunc(r.shown, l.Position, byPosition)
	return max(place-limit/2, 0), nil
}

func (n *Node) Since(_ context.Context, ref string, arrival uint64, limit int) ([]chat.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	var later []*line
	for i := int(arrival); i < len(r.arrivals) && len(later) < limit; i++ {
		if !r.arrivals[i].hidden {
			later = append(later, r.arrivals[i])
		}
	}
	return n.hand(later), nil
}

func (n *Node) Finals(_ context.Context, ref string, after uint64, limit int) ([]chat.Message, error) {
	if n.OnFinals != nil {
		n.OnFinals()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	begin, _ := slices.BinarySearchFunc(r.finals, after+1, func(l *line, index uint64) int { return cmp.Compare(l.Index, index) })
	return n.hand(r.finals[begin:min(begin+limit, len(r.finals))]), nil
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

func (n *Node) SwitchOrder(_ context.Context, room string, order chat.Order) error {
	return n.note("switch %s to %s", room, order)
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

func (n *Node) ConfirmRead(_ context.Context, room, username, id string) error {
	return n.note("confirm %s %s %s", room, username, id)
}

func (n *Node) Confirmations(_ context.Context, room, username, id string) ([]chat.Confirmation, error) {
	return n.Receipt, n.note("confirmations %s %s %s", room, username, id)
}

func (n *Node) Readers(context.Context, string) ([]chat.Reader, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.readers, nil
}

// SetReaders changes what Readers tells.
func (n *Node) SetReaders(rs ...chat.Reader) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.readers = rs
	n.tick()
}

func (n *Node) Info(_ context.Context, room, id string) (chat.Info, error) {
	return n.Known, n.note("info %s %s", room, id)
}

func (n *Node) RenameRoom(_ context.Context, room, name string) error {
	return n.note("rename %s to %s", room, name)
}

func (n *Node) SetRoomSettings(_ context.Context, room string, s chat.RoomSettings) error {
	return n.note("settings %s %+v", room, s)
}

func (n *Node) Typing(_ context.Context, room string) error { return n.note("typing %s", room) }

func (n *Node) Nearby(context.Context) ([]chat.Nearby, error) { return n.Near, nil }

func (n *Node) Search(_ context.Context, q chat.SearchQuery) ([]chat.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []chat.Message
	for _, r := range n.rooms {
		for _, l := range r.shown {
			if strings.Contains(l.Text, q.Text) {
				found = append(found, l.Message)
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
