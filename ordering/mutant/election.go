package mutant

// Mistakes in package election. Raft's terms make most of them harmless to what
// is final, so that what finds them out is about liveness.
const (
	// NamesAsStrings ranks "node2" above "node10" (Rank, section 2). P-7: with
	// such names the leader at rest is not the highest.
	NamesAsStrings Mutant = "election: names are compared as strings"

	// CoordinatorBelieved takes the sender of any COORDINATOR for the leader,
	// whatever its term (B7): who leads hands over to it, who follows asks for no
	// election while it hears the sender. P-7: with messages delayed or doubled
	// the leader at rest is not the highest; U8: where the sender does not lead,
	// nobody does.
	CoordinatorBelieved Mutant = "election: COORDINATOR is believed without a term"

	// ElectsDespiteLeader lets whoever ranks above a leader that it hears start
	// an election, and all others bow to it by forgetting that leader (B4, B8).
	// P-8: a campaign succeeds while a majority hears a live leader. P-6.
	ElectsDespiteLeader Mutant = "election: a living leader is challenged"

	// TakesOverAtOnce hands over to a higher voter without T_hold (B8). P-6: every
	// flap of the highest voter changes the leader.
	TakesOverAtOnce Mutant = "election: no hold-off before a takeover"

	// TakesOverBehind hands over to a voter that lacks entries (B8). P-6: at a
	// Transfer in a takeover the receiver's log ends before the leader's.
	TakesOverBehind Mutant = "election: takeover by a voter that is not caught up"

	// AsksOnce sends ELECTION once and never looks again (B4). U8 and P-7: one
	// lost message or campaign, and there is no leader for good.
	AsksOnce Mutant = "election: edge-triggered"

	// StandsForever waits for the outcome of a campaign without T_camp (B6). U8
	// and P-7: voters that follow an old leader a little longer ignore a campaign
	// without a reply, and no other follows.
	StandsForever Mutant = "election: a candidate waits for good"

	// WakesBlind judges right after a sleep (B10). P-6: when all sleep and wake
	// together, the leader a little later than the others (scenario 19), it is
	// replaced though it is alive.
	WakesBlind Mutant = "election: no pause after waking"
)
