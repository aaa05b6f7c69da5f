package node

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
)

// called gives each node's window a person.
func called(names map[*rig]string) {
	for r, name := range names {
		if err := r.SetUsername(r.t.Context(), name); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) markRead(m chat.Message) {
	r.t.Helper()
	if err := r.MarkRead(r.t.Context(), lobby, m.Position); err != nil {
		r.t.Fatal(err)
	}
}

// reads returns how far a person is known to have read.
func (r *rig) reads(name string) uint64 {
	r.t.Helper()
	for _, x := range must(r.Readers(r.t.Context(), lobby))(r.t) {
		if x.Name == name {
			return x.UpTo
		}
	}
	return 0
}

func (r *rig) untilReads(name string, upTo uint64) {
	r.t.Helper()
	r.until(fmt.Sprintf("%s has read up to %d", name, upTo), func() bool { return r.reads(name) == upTo })
}

func TestReceiptsReachEverybodyAndOutlastARestart(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	a, b, c := nodes[0], nodes[1], nodes[2]
	called(map[*rig]string{a: "Ana", b: "Bea", c: "Cid"})
	id := a.say("read this").ID
	for _, r := range nodes {
		r.untilFinal(id)
	}
	m := b.untilFinal(id)
	b.markRead(m)
	for _, r := range nodes {
		r.untilReads("Bea", m.Index)
	}
	if got := b.state(lobby).Readers; slices.ContainsFunc(got, func(r chat.Reader) bool { return r.Name == "Bea" }) {
		t.Errorf("Bea is shown that she has read: %+v", got)
	}
	if got := a.state(lobby).Readers; len(got) != 1 || got[0].Name != "Bea" || len(got[0].ID) != 16 {
		t.Errorf("Ana sees %+v", got)
	}
	list := must(a.Confirmations(t.Context(), lobby, "Ana", ""))(t)
	if len(list) != 1 || list[0].Message.ID != id || len(list[0].Readers) != 1 || list[0].Readers[0].Name != "Bea" {
		t.Errorf("confirmations: %+v", list)
	}
	// A terminal's person reads as well; nobody goes back.
	if err := c.ConfirmRead(t.Context(), lobby, "Dora", id); err != nil {
		t.Fatal(err)
	}
	a.untilReads("Dora", m.Index)
	b.markRead(b.lines()[0])

	// Bea and Cid are away: who comes later hears it from Ana, who was restarted.
	b.stop()
	c.stop()
	a.stop()
	a = a.again()
	if a.reads("Bea") != m.Index || a.reads("Dora") != m.Index {
		t.Errorf("after a restart: Bea %d, Dora %d, want %d", a.reads("Bea"), a.reads("Dora"), m.Index)
	}
	d := start(t, loopback(t, "n4"))
	d.join(a.invite(chat.InviteOptions{}))
	d.untilReads("Bea", m.Index)
	d.untilReads("Dora", m.Index)
}

func TestWhatIsReadInTheTailIsToldWhenItIsFinal(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	called(map[*rig]string{a: "Ana", b: "Bea"})
	id := a.say("one").ID
	b.untilShown(id)
	b.markRead(b.lines()[len(b.lines())-1]) // wherever it stands now
	a.untilReads("Bea", a.untilFinal(id).Index)
}

func TestWhoHidesWhatWasReadTellsNobody(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	called(map[*rig]string{a: "Ana", b: "Bea"})
	settings := chat.RoomSettings{Notify: chat.NotifyMentions, HideRead: true}
	set := func(r *rig, s chat.RoomSettings) {
		t.Helper()
		if err := r.SetRoomSettings(t.Context(), lobby, s); err != nil {
			t.Fatal(err)
		}
	}
	set(b, settings)
	id := a.say("one").ID
	m := b.untilFinal(id)
	b.markRead(m)
	if err := b.ConfirmRead(t.Context(), lobby, "Bea", id); err != nil {
		t.Fatal(err)
	}
	if err := b.ConfirmRead(t.Context(), lobby, "Dora", id); err != nil {
		t.Fatal(err)
	}
	a.untilReads("Dora", m.Index) // told after Bea had read
	if got := a.reads("Bea"); got != 0 {
		t.Errorf("Bea hides it, and %d is known", got)
	}
	b.stop()
	b = b.again()
	if got := b.state(lobby).Settings; got != settings {
		t.Errorf("after a restart the settings are %+v", got)
	}
	wantCode(t, b.SetRoomSettings(t.Context(), lobby, chat.RoomSettings{Notify: "loudly"}), chat.CodeInvalid)
	set(b, chat.RoomSettings{})
	a.untilReads("Bea", m.Index)
}

func TestForgedReceiptsAreRefusedAndCounted(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	r := a.inner()
	person, _ := testDevice(77)
	stranger, strange := testDevice(99)
	told := ordering.SignReceipt(b.id.key, person, r.id, "Bea", 5)
	further, another := told, told
	further.UpTo++
	another.Person[0] ^= 1
	foreign := ordering.SignReceipt(stranger, person, r.id, "Bea", 6)
	elsewhere := ordering.SignReceipt(b.id.key, person, ordering.RoomID{1}, "Bea", 7)
	refused := func(reason ordering.Reason) uint64 { return must(a.Status(t.Context()))(t).Refused[string(reason)] }

	r.heard(b.device(), &ordering.Ephemeral{Receipts: []ordering.Receipt{further, another, foreign, elsewhere, told}})
	r.heard(strange, &ordering.Ephemeral{Receipts: []ordering.Receipt{told}})
	a.untilReads("Bea", 5)
	if bad, strangers := refused(ordering.BadSignature), refused(ordering.NotMember); bad != 3 || strangers != 1 {
		t.Errorf("%d bad signatures and %d of strangers are counted, want 3 and 1", bad, strangers)
	}
	if got := a.reads("Bea"); got != 5 {
		t.Errorf("the receipt of a device that is no member counts: %d", got)
	}
}

// Who joins is told what people have read, maybe before it knows who they are.
func TestAReceiptWaitsUntilItsDeviceIsAMember(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	c := start(t, loopback(t, "n3"))
	person, _ := testDevice(77)
	early := ordering.SignReceipt(c.id.key, person, a.inner().id, "Cid", 1)
	b.inner().heard(a.device(), &ordering.Ephemeral{Receipts: []ordering.Receipt{early}})
	if held := inRoom(b, func(r *room) int { return len(r.people.early) }); held != 1 || b.reads("Cid") != 0 {
		t.Fatalf("%d are held, and read up to %d", held, b.reads("Cid"))
	}
	c.join(a.invite(chat.InviteOptions{}))
	b.untilReads("Cid", 1)
}

func TestSoManyReceiptsWait(t *testing.T) {
	p := newPeople()
	one := func(i int, upTo uint64) ordering.Receipt {
		return ordering.Receipt{Device: ordering.DeviceKey{byte(i), byte(i >> 8)}, Name: "Ana", UpTo: upTo}
	}
	for i := range maxEarly + 1 {
		p.hold(ordering.DeviceKey{9}, one(i, 2))
	}
	p.hold(ordering.DeviceKey{9}, one(0, 3))
	p.hold(ordering.DeviceKey{9}, one(1, 1))
	if len(p.early) != maxEarly {
		t.Errorf("%d wait", len(p.early))
	}
	p.admit(time.Unix(1, 0), map[ordering.DeviceKey]bool{{0}: true, {1}: true})
	first, second := p.receipts[readerKey{device: ordering.DeviceKey{0}}], p.receipts[readerKey{device: ordering.DeviceKey{1}}]
	if len(p.receipts) != 2 || first.UpTo != 3 || second.UpTo != 2 || first.from != (ordering.DeviceKey{9}) || len(p.early) != maxEarly-2 || p.due.IsZero() {
		t.Errorf("%+v, %+v; %d wait", first, second, len(p.early))
	}
}

func TestADeviceHasSoManyReaders(t *testing.T) {
	p := newPeople()
	now := time.Unix(1, 0)
	for i := range maxReadersDevice + 1 {
		r := ordering.Receipt{Device: ordering.DeviceKey{1}, Person: ordering.PersonKey{byte(i)}, Name: "Ana", UpTo: 1}
		p.take(now, r.Device, r)
		if _, took := p.receipts[readerKey{r.Device, r.Person}]; took != (i < maxReadersDevice) {
			t.Errorf("the %dth person: taken %t", i+1, took)
		}
	}
	p.take(now, ordering.DeviceKey{1}, ordering.Receipt{Device: ordering.DeviceKey{1}, Name: "Ana", UpTo: 2})
	if p.receipts[readerKey{device: ordering.DeviceKey{1}}].UpTo != 2 {
		t.Error("a known person reads no further")
	}
}

func TestReceiptsAreToldOnceASecondAndToWhoLacksThem(t *testing.T) {
	p := newPeople()
	self, b, c := ordering.DeviceKey{1}, ordering.DeviceKey{2}, ordering.DeviceKey{3}
	now := time.Unix(100, 0)
	p.take(now, self, ordering.Receipt{Device: self, Name: "Ana", UpTo: 1})
	p.take(now, b, ordering.Receipt{Device: b, Name: "Bea", UpTo: 1})
	if !p.due.Equal(now) {
		t.Errorf("the first is due at %s", p.due)
	}
	shown := func(string) bool { return false }
	names := func(d ordering.DeviceKey, hears []ordering.DeviceKey) string {
		list, _ := p.news(d, hears, self, func(r *ordering.Receipt) bool { return shown(r.Name) })
		s := ""
		for _, r := range list {
			s += r.Name
		}
		return s
	}
	if got := names(b, nil); got != "Ana" {
		t.Errorf("to Bea's device: %q", got)
	}
	if got := names(c, []ordering.DeviceKey{self, b}); got != "Ana" {
		t.Errorf("to who hears Bea's device: %q", got)
	}
	if got := names(c, nil); got != "" {
		t.Errorf("once more: %q", got)
	}
	p.again(now)
	shown = func(name string) bool { return name == "Ana" }
	if got := names(c, nil); got != "Bea" {
		t.Errorf("without what is hidden: %q", got)
	}
	p.due, p.last = time.Time{}, now
	p.take(now.Add(time.Millisecond), self, ordering.Receipt{Device: self, Name: "Ana", UpTo: 2})
	if want := now.Add(receiptsEvery); !p.due.Equal(want) {
		t.Errorf("the next is due at %s, want %s", p.due, want)
	}
	for i := range 3 * ordering.MaxReceipts {
		d := ordering.DeviceKey{9, byte(i)}
		p.take(now, d, ordering.Receipt{Device: d, Name: "x", UpTo: 1})
	}
	total := 0
	for more := true; more; {
		var list []ordering.Receipt
		if list, more = p.news(b, nil, self, func(*ordering.Receipt) bool { return false }); len(list) > ordering.MaxReceipts {
			t.Fatalf("%d at once", len(list))
		}
		total += len(list)
	}
	if total != 3*ordering.MaxReceipts+1 {
		t.Errorf("%d were told", total)
	}
}

func TestTypingEndsBySilenceOrByWords(t *testing.T) {
	p := newPeople()
	now, d := time.Unix(100, 0), ordering.DeviceKey{2}
	ana := ordering.Typing{Person: ordering.PersonKey{7}, Name: "Ana"}
	p.writes(now, d, ana)
	if got := p.writing(); len(got) != 1 || got[0].Name != "Ana" {
		t.Fatalf("writing: %+v", got)
	}
	if at := p.deadline(); !at.Equal(now.Add(typingLasts)) {
		t.Errorf("looked at again at %s", at)
	}
	p.writes(now.Add(typingEvery), d, ana)
	p.expire(now.Add(typingLasts))
	if len(p.writing()) != 1 {
		t.Error("who goes on writing is forgotten")
	}
	p.expire(now.Add(typingEvery + typingLasts))
	if len(p.writing()) != 0 {
		t.Error("who stopped is still writing")
	}
	p.writes(now, d, ana)
	p.wrote(d, ordering.PersonKey{8})
	if len(p.writing()) != 1 {
		t.Error("another's words end it")
	}
	p.wrote(d, ana.Person)
	if len(p.writing()) != 0 {
		t.Error("her own words do not end it")
	}
	p.take(now, ordering.DeviceKey{1}, ordering.Receipt{Device: ordering.DeviceKey{1}, Person: ana.Person, Name: "Ana", UpTo: 1})
	p.writes(now, d, ana)
	if len(p.writing()) != 0 {
		t.Error("a device writes in the name of another's person")
	}
}

func TestOthersSeeWhoIsWriting(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	if err := a.Typing(t.Context(), lobby); err != nil { // nobody yet
		t.Fatal(err)
	}
	called(map[*rig]string{a: "Ana"})
	for range 3 {
		if err := a.Typing(t.Context(), lobby); err != nil {
			t.Fatal(err)
		}
	}
	b.until("Ana is writing", func() bool {
		w := b.state(lobby).Typing
		return len(w) == 1 && w[0].Name == "Ana"
	})
	if w := a.state(lobby).Typing; len(w) != 0 {
		t.Errorf("Ana sees herself writing: %+v", w)
	}
	a.say("done")
	b.until("she has written", func() bool { return len(b.state(lobby).Typing) == 0 })
}

func TestARoomTellsOfUnreadLinesAndWhoHasMessages(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	a, b := nodes[0], nodes[1]
	called(map[*rig]string{b: "Bea"})
	id := a.say("one").ID
	a.until("all have it", func() bool {
		m := a.history()[0]
		return m.Mine && m.Received == 3
	})
	b.untilFinal(id)
	if m := b.untilShown(id); m.Received != 0 {
		t.Errorf("another's message was received by %d", m.Received)
	}
	b.say("an own word")
	two := a.say("two").ID
	b.untilFinal(two)
	for i, m := range []chat.Message{b.untilShown(id), b.untilShown(two)} { // who joined, and own words, count for nothing
		if got := b.state(lobby); got.FirstUnread != m.ID || got.Unread != 2-i {
			t.Errorf("%d are unread, the first %s; want %d, %s", got.Unread, got.FirstUnread, 2-i, m.ID)
		}
		b.markRead(m)
	}
	if got := b.state(lobby); got.FirstUnread != "" {
		t.Errorf("all is read but %s", got.FirstUnread)
	}
	nodes[2].stop()
	a.until("one is missed", func() bool { return slices.Equal(a.state(lobby).WaitsFor, []string{"n3"}) })
	if m := a.history()[0]; m.Received != 3 {
		t.Errorf("who has gone does not have it any more: %d", m.Received)
	}
}

func TestInfoTellsWhyAMessageStandsWhereItDoes(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	called(map[*rig]string{a: "Ana", b: "Bea"})
	a.untilShown(b.say("hello").ID)
	first := a.say("the first").ID
	b.untilShown(first)
	id := b.say("the second").ID
	m := a.untilFinal(id)
	b.untilFinal(id)
	a.markRead(m)
	b.untilReads("Ana", m.Index)
	info := must(b.Info(t.Context(), lobby, id))(t)
	if info.Message.ID != id || !info.Verified || info.Seq == 0 || info.Author.Name != "n2" || info.Author.Fingerprint != b.device().Fingerprint() {
		t.Errorf("%+v", info)
	}
	if !slices.ContainsFunc(info.Parents, func(p chat.Parent) bool { return p.ID == first && p.Text == "the first" && p.Name == "n1" }) {
		t.Errorf("parents: %+v", info.Parents)
	}
	if since := time.Since(info.Arrived); since < 0 || since > patience {
		t.Errorf("arrived %s", info.Arrived)
	}
	if len(info.Readers) != 1 || info.Readers[0].Name != "Ana" {
		t.Errorf("read by %+v", info.Readers)
	}
	b.until("both hold it", func() bool {
		info := must(b.Info(t.Context(), lobby, id))(t)
		return slices.Equal(info.Holders, []string{"n1", "n2"}) && len(info.Missing) == 0
	})
	_, err := b.Info(t.Context(), lobby, "nonsense")
	wantCode(t, err, chat.CodeNotFound)
}

func TestAPageBeginsAtATime(t *testing.T) {
	t.Parallel()
	a := start(t, loopback(t, "n1"))
	a.create(lobby)
	ids := a.sayMany("m", 3)
	a.until("all is final", func() bool { r := a.state(lobby); return r.Total > 3 && r.FinalIndex == r.Total })
	all := a.lines()
	page := must(a.Page(t.Context(), chat.PageQuery{Room: lobby, At: all[1].Time}))(t)
	if len(page.Messages) == 0 || page.Messages[0].Time.Before(all[1].Time) || page.Older && page.Messages[0].ID == all[0].ID {
		t.Errorf("it begins with %+v", page.Messages)
	}
	if page = must(a.Page(t.Context(), chat.PageQuery{Room: lobby, At: time.Now().Add(time.Hour)}))(t); len(page.Messages) != 0 || !page.Older {
		t.Errorf("in an hour %d of %d", len(page.Messages), len(ids))
	}
}

func TestTheCreatorGivesARoomAnotherName(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2")
	a, b := nodes[0], nodes[1]
	room := a.state(lobby).ID
	wantCode(t, b.RenameRoom(t.Context(), lobby, "theirs"), chat.CodeForbidden)
	wantCode(t, a.RenameRoom(t.Context(), lobby, "\x00"), chat.CodeInvalid)
	if err := a.RenameRoom(t.Context(), room, "foyer"); err != nil {
		t.Fatal(err)
	}
	for _, r := range nodes {
		r.until("it has the name", func() bool { return r.state(room).Name == "foyer" })
	}
	page := must(b.Page(t.Context(), chat.PageQuery{Room: "foyer"}))(t)
	i := slices.IndexFunc(page.Messages, func(m chat.Message) bool { return m.Kind == chat.KindTitle })
	if i < 0 || page.Messages[i].Text != "the conversation was renamed to foyer" || page.Messages[i].Index == 0 {
		t.Errorf("lines: %+v", page.Messages)
	}
	b.stop()
	b = b.again()
	if got := b.state(room).Name; got != "foyer" {
		t.Errorf("after a restart it is called %q", got)
	}
	d := start(t, loopback(t, "n3"))
	link := must(a.Invite(t.Context(), chat.InviteOptions{Room: room}))(t)
	must(d.JoinRoom(t.Context(), link))(t)
	d.untilState(room, chat.Joined)
	d.until("a newcomer has the name", func() bool { return d.state(room).Name == "foyer" })

	// A member's own pen does not write it either.
	_, _, err := b.inner().sayAndWait(t.Context(), &saying{kind: ordering.KindTitle, body: ordering.Title{Name: "mine"}.Encode()})
	if refusal, ok := errors.AsType[*ordering.Refusal](err); !ok || refusal.Reason != ordering.NotAllowed {
		t.Errorf("another member renames it: %v", err)
	}
}

func TestStatusTellsOfLinksAndTurns(t *testing.T) {
	t.Parallel()
	nodes := party(t, "n1", "n2", "n3")
	a := nodes[0]
	a.until("all links are known", func() bool {
		links := a.status().Links
		return slices.EqualFunc(links, [][2]string{{"n1", "n2"}, {"n1", "n3"}, {"n2", "n3"}}, func(l chat.Link, want [2]string) bool {
			return l.A == want[0] && l.B == want[1]
		})
	})
	turns := a.status().Turns
	if len(turns) == 0 || turns[0].Time.IsZero() || !slices.ContainsFunc(turns, func(x chat.Turn) bool { return x.Type == chat.EventLeader && x.Leader == "n1" }) {
		t.Errorf("turns: %+v", turns)
	}
}

func TestPeopleAreToldNothingWhileNothingChanges(t *testing.T) {
	t.Parallel()
	r := start(t, loopback(t, "n1"))
	r.create(lobby)
	r.untilShown(r.say("all is said").ID)
	changes := r.Changes(t.Context())
	deadline := time.Now().Add(patience)
	for quiet := false; !quiet; { // what was said settles first
		if time.Now().After(deadline) {
			t.Fatal("people are told of changes all the time")
		}
		select {
		case <-changes:
		default:
		}
		quiet = inRoom(r, func(room *room) bool {
			for range 20 {
				room.flush()
			}
			return len(changes) == 0
		})
	}
	page := must(r.Page(t.Context(), chat.PageQuery{Room: lobby}))(t)
	if err := r.MarkRead(t.Context(), lobby, page.Messages[len(page.Messages)-1].Position); err != nil {
		t.Fatal(err)
	}
	if _, ok := within(changes); !ok {
		t.Error("nobody is told that a room was read")
	}
}

func BenchmarkView(b *testing.B) {
	r := start(b, loopback(b, "n1"))
	r.create(lobby)
	if err := r.SetUsername(b.Context(), "Ana"); err != nil {
		b.Fatal(err)
	}
	r.sayMany("m", 500)
	for b.Loop() {
		if _, err := r.View(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
