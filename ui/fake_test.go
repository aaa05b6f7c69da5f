package ui

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"tertulia/chat"
)

// fakeNode keeps rooms in memory and writes down what it was asked.
type fakeNode struct {
	mu       sync.Mutex
	view     chat.View
	messages map[string][]chat.Message // by room id, in order
	calls    []string
	changed  chan struct{}
	status   chat.Status
	info     chat.Info
	nearby   []chat.Nearby
	members  []chat.Member // of every room; three where there are none
	link     string        // answers Invite, unless it is ""
	fail     error         // answers every call that does something
	hold     chan struct{} // unless nil, JoinRoom answers when it is closed
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		view:     chat.View{NodeID: "n1", Network: "Connected to 2 others", Healthy: true},
		messages: map[string][]chat.Message{},
		members:  threeMembers(),
		changed:  make(chan struct{}, 1),
	}
}

func (n *fakeNode) do(call string, change func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, call)
	if n.fail != nil {
		return n.fail
	}
	change()
	n.signal()
	return nil
}

func (n *fakeNode) signal() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *fakeNode) View(context.Context) (chat.View, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.view
	v.Rooms = slices.Clone(v.Rooms)
	for i := range v.Rooms {
		if ms := n.messages[v.Rooms[i].ID]; len(ms) > 0 {
			last := ms[len(ms)-1]
			v.Rooms[i].Last = &last
		}
	}
	return v, nil
}

func (n *fakeNode) Info(_ context.Context, room, id string) (chat.Info, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, "info "+id)
	i := indexIn(n.messages[room], id)
	if i < 0 {
		return chat.Info{}, chat.Errorf(chat.CodeNotFound, "There is no message %s.", id)
	}
	info := n.info
	info.Message = n.messages[room][i]
	return info, nil
}

func (n *fakeNode) Status(context.Context) (chat.Status, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, "status")
	s := n.status
	s.Rooms = slices.Clone(s.Rooms)
	return s, nil
}

func (n *fakeNode) SwitchOrder(_ context.Context, room string, order chat.Order) error {
	return n.do("switch "+room+" "+string(order), func() { n.changeRoom(room, func(r *chat.Room) { r.Order = order }) })
}

func (n *fakeNode) RenameRoom(_ context.Context, room, name string) error {
	return n.do("rename "+room+" "+name, func() { n.changeRoom(room, func(r *chat.Room) { r.Name = name }) })
}

func (n *fakeNode) SetRoomSettings(_ context.Context, room string, s chat.RoomSettings) error {
	return n.do(fmt.Sprintf("settings %s %+v", room, s), func() { n.changeRoom(room, func(r *chat.Room) { r.Settings = s }) })
}

func (n *fakeNode) Typing(_ context.Context, room string) error {
	return n.do("typing "+room, func() {})
}

func (n *fakeNode) Nearby(context.Context) ([]chat.Nearby, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.nearby), nil
}

func (n *fakeNode) changeRoom(room string, change func(*chat.Room)) {
	for i := range n.view.Rooms {
		if n.view.Rooms[i].ID == room {
			change(&n.view.Rooms[i])
		}
	}
}

func (n *fakeNode) Changes(context.Context) <-chan struct{} { return n.changed }

func (n *fakeNode) Page(_ context.Context, q chat.PageQuery) (chat.Page, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if q.Around != "" && indexIn(n.messages[q.Room], q.Around) < 0 {
		return chat.Page{}, chat.Errorf(chat.CodeNotFound, "There is no message %s.", q.Around)
	}
	return pageOf(n.messages[q.Room], q), nil
}

// pageOf answers q from all messages of a room, which are in order.
func pageOf(all []chat.Message, q chat.PageQuery) chat.Page {
	at := func(position string) (int, bool) {
		return slices.BinarySearchFunc(all, position, func(m chat.Message, p string) int { return cmp.Compare(m.Position, p) })
	}
	low, high := max(len(all)-q.Limit, 0), len(all)
	switch {
	case q.Around != "":
		i := indexIn(all, q.Around)
		high = min(i+q.Limit-q.Limit/2, len(all))
		low = max(high-q.Limit, 0)
		high = min(low+q.Limit, len(all))
	case !q.At.IsZero():
		low = slices.IndexFunc(all, func(m chat.Message) bool { return !m.Time.Before(q.At) })
		if low < 0 {
			low = len(all)
		}
		high = min(low+q.Limit, len(all))
	case q.Before != "":
		high, _ = at(q.Before)
		low = max(high-q.Limit, 0)
	case q.After != "":
		i, found := at(q.After)
		if low = i; found {
			low++
		}
		high = min(low+q.Limit, len(all))
	}
	return chat.Page{
		Messages: slices.Clone(all[low:high]), Older: low > 0, Newer: high < len(all), Total: uint64(len(all)),
	}
}

func (n *fakeNode) Send(_ context.Context, d chat.Draft) (chat.Sent, error) {
	err := n.do("send "+d.Text, func() {
		all := n.messages[d.Room]
		m := message(len(all), d.Username)
		m.ID, m.Text, m.Mine, m.ReplyTo = fmt.Sprintf("sent/%d", len(all)), d.Text, true, d.ReplyTo
		n.messages[d.Room] = append(all, m)
	})
	return chat.Sent{}, err
}

func (n *fakeNode) SetUsername(_ context.Context, name string) error {
	return n.do("name "+name, func() { n.view.Username = name })
}

func (n *fakeNode) CreateRoom(_ context.Context, name string, order chat.Order) (chat.Room, error) {
	r := chat.Room{ID: "id-" + name, Name: name, Order: order, State: chat.Joined, Members: 1, Online: 1}
	return r, n.do("create "+name+" "+string(order), func() { n.view.Rooms = append(n.view.Rooms, r) })
}

func (n *fakeNode) JoinRoom(_ context.Context, invite string) (chat.Room, error) {
	r := chat.Room{
		ID: "id-" + invite, Name: invite, Order: chat.Lamport, State: chat.Joining,
		Progress: chat.Progress{Have: 1200, Want: 10000},
	}
	err := n.do("join "+invite, func() { n.view.Rooms = append(n.view.Rooms, r) })
	if n.hold != nil {
		<-n.hold
	}
	return r, err
}

func (n *fakeNode) Invite(_ context.Context, o chat.InviteOptions) (string, error) {
	return cmp.Or(n.link, "tertulia:"+strings.Repeat("abcdefgh", 24)), n.do(fmt.Sprintf("invite %s %v %d", o.Room, o.Expires, o.Uses), func() {})
}

func (n *fakeNode) Members(context.Context, string) ([]chat.Member, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.members != nil {
		return slices.Clone(n.members), nil
	}
	return threeMembers(), nil
}

// threeMembers has this computer as the one that started the room.
func threeMembers() []chat.Member {
	return []chat.Member{
		{Name: "n1", PeerID: "peer-n1", Fingerprint: "ABCD EFGH IJKL MNOP QRST UVWX YZ23 4567", Self: true, Creator: true},
		{Name: "n2", PeerID: "peer-n2", Fingerprint: "BBCD EFGH IJKL MNOP QRST UVWX YZ23 4567", State: chat.PeerConnected},
		{Name: "n3", PeerID: "peer-n3", Fingerprint: "CBCD EFGH IJKL MNOP QRST UVWX YZ23 4567", State: chat.PeerSuspected},
	}
}

func (n *fakeNode) RemoveMember(_ context.Context, room, member string) error {
	return n.do("remove "+room+" "+member, func() {
		n.members = slices.DeleteFunc(n.members, func(m chat.Member) bool { return m.PeerID == member })
	})
}

func (n *fakeNode) LeaveRoom(_ context.Context, room string) error {
	return n.do("leave "+room, func() {
		n.view.Rooms = slices.DeleteFunc(n.view.Rooms, func(r chat.Room) bool { return r.ID == room })
	})
}

func (n *fakeNode) MarkRead(_ context.Context, room, position string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, "read "+room+" "+position)
	return nil
}

func (n *fakeNode) Search(_ context.Context, q chat.SearchQuery) ([]chat.Message, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var hits []chat.Message
	for room, all := range n.messages {
		for _, m := range slices.Backward(all) {
			if (q.Room == "" || q.Room == room) && strings.Contains(strings.ToLower(m.Text), strings.ToLower(q.Text)) {
				m.RoomID = room
				hits = append(hits, m)
			}
		}
	}
	return hits, nil
}

var start = time.Date(2026, 11, 20, 9, 0, 0, 0, time.Local)

// message is the i-th of a room; texts differ in length.
func message(i int, sender string) chat.Message {
	return chat.Message{
		ID: fmt.Sprintf("m/%d", i), Position: fmt.Sprintf("01%012d", i*10), Arrival: uint64(i) + 1, Kind: chat.KindText, State: chat.Tentative,
		Sender: sender, SenderID: "id-" + sender, Text: strings.Repeat("some words ", 1+i*7%23), Time: start.Add(time.Duration(i) * 3 * time.Minute),
	}
}

func messages(n int) []chat.Message {
	out := make([]chat.Message, n)
	for i := range out {
		out[i] = message(i, []string{"Alice", "Bob", "Carol"}[i/2%3])
		out[i].Mine = i/2%3 == 0
	}
	return out
}

// stage is a window whose posts run on the test's goroutine.
type stage struct {
	t     *testing.T
	win   *Window
	posts chan func()
}

func newStage(t *testing.T, n Node) *stage {
	t.Helper()
	s := newStageWith(t, n, Config{Settings: stageSettings()})
	s.win.win.Resize(fyne.NewSize(1100, 760))
	return s
}

// stageLanguage is the language of windows in tests; inPortuguese changes it.
var stageLanguage = LanguageEnglish

func stageSettings() Settings {
	s := DefaultSettings()
	s.Language = stageLanguage
	return s
}

func newStageWith(t *testing.T, n Node, config Config) *stage {
	t.Helper()
	app := test.NewTempApp(t)
	w, err := New(app, n, config)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, win: w, posts: make(chan func(), 1024)}
	w.loop.post = func(f func()) { s.posts <- f }
	w.loop.nearbyEvery = 50 * time.Millisecond
	w.Show()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return s
}

// until runs what the loop posts until ok.
func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case f := <-s.posts:
			f()
		case <-deadline:
			s.t.Fatalf("never came: %s", what)
		}
	}
}
