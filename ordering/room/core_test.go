package room

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"tertulia/ordering"
)

func TestAMiddleNodeRelaysAtOnceBetweenTwoThatCanNotMeet(t *testing.T) {
	w := newNetwork(t, 1, 3)
	w.shared()
	left, middle, right := w.nodes[0], w.nodes[1], w.nodes[2]
	left.connect(middle)
	right.connect(middle)
	w.run(time.Second, nil)
	for _, x := range []*replica{left, right, middle, left} {
		x.say(line)
		x.drive()
		if took := w.run(time.Minute, w.equal); took > 20*time.Millisecond {
			t.Errorf("what node %d said took %s", x.n, took)
		}
	}
}

func TestInAFullMeshEachPeerIsPushedARunOnce(t *testing.T) {
	w := newNetwork(t, 2, 6)
	w.shared()
	w.mesh()
	w.run(time.Second, nil)
	clear(w.pushes)
	w.nodes[0].published = nil
	for _, x := range w.nodes {
		ref := x.say(line)[0]
		x.drive()
		if took := w.run(time.Second, w.equal); took > 10*time.Millisecond {
			t.Errorf("what node %d said took %s", x.n, took)
		}
		w.run(time.Second, nil)
		for _, y := range w.nodes {
			want := 1
			if x == y {
				want = 0
			}
			if n := w.pushes[[2]any{y.n, ref.EntryID}]; n != want {
				t.Errorf("node %d was pushed an entry of node %d %d times", y.n, x.n, n)
			}
		}
		if len(x.published) > 0 {
			t.Error("published though everybody is connected")
		}
	}
}

func TestALostPushIsRepairedByTheNextDigest(t *testing.T) {
	for s := range int64(10) { // either may be the one that opens the exchange
		w := newNetwork(t, s, 2)
		w.shared()
		w.mesh()
		w.run(time.Duration(w.r.Intn(20_000))*time.Millisecond, nil)
		w.lose = func(_, _ int, m ordering.Message) bool { _, push := m.(*ordering.Push); return push }
		w.nodes[s%2].say(line)
		w.nodes[s%2].drive()
		if w.run(DigestInterval+200*time.Millisecond, w.equal); !w.equal() {
			t.Errorf("world %d: not repaired", s)
		}
	}
}

func TestWhatAFetchBroughtIsToldToTheOthersAtOnce(t *testing.T) {
	for s := range int64(10) {
		w := newNetwork(t, s, 3)
		w.shared()
		left, middle, right := w.nodes[0], w.nodes[1], w.nodes[2]
		middle.connect(right)
		w.run(time.Second, nil)
		for range 50 {
			left.say(line)
		}
		left.drive()
		left.connect(middle)
		if took := w.run(time.Minute, w.equal); took > time.Second {
			t.Errorf("world %d: the far end waited %s", s, took)
		}
	}
}

func TestAPeerThatServesNothingIsNotAskedWithoutEnd(t *testing.T) {
	w := newNetwork(t, 3, 3)
	w.shared()
	w.mesh()
	w.run(time.Second, nil)
	x, liar, honest := w.nodes[0], w.nodes[1], w.nodes[2]
	liar.liar = true
	claim := x.core.Graph().Have().Clone()
	claim[ordering.Origin{Device: ordering.DeviceKey{7}}] = 1 << 63
	x.core.Hear(w.now, liar.self.Device, &ordering.Have{Vector: claim})
	fetches := len(x.fetches)
	for range 60 { // others write meanwhile: that is not the liar's doing
		honest.say(line)
		honest.drive()
		w.run(time.Second/2, nil)
		x.core.Hear(w.now, liar.self.Device, &ordering.Have{Vector: claim})
	}
	if n, most := len(x.fetches)-fetches, int(30*time.Second/FetchRetry)+1; n == 0 || n > most {
		t.Errorf("%d fetches in 30 s", n)
	}
}

func TestAFetchGoesElsewhereWhenItsPeerGoes(t *testing.T) {
	w := newNetwork(t, 4, 3)
	w.nodes[1].connect(w.nodes[0])
	w.run(time.Second, w.equal)
	w.run(time.Second, nil)
	x := w.nodes[2]
	x.connect(w.nodes[0])
	x.connect(w.nodes[1])
	w.run(time.Second, func() bool { return len(x.fetches) > 0 && x.core.fetch.busy })
	first := w.find(x.core.fetch.from)
	x.disconnect(first)
	if took := w.run(time.Minute, w.equal); took > 200*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestANewPeerIsAskedAtOnceThoughAnotherRests(t *testing.T) {
	w := newNetwork(t, 5, 3)
	w.nodes[1].connect(w.nodes[0])
	w.run(time.Second, w.equal)
	w.run(time.Second, nil)
	x, liar := w.nodes[2], w.nodes[0]
	liar.liar = true
	x.connect(liar)
	w.run(time.Second, func() bool { return len(x.fetches) == 1 && !x.core.fetch.busy })
	w.run(50*time.Millisecond, nil)
	x.connect(w.nodes[1])
	if took := w.run(time.Minute, w.equal); took > 200*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestAnEmptyVectorIsHeardWithoutHarm(t *testing.T) {
	w := newNetwork(t, 6, 2)
	x, y := w.nodes[0], w.nodes[1]
	x.core.Connect(w.now, y.self.Device)
	x.core.Hear(w.now, y.self.Device, &ordering.Have{Answer: true})
	x.say(line)
	var vectors int
	for _, m := range x.take().Send {
		if _, ok := m.Msg.(*ordering.Have); ok {
			vectors++
		}
	}
	if vectors != 1 {
		t.Errorf("%d answers", vectors)
	}
}

func TestRefusedRunsAndBoastsTakeNoRoom(t *testing.T) {
	w := newNetwork(t, 6, 2)
	x, y := w.nodes[0], w.nodes[1]
	x.core.Connect(w.now, y.self.Device)
	before := len(x.core.peers[y.self.Device].holds)
	for n := range 1000 {
		o := y.self
		o.Instance[7] = byte(n)
		o.Instance[6] = byte(n>>8) + 1
		// No Admit in its past: refused.
		run := ordering.SignRun(y.key, ordering.Seal(ordering.Entry{Room: x.core.graph.Room(), Origin: o, Seq: 1, TS: 1, Kind: ordering.KindNull}))
		if err := x.core.Receive(w.now, y.self.Device, run); err == nil {
			t.Fatal("taken")
		}
	}
	if n := len(x.core.peers[y.self.Device].holds); n != before {
		t.Errorf("holds grew from %d to %d", before, n)
	}
	boast := make(ordering.Vector)
	for n := range ordering.MaxOrigins {
		boast[ordering.Origin{Device: ordering.DeviceKey{byte(n), byte(n >> 8), 9}}] = 1 << 60
	}
	if _, n := x.core.lacking(x.core.graph.Reach(), boast); n != fetchable {
		t.Errorf("a boast counts as %d entries", n)
	}
}

func TestStrangersAreNotHeard(t *testing.T) {
	w := newNetwork(t, 6, 2)
	x, y := w.nodes[0], w.nodes[1]
	for _, m := range []ordering.Message{&ordering.Have{Answer: true}, &ordering.Digest{}} {
		x.core.Hear(w.now, y.self.Device, m)
	}
	x.core.Observe(w.now, y.self.Device, Vital{})
	x.core.Fetched(w.now, y.self.Device, nil)
	x.core.Disconnect(w.now, y.self.Device)
	x.core.Connect(w.now, x.self.Device)
	if r := x.take(); !r.Empty() || len(x.core.Connected()) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestSayRefusesWhatOthersWould(t *testing.T) {
	w := newNetwork(t, 7, 2)
	x := w.nodes[0]
	long := ordering.SignClient(x.key, ordering.RoomID{}, 0, x.self.Device, string(make([]byte, ordering.MaxClientID+1)), nil)
	big := Draft{Kind: ordering.KindJoined, Body: make([]byte, ordering.MaxBody)}
	over := Draft{Kind: ordering.KindJoined, Body: make([]byte, ordering.MaxBody+1)}
	before := x.core.NextSeq()
	for name, drafts := range map[string][]Draft{
		"nothing":                   {},
		"65 entries":                slices.Repeat([]Draft{line}, ordering.MaxRunEntries+1),
		"more than a run's bytes":   slices.Repeat([]Draft{big}, 4),
		"a body over its limit":     {over},
		"a client id over its size": {{Kind: ordering.KindMessage, Client: long}},
	} {
		if _, err := x.core.Say(w.now, w.now, drafts...); !errors.Is(err, ErrTooMuch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var refusal *ordering.Refusal
	if _, err := x.core.Say(w.now, w.now, Draft{Kind: ordering.KindMessage}); !errors.As(err, &refusal) || refusal.Reason != ordering.Malformed {
		t.Errorf("a message without a stamp: %v", err)
	}
	if _, err := w.nodes[1].core.Say(w.now, w.now, line); !errors.Is(err, ErrNotMember) {
		t.Errorf("a stranger: %v", err)
	}
	if x.core.NextSeq() != before || !x.take().Empty() {
		t.Error("a refusal left a trace")
	}
	for _, drafts := range [][]Draft{slices.Repeat([]Draft{line}, ordering.MaxRunEntries), slices.Repeat([]Draft{big}, 3)} {
		refs, err := x.core.Say(w.now, w.now, drafts...)
		if err != nil || len(refs) != len(drafts) || refs[0].Seq != before {
			t.Fatalf("%d refs, %v", len(refs), err)
		}
		before += uint64(len(refs))
		for _, a := range x.take().Persist {
			if _, err := ordering.DecodeRun(a.Run.Run().Bytes()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestALargeRoomPublishesInsteadOfPushing(t *testing.T) {
	for n, publishes := range map[int]bool{MaxDirect: false, MaxDirect + 1: true} {
		w := newNetwork(t, 8, n)
		w.shared()
		w.mesh()
		w.run(2*time.Second, nil)
		clear(w.pushes)
		x := w.nodes[n-1]
		x.published = nil
		x.say(line)
		x.drive()
		if len(x.published) == 1 != publishes || len(w.pushes) == 0 != publishes {
			t.Errorf("%d members: %d published, %d pushed", n, len(x.published), len(w.pushes))
		}
		if w.run(2*DigestInterval, w.equal); !w.equal() {
			t.Errorf("%d members: not everybody has it", n)
		}
	}
}

func TestOwnWordsArePublishedWhenAMemberIsNotConnected(t *testing.T) {
	w := newNetwork(t, 9, 3)
	w.shared()
	w.nodes[0].connect(w.nodes[1])
	w.run(100*time.Millisecond, nil)
	for _, x := range w.nodes[:2] {
		x.published = nil
	}
	w.nodes[0].say(line)
	w.nodes[0].drive()
	w.run(time.Second, nil)
	if len(w.nodes[0].published) != 1 {
		t.Errorf("%d published", len(w.nodes[0].published))
	}
	if len(w.nodes[1].published) != 0 {
		t.Error("another's words were published")
	}
}

func TestSayPersistsBeforeItSends(t *testing.T) {
	w := newNetwork(t, 10, 2)
	w.shared()
	w.mesh()
	w.run(time.Second, nil)
	x := w.nodes[0]
	ref := x.say(line)[0]
	ready := x.take()
	if len(ready.Persist) != 1 || ready.Persist[0].Run.Run().Last().Ref() != ref {
		t.Errorf("to persist: %v", ready.Persist)
	}
	if p, ok := ready.Send[0].Msg.(*ordering.Push); !ok || p.Run.Last().Ref() != ref {
		t.Errorf("to send: %v", ready.Send)
	}
	if again := x.take(); len(again.Persist) > 0 || slices.ContainsFunc(again.Send, func(m Envelope) bool { _, push := m.Msg.(*ordering.Push); return push }) {
		t.Error("a Ready is taken twice")
	}
}

func BenchmarkSay(b *testing.B) {
	w := newNetwork(b, 1, 3)
	w.shared()
	w.mesh()
	w.run(time.Second, nil)
	x := w.nodes[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.core.Say(w.now, w.now, line); err != nil {
			b.Fatal(err)
		}
		x.take()
	}
}

// BenchmarkMemory reports what a Core keeps of an entry.
func BenchmarkMemory(b *testing.B) {
	const n = 200_000
	for b.Loop() {
		w := newNetwork(b, 1, 3)
		core := w.nodes[0].core
		place := core.Graph().Next(w.nodes[0].self)
		before := heap()
		for i := range n {
			e := ordering.Seal(ordering.Entry{Room: place.Room, Origin: place.Origin, Seq: place.Seq + uint64(i), TS: place.TS + uint64(i), Kind: ordering.KindJoined})
			core.Restore(e, 1, false)
		}
		b.ReportMetric(float64(heap()-before)/n, "B/entry")
		runtime.KeepAlive(core)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestWhatARemovedMemberWroteBesideIsAskedForOnceAndTakenWhenNeeded(t *testing.T) {
	for s := range int64(6) {
		w := newNetwork(t, s, 3)
		w.shared()
		creator, removed, other := w.nodes[0], w.nodes[1], w.nodes[2]
		removed.connect(other)
		w.run(time.Second, nil)
		beside := removed.say(line)[0]
		removed.drive()
		w.run(time.Second, nil)
		removed.disconnect(other)
		creator.say(Draft{Kind: ordering.KindRemove, Body: ordering.Remove{Device: removed.self.Device}.Encode()})
		creator.drive()
		creator.connect(other)
		fetches := len(creator.fetches)
		w.run(3*time.Second, nil) // before the view grows and adopts it
		if creator.core.Graph().Holds(beside.EntryID) || creator.core.Graph().Parked() != 1 {
			t.Fatalf("world %d: not held back; %d parked", s, creator.core.Graph().Parked())
		}
		if n := len(creator.fetches) - fetches; n > 2 {
			t.Errorf("world %d: fetched %d times in a minute", s, n)
		}
		other.say(line)
		other.drive()
		took := w.run(time.Minute, func() bool { return creator.have.Count() == other.have.Count() })
		if took > 100*time.Millisecond || !creator.core.Graph().Holds(beside.EntryID) {
			t.Errorf("world %d: taken after %s", s, took)
		}
	}
}
