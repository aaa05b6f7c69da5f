package mutant

// The mistakes of package control.
const (
	ProposeEarly     Mutant = "propose-early"     // P6: a leader proposes before a record of its own term is applied
	SeatOfDevice     Mutant = "seat-of-device"    // a seat is the device's: a wiped voter comes back as the one that promised
	ForgetTerm       Mutant = "forget-term"       // P7: the term is not made durable, but for what the last record tells
	ForgetVote       Mutant = "forget-vote"       // P7: the vote is not made durable
	SnapshotAhead    Mutant = "snapshot-ahead"    // P8: a snapshot names an index one above what its state has applied
	SnapshotBehind   Mutant = "snapshot-behind"   // P8: a snapshot names an index one below what its state has applied
	SnapshotOldConf  Mutant = "snapshot-old-conf" // P13: a snapshot is sent though its index is below the newest change of seats
	CompactUnapplied Mutant = "compact-unapplied" // P12: records that the linearizer has not applied are dropped
	InstallAtOnce    Mutant = "install-at-once"   // P8: a snapshot is installed before the graph holds what it emitted
	CountUnapplied   Mutant = "count-unapplied"   // P13: a change of seats counts as done when it is proposed
	AckUncommitted   Mutant = "ack-uncommitted"   // Ack names the last record, which the leader may not have
	FeedUncommitted  Mutant = "feed-uncommitted"  // P5: members without a seat are told records that are not committed
	DropAcknowledged Mutant = "drop-acknowledged" // P8: installing a snapshot drops later records that were acknowledged
	FedIsFollowing   Mutant = "fed-is-following"  // P5: who feeds is taken for the leader
)
