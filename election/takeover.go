package election

import (
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Waits of whoever leads.
const (
	DefaultHold = 10 * time.Second // B8: how long a higher voter is fit before it takes over
	MaxHold     = 10 * time.Minute // B8: what the hold doubles up to; steadiness as long ends the doubling

	lagGrace  = time.Second             // B8: how long a voter under load may lag and still count as caught up
	handAgain = 1500 * time.Millisecond // B9: the control log gives a transfer up after 1 s
)

// HoldOf is for how long the voter must now be fit before it takes over (B8).
func (b *Bully) HoldOf(o ordering.Origin, now time.Time) time.Duration {
	r := b.records[o]
	if b.cfg.Mutant == mutant.TakesOverAtOnce {
		return time.Millisecond
	}
	if r == nil || r.flaps == 0 || now.Sub(r.flapped) >= MaxHold {
		return min(b.cfg.Hold, MaxHold)
	}
	d := b.cfg.Hold
	for i := 0; i < r.flaps && d < MaxHold; i++ {
		d *= 2
	}
	return min(d, MaxHold)
}

// takeoverAt is when a voter takes over that stays fit: after its hold, or once it
// was steady for so long that the hold is short again. A leader that came after
// its flaps counts them by the same clock (B8).
func (b *Bully) takeoverAt(o ordering.Origin, r *record, now time.Time) time.Time {
	at := r.fitSince.Add(b.HoldOf(o, now))
	short := r.fitSince.Add(min(b.cfg.Hold, MaxHold))
	if steady := r.flapped.Add(MaxHold); steady.After(short) {
		short = steady
	}
	if short.Before(at) {
		return short
	}
	return at
}

// flap counts a loss or a takeover of the voter (B8).
func (r *record) flap(now time.Time) {
	if now.Sub(r.flapped) >= MaxHold {
		r.flaps = 0
	}
	const enough = 62 // doublings of a nanosecond; more change nothing
	r.flaps, r.flapped = min(r.flaps+1, enough), now
}

// watch keeps the records to the voters there are and counts their losses. When
// most voters are lost it is this replica that was cut off, and after a sleep
// nothing is known: neither is a flap of anybody else.
func (b *Bully) watch(s *Scene, asleep bool) {
	heard := 0
	for i := range s.Voters {
		if v := &s.Voters[i]; v.Heard || v.Origin == b.cfg.Self {
			heard++
		}
	}
	for i := range s.Voters {
		v := &s.Voters[i]
		r := b.record(v.Origin)
		if r.heard && !v.Heard && !asleep && heard >= s.majority() {
			r.flap(s.Now)
		}
		r.heard = v.Heard && !asleep
		if s.Role != Leader || asleep {
			r.fitSince, r.caughtUp, r.tried = time.Time{}, time.Time{}, false
		}
	}
	if len(b.records) > len(s.Voters) {
		for o := range b.records {
			if s.voter(o) == nil {
				delete(b.records, o)
			}
		}
	}
}

// lead does what is asked of a leader: it says so, and hands over when it leaves
// or a higher voter is back.
func (b *Bully) lead(s *Scene, self *Voter) {
	if s.Leading && b.announced != s.Term { // B7: never before the term's first entry is committed
		b.announced = s.Term
		for i := range s.Voters {
			if v := &s.Voters[i]; v != self {
				b.say(s, v.Origin, ordering.Coordinator)
			}
		}
	}
	if s.Draining {
		for _, r := range b.records { // nobody looks who is fit meanwhile
			r.fitSince, r.caughtUp = time.Time{}, time.Time{}
		}
		b.leave(s, self)
		return
	}
	b.handedAt = time.Time{}
	b.yield(s, self)
}

// leave hands over to the best follower at once, and to the next if that one
// does not take it (B9).
func (b *Bully) leave(s *Scene, self *Voter) {
	if at := b.handedAt.Add(handAgain); !b.handedAt.IsZero() && s.Now.Before(at) {
		b.wake(at)
		return
	}
	for range 2 { // the second time all were tried
		var best *Voter
		for i := range s.Voters {
			v := &s.Voters[i]
			if v == self || !v.Heard || !v.Eligible || b.record(v.Origin).tried {
				continue
			}
			if best == nil || v.CaughtUp != best.CaughtUp && v.CaughtUp || v.CaughtUp == best.CaughtUp && b.compare(v, best) > 0 {
				best = v
			}
		}
		if best != nil {
			b.record(best.Origin).tried = true
			b.handedAt = s.Now
			b.do(Transfer{best.Origin})
			b.wake(s.Now.Add(handAgain))
			return
		}
		for _, r := range b.records {
			r.tried = false
		}
	}
}

// yield hands over to the highest voter that ranks above this one and was
// eligible and caught up for T_hold (B8).
func (b *Bully) yield(s *Scene, self *Voter) {
	var best *Voter
	for i := range s.Voters {
		v := &s.Voters[i]
		if v == self {
			continue
		}
		r := b.record(v.Origin)
		caughtUp := v.CaughtUp || b.cfg.Mutant == mutant.TakesOverBehind
		if caughtUp {
			r.caughtUp = s.Now
		}
		if !v.Heard || !v.Eligible || b.compare(v, self) <= 0 || s.Now.Sub(r.caughtUp) > lagGrace {
			r.fitSince = time.Time{}
			continue
		}
		if r.fitSince.IsZero() {
			r.fitSince = s.Now
		}
		if !caughtUp {
			b.wake(r.caughtUp.Add(lagGrace + 1))
			continue
		}
		if at := b.takeoverAt(v.Origin, r, s.Now); s.Now.Before(at) {
			b.wake(at)
			continue
		}
		if best == nil || b.compare(v, best) > 0 {
			best = v
		}
	}
	if best == nil || s.Busy || !s.Leading {
		return // Update comes when that changes
	}
	r := b.record(best.Origin)
	r.flap(s.Now)
	r.fitSince = s.Now
	b.do(Transfer{best.Origin})
	b.wake(s.Now.Add(b.HoldOf(best.Origin, s.Now)))
}
