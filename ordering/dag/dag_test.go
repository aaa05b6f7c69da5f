package dag

import (
	"fmt"
	"slices"
	"testing"

	"tertulia/ordering"
)

// Each case says why a run is refused: it gives the graph and the run.
func TestARunIsRefusedWhen(t *testing.T) {
	line := ordering.KindJoined
	hash := ordering.Hash{9}
	type giver func(s *scene, ana, bob, eva *author) (*author, ordering.Verified)
	mutant := func(change func(*ordering.Entry)) giver {
		return func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			eva.hear(bob.say(1))
			ana.hear(bob.log...)
			e := bob.next()
			e.Deps = []ordering.Ref{last(ana.say(1)).Ref()}
			e.TS++
			change(&e)
			return ana, bob.sign(e)
		}
	}
	for _, c := range []struct {
		when string
		want ordering.Reason
		give giver
	}{
		{"it is held", ordering.Duplicate, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			v := bob.say(2)
			ana.hear(v)
			return ana, v
		}},
		{"it waits already", ordering.Duplicate, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			bob.say(1)
			v := bob.say(1)
			ana.hear(v)
			return ana, v
		}},
		{"its author has forked too often", ordering.Fork, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			e := bob.next()
			ana.hear(bob.say(1))
			for range MaxForkedOfOrigin {
				e.WallMS++
				ana.hear(bob.sign(e))
			}
			e.WallMS++
			return ana, bob.sign(e)
		}},
		{"its first entry follows something", ordering.BadChain, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			e := bob.next()
			e.Prev = hash
			return ana, bob.sign(e)
		}},
		{"its ts is one too small", ordering.WrongTime, mutant(func(e *ordering.Entry) { e.TS-- })},
		{"its ts is one too large", ordering.WrongTime, mutant(func(e *ordering.Entry) { e.TS++ })},
		{"it poisons the clock", ordering.WrongTime, mutant(func(e *ordering.Entry) { e.TS = 1 << 62 })},
		{"its ts is the last there is", ordering.WrongTime, mutant(func(e *ordering.Entry) { e.TS = 1<<64 - 1 })},
		{"it is of another room", ordering.WrongRoom, mutant(func(e *ordering.Entry) { e.Room[0]++ })},
		{"it is of another generation", ordering.WrongRoom, mutant(func(e *ordering.Entry) { e.Gen = 1 })},
		{"it is another genesis", ordering.WrongRoom, mutant(func(e *ordering.Entry) { e.Kind = ordering.KindGenesis })},
		{"its plain kind is unknown", ordering.BadKind, mutant(func(e *ordering.Entry) { e.Kind = 9 })},
		{"its kind is 0", ordering.BadKind, mutant(func(e *ordering.Entry) { e.Kind = 0 })},
		{"a message has no stamp", ordering.Malformed, mutant(func(e *ordering.Entry) { e.Kind = ordering.KindMessage })},
		{"a null has a body", ordering.Malformed, mutant(func(e *ordering.Entry) { e.Kind, e.Body = ordering.KindNull, []byte{1} })},
		{"a key grant does not read", ordering.Malformed, mutant(func(e *ordering.Entry) { e.Kind, e.Body = ordering.KindKey, []byte{1} })},
		{"an admission does not read", ordering.Malformed, mutant(func(e *ordering.Entry) { e.Kind, e.Body = ordering.KindAdmit, []byte{1} })},
		{"a change of rights is not alone in its run", ordering.Malformed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			leave := bob.next()
			leave.Kind = ordering.KindLeave
			return ana, bob.sign(leave, ordering.Entry{Kind: line})
		}},
		{"its author is a stranger", ordering.NotMember, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			joe := s.author(4)
			joe.g = ana.g
			return ana, joe.draft(1)
		}},
		{"its author's first entry has no admission in its past", ordering.NotMember, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			joe := s.author(4)
			ana.admit(joe)
			genesis := s.genesis.Run().Last()
			return ana, joe.sign(ordering.Entry{Room: s.id, Origin: joe.origin, Seq: 1, TS: 2, Deps: []ordering.Ref{genesis.Ref()}, Kind: line})
		}},
		{"its author left", ordering.NotMember, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			ana.hear(bob.act(ordering.KindLeave, nil))
			return ana, bob.draft(1)
		}},
		{"its author was removed before", ordering.NotMember, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			bob.hear(ana.remove(bob))
			return ana, bob.draft(1)
		}},
		{"who removes is not the creator", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			return ana, bob.acting(ordering.KindRemove, ordering.Remove{Device: eva.origin.Device}.Encode())
		}},
		{"the creator removes a stranger", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			return bob, ana.acting(ordering.KindRemove, ordering.Remove{Device: s.author(4).origin.Device}.Encode())
		}},
		{"nobody made the invite", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			return ana, bob.admitBy(ordering.InviteKey{77}, s.author(4))
		}},
		{"the invite is used up", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			once := ordering.InviteKey{5}
			bob.act(ordering.KindInvite, ordering.Invite{Key: once, Uses: 1}.Encode())
			bob.hear(bob.admitBy(once, s.author(4)))
			ana.hear(bob.log...)
			return ana, bob.admitBy(once, s.author(5))
		}},
		{"the invite was revoked", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			bob.hear(ana.act(ordering.KindRevoke, ordering.Revoke{Key: s.open}.Encode()))
			return ana, bob.admitBy(s.open, s.author(4))
		}},
		{"who revokes made neither the invite nor the room", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			return ana, bob.acting(ordering.KindRevoke, ordering.Revoke{Key: s.open}.Encode())
		}},
		{"the invite's key is taken", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			return ana, bob.acting(ordering.KindInvite, ordering.Invite{Key: s.open}.Encode())
		}},
		{"the device it admits was removed", ordering.NotAllowed, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			bob.hear(ana.remove(eva))
			return ana, bob.admitBy(s.open, eva)
		}},
		{"it is parked and the peer's place is full", ordering.TooMany, func(s *scene, ana, bob, eva *author) (*author, ordering.Verified) {
			ana.g.loads[bob.origin.Device] = load{bytes: MaxParkedBytesOfPeer}
			bob.say(1)
			return ana, bob.draft(1)
		}},
	} {
		t.Run(c.when, func(t *testing.T) {
			s, ana, bob, eva := trio(t)
			at, v := c.give(s, ana, bob, eva)
			clock, have := at.g.Clock(), at.g.Have().Hash()
			before := at.g.Refused()[c.want]
			parked := at.g.Parked()
			if err := at.take(v.Run().Origin().Device, v); reason(err) != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if at.g.Refused()[c.want] != before+1 {
				t.Error("not counted")
			}
			if at.g.Clock() != clock || at.g.Have().Hash() != have || at.g.Parked() != parked {
				t.Error("the refusal changed the graph")
			}
		})
	}
}

func TestAGapIsParkedAndAcceptedWhenFilled(t *testing.T) {
	_, ana, bob, _ := trio(t)
	one, two, three := bob.say(1), bob.say(2), bob.say(1)
	ana.hear(three)
	ana.hear(two)
	if ana.holds(two) || ana.holds(three) || ana.g.Parked() != 2 {
		t.Fatalf("a gap was skipped; %d parked", ana.g.Parked())
	}
	if want := ana.g.Missing(two); len(want) != 1 || want[bob.origin] != 1 {
		t.Errorf("to be asked for: %v", want)
	}
	accepted, err := ana.g.Accept(bob.origin.Device, one)
	if err != nil || len(accepted) != 3 {
		t.Fatalf("accepted %d, %v", len(accepted), err)
	}
	for i, want := range []ordering.Verified{one, two, three} {
		if last(accepted[i].Run) != last(want) {
			t.Errorf("in place %d: %s", i, last(accepted[i].Run).ID())
		}
	}
	if ana.g.Parked() != 0 || len(ana.g.Missing(two)) != 0 {
		t.Error("something still waits")
	}
}

func TestARunThatOverlapsIsTakenFromWhereItIsNew(t *testing.T) {
	_, ana, bob, _ := trio(t)
	e := bob.next()
	one := bob.sign(e)
	bob.hear(one)
	two := bob.say(1)
	three := bob.say(1)
	ana.hear(bob.sign(e), two)
	both := ordering.SignRun(bob.key, last(two), last(three))
	accepted, err := ana.g.Accept(bob.origin.Device, both)
	if err != nil || len(accepted) != 1 || accepted[0].Skip != 1 || len(accepted[0].Entries()) != 1 || accepted[0].Entries()[0] != last(three) {
		t.Fatalf("%v %v", accepted, err)
	}
}

func TestAnExpiredInviteIsTheAdmittersMatter(t *testing.T) {
	s, ana, bob, _ := trio(t)
	old := ordering.InviteKey{5}
	bob.act(ordering.KindInvite, ordering.Invite{Key: old, ExpiresMS: 1}.Encode())
	joe := s.author(4)
	if p := bob.g.CheckInvite(old, joe.origin.Device, 2); p != Expired {
		t.Errorf("the admitter's check: %q", p)
	}
	if p := bob.g.CheckInvite(old, joe.origin.Device, 0); p != "" {
		t.Errorf("before it expires: %q", p)
	}
	bob.hear(bob.admitBy(old, joe))
	ana.hear(bob.log...)
	if !ana.g.IsMember(joe.origin.Device) {
		t.Error("an admission was judged by a clock")
	}
}

func TestTwoAdmissionsBesideOneAnotherMayExceedTheUses(t *testing.T) {
	s, ana, bob, eva := trio(t)
	once := ordering.InviteKey{5}
	invite := ana.act(ordering.KindInvite, ordering.Invite{Key: once, Uses: 1}.Encode())
	bob.hear(invite)
	eva.hear(invite)
	joe, kim := s.author(4), s.author(5)
	for _, v := range []ordering.Verified{bob.admitBy(once, joe), eva.admitBy(once, kim)} {
		ana.hear(v)
	}
	if !ana.g.IsMember(joe.origin.Device) || !ana.g.IsMember(kim.origin.Device) {
		t.Error("an admission was judged by what its author could not know")
	}
	if p := ana.g.CheckInvite(once, s.author(6).origin.Device, 0); p != UsedUp {
		t.Errorf("CheckInvite: %q", p)
	}
}

func TestAnInviteMadeTwiceCountsAlikeEverywhere(t *testing.T) {
	s, ana, bob, eva := trio(t)
	invite := ordering.InviteKey{5}
	one := bob.act(ordering.KindInvite, ordering.Invite{Key: invite, Uses: 1}.Encode())
	two := eva.act(ordering.KindInvite, ordering.Invite{Key: invite, Uses: 2}.Encode())
	ana.hear(one, two)
	first := ana.admitBy(invite, s.author(4))
	ana.hear(first)
	e := ana.next() // judged with one use in its past
	e.Kind, e.Body = ordering.KindAdmit, ordering.Admit{Device: s.author(5).origin.Device, Invite: invite, Name: "node"}.Encode()
	second := ana.sign(e)
	bob.hear(two, first)
	eva.hear(one, first)
	a, b := bob.take(ana.origin.Device, second), eva.take(ana.origin.Device, second)
	if (a == nil) != (b == nil) {
		t.Errorf("one order of arrival: %v; the other: %v", a, b)
	}
}

func TestTheListOfMembersIsTheSameWhateverCameFirst(t *testing.T) {
	s, _, bob, eva := trio(t)
	joe, kim := s.author(4), s.author(5)
	one, two := bob.admit(joe), eva.admit(kim)
	e := eva.next()
	e.Kind, e.Body = ordering.KindAdmit, ordering.Admit{Device: joe.origin.Device, Invite: s.open, Name: "another name"}.Encode()
	three := eva.sign(e)
	eva.hear(three)
	bob.hear(two, three)
	eva.hear(one)
	if a, b := fmt.Sprint(bob.g.Members()), fmt.Sprint(eva.g.Members()); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	if n := bob.g.MemberCount(); n != 5 {
		t.Errorf("%d members", n)
	}
}

func TestARemovedAuthorIsHeldBackUntilAMemberDependsOnIt(t *testing.T) {
	_, ana, bob, eva := trio(t)
	one, two := bob.say(1), bob.say(2)
	ana.remove(bob)
	ana.hear(two, one)
	if ana.holds(one) || ana.g.Parked() != 2 {
		t.Fatal("what was written beside the removal was taken at once")
	}
	if reach := ana.g.Reach()[bob.origin]; reach != 3 {
		t.Errorf("Reach is %d: it would be asked for again and again", reach)
	}
	eva.hear(one, two) // eva knows of no removal
	ana.hear(eva.say(1))
	if !ana.holds(one) || !ana.holds(two) || ana.g.Parked() != 0 {
		t.Error("what a member depends on was not taken")
	}
	ana.sound()
}

func TestWhatAMemberDependsOnIsTakenThroughOtherRemovedAuthors(t *testing.T) {
	s, ana, bob, eva := trio(t)
	joe := s.author(4)
	admit := ana.admit(joe)
	bob.hear(admit)
	eva.hear(admit)
	joe.hear(ana.log...)
	one := bob.say(1)
	joe.hear(one)
	two := joe.say(1)
	eva.hear(one, two)
	three := eva.say(1)
	for _, order := range [][]ordering.Verified{{one, two, three}, {three, two, one}, {two, three, one}, {one, three, two}, {three, one, two}, {two, one, three}} {
		at := s.author(9)
		at.hear(ana.log...)
		creator := *ana
		creator.g, creator.held, creator.log = at.g, at.held, at.log
		creator.remove(bob)
		creator.remove(joe)
		at.log = creator.log
		at.hear(order...)
		if !at.holds(three) || !at.holds(two) || !at.holds(one) {
			t.Errorf("something was not taken; %d parked", at.g.Parked())
		}
		at.sound()
	}
}

// The removal may come when a member's entry waits already.
func TestARemovalDoesNotStrandWhatAMemberWaitsFor(t *testing.T) {
	_, ana, bob, eva := trio(t)
	one, two := bob.say(1), bob.say(1)
	eva.hear(one, two)
	needs := eva.say(1)
	ana.hear(two, needs) // wait for one
	ana.remove(bob)
	ana.hear(one)
	if !ana.holds(needs) {
		t.Error("a member's entry waits for good")
	}
	ana.sound()
}

// Who depends on a removed author may turn out a member only later.
func TestANewMembersEntryFreesWhatItDependsOn(t *testing.T) {
	s, ana, bob, eva := trio(t)
	joe := s.author(4)
	one := bob.say(1)
	admit := eva.admit(joe)
	eva.hear(one)
	joe.hear(ana.log...)
	joe.hear(eva.log...)
	needs := joe.say(1)
	ana.remove(bob)
	ana.hear(one, needs)
	ana.hear(admit)
	if !ana.holds(needs) {
		t.Error("a member's entry waits for good")
	}
	ana.sound()
}

func TestWhoLeavesComesBackByANewAdmission(t *testing.T) {
	s, ana, bob, eva := trio(t)
	again := s.instance(2, 2) // bob's device with a fresh data directory
	again.hear(ana.log...)
	beside := again.say(1) // beside the leave
	leave := bob.act(ordering.KindLeave, nil)
	ana.hear(leave)
	if ana.g.IsMember(bob.origin.Device) {
		t.Fatal("still a member")
	}
	ana.hear(beside)
	if ana.holds(beside) {
		t.Fatal("taken although its author is gone")
	}
	eva.hear(leave)
	back := eva.admit(bob)
	ana.hear(back)
	bob.hear(back)
	if !ana.g.IsMember(bob.origin.Device) || !ana.holds(beside) {
		t.Error("the newcomer's earlier entries wait for good")
	}
	ana.hear(bob.say(1))
	ana.sound()
}

func TestAdmissionsLeadBackToTheCreator(t *testing.T) {
	s, ana, bob, eva := trio(t)
	dan := s.author(4)
	first := ana.log[len(ana.log)-1].Run().First().Ref() // eva's, by ana
	leave := bob.act(ordering.KindLeave, nil)
	eva.hear(leave)
	second := eva.admit(dan).Run().First().Ref()
	dan.hear(eva.log...)
	third := dan.admit(bob).Run().First().Ref() // who comes back by somebody else
	eva.hear(dan.log...)
	for _, c := range []struct {
		who   *author
		limit int
		want  []ordering.Ref
	}{
		{ana, 9, nil}, {eva, 9, []ordering.Ref{first}}, {dan, 9, []ordering.Ref{first, second}},
		{bob, 9, []ordering.Ref{first, second, third}}, {bob, 2, []ordering.Ref{second, third}}, {s.author(5), 9, nil},
	} {
		if got := eva.g.Admissions(c.who.origin.Device, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("%d of %s: %v, not %v", c.limit, c.who.origin.Tag(), got, c.want)
		}
	}
}

func TestARemovalWinsOverAnAdmissionBesideIt(t *testing.T) {
	s, ana, bob, eva := trio(t)
	leave := bob.act(ordering.KindLeave, nil)
	eva.hear(leave)
	back := eva.admit(bob)
	ana.remove(bob)
	ana.hear(leave, back)
	if ana.g.IsMember(bob.origin.Device) {
		t.Error("a stale admission brought a removed device back")
	}
	if p := ana.g.CheckInvite(s.open, bob.origin.Device, 0); p != Removed {
		t.Errorf("CheckInvite: %q", p)
	}
}

func TestARefusedRunThatWaitedIsForgotten(t *testing.T) {
	_, ana, bob, _ := trio(t)
	one := bob.say(1)
	e := bob.next()
	e.TS += 5
	ana.hear(bob.sign(e))
	ana.hear(one)
	if ana.g.Parked() != 0 || ana.g.Refused()[ordering.WrongTime] != 1 {
		t.Errorf("%d parked, refused %v", ana.g.Parked(), ana.g.Refused())
	}
	ana.sound()
	ana.hear(bob.say(1)) // the right one
}

func TestAHostilePeerCanNotUseUpTheShelf(t *testing.T) {
	s, ana, bob, eva := trio(t)
	for _, size := range []int{0, 32 << 10} {
		at := s.author(9)
		at.hear(ana.log...)
		next := bob.next()
		next.Body = make([]byte, size)
		var err error
		n := 0
		for ; err == nil && n <= MaxParkedRuns; n++ {
			e := next
			e.Seq, e.Prev, e.TS = uint64(n)*2+3, ordering.Hash{1}, uint64(n)+100
			err = at.take(bob.origin.Device, bob.sign(e))
		}
		if reason(err) != ordering.TooMany {
			t.Fatalf("after %d runs: %v", n, err)
		}
		at.shelfSound()
		eva.say(1)
		two := eva.say(1)
		if err := at.take(eva.origin.Device, two); err != nil {
			t.Errorf("with %d runs of one peer waiting, another's: %v", at.g.Parked(), err)
		}
		at.hear(eva.log...)
		if !at.holds(two) {
			t.Error("not accepted once its past is here")
		}
	}
}

func TestTheShelfHasLimits(t *testing.T) {
	s, ana, bob, _ := trio(t)
	for _, size := range []int{0, 32 << 10} {
		at := s.author(9)
		at.hear(ana.log...)
		next := bob.next()
		next.Body = make([]byte, size)
		refused := 0
		for n := range MaxParkedRuns + 100 {
			e := next
			e.Seq, e.Prev, e.TS = uint64(n)*2+3, ordering.Hash{1}, uint64(n)+100
			if err := at.take(ordering.DeviceKey{byte(n % 8)}, bob.sign(e)); err != nil {
				refused++
			}
			if size > 0 && refused > 10 {
				break
			}
		}
		if refused < 11 {
			t.Errorf("%d refused", refused)
		}
		at.shelfSound()
	}
}

func TestADeviceMayWriteSoManyInvites(t *testing.T) {
	_, ana, bob, _ := trio(t)
	for n := range MaxInvitesOfDevice {
		k := ordering.InviteKey{9, byte(n), byte(n >> 8)}
		v := bob.acting(ordering.KindInvite, ordering.Invite{Key: k}.Encode())
		if err := bob.take(bob.origin.Device, v); err != nil {
			t.Fatalf("act %d: %v", n, err)
		}
	}
	v := bob.acting(ordering.KindInvite, ordering.Invite{Key: ordering.InviteKey{8}}.Encode())
	if err := bob.take(bob.origin.Device, v); reason(err) != ordering.TooMany {
		t.Errorf("one more: %v", err)
	}
	bob.say(1) // it may still speak, admit and go
	if err := bob.take(bob.origin.Device, bob.admitBy(bob.open, bob.author(7))); err != nil {
		t.Errorf("admit: %v", err)
	}
	if err := bob.take(bob.origin.Device, bob.acting(ordering.KindLeave, nil)); err != nil {
		t.Errorf("leave: %v", err)
	}
	ana.admit(bob)
}

func TestWhoLeavesAgainAndAgainIsNotAdmittedForEver(t *testing.T) {
	_, ana := newScene(t)
	bob := ana.author(2)
	for n := range MaxReturns + 1 {
		ana.admit(bob)
		bob.hear(ana.log[len(bob.log):]...)
		leave := bob.acting(ordering.KindLeave, nil)
		if err := bob.take(bob.origin.Device, leave); err != nil {
			t.Fatalf("leave %d: %v", n, err)
		}
		ana.hear(leave)
	}
	if err := ana.take(ana.origin.Device, ana.admitBy(ana.open, bob)); reason(err) != ordering.NotAllowed {
		t.Errorf("got %v", err)
	}
	if p := ana.g.CheckInvite(ana.open, bob.origin.Device, 0); p != TooOften {
		t.Errorf("the joiner is told %q", p)
	}
}

func TestAnInviteIsRevokedOnce(t *testing.T) {
	_, ana := newScene(t)
	revoke := ordering.Revoke{Key: ana.open}.Encode()
	ana.act(ordering.KindRevoke, revoke)
	if err := ana.take(ana.origin.Device, ana.acting(ordering.KindRevoke, revoke)); reason(err) != ordering.NotAllowed {
		t.Errorf("got %v", err)
	}
}

func TestARoomIsFullWithMaxMembersTheCreatorIncluded(t *testing.T) {
	s, ana := newScene(t)
	var d *author
	for n := range ordering.MaxMembers - 1 {
		d = &author{scene: s}
		d.origin.Device = ordering.DeviceKey{byte(n), byte(n >> 8), 1}
		ana.admit(d)
	}
	if n := ana.g.MemberCount(); n != ordering.MaxMembers || len(ana.g.Members()) != n {
		t.Errorf("%d members", n)
	}
	if p := ana.g.CheckInvite(s.open, ordering.DeviceKey{0, 0, 2}, 0); p != Full {
		t.Errorf("one more: %q", p)
	}
	if p := ana.g.CheckInvite(s.open, d.origin.Device, 0); p != "" {
		t.Errorf("one that is in the room: %q", p)
	}
}

func TestNextNamesTheHighestHeadsAndTheRestLater(t *testing.T) {
	s, ana := newScene(t)
	const n = ordering.MaxDeps + 20
	var others []*author
	for i := range n {
		others = append(others, s.author(byte(10+i)))
		ana.admit(others[i])
	}
	ana.log = ana.log[:len(ana.log):len(ana.log)]
	for i, o := range others {
		o.hear(ana.log...)
		for range i%3 + 1 {
			o.say(1)
		}
	}
	at := s.author(1) // the creator again, elsewhere
	at.hear(ana.log...)
	for _, o := range others {
		at.hear(o.log...)
	}
	at.sound()
	e := at.next()
	if len(e.Deps) != ordering.MaxDeps || e.TS != at.g.Clock()+1 {
		t.Fatalf("%d deps, ts %d", len(e.Deps), e.TS)
	}
	lowest := e.TS
	for i, d := range e.Deps {
		lowest = min(lowest, at.g.ClockOf(d.Origin))
		if i > 0 && e.Deps[i-1].Origin.Compare(d.Origin) >= 0 {
			t.Fatal("deps are not ascending")
		}
		delete(at.g.heads, d.Hash)
	}
	for _, v := range at.g.heads {
		if v.Origin != at.origin && v.ts > lowest {
			t.Errorf("a head of ts %d was left out, one of %d named", v.ts, lowest)
		}
	}
	at = s.author(1)
	at.hear(ana.log...)
	for _, o := range others {
		at.hear(o.log...)
	}
	first, second := at.say(1), at.say(1)
	if k := len(last(second).Deps); k != n-ordering.MaxDeps {
		t.Errorf("the next entry names %d", k)
	}
	if e := at.next(); len(e.Deps) != 0 {
		t.Errorf("all was named, yet %d deps", len(e.Deps))
	}
	reader := s.author(9)
	reader.hear(second, first)
	for i := range at.log {
		reader.hear(at.log[len(at.log)-1-i])
	}
	if reader.g.Have().Hash() != at.g.Have().Hash() {
		t.Error("another replica did not accept it all")
	}
	if _, err := ordering.DecodeRun(first.Run().Bytes()); err != nil {
		t.Error(err)
	}
}

func TestARestoredGraphIsTheGraph(t *testing.T) {
	_, ana, bob, _ := trio(t)
	ana.hear(bob.say(3))
	ana.say(2)
	again := New(ana.id)
	for _, v := range ana.log {
		for _, e := range v.Run().Entries {
			again.Restore(e, false)
		}
	}
	if portrait(again) != portrait(ana.g) {
		t.Error("it differs")
	}
}
