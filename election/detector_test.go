package election

import (
	"testing"
	"time"
)

// link drives a detector by a clock of its own.
type link struct {
	*Detector
	now time.Time
}

func newLink() *link {
	now := time.Unix(1000, 0)
	return &link{NewDetector(now), now}
}

// beats lets heartbeats come at the given interval for a while, with a look at
// each of them.
func (l *link) beats(t *testing.T, every, length time.Duration) {
	t.Helper()
	for end := l.now.Add(length); l.now.Before(end); {
		l.now = l.now.Add(every)
		l.Beat(l.now)
		if l.Suspects(l.now) {
			t.Fatal("a beating peer is suspected")
		}
	}
}

// silence returns how long the peer is silent until it is suspected.
func (l *link) silence(t *testing.T) time.Duration {
	t.Helper()
	const look = 10 * time.Millisecond
	for began := l.now; l.now.Sub(began) < time.Minute; l.now = l.now.Add(look) {
		if l.Suspects(l.now) {
			return l.now.Sub(began) - look
		}
	}
	t.Fatal("a silent peer is never suspected")
	return 0
}

func TestSilentPeerIsSuspectedAfter300ms(t *testing.T) {
	l := newLink()
	l.beats(t, Interval, 2*time.Second)
	if got := l.silence(t); got != 300*time.Millisecond {
		t.Errorf("suspected after %v, want 300ms", got)
	}
	l.Beat(l.now)
	if l.Suspects(l.now) {
		t.Error("a heartbeat does not end the suspicion")
	}
}

func TestJitterLengthensTheTimeoutUpTo2s(t *testing.T) {
	l := newLink()
	for range 50 {
		l.beats(t, 20*time.Millisecond, 20*time.Millisecond)
		l.beats(t, 180*time.Millisecond, 180*time.Millisecond)
	}
	if got := l.Timeout(); got < 600*time.Millisecond || got > 640*time.Millisecond {
		t.Errorf("time-out with 80 ms of jitter = %v, want about 620ms", got)
	}
	for range 50 {
		l.now = l.now.Add(1500 * time.Millisecond)
		l.Said(l.now)
		l.Beat(l.now)
	}
	if got := l.Timeout(); got != 2*time.Second {
		t.Errorf("time-out = %v, want 2s at most", got)
	}
}

func TestAnOutageIsNoJitter(t *testing.T) {
	l := newLink()
	l.beats(t, Interval, 2*time.Second)
	l.silence(t)
	for range 50 { // this process goes on looking
		l.now = l.now.Add(Interval)
		l.Suspects(l.now)
	}
	l.beats(t, Interval, Interval)
	if got := l.Timeout(); got > 450*time.Millisecond {
		t.Errorf("time-out after an outage of 5 s = %v, want 450ms at most", got)
	}
	l.beats(t, Interval, time.Second)
	if got := l.silence(t); got > 350*time.Millisecond {
		t.Errorf("a second after an outage the next is noticed after %v, want about 300ms", got)
	}
}

func TestQuietLinkBeatsSlowlyAndIsSuspectedAfter3s(t *testing.T) {
	l := newLink()
	l.beats(t, Interval, IdleAfter-Interval)
	if l.Interval() != Interval {
		t.Fatal("the link is idle too early")
	}
	l.beats(t, Interval, Interval)
	if l.Interval() != IdleInterval {
		t.Fatal("the link is not idle after 30 s")
	}
	l.beats(t, IdleInterval, 10*time.Second)
	if got := l.silence(t); got != 3*time.Second {
		t.Errorf("suspected after %v, want 3s", got)
	}
}

func TestTrafficRestartsTheTimeoutUnderTheFastRate(t *testing.T) {
	l := newLink()
	l.beats(t, Interval, IdleAfter)
	l.beats(t, IdleInterval, 5*time.Second)
	for range 9 { // most of an idle interval passes without a beat
		l.now = l.now.Add(Interval)
		if l.Suspects(l.now) {
			t.Fatal("an idle peer is suspected between two beats")
		}
	}
	l.Said(l.now)
	if l.Interval() != Interval {
		t.Fatal("what is said does not return the link to the fast rate")
	}
	if got := l.silence(t); got < 300*time.Millisecond || got > 400*time.Millisecond {
		t.Errorf("suspected %v after the words that got no answer, want 300ms", got)
	}
}

func TestNobodyIsBlamedForOurOwnSleep(t *testing.T) {
	l := newLink()
	l.beats(t, Interval, time.Second)
	l.now = l.now.Add(20 * time.Second)
	if l.Suspects(l.now) {
		t.Error("a peer is suspected because this process slept")
	}
	if got := l.silence(t); got != 300*time.Millisecond {
		t.Errorf("suspected %v after waking, want 300ms", got)
	}
}

func TestWordsAreASignOfLife(t *testing.T) {
	l := newLink()
	for range 10 {
		l.now = l.now.Add(250 * time.Millisecond)
		l.Heard(l.now)
		if l.Suspects(l.now) {
			t.Fatal("a talking peer is suspected")
		}
	}
}
