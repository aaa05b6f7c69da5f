package lamport

import (
	"slices"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// change is a view change that ann leads.
func change(view, voters []ordering.Origin, m mutant.Mutant) *Change {
	return NewChange(Change{Epoch: 1, Term: 2, View: view, Mode: ordering.Lamport, Want: all}, ann, voters, m)
}

// tips are the ends of the view's chains, by length alone.
func tips(seqs ...uint64) (list []ordering.Tip) {
	for _, seq := range seqs {
		list = append(list, ordering.Tip{Seq: seq})
	}
	return list
}

func TestACutNeedsAMajorityOfTheVotersAndAMemberOfTheView(t *testing.T) {
	dan := member(4)
	for _, c := range []struct {
		what   string
		view   []ordering.Origin
		sealed []ordering.Origin
		mutant mutant.Mutant
		enough bool
	}{
		{"nobody", all, nil, mutant.None, false},
		{"one of three", all, all[:1], mutant.None, false},
		{"two of three", all, all[:2], mutant.None, true},
		{"two voters, none in the view", []ordering.Origin{cat}, all[:2], mutant.None, false},
		{"two voters, none in the view", []ordering.Origin{cat}, all[:2], mutant.NoViewMember, true},
		{"two voters, one in the view", []ordering.Origin{bob}, all[:2], mutant.None, true},
		{"a voter and one who is none", []ordering.Origin{ann, dan}, []ordering.Origin{ann, dan}, mutant.None, false},
		{"a voter and one who is none", []ordering.Origin{ann, dan}, []ordering.Origin{ann, dan}, mutant.NoQuorum, true},
		{"two voters and nobody asked eve", all, []ordering.Origin{ann, eve}, mutant.None, false},
	} {
		ch := change(c.view, all, c.mutant)
		have := make([]ordering.Tip, len(c.view))
		for _, o := range c.sealed {
			ch.SealedBy(o, have, at(0))
		}
		if _, enough := ch.Union(at(1000)); enough != c.enough {
			t.Errorf("%s: enough is %v", c.what, enough)
		}
	}
}

func TestStragglersAreWaitedForAWhileAndNoLonger(t *testing.T) {
	ch := change(all, all, mutant.None)
	if !ch.Due().IsZero() {
		t.Error("it waits for time though nobody sealed")
	}
	ch.SealedBy(ann, tips(1, 0, 0), at(0))
	ch.SealedBy(bob, tips(1, 2, 0), at(50))
	straggle := int(Straggle.Milliseconds())
	if _, enough := ch.Union(at(50 + straggle - 1)); enough {
		t.Error("the third had no time")
	}
	if due := ch.Due(); !due.Equal(at(50).Add(Straggle)) {
		t.Errorf("due at %s", due)
	}
	if cut, enough := ch.Union(at(50 + straggle)); !enough || !slices.Equal(cut, tips(1, 2, 0)) {
		t.Errorf("%v %v", cut, enough)
	}
	ch.SealedBy(cat, tips(0, 0, 3), at(60))
	if cut, enough := ch.Union(at(60)); !enough || !slices.Equal(cut, tips(1, 2, 3)) {
		t.Errorf("with the third: %v %v", cut, enough)
	}
}

func TestTheCutIsTheUnionAndNotWhatTheLeaderHolds(t *testing.T) {
	for m, want := range map[mutant.Mutant][]ordering.Tip{mutant.None: tips(4, 2, 3), mutant.LonelyCut: tips(4, 0, 0)} {
		ch := change(all, all, m)
		ch.SealedBy(ann, tips(4, 0, 0), at(0))
		ch.SealedBy(bob, tips(1, 2, 1), at(0))
		ch.SealedBy(cat, tips(0, 1, 3), at(0))
		if cut, enough := ch.Union(at(0)); !enough || !slices.Equal(cut, want) {
			t.Errorf("%q: %v %v", m, cut, enough)
		}
	}
}

func TestACutIsCopiedOnceAMajorityOfTheVotersHoldsAllOfIt(t *testing.T) {
	ch := change(all, all, mutant.None)
	cut := tips(1, 2, 0)
	ch.Holds(ann, tips(1, 2, 0), at(0))
	ch.Holds(bob, tips(9, 1, 9), at(0))
	ch.Holds(eve, tips(9, 9, 9), at(0)) // no voter
	ch.Holds(cat, tips(9, 9), at(0))    // of another view
	if ch.Copied(cut) || !ch.HeldBy(ann, cut) || ch.HeldBy(bob, cut) {
		t.Error("one of three is a majority")
	}
	if lack := ch.Lacking(cut); !slices.Equal(lack, []ordering.Origin{bob, cat}) {
		t.Errorf("lacking: %v", lack)
	}
	ch.Holds(bob, tips(1, 2, 0), at(0))
	if !ch.Copied(cut) || !slices.Equal(ch.Lacking(cut), []ordering.Origin{cat}) {
		t.Error("two of three are none")
	}
	if ch.Copied(tips(1, 2)) {
		t.Error("a cut of another view counts")
	}
}

func TestOnlyThoseWhoAreAskedAndAnswerOfThisViewCount(t *testing.T) {
	ch := change(all[:2], all, mutant.None)
	if asked := ch.Asked(); !slices.Equal(asked, all) {
		t.Errorf("asked: %v", asked)
	}
	ch.SealedBy(eve, tips(7, 7), at(0))
	ch.SealedBy(bob, tips(7, 7, 7), at(0))
	if u := ch.Unsealed(); !slices.Equal(u, []ordering.Origin{bob, cat}) {
		t.Errorf("unsealed: %v", u)
	}
	ch.SealedBy(ann, tips(0, 0), at(0))
	ch.SealedBy(bob, tips(0, 1), at(0))
	ch.SealedBy(cat, tips(0, 0), at(0))
	if cut, enough := ch.Union(at(0)); !enough || !slices.Equal(cut, tips(0, 1)) || len(ch.Unsealed()) > 0 {
		t.Errorf("%v %v", cut, enough)
	}
}

func TestWhoDidNotAnswerIsAskedAgainEverySealRepeat(t *testing.T) {
	ch := change(all, all, mutant.None)
	asks := 0
	for ms := range 1000 {
		if ch.Ask(at(ms)) {
			asks++
			if !ch.AskAt().Equal(at(ms).Add(SealRepeat)) {
				t.Errorf("next at %s", ch.AskAt())
			}
		}
	}
	if asks != 10 {
		t.Errorf("asked %d times in a second", asks)
	}
}
