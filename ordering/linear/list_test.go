package linear

import (
	"crypto/sha256"
	"slices"
	"testing"

	"tertulia/ordering"
)

var ana, bob, eva = origin(1), origin(2), origin(3)

// trio returns a room whose creator admitted two others, all final.
func trio(t *testing.T) (*scene, *replica) {
	s, genesis := newScene()
	r := newReplica(Config{}, s)
	r.want(t, "silent silent silent ", batch(0, genesis, s.admit(ana, bob), s.admit(ana, eva)))
	return s, r
}

func TestFinalsTakeIndexesInTheOrderOfTheBatch(t *testing.T) {
	s, r := trio(t)
	a, b := s.say(ana), s.say(bob)
	got := r.want(t, "shown shown ", batch(0, b, a)).Finals
	h1 := sha256.Sum256(append(s.room[:], hashOf(b)...))
	h2 := sha256.Sum256(append(h1[:], hashOf(a)...))
	if got[0].Index != 1 || got[0].OrderHash != h1 || got[0].ID != b.ID() || got[1].Index != 2 || got[1].OrderHash != h2 {
		t.Fatalf("finals are %+v", got)
	}
	if r.Index() != 2 || r.OrderHash() != h2 || r.Applied() != 2 || r.Emitted()[ana] != 4 || r.Emitted()[bob] != 1 {
		t.Fatalf("the list is at %d, %s, %d, %v", r.Index(), r.OrderHash(), r.Applied(), r.Emitted())
	}
}

func hashOf(e *ordering.Entry) []byte { h := e.Hash(); return h[:] }

func TestAGapIsSkippedAndNothingIsPulledIn(t *testing.T) {
	s, r := trio(t)
	b1, b2, b3 := s.say(bob), s.say(bob), s.say(bob)
	r.want(t, "skipped ", batch(0, b2))
	r.want(t, "shown skipped ", batch(0, b1, b3))
	r.want(t, "shown shown ", batch(0, b1, b2, b3)) // b1 is final already
}

func TestAnEntryWaitsForWhatItDependsOn(t *testing.T) {
	s, r := trio(t)
	b := s.say(bob)
	e := s.say(eva, b)
	r.want(t, "shown skipped ", batch(0, e, b))
	r.want(t, "shown ", batch(0, e))
}

func TestTheRestOfARunIsEmittedEntryByEntry(t *testing.T) {
	s, r := trio(t)
	b1, b2, b3 := s.say(bob), s.say(bob), s.say(bob)
	r.want(t, "shown ", batch(0, b1))
	r.want(t, "shown shown ", &ordering.Batch{Runs: []ordering.Run{{Entries: []*ordering.Entry{b1, b2, b3}}}})
}

func TestOfAForkTheFirstEmittedBranchIsFinal(t *testing.T) {
	s, r := trio(t)
	b1 := s.say(bob)
	b2 := s.say(bob)
	x2 := s.after(b1, ordering.Entry{Kind: 40})
	x3 := s.after(x2, ordering.Entry{Kind: ordering.KindJoined})
	e := s.say(eva, x2)
	r.want(t, "shown shown ", batch(0, b1, b2))
	r.want(t, "", batch(0, x2))
	if f := r.want(t, "lost ", batch(0, x3)).Finals[0]; f.ID != x3.ID() || f.Hash != x3.Hash() {
		t.Fatalf("lost: %+v", f)
	}
	r.want(t, "shown ", batch(0, e)) // what it names is void, and satisfied
	b3 := s.say(bob)
	r.want(t, "lost lost shown ", &ordering.Batch{Runs: append([]ordering.Run{{Entries: []*ordering.Entry{x2, x3, s.after(x3, ordering.Entry{Kind: 40})}}}, single(b3)...)})
}

func TestABatchOfAnotherEpochIsIgnoredWhole(t *testing.T) {
	s, r := trio(t)
	b := s.say(bob)
	r.want(t, "skipped ", batch(1, b))
	r.want(t, "opened ", &ordering.Epoch{N: 1, Base: 0, Mode: ordering.Leader, View: []ordering.Origin{ana, bob}})
	r.want(t, "skipped ", batch(0, b))
	f := r.want(t, "shown ", batch(1, b)).Finals[0]
	if f.Epoch != 1 || f.Term != 1 || f.Leader != ana {
		t.Fatalf("the final is %+v", f)
	}
	r.want(t, "opened ", &ordering.Epoch{N: 2, Base: 1, Mode: ordering.Lamport, View: []ordering.Origin{ana, bob}})
	r.want(t, "skipped ", batch(2, s.say(bob)))
}

func TestOnlyTheFirstEpochOfABaseOpens(t *testing.T) {
	_, r := trio(t)
	r.want(t, "opened ", &ordering.Epoch{N: 1, Base: 0, Mode: ordering.Leader, View: []ordering.Origin{bob}})
	r.want(t, "", &ordering.Epoch{N: 1, Base: 0, Mode: ordering.Lamport, View: []ordering.Origin{eva}})
	if e := r.Epoch(); e.N != 1 || e.Mode != ordering.Leader || len(e.View) != 1 || e.View[0] != bob {
		t.Fatalf("the open epoch is %+v", e)
	}
}

func TestARepeatIsConsumed(t *testing.T) {
	s, r := trio(t)
	say := func(o ordering.Origin, c *ordering.Stamp) *ordering.Entry {
		return s.write(o, ordering.Entry{Kind: ordering.KindMessage, Client: c})
	}
	first, again, after := say(bob, stamp(7, 1)), say(eva, stamp(7, 1)), s.say(eva)
	other := stamp(7, 1)
	other.Hash[9]++
	a := r.want(t, "shown repeat shown shown shown ", batch(0, first, again, after, say(bob, other), say(bob, stamp(8, 1))))
	if f := a.Finals[1]; f.Index != 0 || f.Of != first.ID() || f.OrderHash != (ordering.Hash{}) || a.Finals[2].Index != 2 {
		t.Fatalf("the repeat is %+v, the next %+v", f, a.Finals[2])
	}
	if err := r.restart(); err != nil {
		t.Fatal(err)
	}
	r.want(t, "repeat ", batch(0, say(ana, stamp(8, 1))))
}

func TestARepeatIsRecognisedWithinTheWindowOnly(t *testing.T) {
	s, r := trio(t)
	say := func(o ordering.Origin, c *ordering.Stamp) *ordering.Entry {
		return s.write(o, ordering.Entry{Kind: ordering.KindMessage, Client: c})
	}
	r.want(t, "shown shown ", batch(0, say(bob, stamp(7, 1)), say(bob, stamp(7, 2)))) // indexes 1 and 2
	for r.Index() < Window {
		r.apply(1, batch(0, s.say(ana)))
	}
	r.want(t, "repeat shown ", batch(0, say(bob, stamp(7, 1)), s.say(ana))) // index 1 is in the window, and then leaves it
	for range 2 {
		if err := r.restart(); err != nil {
			t.Fatal(err)
		}
		if n := len(r.window.shown); n != Window || len(r.window.at) != 1 {
			t.Fatalf("the window has %d places and %d stamps", n, len(r.window.at))
		}
	}
	a := r.want(t, "repeat shown ", batch(0, say(eva, stamp(7, 2)), say(eva, stamp(7, 1))))
	if a.Finals[0].Of != (ordering.EntryID{Origin: bob, Seq: 2}) {
		t.Fatalf("it repeats %v", a.Finals[0].Of)
	}
	if _, ok := r.HashAt(Window + 2 - HashWindow); ok {
		t.Fatal("more order hashes are kept than the limit says")
	}
	for _, i := range []uint64{0, ordering.CheckpointEvery, Window, Window + 2, Window + 3 - HashWindow} {
		if _, ok := r.HashAt(i); !ok {
			t.Fatalf("the order hash at %d is not kept", i)
		}
	}
}

func TestWhatARemovedAuthorWroteBesideItIsVoid(t *testing.T) {
	s, r := trio(t)
	before := s.say(bob)
	removal := s.remove(ana, bob, before)
	beside := s.say(bob)
	zoe := origin(9)
	admission := s.admit(bob, zoe)
	words := s.say(zoe, admission)
	r.want(t, "shown silent void void void shown ", batch(0, before, removal, beside, admission, words, s.say(eva, words)))
	if err := r.restart(); err != nil {
		t.Fatal(err)
	}
	r.want(t, "void void ", batch(0, s.say(zoe), s.say(bob)))
	r.want(t, "silent shown ", batch(0, s.admit(eva, zoe), s.say(zoe)))
	r.want(t, "silent void ", batch(0, s.admit(eva, bob), s.say(bob))) // a removal is for good
}

func TestOnlyTheCreatorRemovesAndToLeaveVoidsNothing(t *testing.T) {
	s, r := trio(t)
	r.want(t, "silent shown ", batch(0, s.remove(bob, eva), s.say(eva)))
	r.want(t, "silent shown ", batch(0, s.write(bob, ordering.Entry{Kind: ordering.KindLeave}), s.say(bob)))
}

func TestAnAdmissionBesideTheRemovalDoesNotUndoIt(t *testing.T) {
	s, r := trio(t)
	zoe := origin(9)
	r.want(t, "silent silent void ", batch(0, s.remove(ana, zoe), s.admit(bob, zoe), s.say(zoe)))
}

func TestLateIsBelowWhatAnotherHadFinalInAnEarlierEpoch(t *testing.T) {
	s, r := trio(t)
	at := func(o ordering.Origin, ts uint64) *ordering.Entry {
		return s.write(o, ordering.Entry{Kind: ordering.KindJoined, TS: ts})
	}
	open := func(n uint64, away ...ordering.Origin) {
		view := slices.DeleteFunc([]ordering.Origin{ana, bob, eva}, func(o ordering.Origin) bool { return slices.Contains(away, o) })
		r.want(t, "opened ", &ordering.Epoch{N: n, Base: n - 1, Mode: ordering.Leader, View: view})
	}
	late := func(epoch uint64, e *ordering.Entry) bool { return r.want(t, "shown ", batch(epoch, e)).Finals[0].Late }
	open(1)
	late(1, at(bob, 50))
	late(1, at(eva, 40))
	if late(1, at(eva, 41)) {
		t.Fatal("late within its epoch")
	}
	open(2)
	if late(2, at(bob, 51)) || !late(2, at(eva, 42)) || !late(2, at(ana, 30)) || late(2, at(ana, 60)) {
		t.Fatal("late is judged by the epoch before")
	}
	open(3)
	if err := r.restart(); err != nil {
		t.Fatal(err)
	}
	if late(3, at(ana, 55)) || !late(3, at(ana, 45)) || !late(3, at(bob, 52)) {
		t.Fatal("only keys of other authors count, the own do not")
	}
	open(4, eva)
	late(4, at(bob, 90))
	if !late(4, at(eva, 80)) || late(4, at(ana, 80)) {
		t.Fatal("who is outside the view is late in its epoch too, and nobody else")
	}
}

// filled returns a room with n lines in the list.
func filled(t *testing.T, n uint64) (*scene, *replica) {
	s, r := trio(t)
	for r.Index() < n {
		r.apply(1, batch(0, s.say(bob)))
	}
	return s, r
}

func TestAnotherOrderHashFreezesTheList(t *testing.T) {
	s, r := filled(t, 600)
	own, _ := r.HashAt(512)
	r.want(t, "", &ordering.Checkpoint{Index: 512, Hash: own})
	if _, yes := r.Diverged(); yes {
		t.Fatal("diverged from itself")
	}
	r.want(t, "", &ordering.Checkpoint{Index: 256})
	for range 2 {
		if at, yes := r.Diverged(); !yes || at != 256 {
			t.Fatalf("diverged: %t at %d", yes, at)
		}
		applied := r.Applied()
		r.want(t, "", batch(0, s.say(bob)))
		if r.Applied() != applied || r.Index() != 600 {
			t.Fatal("a frozen list went on")
		}
		if err := r.restart(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACheckpointAheadIsComparedWhenTheListIsThere(t *testing.T) {
	_, twin := filled(t, 256)
	for _, right := range []bool{true, false} {
		s, r := filled(t, 200)
		c := &ordering.Checkpoint{Index: 256, Hash: twin.OrderHash()}
		if !right {
			c.Hash[3]++
		}
		r.want(t, "", &ordering.Checkpoint{Index: 512})
		r.want(t, "", c) // takes its place: the lower one is first
		if err := r.restart(); err != nil {
			t.Fatal(err)
		}
		var run ordering.Run
		for range 60 {
			run.Entries = append(run.Entries, s.say(bob))
		}
		r.apply(1, &ordering.Batch{Runs: []ordering.Run{run}})
		at, yes := r.Diverged()
		if yes == right || yes && (at != 256 || r.Index() != 256) || !yes && r.Index() != 260 {
			t.Fatalf("right %t: diverged %t at %d, index %d", right, yes, at, r.Index())
		}
	}
}

func TestAPeersWordIsComparedOnlyWhereTheHashIsKept(t *testing.T) {
	_, r := filled(t, 20)
	r.Compare(21, ordering.Hash{1})
	r.Compare(20, r.OrderHash())
	r.Compare(0, ordering.Hash(r.cfg.Room))
	if _, yes := r.Diverged(); yes {
		t.Fatal("diverged without another hash")
	}
	r.Compare(7, ordering.Hash{1})
	r.Compare(9, ordering.Hash{1})
	if at, yes := r.Diverged(); !yes || at != 7 {
		t.Fatalf("diverged: %t at %d", yes, at)
	}
}

func TestRecordsWithoutACommandAdvanceApplied(t *testing.T) {
	_, r := trio(t)
	if a := r.Apply(9, 1, nil); fates(a) != "" || r.Applied() != 9 {
		t.Fatalf("%q, applied %d", fates(a), r.Applied())
	}
	if a := r.Apply(9, 1, &ordering.Epoch{N: 1, Mode: ordering.Leader}); a.Opened {
		t.Fatal("a record was applied twice")
	}
}
