package election

import (
	"time"

	"tertulia/ordering"
)

// Role is what the control log's consensus says this replica is.
type Role uint8

// The roles.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

// Voter is what is known here of one voter of the control log.
type Voter struct {
	Origin ordering.Origin
	Rank   Rank
	// Heard: it is connected and not suspected (B1). Of the own entry it is not
	// asked. A voter whose room is not running is not heard, whatever its process
	// says.
	Heard bool
	// Eligible is B2 as far as known: disk_ok, not draining, and it hears a
	// majority of the voters. To be judged of the own entry as well.
	Eligible bool
	// LastTerm and LastIndex are the end of its log as last reported, zero when
	// nothing is known. Of the own entry the Scene's are taken.
	LastTerm, LastIndex uint64
	CaughtUp            bool          // it holds the whole of my log; known only while I lead
	RTT                 time.Duration // zero: unknown, taken as nothing
}

// Scene is all that an election is decided by.
type Scene struct {
	Now    time.Time
	Voters []Voter // of both halves of a joint configuration; including self if it votes

	// Of the own control log.
	Role                      Role
	Term, LastTerm, LastIndex uint64
	Voted                     bool            // of this term it gave its vote to another
	Leader                    ordering.Origin // zero: none
	LeaderHeard               time.Time       // its last consensus message, direct or relayed
	Leading                   bool            // I lead and my term's first entry is applied (P6)

	Busy     bool // an Epoch, ConfChange, seal or transfer is in flight
	Draining bool // this replica is about to leave, or its disk takes no more (B9)
}

func (s *Scene) voter(o ordering.Origin) *Voter {
	for i := range s.Voters {
		if s.Voters[i].Origin == o {
			return &s.Voters[i]
		}
	}
	return nil
}

func (s *Scene) majority() int { return len(s.Voters)/2 + 1 }

// Action is what the owner is to do: exactly one of Say, Forget, Campaign and
// Transfer. All but Say are calls of the control log; each may be refused there,
// which is as good as lost.
type Action interface{ action() }

// Say sends a message, relayed if need be.
type Say struct {
	To  ordering.Origin
	Msg *ordering.Bully
}

// Forget makes a follower forget its leader, so that it grants votes.
type Forget struct{}

// Campaign asks the voters for their votes.
type Campaign struct{}

// Transfer hands leadership over.
type Transfer struct{ To ordering.Origin }

func (Say) action()      {}
func (Forget) action()   {}
func (Campaign) action() {}
func (Transfer) action() {}
