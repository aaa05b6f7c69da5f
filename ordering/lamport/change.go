package lamport

import (
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Waits of a view change.
const (
	SealRepeat = 100 * time.Millisecond // between two asks of those that did not answer (L9 step 2)
	Straggle   = 200 * time.Millisecond // for more answers, once there are enough
	SilentWait = time.Second            // without a word, until a replica that is not heard counts as gone
)

// Change is a view change as its leader runs it (L9): it seals the open epoch at
// enough replicas that whatever any of them took for final is in the union of
// what they hold, has that union copied to a majority of the voters, and then
// proposes the epoch that follows. A new term or epoch ends it.
type Change struct {
	Epoch  uint64 // that it closes
	Term   uint64
	View   []ordering.Origin // of the open epoch
	Mode   ordering.Mode     // of the next
	Want   []ordering.Origin // view of the next
	Reason string

	mutant   mutant.Mutant
	self     ordering.Origin
	voters   []ordering.Origin
	sealed   map[ordering.Origin][]ordering.Tip
	holding  map[ordering.Origin][]ordering.Tip // as CutHave says
	answered map[ordering.Origin]time.Time
	forked   bool // see Forget
	enoughAt time.Time
	askAt    time.Time
	Begun    bool // the leader has sealed itself
	Proposed bool
}

// NewChange begins a view change.
func NewChange(c Change, self ordering.Origin, voters []ordering.Origin, m mutant.Mutant) *Change {
	c.self, c.voters, c.mutant = self, voters, m
	c.answered = make(map[ordering.Origin]time.Time)
	c.sealed, c.holding = make(map[ordering.Origin][]ordering.Tip), make(map[ordering.Origin][]ordering.Tip)
	return &c
}

// Asked returns everybody who is asked to seal: the view and the voters.
func (c *Change) Asked() []ordering.Origin {
	all := slices.Concat(c.View, c.voters)
	slices.SortFunc(all, ordering.Origin.Compare)
	return slices.Compact(all)
}

// SealedBy takes an answer, or our own seal once it is durable.
func (c *Change) SealedBy(o ordering.Origin, have []ordering.Tip, now time.Time) {
	if len(have) != len(c.View) || !slices.Contains(c.Asked(), o) {
		return
	}
	c.sealed[o], c.answered[o] = have, now
	if !c.forked {
		c.holding[o] = have
	}
	if c.enoughAt.IsZero() && c.quorum() {
		c.enoughAt, c.askAt = now, time.Time{} // what is asked next is another thing
	}
}

// quorum reports whether those who sealed include a majority of the voters and a
// member of the view.
func (c *Change) quorum() bool {
	voters, members := 0, 0
	for o := range c.sealed {
		if slices.Contains(c.voters, o) {
			voters++
		}
		if slices.Contains(c.View, o) {
			members++
		}
	}
	return (2*voters > len(c.voters) || c.mutant == mutant.NoQuorum && voters > 0) && (members > 0 || c.mutant == mutant.NoViewMember)
}

// Without drops the answer of a replica that is gone, if it said nothing for
// SilentWait and those of the others are enough (L9 step 2): what it alone holds
// could not be brought. Before there are enough, every answer counts.
func (c *Change) Without(o ordering.Origin, now time.Time) {
	have, ok := c.sealed[o]
	if !ok || o == c.self || c.enoughAt.IsZero() || now.Before(c.answered[o].Add(SilentWait)) {
		return
	}
	delete(c.sealed, o)
	if !c.quorum() {
		c.sealed[o] = have
	}
}

// Holds takes a CutHave, or what we hold ourselves.
func (c *Change) Holds(o ordering.Origin, have []ordering.Tip, now time.Time) {
	if len(have) == len(c.View) {
		c.holding[o], c.answered[o] = have, now
	}
}

// SealedTips returns where the members of the view that sealed hold the end of its
// i-th chain.
func (c *Change) SealedTips(i int) []ordering.Tip {
	var tips []ordering.Tip
	for _, o := range c.View {
		if have := c.sealed[o]; have != nil {
			tips = append(tips, have[i])
		}
	}
	return tips
}

// Forget drops, once, who holds how much: a chain of the view turned out to have
// several branches, and only what is said of a cut from now on tells which.
func (c *Change) Forget() {
	if !c.forked {
		c.forked, c.askAt = true, time.Time{}
		clear(c.holding)
	}
}

// Union returns how far the chains of the view go at those who sealed, once there
// are enough of them (L9 step 3): the cut.
func (c *Change) Union(now time.Time) ([]ordering.Tip, bool) {
	if c.enoughAt.IsZero() {
		return nil, false
	}
	if len(c.sealed) < len(c.Asked()) && now.Before(c.enoughAt.Add(Straggle)) {
		return nil, false
	}
	cut := make([]ordering.Tip, len(c.View))
	for _, o := range c.Asked() {
		if c.mutant == mutant.LonelyCut && o != c.self {
			continue
		}
		for i, t := range c.sealed[o] {
			if t.Seq > cut[i].Seq {
				cut[i] = t
			}
		}
	}
	return cut, true
}

// Copied reports whether a majority of the voters hold the cut durably.
func (c *Change) Copied(cut []ordering.Tip) bool {
	voters := 0
	for _, o := range c.voters {
		if covers(c.holding[o], cut) {
			voters++
		}
	}
	return 2*voters > len(c.voters)
}

func covers(have, cut []ordering.Tip) bool {
	if len(have) != len(cut) {
		return false
	}
	for i, t := range cut {
		if have[i].Seq < t.Seq || have[i].Seq == t.Seq && have[i] != t {
			return false
		}
	}
	return true
}

// HeldBy reports whether a replica holds the cut durably.
func (c *Change) HeldBy(o ordering.Origin, cut []ordering.Tip) bool { return covers(c.holding[o], cut) }

// Ask reports whether those who did not answer are to be asked (again) now.
func (c *Change) Ask(now time.Time) bool {
	if now.Before(c.askAt) {
		return false
	}
	c.askAt = now.Add(SealRepeat)
	return true
}

// AskAt is when Ask is next of use.
func (c *Change) AskAt() time.Time { return c.askAt }

// Due is when Union may say more although nothing happened; zero: never.
func (c *Change) Due() time.Time {
	if c.enoughAt.IsZero() {
		return time.Time{}
	}
	return c.enoughAt.Add(Straggle)
}

// Unsealed returns whom to ask to seal, and Lacking whom to ask whether it holds
// the cut.
func (c *Change) Unsealed() []ordering.Origin {
	return slices.DeleteFunc(c.Asked(), func(o ordering.Origin) bool { return o == c.self || c.sealed[o] != nil })
}

// Lacking returns the voters that have not said to hold the cut.
func (c *Change) Lacking(cut []ordering.Tip) []ordering.Origin {
	return slices.DeleteFunc(slices.Clone(c.voters), func(o ordering.Origin) bool { return o == c.self || covers(c.holding[o], cut) })
}
