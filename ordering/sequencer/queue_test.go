package sequencer

import (
	"slices"
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

var (
	self  = origin(1)
	start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
)

func origin(b byte) (o ordering.Origin) {
	o.Device[0] = b
	return o
}

// run makes a run of n entries of an origin from a seq on, each with a body of
// some bytes. Nobody looks at its signature.
func run(o ordering.Origin, seq uint64, n, bytes int, deps ...ordering.EntryID) (r ordering.Run) {
	for i := range n {
		e := ordering.Entry{Origin: o, Seq: seq + uint64(i), TS: 1, Kind: 40, Body: make([]byte, bytes)}
		for _, d := range deps {
			e.Deps = append(e.Deps, ordering.Ref{EntryID: d})
		}
		r.Entries = append(r.Entries, ordering.Seal(e))
	}
	return r
}

func at(d time.Duration) time.Time { return start.Add(d) }

const ms = time.Millisecond

// names are the runs' last ids, as origin and seq.
func names(runs []ordering.Run) (s []int) {
	for _, r := range runs {
		s = append(s, 100*int(r.Origin().Device[0])+int(r.Last().Seq))
	}
	return s
}

func wantRuns(t *testing.T, runs []ordering.Run, want ...int) {
	t.Helper()
	if got := names(runs); !slices.Equal(got, want) {
		t.Fatalf("runs %v, want %v", got, want)
	}
}

// propose takes the next batch, which the log accepts.
func propose(t *testing.T, q *Queue, now time.Time, want ...int) {
	t.Helper()
	b, ok := q.Next(now, 3)
	if ok != (len(want) > 0) {
		t.Fatalf("a batch: %t, want runs %v", ok, want)
	}
	if !ok {
		return
	}
	if b.Epoch != 3 || b.Leader != self {
		t.Fatalf("the batch is of %d and %v", b.Epoch, b.Leader)
	}
	wantRuns(t, b.Runs, want...)
	q.Proposed(b)
}

func TestAnIdleLogGetsABatchAtOnceAndABusyOneAfterAWhile(t *testing.T) {
	q := New(Config{Self: self})
	q.Add(run(origin(2), 1, 1, 9), at(0))
	propose(t, q, at(0), 201)
	q.Add(run(origin(3), 1, 2, 9), at(1*ms))
	q.Add(run(origin(2), 2, 1, 9), at(2*ms))
	propose(t, q, at(5*ms))
	if d := q.Deadline(true); d != at(6*ms) {
		t.Fatalf("the deadline is %s", d.Sub(start))
	}
	propose(t, q, at(6*ms), 302, 202)
	q.Add(run(origin(2), 3, 1, 9), at(7*ms))
	q.Settled()
	q.Settled()
	propose(t, q, at(7*ms), 203)
	if d := q.Deadline(true); !d.IsZero() {
		t.Fatalf("nothing to propose, and a deadline at %s", d.Sub(start))
	}
}

func TestABatchClosesWhenFullAndHoldsWholeRuns(t *testing.T) {
	q := New(Config{Self: self})
	q.Add(run(origin(2), 1, 1, 9), at(0))
	propose(t, q, at(0), 201)
	q.Add(run(origin(3), 1, 40, 9), at(0))
	propose(t, q, at(0))
	q.Add(run(origin(2), 2, 30, 9), at(0))
	propose(t, q, at(0), 340) // 70 entries are too many
	propose(t, q, at(0))
	q.Add(run(origin(4), 1, 4, 60_000), at(0))
	propose(t, q, at(0)) // 34 entries of 240 kB fit
	q.Add(run(origin(5), 1, 1, 60_000), at(0))
	propose(t, q, at(0), 231, 404)
	q.Settled()
	q.Settled()
	q.Settled()
	propose(t, q, at(0), 501)
	q.Add(run(origin(6), 1, ordering.MaxRunEntries, 3900), at(0))
	propose(t, q, at(0), 664) // a run alone always fits
}

func TestNoMoreBatchesAreInFlightThanTheWindow(t *testing.T) {
	q := New(Config{Self: self})
	for i := range uint64(InFlight + 1) {
		q.Add(run(origin(2), 64*i+1, 64, 9), at(0))
	}
	for i := range InFlight {
		propose(t, q, at(0), 200+64*(i+1))
	}
	propose(t, q, at(time.Hour))
	if d := q.Deadline(true); !d.IsZero() {
		t.Fatalf("the window is full, and a deadline at %s", d.Sub(start))
	}
	q.Settled()
	propose(t, q, at(0), 200+64*(InFlight+1))
}

func TestWhatIsFinalIsDroppedWhereverItStands(t *testing.T) {
	q := New(Config{Self: self})
	q.Add(run(origin(2), 1, 2, 9), at(0))
	q.Add(run(origin(3), 1, 2, 9), at(0))
	q.Add(run(origin(4), 1, 2, 9), at(0))
	q.Add(run(origin(4), 1, 2, 9), at(0)) // known already
	q.Emitted(ordering.Vector{origin(3): 2, origin(4): 1})
	if q.Len() != 2 {
		t.Fatalf("%d runs are left", q.Len())
	}
	propose(t, q, at(0), 202, 402) // the second in part: it goes whole
	q.Emitted(ordering.Vector{origin(2): 2, origin(3): 2, origin(4): 2})
	if q.Len() != 0 || q.bodies != 0 {
		t.Fatalf("%d runs are left, %d bytes", q.Len(), q.bodies)
	}
}

func TestAResetProposesAgainWhatIsNotFinal(t *testing.T) {
	q := New(Config{Self: self})
	q.Add(run(origin(2), 1, 1, 9), at(0))
	q.Add(run(origin(3), 1, 1, 9), at(0))
	propose(t, q, at(0), 201, 301)
	q.Emitted(ordering.Vector{origin(2): 1})
	q.Reset()
	propose(t, q, at(time.Hour)) // a batch is in flight: it may bring the rest
	q.Settled()
	propose(t, q, at(0), 301)
}

func TestANewTermProposesAgainWhatWasInFlight(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.None, mutant.KeepProposed} {
		q := New(Config{Self: self, Mutant: m})
		q.Add(run(origin(2), 1, 1, 9), at(0))
		propose(t, q, at(0), 201)
		q.Reset()
		q.Lead()
		if m == mutant.KeepProposed {
			propose(t, q, at(time.Hour))
			continue
		}
		propose(t, q, at(0), 201)
	}
}

func TestADroppedBatchIsProposedAgainAfterAWhile(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.None, mutant.ForwardAndForget} {
		q := New(Config{Self: self, Mutant: m})
		q.Add(run(origin(2), 1, 1, 9), at(0))
		b, _ := q.Next(at(0), 3)
		q.Dropped(b, at(0))
		propose(t, q, at(0))
		if m == mutant.ForwardAndForget {
			propose(t, q, at(time.Hour))
			continue
		}
		if d := q.Deadline(true); d != at(RetryProposal) {
			t.Fatalf("the deadline is %s", d.Sub(start))
		}
		propose(t, q, at(RetryProposal), 201)
	}
}

func TestABodyOnDiskIsReadBackInItsTurn(t *testing.T) {
	q := New(Config{Self: self})
	a, b, c := run(origin(2), 1, 1, 9), run(origin(3), 4, 2, 9), run(origin(2), 2, 1, 9)
	q.Known(b.Last().Ref(), 4, at(0))
	q.Known(a.Last().Ref(), 1, at(0))
	q.Known(c.Last().Ref(), 2, at(0))
	q.Add(run(origin(4), 1, 1, 9), at(0))
	propose(t, q, at(0))
	want := []ordering.Want{{Origin: origin(3), After: 3}, {Origin: origin(2), After: 0}}
	if got := q.Missing(); !slices.Equal(got, want) {
		t.Fatalf("missing %v", got)
	}
	propose(t, q, at(time.Hour))
	if got := q.Missing(); got != nil {
		t.Fatalf("asked twice: %v", got)
	}
	q.Loaded([]ordering.Run{a, run(origin(9), 1, 1, 1)})
	propose(t, q, at(0))
	if got := q.Missing(); len(got) != 2 {
		t.Fatalf("missing %v", got)
	}
	q.Loaded([]ordering.Run{b})
	propose(t, q, at(0), 305, 201)
	q.Settled()
	q.Missing()
	q.Loaded([]ordering.Run{c})
	propose(t, q, at(0), 202, 401)
}

func TestBodiesStayWithinTheirLimit(t *testing.T) {
	q := New(Config{Self: self})
	first := run(origin(3), 1, 4, 60_000)
	q.Known(first.Last().Ref(), 1, at(0))
	for i := range uint64(100) {
		q.Add(run(origin(2), 4*i+1, 4, 60_000), at(0))
	}
	check := func() {
		t.Helper()
		sum := 0
		for _, r := range q.runs {
			sum += r.run.Size() - ordering.Run{}.Size()
			if r.here() {
				sum += ordering.Run{}.Size()
			}
		}
		if sum != q.bodies || sum > MaxBodies {
			t.Fatalf("%d bytes held, %d booked, the limit is %d", sum, q.bodies, MaxBodies)
		}
	}
	check()
	propose(t, q, at(0))
	q.Missing()
	q.Loaded([]ordering.Run{first})
	check()
	propose(t, q, at(0), 304)
	// What was beyond the limit is read back when the rest is final.
	for i := range uint64(100) {
		q.Emitted(ordering.Vector{origin(3): 4, origin(2): 4 * i})
		q.Settled()
		if b, ok := q.Next(at(0), 3); ok {
			q.Proposed(b)
			continue
		}
		if len(q.Missing()) != 1 {
			t.Fatalf("at %d nothing is missing", i)
		}
		q.Loaded([]ordering.Run{run(origin(2), 4*i+1, 4, 60_000)})
		check()
		propose(t, q, at(0), 200+4*(int(i)+1))
	}
	q.Emitted(ordering.Vector{origin(3): 4, origin(2): 400})
	check()
}

func TestAnUnsequencedRunIsOfferedEverySecond(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.None, mutant.LostTail} {
		q := New(Config{Self: self, Mutant: m})
		q.Add(run(origin(2), 1, 1, 50_000), at(0))
		q.Add(run(origin(3), 1, 1, 50_000), at(0))
		q.Add(run(origin(4), 1, 4, 60_000), at(500*ms))
		wantRuns(t, q.Overdue(at(999*ms)))
		if m == mutant.LostTail {
			wantRuns(t, q.Overdue(at(time.Hour)))
			continue
		}
		if d := q.Deadline(false); d != at(1000*ms) {
			t.Fatalf("the deadline is %s", d.Sub(start))
		}
		wantRuns(t, q.Overdue(at(1000*ms)), 201) // two are too many bytes
		if d := q.Deadline(false); d != at(1100*ms) {
			t.Fatalf("the deadline is %s", d.Sub(start))
		}
		wantRuns(t, q.Overdue(at(1100*ms)), 301)
		q.Emitted(ordering.Vector{origin(3): 1})
		wantRuns(t, q.Overdue(at(1600*ms)), 404) // alone, though larger
		wantRuns(t, q.Overdue(at(2000*ms)), 201)
		q.Emitted(ordering.Vector{origin(2): 1, origin(3): 1, origin(4): 4})
		wantRuns(t, q.Overdue(at(time.Hour)))
		if d := q.Deadline(false); !d.IsZero() {
			t.Fatalf("nothing to offer, and a deadline at %s", d.Sub(start))
		}
	}
}

func TestAfterARestartBodiesAreReadBackToBeOffered(t *testing.T) {
	q := New(Config{Self: self})
	a := run(origin(2), 1, 1, 9)
	q.Known(a.Last().Ref(), 1, at(0))
	wantRuns(t, q.Overdue(at(1000*ms)))
	if got := q.Missing(); len(got) != 1 || got[0] != (ordering.Want{Origin: origin(2)}) {
		t.Fatalf("missing %v", got)
	}
	q.Loaded([]ordering.Run{a})
	wantRuns(t, q.Overdue(at(1000*ms)), 201)
}

func TestALostRunIsNotProposedAgainAndItsOtherBranchIs(t *testing.T) {
	q := New(Config{Self: self})
	bob := origin(2)
	lost, other := run(bob, 5, 1, 9), run(bob, 5, 1, 10)
	q.Add(lost, at(0))
	q.Add(other, at(0))
	q.Add(run(origin(3), 1, 1, 9, ordering.EntryID{Origin: bob, Seq: 5}), at(0))
	q.Lost(lost.Last().Ref())
	q.Add(other, at(0)) // again
	propose(t, q, at(0), 205, 301)
	q.Settled()
	q.Emitted(ordering.Vector{bob: 5, origin(3): 1})
	if q.Len() != 0 || len(q.runsBy) != 0 {
		t.Fatalf("%d runs are left, %d by hash", q.Len(), len(q.runsBy))
	}
}

// BenchmarkNext has a leader add, propose and settle runs of one entry; an op is
// an entry.
func BenchmarkNext(b *testing.B) {
	var runs []ordering.Run
	for i := range b.N {
		runs = append(runs, run(origin(byte(2+i%8)), uint64(i/8+1), 1, 100))
	}
	q := New(Config{Self: self})
	emitted := make(ordering.Vector)
	b.ReportAllocs()
	b.ResetTimer()
	for len(runs) > 0 {
		n := min(64, len(runs))
		for _, r := range runs[:n] {
			q.Add(r, start)
		}
		runs = runs[n:]
		next, ok := q.Next(start, 0)
		if !ok {
			b.Fatal("nothing to propose")
		}
		q.Proposed(next)
		for _, r := range next.Runs {
			emitted[r.Origin()] = r.Last().Seq
		}
		q.Emitted(emitted)
		q.Settled()
	}
	if q.Len() != 0 {
		b.Fatalf("%d runs are left", q.Len())
	}
}
