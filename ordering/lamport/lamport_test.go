package lamport

import (
	"slices"
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

func TestAnEntryIsFinalOnceAllClocksPassedItAndAllHoldIt(t *testing.T) {
	for _, c := range []struct {
		what string
		bob  ordering.Ack
		want string
	}{
		{"nobody spoke", ordering.Ack{}, ""},
		{"clock below", ordering.Ack{Epoch: 1, Clock: 0, Have: make([]ordering.Tip, 3)}, ""},
	} {
		b := books{}
		b.write(ann)
		k := newKeeper(b, ann, mutant.None)
		k.hold("a1")
		k.Hear(cat, b.ack(1, 1, 1, 0, 0))
		if c.bob.Have != nil {
			k.Hear(bob, c.bob)
		}
		if got := k.settled(); got != c.want {
			t.Errorf("%s: final %q", c.what, got)
		}
		k.Hear(bob, b.ack(1, 1, 1, 0, 0))
		k.wantSettled(t, "a1")
		k.wantSettled(t, "")
	}
}

func TestAClockThatPassedDoesNotMakeUpForAnEntryThatIsNotHeld(t *testing.T) {
	for m, want := range map[mutant.Mutant]string{mutant.None: "", mutant.Uncovered: "a1 b1 b2"} {
		b := books{}
		b.write(ann)
		b.write(bob)
		b.write(bob)
		k := newKeeper(b, ann, m)
		k.hold("a1", "b1", "b2")
		k.Hear(bob, b.ack(1, 2, 0, 2, 0)) // its clock is past a1, which it lacks
		k.Hear(cat, b.ack(1, 2, 1, 2, 0))
		k.wantSettled(t, want)
	}
}

func TestAMembersClockCountsOnlyWithAllItWroteUpToIt(t *testing.T) {
	for m, want := range map[mutant.Mutant]string{mutant.None: "", mutant.BlindClock: "b1"} {
		b := books{}
		b.write(ann)
		b.write(bob)
		k := newKeeper(b, cat, m)
		k.hold("b1")
		k.Hear(ann, b.ack(1, 1, 1, 1, 0)) // a1 sorts before b1 and is not here
		k.Hear(bob, b.ack(1, 1, 1, 1, 0))
		k.wantSettled(t, want)
		if m != mutant.None {
			continue
		}
		k.hold("a1")
		k.wantSettled(t, "a1 b1")
	}
}

func TestArrivalsOutOfOrderAreFinalByTsAuthorAndSeq(t *testing.T) {
	b := books{}
	for _, o := range []ordering.Origin{ann, bob, ann, cat} {
		b.write(o)
	}
	k := newKeeper(b, cat, mutant.None)
	k.hold("b1")
	k.hold("c1")
	k.hold("a1")
	k.hold("a2")
	k.Hear(ann, b.ack(1, 2, 2, 1, 1))
	k.Hear(bob, b.ack(1, 2, 2, 1, 1))
	k.wantSettled(t, "a1 b1 c1 a2")
}

func TestTheWalkStopsAtTheFirstEntryThatIsNotHeldByAll(t *testing.T) {
	b := books{}
	b.write(ann)
	b.write(bob)
	k := newKeeper(b, cat, mutant.None)
	k.hold("a1", "b1")
	k.Hear(ann, b.ack(1, 1, 1, 1, 0))
	k.Hear(bob, b.ack(1, 1, 0, 1, 0)) // b1 is held by all, a1 before it is not
	k.wantSettled(t, "")
	if w := k.WaitsFor(); !slices.Equal(w, []ordering.Origin{bob}) {
		t.Errorf("waits for %v", w)
	}
	k.Hear(bob, b.ack(1, 1, 1, 1, 0))
	k.wantSettled(t, "a1 b1")
	if w := k.WaitsFor(); w != nil {
		t.Errorf("waits for %v though nothing waits", w)
	}
}

func TestCoverageNeedsTheHashOfTheChainHeldHere(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, cat, mutant.None)
	k.hold("a1")
	k.Hear(ann, b.ack(1, 1, 1, 0, 0))
	other := b.ack(1, 1, 1, 0, 0)
	other.Have[0].Hash[0] ^= 1 // another branch of ann's chain
	k.Hear(bob, other)
	k.wantSettled(t, "")
}

func TestWhatIsNotOnDiskHereIsNotFinalHere(t *testing.T) {
	for m, want := range map[mutant.Mutant]string{mutant.None: "", mutant.AckEarly: "a1"} {
		b := books{}
		b.write(ann)
		k := newKeeper(b, bob, m)
		k.accept("a1")
		k.Hear(ann, b.ack(1, 1, 1, 0, 0))
		k.Hear(cat, b.ack(1, 1, 1, 0, 0))
		k.wantSettled(t, want)
		if a, _ := k.Ack(at(0)); m == mutant.None && (a.Clock != 0 || a.Have[0].Seq != 0) {
			t.Errorf("acknowledged before it is durable: %v", a)
		}
		k.Persisted(1)
		if m == mutant.None {
			k.wantSettled(t, "a1")
		}
	}
}

func TestTheOwnClockAloneSaysNothing(t *testing.T) {
	for m, want := range map[mutant.Mutant]string{mutant.None: "", mutant.OwnClock: "b1"} {
		b := books{}
		b.write(ann)
		b.write(bob)
		k := newKeeper(b, cat, m)
		k.hold("b1")
		k.wantSettled(t, want)
	}
}

func TestAMemberOutsideTheViewSettlesByWhatTheViewSays(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, eve, mutant.None)
	k.hold("a1")
	for _, o := range all {
		k.wantSettled(t, "")
		k.Hear(o, b.ack(1, 1, 1, 0, 0))
	}
	k.wantSettled(t, "a1")
	if _, says := k.Ack(at(5000)); says || k.Member() {
		t.Error("it acknowledges though nobody counts it")
	}
}

func TestOnceSealedAMemberCountsNothingNewForOthersOrForItself(t *testing.T) {
	for m, want := range map[mutant.Mutant]string{mutant.None: "", mutant.NoFreeze: "a1", mutant.OwnAckMoves: "a1"} {
		b := books{}
		b.write(ann)
		k := newKeeper(b, bob, m)
		s := *k.SealNow()
		k.hold("a1")
		k.Hear(ann, b.ack(1, 1, 1, 0, 0))
		k.Hear(cat, b.ack(1, 1, 1, 0, 0))
		a, ok := k.Ack(at(0))
		if frozen := a.Clock == 0 && a.Have[0].Seq == 0; !ok || !a.Sealed || frozen != (m != mutant.NoFreeze) {
			t.Errorf("%s: it says %v", m, a)
		}
		if again := k.SealNow(); again.Clock != s.Clock || !slices.Equal(again.Have, s.Have) {
			t.Errorf("%s: sealed a second time with more: %v", m, again)
		}
		k.wantSettled(t, want)
		if m == mutant.None && k.Durable()[ann] != 1 {
			t.Error("writing to disk stopped")
		}
	}
}

func TestWhatWasHeldByAllBeforeTheSealIsFinalAfterIt(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, bob, mutant.None)
	k.hold("a1")
	k.SealNow()
	k.Hear(ann, b.ack(1, 1, 1, 0, 0))
	k.Hear(cat, b.ack(1, 1, 1, 0, 0))
	k.wantSettled(t, "a1")
}

func TestASealHoldsAcrossARestart(t *testing.T) {
	b := books{}
	b.write(ann)
	b.write(ann)
	k := newKeeper(b, bob, mutant.None)
	k.hold("a1")
	s := *k.SealNow()
	k.hold("a2")
	k.restart(&s)
	k.Hear(ann, b.ack(1, 2, 2, 0, 0))
	k.Hear(cat, b.ack(1, 2, 2, 0, 0))
	a, _ := k.Ack(at(0))
	if !a.Sealed || a.Clock != 1 || a.Have[0] != b.tip(ann, 1) {
		t.Errorf("after the restart it says %v", a)
	}
	k.wantSettled(t, "a1")
}

func TestASealEndsWithItsEpoch(t *testing.T) {
	for what, s := range map[string]*Seal{
		"of an earlier epoch": {Epoch: 1, Have: make([]ordering.Tip, 3)},
		"of another view":     {Epoch: 2, Have: make([]ordering.Tip, 2)},
		"none":                nil,
	} {
		b := books{}
		b.write(ann)
		k := newKeeper(b, bob, mutant.None)
		k.SealNow()
		k.hold("a1")
		k.Open(2, all, s, start)
		if a, _ := k.Ack(at(0)); a.Epoch != 2 || a.Sealed || a.Clock != 1 || a.Have[0].Seq != 1 || k.Sealed() {
			t.Errorf("%s: it says %v", what, a)
		}
	}
}

func TestAnyMembersSealIsKnownUntilTheEpochEnds(t *testing.T) {
	b := books{}
	k := newKeeper(b, bob, mutant.None)
	a := b.ack(1, 0, 0, 0, 0)
	a.Sealed = true
	k.Hear(cat, a)
	a.Sealed = false
	k.Hear(cat, a) // an older one that comes late
	if !k.Sealed() {
		t.Error("forgotten")
	}
	k.Open(2, all, nil, start)
	if k.Sealed() {
		t.Error("kept in the next epoch")
	}
}

func TestOfTwoAcksOfAnEpochTheGreaterCountsWhicheverComesLast(t *testing.T) {
	b := books{}
	b.write(ann)
	b.write(bob)
	k := newKeeper(b, bob, mutant.None)
	k.hold("a1", "b1")
	k.Hear(ann, b.ack(1, 1, 1, 1, 0))
	k.Hear(cat, b.ack(1, 1, 1, 1, 0))
	k.Hear(cat, b.ack(1, 0, 0, 0, 0))
	k.Hear(ann, b.ack(1, 1, 1, 0, 0))
	k.wantSettled(t, "a1 b1")
}

func TestAnAckHeardIsNotChangedByTheSenderOrByALaterOne(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, bob, mutant.None)
	first, second := b.ack(1, 1, 1, 0, 0), b.ack(1, 0, 0, 0, 0)
	k.Hear(ann, first)
	k.Hear(ann, second)
	if second.Have[0].Seq != 0 || second.Clock != 0 {
		t.Error("the message heard was written to")
	}
}

func TestAnAckOfAnEarlierEpochDoesNotCount(t *testing.T) {
	for m, want := range map[mutant.Mutant]string{mutant.None: "", mutant.AnyAck: "a1"} {
		b := books{}
		b.write(ann)
		k := newKeeper(b, bob, m)
		k.hold("a1")
		k.Hear(ann, b.ack(1, 1, 1, 0, 0))
		k.Open(2, all, nil, start)
		k.Hear(cat, b.ack(1, 1, 1, 0, 0)) // late
		k.Hear(ann, b.ack(2, 1, 1, 0, 0))
		k.wantSettled(t, want)
		if m == mutant.None {
			k.Hear(cat, b.ack(2, 1, 1, 0, 0))
			k.wantSettled(t, "a1")
		}
	}
}

func TestAnAckOfTheNextEpochIsKeptForIt(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, bob, mutant.None)
	k.hold("a1")
	k.Hear(ann, b.ack(2, 1, 1, 0, 0))
	k.Hear(cat, b.ack(2, 1, 1, 0, 0))
	k.Hear(cat, b.ack(1, 1, 1, 0, 0)) // of the epoch before, and late
	k.wantSettled(t, "")
	k.Open(2, all, nil, start)
	k.wantSettled(t, "a1")
}

func TestAcksOfAnotherViewOrOfStrangersAreNotCounted(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, bob, mutant.None)
	k.hold("a1")
	k.Hear(eve, b.ack(1, 1, 1, 0, 0))
	short := b.ack(1, 1, 1)
	k.Hear(cat, short)
	k.Hear(ann, b.ack(1, 1, 1, 0, 0))
	k.wantSettled(t, "")
	short.Epoch = 2
	k.Hear(cat, short)
	k.Hear(ann, b.ack(2, 1, 1, 0, 0))
	k.Open(2, all, nil, start)
	k.wantSettled(t, "")
	for n := range 10_000 { // of an epoch to come, from whoever
		o := eve
		o.Instance[1], o.Instance[2] = byte(n), byte(n>>8)
		k.Hear(o, b.ack(7, 1, 1, 0, 0))
	}
	if len(k.acks) > 4*ordering.MaxView {
		t.Errorf("%d acknowledgements are kept", len(k.acks))
	}
}

func TestCausalPastFromOutsideTheViewComesBeforeTheFirstNativeThatSawIt(t *testing.T) {
	b := books{}
	b.write(eve)
	b.write(eve)
	b.write(ann)
	b.write(bob, name(eve, 2))
	k := newKeeper(b, cat, mutant.None)
	k.hold(name(eve, 1), name(eve, 2), "a1", "b1")
	k.Hear(ann, b.ack(1, 3, 1, 1, 0))
	k.Hear(bob, b.ack(1, 3, 1, 1, 0))
	k.wantSettled(t, "a1 i1 i2 b1")
}

func TestCausalPastIsByTsThenAuthor(t *testing.T) {
	b := books{}
	dan := member(8)
	b.write(eve)
	b.write(dan)
	b.write(eve)
	b.write(dan, "i2") // h2, after i2
	b.write(ann, "h2", "i2")
	k := newKeeper(b, ann, mutant.None)
	k.hold("i1", "i2", "h1", "h2", "a1")
	k.Hear(bob, b.ack(1, 4, 1, 0, 0))
	k.Hear(cat, b.ack(1, 4, 1, 0, 0))
	k.wantSettled(t, "h1 i1 i2 h2 a1")
}

func TestWhatNoNativeSawWaits(t *testing.T) {
	b := books{}
	b.write(eve)
	b.write(ann)
	k := newKeeper(b, ann, mutant.None)
	k.hold("i1", "a1")
	k.Hear(bob, b.ack(1, 1, 1, 0, 0))
	k.Hear(cat, b.ack(1, 1, 1, 0, 0))
	k.wantSettled(t, "a1")
	if k.Len() != 1 {
		t.Errorf("%d wait", k.Len())
	}
}

func TestACutMakesFinalExactlyTheNativesUpToItWithTheirPast(t *testing.T) {
	b := books{}
	b.write(eve)
	b.write(ann)
	b.write(bob, "i1")
	b.write(bob)
	b.write(cat)
	k := newKeeper(b, ann, mutant.None)
	k.hold("a1", "c1", "i1", "b1", "b2")
	if got := names(k.Cut([]ordering.Ref{b["a1"].Ref(), b["b1"].Ref()})); got != "a1 i1 b1" {
		t.Errorf("the cut gave %q", got)
	}
	if got := names(k.Cut(nil)); got != "" {
		t.Errorf("an empty cut gave %q", got)
	}
}

func TestWhatTheCutLeftOutIsNativeInTheNextEpochIfItsAuthorIs(t *testing.T) {
	b := books{}
	b.write(ann)
	b.write(bob)
	k := newKeeper(b, ann, mutant.None)
	k.hold("a1", "b1")
	k.Open(2, []ordering.Origin{ann, cat}, nil, start)
	k.Hear(cat, ordering.Ack{Epoch: 2, Clock: 1, Have: []ordering.Tip{b.tip(ann, 1), {}}})
	k.wantSettled(t, "a1")
	k.Open(3, all, nil, start)
	k.Hear(bob, b.ack(3, 1, 1, 1, 0))
	k.Hear(cat, b.ack(3, 1, 1, 1, 0))
	k.wantSettled(t, "b1")
}

func TestInAnEpochWithALeaderNothingIsNativeOrAcknowledged(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, ann, mutant.None)
	k.Open(2, nil, nil, start)
	k.hold("a1")
	k.Hear(bob, ordering.Ack{Epoch: 2, Clock: 1})
	k.wantSettled(t, "")
	if _, says := k.Ack(at(5000)); says || k.Len() != 1 || !k.AdoptDue().IsZero() {
		t.Error("it goes on as without a leader")
	}
}

// TestAnyOrderOfArrivalGivesOneOrder has every order of five entries and of the
// acknowledgements between them arrive.
func TestAnyOrderOfArrivalGivesOneOrder(t *testing.T) {
	b := books{}
	b.write(ann)
	b.write(bob)
	b.write(eve)
	b.write(cat, name(eve, 1), "b1")
	b.write(ann, "c1")
	entries := []string{"a1", "b1", "i1", "c1", "a2"}
	const want = "a1 b1 i1 c1 a2"
	tried := 0
	permute(entries, func(order []string) {
		k := newKeeper(b, cat, mutant.None)
		got := ""
		for _, n := range order {
			e := b[n]
			if e.Seq != k.have[e.Origin]+1 || slices.ContainsFunc(e.Deps, func(d ordering.Ref) bool { return k.have[d.Origin] < d.Seq }) {
				return // not an order in which a graph accepts them
			}
			k.hold(n)
			for _, o := range []ordering.Origin{ann, bob} { // both hold what is held here
				a := b.ack(1, 0, k.have[ann], k.have[bob], k.have[cat])
				for m := range b {
					if b[m].Seq <= k.have[b[m].Origin] {
						a.Clock = max(a.Clock, b[m].TS)
					}
				}
				if o == ann && k.have[ann] == 0 || o == bob && k.have[bob] == 0 {
					continue // its author has it at least
				}
				k.Hear(o, a)
			}
			if s := k.settled(); s != "" {
				got += s + " "
			}
		}
		tried++
		if got != want+" " {
			t.Errorf("%v gave %q", order, got)
		}
	})
	if tried < 3 {
		t.Errorf("only %d orders were tried", tried)
	}
}

func permute(list []string, do func([]string)) {
	if len(list) < 2 {
		do(list)
		return
	}
	for i := range list {
		rest := slices.Delete(slices.Clone(list), i, i+1)
		permute(rest, func(tail []string) { do(append([]string{list[i]}, tail...)) })
	}
}

func TestTheMembersOfTheViewAdoptOneAfterAnother(t *testing.T) {
	for rank, o := range all {
		b := books{}
		b.write(eve)
		k := newKeeper(b, o, mutant.None)
		if !k.AdoptDue().IsZero() {
			t.Error("there is nothing to adopt")
		}
		k.hold("i1")
		if want := start.Add(AdoptAfter + time.Duration(rank)*AdoptStep); !k.AdoptDue().Equal(want) {
			t.Errorf("rank %d adopts at %s, want %s", rank, k.AdoptDue(), want)
		}
		k.Open(2, all, nil, at(5000))
		if want := at(5000).Add(AdoptAfter + time.Duration(rank)*AdoptStep); !k.AdoptDue().Equal(want) {
			t.Errorf("in a new view rank %d adopts at %s, want %s: all at once", rank, k.AdoptDue(), want)
		}
		b.write(bob, "i1")
		k.hold("b1")
		if !k.AdoptDue().IsZero() {
			t.Error("it is adopted a second time")
		}
	}
	b := books{}
	b.write(eve)
	k := newKeeper(b, eve, mutant.None)
	k.hold("i1")
	if !k.AdoptDue().IsZero() {
		t.Error("somebody outside the view adopts")
	}
}

func TestARunFromOutsideIsAdoptedByItsLastEntry(t *testing.T) {
	b := books{}
	b.write(eve)
	b.write(eve)
	k := newKeeper(b, ann, mutant.None)
	k.hold("i1", "i2")
	b.write(ann, "i2")
	k.hold("a1")
	if due := k.AdoptDue(); !due.IsZero() {
		t.Errorf("something is left to adopt at %s", due)
	}
	k.Hear(bob, b.ack(1, 3, 1, 0, 0))
	k.Hear(cat, b.ack(1, 3, 1, 0, 0))
	k.wantSettled(t, "i1 i2 a1")
}

func TestNewsIsAcknowledgedAtOnceAndThenNotMoreOftenThanAckPause(t *testing.T) {
	b := books{}
	for range 3 {
		b.write(ann)
	}
	k := newKeeper(b, ann, mutant.None)
	if _, says := k.Ack(at(0)); !says {
		t.Fatal("the first of an epoch is not said")
	}
	if due := k.AckDue(); !due.IsZero() {
		t.Errorf("without news it speaks at %s", due)
	}
	k.hold("a1")
	if _, says := k.Ack(at(1)); says {
		t.Error("said too soon")
	}
	if due := k.AckDue(); !due.Equal(at(0).Add(AckPause)) {
		t.Errorf("due at %s", due)
	}
	k.hold("a2")
	a, says := k.Ack(at(5))
	if !says || a.Clock != 2 || !a.Ask {
		t.Errorf("said %v %v", says, a)
	}
	k.accept("a3")
	if _, says := k.Ack(at(500)); says {
		t.Error("what is not durable is no news")
	}
}

func TestWhileSomethingWaitsTheAckIsRepeatedEverySecond(t *testing.T) {
	b := books{}
	b.write(ann)
	k := newKeeper(b, ann, mutant.None)
	k.hold("a1")
	said := 0
	for ms := range 10_000 {
		if a, says := k.Ack(at(ms)); says {
			said++
			if !a.Ask {
				t.Errorf("it does not ask for the others'")
			}
		}
	}
	if said != 10 {
		t.Errorf("said %d times in 10 s", said)
	}
	k.Hear(bob, b.ack(1, 1, 1, 0, 0))
	k.Hear(cat, b.ack(1, 1, 1, 0, 0))
	k.wantSettled(t, "a1")
	if due := k.AckDue(); !due.IsZero() {
		t.Errorf("all is final, yet it speaks at %s", due)
	}
}

func TestASealedMemberRepeatsItsAckUntilTheEpochEnds(t *testing.T) {
	k := newKeeper(books{}, bob, mutant.None)
	k.Ack(at(0))
	k.SealNow()
	if a, says := k.Ack(at(5)); !says || !a.Sealed {
		t.Errorf("said %v %v", says, a)
	}
	if due := k.AckDue(); !due.Equal(at(5).Add(AckRepeat)) {
		t.Errorf("due at %s", due)
	}
}

func TestTwoWhoWaitForAThirdDoNotAnswerEachOtherWithoutEnd(t *testing.T) {
	const oneWay = 20 // ms
	b := books{}
	b.write(ann)
	pair := map[ordering.Origin]*keeper{ann: newKeeper(b, ann, mutant.None), bob: newKeeper(b, bob, mutant.None)}
	type message struct {
		at   int
		from ordering.Origin
		ack  ordering.Ack
	}
	var way []message
	said := 0
	pair[ann].hold("a1")
	pair[bob].hold("a1")
	for ms := range 10_000 { // cat is silent, so a1 waits
		for len(way) > 0 && way[0].at == ms {
			m := way[0]
			way = way[1:]
			for o, k := range pair {
				if o != m.from && k.Hear(m.from, m.ack) {
					if a, says := k.Answer(); says {
						said++
						way = append(way, message{ms + oneWay, o, a})
					}
				}
			}
		}
		for _, o := range []ordering.Origin{ann, bob} {
			if a, says := pair[o].Ack(at(ms)); says {
				said++
				way = append(way, message{ms + oneWay, o, a})
			}
		}
	}
	if most := 2 * (2*10 + 2); said > most { // each its own once a second, and one answer
		t.Errorf("%d acknowledgements in 10 s, where %d are enough", said, most)
	}
}

func TestWhoIsAskedAnswersThoughItHasNoNews(t *testing.T) {
	b := books{}
	k := newKeeper(b, bob, mutant.None)
	k.Ack(at(0))
	ask := b.ack(1, 0, 0, 0, 0)
	ask.Ask = true
	if !k.Hear(ann, ask) {
		t.Error("it does not hear the question")
	}
	if a, says := k.Answer(); !says || a.Ask || a.Epoch != 1 {
		t.Errorf("it answers %+v, %t", a, says)
	}
	if !k.Hear(member(8), ask) {
		t.Error("one outside the view asks in vain")
	}
	ask.Epoch = 9
	if k.Hear(ann, ask) {
		t.Error("asked in an epoch that is not open")
	}
}
