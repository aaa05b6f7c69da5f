package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/node/invite"
	"tertulia/ordering"
	"tertulia/storage"
)

// Where somebody is who was never met is known by a third, and still so when that
// one is away.
func TestAddressesToldByAMemberOutliveARestart(t *testing.T) {
	t.Parallel()
	a, b, c := start(t, loopback(t, "a")), start(t, loopback(t, "b")), start(t, loopback(t, "c"))
	a.create(lobby)
	b.join(a.invite(chat.InviteOptions{}))
	b.stop()
	c.join(a.invite(chat.InviteOptions{}))
	c.until("it is told where b is", func() bool {
		return slices.ContainsFunc(must(c.store.Peers(t.Context()))(t), func(p storage.Peer) bool { return p.Device == b.device() })
	})
	c.stop()
	c = c.again()
	if addrs := c.net.AddrsOf(b.device()); !slices.ContainsFunc(addrs, func(s string) bool { return withoutPeer(s) == b.addr }) {
		t.Errorf("%s is at %v", b.addr, addrs)
	}
}

func TestAnInviteWithoutLimitsIsAlwaysTheSame(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	for _, r := range nodes { // the second made none when the room began
		one := must(invite.Parse(r.invite(chat.InviteOptions{}), time.Now()))(t)
		two := must(invite.Parse(r.invite(chat.InviteOptions{}), time.Now()))(t)
		if one.Secret != two.Secret || one.Name != lobby || one.Room != r.inner().id || one.Peers[0].Device != r.device() {
			t.Errorf("%s: %+v, then %+v", r.NodeID(), one, two)
		}
	}
	limited := must(invite.Parse(nodes[0].invite(chat.InviteOptions{Uses: 1}), time.Now()))(t)
	stable := must(invite.Parse(nodes[0].invite(chat.InviteOptions{}), time.Now()))(t)
	if limited.Secret == stable.Secret {
		t.Error("a limited invite has the secret of the unlimited one")
	}
	for _, o := range []chat.InviteOptions{{Room: lobby, Expires: -1}, {Room: lobby, Uses: -1}, {Room: lobby, Uses: 1 << 31}} {
		_, err := nodes[0].Invite(t.Context(), o)
		wantCode(t, err, chat.CodeInvalid)
	}
}

func TestAnExpiredInviteIsRefusedByLinkAndByMember(t *testing.T) {
	t.Parallel()
	a, b := start(t, loopback(t, "n1")), start(t, loopback(t, "n2"))
	a.create(lobby)
	link := a.invite(chat.InviteOptions{Expires: time.Millisecond})
	l, _ := invite.Parse(link, time.Time{})
	timer := time.NewTimer(time.Until(l.Expires))
	<-timer.C
	_, err := b.JoinRoom(t.Context(), link)
	wantCode(t, err, chat.CodeExpired)
	if rooms := must(b.Rooms(t.Context()))(t); len(rooms) != 0 {
		t.Errorf("an expired invite made %+v", rooms)
	}
	l.Expires = time.Time{} // who asks hides it
	room := must(b.JoinRoom(t.Context(), l.String()))(t)
	if got := b.untilState(room.ID, chat.Failed); !strings.HasPrefix(got.Reason, "The invite has expired.") {
		t.Errorf("reason %q", got.Reason)
	}
	later := a.invite(chat.InviteOptions{Expires: time.Hour})
	b.join(later)
}

func TestAnInviteAdmitsAsOftenAsItSays(t *testing.T) {
	t.Parallel()
	a, b, c := start(t, loopback(t, "n1")), start(t, loopback(t, "n2")), start(t, loopback(t, "n3"))
	a.create(lobby)
	link := a.invite(chat.InviteOptions{Uses: 1})
	b.join(link)
	room := must(c.JoinRoom(t.Context(), link))(t)
	got := c.untilState(room.ID, chat.Failed)
	if want := "The invite was used as often as it allows. Ask a member for a new invite."; got.Reason != want {
		t.Errorf("reason %q", got.Reason)
	}
	if _, err := c.Send(t.Context(), chat.Draft{Room: lobby, Text: "hello"}); err == nil {
		t.Error("who was refused may write")
	}
	events := c.Events(t.Context())
	c.join(a.invite(chat.InviteOptions{}))
	for e := range events {
		if e.Type == chat.EventRoom && e.State == string(chat.Joined) {
			break
		}
	}
}

func TestAWrongInviteAdmitsNobody(t *testing.T) {
	t.Parallel()
	a, b := start(t, loopback(t, "n1")), start(t, loopback(t, "n2"))
	a.create(lobby)
	link := a.invite(chat.InviteOptions{})
	last := link[len(link)-5]
	swap := "a"
	if last == 'a' {
		swap = "b"
	}
	_, err := b.JoinRoom(t.Context(), link[:len(link)-5]+swap+link[len(link)-4:])
	wantCode(t, err, chat.CodeInvalid)
	l := must(invite.Parse(link, time.Now()))(t)
	l.Secret[0] ^= 1
	room := must(b.JoinRoom(t.Context(), l.String()))(t)
	b.until("it says why", func() bool {
		r := must(b.Room(t.Context(), room.ID))(t)
		return r.State == chat.Joining && strings.HasPrefix(r.Reason, "The members that can be reached do not know this invite.")
	})
	if m := must(a.Members(t.Context(), lobby))(t); len(m) != 1 {
		t.Errorf("members %+v", m)
	}
	l.Peers = nil
	_, err = start(t, loopback(t, "n3")).JoinRoom(t.Context(), l.String())
	wantCode(t, err, chat.CodeInvalid)
	b.join(link) // another invite takes its place
}

func TestJoiningARoomOneIsInDoesNothing(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	link := nodes[0].invite(chat.InviteOptions{})
	expired := must(invite.Parse(link, time.Now()))(t)
	expired.Expires = time.UnixMilli(1)
	before := nodes[0].inner().view.Load().entries
	for _, r := range nodes {
		for _, l := range []string{link, expired.String()} {
			room := must(r.JoinRoom(t.Context(), l))(t)
			if room.State != chat.Joined || len(must(r.Rooms(t.Context()))(t)) != 1 {
				t.Errorf("%s: %+v", r.NodeID(), room)
			}
		}
	}
	if after := nodes[0].inner().view.Load().entries; after != before {
		t.Errorf("%d entries became %d", before, after)
	}
}

func TestJoiningGoesOnWhenAMemberComesUp(t *testing.T) {
	t.Parallel()
	a, b := start(t, loopback(t, "n1")), start(t, loopback(t, "n2"))
	a.create(lobby)
	link := a.invite(chat.InviteOptions{})
	a.say("welcome")
	a.stop()
	room := must(b.JoinRoom(t.Context(), link))(t)
	if room.State != chat.Joining || room.Name != lobby {
		t.Errorf("listed as %+v", room)
	}
	_, err := b.Send(t.Context(), chat.Draft{Room: lobby, Text: "too early"})
	wantCode(t, err, chat.CodeBusy)
	b.until("it says what it waits for", func() bool {
		r := b.state(lobby)
		return strings.HasPrefix(r.Waiting, "None of the members that the invite names can be reached.") && r.Waiting == r.Reason
	})
	b.stop() // and it goes on after a restart
	b = b.again()
	if got := b.state(lobby); got.State != chat.Joining {
		t.Errorf("after a restart %+v", got)
	}
	a = a.again()
	b.untilState(lobby, chat.Joined)
	if got := b.state(lobby); got.Reason != "" || got.Waiting != "" {
		t.Errorf("joined, but %+v", got)
	}
	sameLists(1, a, b)
}

func TestLeavingARoomThatIsBeingJoinedEndsIt(t *testing.T) {
	t.Parallel()
	a, b := start(t, loopback(t, "n1")), start(t, loopback(t, "n2"))
	a.create(lobby)
	link := a.invite(chat.InviteOptions{})
	a.stop()
	must(b.JoinRoom(t.Context(), link))(t)
	b.until("it asked once", func() bool { return b.state(lobby).Reason != "" })
	if err := b.LeaveRoom(t.Context(), lobby); err != nil {
		t.Fatal(err)
	}
	if rooms := must(b.Rooms(t.Context()))(t); len(rooms) != 0 {
		t.Errorf("listed %+v", rooms)
	}
	// What asked ends by itself, without a word.
	b.inner().askToJoin(t.Context())
	b.inner().giveUp(t.Context(), errStopping)
	inRoom(b, func(*room) bool { return true })
	if rooms := must(b.Rooms(t.Context()))(t); len(rooms) != 0 {
		t.Errorf("listed again %+v", rooms)
	}
	a.again()
	if again := must(b.JoinRoom(t.Context(), link))(t); again.State != chat.Joining {
		t.Errorf("again %+v", again)
	}
	b.untilState(lobby, chat.Joined)
}

func TestAnyMemberAdmits(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	a.say("from the creator")
	sameLists(1, a, b)
	a.stop()
	c := start(t, loopback(t, "n3"))
	c.join(b.invite(chat.InviteOptions{}))
	c.say("hello")
	a = a.again()
	allConnected(a, b, c)
	sameLists(2, a, b, c)
	for _, r := range []*rig{a, b, c} {
		var names []string
		for _, m := range must(r.Members(t.Context(), lobby))(t) {
			names = append(names, fmt.Sprintf("%s %t %t %s", m.Name, m.Creator, m.Self, m.State))
		}
		self := "n1 true %t connected, n2 false %t connected, n3 false %t connected"
		if got := strings.Join(names, ", "); got != fmt.Sprintf(self, r == a, r == b, r == c) {
			t.Errorf("%s: members %s", r.NodeID(), got)
		}
	}
}

func TestALateJoinerSeesTheNewestFirstAndThenAll(t *testing.T) {
	t.Parallel()
	const count = 3000
	a, b := start(t, loopback(t, "n1")), start(t, loopback(t, "n2"))
	a.create(lobby)
	a.sayMany("message", count)
	a.until("all is final", func() bool { r := a.state(lobby); return r.Total >= count && r.FinalIndex == r.Total })
	page := must(a.Page(t.Context(), chat.PageQuery{Room: lobby, Limit: previewSize}))(t)
	newest := page.Messages[len(page.Messages)-1]

	changes := b.Changes(t.Context())
	must(b.JoinRoom(t.Context(), a.invite(chat.InviteOptions{})))(t)
	previewed := 0
	steps := make(map[uint64]bool)
	for b.state(lobby).State == chat.Joining {
		if _, ok := within(changes); !ok {
			t.Fatal("it does not go on")
		}
		room := b.state(lobby)
		if room.Progress.Have > 0 && room.Progress.Have < room.Progress.Want {
			steps[room.Progress.Have] = true
			if room.Last != nil && room.Last.ID == newest.ID && room.Last.Text == newest.Text {
				p := must(b.Page(t.Context(), chat.PageQuery{Room: lobby, Limit: previewSize}))(t)
				previewed = max(previewed, len(p.Messages))
			}
		}
	}
	if previewed < previewSize || len(steps) < 2 {
		t.Errorf("%d of the newest %d were there early, in %d steps", previewed, previewSize, len(steps))
	}
	if refused := must(a.Status(t.Context()))(t).Refused; refused[string(ordering.NotMember)] > 0 {
		t.Errorf("who admits a member refuses what it asks for: %v", refused)
	}
	sameLists(count, a, b)
	ids := make(map[string]bool)
	for _, m := range b.history() { // a preview that stayed would be here twice
		ids[m.ID] = true
	}
	if len(ids) != count {
		t.Errorf("%d different messages of %d", len(ids), count)
	}
	seen := must(b.Since(t.Context(), lobby, 0, chat.MaxPage))(t)
	for len(seen) > 0 && len(ids) > 0 { // a preview is no arrival
		for _, m := range seen {
			delete(ids, m.ID)
		}
		seen = must(b.Since(t.Context(), lobby, seen[len(seen)-1].Arrival, chat.MaxPage))(t)
	}
	if len(ids) > 0 {
		t.Errorf("%d messages never arrived", len(ids))
	}
}

func TestABadInviteAtTheStartEndsRun(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "n1")
	cfg.Join = []string{"tertulia:mistyped"}
	n := must(Open(cfg))(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := n.Run(ctx)
	wantCode(t, err, chat.CodeInvalid)
	if ctx.Err() != nil {
		t.Error("it ran on")
	}
}

func TestABootstrapNodeKeepsALobby(t *testing.T) {
	t.Parallel()
	cfg := loopback(t, "n1")
	cfg.Bootstrap, cfg.Ordering = true, chat.Leader
	a := start(t, cfg)
	room := a.state(lobby)
	if room.Order != chat.Leader || room.State != chat.Joined {
		t.Errorf("lobby %+v", room)
	}
	b := loopback(t, "n2")
	b.Join = []string{a.invite(chat.InviteOptions{})}
	other := start(t, b)
	other.untilState(lobby, chat.Joined)
	a.stop()
	again := a.again(func(c *Config) { c.Ordering = chat.Lamport })
	if rooms := must(again.Rooms(t.Context()))(t); len(rooms) != 1 || rooms[0].ID != room.ID || rooms[0].Order != chat.Leader {
		t.Errorf("after a restart %+v", rooms)
	}
}
