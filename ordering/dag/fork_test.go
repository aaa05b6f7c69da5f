package dag

import (
	"math/rand"
	"testing"

	"tertulia/ordering"
)

// branches returns two runs of bob for one place, each with a second one that
// follows it, and an entry of eva that depends on the end of the second branch.
func branches(t *testing.T) (ana *author, log []ordering.Verified) {
	t.Helper()
	s, ana, bob, eva := trio(t)
	other := s.instance(2, 1) // bob's key and instance on another disk
	other.hear(ana.log...)
	x1, x2 := bob.say(2), bob.say(1)
	e := other.next()
	e.WallMS = 7
	y1 := other.sign(e)
	other.hear(y1)
	y2 := other.say(2)
	eva.hear(y1, y2)
	z := eva.say(1)
	return ana, []ordering.Verified{x1, x2, y1, y2, z}
}

func TestBothBranchesOfAForkAreHeldAndWhatDependsOnThem(t *testing.T) {
	ana, log := branches(t)
	begin := ana.log
	ana.hear(log...)
	ana.sound()
	bob := log[0].Run().Origin()
	if forks := ana.g.Forks(); len(forks) != 1 || forks[0] != bob {
		t.Fatalf("forks: %v", forks)
	}
	want := portrait(ana.g)
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		at := ana.author(9)
		at.hear(begin...)
		for _, i := range r.Perm(len(log)) {
			at.hear(log[i])
			at.sound()
		}
		if got := portrait(at.g); got != want || at.g.Parked() > 0 {
			t.Fatalf("seed %d: another graph, %d parked:\n%s\n%s", seed, at.g.Parked(), got, want)
		}
	}
}

func TestAnEntryOfAnotherBranchIsAskedForByItsHash(t *testing.T) {
	ana, log := branches(t)
	ana.hear(log[0], log[1])
	ana.hear(log[4])
	y2 := last(log[3]).Ref()
	if wants := ana.g.Wants(); len(wants) != 1 || wants[0] != y2 {
		t.Fatalf("wants %v, not %v", wants, y2)
	}
	ana.hear(log[3])
	if wants := ana.g.Wants(); len(wants) != 1 || wants[0] != last(log[2]).Ref() {
		t.Fatalf("wants %v, not the one before", wants)
	}
	ana.hear(log[2])
	if wants := ana.g.Wants(); len(wants) != 0 || !ana.holds(log[4]) {
		t.Fatalf("wants %v", wants)
	}
	if meet := ana.g.Meet(last(log[1]).Ref(), y2); meet.Seq != last(log[0]).Seq-2 {
		t.Errorf("the branches meet at %d", meet.Seq)
	}
	for _, e := range log[3].Run().Entries {
		if r, ok := ana.g.Resolve(e.Origin, ordering.TipOf(e.Seq, e.Hash())); !ok || r != e.Ref() {
			t.Errorf("%s is not found by its tip", e.ID())
		}
	}
	if _, ok := ana.g.Resolve(y2.Origin, ordering.Tip{Seq: y2.Seq}); ok {
		t.Error("a tip that nobody has is found")
	}
}

func TestANextEntryNamesOneBranchAndTheOneAfterItTheOther(t *testing.T) {
	ana, log := branches(t)
	ana.hear(log[:4]...)
	first, second := ana.say(1), ana.say(1)
	if d := last(first).Deps; len(d) != 1 {
		t.Fatalf("names %v", d)
	}
	if d := last(second).Deps; len(d) != 1 || d[0].Origin != last(first).Deps[0].Origin || d[0].Hash == last(first).Deps[0].Hash {
		t.Fatalf("names %v after %v", d, last(first).Deps)
	}
	ana.sound()
}

func TestWhatAMemberDependsOnIsTakenBeyondTheLimitOfForks(t *testing.T) {
	_, ana, bob, eva := trio(t)
	e := bob.next()
	ana.hear(bob.say(1))
	for range MaxForkedOfOrigin {
		e.WallMS++
		ana.hear(bob.sign(e))
	}
	e.WallMS++
	more := bob.sign(e)
	if err := ana.take(bob.origin.Device, more); reason(err) != ordering.Fork {
		t.Fatalf("one more is taken: %v", err)
	}
	if ana.g.Reach()[bob.origin] <= ana.g.Sync()[bob.origin] {
		t.Error("more of what is refused is asked for")
	}
	eva.hear(more)
	ana.hear(eva.say(1), more)
	if !ana.holds(more) || ana.g.Parked() > 0 {
		t.Errorf("a member depends on it, and it is not taken; %d parked", ana.g.Parked())
	}
	ana.sound()
}

func TestARestoredGraphHasItsBranches(t *testing.T) {
	ana, log := branches(t)
	ana.hear(log...)
	again := New(ana.id)
	for _, v := range ana.log {
		for _, e := range v.Run().Entries {
			again.Restore(e, false)
		}
	}
	if portrait(again) != portrait(ana.g) || !again.Forked(log[0].Run().Origin()) {
		t.Error("it differs")
	}
}
