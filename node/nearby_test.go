package node

import (
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/node/invite"
)

func TestARoomIsOfferedToWhoIsNear(t *testing.T) {
	near := func(name string) Config {
		cfg := loopback(t, name)
		cfg.NoMDNS = false
		return cfg
	}
	nodes := gather(t, near("n1"), near("n2"))
	a, b := nodes[0], nodes[1]
	open := must(a.CreateRoom(t.Context(), "open", chat.Lamport))(t)
	must(a.CreateRoom(t.Context(), "closed", chat.Lamport))(t)
	if err := a.SetRoomSettings(t.Context(), "open", chat.RoomSettings{Nearby: true}); err != nil {
		t.Fatal(err)
	}
	entries := func() uint64 { return a.room(must(a.find("open"))(t).id).view.Load().entries }
	before := entries()
	offer := func() chat.Nearby {
		t.Helper()
		for _, x := range must(b.Nearby(t.Context()))(t) {
			if x.RoomID == open.ID {
				return x
			}
			if x.Node == "n1" {
				t.Errorf("offered too: %+v", x)
			}
		}
		t.Fatal("it is not offered")
		return chat.Nearby{}
	}
	got := offer()
	l := must(invite.Parse(got.Invite, time.Now()))(t)
	if got.Room != "open" || got.Node != "n1" || len(l.Peers) != 1 || l.Expires.IsZero() || time.Until(l.Expires) > offerLasts {
		t.Errorf("offered %+v, %+v", got, l)
	}
	b.nearby.at = time.Time{}
	if again := offer(); again.Invite != got.Invite {
		t.Error("who asks again is made another offer")
	}
	if after := entries(); after != before {
		t.Errorf("asking wrote %d entries", after-before)
	}

	// It is for who asked alone.
	c := start(t, near("n3"))
	must(c.JoinRoom(t.Context(), got.Invite))(t)
	c.until("it is refused", func() bool {
		r := c.state(open.ID)
		return r.State == chat.Failed || r.State == chat.Joining && r.Reason != ""
	})
	must(b.JoinRoom(t.Context(), got.Invite))(t)
	b.untilState(open.ID, chat.Joined)
	b.nearby.at = time.Time{}
	for _, x := range must(b.Nearby(t.Context()))(t) {
		if x.RoomID == open.ID {
			t.Errorf("a member is offered %+v", x)
		}
	}
}
