package lamport

import (
	"slices"
	"testing"

	"tertulia/ordering/mutant"
)

func TestAnAnswerOfWhoIsGoneIsDroppedIfTheOthersAreEnough(t *testing.T) {
	ch := change(all, all, mutant.None)
	ch.SealedBy(ann, tips(1, 0, 0), at(0))
	ch.SealedBy(bob, tips(1, 2, 0), at(0)) // b2 is with bob alone
	ch.Without(bob, at(900))
	if cut, enough := ch.Union(at(1000)); !enough || !slices.Equal(cut, tips(1, 2, 0)) {
		t.Errorf("without bob there are not enough, yet: %v %v", cut, enough)
	}
	ch.SealedBy(cat, tips(1, 0, 3), at(500))
	ch.Without(bob, at(999))
	if cut, _ := ch.Union(at(999)); !slices.Equal(cut, tips(1, 2, 3)) {
		t.Errorf("bob spoke less than SilentWait ago: %v", cut)
	}
	ch.Without(bob, at(1000))
	ch.Without(ann, at(5000)) // the leader itself is never gone
	if cut, enough := ch.Union(at(2000)); !enough || !slices.Equal(cut, tips(1, 0, 3)) {
		t.Errorf("%v %v", cut, enough)
	}
}

func TestAnswersThatComeOneByOneAddUp(t *testing.T) {
	ch := change(all, all, mutant.None)
	ch.SealedBy(bob, tips(1, 2, 0), at(0))
	ch.Without(bob, at(5000)) // not heard, and there are not enough: it counts all the same
	ch.SealedBy(cat, tips(1, 0, 3), at(5000))
	if cut, enough := ch.Union(at(6000)); !enough || !slices.Equal(cut, tips(1, 2, 3)) {
		t.Errorf("%v %v", cut, enough)
	}
}
