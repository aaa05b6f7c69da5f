package election

import (
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Waits of an election. RTT is that of the voters concerned, at most maxRTT.
const (
	// SuspectAfter is how long one consensus message of a leader that is not
	// heard directly counts as life (B4).
	SuspectAfter = 500 * time.Millisecond

	// WakePause is how long judgement rests after a sleep: the longest time-out
	// of a busy link (B10).
	WakePause = maxTimeout

	okWait       = 50 * time.Millisecond  // and 2*RTT: T_ok
	leaderWait   = 100 * time.Millisecond // and 4*RTT: T_co
	campaignWait = 100 * time.Millisecond // and 4*RTT: T_camp
	pauseOfRank  = 40 * time.Millisecond  // times the rank's position from the top, and jitter up to as much again
	askAgain     = SuspectAfter           // where nobody may lead
	maxRTT       = 2 * time.Second
)

// Config is what a Bully is made with.
type Config struct {
	Self   ordering.Origin
	Hold   time.Duration // T_hold of B8; zero means DefaultHold
	Seed   uint64        // of the jitter of B6; differs between replicas
	Mutant mutant.Mutant // see package mutant
}

// Bully chooses, for one replica of one room, when to ask for its votes and when
// to hand leadership over (PROTOCOL.md 2). It is wrong at nobody's cost: the
// control log's terms decide who leads.
//
// It is level-triggered (B4): every call works out anew what to do, so that lost
// messages and refused actions only delay. What it remembers is bounded by the
// number of voters.
type Bully struct {
	cfg     Config
	records map[ordering.Origin]*record
	chance  uint64 // state of splitmix64
	actions []Action

	now      time.Time // of the last call
	deadline time.Time
	judgesAt time.Time // B10: no judgement before
	suspects bool

	phase     phase
	until     time.Time       // when the phase is over
	target    ordering.Origin // of asking and promised
	stood     bool            // of standing: the control log was seen to campaign
	stoodTerm uint64          // the last term in which it was a candidate

	gave   uint64    // the last term in which it gave its vote to another
	gaveAt time.Time // when that was seen; zero once that term's leader was heard

	announced uint64          // B7: the last term said in a COORDINATOR
	handedAt  time.Time       // B9: the last Transfer of a draining leader
	believed  ordering.Origin // mutant.CoordinatorBelieved only
}

// phase is where an election stands, while there is no leader.
type phase uint8

const (
	resting  phase = iota // no election, or a round is due
	asking                // ELECTION was sent; the target is to say OK within T_ok
	promised              // OK or ALIVE came; a leader is to be heard within T_co
	standing              // I campaign, for T_camp at most
	pausing               // a campaign was lost, nobody may lead, or another has my vote
)

// record is what is remembered of one voter.
type record struct {
	lastTerm, lastIndex uint64 // the end of its log, as its own messages say
	told                bool   // in this election

	passed bool // B4: it was asked in vain since the last pause
	freed  bool // it lost its leader while I stand
	tried  bool // B9: it was handed leadership and did not take it

	heard    bool // when last looked at
	flaps    int  // B8: and takeovers, since it last was steady for MaxHold
	flapped  time.Time
	fitSince time.Time // B8: zero when it may not take over
	caughtUp time.Time // last seen so
}

// New returns a Bully that knows nobody.
func New(cfg Config) *Bully {
	if cfg.Hold <= 0 {
		cfg.Hold = DefaultHold
	}
	return &Bully{cfg: cfg, records: make(map[ordering.Origin]*record), chance: cfg.Seed}
}

// Update works out what is to be done. It is to be called when anything in the
// Scene changed and at the Deadline.
func (b *Bully) Update(s Scene) {
	begins := b.now.IsZero()
	b.now, b.deadline = s.Now, time.Time{}
	asleep := s.Now.Before(b.judgesAt) && len(s.Voters) > 1
	b.watch(&s, asleep)
	b.suspects = !b.hears(&s)
	switch {
	case begins || !b.suspects: // an old vote, or it was won
		b.gave, b.gaveAt = s.Term, time.Time{}
	case s.Voted && s.Term != b.gave:
		b.gave, b.gaveAt = s.Term, s.Now
	}

	self := s.voter(b.cfg.Self)
	switch {
	case self == nil:
		// Who knows of no vote of its own does not campaign. But others may know
		// of it, when a change of seats has not been applied here yet: so that it
		// can give its vote, it forgets a leader that is gone.
		b.rest()
		switch {
		case s.Leader == (ordering.Origin{}) || s.Role != Follower:
		case b.suspects:
			b.do(Forget{})
		default:
			b.wake(s.LeaderHeard.Add(SuspectAfter + 1))
		}
	case asleep: // B10
		b.rest()
		b.wake(b.judgesAt)
	case s.Role == Leader: // B11 is the control log's: it steps down by itself
		b.rest()
		b.lead(&s, self)
	case !b.suspects: // P-8: while a leader is heard, nothing is done
		b.rest()
		if l := s.voter(s.Leader); l == nil || !l.Heard {
			b.wake(s.LeaderHeard.Add(SuspectAfter + 1))
		}
	default:
		b.elect(&s)
	}
}

// Hear takes a message from the device and instance that it is proved to come
// from, and does what Update does.
func (b *Bully) Hear(s Scene, from ordering.Origin, m *ordering.Bully) {
	if b.cfg.Mutant == mutant.CoordinatorBelieved && m.Kind == ordering.Coordinator {
		b.believed = from
		if s.Role == Leader {
			b.do(Transfer{from})
		}
	}
	v := s.voter(from)
	if v == nil || from == b.cfg.Self || s.voter(b.cfg.Self) == nil {
		asks := m.Kind == ordering.Election || m.Kind == ordering.Probe
		if asks && s.Role == Follower && s.Leader != (ordering.Origin{}) && (s.Leader == from && m.Term >= s.Term || !b.hears(&s)) {
			b.do(Forget{}) // as above
		}
		return
	}
	r := b.record(from)
	r.told = true
	if newer(m.LastTerm, m.LastIndex, r.lastTerm, r.lastIndex) { // a log never gets older
		r.lastTerm, r.lastIndex = m.LastTerm, m.LastIndex
	}
	b.Update(s)
	if s.Now.Before(b.judgesAt) {
		return
	}
	switch m.Kind {
	case ordering.Election, ordering.Probe:
		b.asked(&s, v, m)
	case ordering.OK:
		if from == b.target {
			b.promise(&s)
		}
	case ordering.Alive, ordering.Coordinator:
		// B7: a hint. It gives the leader T_co to be heard; of an older term it
		// says nothing.
		if m.Term >= s.Term {
			b.promise(&s)
		}
	}
}

// Woke tells that the process slept (B10).
func (b *Bully) Woke(now time.Time) {
	if b.cfg.Mutant != mutant.WakesBlind {
		b.judgesAt = now.Add(WakePause)
	}
}

// Actions returns what is to be done, in this order, and forgets it. It is to be
// called after every call of Update and Hear.
func (b *Bully) Actions() []Action {
	a := b.actions
	b.actions = nil
	return a
}

// Deadline is when Update is next of use though nothing changed; zero: never.
func (b *Bully) Deadline() time.Time { return b.deadline }

// Suspects reports whether there was no leader, or none that is heard, at the
// last Update.
func (b *Bully) Suspects() bool { return b.suspects }

// hears reports whether the leader lives: it is heard itself, or through others
// within the last SuspectAfter (B4).
func (b *Bully) hears(s *Scene) bool {
	if s.Role == Leader {
		return true
	}
	if b.cfg.Mutant == mutant.CoordinatorBelieved {
		if v := s.voter(b.believed); v != nil && v.Heard {
			return true
		}
	}
	if s.Leader == (ordering.Origin{}) {
		return false
	}
	l := s.voter(s.Leader)
	if b.cfg.Mutant == mutant.ElectsDespiteLeader && l != nil {
		if self := s.voter(b.cfg.Self); self != nil && b.compare(self, l) > 0 {
			return false
		}
	}
	return l != nil && l.Heard || s.Now.Sub(s.LeaderHeard) <= SuspectAfter
}

// elect goes on with the election that is due while no leader is heard.
func (b *Bully) elect(s *Scene) {
	// B4. ForgetLeader works in follower state only. A message of the leader that
	// was under way may bring it back; it then counts as heard for SuspectAfter
	// and is forgotten again.
	if s.Role == Follower && s.Leader != (ordering.Origin{}) {
		b.do(Forget{})
	}
	if s.Role == Candidate && s.Term != b.stoodTerm { // mine at last, or by a transfer
		b.stoodTerm = s.Term
		b.enter(standing, s.Now.Add(campaignWait+4*b.rtt(s)))
	}
	b.settle(s)
	// B6. Who has just voted for a campaign, or a transfer, does not stand against it:
	// that has T_camp.
	if yields := b.gaveAt.Add(campaignWait + 4*b.rtt(s)); s.Voted && s.Role == Follower && s.Now.Before(yields) {
		b.enter(pausing, yields)
	}
	if b.phase == resting {
		b.round(s)
	}
	b.wake(b.until)
}

// settle ends the phase whose time is over.
func (b *Bully) settle(s *Scene) {
	over := !s.Now.Before(b.until)
	once := b.cfg.Mutant == mutant.AsksOnce
	switch b.phase {
	case resting:
	case asking, promised:
		if over && !once { // B4: drop that target and look again
			b.record(b.target).passed = true
			b.phase = resting
		} else if b.choose(s) != b.target && !once {
			b.phase = resting
		}
	case standing: // B6
		b.stood = b.stood || s.Role != Follower
		refused := b.stood && s.Role == Follower
		if refused || over && b.cfg.Mutant != mutant.StandsForever {
			b.pause(s)
		}
	case pausing:
		if over && !once {
			b.phase = resting
		}
	}
}

// round asks who is to lead (B4). An ELECTION is a probe too, so that every
// voter gets one message.
func (b *Bully) round(s *Scene) {
	self := s.voter(b.cfg.Self)
	for i := range s.Voters {
		switch v := &s.Voters[i]; {
		case v == self:
		case b.compare(v, self) > 0:
			b.say(s, v.Origin, ordering.Election)
		default:
			b.say(s, v.Origin, ordering.Probe)
		}
	}
	switch t := b.choose(s); t {
	case b.cfg.Self:
		b.stood = false
		for _, r := range b.records {
			r.freed = false
		}
		b.do(Campaign{})
		b.enter(standing, s.Now.Add(campaignWait+4*b.rtt(s)))
	case ordering.Origin{}:
		b.enter(pausing, s.Now.Add(askAgain))
		b.forgive()
	default:
		b.target = t
		b.enter(asking, s.Now.Add(okWait+2*min(s.voter(t).RTT, maxRTT)))
	}
}

// choose returns who is to lead by all that is known here (B2, B3), zero for
// nobody. A sole voter chooses itself.
func (b *Bully) choose(s *Scene) ordering.Origin {
	if len(s.Voters) == 1 {
		return b.cfg.Self
	}
	var best *Voter
	for i := range s.Voters {
		v := &s.Voters[i]
		self := v.Origin == b.cfg.Self
		if !self && (!v.Heard || b.record(v.Origin).passed) || !v.Eligible || !b.fresh(s, v) {
			continue
		}
		if best == nil || b.compare(v, best) > 0 {
			best = v
		}
	}
	if best == nil {
		return ordering.Origin{}
	}
	return best.Origin
}

// fresh reports whether v's log is at least as new as those of a majority (B3).
// What was reported before this election is out of date under load: it bounds a
// log from below, and a log of which this election told nothing is taken for
// fresh. All that its voter says tells.
func (b *Bully) fresh(s *Scene, v *Voter) bool {
	if v.Origin != b.cfg.Self && !b.record(v.Origin).told {
		return true
	}
	term, index := b.last(s, v)
	n := 0
	for i := range s.Voters {
		if t, x := b.last(s, &s.Voters[i]); !newer(t, x, term, index) {
			n++
		}
	}
	return n >= s.majority()
}

func (b *Bully) last(s *Scene, v *Voter) (term, index uint64) {
	if v.Origin == b.cfg.Self {
		return s.LastTerm, s.LastIndex
	}
	if r := b.record(v.Origin); newer(r.lastTerm, r.lastIndex, v.LastTerm, v.LastIndex) {
		return r.lastTerm, r.lastIndex
	}
	return v.LastTerm, v.LastIndex
}

func newer(term, index, thanTerm, thanIndex uint64) bool {
	return term > thanTerm || term == thanTerm && index > thanIndex
}

// asked answers an ELECTION or a PROBE.
func (b *Bully) asked(s *Scene, from *Voter, m *ordering.Bully) {
	self := s.voter(b.cfg.Self)
	if b.cfg.Mutant == mutant.ElectsDespiteLeader && s.Role == Follower && b.compare(from, self) > 0 {
		b.do(Forget{})
		return
	}
	if s.Role == Follower && s.Leader == from.Origin && m.Term >= s.Term {
		b.do(Forget{}) // who asks for a leader does not lead
		return
	}
	if !b.suspects {
		b.say(s, from.Origin, ordering.Alive) // B5
		return
	}
	// B5: I suspect the leader too, and Update has done what that calls for.
	if m.Kind == ordering.Election && b.compare(self, from) > 0 && self.Eligible {
		b.say(s, from.Origin, ordering.OK)
	}
	// It ignored my campaign while it still had a leader, and would grant it now.
	// Once a campaign and voter, and not when votes of a new term are under way.
	if r := b.record(from.Origin); s.Role == PreCandidate && b.phase == standing && !r.freed {
		r.freed = true
		b.do(Campaign{})
	}
}

// promise waits for a leader to be heard, after an OK of the target or the news
// that somebody leads (B4).
func (b *Bully) promise(s *Scene) {
	if b.phase == asking {
		b.enter(promised, s.Now.Add(leaderWait+4*b.rtt(s)))
		b.wake(b.until)
	}
}

// pause lets others go first after a campaign that was lost (B6). All are asked
// again afterwards.
func (b *Bully) pause(s *Scene) {
	self, above := s.voter(b.cfg.Self), 0
	for i := range s.Voters {
		if b.compare(&s.Voters[i], self) > 0 {
			above++
		}
	}
	jitter := time.Duration(b.random() % uint64(pauseOfRank))
	b.enter(pausing, s.Now.Add(time.Duration(above)*pauseOfRank+jitter+1))
	b.forgive()
}

func (b *Bully) forgive() {
	for _, r := range b.records {
		r.passed = false
	}
}

// rest ends an election.
func (b *Bully) rest() {
	b.phase = resting
	for _, r := range b.records {
		r.passed, r.told = false, false
	}
}

func (b *Bully) enter(p phase, until time.Time) { b.phase, b.until = p, until }

// rtt is the longest way there and back to a voter that is heard.
func (b *Bully) rtt(s *Scene) time.Duration {
	var d time.Duration
	for i := range s.Voters {
		if v := &s.Voters[i]; v.Heard && v.Origin != b.cfg.Self {
			d = max(d, v.RTT)
		}
	}
	return min(d, maxRTT)
}

func (b *Bully) compare(v, w *Voter) int {
	if b.cfg.Mutant == mutant.NamesAsStrings && v.Rank.Priority == w.Rank.Priority && v.Rank.Name != w.Rank.Name {
		if v.Rank.Name < w.Rank.Name {
			return -1
		}
		return 1
	}
	return v.Rank.Compare(w.Rank)
}

func (b *Bully) say(s *Scene, to ordering.Origin, k ordering.BullyKind) {
	m := &ordering.Bully{Kind: k, Term: s.Term, LastTerm: s.LastTerm, LastIndex: s.LastIndex}
	if k == ordering.Alive || k == ordering.Coordinator {
		if m.Leader = s.Leader; s.Role == Leader {
			m.Leader = b.cfg.Self
		}
	}
	b.do(Say{to, m})
}

// do adds an action in place of one of its kind: what waits is bounded by the
// number of voters.
func (b *Bully) do(a Action) {
	b.actions = slices.DeleteFunc(b.actions, func(o Action) bool {
		if said, ok := o.(Say); ok {
			say, ok := a.(Say)
			return ok && say.To == said.To && say.Msg.Kind == said.Msg.Kind
		}
		return o == a
	})
	b.actions = append(b.actions, a)
}

// wake sets the deadline, unless it is set earlier or the time is past: what was
// due is done, and what it waits for is a change.
func (b *Bully) wake(at time.Time) {
	if !at.After(b.now) {
		return
	}
	if b.deadline.IsZero() || at.Before(b.deadline) {
		b.deadline = at
	}
}

// record returns what is remembered of a voter.
func (b *Bully) record(o ordering.Origin) *record {
	r := b.records[o]
	if r == nil {
		r = &record{}
		b.records[o] = r
	}
	return r
}

// random is splitmix64 (Steele, Lea, Flood 2014).
func (b *Bully) random() uint64 {
	b.chance += 0x9e3779b97f4a7c15
	z := b.chance
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
