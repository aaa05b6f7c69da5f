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
	ch.Without(bob)
	if cut, enough := ch.Union(at(1000)); !enough || !slices.Equal(cut, tips(1, 2, 0)) {
		t.Errorf("without bob there are not enough, yet: %v %v", cut, enough)
	}
	ch.SealedBy(cat, tips(1, 0, 3), at(1000))
	ch.Without(bob)
	ch.Without(ann) // the leader itself is never gone
	if cut, enough := ch.Union(at(2000)); !enough || !slices.Equal(cut, tips(1, 0, 3)) {
		t.Errorf("%v %v", cut, enough)
	}
}
