package election

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tertulia/ordering"
)

var kinds = map[ordering.BullyKind]string{
	ordering.Election: "ELECTION", ordering.OK: "OK", ordering.Alive: "ALIVE",
	ordering.Coordinator: "COORDINATOR", ordering.Probe: "PROBE",
}

// script drives one Bully, that of voter 2 of 0 to 4 unless said otherwise, and
// compares what it does.
type script struct {
	*testing.T
	*Bully
	Scene
}

func newScript(t *testing.T, self int) *script {
	s := &script{T: t, Bully: New(Config{Self: origin(self), Seed: 1})}
	s.Scene = Scene{Now: time.Unix(1000, 0), Term: 4, LastTerm: 4, LastIndex: 20, LeaderHeard: time.Unix(1000, 0)}
	for i := range names {
		s.Voters = append(s.Voters, Voter{
			Origin: origin(i), Rank: Rank{Name: names[i]}, Heard: true, Eligible: true,
			LastTerm: 4, LastIndex: 20, RTT: 10 * time.Millisecond,
		})
	}
	return s
}

// did compares the actions of the last call, such as "forget campaign 3<PROBE".
func (s *script) did(when, want string) {
	s.Helper()
	var did []string
	for _, a := range s.Actions() {
		switch a := a.(type) {
		case Say:
			did = append(did, fmt.Sprintf("%d<%s", index(a.To), kinds[a.Msg.Kind]))
		case Forget:
			did = append(did, "forget")
		case Campaign:
			did = append(did, "campaign")
		case Transfer:
			did = append(did, fmt.Sprintf("transfer:%d", index(a.To)))
		}
	}
	if got := strings.Join(did, " "); got != want {
		s.Errorf("%s: %q, want %q", when, got, want)
	}
}

func (s *script) after(d time.Duration, want string) {
	s.Helper()
	s.Now = s.Now.Add(d)
	s.Update(s.Scene)
	s.did(fmt.Sprintf("after %v", d), want)
}

func (s *script) hear(from int, k ordering.BullyKind, term uint64, want string) {
	s.Helper()
	s.Hear(s.Scene, origin(from), &ordering.Bully{Kind: k, Term: term, LastTerm: 4, LastIndex: 20})
	s.did(fmt.Sprintf("%s of %d", kinds[k], from), want)
}

const round2 = "0<PROBE 1<PROBE 3<ELECTION 4<ELECTION" // what voter 2 asks

func TestVoterThatHearsALeaderIsQuiet(t *testing.T) {
	s := newScript(t, 2)
	s.Leader = origin(0) // of the lowest rank
	s.after(time.Hour, "")
	if !s.Bully.Deadline().IsZero() || s.Suspects() {
		t.Error("it waits for something")
	}
	s.hear(1, ordering.Election, 4, "1<ALIVE")
	s.hear(3, ordering.Probe, 4, "3<ALIVE")
}

func TestRelayedLeaderLivesOneTimeoutForEachMessage(t *testing.T) {
	s := newScript(t, 2)
	s.Leader = origin(4)
	s.Voters[4].Heard = false
	s.after(SuspectAfter, "")
	if got := s.Bully.Deadline(); got != s.LeaderHeard.Add(SuspectAfter+1) {
		t.Errorf("looks again at %v", got)
	}
	s.LeaderHeard = s.Now
	s.after(SuspectAfter, "")
	s.after(1, "forget "+round2)
	s.after(1, "forget") // still there: again
	s.LeaderHeard = s.Now
	s.after(1, "")
}

func TestHighestIsAskedThenTheNextThenSelf(t *testing.T) {
	s := newScript(t, 2)
	s.after(0, round2)
	s.hear(3, ordering.OK, 4, "") // not the one that is waited for
	s.after(70*time.Millisecond-1, "")
	s.after(1, round2) // 4 was silent for T_ok: 3 is the target
	s.hear(3, ordering.OK, 4, "")
	s.after(140*time.Millisecond-1, "")
	s.after(1, round2+" campaign") // 3 broke its word for T_co
}

func TestHighestCampaignsAtOnceAndAgainWhenItIsLost(t *testing.T) {
	s := newScript(t, 4)
	const round = "0<PROBE 1<PROBE 2<PROBE 3<PROBE campaign"
	s.after(0, round)
	s.Role = PreCandidate
	s.hear(1, ordering.Election, 4, "1<OK campaign") // it would not have granted before
	s.hear(1, ordering.Election, 4, "1<OK")          // once
	s.after(140*time.Millisecond, "")                // B6
	s.after(pauseOfRank, round)
	s.Role = Follower // not yet seen to campaign
	s.after(1, "")
	s.Role = PreCandidate
	s.after(1, "")
	s.Role = Follower // refused
	s.after(1, "")
	s.after(pauseOfRank, round)
}

// The highest gave its vote to whom the lead is handed over; if nothing comes of that
// in T_camp, it stands itself.
func TestWhoGaveItsVoteDoesNotStandAgainstIt(t *testing.T) {
	s := newScript(t, 4)
	s.Leader = origin(1)
	s.after(0, "")
	s.Term, s.Leader, s.Voted = 5, ordering.Origin{}, true
	s.after(0, "")
	s.hear(2, ordering.Election, 5, "2<OK")
	s.after(campaignWait+39*time.Millisecond, "") // 4*RTT are 40 ms
	if want := s.Now.Add(time.Millisecond); !s.Bully.Deadline().Equal(want) {
		t.Errorf("it looks again at %v, want %v", s.Bully.Deadline(), want)
	}
	s.after(time.Millisecond, "0<PROBE 1<PROBE 2<PROBE 3<PROBE campaign")
}

func TestWhoVotedForALeaderThatIsLostStandsAtOnce(t *testing.T) {
	s := newScript(t, 4)
	s.Leader, s.Voted = origin(1), true
	s.after(0, "")
	s.Leader = ordering.Origin{}
	s.after(time.Minute, "0<PROBE 1<PROBE 2<PROBE 3<PROBE campaign")
}

func TestStaleLogIsNotChosen(t *testing.T) {
	s := newScript(t, 2)
	s.Voters[3].Eligible = false
	s.Voters[4].LastIndex = 15 // an old report does not count against it
	s.after(0, round2)
	s.Hear(s.Scene, origin(4), &ordering.Bully{Kind: ordering.Election, Term: 4, LastTerm: 4, LastIndex: 19})
	s.did("the target's log is told", round2+" campaign")
}

func TestNobodyIsChosenWithoutAMajority(t *testing.T) {
	s := newScript(t, 4)
	for i := range s.Voters {
		s.Voters[i].Eligible = false
		s.Voters[i].Heard = i == 4 || i == 3
	}
	const round = "0<PROBE 1<PROBE 2<PROBE 3<PROBE"
	s.after(0, round)
	s.after(askAgain-1, "")
	s.after(1, round)
}

func TestWhoAsksForALeaderIsNone(t *testing.T) {
	s := newScript(t, 2)
	s.Leader = origin(4)
	s.hear(4, ordering.Probe, 3, "4<ALIVE") // said before it led
	s.hear(4, ordering.Probe, 4, "forget")
}

func TestHintOfAnOlderTermIsIgnored(t *testing.T) {
	for _, c := range []struct {
		term uint64
		want string
	}{{3, round2}, {4, ""}, {5, ""}} {
		s := newScript(t, 2)
		s.after(0, round2)
		s.hear(0, ordering.Coordinator, c.term, "")
		s.after(70*time.Millisecond, c.want)
	}
}

func TestOnlyVotersAct(t *testing.T) {
	s := newScript(t, 2)
	s.Voters = slices.Delete(s.Voters, 2, 3)
	s.after(time.Hour, "")
	s.hear(4, ordering.Probe, 4, "")
	s = newScript(t, 2)
	s.Leader = origin(4)
	s.Hear(s.Scene, ordering.Origin{Device: ordering.DeviceKey{99}}, &ordering.Bully{Kind: ordering.Probe, Term: 9})
	s.did("a stranger's probe", "")
}

func TestSoleVoterCampaignsAtOnce(t *testing.T) {
	s := newScript(t, 2)
	s.Voters = s.Voters[2:3]
	s.Voters[0].Eligible = false
	s.Woke(s.Now)
	s.after(0, "campaign")
}

func TestLeaderSaysSoOnceATerm(t *testing.T) {
	s := newScript(t, 4)
	s.Role, s.Leader = Leader, origin(4)
	s.after(0, "") // its first entry is not committed
	s.Leading = true
	s.after(1, "0<COORDINATOR 1<COORDINATOR 2<COORDINATOR 3<COORDINATOR")
	s.after(1, "")
	s.hear(2, ordering.Election, 4, "2<ALIVE")
}

// leader returns a script in which voter 2 leads and all is said.
func leader(t *testing.T) *script {
	s := newScript(t, 2)
	s.Role, s.Leader, s.Leading = Leader, origin(2), true
	s.after(0, "0<COORDINATOR 1<COORDINATOR 3<COORDINATOR 4<COORDINATOR")
	return s
}

func TestTakeoverWaitsForHoldEligibilityAndCatchUp(t *testing.T) {
	s := leader(t)
	s.Voters[4].CaughtUp = true
	s.after(0, "")
	s.after(5*time.Second, "")
	s.Voters[4].Eligible = false
	s.after(0, "")
	s.Voters[4].Eligible = true
	s.after(0, "")
	s.after(DefaultHold-1, "")
	s.Voters[4].CaughtUp = false // behind for a moment, under load
	s.after(1, "")
	s.Voters[4].CaughtUp, s.Busy = true, true
	s.after(lagGrace-1, "")
	s.Busy = false
	s.after(0, "transfer:4")
	s.after(2*DefaultHold-1, "") // it did not take it: once more, and later
	s.after(1, "transfer:4")
}

func TestLaggingVoterStartsItsHoldAnew(t *testing.T) {
	s := leader(t)
	s.Voters[4].CaughtUp = true
	s.after(0, "")
	s.Voters[4].CaughtUp = false
	s.after(lagGrace+1, "")
	s.Voters[4].CaughtUp = true
	s.after(0, "")
	s.after(DefaultHold-1, "")
	s.after(1, "transfer:4")
}

func TestLowerVotersTakeNothingOver(t *testing.T) {
	s := leader(t)
	s.Voters[0].CaughtUp, s.Voters[1].CaughtUp = true, true
	s.after(0, "")
	s.after(time.Hour, "")
}

func TestHoldDoublesWithEachFlapUpTo10Minutes(t *testing.T) {
	s := newScript(t, 2)
	s.Leader = origin(3)
	s.after(0, "")
	want := DefaultHold
	for range 9 {
		if got := s.HoldOf(origin(4), s.Now); got != want {
			t.Errorf("hold %v, want %v", got, want)
		}
		s.Voters[4].Heard = false
		s.after(time.Second, "")
		s.Voters[4].Heard = true
		s.after(time.Second, "")
		want = min(2*want, MaxHold)
	}
	if got := s.HoldOf(origin(4), s.Now.Add(MaxHold)); got != DefaultHold {
		t.Errorf("hold after 10 steady minutes %v", got)
	}
	for i := range s.Voters { // being cut off is no flap of the others
		s.Voters[i].Heard = false
	}
	s.LeaderHeard = s.Now.Add(time.Second)
	s.after(time.Second, "")
	if got := s.HoldOf(origin(3), s.Now); got != DefaultHold {
		t.Errorf("hold of a voter that is out of reach with all others: %v", got)
	}
}

func TestFlapsCountFromWhenTheyWereUnderAnyLeader(t *testing.T) {
	s := leader(t)
	s.Voters[4].CaughtUp = true
	for range 9 {
		s.Voters[4].Heard = false
		s.after(time.Second, "")
		s.Voters[4].Heard = true
		s.after(time.Second, "")
	}
	s.Role, s.Leading, s.Leader = Follower, false, origin(3) // another leads for a while
	s.LeaderHeard = s.Now.Add(MaxHold)
	s.after(MaxHold/2, "")
	s.Role, s.Leading, s.Leader = Leader, true, origin(2)
	s.after(0, "")
	if got, want := s.Bully.Deadline().Sub(s.Now), MaxHold/2-time.Second; got != want { // 10 minutes after its last loss
		t.Errorf("looks again in %v, want %v", got, want)
	}
}

func TestHoldStartsAnewAfterALeaderCouldNotWrite(t *testing.T) {
	s := leader(t)
	s.Voters[4].CaughtUp = true
	s.after(0, "")
	s.after(DefaultHold-2, "")
	s.Draining = true
	s.after(0, "transfer:4")
	s.Voters[4].Heard = false
	s.after(1, "")
	s.Voters[4].Heard, s.Draining = true, false
	s.after(1, "")
	for _, left := range []time.Duration{time.Second, 0} {
		want := ""
		if left == 0 {
			want = "transfer:4"
		}
		s.after(s.Bully.Deadline().Add(-left).Sub(s.Now), want)
	}
}

func TestLeaderThatDrainsTriesTheBestThenTheNext(t *testing.T) {
	s := leader(t)
	s.Draining, s.Voters[2].Eligible = true, false
	s.Voters[1].CaughtUp, s.Voters[0].CaughtUp = true, true
	s.Voters[3].Heard = false
	s.after(0, "transfer:1")
	s.after(handAgain-1, "")
	s.after(1, "transfer:0")
	s.after(handAgain, "transfer:4") // not caught up; the control log sees to that
	s.after(handAgain, "transfer:1")
}

func TestJudgementRestsAfterASleep(t *testing.T) {
	s := newScript(t, 2)
	s.Leader = origin(4)
	s.after(0, "")
	s.Woke(s.Now)
	s.Voters[4].Heard = false
	s.hear(3, ordering.Probe, 4, "")
	s.after(WakePause-1, "")
	if got := s.Bully.Deadline(); got != s.Now.Add(1) {
		t.Errorf("looks again at %v", got)
	}
	s.after(1, "forget "+round2)
}

func TestMemoryIsBoundedByTheVoters(t *testing.T) {
	s := newScript(t, 2)
	s.after(0, round2)
	for i := range 1000 {
		s.Voters[4].Origin.Instance = ordering.Instance{byte(i), byte(i >> 8)}
		s.Hear(s.Scene, s.Voters[4].Origin, &ordering.Bully{Kind: ordering.Election, Term: 4})
		s.Actions()
	}
	s.Actions()
	for range 1000 { // taken by nobody
		s.Hear(s.Scene, origin(3), &ordering.Bully{Kind: ordering.Probe, Term: 4})
		s.Hear(s.Scene, origin(0), &ordering.Bully{Kind: ordering.Election, Term: 4})
		s.Now = s.Now.Add(50 * time.Millisecond)
	}
	if len(s.records) > len(names) || len(s.actions) > 5*len(names) {
		t.Errorf("%d records, %d actions", len(s.records), len(s.actions))
	}
}
