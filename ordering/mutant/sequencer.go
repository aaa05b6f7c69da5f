package mutant

// Mistakes in what a leader proposes. Each names the rule and the invariants of
// PROTOCOL.md section 4 that it must break.
const (
	// ForwardAndForget (P2): a batch counts as proposed although it was dropped,
	// as in the original, which told the caller that it was sent. U8.
	ForwardAndForget Mutant = "sequencer-forward-and-forget"
	// KeepProposed (P2): a new term begins with what was proposed and in flight
	// in an old one, which may have been lost with it. U8.
	KeepProposed Mutant = "sequencer-keep-proposed"
	// LostTail (P3): nobody offers an unsequenced entry to the leader again. U8.
	LostTail Mutant = "sequencer-lost-tail"
)
