// Package sequencer keeps what a replica holds and the final list does not: what
// a leader proposes next (PROTOCOL.md P1, P2) and what a follower offers to the
// leader again (P3).
package sequencer

import (
	"slices"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

// Limits and waits of a queue.
const (
	MaxBodies     = 16 << 20               // bytes of runs kept; of what is beyond, only the place
	MaxOverdue    = 64 << 10               // bytes offered at once, or one run (P3)
	MaxWants      = 64                     // runs looked at to say what to read back
	InFlight      = 4                      // batches proposed and not applied (P1)
	BatchWait     = 5 * time.Millisecond   // for more, while a batch is in flight (P1)
	OverdueAfter  = time.Second            // unsequenced, before it is offered and between offers (P3)
	OverduePace   = 100 * time.Millisecond // between two offers
	RetryProposal = 20 * time.Millisecond  // after a proposal was dropped
)

// Config says whose queue it is.
type Config struct {
	Self   ordering.Origin
	Mutant mutant.Mutant
}

// Queue is the runs of a room that are accepted and not final, in the order of
// acceptance, which extends causality. Use New.
//
// A leader asks for Next after every step, proposes the batch and reports
// Proposed or Dropped; a follower asks for Overdue. If either stops at a run
// whose body is not in memory, Missing says what to read back.
type Queue struct {
	cfg    Config
	runs   []*queued                     // in acceptance order; also some that are gone
	gone   int                           // of runs
	next   int                           // before it in runs there is nothing to propose
	chains map[ordering.Origin][]*queued // in acceptance order, none gone
	runsBy map[ordering.Hash]*queued     // the same, by their last entries
	bodies int                           // bytes

	inFlight int
	resetDue bool
	rest     time.Time // no proposal before it

	offers    []*queued // by when they are due
	nextOffer time.Time // no offer before it

	wanted *queued // where Next or Overdue stopped for want of a body
	asked  bool    // and Missing has said so
}

// queued is a run in the queue.
type queued struct {
	origin      ordering.Origin
	first, last uint64        // seq
	hash        ordering.Hash // of the last entry
	run         ordering.Run  // no entries: on disk only
	size        int           // of run, in bytes
	since       time.Time
	due         time.Time // when it is to be offered
	proposed    bool
	gone        bool
}

func (q *queued) here() bool { return len(q.run.Entries) > 0 }

// New returns an empty queue.
func New(cfg Config) *Queue {
	return &Queue{
		cfg:    cfg,
		chains: make(map[ordering.Origin][]*queued),
		runsBy: make(map[ordering.Hash]*queued),
	}
}

// Len returns the number of runs that are not final.
func (q *Queue) Len() int { return len(q.runs) - q.gone }

// InFlight returns the number of batches proposed and not settled.
func (q *Queue) InFlight() int { return q.inFlight }

// Add takes a run that the graph has accepted, in acceptance order.
func (q *Queue) Add(run ordering.Run, now time.Time) {
	r := &queued{origin: run.Origin(), first: run.First().Seq, last: run.Last().Seq, hash: run.Last().Hash()}
	if q.push(r, now) && q.bodies+run.Size() <= MaxBodies {
		q.keep(r, run)
	}
}

// Known takes the place of a run that is not final and whose body is on disk
// only: after a restart, in acceptance order, before any Add.
func (q *Queue) Known(last ordering.Ref, first uint64, now time.Time) {
	q.push(&queued{origin: last.Origin, first: first, last: last.Seq, hash: last.Hash}, now)
}

// push appends a run, unless it is in the queue.
func (q *Queue) push(r *queued, now time.Time) bool {
	if q.runsBy[r.hash] != nil {
		return false
	}
	q.runsBy[r.hash] = r
	r.since, r.due = now, now.Add(OverdueAfter)
	q.chains[r.origin] = append(q.chains[r.origin], r)
	q.runs = append(q.runs, r)
	q.offers = append(q.offers, r)
	return true
}

func (q *Queue) keep(r *queued, run ordering.Run) {
	r.run, r.size = run, run.Size()
	q.bodies += r.size
}

// release lets go of a body.
func (q *Queue) release(r *queued) {
	q.bodies -= r.size
	r.run, r.size = ordering.Run{}, 0
}

// drop takes a run out of the queue. The caller takes it off its chain.
func (q *Queue) drop(r *queued) {
	q.release(r)
	r.gone = true
	q.gone++
	delete(q.runsBy, r.hash)
	if r == q.wanted {
		q.wanted = nil
	}
}

// Emitted drops what is final.
func (q *Queue) Emitted(v ordering.Vector) {
	for o, chain := range q.chains {
		if chain[0].last > v[o] {
			continue
		}
		q.cut(o, slices.DeleteFunc(chain, func(r *queued) bool {
			if r.last > v[o] {
				return false
			}
			q.drop(r)
			return true
		}))
	}
	q.tidy()
}

// cut leaves an origin the rest of its chain.
func (q *Queue) cut(o ordering.Origin, rest []*queued) {
	if len(rest) == 0 {
		delete(q.chains, o)
	} else {
		q.chains[o] = rest
	}
}

// tidy forgets the runs that are gone once they are the most.
func (q *Queue) tidy() {
	if 2*q.gone <= len(q.runs) {
		return
	}
	kept := 0
	for i, r := range q.runs {
		if i == q.next {
			q.next = kept
		}
		if !r.gone {
			q.runs[kept] = r
			kept++
		}
	}
	q.next = min(q.next, kept)
	clear(q.runs[kept:])
	q.runs, q.gone = q.runs[:kept], 0
	q.offers = slices.DeleteFunc(q.offers, func(r *queued) bool { return r.gone })
}

// Lost drops the run that ends with an entry: another branch of its chain is in
// the final list (a fork).
func (q *Queue) Lost(last ordering.Ref) {
	r := q.runsBy[last.Hash]
	if r == nil {
		return
	}
	q.drop(r)
	q.cut(r.origin, slices.DeleteFunc(q.chains[r.origin], func(o *queued) bool { return o == r }))
	q.tidy()
}

// Lead begins a term as leader (P6): nothing of an earlier term is in flight any
// more, and what is not final was not proposed.
func (q *Queue) Lead() {
	if q.cfg.Mutant == mutant.KeepProposed {
		return
	}
	q.inFlight, q.resetDue, q.rest = 0, false, time.Time{}
	q.propose()
}

// Reset says that what was proposed may not become final as it is (P2): an epoch
// opened, an entry of a batch was skipped, a transfer ended. Once no batch is in
// flight, all that is not final is proposed again; until then, nothing is.
func (q *Queue) Reset() {
	q.resetDue = true
	q.settle()
}

// Settled says that a batch of this term, proposed here, was applied.
func (q *Queue) Settled() {
	q.inFlight = max(0, q.inFlight-1)
	q.settle()
}

func (q *Queue) settle() {
	if q.resetDue && q.inFlight == 0 {
		q.resetDue = false
		q.propose()
	}
}

// propose lets proposed := emitted.
func (q *Queue) propose() {
	q.next = 0
	for _, r := range q.runs {
		r.proposed = false
	}
}

// Next returns what is to be proposed now: whole runs in acceptance order, in a
// batch of open epoch epoch. It marks nothing.
func (q *Queue) Next(now time.Time, epoch uint64) (*ordering.Batch, bool) {
	if q.resetDue || q.inFlight >= InFlight || now.Before(q.rest) {
		return nil, false
	}
	b := &ordering.Batch{Epoch: epoch, Leader: q.cfg.Self}
	entries, size, full := 0, 0, false
	var since time.Time // of the first run
	q.skip()
	for _, r := range q.runs[q.next:] {
		if r.gone || r.proposed {
			continue
		}
		if !r.here() {
			q.want(r)
			break
		}
		entries, size = entries+len(r.run.Entries), size+r.size
		if full = entries > ordering.MaxBatchEntries || size > ordering.MaxBatchBytes; full {
			break
		}
		if len(b.Runs) == 0 {
			since = r.since
		}
		b.Runs = append(b.Runs, r.run)
		if full = entries == ordering.MaxBatchEntries; full {
			break
		}
	}
	if len(b.Runs) == 0 || !full && q.inFlight > 0 && now.Before(since.Add(BatchWait)) {
		return nil, false
	}
	return b, true
}

// skip moves next over what is gone or proposed.
func (q *Queue) skip() {
	for q.next < len(q.runs) && (q.runs[q.next].gone || q.runs[q.next].proposed) {
		q.next++
	}
}

// Proposed says that the log took the batch.
func (q *Queue) Proposed(b *ordering.Batch) {
	q.inFlight++
	q.mark(b)
}

func (q *Queue) mark(b *ordering.Batch) {
	for _, run := range b.Runs {
		if r := q.find(run); r != nil {
			r.proposed = true
		}
	}
}

// Dropped says that the log did not take the batch: it remains to be proposed,
// after RetryProposal.
func (q *Queue) Dropped(b *ordering.Batch, now time.Time) {
	q.rest = now.Add(RetryProposal)
	if q.cfg.Mutant == mutant.ForwardAndForget {
		q.mark(b)
	}
}

// find returns a run's place in the queue, nil if it is not there.
func (q *Queue) find(run ordering.Run) *queued {
	if r := q.runsBy[run.Last().Hash()]; r != nil && r.first == run.First().Seq {
		return r
	}
	return nil
}

func (q *Queue) want(r *queued) {
	if q.wanted != r {
		q.wanted, q.asked = r, false
	}
}

// Missing says what to read back from the own disk: entries of an origin after a
// seq, in whole runs. It says so once, until Loaded answers.
func (q *Queue) Missing() []ordering.Want {
	if q.wanted == nil || q.asked {
		return nil
	}
	q.asked = true
	var wants []ordering.Want
	from := slices.Index(q.runs, q.wanted)
	for _, r := range q.runs[from:min(from+MaxWants, len(q.runs))] {
		known := slices.ContainsFunc(wants, func(w ordering.Want) bool { return w.Origin == r.origin })
		if !r.gone && !r.here() && !known {
			wants = append(wants, ordering.Want{Origin: r.origin, After: r.first - 1})
		}
	}
	return wants
}

// Loaded hands over runs read back from the own disk. The one that is waited for
// takes the place of others behind it, if need be.
func (q *Queue) Loaded(runs []ordering.Run) {
	for _, run := range runs {
		r := q.find(run)
		if r == nil || r.here() {
			continue
		}
		for i := len(q.runs) - 1; i >= 0 && r == q.wanted && q.bodies+run.Size() > MaxBodies; i-- {
			q.release(q.runs[i])
		}
		if q.bodies+run.Size() <= MaxBodies {
			q.keep(r, run)
		}
	}
	q.wanted = nil
}

// Overdue returns the runs that were not sequenced in OverdueAfter, each again
// after as long, to be pushed to the leader (P3): at most MaxOverdue bytes or one
// run.
func (q *Queue) Overdue(now time.Time) []ordering.Run {
	if now.Before(q.nextOffer) || q.cfg.Mutant == mutant.LostTail {
		return nil
	}
	var runs []ordering.Run
	size := 0
	for len(q.offers) > 0 && !now.Before(q.offers[0].due) {
		r := q.offers[0]
		if !r.gone {
			if !r.here() {
				q.want(r)
				break
			}
			if size += r.size; size > MaxOverdue && len(runs) > 0 {
				break
			}
			runs = append(runs, r.run)
			r.due = now.Add(OverdueAfter)
			q.offers = append(q.offers, r)
		}
		q.offers = q.offers[1:]
	}
	if len(runs) > 0 {
		q.nextOffer = now.Add(OverduePace)
	}
	return runs
}

// Deadline returns when Next, for a leader, or Overdue, for a follower, has
// something without any other call; zero: never.
func (q *Queue) Deadline(leading bool) time.Time {
	if leading {
		return q.nextDeadline()
	}
	for len(q.offers) > 0 && q.offers[0].gone {
		q.offers = q.offers[1:]
	}
	if len(q.offers) == 0 || q.wanted != nil || q.cfg.Mutant == mutant.LostTail {
		return time.Time{}
	}
	return later(q.offers[0].due, q.nextOffer)
}

func (q *Queue) nextDeadline() time.Time {
	q.skip()
	if q.resetDue || q.inFlight >= InFlight || q.wanted != nil {
		return time.Time{}
	}
	for _, r := range q.runs[q.next:] {
		if !r.gone && !r.proposed {
			if q.inFlight == 0 {
				return q.rest
			}
			return later(r.since.Add(BatchWait), q.rest)
		}
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
