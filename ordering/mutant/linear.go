package mutant

// Mistakes in the final list. Each names the rule and the invariants of
// PROTOCOL.md section 4 that it must break.
const (
	// DeliverGaps (P2): an entry is emitted though the one before it was not. U4.
	DeliverGaps Mutant = "linear-deliver-gaps"
	// IgnoreDeps (P2): an entry is emitted before what it depends on. U5.
	IgnoreDeps Mutant = "linear-ignore-deps"
	// AnyBranch (P2, forks): an entry is emitted though it continues another
	// branch of its author's chain than the emitted one. U3, U12.
	AnyBranch Mutant = "linear-any-branch"
	// AnyEpoch (P2): a batch of another epoch is applied; its finals stand
	// behind those of a later epoch. U1.
	AnyEpoch Mutant = "linear-any-epoch"
	// AnyBase (L9): an epoch opens though its base was closed already. U11.
	AnyBase Mutant = "linear-any-base"
	// EmitTwice (P2): what was proposed twice is emitted twice. U2, P-5.
	EmitTwice Mutant = "linear-emit-twice"
	// ApplyAgain (P2, P12): a record that is delivered again after a restart is
	// applied as though it were new. U2, P-5.
	ApplyAgain Mutant = "linear-apply-again"
	// RestartIndex (U6): the first batch of a new term begins at index 1, as a
	// new leader of the original did. U1, U6.
	RestartIndex Mutant = "linear-restart-index"
	// ShowRepeats (L7): a message that a client handed to two nodes is shown
	// twice. U1 and, read by client id, U2.
	ShowRepeats Mutant = "linear-show-repeats"
	// ForgetWindow (L7): the client window is empty after a restart, so that one
	// replica shows what the others consume. U1, U6.
	ForgetWindow Mutant = "linear-forget-window"
	// KeepRemoved (removal): what a removed author wrote beside its removal is
	// not void. U1.
	KeepRemoved Mutant = "linear-keep-removed"
	// VoidActs (removal): an admission by an author whose entry is void counts. U1.
	VoidActs Mutant = "linear-void-acts"
	// IgnoreCheckpoint (checkpoints): a replica with another order hash goes on. U6.
	IgnoreCheckpoint Mutant = "linear-ignore-checkpoint"
)
