package node

import (
	"testing"

	"tertulia/chat"
	"tertulia/ordering"
)

func TestTheStateOfThingsIsSaidInWords(t *testing.T) {
	t.Parallel()
	says := func(r *rig, waiting, network string) {
		t.Helper()
		r.until("it says "+waiting+"|"+network, func() bool {
			v := must(r.View(t.Context()))(t)
			return v.Network == network && (len(v.Rooms) == 0 || v.Rooms[0].Waiting == waiting)
		})
	}
	const alone = "Not connected with anybody yet. Invite somebody, or paste an invite."
	a := start(t, loopback(t, "n1"))
	says(a, "", alone)
	a.create(lobby)
	says(a, "You are the only one here. Invite somebody.", alone)
	link := a.invite(chat.InviteOptions{})
	b, c := start(t, loopback(t, "n2")), start(t, loopback(t, "n3"))
	b.join(link)
	says(a, "", "Connected with one other member.")
	c.join(link)
	says(a, "", "Connected with 2 other members.")
	c.stop()
	says(a, "n3 cannot be reached now, and will get your messages later.", "Connected with one other member.")
	b.stop()
	says(a, "Waiting for n2 and n3: nobody else of this room is reachable. Your messages are saved and go out when someone is.",
		"Nobody is reachable. Your messages are saved and go out when someone is. Check that this computer is on a network.")
	b = b.again()
	says(b, "n3 cannot be reached now, and will get your messages later.", "Connected with one other member.")
}

func TestNamesMakeASentence(t *testing.T) {
	for want, names := range map[string][]string{
		"a":                  {"a"},
		"a and b":            {"a", "b"},
		"a, b and c":         {"a", "b", "c"},
		"a, b, c and 2 more": {"a", "b", "c", "d", "e"},
	} {
		if got := inList(names); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestJoinedAndLeftAreLinesOfTheRoom(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	for range 2 { // the first time alone makes a line
		if err := nodes[0].JoinUser(t.Context(), lobby, "Ana"); err != nil {
			t.Fatal(err)
		}
	}
	if err := nodes[0].LeaveUser(t.Context(), lobby, "Ana"); err != nil {
		t.Fatal(err)
	}
	nodes[1].untilTotal(2)
	sameLists(0, nodes...)
	l := nodes[1].lines()
	if len(l) != 2 || l[0].Kind != chat.KindJoined || l[0].Text != "Ana joined" || l[1].Kind != chat.KindLeft || l[1].Text != "Ana left" {
		t.Errorf("lines %+v", l)
	}
}

func TestReadingMovesForwardAlone(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	a.sayMany("unread", 3)
	sameLists(3, a, b)
	l := b.history()
	for _, step := range []struct{ read, unread int }{{1, 1}, {0, 1}, {2, 0}} {
		if err := b.MarkRead(t.Context(), lobby, l[step.read].Position); err != nil {
			t.Fatal(err)
		}
		b.until("the count is right", func() bool { return b.state(lobby).Unread == step.unread })
	}
	wantCode(t, b.MarkRead(t.Context(), lobby, "nonsense"), chat.CodeInvalid)
	b.stop()
	if got := b.again().state(lobby).Unread; got != 0 {
		t.Errorf("%d unread after a restart", got)
	}
}

func TestRepliesAndPagesPointAtMessages(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	ids := a.sayMany("text", 9)
	sameLists(9, a, b)
	sent := must(b.Send(t.Context(), chat.Draft{Room: lobby, Text: "answer", ReplyTo: ids[4]}))(t)
	if m := a.untilShown(sent.ID); m.ReplyTo != ids[4] {
		t.Errorf("answers %q", m.ReplyTo)
	}
	_, err := b.Send(t.Context(), chat.Draft{Room: lobby, Text: "answer", ReplyTo: "nothing/1"})
	wantCode(t, err, chat.CodeNotFound)
	all := a.history()
	p := must(a.Page(t.Context(), chat.PageQuery{Room: lobby, Around: all[5].ID, Limit: 3}))(t)
	if len(p.Messages) != 3 || p.Messages[1].ID != all[5].ID || !p.Older || !p.Newer || p.Total != a.state(lobby).Total {
		t.Errorf("around: %+v", p)
	}
	p = must(a.Page(t.Context(), chat.PageQuery{Room: lobby, After: all[5].Position, Limit: 3}))(t)
	if len(p.Messages) != 3 || p.Messages[0].ID != all[6].ID || !p.Newer {
		t.Errorf("after: %+v", p)
	}
	for _, q := range []chat.PageQuery{{Limit: -1}, {Limit: chat.MaxPage + 1}, {Before: "12"}, {After: "xx"}} {
		q.Room = lobby
		_, err := a.Page(t.Context(), q)
		wantCode(t, err, chat.CodeInvalid)
	}
}

func TestARoomWhoseNameCannotBeShownHasItsID(t *testing.T) {
	id := ordering.RoomID{0xab}
	for name, want := range map[string]string{"Círculo": "Círculo", "\u202eevil": "ab0000000000", "a\nb": "ab0000000000", "": "ab0000000000"} {
		if got := roomName(name, id); got != want {
			t.Errorf("%q is shown as %q", name, got)
		}
	}
}
