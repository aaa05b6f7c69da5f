// Package election decides who leads. It holds the failure detector that all
// liveness rests on (PROTOCOL.md, B1).
//
// Everything here is told the time and starts nothing.
package election

import "time"

// The constants of B1.
const (
	Interval     = 100 * time.Millisecond // between two heartbeats
	IdleInterval = time.Second            // the same, where nothing was said for IdleAfter
	IdleAfter    = 30 * time.Second

	minTimeout  = 300 * time.Millisecond
	maxTimeout  = 2 * time.Second
	idleTimeout = 3 * time.Second

	// stall is how late a look may be. When it is later, it was this process
	// that slept or was starved, and nobody else is blamed for the silence.
	stall = 200 * time.Millisecond

	jitterWeight = 8 // a new sample counts for one part in this many
)

// Detector judges the silence of one peer. Both sides of a link see the same
// traffic, so both change the rate of their heartbeats together and neither
// needs to announce it.
type Detector struct {
	alive   time.Time // last sign of life, or when the time-out last began anew
	beat    time.Time // last heartbeat, zero after a change of rate
	traffic time.Time // last frame of either side that is no heartbeat
	looked  time.Time // last call of Suspects
	jitter  time.Duration
	idle    bool
}

// NewDetector returns a detector for a peer that was just heard.
func NewDetector(now time.Time) *Detector {
	return &Detector{alive: now, traffic: now, looked: now}
}

// Beat takes note of a heartbeat.
func (d *Detector) Beat(now time.Time) {
	d.rate(now)
	if !d.beat.IsZero() {
		// What is longer than the time-out was an outage, not jitter: it counts as much
		// as the time-out, so that the next loss is noticed as soon as this one, and a
		// link that beats so unevenly for good still gets the time that it needs.
		off := min((now.Sub(d.beat) - d.Interval()).Abs(), d.Timeout())
		d.jitter += (off - d.jitter) / jitterWeight
	}
	d.beat, d.alive = now, now
}

// Heard takes note of something the peer said that is no heartbeat.
func (d *Detector) Heard(now time.Time) {
	d.Said(now)
	d.alive = now
}

// Said takes note of something said to the peer, which is no sign of its life
// but returns the link to the fast rate.
func (d *Detector) Said(now time.Time) {
	d.traffic = now
	d.rate(now)
}

// Alive takes note of a sign of life that is no traffic.
func (d *Detector) Alive(now time.Time) { d.alive = now }

// Interval is the time between two heartbeats at the present rate.
func (d *Detector) Interval() time.Duration {
	if d.idle {
		return IdleInterval
	}
	return Interval
}

// Timeout is the silence after which the peer is suspected:
// max(300 ms, 3*interval + 4*jitter), at most 2 s; 3 s on an idle link.
func (d *Detector) Timeout() time.Duration {
	if d.idle {
		return idleTimeout
	}
	return min(max(minTimeout, 3*Interval+4*d.jitter), maxTimeout)
}

// Suspects reports whether the silence is too long. It is to be called at least
// once an Interval: after a gap in these calls the time-out begins anew.
func (d *Detector) Suspects(now time.Time) bool {
	if now.Sub(d.looked) > d.Interval()+stall {
		d.alive, d.beat = now, time.Time{}
	}
	d.looked = now
	d.rate(now)
	return d.Silence(now) > d.Timeout()
}

// Silence is the time since the last sign of life, or since the time-out last
// began anew.
func (d *Detector) Silence(now time.Time) time.Duration { return now.Sub(d.alive) }

// rate sets the rate that the traffic calls for. When it changes, the time-out
// begins anew.
func (d *Detector) rate(now time.Time) {
	idle := now.Sub(d.traffic) >= IdleAfter
	if idle == d.idle {
		return
	}
	d.idle = idle
	d.alive, d.beat = now, time.Time{}
}

// Deadline is when Suspects becomes true, if nothing is heard until then.
func (d *Detector) Deadline() time.Time { return d.alive.Add(d.Timeout() + 1) }
