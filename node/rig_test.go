package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/storage"
)

// patience is how long a test waits for what must happen, on a busy machine.
const patience = 30 * time.Second

const lobby = chat.DefaultRoom

func TestMain(m *testing.M) {
	if dir := os.Getenv(speakerDir); dir != "" {
		speak(dir)
		return
	}
	os.Exit(m.Run())
}

// rig is a node that runs until its test ends.
type rig struct {
	*Node
	t    testing.TB
	addr string // where it listens
	stop func() // says goodbye and waits; may be called twice
}

// loopback is a node of its own on the loopback interface.
func loopback(t testing.TB, name string) Config {
	return Config{Dir: t.TempDir(), NodeID: name, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NoMDNS: true, NoDHT: true, Version: "test"}
}

func start(t testing.TB, cfg Config) *rig {
	t.Helper()
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r := &rig{Node: n, t: t, addr: withoutPeer(n.Addrs()[0])}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err, ok := within(done); err != nil || !ok {
			t.Errorf("%s: stopped %t, error %v", n.NodeID(), ok, err)
		}
	})
	t.Cleanup(r.stop)
	if _, ok := within(n.Ready()); !ok {
		t.Fatalf("%s is never ready", n.NodeID())
	}
	return r
}

// again starts a stopped node once more, where it listened before.
func (r *rig) again(edit ...func(*Config)) *rig {
	r.t.Helper()
	cfg := r.cfg
	cfg.Listen = []string{r.addr}
	for _, e := range edit {
		e(&cfg)
	}
	return start(r.t, cfg)
}

// within receives from a channel, if it can in time.
func within[T any](c <-chan T) (v T, ok bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-c:
		return v, true
	case <-timer.C:
		return v, false
	}
}

// until waits until something is so at the node; it is looked at after each
// change, and now and then for what people are not told of, as at other nodes.
func (r *rig) until(what string, so func() bool, nodes ...*rig) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	changes := r.Changes(ctx)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		open := true
		select {
		case _, open = <-changes:
		case <-tick.C:
		}
		if !open {
			for _, n := range nodes {
				v := n.inner().view.Load()
				r.t.Logf("%s: %d members, %d connected, %d entries", n.NodeID(), len(v.member), len(v.connected), v.entries)
				for _, p := range n.net.Peers() {
					r.t.Logf("  %s %s member %t at %s, knows %v", n.nameOf(p.Device), p.State, p.Member, p.Addr, n.net.AddrsOf(p.Device))
				}
				n.mu.Lock()
				for d, p := range n.peers {
					r.t.Logf("  up: %s shares %d rooms, hears %d", p.name, len(p.rooms), len(p.vital.Hears))
					_ = d
				}
				n.mu.Unlock()
			}
			r.t.Fatalf("%s: waited in vain until %s", r.NodeID(), what)
		}
	}
}

func (r *rig) create(name string) chat.Room {
	r.t.Helper()
	return must(r.CreateRoom(r.t.Context(), name, chat.Lamport))(r.t)
}

func (r *rig) invite(o chat.InviteOptions) string {
	r.t.Helper()
	if o.Room == "" {
		o.Room = lobby
	}
	return must(r.Invite(r.t.Context(), o))(r.t)
}

func (r *rig) join(link string) {
	r.t.Helper()
	room := must(r.JoinRoom(r.t.Context(), link))(r.t)
	r.untilState(room.ID, chat.Joined)
}

func (r *rig) state(ref string) chat.Room {
	r.t.Helper()
	return must(r.Room(r.t.Context(), ref))(r.t)
}

func (r *rig) untilState(ref string, s chat.RoomState) chat.Room {
	r.t.Helper()
	r.until(fmt.Sprintf("the room is %s", s), func() bool { return r.state(ref).State == s })
	return r.state(ref)
}

func (r *rig) say(text string) chat.Sent {
	r.t.Helper()
	return must(r.Send(r.t.Context(), chat.Draft{Room: lobby, Text: text}))(r.t)
}

// sayMany says texts of one stem from several goroutines, and returns the ids.
func (r *rig) sayMany(stem string, count int) []string {
	r.t.Helper()
	ids := make([]string, count)
	errs := make([]error, count)
	places := make(chan struct{}, 64)
	var wg sync.WaitGroup
	for i := range count {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			var sent chat.Sent
			sent, errs[i] = r.Send(r.t.Context(), chat.Draft{Room: lobby, Text: fmt.Sprintf("%s %d", stem, i)})
			ids[i] = sent.ID
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.t.Error(err)
	}
	return ids
}

// history returns all messages of the lobby in predicted order, without the lines
// that the room adds.
func (r *rig) history() []chat.Message {
	r.t.Helper()
	return slices.DeleteFunc(r.lines(), func(m chat.Message) bool { return m.Kind != chat.KindText })
}

// lines returns the whole lobby in predicted order. What becomes final between two
// of its pages stands elsewhere then, and it begins anew.
func (r *rig) lines() []chat.Message {
	r.t.Helper()
	var all []chat.Message
	q := chat.PageQuery{Room: lobby, Limit: chat.MaxPage}
	for {
		p := must(r.Page(r.t.Context(), q))(r.t)
		if len(p.Messages) > 0 && slices.ContainsFunc(all, func(m chat.Message) bool { return m.ID == p.Messages[0].ID || m.ID == p.Messages[len(p.Messages)-1].ID }) {
			all, q.Before = nil, ""
			continue
		}
		all = append(slices.Clone(p.Messages), all...)
		if !p.Older {
			return all
		}
		q.Before = p.Messages[0].Position
	}
}

// list is the lobby as one compares it between nodes.
func (r *rig) list() []string {
	r.t.Helper()
	var l []string
	for _, m := range r.lines() {
		l = append(l, fmt.Sprintf("%s %s %s %s %s", m.ID, m.Origin, m.Sender, m.ClientID, m.Text))
	}
	return l
}

// untilTotal waits for a number of lines, those included that the room adds.
func (r *rig) untilTotal(total uint64) {
	r.t.Helper()
	r.until(fmt.Sprintf("there are %d lines", total), func() bool { return r.state(lobby).Total >= total })
}

func (r *rig) untilShown(id string) chat.Message {
	r.t.Helper()
	var found chat.Message
	r.until("it is shown", func() bool {
		i := slices.IndexFunc(r.history(), func(m chat.Message) bool { return m.ID == id })
		if i >= 0 {
			found = r.history()[i]
		}
		return i >= 0
	})
	return found
}

// inner is the only room's owner.
func (r *rig) inner() *room { return r.rooms.Load().list[0] }

// inRoom runs f on the goroutine of the only room.
func inRoom[T any](r *rig, f func(*room) T) T {
	r.t.Helper()
	return must(ask(r.t.Context(), r.inner(), func() T { return f(r.inner()) }))(r.t)
}

func (r *rig) device() ordering.DeviceKey { return r.id.origin.Device }

// party starts nodes that share the lobby, all connected with all.
func party(t testing.TB, names ...string) []*rig {
	t.Helper()
	var cfgs []Config
	for _, name := range names {
		cfgs = append(cfgs, loopback(t, name))
	}
	return gather(t, cfgs...)
}

func gather(t testing.TB, cfgs ...Config) []*rig {
	t.Helper()
	var nodes []*rig
	for _, cfg := range cfgs {
		nodes = append(nodes, start(t, cfg))
	}
	nodes[0].create(lobby)
	link := nodes[0].invite(chat.InviteOptions{})
	for _, r := range nodes[1:] {
		r.join(link)
	}
	allConnected(nodes...)
	return nodes
}

// allConnected waits until each is connected with all others.
func allConnected(nodes ...*rig) {
	for _, r := range nodes {
		r.t.Helper()
		r.until("all are connected", func() bool {
			v := r.inner().view.Load()
			return len(v.member) >= len(nodes) && len(v.connected) == len(nodes)-1
		}, nodes...)
	}
}

// sameLists waits until all have a number of messages and the same lines, and
// compares.
func sameLists(total int, nodes ...*rig) {
	lines := 0
	for _, r := range nodes {
		r.t.Helper()
		r.until(fmt.Sprintf("there are %d messages", total), func() bool {
			return r.state(lobby).Total >= uint64(total) && len(r.history()) >= total
		})
		lines = max(lines, len(r.list()))
	}
	for _, r := range nodes {
		r.untilTotal(uint64(lines))
	}
	// What is final here and not yet there may stand elsewhere for a moment.
	for _, r := range nodes[1:] {
		r.until("the lists are equal", func() bool { return slices.Equal(r.list(), nodes[0].list()) }, nodes...)
	}
	want := nodes[0].list()
	for _, r := range nodes {
		if n, got := len(r.history()), r.list(); n != total || !slices.Equal(got, want) {
			r.t.Errorf("%s has %d messages in %d lines, want %d in the %d of %s", r.NodeID(), n, len(got), total, len(want), nodes[0].NodeID())
		}
	}
}

// must ends the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantCode fails the test unless err is for people and of a code.
func wantCode(t testing.TB, err error, code chat.Code) {
	t.Helper()
	if chat.CodeOf(err) != code {
		t.Errorf("error %v of code %q, want code %q", err, chat.CodeOf(err), code)
	}
}

// runStore runs a store that was opened; stop closes it.
func runStore(t testing.TB, s *storage.Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		err, _ := within(done)
		if err := errors.Join(err, s.Close()); err != nil {
			t.Error(err)
		}
	}
}
