package ui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

// circle is the members of the book circle.
func circle() []chat.Member {
	return []chat.Member{
		{Name: "ana-laptop", PeerID: "p1", Self: true, Creator: true, State: chat.PeerConnected},
		{Name: "bob-tower", PeerID: "p2", State: chat.PeerConnected},
		{Name: "carla-desk", PeerID: "p3", State: chat.PeerSuspected},
		{Name: "emile-pi", PeerID: "p4", State: chat.PeerConnected},
		{Name: "dan~7k3qv2mx", PeerID: "p5", State: chat.PeerJoined},
	}
}

// aboutNetwork is the book circle, led by Bob, without Carla.
func aboutNetwork() chat.Status {
	hash := strings.Repeat("5f", 32)
	at := start.Add(time.Hour)
	return chat.Status{
		NodeID: "ana-laptop",
		Peers: []chat.Peer{
			{Name: "bob-tower", PeerID: "p2", State: chat.PeerConnected, RTT: 12 * time.Millisecond},
			{Name: "carla-desk", PeerID: "p3", State: chat.PeerSuspected, RTT: 140 * time.Millisecond},
			{Name: "emile-pi", PeerID: "p4", State: chat.PeerConnected, RTT: 48 * time.Millisecond, Relayed: true},
		},
		Rooms: []chat.RoomStatus{{
			ID: "a", Name: "Book circle", Order: chat.Leader, State: chat.Joined, Epoch: 4, Term: 7, Leader: "bob-tower",
			View:   []string{"ana-laptop", "bob-tower", "carla-desk", "emile-pi"},
			Voters: []string{"ana-laptop", "bob-tower", "carla-desk"}, FinalIndex: 1234, OrderHash: hash, Tentative: 3,
			WaitingFor: []string{"carla-desk"}, Parked: 1,
			Clocks: map[string]uint64{"ana-laptop": 4012, "bob-tower": 4010, "carla-desk": 3877, "emile-pi": 4011},
			Replicas: []chat.Replica{
				{NodeID: "ana-laptop", FinalIndex: 1234, OrderHash: hash},
				{NodeID: "bob-tower", FinalIndex: 1234, OrderHash: hash},
				{NodeID: "emile-pi", FinalIndex: 1234, OrderHash: hash},
				{NodeID: "carla-desk", FinalIndex: 1200, OrderHash: strings.Repeat("3c", 32)},
			},
			Links: []chat.Link{
				{A: "ana-laptop", B: "bob-tower", RTT: 12 * time.Millisecond},
				{A: "ana-laptop", B: "emile-pi", RTT: 48 * time.Millisecond, Relayed: true},
				{A: "bob-tower", B: "emile-pi", RTT: 31 * time.Millisecond},
				{A: "bob-tower", B: "carla-desk"},
			},
			Turns: []chat.Turn{
				{Time: at, Type: chat.EventEpoch, Epoch: 3, Order: chat.Lamport, View: []string{"ana-laptop", "bob-tower"}, Reason: "the room was made"},
				{Time: at.Add(9 * time.Minute), Type: chat.EventEpoch, Epoch: 4, Order: chat.Leader, View: []string{"ana-laptop", "bob-tower", "carla-desk", "emile-pi"}, Reason: "the order was switched"},
				{Time: at.Add(9*time.Minute + time.Second), Type: chat.EventLeader, Term: 6, Leader: "carla-desk", Reason: "elected"},
				{Time: at.Add(24 * time.Minute), Type: chat.EventLeader, Term: 7, Reason: "carla-desk does not answer"},
				{Time: at.Add(24*time.Minute + 3*time.Second), Type: chat.EventLeader, Term: 7, Leader: "bob-tower", Reason: "elected"},
			},
		}},
	}
}

// crowd is n members, each connected with each, some through a relay.
func crowd(n int) (chat.Status, []chat.Member) {
	hash := strings.Repeat("5f", 32)
	r := chat.RoomStatus{ID: "a", Order: chat.Lamport, State: chat.Joined, Epoch: 1, FinalIndex: 9, OrderHash: hash, Clocks: map[string]uint64{}}
	s := chat.Status{NodeID: "node-0"}
	var members []chat.Member
	for i := range n {
		name := fmt.Sprintf("node-%d", i)
		members = append(members, chat.Member{Name: name, PeerID: name, Self: i == 0, State: chat.PeerConnected})
		r.Replicas = append(r.Replicas, chat.Replica{NodeID: name, FinalIndex: 9, OrderHash: hash})
		r.View = append(r.View, name)
		if i > 0 {
			s.Peers = append(s.Peers, chat.Peer{Name: name, State: chat.PeerConnected, RTT: time.Duration(i*7) * time.Millisecond})
		}
		for j := range i {
			r.Links = append(r.Links, chat.Link{A: fmt.Sprintf("node-%d", j), B: name, Relayed: (i+j)%3 == 0})
		}
	}
	s.Rooms = []chat.RoomStatus{r}
	return s, members
}

func networkOf(change func(*chat.Room, *chat.Status)) *network {
	s := aboutNetwork()
	r := chat.Room{ID: "a", Name: "Book circle", Order: chat.Leader, State: chat.Joined, Members: 5, Online: 3}
	if change != nil {
		change(&r, &s)
	}
	return newNetwork(&r, &s, circle(), nil)
}

func TestNobodyWearsACrownWhereNobodyLeads(t *testing.T) {
	for order, want := range map[chat.Order]bool{chat.Leader: true, chat.Lamport: false} {
		n := networkOf(func(_ *chat.Room, s *chat.Status) { s.Rooms[0].Order = order })
		if got := slices.ContainsFunc(n.members, func(m member) bool { return m.leader }); got != want {
			t.Errorf("%s: somebody leads: %v", order, got)
		}
	}
}

func TestTheNetworkCallsMembersByWhoWrites(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	s, r := aboutNetwork(), chat.Room{ID: "a", Order: chat.Leader, State: chat.Joined, Members: 5, Online: 3}
	n := newNetwork(&r, &s, circle(), writers{"bob-tower": {Name: "Bruno"}})
	if got := n.leads(); !strings.Contains(got, "Bruno") || strings.Contains(got, "bob-tower") {
		t.Errorf("who leads is told as %q", got)
	}
	if m := n.members[1]; m.who != "Bruno" || m.both != "Bruno (bob-tower)" {
		t.Errorf("the leader is called %q and %q", m.who, m.both)
	}
}

func TestTheNetworkIsToldToALaypersonFirst(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	small := func(members int, states ...chat.PeerState) *network {
		r := &chat.Room{ID: "a", State: chat.Joined, Members: members, Online: 1}
		s := &chat.Status{Rooms: []chat.RoomStatus{{ID: "a", Order: chat.Lamport}}}
		list := []chat.Member{{Name: "n0", Self: true}}
		for i, state := range states {
			list = append(list, chat.Member{Name: fmt.Sprint("n", i+1), State: state})
			if state == chat.PeerConnected {
				r.Online++
				s.Peers = append(s.Peers, chat.Peer{Name: fmt.Sprint("n", i+1), State: state})
			} else {
				r.WaitsFor = append(r.WaitsFor, fmt.Sprint("n", i+1))
			}
		}
		return newNetwork(r, s, list, nil)
	}
	led := small(2, chat.PeerConnected)
	led.status.Order = chat.Leader
	held := small(3, chat.PeerConnected, chat.PeerLeft)
	held.status.Tentative, held.status.WaitingFor = 3, []string{"n2"}
	joining := small(2)
	joining.room.State, joining.room.Progress = chat.Joining, chat.Progress{Have: 5, Want: 10}
	apart := small(2, chat.PeerConnected)
	apart.status.Diverged = 12
	for _, c := range []struct {
		name       string
		net        *network
		how, means string
		tone       fyne.ThemeColorName
	}{
		{"alone", small(1), textNobodyElse, textInviteSomebody, colorOffline},
		{"two", small(2, chat.PeerConnected), textBothConnected, textFinalAtOnce, colorOnline},
		{"three", small(3, chat.PeerConnected, chat.PeerConnected), "All 3 of you are connected.", textFinalAtOnce, colorOnline},
		{
			"one away", small(3, chat.PeerConnected, chat.PeerLeft), "2 of 3 are connected.",
			"n2 cannot be reached now, and will get your messages later.", colorOffline,
		},
		{
			"all away", small(3, chat.PeerSuspected, chat.PeerLeft), textNoneConnected,
			"Waiting for n1 and n2: nobody else of this conversation can be reached. Your messages are saved and go out when someone can.", colorOffline,
		},
		{
			"held back", held, "2 of 3 are connected.",
			"Nothing becomes final until n2 can be reached again. Messages are saved and shown meanwhile.", colorOffline,
		},
		{"election", led, textBothConnected, textElecting, colorOffline},
		{"joining", joining, "Fetching history 5 of 10", "", colorOffline},
		{"other orders", apart, textBothConnected, textUnequal + " " + textStopped, theme.ColorNameError},
	} {
		how, means, tone := c.net.words()
		if how != c.how || means != c.means || tone != c.tone {
			t.Errorf("%s: %q, %q, %s; want %q, %q, %s", c.name, how, means, tone, c.how, c.means, c.tone)
		}
	}
}

func TestHashesAgreeOrAnAlarmNamesThePosition(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	replicas := func(s *chat.Status) []chat.Replica { return s.Rooms[0].Replicas }
	for _, c := range []struct {
		name        string
		change      func(*chat.Room, *chat.Status)
		text, alarm string
	}{
		{"as it is", nil, "same on 3 of 5; 2 cannot be compared yet", ""},
		{"all", func(_ *chat.Room, s *chat.Status) {
			replicas(s)[3] = chat.Replica{NodeID: "carla-desk", FinalIndex: 1234, OrderHash: s.Rooms[0].OrderHash}
			s.Rooms[0].Replicas = append(s.Rooms[0].Replicas, chat.Replica{NodeID: "dan~7k3qv2mx", FinalIndex: 1234, OrderHash: s.Rooms[0].OrderHash})
		}, "same on 5 of 5", ""},
		{"another hash at the same position", func(_ *chat.Room, s *chat.Status) {
			replicas(s)[1].OrderHash = "00"
		}, "same on 2 of 5; 1 differs; 2 cannot be compared yet", "The order differs at position 1,234, or before it already. Another one is on bob-tower."},
		{"a replica that was found out elsewhere", func(_ *chat.Room, s *chat.Status) {
			replicas(s)[3].Diverged = true
		}, "same on 3 of 5; 1 differs; 1 cannot be compared yet", "The order differs at position 1,200, or before it already. Another one is on carla-desk."},
		{"the first position is known", func(_ *chat.Room, s *chat.Status) {
			s.Rooms[0].Diverged = 1017
			replicas(s)[1].Diverged = true
		}, "same on 2 of 5; 1 differs; 2 cannot be compared yet", "The order differs from position 1,017 on. Another one is on bob-tower."},
	} {
		n := networkOf(c.change)
		a := n.agreement()
		if got := a.text(); got != c.text {
			t.Errorf("%s: %q, want %q", c.name, got, c.text)
		}
		if got := a.alarm(); got != c.alarm {
			t.Errorf("%s: alarm %q, want %q", c.name, got, c.alarm)
		}
	}
}

func TestWhatIsHeldBackNamesWhomItWaitsFor(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]chat.RoomStatus{
		textNothingHeld:               {},
		"1 message is not final yet.": {Tentative: 1},
		"2 messages are not final yet: they wait for n2 and n3.":                           {Tentative: 2, WaitingFor: []string{"n2", "n3"}},
		"1 message is not final yet: it waits for n2. 2 more wait for what they build on.": {Tentative: 1, WaitingFor: []string{"n2"}, Parked: 2},
	} {
		if got := (&network{status: r}).held(); got != want {
			t.Errorf("held = %q, want %q", got, want)
		}
	}
}

func TestEveryConnectionAndEveryTurnHasWords(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	for want, m := range map[string]member{
		"this computer":           {self: true},
		"direct":                  {state: chat.PeerConnected},
		"direct, 12 ms":           {state: chat.PeerConnected, rtt: 12 * time.Millisecond},
		"through a relay":         {state: chat.PeerConnected, relayed: true},
		"through a relay, < 1 ms": {state: chat.PeerConnected, relayed: true, rtt: 300 * time.Microsecond},
		"does not answer":         {state: chat.PeerSuspected, rtt: time.Second},
		"away":                    {state: chat.PeerLeft},
		"not met yet":             {state: chat.PeerJoined},
	} {
		if got := m.connection(); got != want {
			t.Errorf("connection = %q, want %q", got, want)
		}
	}
	for want, turn := range map[string]chat.Turn{
		"bob leads, term 3":         {Type: chat.EventLeader, Leader: "bob", Term: 3},
		"No leader for now, term 4": {Type: chat.EventLeader, Term: 4},

		"bob looks after the epochs, term 3":            {Type: chat.EventLeader, Order: chat.Lamport, Leader: "bob", Term: 3},
		"Nobody looks after the epochs for now, term 4": {Type: chat.EventLeader, Order: chat.Lamport, Term: 4},
		"Epoch 2: No leader, with a and b":              {Type: chat.EventEpoch, Epoch: 2, Order: chat.Lamport, View: []string{"a", "b"}},
	} {
		if got := turnText(&turn, nil); got != want {
			t.Errorf("turn = %q, want %q", got, want)
		}
	}
}

func TestAMemberIsBehindOrAheadOrHasTheSameList(t *testing.T) {
	if err := speak(LanguageEnglish); err != nil {
		t.Fatal(err)
	}
	n := networkOf(func(_ *chat.Room, s *chat.Status) { s.Rooms[0].Replicas[2].FinalIndex = 1235 })
	var got []string
	for i := range n.members {
		got = append(got, n.standing(&n.members[i]).text())
	}
	if want := []string{"same", "same", "ahead", "behind", "–"}; !slices.Equal(got, want) {
		t.Errorf("standings = %q, want %q", got, want)
	}
}

func TestMembersStandWithThisOneFirstAndTheLeaderNext(t *testing.T) {
	n := networkOf(nil)
	var names []string
	for _, m := range n.members {
		names = append(names, m.name)
	}
	if want := []string{"ana-laptop", "bob-tower", "emile-pi", "carla-desk", "dan~7k3qv2mx"}; !slices.Equal(names, want) {
		t.Errorf("members = %q, want %q", names, want)
	}
	if !n.members[1].leader || !n.members[2].relayed || n.members[2].rtt != 48*time.Millisecond {
		t.Errorf("members = %+v", n.members)
	}
}

func TestOwnLinksAreThereBeforeOthersWereHeardOf(t *testing.T) {
	n := networkOf(func(_ *chat.Room, s *chat.Status) { s.Rooms[0].Links = nil })
	want := []chat.Link{
		{A: "ana-laptop", B: "bob-tower", RTT: 12 * time.Millisecond},
		{A: "ana-laptop", B: "emile-pi", RTT: 48 * time.Millisecond, Relayed: true},
	}
	if !slices.Equal(n.links, want) {
		t.Errorf("links = %v, want %v", n.links, want)
	}
}

func TestMembersOfTheGraphDoNotOverlap(t *testing.T) {
	test.NewTempApp(t)
	for n := 1; n <= maxGraph; n++ {
		for _, width := range []float32{390, 430, 500, 700, 1000} {
			at, s := seats(n, width), scaleOf(n)
			if len(at) != n {
				t.Fatalf("%d places for %d members", len(at), n)
			}
			for i, a := range at {
				if b := a.box; b.x < 0 || b.y < -slack || b.x+b.w > width || b.y+b.h > s.height+slack {
					t.Errorf("%d members at %v: %d is at %v, outside", n, width, i, b)
				}
				if a.face.Y-s.face/2 < a.box.y-slack || a.words.Y < a.box.y-slack || a.face.Y+s.face/2 > a.box.y+a.box.h+slack {
					t.Errorf("%d members: %d leaves its box: %+v", n, i, a)
				}
				for j, b := range at[:i] {
					if a.box.touches(b.box) {
						t.Errorf("%d members at %v: %d and %d overlap", n, width, i, j)
					}
				}
			}
		}
	}
}

func TestRoundTripsTouchNeitherMembersNorEachOther(t *testing.T) {
	test.NewTempApp(t)
	for n := 2; n <= maxGraph; n++ {
		at := seats(n, 560)
		var ties []tie
		for i := range n {
			for j := range i {
				ties = append(ties, tie{from: j, to: i, label: "12 ms"})
			}
		}
		sizes := slices.Repeat([]fyne.Size{{Width: 42, Height: 15}}, len(ties))
		var taken []rect
		for _, a := range at {
			taken = append(taken, a.box)
		}
		placed := 0
		for i, p := range labelPlaces(ties, at, sizes) {
			if p.X != p.X {
				continue
			}
			placed++
			r := rect{p.X - sizes[i].Width/2, p.Y - sizes[i].Height/2, sizes[i].Width, sizes[i].Height}
			if touchesAny(r, taken) {
				t.Errorf("%d members: a round trip at %v covers something", n, r)
			}
			taken = append(taken, r)
		}
		if n <= 5 && placed != len(ties) {
			t.Errorf("%d members: only %d of %d round trips are shown", n, placed, len(ties))
		}
	}
}

func TestDashesCoverALineInPieces(t *testing.T) {
	got := dashes(fyne.NewPos(0, 0), fyne.NewPos(0, 20), 7, 5)
	want := [][2]fyne.Position{{{X: 0, Y: 0}, {X: 0, Y: 7}}, {{X: 0, Y: 12}, {X: 0, Y: 19}}}
	if len(got) != len(want) {
		t.Fatalf("dashes = %v, want %v", got, want)
	}
	for i := range want {
		for k := range 2 {
			if d := got[i][k].Subtract(want[i][k]); d.X*d.X+d.Y*d.Y > 1e-6 {
				t.Errorf("dashes = %v, want %v", got, want)
			}
		}
	}
	if got := dashes(fyne.Position{}, fyne.Position{}, 7, 5); got != nil {
		t.Errorf("a line of no length has the dashes %v", got)
	}
}

func TestWordsOfTheNetworkPageDoNotOverlap(t *testing.T) {
	test.NewTempApp(t)
	checkPages(t)
}

func TestWordsOfTheNetworkPageDoNotOverlapInPortuguese(t *testing.T) {
	test.NewTempApp(t)
	inPortuguese(t)
	checkPages(t)
}

func checkPages(t *testing.T) {
	t.Helper()
	long := circle()
	long[1].Name = strings.Repeat("a long name ", 5)
	status := aboutNetwork()
	pages := map[string]*network{"asked": nil, "as it is": networkOf(nil)}
	room := chat.Room{ID: "a", State: chat.Joined, Members: 5, Online: 3, WaitsFor: []string{long[1].Name, "x"}}
	pages["long names"] = newNetwork(&room, &status, long, nil)
	many, members := crowd(40)
	pages["a crowd"] = newNetwork(&room, &many, members, nil)
	pages["an alarm"] = networkOf(func(_ *chat.Room, s *chat.Status) { s.Rooms[0].Diverged = 7 })
	for name, n := range pages {
		for _, width := range []float32{460, 500, 796, 980, 1600} {
			s := &sketch{width: width}
			drawNetwork(s, n, start)
			var words []fyne.CanvasObject
			for _, o := range s.objects {
				if wordsIn(o) != "" {
					words = append(words, o)
				}
			}
			t.Run(fmt.Sprint(name, " ", width), func(t *testing.T) { checkApart(t, words, fyne.NewSize(width, s.y)) })
		}
	}
}

func TestTheNetworkOpensInPlaceOfTheMessagesAndFollowsChanges(t *testing.T) {
	n := newFakeNode()
	furnish(n)
	s := newStage(t, n)
	s.until("the talk", func() bool { return len(s.win.shown.messages) == len(talk()) })
	page := s.win.network
	s.key(fyne.KeyI, fyne.KeyModifierShortcutDefault)
	if !page.Visible() || s.win.chat.Visible() || s.win.win.Canvas().Focused() != page {
		t.Fatal("Ctrl+I does not open the network in the place of the messages")
	}
	s.until("the network", func() bool { return page.net != nil })
	if got := wordsIn(page); !strings.Contains(got, "3 of 5 are connected.") || !strings.Contains(got, "same on 3 of 5") {
		t.Errorf("the page says %q", got)
	}
	n.mu.Lock()
	n.status.Rooms[0].FinalIndex = 9999
	n.mu.Unlock()
	n.signal()
	s.until("the change", func() bool { return page.net.status.FinalIndex == 9999 })
	press(page, fyne.KeyEnd)
	if page.scroll.Offset.Y == 0 {
		t.Error("End does not scroll")
	}
	press(page, fyne.KeyHome)
	if page.scroll.Offset.Y != 0 {
		t.Error("Home does not scroll back")
	}
	press(page, fyne.KeyEscape)
	if page.Visible() || !s.win.chat.Visible() || s.win.win.Canvas().Focused() != s.win.composer {
		t.Error("Escape does not go back to the messages")
	}
	s.win.openNetwork()
	s.win.openRoom("b")
	s.until("the other room", func() bool { return s.win.shown.room == "b" })
	if page.Visible() {
		t.Error("the network of the room before hides the one that was opened")
	}
}

func TestTheNetworkIsReadTwiceASecondAtMostAndOnlyWhileLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		lobby(n, 1)
		l := newLoop(n)
		l.post = func(f func()) { f() }
		var seen []time.Time
		l.show, l.failed = func(*state) {}, func(error) {}
		l.seenNetwork = func(*glance, error) { seen = append(seen, time.Now()) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan []chat.Draft, 1)
		go func() { done <- l.run(ctx) }()
		change := func(times int) {
			for range times {
				n.signal()
				time.Sleep(10 * time.Millisecond)
			}
		}
		change(100)
		synctest.Wait()
		if len(n.said("status")) != 0 {
			t.Error("the network is read though nobody looks")
		}
		l.watch.look("lobby")
		change(300) // three seconds
		synctest.Wait()
		if got := len(seen); got < 5 || got > 7 {
			t.Errorf("read %d times in three seconds of changes, want about six", got)
		}
		for i := 1; i < len(seen); i++ {
			if d := seen[i].Sub(seen[i-1]); d < watchPause {
				t.Errorf("read again after %v", d)
			}
		}
		before := len(seen)
		time.Sleep(4 * watchEvery)
		synctest.Wait()
		if got := len(seen) - before; got < 3 || got > 5 {
			t.Errorf("read %d times in %v without changes, want about four", got, 4*watchEvery)
		}
		l.watch.look("")
		before = len(seen)
		change(300)
		if len(seen) != before {
			t.Error("the network is read though nobody looks any more")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run = %v, want nil", err)
		}
	})
}
