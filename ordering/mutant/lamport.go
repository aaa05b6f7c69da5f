package mutant

// Mistakes in the rules of a Lamport epoch.
const (
	// OwnClock takes an entry for final once the own clock is past it, as the
	// first of the original systems did (L6): U1.
	OwnClock Mutant = "own-clock"
	// Uncovered counts a member's clock without asking whether it holds the entry
	// (L6, second condition): L-6, U1 after a view change.
	Uncovered Mutant = "uncovered"
	// BlindClock counts a member's clock before its own entries up to it are here
	// (L6): U1, L-3.
	BlindClock Mutant = "blind-clock"
	// NoFreeze lets a sealed member go on acknowledging in the sealed epoch (L3):
	// L-5, L-4.
	NoFreeze Mutant = "no-freeze"
	// OwnAckMoves freezes what a sealed member tells others, but not what it
	// counts for itself (L6): L-4.
	OwnAckMoves Mutant = "own-ack-moves"
	// ForgetSeal does not make a seal durable (L9): L-5, L-4.
	ForgetSeal Mutant = "forget-seal"
	// AnyAck counts an acknowledgement of another epoch (L3): L-4, U1.
	AnyAck Mutant = "any-ack"
	// AckOfDevice takes what any instance of a device acknowledges for a promise of
	// the one in the view (L4): L-6.
	AckOfDevice Mutant = "ack-of-device"
	// AckEarly acknowledges what is accepted and not durable yet (L3, L4): L-1,
	// L-6.
	AckEarly Mutant = "ack-early"
	// NoSeal changes the view without a seal (L9): L-4, U1.
	NoSeal Mutant = "no-seal"
	// LonelyCut cuts at what the leader itself holds (L9): L-4, U1.
	LonelyCut Mutant = "lonely-cut"
	// NoViewMember changes a view though none of its members answered (L9): L-4.
	NoViewMember Mutant = "no-view-member"
	// NoQuorum changes a view though no majority of the voters sealed (L9): L-4.
	NoQuorum Mutant = "no-quorum"
	// ForgetAcked does not remember what another said to have, so that one that was
	// set back to an older disk does not learn it (PROTOCOL.md 1, Crash): L-5.
	ForgetAcked Mutant = "forget-acked"
	// ForkWins takes, of two entries that an author signed for one place, the one
	// that came first, whatever the other's words depend on (PROTOCOL.md 1, Crash): U1.
	ForkWins Mutant = "fork-wins"
	// NoAdoption lets nobody adopt what members outside the view wrote (L8): U8.
	NoAdoption Mutant = "no-adoption"
	// SilentObserver never asks for acknowledgements that it did not hear (L12):
	// U8.
	SilentObserver Mutant = "silent-observer"
)
