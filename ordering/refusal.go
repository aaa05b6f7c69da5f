package ordering

import "fmt"

// Reason names why an entry was not taken. Refusals are counted by reason.
type Reason string

// The reasons.
const (
	Duplicate          Reason = "duplicate"
	Fork               Reason = "fork"                 // another entry stands at that place of the chain
	BadSignature       Reason = "bad-signature"        // the author's
	BadClientSignature Reason = "bad-client-signature" // the client's (L2)
	BadChain           Reason = "bad-chain"            // a run's entries do not follow one another
	BadDep             Reason = "bad-dep"              // names an entry by another hash than the one held
	WrongTime          Reason = "wrong-ts"             // ts is not 1 + max(ts over prev and deps)
	WrongRoom          Reason = "wrong-room"
	Malformed          Reason = "malformed"
	Oversize           Reason = "oversize"
	NotMember          Reason = "not-member"  // judged in the entry's causal past
	NotAllowed         Reason = "not-allowed" // a member, but not entitled to this
	TooMany            Reason = "too-many"    // waiting for a missing past, and the place for such is full
	BadKind            Reason = "bad-kind"
)

// Refusal is the error for an entry that was not taken.
type Refusal struct {
	Reason Reason
	ID     EntryID
}

// Refuse makes a Refusal.
func Refuse(r Reason, id EntryID) *Refusal { return &Refusal{r, id} }

func (r *Refusal) Error() string {
	return fmt.Sprintf("ordering: entry %s refused: %s", r.ID, r.Reason)
}
